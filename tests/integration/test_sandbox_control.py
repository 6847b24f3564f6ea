"""The control API, its client, and what it makes happen on the account; also `run`, as another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from provisioner.errors import NotFound, RequestInvalid, WrongState
from provisioner.sandbox import Sandbox, SandboxClient, SandboxServer
from provisioner.sandbox.refusals import Refusal
from provisioner.service import Spec
from tests.processes import PATIENCE_S, Group

SPEC = Spec("Debian10.0", 1, 1024, "10G", 1)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.ms

    def advance(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[SandboxServer]:
    with SandboxServer(Sandbox(clock)) as server:
        yield server


@pytest.fixture
def sandbox(server: SandboxServer) -> Sandbox:
    return server.sandbox


@pytest.fixture
def client(server: SandboxServer) -> SandboxClient:
    return SandboxClient(server.control_url)


def call(url: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One call with or without JSON, no token."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=5)
    content = body if body is None or isinstance(body, bytes) else json.dumps(body)
    connection.request(method, urlsplit(url).path + path, content)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


# Looking in.


def test_state_shows_vms_and_jobs(client: SandboxClient, sandbox: Sandbox, clock: Clock) -> None:
    sandbox.create(SPEC)
    clock.advance(2)
    output = sandbox.job(1)["output"]
    clock.advance(3)
    state = client.state()
    assert state["vms"] == [
        {
            "vmid": 4001,
            "template": "Debian10.0",
            "config": {"cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1},
            "power": "running",
            "uptime": 3,
            "password": output["password"],
            "ips": ["192.0.2.1"],
            "rdns": {},
            "backups": [],
            "made_by": 1,
            "listed": True,
            "busy": False,
        }
    ]
    assert state["jobs"] == [
        {
            "jobId": 1,
            "kind": "create",
            "vmid": 4001,
            "ends_at": clock.ms - 3000,
            "status": "finished",
            "progress": 1,
            "output": output,
        }
    ]


def test_calls_are_recorded_and_counted(server: SandboxServer, client: SandboxClient, clock: Clock) -> None:
    client.fault(kind="drop_after", method="PUT")
    call(server.base_url, "GET", "/job/7")
    call(server.base_url, "POST", "/datacenter/server", {"template": "x"})
    call(server.base_url, "POST", "/datacenter/server", b"{oops")
    with pytest.raises(ConnectionError):
        call(server.base_url, "PUT", "/datacenter/server/1/start")
    seen = [(each["seq"], each["at"], each["method"], each["path"]) for each in client.calls()]
    assert seen == [
        (1, clock.ms, "GET", "/job/7"),
        (2, clock.ms, "POST", "/datacenter/server"),
        (3, clock.ms, "POST", "/datacenter/server"),
        (4, clock.ms, "PUT", "/datacenter/server/1/start"),
    ]
    assert [each["body"] for each in client.calls()] == [None, {"template": "x"}, "{oops", None]
    assert [each["status"] for each in client.calls()] == [401, 401, 401, "dropped"]
    assert client.state()["calls"] == {
        "GET /job/{jobId}": 1,
        "POST /datacenter/server": 2,
        "PUT /datacenter/server/{sid}/start": 1,
    }


def test_faults_are_shown_with_their_count(client: SandboxClient) -> None:
    client.fault(kind="error", path="/job/*", times=2, after=1)
    rule = client.state()["faults"][0]
    assert (rule["kind"], rule["path"], rule["times"], rule["after"], rule["met"]) == (
        "error",
        "/job/*",
        2,
        1,
        0,
    )
    client.clear_faults()
    assert client.state()["faults"] == []


# Settings.


def test_settings_change_only_what_is_named(client: SandboxClient) -> None:
    before = client.settings(reuse_vmids=True, max_mem=2048)
    after = client.settings(list_lag=3, templates=["Alpine"], shutdown_delay=None)
    assert before | {"list_lag": 3, "templates": ["Alpine"], "shutdown_delay": None} == after
    assert client.state()["settings"] == after


def test_sandbox_takes_settings_at_its_making() -> None:
    sandbox = Sandbox(job_queued=0, job_executing=0, token="1|x")
    sandbox.create(SPEC)
    assert sandbox.job(1)["status"] == "finished"
    assert sandbox.admits("Bearer 1|x")


@pytest.mark.parametrize(
    "wrong",
    [
        {"colour": "red"},
        {"token_refused": "yes"},
        {"list_lag": -1},
        {"job_executing": None},
        {"templates": "Debian10.0"},
        {"templates": [1]},
        {"listed": "never"},
        {"max_disk": "plenty"},
        {"fail_next_job": {"reason": "0xa1"}},
        {"lose_job": "1"},
        {"latency": 1, "self": 1},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_wrong_settings_change_nothing(client: SandboxClient, wrong: dict[str, Any]) -> None:
    before = client.settings()
    with pytest.raises(RequestInvalid):
        client.settings(**wrong)
    assert client.settings() == before


def test_new_vm_is_listed_after_the_lag(sandbox: Sandbox, clock: Clock) -> None:
    sandbox.settings(list_lag=10)
    sandbox.create(SPEC)
    clock.advance(2)
    assert sandbox.job(1)["status"] == "finished"
    clock.advance(8.4)
    assert sandbox.servers() == []
    assert sandbox.config(4001)["mem"] == 1024
    clock.advance(0.1)
    assert sandbox.servers() == [4001]


def test_hanging_jobs_go_on_when_released(sandbox: Sandbox, clock: Clock) -> None:
    sandbox.settings(hang_jobs=True)
    sandbox.create(SPEC)
    clock.advance(1000)
    assert sandbox.job(1) == {"status": "executing", "progress": 0.99, "output": None}
    assert sandbox.servers() == [4001]
    sandbox.settings(hang_jobs=False)
    clock.advance(5)
    assert sandbox.job(1)["status"] == "finished"
    assert sandbox.status(4001)["uptime"] == 5


def test_released_job_fails_if_it_was_to_fail(sandbox: Sandbox, clock: Clock) -> None:
    sandbox.settings(hang_jobs=True, fail_next_job={"error": "0xa1: hung"})
    sandbox.create(SPEC)
    clock.advance(1000)
    assert sandbox.job(1)["status"] == "executing"
    sandbox.settings(hang_jobs=False)
    assert sandbox.job(1) == {"status": "failed", "progress": 0.99, "output": "0xa1: hung"}


@pytest.mark.parametrize(("after_vm", "vmids"), [(False, []), (True, [4001])])
def test_next_job_fails_with_or_without_a_vm(
    sandbox: Sandbox, clock: Clock, after_vm: bool, vmids: list[int]
) -> None:
    sandbox.settings(fail_next_job={"error": "0xb0: no room", "after_vm": after_vm})
    sandbox.create(SPEC)
    clock.advance(1)
    assert sandbox.job(1) == {"status": "failed", "progress": 0.33, "output": "0xb0: no room"}
    assert sandbox.servers() == vmids
    sandbox.create(SPEC)
    clock.advance(2)
    assert sandbox.job(2)["status"] == "finished"


@pytest.mark.parametrize("after_vm", [False, True])
def test_failed_reinstall_may_have_worked(sandbox: Sandbox, clock: Clock, after_vm: bool) -> None:
    before = sandbox.add_vm()["password"]
    sandbox.settings(fail_next_job={"after_vm": after_vm})
    sandbox.reinstall(4001)
    clock.advance(2)
    assert sandbox.job(1)["output"] == "0xa3: timeout"
    assert (sandbox.state()["vms"][0]["password"] != before) is after_vm


def test_lost_job_is_not_found_but_works(sandbox: Sandbox, clock: Clock) -> None:
    sandbox.create(SPEC)
    sandbox.settings(lose_job=1)
    clock.advance(2)
    with pytest.raises(Refusal, match="404 0xc1: job not found"):
        sandbox.job(1)
    assert sandbox.servers() == [4001]


def test_vmids_are_reused_on_request(sandbox: Sandbox, clock: Clock) -> None:
    for _ in range(3):
        sandbox.add_vm()
    sandbox.remove_vm(4002)
    assert sandbox.add_vm()["vmid"] == 4004
    sandbox.settings(reuse_vmids=True)
    sandbox.create(SPEC)
    clock.advance(2)
    assert sandbox.job(1)["output"]["vmid"] == 4002


def test_job_of_a_removed_vm_leaves_the_new_owner_alone(sandbox: Sandbox, clock: Clock) -> None:
    sandbox.settings(reuse_vmids=True)
    sandbox.add_vm()
    sandbox.reinstall(4001)
    sandbox.remove_vm(4001)
    password = sandbox.add_vm()["password"]
    clock.advance(2)
    assert sandbox.job(1)["output"] == "0x01: no vm with id 4001 found"
    assert sandbox.state()["vms"][0]["password"] == password


# VMs from outside.


def test_foreign_vm_is_on_the_account(client: SandboxClient, sandbox: Sandbox) -> None:
    facts = client.add_vm(cpu_cores=4, mem=4096, disk="40G", ip_count=2, vmid=5000, power="stopped")
    assert (facts["vmid"], facts["made_by"], facts["power"]) == (5000, None, "stopped")
    assert sandbox.servers() == [5000]
    assert sandbox.config(5000) == {"cpuCount": 4, "mem": 4096, "disk": "40G", "ipCount": 2}
    assert client.add_vm()["vmid"] == 5001


@pytest.mark.parametrize("wrong", [{"disk": "big"}, {"mem": "1"}, {"power": "off"}, {"name": "x"}])
def test_wrong_vm_is_refused(client: SandboxClient, wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestInvalid):
        client.add_vm(**wrong)
    assert client.state()["vms"] == []


def test_taken_vmid_is_refused(client: SandboxClient) -> None:
    password = client.add_vm()["password"]
    with pytest.raises(WrongState):
        client.add_vm(vmid=4001)
    assert client.state()["vms"][0]["password"] == password


def test_power_is_set_from_outside(client: SandboxClient, sandbox: Sandbox) -> None:
    client.add_vm()
    client.power(4001, "stopped")
    assert sandbox.status(4001)["state"] == "stopped"
    client.power(4001, "running")
    assert sandbox.status(4001)["state"] == "running"
    with pytest.raises(RequestInvalid):
        client.power(4001, "sideways")


def test_vm_is_removed_from_outside(client: SandboxClient, sandbox: Sandbox) -> None:
    client.add_vm()
    client.remove_vm(4001)
    assert sandbox.servers() == []


def test_unknown_vms_are_not_found(client: SandboxClient) -> None:
    with pytest.raises(NotFound):
        client.remove_vm(4001)
    with pytest.raises(NotFound):
        client.power(4001, "stopped")


# Its HTTP.


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nothing", None, 404, "not_found"),
        ("PUT", "/state", None, 404, "not_found"),
        ("DELETE", "/vms/x", None, 404, "not_found"),
        ("DELETE", "/vms/" + "9" * 5000, None, 404, "not_found"),
        ("POST", "/faults", b"{", 422, "invalid_field"),
        ("POST", "/faults", [{"kind": "error"}, {"kind": "oops"}], 422, "invalid_field"),
        ("POST", "/faults", [[]], 422, "invalid_field"),
        ("POST", "/settings", [], 422, "invalid_field"),
        ("POST", "/settings", {"colour": 1}, 422, "invalid_field"),
    ],
)
def test_control_errors_are_json(
    server: SandboxServer, method: str, path: str, body: Any, status: int, code: str
) -> None:
    answered, answer = call(server.control_url, method, path, body)
    assert (answered, answer["error"]["code"]) == (status, code)
    assert answer["error"]["message"]
    assert server.sandbox.state()["faults"] == []


def test_several_faults_are_added_at_once(server: SandboxServer, client: SandboxClient) -> None:
    assert call(server.control_url, "POST", "/faults", [{"kind": "error"}, {"kind": "page"}]) == (200, {})
    assert [rule["kind"] for rule in client.state()["faults"]] == ["error", "page"]


def test_control_needs_no_token_and_is_no_call(server: SandboxServer, client: SandboxClient) -> None:
    client.settings(token_refused=True)
    assert call(server.control_url, "GET", "/state")[0] == 200
    assert client.calls() == []


def test_oversized_body_is_refused(server: SandboxServer) -> None:
    connection = HTTPConnection(urlsplit(server.control_url).netloc, timeout=5)
    connection.putrequest("POST", "/_sandbox/settings")
    connection.putheader("Content-Length", str(2 << 20))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_reprs_hold_no_secrets(sandbox: Sandbox) -> None:
    password = sandbox.add_vm()["password"]
    assert password not in repr(vars(sandbox))
    assert "sandbox-token" not in repr(vars(sandbox))


# As another process.

# A shell may have set the signal to be ignored, and children inherit that.
PROGRAM = """
import signal
from provisioner.sandbox import run
signal.signal(signal.SIGINT, signal.default_int_handler)
run(0, lambda line: print(line, flush=True))
print("ended")
"""


def test_run_serves_until_interrupted() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with Group(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(3)]
        base_url = lines[0].removeprefix("reseller API: ")
        client = SandboxClient(lines[2].removeprefix("control API: ").removesuffix("/state"))
        client.add_vm()
        assert base_url.endswith("/api/v1")
        assert lines[1] == "token: sandbox-token"
        assert client.state()["vms"][0]["vmid"] == 4001
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "ended\n"
        assert process.wait(PATIENCE_S) == 0


def test_taken_port_is_an_error(server: SandboxServer) -> None:
    port = urlsplit(server.base_url).port
    assert port
    with pytest.raises(OSError, match="in use"):
        SandboxServer(port=port)
