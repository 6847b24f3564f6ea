"""The reseller API's client: the port's methods, and the line over which a call goes and its answer comes.

What an answer means is decided in `answers.py`; what may be seen of it in `redact.py`.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import http.client
import io
import os
import queue
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

import requests
from requests import adapters
from urllib3 import HTTPConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from provisioner import __version__
from provisioner.errors import SettingsError, UpstreamError
from provisioner.service import Spec
from provisioner.upstream import BackupStatus, Call, Job, Upstream, VmConfig, VmStatus
from provisioner.upstream.answers import (
    Answer,
    Ask,
    CallKind,
    date_s,
    describe,
    is_job_id,
    judge,
    read_backup_status,
    read_backups,
    read_change,
    read_config,
    read_done,
    read_job,
    read_job_id,
    read_password,
    read_status,
    read_templates,
    read_vmids,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

T = TypeVar("T")

LARGEST_BODY = 2 * 1024 * 1024  # bytes, unpacked; a list of a hundred thousand VMs is smaller
LARGEST_ANSWER = LARGEST_BODY + 256 * 1024  # as received: headers and chunk sizes count too
PIECE = 64 * 1024


class UpstreamClient(Upstream):
    """The `Upstream` port over HTTP (reseller-api.txt), for one account; safe to use from many threads.

    :param base_url: the API's address, such as `https://reseller.example.com/api/v1`.
    :param token: the account's bearer token.
    :param timeout_s: seconds for the whole of one call: name, connection, request and answer.
    :param max_concurrency: calls in flight at once; others wait for a place, at most `timeout_s` too.
    :param record: is told each call, failed ones included, in the caller's thread before the method ends.
    :raises SettingsError: if the address or the token cannot be sent as they are.

    Every method raises the errors of `UpstreamError` as `answers.judge` sorts them.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        timeout_s: float,
        max_concurrency: int,
        record: Callable[[Call], None] | None = None,
    ) -> None:
        problems = [*_address_problems(base_url), *_token_problems(token)]
        if problems:
            raise SettingsError(problems)
        self._lines = _Lines(base_url.rstrip("/"), token, timeout_s, max_concurrency)
        self._secrets = (token,)
        self._records = (record,) if record else ()

    def recording(self, record: Callable[[Call], None]) -> UpstreamClient:
        """The same client, which also reports each call to `record`; it shares connections and places."""
        view = copy.copy(self)
        view._records = (*self._records, record)
        return view

    def close(self) -> None:
        """Closes idle connections now and those of calls in flight as they end, for all views."""
        self._lines.close()

    def job(self, job_id: str) -> Job:
        """`GET job/{jobId}`.

        :raises ValueError: if that can be no job's id.
        """
        if not is_job_id(job_id):
            raise ValueError("a job's id has 1 to 64 of ASCII letters, digits and ._-, and not dots alone")
        read = functools.partial(read_job, secrets=self._secrets)
        return self._call(Ask("GET", f"job/{job_id}", CallKind.REPEATABLE, read, secret=True))

    def servers(self) -> frozenset[int]:
        """`GET datacenter/server`."""
        return self._call(Ask("GET", "datacenter/server", CallKind.REPEATABLE, read_vmids))

    def templates(self) -> tuple[str, ...]:
        """`GET datacenter/templates`."""
        return self._call(Ask("GET", "datacenter/templates", CallKind.REPEATABLE, read_templates))

    def create(self, spec: Spec) -> str:
        """`POST datacenter/server`; returns the job's id."""
        body = {
            "template": spec.template,
            "cpuCores": spec.cpu_cores,
            "mem": spec.mem,
            "disk": spec.disk,
            "ipCount": spec.ip_count,
        }
        return self._call(Ask("POST", "datacenter/server", CallKind.CREATE, read_job_id), body)

    def status(self, vmid: int) -> VmStatus:
        """`GET datacenter/server/{sid}/status`."""
        return self._call(_get(vmid, "status", read_status))

    def config(self, vmid: int) -> VmConfig:
        """`GET datacenter/server/{sid}/config`."""
        return self._call(_get(vmid, "config", read_config))

    def delete(self, vmid: int, *, force: bool = False) -> None:
        """`POST datacenter/server/{sid}/delete`; `force` deletes it even while it runs."""
        self._call(_once("POST", vmid, "delete", read_done), {"force": force})

    def set_rdns(self, vmid: int, ip: str, hostname: str) -> None:
        """`POST datacenter/server/{sid}/rdns`."""
        ask = Ask("POST", _path(vmid, "rdns"), CallKind.REPEATABLE, read_done)
        self._call(ask, {"ip": ip, "hostname": hostname})

    def change(
        self,
        vmid: int,
        *,
        cpu_cores: int | None = None,
        mem: int | None = None,
        disk: str | None = None,
        ip_count: int | None = None,
    ) -> str | None:
        """`PUT datacenter/server/{sid}/change` with what is given, `mem` in MB; returns a job id or None."""
        asked = {"cpuCores": cpu_cores, "mem": mem, "disk": disk, "ipCount": ip_count}
        given = {name: value for name, value in asked.items() if value is not None}
        return self._call(_again(vmid, "change", read_change), given)

    def start(self, vmid: int) -> None:
        """`PUT datacenter/server/{sid}/start`."""
        self._call(_again(vmid, "start", read_done))

    def shutdown(self, vmid: int) -> None:
        """`PUT datacenter/server/{sid}/shutdown`."""
        self._call(_again(vmid, "shutdown", read_done))

    def stop(self, vmid: int) -> None:
        """`PUT datacenter/server/{sid}/stop`."""
        self._call(_again(vmid, "stop", read_done))

    def reboot(self, vmid: int) -> None:
        """`PUT datacenter/server/{sid}/reboot`."""
        self._call(_once("PUT", vmid, "reboot", read_done))

    def force_reboot(self, vmid: int) -> None:
        """`PUT datacenter/server/{sid}/reboot/force`."""
        self._call(_once("PUT", vmid, "reboot/force", read_done))

    def reinstall(self, vmid: int, template: str | None = None) -> str:
        """`PUT datacenter/server/{sid}/reinstall`; returns the job's id."""
        body = None if template is None else {"template": template}
        return self._call(_once("PUT", vmid, "reinstall", read_job_id), body)

    def reset_password(self, vmid: int) -> str:
        """`PUT datacenter/server/{sid}/password/reset`; returns the new root password."""
        return self._call(_once("PUT", vmid, "password/reset", read_password, secret=True))

    def backups(self, vmid: int) -> tuple[int, ...]:
        """`GET datacenter/server/{sid}/backups/list`; Unix times in seconds."""
        return self._call(_get(vmid, "backups/list", read_backups))

    def backup_status(self, vmid: int) -> BackupStatus:
        """`GET datacenter/server/{sid}/backups/status`."""
        return self._call(_get(vmid, "backups/status", read_backup_status))

    def create_backup(self, vmid: int) -> None:
        """`PUT datacenter/server/{sid}/backups/create`."""
        self._call(_once("PUT", vmid, "backups/create", read_done))

    def restore_backup(self, vmid: int, backup: int) -> None:
        """`POST datacenter/server/{sid}/backups/restore`; `backup` is a Unix time in seconds."""
        self._call(_once("POST", vmid, "backups/restore", read_done), {"backup": backup})

    def _call(self, ask: Ask[T], body: dict[str, Any] | None = None) -> T:
        began_s = time.monotonic()
        answer = self._lines.carry(ask, body)
        outcome = "ok"
        try:
            return judge(ask, answer, now_s=time.time(), secrets=self._secrets)
        except UpstreamError as error:
            outcome = error.code
            raise
        finally:
            self._report(ask, answer, outcome, round((time.monotonic() - began_s) * 1000))

    def _report(self, ask: Ask[Any], answer: Answer, outcome: str, duration_ms: int) -> None:
        summary = describe(ask, answer, self._secrets)
        date = date_s(answer.date)
        call = Call(ask.method, ask.path, answer.status, outcome, summary, duration_ms, date)
        for record in self._records:
            record(call)


def _path(vmid: int, verb: str) -> str:
    return f"datacenter/server/{vmid:d}/{verb}"


def _get(vmid: int, verb: str, read: Callable[[object], T]) -> Ask[T]:
    return Ask("GET", _path(vmid, verb), CallKind.REPEATABLE, read)


def _again(vmid: int, verb: str, read: Callable[[object], T]) -> Ask[T]:
    return Ask("PUT", _path(vmid, verb), CallKind.REPEATABLE, read)


def _once(method: str, vmid: int, verb: str, read: Callable[[object], T], secret: bool = False) -> Ask[T]:
    return Ask(method, _path(vmid, verb), CallKind.ONCE, read, secret)


def _address_problems(base_url: str) -> Iterator[str]:
    """What keeps this from being the API's address; a login in it would replace the token."""
    try:
        parts = urlsplit(base_url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole or "@" in base_url or "?" in base_url or "#" in base_url:
        yield "upstream.base_url: an address such as https://host/api/v1, with no login, query or fragment"


def _token_problems(token: str) -> Iterator[str]:
    if not token or not all("!" <= char <= "~" for char in token):
        yield "upstream.token: printable ASCII characters without spaces"


class _Lines:
    """The places for calls in flight, and the idle lines between calls; all views of a client share one."""

    def __init__(self, base_url: str, token: str, timeout_s: float, max_concurrency: int) -> None:
        self._base_url = base_url
        self._token = token
        self._timeout_s = timeout_s
        # Once for all: to load the certificates takes longer than many a call, and heeds no deadline.
        self._tls = _tls() if base_url.lower().startswith("https:") else None
        self._places = threading.BoundedSemaphore(max_concurrency)
        self._lock = threading.Lock()
        self._idle: list[_Line] = []
        self._closed = False

    def carry(self, ask: Ask[Any], body: dict[str, Any] | None) -> Answer:
        """Sends the call once and returns what came back, whatever that is."""
        if not self._places.acquire(timeout=self._timeout_s):
            return Answer(trouble=f"no place for another call within {self._timeout_s:g} s", sent=False)
        try:
            with self._line(fresh=ask.once) as line:
                return line.carry(ask.method, f"{self._base_url}/{ask.path}", body, self._timeout_s)
        finally:
            self._places.release()

    @contextlib.contextmanager
    def _line(self, *, fresh: bool) -> Iterator[_Line]:
        """A line for one call; never an idle one for `fresh`, since the peer may have closed it."""
        with self._lock:
            line = self._idle.pop() if self._idle and not fresh else None
        line = line or _Line(self._token, self._tls)
        try:
            yield line
        finally:
            with self._lock:
                keep = line.whole and not fresh and not self._closed
                if keep:
                    self._idle.append(line)
            if not keep:
                line.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for line in idle:
            line.close()


def _tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=adapters.DEFAULT_CA_BUNDLE_PATH)


class _Line:
    """A session with one connection, for one call at a time: so the connection knows that call's bounds."""

    def __init__(self, token: str, tls: ssl.SSLContext | None) -> None:
        self.whole = False
        self._bounds = _Bounds()
        self._session = _Session()
        self._session.trust_env = False  # a netrc entry would replace the token
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self._session.headers.update(
            {
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json",
                "User-Agent": f"provisioner/{__version__}",
            }
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter(self._bounds, tls))

    def carry(self, method: str, url: str, body: dict[str, Any] | None, timeout_s: float) -> Answer:
        """One exchange; `whole` says afterwards whether the connection is good for another."""
        bounds = self._bounds
        bounds.begin(timeout_s)
        handled = sys.exception()
        self.whole, status, retry_after, date = False, 0, "", ""
        try:
            with self._session.request(
                method, url, json=body, stream=True, allow_redirects=False, timeout=timeout_s
            ) as response:
                status, retry_after = response.status_code, response.headers.get("Retry-After", "")
                date = response.headers.get("Date", "")
                answer = Answer(status, _body(response), retry_after, date=date)
        except Exception as error:  # whatever it was: only `sent` says whether the call may have happened
            trouble = _trouble(error, handled, bounds)
        else:
            self.whole = status >= 200  # after an interim answer the real one would be the next call's
            return answer
        return Answer(status, b"", retry_after, trouble, bounds.sent, date)

    def close(self) -> None:
        self._session.close()


def _body(response: requests.Response) -> bytes:
    body = bytearray()
    for piece in response.iter_content(PIECE):
        body += piece
        if len(body) > LARGEST_BODY:
            raise _TooLarge
    return bytes(body)


def _trouble(error: BaseException, handled: BaseException | None, bounds: _Bounds) -> str:
    """What went wrong first, in our own words: a library's may quote what the peer sent.

    :param handled: what the caller was handling before, and so no part of this.
    """
    while error.__context__ and error.__context__ is not handled:
        error = error.__context__
    if isinstance(error, _TooLarge):
        return f"an answer of more than {LARGEST_BODY // 1024 // 1024} MiB"
    if isinstance(error, TimeoutError):
        return f"no {'answer' if bounds.sent else 'connection'} within {bounds.timeout_s:g} s"
    if isinstance(error, socket.gaierror):
        return "its name was not found"
    if isinstance(error, ssl.SSLError):
        return f"no TLS ({error.reason or type(error).__name__})"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return f"a broken connection or answer ({type(error).__name__})"


class _TooLarge(Exception):
    """The answer is larger than any that means something."""


class _Bounds:
    """What the call on a line may still take, in time and bytes, and whether it has begun to leave."""

    def begin(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.sent = False
        self._ends_at_s = time.monotonic() + timeout_s
        self._bytes_left = LARGEST_ANSWER

    def left_s(self) -> float:
        """The seconds that are left.

        :raises TimeoutError: if none are.
        """
        left_s = self._ends_at_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    def take(self, received: int) -> None:
        """Counts bytes that came in.

        :raises _TooLarge: if they are too many.
        """
        self._bytes_left -= received
        if self._bytes_left < 0:
            raise _TooLarge


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: else requests reads a redirect's whole body, however long, to know where it would lead."""


class _Adapter(adapters.HTTPAdapter):
    """requests' adapter (which tries nothing twice) with connections that keep to the bounds."""

    def __init__(self, bounds: _Bounds, tls: ssl.SSLContext | None) -> None:
        self._bounds = bounds
        self._tls = tls
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        options |= {"num_pools": connections, "maxsize": maxsize, "block": block, "ssl_context": self._tls}
        self.poolmanager = _Pools(self._bounds, **options)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing: the TLS context has its certificates, and verifies."""


class _Pools(PoolManager):
    def __init__(self, bounds: _Bounds, **options: Any) -> None:
        super().__init__(**options)
        self._bounds = bounds

    def _new_pool(
        self, scheme: str, host: str, port: int, request_context: dict[str, Any] | None = None
    ) -> HTTPConnectionPool:
        pool = super()._new_pool(scheme, host, port, request_context)
        pool.ConnectionCls = _TlsConnection if scheme == "https" else _Connection
        pool.conn_kw["bounds"] = self._bounds
        return pool


class _Connection(HTTPConnection):
    """A connection whose every wait ends with the call's deadline; urllib3's timeout bounds one read only."""

    def __init__(self, *args: Any, bounds: _Bounds, **options: Any) -> None:
        super().__init__(*args, **options)
        self._bounds = bounds
        self.response_class = cast("type[http.client.HTTPResponse]", functools.partial(_Response, bounds))

    def _new_conn(self) -> socket.socket:
        addresses = _resolved(self._dns_host, self.port, self._bounds.left_s())
        failure: OSError = socket.gaierror(socket.EAI_NONAME, "no address")
        for place, (family, kind, protocol, _, address) in enumerate(addresses):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(self._bounds.left_s() / (len(addresses) - place))
                sock.connect(address)
                sock.settimeout(self._bounds.left_s())
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        raise failure

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self.sock.settimeout(self._bounds.left_s())
        self._bounds.sent = True
        super().send(data)


class _TlsConnection(_Connection, HTTPSConnection):
    pass


def _resolved(host: str, port: int, timeout_s: float) -> list[Any]:
    """The host's addresses, as `socket.getaddrinfo` gives them.

    :raises TimeoutError: after `timeout_s`; the system's own resolver knows no deadline, so it runs aside.
    """
    results: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            results.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except OSError as error:
            results.put(error)
        except UnicodeError:
            results.put(socket.gaierror(socket.EAI_NONAME, "no host name"))

    threading.Thread(target=resolve, name="upstream-resolver", daemon=True).start()
    result: list[Any] | OSError = TimeoutError()
    with contextlib.suppress(queue.Empty):
        result = results.get(timeout=timeout_s)
    if isinstance(result, OSError):
        raise result
    return result


class _Response(http.client.HTTPResponse):
    """http.client's response, reading through the bounds: headers, body and what stands between chunks."""

    def __init__(self, bounds: _Bounds, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_BoundedStream(self.fp.detach(), sock, bounds))

    def begin(self) -> None:
        super().begin()
        # urllib3 logs malformed headers with all that they say; whoever answers so may say a password.
        self.msg.defects.clear()
        self.msg.set_payload("")


class _BoundedStream(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket, bounds: _Bounds) -> None:
        self._raw = raw
        self._sock = sock
        self._bounds = bounds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self._sock.settimeout(self._bounds.left_s())
        received = self._raw.readinto(buffer)
        self._bounds.take(received or 0)
        return received

    def close(self) -> None:
        self._raw.close()
        super().close()
