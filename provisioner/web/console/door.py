"""Signing in with an admin's token, out again, and the look at everybody who comes by."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote

from flask import Blueprint, Response, current_app, g, make_response, redirect, request, url_for
from werkzeug.exceptions import HTTPException

from provisioner.errors import EventRejected, NotFound, ProvisionerError, StoreUnavailable
from provisioner.logs import Log
from provisioner.web.auth import Admin, Guard
from provisioner.web.browser.limits import Limit
from provisioner.web.browser.sessions import FormForged, Session
from provisioner.web.console.desk import COOKIE, PREFIX, Desk, to
from provisioner.web.errors import RETRY_AFTER_S, STATUSES
from provisioner.web.fields import is_storable
from provisioner.web.origin import origin, peer

log = Log(__name__)

OPEN_TO_ALL = frozenset({"console.sign_in", "console.signed_in"})
NOTHING = "nothing"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
READS = frozenset({"GET", "HEAD"})
MOST_BYTES = 64 * 1024  # of a form: 500 marked operations have half of it
TRIES, WITHIN_S = 10, 300  # wrong tokens from one address
PEER_TRIES = 50  # through one proxy, or from who forwards an address of their own making with each
ALL_TRIES = 200  # and from all of them together: addresses are cheap
_ALL = "all"
_PROOF = "console proof"


@dataclass(slots=True)
class Door:
    """Lets people in."""

    desk: Desk
    guard: Guard
    wrong: Limit = field(init=False)
    wrong_of_peer: Limit = field(init=False)
    wrong_in_all: Limit = field(init=False)

    def __post_init__(self) -> None:
        self.wrong = Limit(TRIES, WITHIN_S, self.desk.surfaces.clock)
        self.wrong_of_peer = Limit(PEER_TRIES, WITHIN_S, self.desk.surfaces.clock)
        self.wrong_in_all = Limit(ALL_TRIES, WITHIN_S, self.desk.surfaces.clock)

    def add_to(self, blueprint: Blueprint) -> None:
        blueprint.before_request(self._look)
        blueprint.after_request(self._renew)
        blueprint.add_url_rule("/sign-in", "sign_in", self.sign_in)
        blueprint.add_url_rule("/sign-in", "signed_in", self.signed_in, methods=["POST"])
        blueprint.add_url_rule("/sign-out", "sign_out", self.sign_out, methods=["POST"])
        blueprint.add_url_rule("/<path:rest>", NOTHING, self._nothing, methods=METHODS)
        blueprint.add_url_rule("", NOTHING, self._nothing, methods=METHODS[1:], strict_slashes=False)
        blueprint.register_error_handler(ProvisionerError, self._refused)
        blueprint.register_error_handler(HTTPException, self._http)
        blueprint.register_error_handler(Exception, self._broke)

    def sign_in(self) -> Response:
        return self.desk.page("sign_in", next=_own(request.args.get("next", "")))

    def signed_in(self) -> Response:
        """Tells people apart by their tokens; how often somebody may guess is limited."""
        address = origin().address
        next_page = _own(request.form.get("next", ""))
        counted = ((self.wrong, address), (self.wrong_of_peer, peer()), (self.wrong_in_all, _ALL))
        wait_s = max(limit.wait_s(key) for limit, key in counted)
        if _is_from_elsewhere():
            return self._turned_away(400, "This form was not filled in here. Try again.", next_page)
        if wait_s:
            words = f"Too many wrong tokens were tried. Wait {wait_s} s, then try again."
            answer = self._turned_away(429, words, next_page)
            answer.headers["Retry-After"] = str(wait_s)
            return answer
        admin = self.guard.known(request.form.get("token", "").strip())
        if admin is None:
            for limit, key in counted:
                limit.count(key)
            log.warning("sign_in_refused", address=address)
            return self._turned_away(401, "This is nobody's token.", next_page)
        self.wrong.forget(address)
        return self._let_in(admin, next_page)

    def sign_out(self) -> Response:
        answer = to("sign_in", done="signed_out")
        self.desk.sessions.end(answer, COOKIE, self.desk.session)
        return answer

    def _let_in(self, admin: Admin, next_page: str) -> Response:
        answer = make_response(redirect(next_page or url_for("console.overview"), 303))
        proof = self.guard.proof(admin, self.desk.surfaces.keys(_PROOF)[0])
        self.desk.sessions.begin(answer, COOKIE, {"admin": admin.name, "proof": proof})
        self.desk.surfaces.commands.signed_in(admin.actor, origin=origin())
        return answer

    def _turned_away(self, status: int, words: str, next_page: str) -> Response:
        return self.desk.page("sign_in", status, problem=words, next=next_page)

    def _look(self) -> Response | None:
        """Everybody but those at the sign-in must be somebody; every form must be of their own session."""
        request.max_content_length = MOST_BYTES
        if request.endpoint in OPEN_TO_ALL:
            return None
        session = self.desk.sessions.current(COOKIE)
        admin = self._known(session) if session else None
        if session is None or admin is None:
            return to("sign_in", next=_here() if request.method in READS else None)
        g.session, g.admin = session, replace(admin, origin=origin())
        if request.method not in READS and request.endpoint != f"console.{NOTHING}":
            self.desk.sessions.check_form(session)
        if not all(map(is_storable, (request.view_args or {}).values())):
            raise NotFound("an address must have no NUL and no lone surrogate")
        return None

    def _known(self, session: Session) -> Admin | None:
        name, proof = session.data["admin"], session.data["proof"]
        return self.guard.proven(name, proof, self.desk.surfaces.keys(_PROOF))

    def _renew(self, answer: Response) -> Response:
        """A session lasts while it is used. A page that keeps itself fresh is not a person who uses it."""
        session = g.get("session")
        is_used = session is not None and "X-Live" not in request.headers
        if is_used and answer.status_code < 400 and request.endpoint != "console.sign_out":
            self.desk.sessions.keep(answer, COOKIE, session)
        return answer

    def _nothing(self, rest: str = "") -> Response:
        """An address, or a method, that no page has."""
        allowed = _allowed()
        if not allowed:
            return self._problem(404, f"There is nothing at {request.path}.")
        answer = self._problem(405, f"{request.method} is not possible here.")
        answer.headers["Allow"] = ", ".join(allowed)
        return answer

    def _refused(self, problem: Exception) -> Response:
        assert isinstance(problem, ProvisionerError)  # noqa: S101 - registered for it
        if isinstance(problem, FormForged):
            return self._problem(400, problem.detail)
        if isinstance(problem, EventRejected):
            return self._problem(problem.status, problem.detail)
        status = next((status for kind, status in STATUSES.items() if isinstance(problem, kind)), 500)
        if status == 500:
            return self._broke(problem)
        answer = self._problem(status, problem.detail)
        if isinstance(problem, StoreUnavailable):
            answer.headers["Retry-After"] = str(RETRY_AFTER_S)
        return answer

    def _http(self, problem: Exception) -> Response:
        assert isinstance(problem, HTTPException)  # noqa: S101 - registered for it
        return self._problem(problem.code or 500, problem.description or problem.name)

    def _broke(self, problem: Exception) -> Response:
        log.error("page_broke", path=request.path, exc_info=problem)
        return self._problem(500, "An internal error; it is in the log.")

    def _problem(self, status: int, words: str) -> Response:
        return self.desk.page("problem", status, status=status, problem=words)


def _own(page: str) -> str:
    """A page of the console to go on to; anything else is nowhere."""
    path = unquote(page.partition("?")[0])
    is_ours = path == PREFIX or path.startswith(f"{PREFIX}/")
    is_plain = page.isprintable() and "\\" not in page and not {".", ".."} & set(path.split("/"))
    return page if is_ours and is_plain else ""


def _here() -> str:
    """The present page, as a link to it is written."""
    query = request.query_string.decode("ascii", "replace")
    return quote(request.path) + (f"?{query}" if query else "")


def _allowed() -> list[str]:
    """The methods that pages at the present address have."""
    adapter = current_app.create_url_adapter(request)
    served = [(method, adapter.match(method=method)[0]) for method in METHODS] if adapter else []
    return [method for method, endpoint in served if endpoint != f"console.{NOTHING}"]


def _is_from_elsewhere() -> bool:
    """Whether the browser says that another site's page sent this form."""
    if site := request.headers.get("Sec-Fetch-Site"):
        return site not in ("same-origin", "none")
    sender = request.headers.get("Origin", "")
    return bool(sender) and sender.partition("://")[2] != request.host
