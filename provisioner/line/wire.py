"""What a call goes over.

`requests` bounds one read, not the answer, and its `ConnectionError` covers both "never sent" and "was
processed": what may not be sent twice needs better.
"""

from __future__ import annotations

import contextlib
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
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import SplitResult, urlsplit

import requests
from requests import adapters
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from provisioner import __version__
from provisioner.line import Received

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LARGEST_BODY = 2 * 1024 * 1024  # bytes, unpacked; a list of a hundred thousand VMs is smaller
LARGEST_ANSWER = LARGEST_BODY + 256 * 1024  # as received: headers and chunk sizes count too
PIECE = 64 * 1024

_HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "keep-alive",
    "User-Agent": f"provisioner/{__version__}",
}


@functools.cache
def _tls(certificates: str) -> ssl.SSLContext:
    """Once for all, when the first call needs it: to load certificates takes longer than many a call."""
    return ssl.create_default_context(cafile=certificates)


class Line:
    """One connection, for one call at a time: so it knows that call's bounds.

    It is requests' adapter alone, without a session: no cookie is kept, no redirect looked at, and no netrc
    entry replaces a token.
    """

    def __init__(self, headers: Mapping[str, str], *, tls: bool) -> None:
        self.whole = False
        self._bounds = _Bounds()
        self._adapter = _Adapter(self._bounds, _tls(adapters.DEFAULT_CA_BUNDLE_PATH) if tls else None)
        self._headers = {**_HEADERS, **headers}

    def carry(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        timeout_s: float,
    ) -> Received:
        """One exchange; `whole` says afterwards whether the connection is good for another."""
        bounds = self._bounds
        bounds.begin(timeout_s)
        handled = sys.exception()
        self.whole, status, retry_after, date = False, 0, "", ""
        try:
            request = _request(method, url, {**self._headers, **(headers or {})}, body)
            with self._adapter.send(request, stream=True, timeout=timeout_s) as response:
                status, retry_after = response.status_code, response.headers.get("Retry-After", "")
                date = response.headers.get("Date", "")
                received = Received(status, _body(response), retry_after, date=date)
        except Exception as error:  # whatever it was: only `sent` says whether the call may have happened
            trouble = _trouble(error, handled, bounds)
        else:
            self.whole = status >= 200  # after an interim answer the real one would be the next call's
            return received
        return Received(status, b"", retry_after, trouble, bounds.sent, date)

    def close(self) -> None:
        self._adapter.close()


def _request(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None
) -> requests.PreparedRequest:
    """What requests sends, without what it prepares for others: forms, streams, logins, cookies."""
    request = requests.PreparedRequest()
    request.prepare_url(url, None)
    request.prepare_headers(headers)
    request.method = method
    if body:
        request.body = body
        request.headers["Content-Length"] = str(len(body))
    return request


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


class _Adapter(adapters.HTTPAdapter):
    """requests' adapter (which tries nothing twice) with one pool, whose connections keep to the bounds."""

    def __init__(self, bounds: _Bounds, tls: ssl.SSLContext | None) -> None:
        self._bounds = bounds
        self._tls = tls
        self._server = ("", "")
        self._pool: HTTPConnectionPool | None = None
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """None: it would look for the one pool at each call, and make it by its key."""

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, *args: Any, **options: Any
    ) -> HTTPConnectionPool:
        address = urlsplit(cast("str", request.url))
        if self._pool is None or self._server != address[:2]:
            self.close()
            self._server, self._pool = address[:2], _pool(address, self._bounds, self._tls)
        return self._pool

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        return request.path_url  # there is no proxy, whatever the environment says

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing: the TLS context has its certificates, and verifies."""

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """What a line reads of it: requests looks for cookies, too, and for what a text is written in."""
        response = requests.Response()
        response.status_code, response.headers, response.raw = resp.status, resp.headers, resp
        return response

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()


def _pool(address: SplitResult, bounds: _Bounds, tls: ssl.SSLContext | None) -> HTTPConnectionPool:
    """What keeps the one connection to a server."""
    host = cast("str", address.hostname)
    if address.scheme == "https":
        port = address.port or http.client.HTTPS_PORT
        return _TlsPool(host, port, bounds=bounds, ssl_context=tls, cert_reqs="CERT_REQUIRED")
    return _Pool(host, address.port or http.client.HTTP_PORT, bounds=bounds)


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


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def _resolved(host: str, port: int, timeout_s: float) -> list[Any]:
    """The host's addresses, as `socket.getaddrinfo` gives them.

    :raises TimeoutError: after `timeout_s`; the system's own resolver knows no deadline, so it runs aside.
    """
    with contextlib.suppress(OSError, UnicodeError):  # no name but a number: there is nothing to look up
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    results: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            results.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except OSError as error:
            results.put(error)
        except UnicodeError:
            results.put(socket.gaierror(socket.EAI_NONAME, "no host name"))

    threading.Thread(target=resolve, name="resolver", daemon=True).start()
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
