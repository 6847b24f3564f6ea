"""From a link to a session for one service, and the look at everybody who comes by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from flask import Blueprint, Response, g, make_response, redirect, request, url_for
from werkzeug.exceptions import HTTPException

from provisioner.errors import NotFound, ProvisionerError, RequestInvalid, StoreUnavailable
from provisioner.logs import Log
from provisioner.web.browser import pages
from provisioner.web.browser.limits import Limit
from provisioner.web.browser.sessions import FormForged, Session
from provisioner.web.browser.signed import LinkExpired
from provisioner.web.errors import RETRY_AFTER_S
from provisioner.web.origin import origin
from provisioner.web.panel.desk import Desk, NotOffered, cookie_of
from provisioner.web.panel.links import REF_DIGITS, Guest, Links
from provisioner.web.panel.speech import N_

log = Log(__name__)

OPEN_TO_ALL = frozenset({"panel.enter", "panel.style", "panel.logo"})
FREE = frozenset({"panel.leave", "panel.show_password"})  # forms that have nothing done to the server
LINKS, LINKS_WITHIN_S = 60, 60  # from one address, behind which a whole office may sit
LOADS, LOADS_WITHIN_S = 120, 60  # for one service: a page that keeps itself fresh takes 20 a minute
ACTIONS, ACTIONS_WITHIN_S = 30, 3600
_REF = re.compile(rf"[0-9a-f]{{{REF_DIGITS}}}")

# What is said by the status: a heading, and what to do.
SAID: Mapping[int, tuple[str, str]] = {
    400: (N_("Nothing was done"), N_("This form was not filled in here. Open the page anew and try again.")),
    401: (N_("You are not signed in"), N_("Go back to the customer area and open the server from there.")),
    403: (N_("This link is not valid"), N_("Go back to the customer area and open the server from there.")),
    404: (N_("There is nothing here"), N_("Go back to the overview, or to the customer area.")),
    410: (
        N_("This link has expired"),
        N_("A link is good for two minutes. Go back to the customer area and open the server from there."),
    ),
    429: (N_("Too often"), N_("This was done very often in a short time. Wait a while, then try again.")),
    500: (N_("This went wrong"), N_("It is our mistake. Try again later, or ask support.")),
    503: (N_("Not possible at the moment"), N_("Try again in a few seconds.")),
}


@dataclass(slots=True)
class Door:
    """Lets customers in."""

    desk: Desk
    links: Links
    entering: Limit = field(init=False)
    loading: Limit = field(init=False)
    acting: Limit = field(init=False)

    def __post_init__(self) -> None:
        clock = self.desk.surfaces.clock
        self.entering = Limit(LINKS, LINKS_WITHIN_S, clock)
        self.loading = Limit(LOADS, LOADS_WITHIN_S, clock)
        self.acting = Limit(ACTIONS, ACTIONS_WITHIN_S, clock)

    def add_to(self, blueprint: Blueprint) -> None:
        blueprint.before_request(self._look)
        blueprint.after_request(_tell_nobody)
        blueprint.add_url_rule("/<token>", "enter", self.enter)
        blueprint.add_url_rule("/at/<ref>/leave", "leave", self.leave, methods=["POST"])
        blueprint.add_url_rule("/at/<ref>/<path:rest>", "nothing", self._nothing)
        blueprint.register_error_handler(ProvisionerError, self._refused)
        blueprint.register_error_handler(HTTPException, self._http)
        blueprint.register_error_handler(Exception, self._broke)

    def enter(self, token: str) -> Response:
        """Exchanges a link for a session; the token leaves the address bar at once."""
        wait_s = self.entering.take(origin().address)
        if wait_s:
            return self._wait(wait_s)
        try:
            guest = self.links.read(token)
        except LinkExpired as expired:
            self.desk.take(Guest.of(expired.payload).billing)
            return self._said(410)
        if guest is None or not self.desk.is_known(guest):
            return self._said(403)
        answer = make_response(redirect(url_for("panel.overview", ref=guest.ref), 303))
        self.desk.sessions_at(guest.ref).begin(answer, cookie_of(guest.ref), guest.as_dict())
        return answer

    def leave(self, ref: str) -> Response:
        """Ends the session for good."""
        answer = self.desk.page("left")
        self.desk.sessions_at(ref).end(answer, cookie_of(ref), self.desk.session)
        return answer

    def _look(self) -> Response | None:
        """Everybody needs a session for the very service, and every form must be of it."""
        if request.endpoint in OPEN_TO_ALL:
            return None
        ref = str((request.view_args or {}).get("ref", ""))
        session = self.desk.sessions.current(cookie_of(ref)) if _REF.fullmatch(ref) else None
        guest = Guest.of(session.data) if session else None
        if session is None or guest is None or guest.ref != ref:
            return self._said(401)
        self.desk.take(guest.billing)
        if not self.desk.is_known(guest):
            return self._said(401)
        g.session, g.guest = session, guest
        return self._admit(guest, session)

    def _admit(self, guest: Guest, session: Session) -> Response | None:
        wait_s = self.loading.take(guest.ref)
        if request.method not in ("GET", "HEAD"):
            self.desk.sessions.check_form(session)
            if request.endpoint not in FREE:
                wait_s = wait_s or self.acting.take(guest.ref)
        return self._wait(wait_s) if wait_s else None

    def _nothing(self, ref: str, rest: str) -> Response:
        return self._said(404)

    def _wait(self, wait_s: int) -> Response:
        answer = self._said(429)
        answer.headers["Retry-After"] = str(wait_s)
        return answer

    def _refused(self, problem: Exception) -> Response:
        match problem:
            case NotOffered(why=why):
                return self.desk.page("refused", 409, why=why.value)
            case FormForged():
                return self._said(400)
            case RequestInvalid():
                return self._said(404 if request.method == "GET" else 400)
            case NotFound():
                return self._said(404)
            case StoreUnavailable():
                answer = self._said(503)
                answer.headers["Retry-After"] = str(RETRY_AFTER_S)
                return answer
        return self._broke(problem)

    def _http(self, problem: Exception) -> Response:
        assert isinstance(problem, HTTPException)  # noqa: S101 - registered for it
        return self._said(problem.code or 500)

    def _broke(self, problem: Exception) -> Response:
        log.error("panel_broke", endpoint=request.endpoint, exc_info=problem)  # the address may be a link
        return self._said(500)

    def _said(self, status: int) -> Response:
        """A page that says what happened and what to do, and nothing else."""
        heading, words = SAID.get(status, SAID[404 if status < 500 else 500])
        return self.desk.page("problem", status, heading=heading, words=words)


def _tell_nobody(answer: Response) -> Response:
    """A link's address is a key: it is told to no other site, and no page here needs to tell its own."""
    pages.make_safe(answer)
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer
