"""How commands reach the service: always by the calls of the admin API (contract, section 5).

Where `serve` holds the store, over HTTP; else to the same application in this process, for as long as the
command runs. The lock decides, so that there is one writer always and the token goes to nobody else. A store
in PostgreSQL is held by nobody: there a command is one more process on it, whoever serves. A person
who has a token of their own calls the service over HTTP, with their own name and role.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from provisioner.errors import (
    NotFound,
    ProvisionerError,
    RequestInvalid,
    StoreUnavailable,
    StoreUnusable,
    WrongState,
)

if TYPE_CHECKING:
    from provisioner.app import App
    from provisioner.cli.invocation import Invocation
    from provisioner.config import Settings

LOCKED = "store_locked"
TIMEOUT_S = 30.0
PATIENCE_S = 5.0  # for a `serve` that is just starting, and for another command that is just ending
PAGE = 500  # the API's greatest page

_ERRORS: Mapping[int, type[ProvisionerError]] = {404: NotFound, 409: WrongState, 422: RequestInvalid}

# method, path with its query, body or None → status and body
Call = Callable[[str, str, Mapping[str, Any], Mapping[str, Any] | None], tuple[int, bytes]]


class AdminClient:
    """The admin API's calls, whoever carries them out.

    Every method raises what the API refuses as NotFound, WrongState, RequestInvalid or ProvisionerError,
    and StoreUnavailable where no clear answer came.
    """

    def __init__(self, call: Call, where: str, *, works: bool) -> None:
        self._call = call
        self.where = where  # who answers, in words
        self.works = works  # whether what is queued is carried out, too

    def get(self, *path: str, **query: Any) -> Any:
        """`GET /api/<path>`; what is None in the query is left out."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._answer("GET", path, given, None)

    def post(self, *path: str, **body: Any) -> Any:
        """`POST /api/<path>`; what is None or false in the body is left out."""
        given = {name: value for name, value in body.items() if value is not None and value is not False}
        return self._answer("POST", path, {}, given)

    def listed(self, *path: str, limit: int = 0, **query: Any) -> dict[str, Any]:
        """A list's newest `limit` items, all of them with 0: `{"items", "next"}` as one page has it."""
        items: list[Any] = []
        cursor: str | None = None
        while True:
            most = min(PAGE, limit - len(items)) if limit else PAGE
            page = self.get(*path, **query, limit=most, cursor=cursor)
            items += page["items"]
            cursor = page["next"]
            if cursor is None or len(items) == limit:
                return {"items": items, "next": cursor}

    def _answer(
        self, method: str, path: tuple[str, ...], query: Mapping[str, Any], body: Mapping[str, Any] | None
    ) -> Any:
        place = "/".join(["/api", *(quote(part, safe="") for part in path)])
        status, raw = self._call(method, place, query, body)
        try:
            answer = json.loads(raw or b"null")
        except ValueError:
            raise ProvisionerError(f"{place} answered {status} without JSON: is it this service?") from None
        if status >= 400:
            error = answer.get("error", {}) if isinstance(answer, dict) else {}
            words = error.get("message", f"{method} {place} answered {status}")
            raise _ERRORS.get(status, ProvisionerError)(words, code=error.get("code", ""))
        return answer


def admin_address(settings: Settings) -> tuple[str, int]:
    """Where to call the admin API of a `serve` with these settings: host and port."""
    return reachable(settings.server.admin_listen or settings.server.listen)


def reachable(listen: str) -> tuple[str, int]:
    """The host and port at which this machine reaches what listens there."""
    from provisioner.config import host_and_port

    host, port = host_and_port(listen)
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - called, not bound


def url(address: tuple[str, int]) -> str:
    """The URL of a host and a port."""
    host, port = address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def connected(invocation: Invocation, patience_s: float = TIMEOUT_S) -> Iterator[AdminClient]:
    """A client for the duration of one command: as the person whose own token was given, else as `admin`.

    :param patience_s: how long an answer may take, in seconds.
    :raises SettingsError: the token or the place that was given cannot be used.
    :raises StoreUnusable: see `connected_as_admin`.
    """
    token = invocation.token()
    if token:
        place = invocation.place() or url(admin_address(invocation.settings()))
        with over_http(place, token, patience_s) as client:
            yield client
    else:
        with connected_as_admin(invocation.settings(), patience_s) as client:
            yield client


@contextmanager
def connected_as_admin(settings: Settings, patience_s: float = TIMEOUT_S) -> Iterator[AdminClient]:
    """A client with the settings' admin token.

    :param patience_s: how long an answer may take, in seconds.
    :raises StoreUnusable: the store cannot be opened; `store_locked` where another process has it and does
        not answer.
    """
    with ExitStack() as stack:
        try:
            app = stack.enter_context(closing(opened(settings)))
        except StoreUnusable as error:
            if error.code != LOCKED:
                raise
            if not _listens(admin_address(settings)):
                raise StoreUnusable(_unreachable(settings), code=LOCKED) from error
            place = url(admin_address(settings))
            yield stack.enter_context(over_http(place, _token(settings), patience_s))
        else:
            works = app.store.is_served()
            where = "the service runs" if works else "the service does not run"
            yield AdminClient(_in_process(app), where, works=works)


def opened(settings: Settings, *, updates: bool = False) -> App:
    """The application on its store; waits a little for another command that has the store just now.

    :param updates: whether a store of an older version is copied and brought up to date; else it is refused.
    :raises StoreUnusable: it cannot be opened; `store_locked` where a service has it.
    """
    from provisioner.app import build

    patient_until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return build(settings, updates=updates)
        except StoreUnusable as error:
            in_vain = time.monotonic() > patient_until or _listens(admin_address(settings))
            if error.code != LOCKED or in_vain:
                raise
        time.sleep(0.1)


def _unreachable(settings: Settings) -> str:
    host, port = admin_address(settings)
    if not port:
        return "the store is in use by a service on a port that only it knows: give [server] listen a port"
    where = url((host, port))
    return f"the store is in use by another process that does not answer at {where}: end it, then try again"


def _listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=2.0).close()
    except OSError:
        return False
    return True


@contextmanager
def over_http(base_url: str, token: str, patience_s: float = TIMEOUT_S) -> Iterator[AdminClient]:
    """A client of a service that runs.

    :param patience_s: how long an answer may take, in seconds.
    """
    import requests

    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {token}"

        def call(
            method: str, place: str, query: Mapping[str, Any], body: Mapping[str, Any] | None
        ) -> tuple[int, bytes]:
            where = base_url + place
            try:
                answer = session.request(
                    method, where, params=query, json=body, timeout=patience_s, allow_redirects=False
                )
            except requests.RequestException as error:
                raise StoreUnavailable(f"{base_url} {_silence(method, error)}") from error
            return answer.status_code, answer.content

        yield AdminClient(call, f"the service runs at {base_url}", works=True)


def _silence(method: str, error: Exception) -> str:
    """Why no answer came, and what that means for what was asked."""
    import requests
    from urllib3.exceptions import NewConnectionError

    why = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(error, requests.ConnectTimeout) or isinstance(why, NewConnectionError):
        return "is answered by nobody: does `provisioner serve` run there?"
    words = f"gave no answer ({type(error).__name__})"
    return words if method == "GET" else f"{words}; look whether it was done"


def _in_process(app: App) -> Call:
    from provisioner.app import surfaces
    from provisioner.cli.invocation import local_user
    from provisioner.web.application import create_app
    from provisioner.web.origin import LOCAL_USER

    client = create_app(surfaces(app)).test_client()
    client.environ_base[LOCAL_USER] = local_user()
    headers = {"Authorization": f"Bearer {_token(app.settings)}"}

    def call(
        method: str, place: str, query: Mapping[str, Any], body: Mapping[str, Any] | None
    ) -> tuple[int, bytes]:
        with client.open(place, method=method, query_string=query, json=body, headers=headers) as answer:
            return answer.status_code, answer.get_data()

    return call


def _token(settings: Settings) -> str:
    return settings.security.admin_token.get_secret_value()
