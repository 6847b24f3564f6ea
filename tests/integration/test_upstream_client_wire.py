"""The client against peers that keep to no rule: what comes over the wire, byte by byte."""

from __future__ import annotations

import gzip
import io
import json
import logging
import socket
import socketserver
import ssl
import threading
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.errors import (
    SettingsError,
    TokenRefused,
    UpstreamError,
    UpstreamOutcomeUnknown,
    UpstreamUnavailable,
)
from provisioner.line import Lines, Received, wire
from provisioner.line.wire import LARGEST_BODY
from provisioner.service import Spec
from provisioner.upstream import Call
from provisioner.upstream.client import UpstreamClient
from tests.certificate import self_signed
from tests.integration.line_clock import LineClock, on_a_clock

TOKEN = "1|canaryTokenqpVodrZ3edt0DV4Q81dxQekTAess"
PASSWORD = "canary-password"
TIMEOUT_S = 60.0  # which no call here takes on any machine; by the clock of the line it may be near
LOOK_S = 5.0  # what each look at that clock takes, where it moves by itself
SHORT_S = 0.5  # for what nobody answers: it is waited for
LATE_S = 20.0  # what has ended by then did not wait for `TIMEOUT_S`, and the machine may be busy
SPEC = Spec("Debian10.0", 2, 2048, "20G", 2)
PATIENCE_S = 60.0

Method = Callable[[UpstreamClient], object]

METHODS: dict[str, Method] = {
    "job": lambda client: client.job("1"),
    "servers": lambda client: client.servers(),
    "templates": lambda client: client.templates(),
    "create": lambda client: client.create(SPEC),
    "status": lambda client: client.status(4001),
    "config": lambda client: client.config(4001),
    "delete": lambda client: client.delete(4001),
    "set_rdns": lambda client: client.set_rdns(4001, "192.0.2.1", "web1.example.com"),
    "change": lambda client: client.change(4001, mem=4096),
    "start": lambda client: client.start(4001),
    "shutdown": lambda client: client.shutdown(4001),
    "stop": lambda client: client.stop(4001),
    "reboot": lambda client: client.reboot(4001),
    "force_reboot": lambda client: client.force_reboot(4001),
    "reinstall": lambda client: client.reinstall(4001),
    "reset_password": lambda client: client.reset_password(4001),
    "backups": lambda client: client.backups(4001),
    "backup_status": lambda client: client.backup_status(4001),
    "create_backup": lambda client: client.create_backup(4001),
    "restore_backup": lambda client: client.restore_backup(4001, 1),
}
ONCE = {
    "create",
    "delete",
    "reboot",
    "force_reboot",
    "reinstall",
    "reset_password",
    "create_backup",
    "restore_backup",
}


class Peer(socketserver.ThreadingTCPServer):
    """Reads requests and answers each with the same pieces, `pause_s` apart.

    The connection stays open while `keeps`. `seen` has (number of the connection, the request's head).
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Reader)
        self.pieces: list[bytes] = [answer(b'{"result": true}')]
        self.pause_s = 0.0
        self.keeps = True
        self.endless = False
        self.seen: list[tuple[int, str]] = []
        self.ended = threading.Semaphore(0)
        self.tls: ssl.SSLContext | None = None
        self.stopping = threading.Event()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))

    @property
    def base_url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.server_address[1]}/api/v1"

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.ended.release()

    def __enter__(self) -> Peer:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        for request in self._open:
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Reader(socketserver.BaseRequestHandler):
    server: Peer

    def handle(self) -> None:
        connection = len(self.server._open)
        with suppress(OSError), ExitStack() as stack:
            sock = self.request
            if self.server.tls:
                sock = stack.enter_context(self.server.tls.wrap_socket(sock, server_side=True))
            file = stack.enter_context(sock.makefile("rb"))
            while head := _head(file):
                self.server.seen.append((connection, head))
                self._answer(sock)
                if not self.server.keeps:
                    return

    def _answer(self, sock: socket.socket) -> None:
        while True:
            for piece in self.server.pieces:
                sock.sendall(piece)
                if self.server.stopping.wait(self.server.pause_s):
                    return
            if not self.server.endless:
                return


def _head(file: Any) -> str:
    lines = list(iter(file.readline, b"\r\n"))[:100] if (first := file.readline()) else []
    if not first:
        return ""
    head = b"".join([first, *lines]).decode()
    length = [line.split(b":")[1] for line in lines if line.lower().startswith(b"content-length:")]
    file.read(int(length[0]) if length else 0)
    return head


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@contextmanager
def client_of(
    base_url: str, calls: list[Call] | None = None, timeout_s: float = TIMEOUT_S
) -> Iterator[UpstreamClient]:
    record = calls.append if calls is not None else None
    client = UpstreamClient(base_url, TOKEN, timeout_s=timeout_s, max_concurrency=4, record=record)
    yield client
    client.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


@pytest.fixture
def calls() -> list[Call]:
    return []


@pytest.fixture
def client(peer: Peer, calls: list[Call]) -> Iterator[UpstreamClient]:
    with client_of(peer.base_url, calls) as client:
        yield client


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> LineClock:
    """The line's; without it the line goes by the real time."""
    return on_a_clock(monkeypatch)


@pytest.mark.parametrize(
    ("date", "date_s"),
    [
        ("Date: Mon, 23 Nov 2026 12:00:00 GMT", 1_795_435_200.0),
        ("Date: Mon, 23 Nov 2026 12:00:00", 1_795_435_200.0),
        ("Date: yesterday", None),
        ("Date: Mon, 99 Nov 99999 12:00:00 GMT", None),
        ("X-Other: 1", None),
    ],
)
def test_call_tells_what_time_the_upstream_says(
    peer: Peer, client: UpstreamClient, calls: list[Call], date: str, date_s: float | None
) -> None:
    peer.pieces = [answer(b'{"result": []}', "200 OK", date)]
    client.servers()
    peer.pieces = [answer(b"a page", "503 Down", date)]
    error_of(client, "servers")
    assert [call.date_s for call in calls] == [date_s, date_s]


def error_of(client: UpstreamClient, name: str) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        METHODS[name](client)
    return caught.value


def unclear(name: str) -> type[UpstreamError]:
    return UpstreamOutcomeUnknown if name in ONCE else UpstreamUnavailable


# What is sent.


@pytest.mark.parametrize("name", METHODS)
def test_request_carries_documented_headers(peer: Peer, client: UpstreamClient, name: str) -> None:
    with suppress(UpstreamError):
        METHODS[name](client)
    ((_, head),) = peer.seen
    lines = [line.lower() for line in head.splitlines()]
    assert f"authorization: bearer {TOKEN}".lower() in lines
    assert "accept: application/json" in lines
    assert "content-type: application/json" in lines
    assert "accept-encoding: identity" in lines
    assert not any(line.startswith("cookie") for line in lines)


@pytest.mark.parametrize("name", METHODS)
def test_what_may_have_a_body_says_how_long_it_is(peer: Peer, client: UpstreamClient, name: str) -> None:
    with suppress(UpstreamError):
        METHODS[name](client)
    ((_, head),) = peer.seen
    lengths = [line for line in head.lower().splitlines() if line.startswith("content-length: ")]
    bodies = {
        "create": {
            "template": "Debian10.0", "cpuCores": 2, "mem": 2048, "disk": "20G", "ipCount": 2
        },
        "delete": {"force": False},
        "set_rdns": {"ip": "192.0.2.1", "hostname": "web1.example.com"},
        "change": {"mem": 4096},
        "restore_backup": {"backup": 1},
    }  # fmt: skip
    body = json.dumps(bodies[name]) if name in bodies else ""
    assert lengths == ([] if head.startswith("GET") else [f"content-length: {len(body)}"])


def test_line_goes_to_each_server_that_is_asked_for(peer: Peer) -> None:
    lines = Lines({}, timeout_s=TIMEOUT_S, max_concurrency=1, tls=False)
    with Peer() as other:
        for one in (peer, other, peer, peer):
            assert lines.carry("GET", one.base_url, fresh=False).status == 200
        assert [connection for connection, _ in peer.seen] == [1, 2, 2]
        assert other.ended.acquire(timeout=PATIENCE_S)  # a line has one connection
    lines.close()


def test_broken_header_is_not_sent(peer: Peer) -> None:
    lines = Lines({}, timeout_s=TIMEOUT_S, max_concurrency=1, tls=False)
    received = lines.carry("GET", peer.base_url, fresh=False, headers={"x-id": "1\r\nx-more: 2"})
    assert (received.status, received.sent, peer.seen) == (0, False, [])
    lines.close()


def test_environment_changes_nothing(
    peer: Peer, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    client.start(4001)
    assert f"Authorization: Bearer {TOKEN}" in peer.seen[0][1]
    assert peer.seen[0][1].startswith("PUT /api/v1/datacenter/server/4001/start ")


def test_cookies_are_not_kept(peer: Peer, client: UpstreamClient) -> None:
    peer.pieces = [answer(b'{"result": true}', "200 OK", "Set-Cookie: session=1; Path=/")]
    client.start(4001)
    client.start(4001)
    assert not any("cookie" in head.lower() for _, head in peer.seen)


def test_reads_share_a_connection(peer: Peer, client: UpstreamClient) -> None:
    for _ in range(3):
        client.start(4001)
    assert [connection for connection, _ in peer.seen] == [1, 1, 1]


@pytest.mark.parametrize("name", sorted(ONCE))
def test_what_is_sent_once_goes_alone(peer: Peer, client: UpstreamClient, name: str) -> None:
    client.start(4001)
    with suppress(UpstreamError):
        METHODS[name](client)
    client.start(4001)
    assert [connection for connection, _ in peer.seen] == [1, 2, 1]


def test_views_share_connections(peer: Peer, client: UpstreamClient) -> None:
    client.start(4001)
    client.recording(lambda call: None).start(4001)
    assert [connection for connection, _ in peer.seen] == [1, 1]


def test_closed_idle_connection_is_replaced(peer: Peer, client: UpstreamClient) -> None:
    peer.keeps = False
    for _ in range(3):
        client.start(4001)
        assert peer.ended.acquire(timeout=PATIENCE_S)
    assert [connection for connection, _ in peer.seen] == [1, 2, 3]


def test_failed_connection_is_not_used_again(peer: Peer, client: UpstreamClient, clock: LineClock) -> None:
    peer.pieces = [answer(b'{"result": true}')[:-1]]
    clock.answer_s = TIMEOUT_S - SHORT_S
    assert "no answer" in str(error_of(client, "start"))
    clock.answer_s = 0.0
    peer.pieces = [answer(b'{"result": true}')]
    client.start(4001)
    assert [connection for connection, _ in peer.seen] == [1, 2]


def test_answer_after_early_hints_is_nobody_elses(peer: Peer, client: UpstreamClient) -> None:
    peer.pieces = [b"HTTP/1.1 103 Early Hints\r\n\r\n", answer(b'{"result": [1]}')]
    error_of(client, "servers")
    peer.pieces = [answer(b'{"result": [2]}')]
    assert client.servers() == {2}
    assert [connection for connection, _ in peer.seen] == [1, 2]


def test_closed_client_keeps_no_connection(peer: Peer, client: UpstreamClient) -> None:
    client.start(4001)
    idle = list(client._lines._idle)  # held, so that no garbage collection closes them
    client.close()
    assert peer.ended.acquire(timeout=PATIENCE_S)
    assert len(idle) == 1
    client.start(4001)
    assert peer.ended.acquire(timeout=PATIENCE_S)


def test_forgotten_client_keeps_no_connection(peer: Peer) -> None:
    lines = Lines({}, timeout_s=TIMEOUT_S, max_concurrency=1, tls=False)
    assert lines.carry("GET", peer.base_url, fresh=False).status == 200
    del lines
    assert peer.ended.acquire(timeout=PATIENCE_S)


# Time.

ENDLESS: dict[str, list[bytes]] = {
    "status line": [b"HTTP/1.1 200 ", b"O"],
    "headers": [b"HTTP/1.1 200 OK\r\nA: b\r\n"],
    "a header": [b"x"],
    "continue": [b"HTTP/1.1 100 Continue\r\n\r\n"],
}


def trickle(peer: Peer, *pieces: bytes) -> None:
    peer.pieces, peer.pause_s, peer.endless = list(pieces), 0.01, True


@pytest.mark.parametrize("name", ["servers", "create"])
@pytest.mark.parametrize("pieces", ENDLESS.values(), ids=ENDLESS.keys())
def test_deadline_ends_what_never_ends(
    peer: Peer, client: UpstreamClient, clock: LineClock, name: str, pieces: list[bytes]
) -> None:
    """Something comes all the time: so each wait is short, and only their sum is too long."""
    trickle(peer, *pieces)
    clock.look_s = LOOK_S
    error = error_of(client, name)
    assert TIMEOUT_S <= clock.now_s <= TIMEOUT_S + 2 * LOOK_S  # it began, and it ended
    assert type(error) is unclear(name)
    assert "no answer within 60 s" in str(error)


@pytest.mark.parametrize("name", ["servers", "create"])
def test_deadline_ends_silence(peer: Peer, client: UpstreamClient, clock: LineClock, name: str) -> None:
    trickle(peer, b"")
    clock.answer_s = TIMEOUT_S - SHORT_S
    began_s = time.monotonic()
    error = error_of(client, name)
    assert SHORT_S * 0.95 <= time.monotonic() - began_s <= LATE_S
    assert type(error) is unclear(name)


@pytest.mark.parametrize("name", ["servers", "create"])
@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 10000000",
        "Transfer-Encoding: chunked",
        "Connection: close",
        "Content-Length: 10000000\r\nContent-Encoding: gzip",
    ],
)
def test_trickled_body_ends_with_the_deadline(
    peer: Peer, client: UpstreamClient, calls: list[Call], clock: LineClock, name: str, head: str
) -> None:
    trickle(peer, f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode(), *[b"1"] * 50_000)
    clock.look_s = LOOK_S
    error = error_of(client, name)
    assert TIMEOUT_S <= clock.now_s <= TIMEOUT_S + 2 * LOOK_S
    assert type(error) is unclear(name)
    assert "200, no answer within 60 s" in str(error)
    assert calls[0].status == 200


def test_calls_side_by_side_keep_their_deadlines(
    peer: Peer, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has begun at another time, and none moves the end of another."""
    client.start(4001)
    trickle(peer, b"x")
    clocks = {threading.Thread(target=lambda: error_of(client, "servers")): LineClock() for _ in range(3)}
    own = SimpleNamespace(monotonic=lambda: clocks[threading.current_thread()].monotonic())  # noqa: PLW0108
    monkeypatch.setattr(wire, "time", own)
    for begins_s, (thread, clock) in enumerate(clocks.items()):
        clock.now_s, clock.look_s = begins_s * 1000.0, LOOK_S
        thread.start()
    for thread in clocks:
        thread.join()
    took_s = [clock.now_s - begins_s * 1000 for begins_s, clock in enumerate(clocks.values())]
    assert all(TIMEOUT_S <= each <= TIMEOUT_S + 2 * LOOK_S for each in took_s), took_s


def test_forbidding_status_counts_without_its_body(
    peer: Peer, client: UpstreamClient, clock: LineClock
) -> None:
    trickle(peer, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 1000000\r\n\r\n<html>", *[b"x"] * 50_000)
    clock.look_s = LOOK_S
    assert type(error_of(client, "create")) is TokenRefused


@pytest.fixture
def deaf() -> Iterator[tuple[str, int]]:
    """An address that answers no connection, as behind a firewall: its backlog is full."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


def test_deaf_address_sent_nothing(deaf: tuple[str, int]) -> None:
    with client_of(f"http://127.0.0.1:{deaf[1]}/api/v1", timeout_s=SHORT_S) as client:
        began_s = time.monotonic()
        error = error_of(client, "create")
    assert SHORT_S * 0.95 <= time.monotonic() - began_s <= LATE_S
    assert type(error) is UpstreamUnavailable
    assert "no connection within 0.5 s; nothing was sent" in str(error)


def test_slow_name_lookup_sent_nothing(monkeypatch: pytest.MonkeyPatch, peer: Peer) -> None:
    answered, lookup = threading.Event(), socket.getaddrinfo

    def slow(*args: Any, flags: int = 0, **options: Any) -> Any:
        if flags & socket.AI_NUMERICHOST:
            return lookup(*args, flags=flags, **options)
        return answered.wait(PATIENCE_S) and []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began_s = time.monotonic()
    with client_of(peer.base_url.replace("127.0.0.1", "upstream.test"), timeout_s=SHORT_S) as client:
        error = error_of(client, "create")
    assert SHORT_S * 0.95 <= time.monotonic() - began_s <= LATE_S
    answered.set()
    assert type(error) is UpstreamUnavailable
    assert "no connection within 0.5 s; nothing was sent" in str(error)


def test_number_is_not_looked_up(monkeypatch: pytest.MonkeyPatch, peer: Peer) -> None:
    asked: list[int] = []
    lookup = socket.getaddrinfo

    def look(*args: Any, flags: int = 0, **options: Any) -> Any:
        asked.append(flags)
        return lookup(*args, flags=flags, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look)
    with client_of(peer.base_url) as client:
        client.start(4001)
    assert asked == [socket.AI_NUMERICHOST]


def test_time_lost_in_connecting_counts(
    peer: Peer, client: UpstreamClient, clock: LineClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookup = socket.getaddrinfo

    def slow(*args: Any, **options: Any) -> Any:
        clock.now_s += TIMEOUT_S - SHORT_S
        return lookup(*args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    trickle(peer, b"")
    began_s = time.monotonic()
    error = error_of(client, "create")
    assert SHORT_S * 0.95 <= time.monotonic() - began_s <= LATE_S
    assert type(error) is UpstreamOutcomeUnknown


def test_late_request_is_not_sent(
    peer: Peer, client: UpstreamClient, clock: LineClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.start(4001)
    put = HTTPConnection.putrequest

    def slow(*args: Any, **options: Any) -> None:
        clock.now_s += TIMEOUT_S * 1.1
        put(*args, **options)

    monkeypatch.setattr(HTTPConnection, "putrequest", slow)
    assert "nothing was sent" in str(error_of(client, "start"))
    assert len(peer.seen) == 1


def test_call_leaves_in_one_piece(
    peer: Peer, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.start(4001)  # connected
    sent: list[bytes] = []
    real = socket.socket.sendall

    def sendall(sock: socket.socket, data: Any, *flags: int) -> None:
        if sock.getpeername()[1] == peer.server_address[1]:
            sent.append(bytes(data))
        real(sock, data, *flags)

    monkeypatch.setattr(socket.socket, "sendall", sendall)
    client.set_rdns(4001, "192.0.2.1", "web1.example.com")
    assert [piece.count(b"\r\n\r\n{") for piece in sent] == [1]


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("/api/v1/job/1", "/api/v1/job/1"),
        ("", "/"),
        ("?a=b", "/?a=b"),
        ("/a%20b/c?d=%2F", "/a%20b/c?d=%2F"),
        ("/Lösung?für=1", "/L%C3%B6sung?f%C3%BCr=1"),
    ],
)
def test_address_is_asked_for_as_it_stands(peer: Peer, address: str, target: str) -> None:
    lines = Lines({}, timeout_s=TIMEOUT_S, max_concurrency=1, tls=False)
    host = f"127.0.0.1:{peer.server_address[1]}"
    assert lines.carry("GET", f"http://{host}{address}", fresh=True).status == 200
    lines.close()
    ((_, head),) = peer.seen
    assert head.startswith(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n")


# Connecting.


@pytest.mark.parametrize("reuse", [False, True])
def test_trouble_of_the_caller_is_not_told(peer: Peer, client: UpstreamClient, reuse: bool) -> None:
    if reuse:
        client.start(4001)
    peer.pieces, peer.keeps = [b""], False
    try:
        raise TimeoutError("of somebody else")
    except TimeoutError:
        error = error_of(client, "start")
    assert "RemoteDisconnected" in str(error)


def test_refusal_is_told_to_a_troubled_caller(closed: tuple[str, int]) -> None:
    try:
        raise TimeoutError("of somebody else")
    except TimeoutError:
        with client_of(f"http://127.0.0.1:{closed[1]}/api/v1") as client:
            error = error_of(client, "start")
    assert "connection refused; nothing was sent" in str(error)


@pytest.mark.parametrize("failure", [socket.gaierror(-2, "Name or service not known"), UnicodeError("idna")])
@pytest.mark.parametrize("name", ["servers", "create"])
def test_unknown_name_sent_nothing(
    monkeypatch: pytest.MonkeyPatch, peer: Peer, failure: Exception, name: str
) -> None:
    def fail(*args: Any, **options: Any) -> Any:
        raise failure

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with client_of(peer.base_url) as client:
        error = error_of(client, name)
    assert type(error) is UpstreamUnavailable
    assert "its name was not found; nothing was sent" in str(error)
    assert peer.seen == []


@pytest.mark.parametrize(
    ("name", "known_as"),
    [("straße.example", "xn--strae-oqa.example"), ("Bücher.example", "xn--bcher-kva.example")],
)
def test_name_beyond_ascii_is_nobody_elses(
    monkeypatch: pytest.MonkeyPatch, peer: Peer, name: str, known_as: str
) -> None:
    """What goes to strasse.example, which may be anybody's, tells him the token."""
    asked: list[str | bytes | None] = []
    lookup = socket.getaddrinfo

    def look(host: str, *args: Any, **options: Any) -> Any:
        asked.append(host)
        return lookup("127.0.0.1", *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look)
    with client_of(f"http://{name}:{peer.server_address[1]}/api/v1") as client:
        client.start(4001)
    assert set(asked) == {known_as}
    ((_, head),) = peer.seen
    assert f"\r\nHost: {known_as}:{peer.server_address[1]}\r\n" in head


def test_name_without_addresses_sent_nothing(monkeypatch: pytest.MonkeyPatch, peer: Peer) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: [])
    with client_of(peer.base_url) as client:
        assert "its name was not found; nothing was sent" in str(error_of(client, "create"))


@pytest.fixture
def closed() -> Iterator[tuple[str, int]]:
    """An address that refuses connections."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()


@pytest.mark.parametrize("first", ["closed", "deaf"])
def test_second_address_is_tried(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, peer: Peer, first: str
) -> None:
    both = (request.getfixturevalue(first), peer.server_address)
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in both]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: addresses)
    with client_of(peer.base_url, timeout_s=4 if first == "deaf" else TIMEOUT_S) as client:
        client.start(4001)  # half of it is for the deaf one
    assert len(peer.seen) == 1


@pytest.mark.parametrize(
    ("host", "looked_up"), [("[::1]", "::1"), ("localhost", "localhost"), ("localhost.", "localhost.")]
)
def test_host_is_looked_up_as_written(
    monkeypatch: pytest.MonkeyPatch, peer: Peer, host: str, looked_up: str
) -> None:
    asked: list[str] = []

    def lookup(name: str, *args: Any, **options: Any) -> Any:
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", peer.server_address)]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with client_of(peer.base_url.replace("127.0.0.1", host)) as client:
        client.start(4001)
    assert asked == [looked_up]


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://[2001:db8::abcd]/api", ("2001:db8::abcd", 443)),
        ("http://[2001:db8::1:2]/api", ("2001:db8::1:2", 80)),
        ("http://[2001:db8::1]:8080/api", ("2001:db8::1", 8080)),
        ("https://api.example.com/api", ("api.example.com", 443)),
    ],
)
def test_port_that_is_not_told_is_the_schemes(
    monkeypatch: pytest.MonkeyPatch, url: str, server: tuple[str, int]
) -> None:
    """And never the last group of an IPv6 address, which would be another machine."""
    asked: list[tuple[str, int]] = []

    def resolved(host: str, port: int, timeout_s: float) -> list[Any]:
        asked.append((host, port))
        raise OSError("nobody")

    monkeypatch.setattr(wire, "_resolved", resolved)
    assert not wire.Line({}, tls=True).carry("GET", url, None, None, 1.0).sent
    assert asked == [server]


@pytest.mark.parametrize(("name", "end"), [("servers", b"\r\n\r\n"), ("create", b"}")])
def test_reset_before_an_answer_is_unclear(name: str, end: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def reset() -> None:
            sock, _ = listener.accept()
            while not sock.recv(65536).endswith(end):
                pass
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()

        thread = threading.Thread(target=reset)
        thread.start()
        with client_of(f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1") as client:
            error = error_of(client, name)
        thread.join()
    assert type(error) is unclear(name)
    assert "connection reset by peer" in str(error)


# TLS.


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return self_signed(tmp_path)


@pytest.fixture
def tls_peer(peer: Peer, certificate: Path) -> Peer:
    peer.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    peer.tls.load_cert_chain(certificate)
    return peer


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("certifi.where", lambda: str(certificate))


@pytest.mark.usefixtures("trusted")
def test_tls_carries_calls(tls_peer: Peer) -> None:
    with client_of(tls_peer.base_url) as client:
        client.start(4001)
        client.reboot(4001)
        client.start(4001)
    assert [connection for connection, _ in tls_peer.seen] == [1, 2, 1]


AT_ONCE = io.DEFAULT_BUFFER_SIZE  # what is read from a connection at once; the rest of a TLS record stays
STRAY = answer(b"of nobody")
NONE = b"HTTP/1.1 204 No Content\r\n\r\n"
LEFT_OVER: dict[str, bytes] = {
    "an answer": answer(b"first") + STRAY,
    "an answer just behind what is read at once": answer(b"first").ljust(AT_ONCE) + STRAY,
    "an answer behind a long body": answer(b"x" * AT_ONCE) + STRAY,
    "an answer behind chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + STRAY,
    "a byte": answer(b"first") + b"x",
    "the body of no content": NONE + b"first",
    "an answer in the body of no content": NONE.ljust(AT_ONCE) + STRAY,
}
CHUNKS = "2\r\nab\r\n0\r\n\r\n"
DOUBTED: dict[str, str] = {
    "length and chunks": f"Content-Length: 12\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNKS}",
    "length and two codings": f"Content-Length: 12\r\nTransfer-Encoding: identity, chunked\r\n\r\n{CHUNKS}",
    "two lengths": "Content-Length: 2\r\nContent-Length: 4\r\n\r\nab",
    "one length twice": "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "length with a sign": "Content-Length: +2\r\n\r\nab",
    "length with a line": "Content-Length: 0_2\r\n\r\nab",
    "length before no header": "Content-Length: 2\r\nno header\r\nTransfer-Encoding: chunked\r\n\r\nab",
    "close": "Connection: close\r\nContent-Length: 2\r\n\r\nab",
}
CERTAIN: dict[str, bytes] = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 2 \r\n\r\nab",
    "no length": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\na: b\r\n\r\n",
    "continued": b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"ab"),
    "no content": NONE,
    "no content of no length": answer(b"", "204 No Content"),
}


@pytest.fixture(params=["plain", "tls"])
def either_peer(request: pytest.FixtureRequest, peer: Peer) -> Peer:
    if request.param == "tls":
        request.getfixturevalue("trusted")
        request.getfixturevalue("tls_peer")
    return peer


def behind(peer: Peer, pieces: bytes) -> tuple[Received, list[int]]:
    """The second answer, where the peer has answered the first call so; and each call's connection."""
    lines = Lines({}, timeout_s=TIMEOUT_S, max_concurrency=1, tls=True)
    peer.pieces = [pieces]
    lines.carry("GET", peer.base_url, fresh=False)
    peer.pieces = [answer(b"second")]
    received = lines.carry("GET", peer.base_url, fresh=False)
    lines.close()
    return received, [connection for connection, _ in peer.seen]


@pytest.mark.parametrize("pieces", LEFT_OVER.values(), ids=LEFT_OVER.keys())
def test_what_is_left_over_answers_nothing(either_peer: Peer, pieces: bytes) -> None:
    received, connections = behind(either_peer, pieces)
    assert (received.body, connections) == (b"second", [1, 2])


@pytest.mark.parametrize("rest", DOUBTED.values(), ids=DOUBTED.keys())
def test_line_whose_answer_may_end_elsewhere_is_not_kept(peer: Peer, rest: str) -> None:
    received, connections = behind(peer, f"HTTP/1.1 200 OK\r\n{rest}".encode())
    assert (received.body, connections) == (b"second", [1, 2])


@pytest.mark.parametrize(
    "end", ["Content-Length: 2\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
def test_line_of_an_older_protocol_is_not_kept(peer: Peer, end: str) -> None:
    _, connections = behind(peer, f"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n{end}".encode())
    assert connections == [1, 2]


@pytest.mark.parametrize("pieces", CERTAIN.values(), ids=CERTAIN.keys())
def test_line_whose_answer_has_one_end_is_kept(either_peer: Peer, pieces: bytes) -> None:
    received, connections = behind(either_peer, pieces)
    assert (received.body, connections) == (b"second", [1, 1])


def test_answer_without_an_end_leaves_no_line(peer: Peer) -> None:
    peer.keeps = False
    received, connections = behind(peer, b"HTTP/1.1 200 OK\r\n\r\nab")
    assert (received.body, connections) == (b"second", [1, 2])


@pytest.mark.usefixtures("trusted")
def test_deadline_holds_within_tls(tls_peer: Peer, clock: LineClock) -> None:
    trickle(tls_peer, b"x")
    clock.look_s = LOOK_S
    with client_of(tls_peer.base_url) as client:
        error = error_of(client, "create")
    assert TIMEOUT_S <= clock.now_s <= TIMEOUT_S + 2 * LOOK_S
    assert type(error) is UpstreamOutcomeUnknown


def test_untrusted_certificate_sent_nothing(tls_peer: Peer) -> None:
    with client_of(tls_peer.base_url) as client:
        error = error_of(client, "create")
    assert type(error) is UpstreamUnavailable
    assert "no TLS (CERTIFICATE_VERIFY_FAILED); nothing was sent" in str(error)
    assert tls_peer.seen == []


def test_peer_without_tls_sent_nothing(peer: Peer) -> None:
    with client_of(peer.base_url.replace("http:", "https:"), timeout_s=SHORT_S) as client:
        error = error_of(client, "create")
    assert type(error) is UpstreamUnavailable
    assert "nothing was sent" in str(error)


@pytest.mark.parametrize("addresses", [1, 2])
def test_silent_handshake_sent_nothing(monkeypatch: pytest.MonkeyPatch, addresses: int) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        client_of(f"https://127.0.0.1:{listener.getsockname()[1]}/api/v1", timeout_s=SHORT_S) as client,
    ):
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", listener.getsockname())] * addresses
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)
        began_s = time.monotonic()
        error = error_of(client, "create")
        assert SHORT_S * 0.95 <= time.monotonic() - began_s <= LATE_S
    assert type(error) is UpstreamUnavailable
    assert "no connection within 0.5 s; nothing was sent" in str(error)


# Size.

FILLED = b'{"result": "' + b"x" * (LARGEST_BODY - 14) + b'"}'
BOMB = gzip.compress(b'{"result": "' + b"x" * 50 * LARGEST_BODY + b'"}', 1)
FLOODS: dict[str, bytes] = {
    "a byte too many": answer(FILLED + b" "),
    "bomb": answer(BOMB, "200 OK", "Content-Encoding: gzip"),
    "redirect": answer(FILLED + b" ", "302 Found", "Location: /elsewhere"),
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * LARGEST_BODY,
    "continues": b"HTTP/1.1 100 Continue\r\n\r\n" * (LARGEST_BODY // 10),
}


@pytest.mark.parametrize("name", ["servers", "create"])
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
def test_answer_has_a_largest_size(peer: Peer, name: str, flood: bytes) -> None:
    peer.pieces = [flood]
    with client_of(peer.base_url) as client:
        error = error_of(client, name)
    assert type(error) is unclear(name)
    assert "an answer of more than 2 MiB" in str(error)


@pytest.mark.parametrize("status", ["200 OK", "302 Found", "500 Oops"])
def test_bomb_does_not_fill_memory(peer: Peer, client: UpstreamClient, status: str) -> None:
    peer.pieces = [answer(BOMB, status, "Content-Encoding: gzip", "Location: /elsewhere")]
    tracemalloc.start()
    error_of(client, "servers")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * LARGEST_BODY


@pytest.mark.parametrize("packed", [False, True])
def test_largest_answer_is_read(peer: Peer, packed: bool) -> None:
    body = gzip.compress(FILLED) if packed else FILLED
    peer.pieces = [answer(body, "200 OK", *["Content-Encoding: gzip"] * packed)]
    with client_of(peer.base_url) as client:
        client.start(4001)


# Form.

BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "no status": b"HTTP/1.1 two OK\r\n\r\n",
    "status of one digit": b"HTTP/1.1 2 OK\r\n\r\n",
    "cut head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "cut body": answer(b'{"result": true}')[:-1],
    "wrong chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "long chunk line": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 300_000,
    "negative chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-10\r\n{}",
    "chunk of all that comes": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n{}",
    "cut chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{",
    "no gzip": answer(b'{"result": true}', "200 OK", "Content-Encoding: gzip"),
    "long header": b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000 + b"\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    "odd redirect": answer(b"", "302 Found", "Location: http://[::"),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("pieces", BROKEN.values(), ids=BROKEN.keys())
def test_broken_answers_are_unclear(peer: Peer, client: UpstreamClient, name: str, pieces: bytes) -> None:
    peer.pieces, peer.keeps = [pieces], False
    assert type(error_of(client, name)) is unclear(name)
    assert len(peer.seen) == 1


def test_answer_that_ends_with_the_connection_is_read(peer: Peer, client: UpstreamClient) -> None:
    peer.pieces, peer.keeps = [b'HTTP/1.0 200 OK\r\n\r\n{"result": [4001]}'], False
    assert client.servers() == {4001}


def test_code_counts_where_redirect_is_odd(peer: Peer, client: UpstreamClient) -> None:
    body = b'{"result": false, "error": "0xb1: Missing required parameter"}'
    peer.pieces = [answer(body, "302 Found", "Location: http://[::")]
    assert error_of(client, "create").code == "0xb1"


# Secrets.

ECHO = f"Authorization: Bearer {TOKEN}\r\npassword: {PASSWORD}"
LEAKS: dict[str, bytes] = {
    "page": answer(f"<pre>you sent {TOKEN} and {ECHO}</pre>".encode(), "502 Bad Gateway"),
    "JSON": answer(f'{{"result": false, "error": "0xb0: {TOKEN}", "password": "{PASSWORD}"}}'.encode()),
    "cut JSON": answer(f'{{"result": {{"password": "{PASSWORD}", "token": "{TOKEN}"'.encode()),
    "status line": f"{TOKEN} {PASSWORD}\r\n\r\n".encode(),
    "reason": f"HTTP/1.1 500 {TOKEN} {PASSWORD}\r\n\r\n".encode(),
    "status number": f"HTTP/1.1 {TOKEN} {PASSWORD}\r\n\r\n".encode(),
    "malformed header": f"HTTP/1.1 200 OK\r\nno header {PASSWORD}\r\n{ECHO}\r\n\r\n{TOKEN}".encode(),
    "redirect": answer(b"", "302 Found", f"Location: http://{TOKEN}:{PASSWORD}@127.0.0.1:1/?{TOKEN}"),
    "encoding": answer(b"{}", "200 OK", "Content-Encoding: gzip", f"X-Echo: {TOKEN} {PASSWORD}"),
    "chunk": f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{TOKEN}{PASSWORD}\r\n".encode(),
    "retry": answer(b"", "429 Too Many", f"Retry-After: {TOKEN} {PASSWORD}"),
}


@pytest.mark.parametrize("name", ["servers", "job", "create", "reset_password"])
@pytest.mark.parametrize("pieces", LEAKS.values(), ids=LEAKS.keys())
def test_no_secret_leaves_the_client(
    peer: Peer,
    client: UpstreamClient,
    calls: list[Call],
    caplog: pytest.LogCaptureFixture,
    name: str,
    pieces: bytes,
) -> None:
    caplog.set_level(logging.DEBUG)
    peer.pieces, peer.keeps = [pieces], False
    error = error_of(client, name)
    said = "".join(traceback.format_exception(error))
    chain = f"{error!r} {vars(error)} {error.__cause__!r} {error.__context__!r}"
    for canary in (TOKEN, TOKEN[2:], PASSWORD):
        assert canary not in f"{said} {chain} {error.public} {calls!r} {client!r} {caplog.text}"


@pytest.mark.parametrize("name", ["job", "reset_password"])
@pytest.mark.parametrize(
    "result", [f'"{PASSWORD}"', f'{{"status": "success", "new": "{PASSWORD}"}}', f'["{PASSWORD}"]']
)
def test_unnamed_password_is_not_recorded(
    peer: Peer, client: UpstreamClient, calls: list[Call], name: str, result: str
) -> None:
    peer.pieces = [answer(f'{{"result": {result}}}'.encode())]
    with suppress(UpstreamError):
        METHODS[name](client)
    assert len(calls) == 1
    assert PASSWORD not in repr(calls)


def test_failed_job_echoes_no_token(peer: Peer, client: UpstreamClient) -> None:
    peer.pieces = [answer(f'{{"result": {{"status": "failed", "output": "0xb0: {TOKEN}"}}}}'.encode())]
    assert client.job("1").error == "0xb0: [redacted]"


def test_refused_settings_tell_no_secret() -> None:
    with pytest.raises(SettingsError) as caught:
        UpstreamClient("http://127.0.0.1/api/v1", f"{TOKEN}\n", timeout_s=1, max_concurrency=1)
    assert TOKEN not in repr(caught.value)


@pytest.mark.parametrize("token", ["", " ", "a b", "a\n", "tökén", "a\0"])
def test_token_must_fit_a_header(token: str) -> None:
    with pytest.raises(SettingsError, match=r"upstream\.token"):
        UpstreamClient("http://127.0.0.1/api/v1", token, timeout_s=1, max_concurrency=1)


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "127.0.0.1",
        "ftp://127.0.0.1/api",
        "http://",
        "http:///api/v1",
        "http://me:pw@127.0.0.1/api/v1",
        "http://127.0.0.1/api/v1?x=1",
        "http://127.0.0.1/api/v1#x",
        "http://127.0.0.1:99999/api/v1",
        "http://[::/api/v1",
    ],
)
def test_address_must_be_whole(base_url: str) -> None:
    with pytest.raises(SettingsError, match=r"upstream\.base_url"):
        UpstreamClient(base_url, TOKEN, timeout_s=1, max_concurrency=1)


def test_slash_at_the_end_is_allowed(peer: Peer) -> None:
    with client_of(f"{peer.base_url}/") as client:
        client.start(4001)
    assert peer.seen[0][1].startswith("PUT /api/v1/datacenter/server/4001/start ")


# Whatever it is.


@pytest.mark.parametrize("name", METHODS)
@settings(
    max_examples=10,  # of each method
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_bytes_are_value_or_upstream_error(peer: Peer, name: str, data: st.DataObject) -> None:
    body = data.draw(st.binary(max_size=200))
    status = data.draw(st.sampled_from(["200 OK", "302 Found", "400 Bad", "401 No", "500 Oops"]))
    peer.keeps = False
    peer.pieces = [data.draw(st.sampled_from([body, b"HTTP/1.1 " + body, answer(body, status)]))]
    with client_of(peer.base_url) as client, suppress(UpstreamError):
        METHODS[name](client)
