"""The production server: waitress, in threads of our own, on sockets of our own.

Its own errors (a request that is no HTTP, too large a body) answer in JSON like ours, and it stops in order:
nothing new, what is being answered is answered, every socket is closed.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from waitress import wasyncore  # type: ignore[import-untyped]
from waitress.adjustments import Adjustments  # type: ignore[import-untyped]
from waitress.channel import HTTPChannel  # type: ignore[import-untyped]
from waitress.parser import HTTPRequestParser, ParsingError  # type: ignore[import-untyped]
from waitress.server import TcpWSGIServer  # type: ignore[import-untyped]
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask  # type: ignore[import-untyped]
from waitress.utilities import RequestEntityTooLarge  # type: ignore[import-untyped]
from werkzeug.middleware.proxy_fix import ProxyFix

from provisioner.config import host_and_port
from provisioner.web.application import Application
from provisioner.web.errors import error_body
from provisioner.web.strands import Strands
from provisioner.web.surfaces import Side, Surfaces
from provisioner.web.webhooks import EVENTS

THREADS = 32  # people and monitoring; an event needs none
CONNECTIONS = 400  # on each of two addresses, beside the store's files, below the usual 1,024 open files
BACKLOG = 1024
MOST_HEADER_BYTES = 64 * 1024
MOST_BODY_BYTES = 1 << 20
MOST_DISCARDED_BYTES = 16 << 20  # a caller that still sends sees a reset instead of its answer
PATIENCE_S = 10.0
LOOK_S = 0.05

_WEBHOOK_HEADER = re.compile(rb"^webhook-[a-z]+:[^\r\n]*", re.IGNORECASE | re.MULTILINE)
_CONTROLS = bytes(code for code in (*range(0x20), 0x7F) if code not in b"\t\r\n")
_MARKED = bytes.maketrans(_CONTROLS, b"\xff" * len(_CONTROLS))


def servings(surfaces: Surfaces) -> list[Serving]:
    """What serves the public address, then `admin_listen` where it is another (contract, section 2).

    :raises OSError: an address is taken or not of this machine.
    """
    server = surfaces.settings.server
    sides = [(server.listen, Side.ALL)]
    if server.admin_listen:
        sides = [(server.listen, Side.PUBLIC), (server.admin_listen, Side.ADMIN)]
    made: list[Serving] = []
    try:
        for address, side in sides:
            app = Application(surfaces, side)
            made.append(Serving(app, address, trusted_proxies=server.trusted_proxies, brief=(EVENTS,)))
    except OSError:
        for serving in made:
            serving.stop()
        raise
    return made


class Serving:
    """One application on one address; callers queue from the moment it is made.

    :param address: `host:port`; port 0 is any free one.
    :param threads: how many requests are answered at once, beside the brief ones.
    :param brief: how the paths begin on which nothing is waited for but the store's writer; they need no
        thread.
    :param trusted_proxies: how many reverse proxies stand in front; without any, what a caller forwards of
        its own address is not believed.
    :raises OSError: the address is taken or not of this machine.
    """

    def __init__(
        self,
        app: Flask | Application,
        address: str,
        threads: int = THREADS,
        *,
        trusted_proxies: int = 0,
        brief: tuple[str, ...] = (),
    ) -> None:
        self._app = app
        host, port = host_and_port(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._host = f"[{host}]" if ":" in host else host
        self._port: int = listener.getsockname()[1]
        self._count = threads
        self._threads = ThreadedTaskDispatcher()
        self._map: dict[int, Any] = {}
        self._server = _server(app, listener, self._map, self._threads, trusted_proxies)
        self._server.brief = brief
        self._stopping = threading.Event()
        self._patience_s = PATIENCE_S
        self._thread = threading.Thread(target=self._serve, name=f"web-{self._port}", daemon=True)

    @property
    def port(self) -> int:
        """The port that it has, also where any free one was asked for."""
        return self._port

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}"

    def start(self) -> None:
        """Answers from now on."""
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a line for each request of a burst
        self._threads.set_thread_count(self._count)
        self._server.accept_connections()
        self._thread.start()

    def complete(self) -> None:
        """Makes what its application has put off, so that nobody who asks for it waits for that."""
        if isinstance(self._app, Application):
            self._app.complete()

    def stop(self, patience_s: float = PATIENCE_S) -> None:
        """Accepts nothing more; returns once what is being answered was, or after so many seconds."""
        if self._stopping.is_set():
            return
        self._patience_s = patience_s
        self._stopping.set()
        if self._thread.is_alive():
            self._server.pull_trigger()
            self._thread.join()
        else:
            self._server.end(self._map)

    def _serve(self) -> None:
        while not self._stopping.is_set():
            self._look(1)
        until = time.monotonic() + self._patience_s
        self._server.refuse()
        while self._server.active_channels and time.monotonic() < until:
            for channel in list(self._server.active_channels.values()):
                channel.leave_if_idle()
            self._look(LOOK_S)
        self._threads.shutdown(timeout=max(until - time.monotonic(), 1.0))
        self._server.end(self._map)

    def _look(self, timeout_s: float) -> None:
        """Goes on with the strands, then waits until something has come or can be sent, and does that."""
        self._server.is_woken = False  # before it looks: what is ready from here on wakes it anew
        self._server.strands.run()
        wasyncore.loop(timeout=timeout_s, use_poll=True, map=self._map, count=1)


def _server(
    app: Flask | Application,
    listener: socket.socket,
    places: dict[int, Any],
    threads: Any,
    trusted_proxies: int,
) -> _Server:
    """Waitress on a socket that is bound already: its own binding leaves threads and pipes if it fails."""
    proxied = ProxyFix(
        app, x_for=trusted_proxies, x_proto=trusted_proxies, x_host=trusted_proxies, x_prefix=0
    )
    settings = Adjustments(
        sockets=[listener],
        ident="provisioner",
        connection_limit=CONNECTIONS,
        backlog=BACKLOG,
        max_request_header_size=MOST_HEADER_BYTES,
        max_request_body_size=MOST_BODY_BYTES,
        clear_untrusted_proxy_headers=trusted_proxies == 0,
        log_socket_errors=False,
    )
    place = (listener.family, listener.type, listener.proto, listener.getsockname())
    return _Server(
        proxied if trusted_proxies else app,
        map=places,
        _start=False,
        _sock=listener,
        dispatcher=threads,
        adj=settings,
        sockinfo=place,
        bind_socket=False,
    )


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    """Reads what it will not take to its end, within reason: or else the answer is lost in a reset."""

    expect_continue: bool
    _left = 0

    def received(self, data: bytes) -> int:
        if self._left:
            taken = min(len(data), self._left)
            self._left -= taken
            self.completed = self._left == 0
            return taken
        consumed: int = super().received(data)
        if isinstance(self.error, RequestEntityTooLarge) and not self.chunked:
            self._discard(self.content_length - self.body_bytes_received)
        return consumed

    def _discard(self, left: int) -> None:
        if self.expect_continue:
            self.expect_continue = False  # the caller waits with the body, and need not send it
        elif 0 < left <= MOST_DISCARDED_BYTES:
            self._left = left
            self.completed = False

    def parse_header(self, header_plus: bytes) -> None:
        try:
            self._parse_webhook_header(header_plus)
        except ValueError as error:  # an address or a length that Python's own parsers refuse
            raise ParsingError("malformed") from error

    def _parse_webhook_header(self, header_plus: bytes) -> None:
        """Has a control character in a webhook's header judged with the signature, which it makes malformed.

        waitress takes no such request; here it stands for a character that it takes and no signature fits.
        """
        try:
            super().parse_header(header_plus)
        except ParsingError:
            marked = _WEBHOOK_HEADER.sub(lambda line: line[0].translate(_MARKED), header_plus)
            if marked == header_plus:
                raise
            self.headers.clear()
            super().parse_header(marked)


class _Task(WSGITask):  # type: ignore[misc]
    """Sends the head and what follows it in one piece, and ends the connection while the server stops."""

    def write(self, data: bytes) -> None:
        if self.wrote_header:
            super().write(data)
        else:
            with self.channel.in_one_piece():
                super().write(data)

    def build_response_header(self) -> bytes:
        """Says that the connection ends with this answer, where it does."""
        if self.channel.server.stopping:
            self.set_close_on_finish()
        head: bytes = super().build_response_header()
        return head


class _ErrorTask(ErrorTask):  # type: ignore[misc]
    """Tells waitress's own errors as ours are told."""

    def execute(self) -> None:
        problem = self.request.error
        body = json.dumps(error_body(problem.code)).encode()
        self.status = f"{problem.code} {problem.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]
    parser_class = _Parser
    task_class = _Task
    error_task_class = _ErrorTask
    _pieces: list[bytes] | None = None

    @contextmanager
    def in_one_piece(self) -> Iterator[None]:
        """Sends what is written meanwhile at its end, all at once: the caller reads once as well."""
        pieces = self._pieces = []
        try:
            yield
        finally:
            self._pieces = None
        super().write_soon(b"".join(pieces))

    def write_soon(self, data: bytes) -> int:
        if self._pieces is None:
            written: int = super().write_soon(data)
            return written
        self._pieces.append(data)
        return len(data)

    def leave_if_idle(self) -> None:
        """Closes a connection on which nothing is asked and nothing is left to send."""
        with self.requests_lock:
            if not self.requests and self.request is None and not self.total_outbufs_len:
                self.will_close = True


class _Server(TcpWSGIServer):  # type: ignore[misc]
    channel_class = _Channel
    brief: tuple[str, ...] = ()
    stopping = False
    is_woken = False

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.strands = Strands(self.pull_trigger)
        self._ended = False
        self._ending = threading.Lock()

    def add_task(self, task: _Channel) -> None:
        """Has the first request of a connection answered."""
        request = task.requests[0]
        if request.error is None and request.path.startswith(self.brief):
            self.strands.begin(task.service)
        else:
            super().add_task(task)

    def refuse(self) -> None:
        """Closes the listening socket alone; connections go on."""
        self.stopping = True
        wasyncore.dispatcher.close(self)

    def end(self, places: dict[int, Any]) -> None:
        """Closes everything that is left."""
        with self._ending:
            self._ended = True
            wasyncore.close_all(places, ignore_all=True)

    def pull_trigger(self) -> None:
        """Wakes the loop; never through a pipe that is closed, whose number another file may have by then.

        Once is enough until the loop looks again: else every thread that has answered would wait here for
        the others, which made a request twice as dear.
        """
        if self.is_woken:
            return
        with self._ending:
            if not self._ended:
                self.is_woken = True
                super().pull_trigger()
