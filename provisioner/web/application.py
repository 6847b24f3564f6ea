"""The WSGI application: each surface is one blueprint."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import TYPE_CHECKING

from flask import Flask, Response, request
from werkzeug.routing import Rule

from provisioner.web import health, webhooks
from provisioner.web.errors import speak_json
from provisioner.web.surfaces import Side, Surfaces

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MOST_BYTES = 1 << 20  # no surface takes more; each has a smaller limit of its own
AT_ONCE = (webhooks.EVENTS, "/healthz", "/readyz")
ASSETS = ("static", "bootstrap.static", "panel.style", "panel.logo")


class Application:
    """What one address serves: events and health from the beginning, all else once it was asked for.

    Pages, admin API and metrics take longer to make than all that an event needs, so that no event waits for
    them. From then on everything is answered by the whole application, as `create_app` makes it.

    :param side: as for `create_app`.
    """

    def __init__(self, surfaces: Surfaces, side: Side = Side.ALL) -> None:
        self._make = partial(create_app, surfaces, side)
        self._first = _first(surfaces, side)
        self._whole: Flask | None = None
        self._making = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        app = self._whole
        if app is None:
            app = self._first if environ["PATH_INFO"].startswith(AT_ONCE) else self.complete()
        return app(environ, start_response)

    def complete(self) -> Flask:
        """The whole application, which is made at the first call; the others wait for it."""
        with self._making:
            if self._whole is None:
                self._whole = self._make()
            return self._whole


def create_app(surfaces: Surfaces, side: Side = Side.ALL) -> Flask:
    """An application that answers in JSON, its errors too, but in pages to people, and never with a trace.

    :param side: what it serves where `admin_listen` is another address (contract, section 2); by default
        everything.
    """
    from provisioner.web import whole  # noqa: PLC0415 - half of a start, and no event needs it

    app = _first(surfaces, side)
    whole.complete(app, surfaces, side)
    return app


def _first(surfaces: Surfaces, side: Side) -> Flask:
    """What a start waits for: health, and events where this side has them."""
    app = Flask(
        "provisioner.web", template_folder=None, static_folder="browser/assets", static_url_path="/assets"
    )
    app.url_rule_class = _Rule
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False  # a redirect would answer with a page
    app.after_request(_never_kept)
    speak_json(app)
    app.register_blueprint(health.health(surfaces))
    if side is not Side.ADMIN:
        app.register_blueprint(webhooks.webhooks(surfaces, webhooks.signers(surfaces.settings)))
    return app


class _Rule(Rule):
    """Compiles what writes its address when that is first asked for: few are, and it slows every start."""

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compiled = cache(partial(super()._compile_builder, append_unknown))

        def build(rule: Rule, **values: object) -> tuple[str, str]:
            return compiled()(rule, **values)

        return build


def _never_kept(answer: Response) -> Response:
    """Answers name customers' servers: no cache keeps them, and no browser takes them for a page."""
    if request.endpoint not in ASSETS or answer.status_code >= 400:  # an asset is the same for everybody
        answer.headers["Cache-Control"] = "no-store"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer
