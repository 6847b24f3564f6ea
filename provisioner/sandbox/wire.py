"""HTTP/1.1 on the loopback address, down to the bytes, so that an answer can go wrong on purpose."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOST = "127.0.0.1"
BODY_LIMIT = 1 << 20  # bytes; no call that is documented comes near it
FLOOD_LIMIT = 64 << 20  # bytes; far beyond any sane limit, yet no danger to the machine
BACKLOG = 256  # connections not yet accepted; a burst of callers must not see refusals


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; its body never shows in a repr, because it may hold a password."""

    status: int
    body: bytes = field(default=b"", repr=False)
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, status: int, content: Any, headers: Mapping[str, str] | None = None) -> Answer:
        return cls(status, json.dumps(content).encode(), headers=headers or {})

    @classmethod
    def page(cls, status: int) -> Answer:
        """An HTML page, as frameworks and proxies answer with."""
        title = f"{status} {_phrase(status)}".strip()
        html = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
        return cls(status, f"<!DOCTYPE html>\n{html}\n".encode(), "text/html; charset=utf-8")

    def head(self, framing: str = "") -> bytes:
        """Status line and headers; `framing` stands in for the body's length."""
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}"]
        if self.status != 204:
            lines += [f"Content-Type: {self.content_type}", framing or f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _phrase(status: int) -> str:
    return BaseHTTPRequestHandler.responses.get(status, ("", ""))[0]


class Exchange:
    """One request that was read, and the ways to answer it or not. Header names are lower case."""

    def __init__(self, connection: _Connection, body: bytes) -> None:
        self._connection = connection
        self.method = connection.command
        self.path = urlsplit(connection.path).path
        self.headers = {name.lower(): value for name, value in connection.headers.items()}
        self.body = body

    def wait(self, seconds: float) -> None:
        """Waits; :raises ConnectionAbortedError: when the server ends meanwhile."""
        if self._connection.server.ending.wait(seconds):
            raise ConnectionAbortedError("the server has ended")

    def last(self, seconds: float) -> None:
        """Waits until so long after the request came: what was done meanwhile is a part of that time.

        :raises ConnectionAbortedError: as `wait`.
        """
        self.wait(max(0.0, self._connection.came_at_s + seconds - time.monotonic()))

    def send(self, answer: Answer) -> None:
        self._write(answer.head() + answer.body)

    def drop(self) -> None:
        """Closes the connection; what was not yet sent never will be."""
        self._connection.close_connection = True

    def truncate(self, answer: Answer) -> None:
        """Sends half of the body that was announced."""
        self.drop()
        self._write(answer.head() + answer.body[: len(answer.body) // 2])

    def trickle(self, answer: Answer, seconds: float) -> None:
        """Sends the body byte by byte, over so many seconds."""
        self._write(answer.head())
        self._drip(answer.body, seconds)

    def trickle_head(self, answer: Answer, seconds: float) -> None:
        """Sends the head byte by byte, over so many seconds, then the body."""
        self._drip(answer.head(), seconds)
        self._write(answer.body)

    def flood(self, answer: Answer) -> None:
        """Sends the head, then a JSON string without an end."""
        self.drop()
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        self._write(answer.head("Transfer-Encoding: chunked") + b'c\r\n{"result": "\r\n')
        for _ in range(0, FLOOD_LIMIT, 0x10000):
            self._write(chunk)

    def _drip(self, payload: bytes, seconds: float) -> None:
        for place in range(len(payload)):
            self.wait(seconds / len(payload))
            self._write(payload[place : place + 1])

    def _write(self, payload: bytes) -> None:
        self._connection.wfile.write(payload)


class _Connection(BaseHTTPRequestHandler):
    """Reads requests from one connection and hands each to the server's callable."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Httpd
    came_at_s: float  # the present request, by the monotonic clock

    def parse_request(self) -> bool:
        self.came_at_s = time.monotonic()
        return super().parse_request()

    def _exchange(self) -> None:
        body = self._body()
        if body is not None:
            self.server.serve(Exchange(self, body))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _exchange

    def _body(self) -> bytes | None:
        """The request's body; None where it cannot be had, which was answered then."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdecimal()):
            self.close_connection = True
            self.send_error(411)
            return None
        if len(length) > 9 or int(length) > BODY_LIMIT:
            self.close_connection = True
            self.send_error(413)
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):  # the caller left in the middle
            self.close_connection = True
            return None
        return body

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: the list of calls is the log."""


class _Httpd(ThreadingHTTPServer):
    """Holds its port from the start, and can end every connection it has."""

    daemon_threads = True
    request_queue_size = BACKLOG

    def __init__(self, port: int, serve: Callable[[Exchange], None]) -> None:
        super().__init__((HOST, port), _Connection, bind_and_activate=False)
        self.serve = serve
        self.ending = threading.Event()
        self._open: set[socket.socket] = set()
        self._change = threading.Condition()
        try:
            self.server_bind()
        except OSError:
            self.server_close()
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._change:
            self._open.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        super().process_request_thread(request, client_address)
        with self._change:
            self._open.remove(request)
            self._change.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away is no error; anything else is a defect, and printed."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def accept(self) -> None:
        """Accepts connections until it is told to end; `serve_forever` would look for that by polling."""
        while not self.ending.is_set():
            self.handle_request()
        self.server_close()

    def end(self) -> None:
        """Has accepting ended; `cut` follows once its thread is gone."""
        self.ending.set()
        with suppress(OSError):
            socket.create_connection((HOST, self.server_port), timeout=1).close()  # wakes it

    def cut(self) -> None:
        """Cuts every connection and waits for their threads."""
        with self._change:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._change.wait_for(lambda: not self._open)


class Listener:
    """An HTTP server on one port of the loopback address that can go down and come up again.

    The port is held while it is down, by a socket that nobody listens on: callers are refused, and no
    other program gets the port.

    :param serve: called in the connection's thread with each request.
    :param port: 0 for any free one.
    :raises OSError: if the port is taken.
    """

    def __init__(self, serve: Callable[[Exchange], None], port: int = 0) -> None:
        self._serve = serve
        self._httpd = _Httpd(port, serve)
        self._thread: threading.Thread | None = None
        self.port: int = self._httpd.server_address[1]

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def come_up(self) -> None:
        """Listens, in a thread of its own; nothing changes where it does already."""
        if self._thread is None:
            self._httpd.server_activate()
            self._thread = threading.Thread(target=self._httpd.accept, daemon=True)
            self._thread.start()

    def go_down(self) -> None:
        """Closes the listening socket and every connection; nothing changes where it did already."""
        if self._thread is not None:
            self.close()
            self._httpd = _Httpd(self.port, self._serve)

    def close(self) -> None:
        """Ends for good and lets the port go."""
        if self._thread is None:
            self._httpd.server_close()
            return
        self._httpd.end()
        self._thread.join()
        self._httpd.cut()
        self._thread = None
