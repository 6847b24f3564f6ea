"""What a call goes over: http.client's connection, with bounds.

`requests` and urllib3 bound one read, not the answer, and what they raise covers both "never sent" and "was
processed": what may not be sent twice needs better. They would take one and a half times to three times the
processor's time, too.
"""

from __future__ import annotations

import contextlib
import functools
import http
import http.client
import io
import os
import queue
import re
import select
import socket
import ssl
import string
import sys
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import SplitResult, quote, urlsplit

import certifi
import idna

from provisioner import __version__
from provisioner.line import Received

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LARGEST_BODY = 2 * 1024 * 1024  # bytes, unpacked; a list of a hundred thousand VMs is smaller
LARGEST_ANSWER = LARGEST_BODY + 256 * 1024  # as received: headers and chunk sizes count too
PIECE = 64 * 1024
_DIGITS = re.compile(r"[0-9]+[ \t]*")

_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
_ANY_ZLIB_HEADER = 32 + zlib.MAX_WBITS

_HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "keep-alive",
    "User-Agent": f"provisioner/{__version__}",
}


class Line:
    """One connection, for one call at a time: so it knows that call's bounds.

    Nothing is tried twice, no redirect looked at, no cookie kept, and nothing taken from the environment.
    """

    def __init__(self, headers: Mapping[str, str], *, tls: bool) -> None:
        self.whole = False
        self._bounds = _Bounds()
        self._tls = verifying() if tls else None
        self._headers = {**_HEADERS, **headers}
        self._server: tuple[str, str] | None = None
        self._connection: _Connection | None = None

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
            with self._answer(method, urlsplit(url), body, {**self._headers, **(headers or {})}) as response:
                status, retry_after = response.status, response.headers.get("Retry-After", "")
                date = response.headers.get("Date", "")
                received = Received(status, _body(response), retry_after, date=date)
        except Exception as error:  # whatever it was: only `sent` says whether the call may have happened
            trouble = _trouble(error, handled, bounds)
        else:
            self.whole = bounds.ended
            return received
        return Received(status, b"", retry_after, trouble, bounds.sent, date)

    def _answer(
        self, method: str, url: SplitResult, body: bytes | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        connection = self._connected(url)
        # Whoever closes in the middle of a request may have answered before.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, _target(url), body or None, headers)
        return connection.getresponse()

    def _connected(self, url: SplitResult) -> _Connection:
        """The connection to this server; anew where the last was to another, or the peer has closed it."""
        server = (url.scheme, url.netloc)
        if self._connection is None or self._server != server:
            self.close()
            tls = self._tls if url.scheme == "https" else None
            self._server, self._connection = server, _Connection(url, self._bounds, tls)
            weakref.finalize(self, self._connection.close).atexit = False  # nobody else knows of it
        if not self._connection.is_open:
            self._connection.close()
            self._connection.connect()
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def verifying() -> ssl.SSLContext:
    """What verifies a server's certificate, and that it is the server's."""
    return _tls(certifi.where())


@functools.cache
def _tls(certificates: str) -> ssl.SSLContext:
    """Once for all, when the first call needs it: to load certificates takes longer than many a call."""
    context = ssl.create_default_context(cafile=certificates)
    context.set_alpn_protocols(["http/1.1"])
    return context


def host_of(url: SplitResult) -> str:
    """The server's name as the network has it. Python's own encoding of 2003 makes another's of some."""
    host = url.hostname or ""
    return host if host.isascii() else idna.encode(host, uts46=True).decode()


def _target(url: SplitResult) -> str:
    """What is asked of the server: ASCII alone, whatever stands in the settings."""
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return target if target.isascii() else quote(target, safe=string.punctuation)


def _body(response: http.client.HTTPResponse) -> bytes:
    body, unpack = bytearray(), _unpacking(response.headers.get("Content-Encoding", ""))
    while piece := response.read(PIECE):
        body += unpack(piece, LARGEST_BODY + 1 - len(body))
        if len(body) > LARGEST_BODY:
            raise _TooLarge
    if response.length:  # of what was announced so much is missing
        raise http.client.IncompleteRead(b"", response.length)
    return bytes(body)


def _unpacking(encoding: str) -> Callable[[bytes, int], bytes]:
    """What makes of a piece of the answer at most so many bytes; nobody is asked to pack, some do."""
    if encoding.strip().lower() not in _PACKED:
        return lambda piece, _most: piece
    return zlib.decompressobj(_ANY_ZLIB_HEADER).decompress


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
    """What the call on a line may still take, in time and bytes, and whether it has begun to leave.

    :ivar ended: the answer was read to an end that nobody can doubt, and nothing came behind it.
    """

    def begin(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.sent = self.ended = False
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


class _Connection(http.client.HTTPConnection):
    """A connection whose every wait ends with the call's deadline, and that sends a call in one piece.

    :param tls: what a secret connection is made by; None for a plain one.
    """

    def __init__(self, url: SplitResult, bounds: _Bounds, tls: ssl.SSLContext | None) -> None:
        self.default_port = http.client.HTTPS_PORT if tls else http.client.HTTP_PORT
        super().__init__(host_of(url), url.port or self.default_port)
        self._bounds = bounds
        self._secret_by = tls
        self._unsent = bytearray()
        self.response_class = cast("type[http.client.HTTPResponse]", functools.partial(_Response, bounds))

    @property
    def is_open(self) -> bool:
        """Whether the peer has neither closed it nor said anything that nobody asked for."""
        if self.sock is None:
            return False
        readable = select.poll()
        readable.register(self.sock, select.POLLIN)
        return not readable.poll(0)

    def connect(self) -> None:
        self.sock = self._reached()
        if self._secret_by is not None:
            self.sock = self._secret_by.wrap_socket(self.sock, server_hostname=self.host.rstrip("."))

    def _reached(self) -> socket.socket:
        addresses = _resolved(self.host, self.port, self._bounds.left_s())
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

    def request(self, *args: Any, **options: Any) -> None:
        self._unsent.clear()
        super().request(*args, **options)
        self.sock.settimeout(self._bounds.left_s())
        self._bounds.sent = True
        self.sock.sendall(self._unsent)

    def send(self, data: Any) -> None:
        """Keeps head and body together: they go in one piece when all is said."""
        self._unsent += data


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
        self._bounds = bounds
        self._stream = _BoundedStream(self.fp.detach(), sock, bounds)
        self.fp = io.BufferedReader(self._stream)
        self._has_one_end = False

    def begin(self) -> None:
        super().begin()
        self._has_one_end = self._says_one_end()
        # Whatever comes to log them: whoever answers malformed headers may say a password in them.
        self.msg.defects.clear()
        self.msg.set_payload("")

    def _says_one_end(self) -> bool:
        """Whether the peer and all between must see the answer end where http.client does."""
        if self.will_close or self.version != 11 or self.msg.defects or self.msg.get_payload():
            return False
        ends = [*self.msg.get_all("Content-Length", []), *self.msg.get_all("Transfer-Encoding", [])]
        if self.status in (http.HTTPStatus.NO_CONTENT, http.HTTPStatus.NOT_MODIFIED):
            return ends in ([], ["0"])
        # Behind an interim answer comes the real one.
        return self.status >= 200 and len(ends) == 1 and (self.chunked or bool(_DIGITS.fullmatch(ends[0])))

    def _close_conn(self) -> None:
        """When all is read; what came behind it is told before it is forgotten."""
        self._bounds.ended = self._has_one_end and not self._stream.is_ahead(self.fp.tell())
        super()._close_conn()  # type: ignore[misc]  # typeshed leaves it out


class _BoundedStream(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket, bounds: _Bounds) -> None:
        self._raw = raw
        self._sock = sock
        self._bounds = bounds
        self._received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self._sock.settimeout(self._bounds.left_s())
        received = self._raw.readinto(buffer)
        self._bounds.take(received or 0)
        self._received += received or 0
        return received

    def tell(self) -> int:
        """How many bytes came in; a buffered reader's own `tell` takes off what it still holds."""
        return self._received

    def is_ahead(self, read: int) -> bool:
        """Whether more came in than these bytes; what the kernel has is looked for before the next call."""
        unread = self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0
        return self._received + unread > read

    def close(self) -> None:
        self._raw.close()
        super().close()
