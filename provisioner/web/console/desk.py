"""What every page of the console stands on: who is signed in, and how a page is drawn."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Response, g, make_response, redirect, render_template, request, url_for

from provisioner.web.asked import Paged
from provisioner.web.auth import Admin, Need
from provisioner.web.browser.sessions import Session, Sessions
from provisioner.web.browser.signed import Signed
from provisioner.web.call import judged
from provisioner.web.surfaces import Surfaces

P = TypeVar("P", bound=Paged)

PREFIX = "/admin"
COOKIE = "provisioner_console"
IDLE_S = 2 * 3600
LASTS_S = 12 * 3600  # a working day: then one signs in again
DONE = frozenset({  # what an address may say that was done: a link from elsewhere puts no words on a page
    "accepted", "approved", "cancelled", "compared", "erased", "moved", "paused", "reset", "resumed",
    "retried", "signed_out", "trusted", "unlinked",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Desk:
    """One console's surroundings."""

    surfaces: Surfaces
    sessions: Sessions

    @classmethod
    def of(cls, surfaces: Surfaces) -> Desk:
        signed = Signed(surfaces.keys, "console session", surfaces.clock)
        is_secure = surfaces.settings.server.public_url.startswith("https:") and not _is_apart(surfaces)
        return cls(surfaces, Sessions(signed, surfaces.store, PREFIX, is_secure, IDLE_S, LASTS_S))

    @property
    def admin(self) -> Admin:
        """Who is signed in; the door has let them in."""
        admin: Admin = g.admin
        return admin

    @property
    def session(self) -> Session:
        session: Session = g.session
        return session

    def page(self, name: str, status: int = 200, /, **facts: Any) -> Response:
        """The page of this name, drawn with these facts."""
        admin = g.get("admin")
        common = {
            "admin": admin,
            "may": admin.reaches if admin else lambda need: False,
            "Need": Need,
            "csrf_token": self.sessions.token(g.session) if admin else "",
            "now": self.surfaces.clock(),
            "done": done if (done := request.args.get("done", "")) in DONE else "",
        }
        return make_response(render_template(f"console/{name}.html", **common, **facts), status)

    def form(self) -> dict[str, str]:
        """What was filled in, without what proves the form."""
        return {name: value.strip() for name, value in request.form.items() if name != "csrf_token"}


def filters_of(model: type[P]) -> tuple[P, dict[str, Any]]:
    """What the present address asks of a list, and what of it the page of the next rows must ask, too.

    :raises RequestInvalid: it asks for what there is not.
    """
    given = {name: value for name, value in request.args.items() if value}
    asked = judged(model, given)
    return asked, asked.model_dump(exclude={"limit", "cursor"}, exclude_defaults=True)


def reason_of(form: Mapping[str, str]) -> dict[str, str]:
    """Why, as it was filled in; '' where nothing was."""
    return {"reason": form.get("reason", "")}


def number(text: str) -> int | str:
    """The number that was filled in, in digits; anything else is left to be refused."""
    return int(text) if re.fullmatch("[0-9]{1,15}", text) else text


def to(endpoint: str, *, done: str = "", **values: Any) -> Response:
    """On to another page of the console once something was done; `done` is the word for it."""
    if done:
        values["done"] = done
    return make_response(redirect(url_for(f"console.{endpoint}", **values), 303))


def _is_apart(surfaces: Surfaces) -> bool:
    """Whether the console has an address of its own, which `public_url` says nothing about."""
    return bool(surfaces.settings.server.admin_listen)
