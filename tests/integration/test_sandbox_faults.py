"""Each fault that the sandbox makes on request, as a client sees it, and what it did to the account."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected
from types import SimpleNamespace
from typing import Any, cast

import pytest

from provisioner.errors import RequestInvalid
from provisioner.sandbox import Sandbox, SandboxServer
from provisioner.sandbox import wire as sandbox_wire
from provisioner.sandbox.wire import Answer, Exchange

CREATE = {"template": "Debian10.0", "cpuCores": 1, "mem": 1024, "disk": "10G", "ipCount": 1}
SERVER = "/datacenter/server"


class Wire:
    """One connection to the sandbox, by the standard library's client, which hides nothing."""

    def __init__(self, server: SandboxServer) -> None:
        self.sandbox = server.sandbox
        self._connection = HTTPConnection(
            "127.0.0.1", int(server.base_url.split(":")[2].split("/")[0]), timeout=60
        )

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Sends a call; the response's head has been read."""
        headers = {"Authorization": "Bearer sandbox-token", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        self._connection.request(method, f"/api/v1{path}", content, headers)
        return self._connection.getresponse()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        with self.send(method, path, body) as response:
            return json.loads(response.read())

    def order(self) -> Any:
        return self.send("POST", SERVER, CREATE)

    def close(self) -> None:
        self._connection.close()

    @property
    def jobs(self) -> int:
        return len(self.sandbox.state()["jobs"])

    @property
    def last_call(self) -> dict[str, Any]:
        return self.sandbox.calls()[-1]


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(Sandbox(job_queued=0, job_executing=0)) as server:
        yield server


@pytest.fixture
def wire(server: SandboxServer) -> Iterator[Wire]:
    wire = Wire(server)
    yield wire
    wire.close()


@pytest.mark.parametrize(("kind", "jobs"), [("drop_before", 0), ("drop_after", 1)])
def test_drop_closes_without_an_answer(wire: Wire, kind: str, jobs: int) -> None:
    wire.sandbox.fault(kind=kind, method="POST", path=SERVER)
    with pytest.raises(RemoteDisconnected):
        wire.order()
    assert (wire.jobs, wire.last_call["status"], wire.last_call["fault"]) == (jobs, "dropped", kind)
    wire.close()
    assert wire.order().status == 200


def test_truncate_sends_half_of_the_body(wire: Wire) -> None:
    wire.sandbox.fault(kind="truncate")
    with pytest.raises(IncompleteRead) as cut:
        wire.order().read()
    assert abs(len(cut.value.partial) - (cut.value.expected or 0)) <= 1
    assert cut.value.partial.startswith(b'{"result"')
    assert (wire.jobs, wire.last_call["status"]) == (1, 200)


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[float], threading.Event]]:
    """How long, in seconds, exchanges were told to wait; they wait until the event."""
    told: list[float] = []
    over = threading.Event()

    def wait(_: Exchange, seconds: float) -> None:
        if seconds:
            told.append(seconds)
            assert over.wait(60)

    monkeypatch.setattr(Exchange, "wait", wait)
    yield told, over
    over.set()


@pytest.mark.parametrize(("kind", "jobs"), [("slow", 1), ("slow_before", 0)])
def test_slow_answers_late_and_works_first_or_then(
    wire: Wire, waited: tuple[list[float], threading.Event], kind: str, jobs: int
) -> None:
    told, over = waited
    wire.sandbox.fault(kind=kind, seconds=0.5)
    caller = threading.Thread(target=lambda: wire.order().read())
    caller.start()
    wait_for(lambda: bool(told))
    assert (wire.jobs, told, caller.is_alive()) == (jobs, [0.5], True)
    over.set()
    caller.join()
    assert wire.jobs == 1


@pytest.mark.parametrize("kind", ["slow", "slow_before"])
def test_slow_takes_its_time(wire: Wire, kind: str) -> None:
    wire.sandbox.fault(kind=kind, seconds=0.3)
    began = time.monotonic()
    wire.order().read()
    assert time.monotonic() - began >= 0.3


def test_trickle_sends_the_body_byte_by_byte(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    write = Exchange._write
    monkeypatch.setattr(
        Exchange, "_write", lambda self, payload: (sent.append(len(payload)), write(self, payload))
    )
    wire.sandbox.fault(kind="trickle", seconds=0.3)
    response = wire.order()
    body = response.read()
    assert sent[1:] == [1] * len(body)
    assert json.loads(body)["result"]["jobId"] == 1


def test_trickle_headers_sends_the_head_byte_by_byte(wire: Wire) -> None:
    wire.sandbox.fault(kind="trickle_headers", seconds=0.3)
    began = time.monotonic()
    response = wire.order()
    assert time.monotonic() - began >= 0.3
    assert json.loads(response.read())["result"]["jobId"] == 1


@pytest.mark.parametrize(("kind", "jobs"), [("error", 0), ("error_after", 1)])
def test_error_answers_as_documented(wire: Wire, kind: str, jobs: int) -> None:
    wire.sandbox.fault(kind=kind, times=2)
    wire.sandbox.fault(kind=kind, status=404, error="0x01: no vm with id 4001 found")
    response = wire.order()
    assert response.status == 500
    assert json.loads(response.read()) == {"result": False, "error": "0xa3: timeout"}
    assert wire.jobs == jobs
    wire.ask("GET", SERVER)
    response = wire.send("GET", SERVER)
    assert response.status == 404
    assert json.loads(response.read())["error"] == "0x01: no vm with id 4001 found"


@pytest.mark.parametrize(("kind", "jobs"), [("page", 0), ("page_after", 1)])
@pytest.mark.parametrize(("given", "status"), [({}, 502), ({"status": 401}, 401)])
def test_page_is_html(wire: Wire, kind: str, jobs: int, given: dict[str, int], status: int) -> None:
    wire.sandbox.fault(kind=kind, **given)
    response = wire.order()
    assert (response.status, response.getheader("Content-Type")) == (status, "text/html; charset=utf-8")
    assert response.read().startswith(b"<!DOCTYPE html>")
    assert wire.jobs == jobs


@pytest.mark.parametrize(("given", "status"), [({}, 307), ({"status": 302}, 302)])
def test_redirect_leads_to_the_same_path(wire: Wire, given: dict[str, int], status: int) -> None:
    wire.sandbox.fault(kind="redirect", **given)
    response = wire.order()
    assert (response.status, response.getheader("Location")) == (status, f"/api/v1{SERVER}")
    response.read()
    assert wire.jobs == 0


@pytest.mark.parametrize(
    ("given", "wait"),
    [({}, "1"), ({"retry_after": 2.5}, "2.5"), ({"retry_after": "Mon, 23 Nov 2026 12:00:00 GMT"},) * 2],
)
def test_rate_limit_says_when_to_return(wire: Wire, given: dict[str, Any], wait: Any) -> None:
    wire.sandbox.fault(kind="rate_limit", **given)
    response = wire.order()
    assert response.status == 429
    assert response.getheader("Retry-After") == (wait if isinstance(wait, str) else wait["retry_after"])
    response.read()
    assert wire.jobs == 0


def test_garbage_is_no_json(wire: Wire) -> None:
    wire.sandbox.fault(kind="garbage")
    response = wire.order()
    assert response.status == 200
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(response.read())
    assert wire.jobs == 1


def test_huge_body_goes_on(wire: Wire) -> None:
    wire.sandbox.fault(kind="huge")
    response = wire.order()
    assert response.status == 200
    assert len(response.read(20 << 20)) == 20 << 20
    assert wire.jobs == 1


def test_huge_body_ends_before_the_memory_does(wire: Wire) -> None:
    wire.sandbox.fault(kind="huge")
    response = wire.order()
    assert len(response.read(60 << 20)) == 60 << 20
    with pytest.raises(IncompleteRead):
        response.read()


# Which calls a rule meets.


def statuses(wire: Wire, count: int, path: str = SERVER) -> list[int]:
    seen = []
    for _ in range(count):
        with wire.send("GET", path) as response:
            response.read()
            seen.append(response.status)
    return seen


@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        ({}, [500, 200, 200, 200]),
        ({"times": 2}, [500, 500, 200, 200]),
        ({"times": 0}, [500, 500, 500, 500]),
        ({"after": 2}, [200, 200, 500, 200]),
        ({"after": 1, "times": 2}, [200, 500, 500, 200]),
        ({"method": "POST"}, [200, 200, 200, 200]),
        ({"method": "GET", "path": SERVER}, [500, 200, 200, 200]),
        ({"path": "/datacenter/*"}, [500, 200, 200, 200]),
        ({"path": "/datacenter/server/*"}, [200, 200, 200, 200]),
    ],
)
def test_rule_meets_only_its_calls(wire: Wire, rule: dict[str, Any], seen: list[int]) -> None:
    wire.sandbox.fault(kind="error", **rule)
    assert statuses(wire, 4) == seen


def test_rules_are_met_in_their_order(wire: Wire) -> None:
    wire.sandbox.fault(kind="page", path="/job/*")
    wire.sandbox.fault(kind="error", after=1)  # the first rule's call counts as a match here too
    wire.sandbox.fault(kind="rate_limit", times=0)
    assert statuses(wire, 3, "/job/1") == [502, 500, 429]
    assert [rule["met"] for rule in wire.sandbox.state()["faults"]] == [1, 1, 1]


def test_cleared_faults_are_gone(wire: Wire) -> None:
    wire.sandbox.fault(kind="error", times=0)
    assert statuses(wire, 2) == [500, 500]
    wire.sandbox.clear_faults()
    assert statuses(wire, 1) == [200]
    assert wire.sandbox.state()["faults"] == []


def test_fault_is_judged_before_the_token(wire: Wire) -> None:
    wire.sandbox.settings(token_refused=True)
    wire.sandbox.fault(kind="page")
    assert statuses(wire, 2) == [502, 401]


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"kind": "explode"},
        {"kind": "slow", "seconds": -1},
        {"kind": "slow", "seconds": "1"},
        {"kind": "slow", "seconds": float("nan")},
        {"kind": "error", "times": -1},
        {"kind": "error", "times": True},
        {"kind": "error", "status": 100},
        {"kind": "rate_limit", "retry_after": "1\r\nX: y"},
        {"kind": "error", "colour": "red"},
    ],
)
def test_wrong_rule_is_refused(rule: dict[str, Any]) -> None:
    sandbox = Sandbox()
    with pytest.raises(RequestInvalid):
        sandbox.fault(**rule)
    assert sandbox.state()["faults"] == []


# Faults of the account's state.


def test_token_is_refused_while_set(wire: Wire) -> None:
    wire.sandbox.settings(token_refused=True)
    assert wire.ask("GET", SERVER) == {"result": False, "error": "0x03: unauthorized"}
    wire.sandbox.settings(token_refused=False)
    assert wire.ask("GET", SERVER) == {"result": []}


def test_latency_delays_every_call(wire: Wire) -> None:
    wire.sandbox.settings(latency=0.15)
    began = time.monotonic()
    wire.ask("GET", SERVER)
    wire.ask("GET", "/datacenter/templates")
    assert time.monotonic() - began >= 0.3


def test_latency_counts_from_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the sandbox itself takes is not added: a measurement of others goes by it."""
    waited: list[float] = []
    ending = SimpleNamespace(wait=waited.append)
    connection = SimpleNamespace(
        command="GET", path="/", headers={}, came_at_s=100.0, server=SimpleNamespace(ending=ending)
    )
    monkeypatch.setattr(sandbox_wire, "time", SimpleNamespace(monotonic=lambda: 100.5))
    exchange = Exchange(cast("Any", connection), b"")
    exchange.last(2.0)
    exchange.last(0.25)
    assert waited == [1.5, 0.0]


def wait_for(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Looks often: the sandbox has no condition variable that tells of calls."""
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, "it did not come to pass"
        threading.Event().wait(0.005)


# The server as a whole.


def test_answer_repr_holds_no_body() -> None:
    assert "canary" not in repr(Answer.json(200, {"result": {"password": "canary"}}))


def test_going_down_refuses_connections(server: SandboxServer, wire: Wire) -> None:
    url = server.base_url
    assert statuses(wire, 1) == [200]
    server.go_down()
    with pytest.raises(ConnectionError):  # the connection it had was cut
        wire.order()
    wire.close()
    with pytest.raises(ConnectionRefusedError):
        wire.order()
    wire.close()
    assert wire.jobs == 0
    server.come_up()
    assert server.base_url == url
    assert statuses(wire, 1) == [200]


def test_closing_does_not_wait_for_slow_answers(server: SandboxServer, wire: Wire) -> None:
    wire.sandbox.fault(kind="slow", seconds=60)
    cut = threading.Event()

    def order() -> None:
        with pytest.raises(ConnectionError):
            wire.order()
        cut.set()

    caller = threading.Thread(target=order)
    caller.start()
    wait_for(lambda: wire.jobs == 1)
    server.close()
    assert cut.wait(40)  # seconds; the caller itself would wait for sixty
    caller.join()


def test_many_callers_share_the_account(server: SandboxServer) -> None:
    def order() -> None:
        wire = Wire(server)
        for _ in range(10):
            wire.order().read()
        wire.close()

    callers = [threading.Thread(target=order) for _ in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    state = server.sandbox.state()
    assert [job["jobId"] for job in state["jobs"]] == list(range(1, 161))
    assert len({vm["ips"][0] for vm in state["vms"]}) == 160
    assert [call["seq"] for call in server.sandbox.calls()] == list(range(1, 161))
