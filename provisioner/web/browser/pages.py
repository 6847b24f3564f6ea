"""Prepares an application for pages: Bootstrap's files, our own, the headers that keep a page safe."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files

from flask import Blueprint, Flask, Response, g, url_for
from flask_bootstrap import Bootstrap5  # type: ignore[import-untyped]
from jinja2 import StrictUndefined

SHARED = "browser"
KEEP_S = 86_400  # how long a browser keeps an asset; its address changes with its content

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",  # Bootstrap's stylesheet has its small pictures in itself
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}


def prepare(app: Flask) -> None:
    """Lets an application draw pages."""
    app.config["BOOTSTRAP_SERVE_LOCAL"] = True
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = KEEP_S
    Bootstrap5(app)
    shared = Blueprint(SHARED, __name__, template_folder="templates")
    app.register_blueprint(shared)
    app.jinja_env.globals["asset"] = asset
    app.jinja_env.filters["ago"] = ago
    app.jinja_env.filters["moment"] = moment
    app.jinja_env.filters["span"] = span
    app.jinja_env.undefined = StrictUndefined  # a misspelt name is a mistake, not nothing
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True


def asset(name: str) -> str:
    """The address of one of our own assets, another one when its content is another."""
    return url_for("static", filename=name, v=_version(name))


@cache
def _version(name: str) -> str:
    content = files("provisioner.web.browser").joinpath("assets", name).read_bytes()
    return sha256(content).hexdigest()[:12]


def allow_images(origins: Iterable[str]) -> None:
    """Lets the present page show pictures of these origins too."""
    g.image_origins = tuple(origins)


def make_safe(answer: Response) -> Response:
    """What every page says to the browser; for `after_request` of a blueprint with pages."""
    policy = dict(_POLICY)
    policy["img-src"] = " ".join([policy["img-src"], *getattr(g, "image_origins", ())])
    answer.headers["Content-Security-Policy"] = "; ".join(f"{what} {whose}" for what, whose in policy.items())
    answer.headers["Referrer-Policy"] = "same-origin"
    answer.headers["X-Frame-Options"] = "DENY"
    answer.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    answer.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), payment=()"
    answer.headers["X-Robots-Tag"] = "noindex, nofollow"
    return answer


def moment(ms: int | str | None) -> str:
    """A time as operators read it, in UTC: `2026-11-25 21:30:05`. Takes milliseconds or ISO 8601."""
    if ms is None:
        return ""
    return _time(ms).strftime("%Y-%m-%d %H:%M:%S")


def ago(ms: int | str | None, now: int) -> str:
    """How long ago, or how far ahead, in one unit: `3 min ago`, `in 2 h`."""
    if ms is None:
        return ""
    seconds = now / 1000 - _time(ms).timestamp()
    words = span(abs(seconds))
    return "now" if abs(seconds) < 1 else f"{words} ago" if seconds > 0 else f"in {words}"


def span(seconds: float) -> str:
    """A length of time in one unit, rounded down."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s" if seconds >= 1 else f"{int(seconds * 1000)} ms"


def _time(ms: int | str) -> datetime:
    if isinstance(ms, str):
        return datetime.fromisoformat(ms)
    return datetime.fromtimestamp(ms / 1000, UTC)
