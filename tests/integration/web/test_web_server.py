"""The production server over real sockets: its own errors in JSON, and an orderly end."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any, BinaryIO

import pytest
from flask import Flask, request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer

from provisioner.signing import Signer
from provisioner.store import writer
from provisioner.web.server import THREADS, Serving, servings
from provisioner.web.webhooks import EVENTS

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS1zaG9wLWZvci10ZXN0cw=="
PATIENCE_S = 60.0


class Slow:
    """An application whose answers wait until they are let go."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.go = threading.Event()
        self.app = Flask("slow")
        self.app.add_url_rule("/", "slow", self._answer)
        self.app.add_url_rule("/told", "told", self._told)

    def _answer(self) -> str:
        self.asked.set()
        assert self.go.wait(PATIENCE_S)
        return "answered"

    def _told(self) -> dict[str, Any]:
        return {
            "address": request.remote_addr,
            "scheme": request.scheme,
            "host": request.host,
            "forwarded": request.headers.get("X-Forwarded-For"),
        }


@pytest.fixture
def serve() -> Iterator[Callable[..., Serving]]:
    made: list[Serving] = []

    def start(app: Flask, **more: Any) -> Serving:
        made.append(Serving(app, "127.0.0.1:0", **more))
        made[-1].start()
        return made[-1]

    yield start
    for serving in made:
        serving.stop()


@pytest.fixture
def serving(stage: Any, serve: Callable[..., Serving]) -> Serving:
    return serve(stage.client.application, threads=4, brief=(EVENTS,))


def connected(serving: Serving) -> socket.socket:
    return socket.create_connection(("127.0.0.1", serving.port), PATIENCE_S)


def received(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers by their lower-case names, and body of the one answer that comes."""
    with connection.makefile("rb") as file:
        return answer_in(file)


def answer_in(file: BinaryIO) -> tuple[int, dict[str, str], bytes]:
    """The next one, where several may come at once."""
    status = int(file.readline().split()[1])
    headers = {}
    while line := file.readline().strip():
        name, _, value = line.decode("latin-1").partition(": ")
        headers[name.lower()] = value
    return status, headers, file.read(int(headers.get("content-length", 0)))


def exchange(serving: Serving, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    with closing(connected(serving)) as connection:
        connection.sendall(raw)
        return received(connection)


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: here", *headers, "", ""]).encode("latin-1")


def post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"{name}: {value}" for name, value in {"Content-Length": len(body), **headers}.items()]
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: here", *lines, "", ""]).encode() + body


def test_webhook_arrives_over_a_socket(stage: Any, serving: Serving) -> None:
    body = json.dumps({"type": "order.paid", "data": {"service_id": "ü", "plan": "vps-s"}}).encode()
    signed = Signer([SECRET]).sign("msg-1", stage.clock.ms // 1000, body)
    raw = post("/webhooks/shop", body, {**signed, "Content-Type": "application/json"})
    status, headers, answer = exchange(serving, raw)
    assert (status, headers["content-type"]) == (202, "application/json")
    assert stage.operation(json.loads(answer)["operation"]).service_id == "ü"


def event(stage: Any, number: int, kind: str = "order.paid") -> bytes:
    """A signed event as bytes of HTTP."""
    body = json.dumps({"type": kind, "data": {"service_id": f"s-{number}", "plan": "vps-s"}}).encode()
    signed = Signer([SECRET]).sign(f"msg-{number}", stage.clock.ms // 1000, body)
    return post("/webhooks/shop", body, {**signed, "Content-Type": "application/json"})


@pytest.mark.parametrize("control", [b"\0", b"\x01", b"\x1f", b"\x7f"])
@pytest.mark.parametrize("name", [b"webhook-id", b"Webhook-Timestamp", b"webhook-signature"])
def test_control_character_makes_a_webhooks_header_malformed(
    stage: Any, serving: Serving, name: bytes, control: bytes
) -> None:
    """401 as the contract says of a malformed header, though no such request is HTTP."""
    raw = re.sub(rb"(?i)(%s: ..)" % name, rb"\1" + control, event(stage, 1))
    status, _, answer = exchange(serving, raw)
    assert (status, json.loads(answer)["error"]["code"]) == (401, "unauthorized")
    assert stage.count("events") == 0


def test_signature_with_a_control_character_harms_no_other(stage: Any, serving: Serving) -> None:
    raw = event(stage, 1).replace(b"webhook-signature: ", b"webhook-signature: v1,\x01 ")
    assert exchange(serving, raw)[0] == 202


class Held:
    """The store's writer, which does nothing more until it is let go."""

    def __init__(self, store: Any) -> None:
        self._begun, self._go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: store.write(self._hold))
        self._thread.start()
        assert self._begun.wait(PATIENCE_S)

    def let_go(self) -> None:
        self._go.set()
        self._thread.join(PATIENCE_S)

    def _hold(self, verbs: Any) -> None:
        self._begun.set()
        assert self._go.wait(PATIENCE_S)


@pytest.fixture
def held(stage: Any) -> Iterator[Held]:
    held = Held(stage.app.store)
    yield held
    held.let_go()


def waits(stage: Any, number: int) -> None:
    """Returns once so many units wait for the writer."""
    until = time.monotonic() + PATIENCE_S
    while len(stage.app.store._store._queue._units) < number:
        assert time.monotonic() < until
        time.sleep(0.005)


def test_event_waits_for_no_thread(stages: Callable[..., Any], serve: Callable[..., Serving]) -> None:
    """Where those who ask for pages hold every thread, a paid order is accepted all the same."""
    stage, slow = stages(), Slow()
    slow.app.register_blueprint(stage.client.application.blueprints["webhooks"])
    serving = serve(slow.app, threads=1, brief=(EVENTS,))
    with closing(connected(serving)) as page:
        page.sendall(get("/"))
        assert slow.asked.wait(PATIENCE_S)
        assert exchange(serving, event(stage, 1))[0] == 202
        slow.go.set()
        assert received(page)[0] == 200


def test_more_events_than_threads_wait_for_one_commit(stages: Callable[..., Any]) -> None:
    stage = stages(server={"listen": "127.0.0.1:0"})
    (serving,) = servings(stage.surfaces)
    serving.start()
    held = Held(stage.app.store)
    connections = [connected(serving) for _ in range(THREADS + 8)]
    for number, connection in enumerate(connections):
        connection.sendall(event(stage, number))
    waits(stage, len(connections))
    assert exchange(serving, get("/healthz"))[0] == 200  # meanwhile
    held.let_go()
    answers = [received(connection) for connection in connections]
    for connection in connections:
        connection.close()
    serving.stop()
    assert {status for status, _, _ in answers} == {202}
    told = [stage.operation(json.loads(body)["operation"]).service_id for _, _, body in answers]
    assert told == [f"s-{number}" for number in range(len(connections))]  # each its own answer


def test_events_of_one_connection_are_answered_in_their_order(stage: Any, serving: Serving) -> None:
    with closing(connected(serving)) as connection, connection.makefile("rb") as file:
        connection.sendall(event(stage, 1) + event(stage, 2, kind="no.such") + event(stage, 3))
        assert [answer_in(file)[0] for _ in range(3)] == [202, 422, 202]


def test_store_that_does_not_answer_is_a_503(
    stage: Any, serving: Serving, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PATIENCE_S", 0.1)
    status, headers, body = exchange(serving, event(stage, 1))
    assert (status, headers["retry-after"]) == (503, "5")
    assert json.loads(body)["error"]["code"] == "store_unavailable"
    held.let_go()
    assert exchange(serving, event(stage, 2))[0] == 202


def test_full_store_refuses_events_at_once(
    stage: Any, serving: Serving, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop must not wait for room, or it would answer nobody."""
    monkeypatch.setattr(writer, "WAITING", 1)
    with closing(connected(serving)) as first:
        first.sendall(event(stage, 1))
        waits(stage, 1)
        assert exchange(serving, event(stage, 2))[0] == 503
        held.let_go()
        assert received(first)[0] == 202


def test_caller_that_leaves_is_not_waited_for(stage: Any, serving: Serving, held: Held) -> None:
    gone = connected(serving)
    gone.sendall(event(stage, 1))
    waits(stage, 1)
    gone.close()
    held.let_go()
    assert exchange(serving, event(stage, 1))[0] == 200  # it was kept


def test_stop_finishes_the_events_that_wait(stage: Any, serving: Serving, held: Held) -> None:
    with closing(connected(serving)) as connection:
        connection.sendall(event(stage, 1))
        waits(stage, 1)
        stopping = threading.Thread(target=serving.stop)
        stopping.start()
        until = time.monotonic() + PATIENCE_S
        while not serving._server.stopping and time.monotonic() < until:
            time.sleep(0.005)
        held.let_go()
        status, headers, _ = received(connection)
        assert (status, headers["connection"]) == (202, "close")
        stopping.join(PATIENCE_S)
        assert not stopping.is_alive()


def test_answer_is_sent_in_one_piece(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """One call for the server, one read for the caller."""
    sent: list[bytes] = []
    send = HTTPChannel.send
    monkeypatch.setattr(
        HTTPChannel, "send", lambda self, data, **more: (sent.append(data), send(self, data, **more))[1]
    )
    exchange(serving, get("/healthz"))
    assert len(sent) == 1


def test_server_tells_no_version(serving: Serving) -> None:
    assert exchange(serving, get("/healthz"))[1]["server"] == "provisioner"


PROTOCOL: list[tuple[str, bytes, int, str]] = [
    ("no request line", b"nonsense\r\n\r\n", 400, "malformed"),
    ("no header", b"GET / HTTP/1.1\r\nno header\r\n\r\n", 400, "malformed"),
    ("header with NUL", b"GET / HTTP/1.1\r\nx: \0\r\n\r\n", 400, "malformed"),
    ("lower-case method", b"get / HTTP/1.1\r\n\r\n", 400, "malformed"),
    ("address without an end", b"GET http://[ HTTP/1.1\r\n\r\n", 400, "malformed"),
    ("length no number", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "malformed"),
    (
        "length of 5000 digits",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        400,
        "malformed",
    ),
    (
        "chunks no hex",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        400,
        "malformed",
    ),
    (
        "unknown encoding",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        501,
        "not_implemented",
    ),
    ("64 KiB of headers", b"GET / HTTP/1.1\r\nx: " + b"x" * 65536 + b"\r\n\r\n", 431, "headers_too_large"),
    (
        "1 MiB announced",
        b"POST / HTTP/1.1\r\nContent-Length: 1048576\r\n\r\n" + b"x" * 1048576,
        413,
        "too_large",
    ),
    (
        "1 EiB announced",
        b"POST / HTTP/1.1\r\nContent-Length: 1152921504606846976\r\n\r\n",
        413,
        "too_large",
    ),
    (
        "1 MiB expected",
        b"POST / HTTP/1.1\r\nContent-Length: 1048576\r\nExpect: 100-continue\r\n\r\n",
        413,
        "too_large",
    ),
    (
        "1 MiB in chunks",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n" + b"x" * 0x100000,
        413,
        "too_large",
    ),
    ("unknown path", get("/nosuch"), 404, "not_found"),
    ("method of one's own", b"FETCH /healthz HTTP/1.1\r\nHost: here\r\n\r\n", 405, "method_not_allowed"),
]


@pytest.mark.parametrize(("raw", "status", "code"), [pytest.param(*row[1:], id=row[0]) for row in PROTOCOL])
def test_every_error_is_json(serving: Serving, raw: bytes, status: int, code: str) -> None:
    found, headers, body = exchange(serving, raw)
    assert (found, headers["content-type"]) == (status, "application/json")
    assert json.loads(body)["error"]["code"] == code


def test_large_body_still_gets_its_answer(serving: Serving) -> None:
    """Closed with unread bytes, the connection would be reset, and the answer lost."""
    body = b"x" * (8 << 20)
    for _ in range(3):
        assert exchange(serving, post("/webhooks/shop", body, {}))[0] == 413


def test_connection_serves_many_requests(serving: Serving) -> None:
    with closing(connected(serving)) as connection:
        for _ in range(3):
            connection.sendall(get("/healthz"))
            assert received(connection)[0] == 200


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.binary(max_size=60).filter(lambda raw: not set(raw) & set(b" \r\n")),
    method=st.sampled_from([b"GET", b"POST", b"OPTIONS", b"TRACE", b"BREW"]),
    header=st.binary(max_size=60).filter(lambda raw: not set(raw) & set(b"\r\n")),
    body=st.binary(max_size=60),
)
def test_junk_never_breaks_it(
    serving: Serving, path: bytes, method: bytes, header: bytes, body: bytes
) -> None:
    lines = [method + b" /" + path + b" HTTP/1.1", b"Host: " + header, b"Authorization: " + header]
    lines += [b"Content-Length: %d" % len(body), b"Connection: close", b"", body]
    status, headers, answer = exchange(serving, b"\r\n".join(lines))
    assert 200 <= status < 500
    assert headers["content-type"] == "application/json"
    json.loads(answer)


def test_stop_finishes_what_is_answered(serve: Callable[..., Serving]) -> None:
    slow = Slow()
    serving = serve(slow.app)
    with closing(connected(serving)) as busy, closing(connected(serving)) as idle:
        busy.sendall(get("/"))
        assert slow.asked.wait(PATIENCE_S)
        stopping = threading.Thread(target=serving.stop)
        stopping.start()
        assert idle.recv(1) == b""  # an idle connection ends at once
        with pytest.raises(ConnectionRefusedError):
            connected(serving)
        slow.go.set()
        status, headers, body = received(busy)
        assert (status, body, headers["connection"]) == (200, b"answered", "close")
        assert busy.recv(1) == b""
        stopping.join(PATIENCE_S)
        assert not stopping.is_alive()


def test_stop_waits_no_longer_than_told(serve: Callable[..., Serving]) -> None:
    slow = Slow()
    serving = serve(slow.app)
    with closing(connected(serving)) as stuck:
        stuck.sendall(get("/"))
        assert slow.asked.wait(PATIENCE_S)
        serving.stop(patience_s=0.1)
        assert stuck.recv(1) == b""
        slow.go.set()


def test_half_a_request_ends_with_the_server(serve: Callable[..., Serving]) -> None:
    serving = serve(Slow().app)
    with closing(connected(serving)) as half:
        half.sendall(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf")
        serving.stop(patience_s=0.2)
        with suppress(ConnectionResetError):
            assert half.recv(1) == b""


def open_files() -> set[str]:
    """What this process has open, each by its own name: others may close theirs meanwhile."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return {name for name in found if not name.startswith("/proc/")}


def test_stop_leaves_nothing_open() -> None:
    before, threads = open_files(), set(threading.enumerate())
    for starts in (True, False):
        serving = Serving(Slow().app, "127.0.0.1:0", threads=2)
        if starts:
            serving.start()
            with closing(connected(serving)) as connection:
                connection.sendall(get("/told"))
                assert received(connection)[0] == 200
        serving.stop()
        serving.stop()
    until = time.monotonic() + PATIENCE_S
    while set(threading.enumerate()) - threads and time.monotonic() < until:
        time.sleep(0.01)  # a thread that has said that it ends is still there for a moment
    assert (open_files() - before, set(threading.enumerate()) - threads) == (set(), set())


def test_end_waits_for_a_waker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop may end by itself while it is being woken; the pipe to it must not close meanwhile."""
    serving = Serving(Slow().app, "127.0.0.1:0", threads=1)
    server: Any = serving._server
    ending = threading.Thread(target=serving.stop)
    waits: list[bool] = []

    def pull() -> None:
        ending.start()
        ending.join(0.2)
        waits.append(ending.is_alive())

    monkeypatch.setattr(server.trigger, "pull_trigger", pull)
    server.pull_trigger()
    ending.join(PATIENCE_S)
    server.pull_trigger()  # it has ended now: nothing is left to wake
    assert waits == [True]


def test_taken_address_is_an_error(serving: Serving) -> None:
    before = set(threading.enumerate())
    with pytest.raises(OSError, match="use") as caught:
        Serving(Slow().app, f"127.0.0.1:{serving.port}")
    assert caught.value.errno == errno.EADDRINUSE
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address", "scheme", "host"),
    [
        (0, "192.0.2.7", "127.0.0.1", "http", "here"),
        (1, "192.0.2.66, 192.0.2.7", "192.0.2.7", "https", "provision.example.com"),
        (2, "192.0.2.66, 192.0.2.7", "192.0.2.66", "https", "provision.example.com"),
    ],
)
def test_only_trusted_proxies_are_believed(
    serve: Callable[..., Serving], proxies: int, forwarded: str, address: str, scheme: str, host: str
) -> None:
    serving = serve(Slow().app, trusted_proxies=proxies)
    both = proxies == 2
    raw = get(
        "/told",
        f"X-Forwarded-For: {forwarded}",
        f"X-Forwarded-Proto: {'https, http' if both else 'https'}",
        f"X-Forwarded-Host: {'provision.example.com, inner' if both else 'provision.example.com'}",
    )
    told = json.loads(exchange(serving, raw)[2])
    assert (told["address"], told["scheme"], told["host"]) == (address, scheme, host)
    assert proxies or told["forwarded"] is None


def test_one_address_serves_everything(stages: Callable[..., Any]) -> None:
    (serving,) = servings(stages(server={"listen": "127.0.0.1:0"}).surfaces)
    serving.start()
    statuses = [exchange(serving, get(path))[0] for path in ("/readyz", "/api/brakes", "/webhooks/shop")]
    serving.stop()
    assert statuses == [200, 401, 405]


def test_admins_have_their_own_address(stages: Callable[..., Any]) -> None:
    addresses = {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"}
    public, admin = servings(stages(server=addresses).surfaces)
    assert public.url == f"http://127.0.0.1:{public.port}"
    for serving in (public, admin):
        serving.start()
    paths = ("/healthz", "/api/brakes", "/webhooks/shop")
    found = [[exchange(serving, get(path))[0] for path in paths] for serving in (public, admin)]
    for serving in (public, admin):
        serving.stop()
    assert found == [[200, 404, 405], [200, 401, 404]]


def test_taken_address_leaves_no_other_open(stages: Callable[..., Any], serving: Serving) -> None:
    addresses = {"listen": "127.0.0.1:0", "admin_listen": f"127.0.0.1:{serving.port}"}
    surfaces = stages(server=addresses).surfaces
    before = open_files()
    with pytest.raises(OSError, match="use"):
        servings(surfaces)
    assert open_files() <= before


def test_ipv6_is_served() -> None:
    try:
        serving = Serving(Slow().app, "[::1]:0", threads=1)
    except OSError:
        pytest.skip("this machine has no IPv6")
    serving.start()
    with closing(socket.create_connection(("::1", serving.port), PATIENCE_S)) as connection:
        connection.sendall(get("/told"))
        assert json.loads(received(connection)[2])["address"] == "::1"
    serving.stop()
    assert serving.url == f"http://[::1]:{serving.port}"


def test_loop_is_woken_once_until_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that has answered waits for no other's wake-up; what is ready after a look wakes anew."""
    woken: list[int] = []
    monkeypatch.setattr(TcpWSGIServer, "pull_trigger", lambda server: woken.append(1))
    serving = Serving(Flask("test"), "127.0.0.1:0")
    for looks in (1, 2):
        for _ in range(3):
            serving._server.pull_trigger()
        assert len(woken) == looks
        serving._look(0)
    serving.stop()


def test_no_answer_is_slept_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer answers while the loop was woken for something else, and has just seen to that."""
    serving = Serving(Flask("test"), "127.0.0.1:0")
    pending: list[writer.Pending] = []
    said: list[str] = []

    def request() -> None:
        pending.append(writer.waiting.get().pending())
        pending[0].acquire(timeout=PATIENCE_S)
        said.append("goes on")

    serving._server.strands.begin(request)
    serving._look(0)
    serving._server.is_woken = True
    pending[0].release()
    monkeypatch.setattr(wasyncore, "loop", lambda **_: said.append("sleeps"))
    serving._look(1)
    serving.stop()
    assert said == ["goes on", "sleeps"]
