"""The sandbox answers the 20 documented endpoints, their errors and quirks, over real HTTP."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from provisioner.sandbox import Sandbox, SandboxServer

ORDER = {"template": "Debian10.0", "cpuCores": 2, "mem": 2048, "disk": "20G", "ipCount": 2}
VM_ENDPOINTS = [
    ("GET", "status"),
    ("GET", "config"),
    ("POST", "delete"),
    ("POST", "rdns"),
    ("PUT", "change"),
    ("PUT", "start"),
    ("PUT", "shutdown"),
    ("PUT", "stop"),
    ("PUT", "reboot"),
    ("PUT", "reboot/force"),
    ("PUT", "reinstall"),
    ("PUT", "password/reset"),
    ("GET", "backups/list"),
    ("GET", "backups/status"),
    ("PUT", "backups/create"),
    ("POST", "backups/restore"),
]
BODIES: dict[str, Any] = {
    "rdns": {"ip": "192.0.2.1", "hostname": "a.example"},
    "backups/restore": {"backup": 1},
}
NO_VM = (404, {"result": False, "error": "0x01: no vm with id 4010 found"})
OVER_LIMITS = "0xb0: Requested resources exceed administrative limits"


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.ms

    def advance(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)


class Account:
    """Calls the API as a client would."""

    def __init__(self, sandbox: Sandbox, clock: Clock, base_url: str, session: requests.Session) -> None:
        self.sandbox = sandbox
        self.clock = clock
        self.base_url = base_url
        self.session = session
        self.token = "Bearer sandbox-token"

    def raw(self, method: str, path: str, **how: Any) -> requests.Response:
        headers = {"Authorization": self.token}
        url = self.base_url + path
        return self.session.request(method, url, headers=headers, timeout=5, allow_redirects=False, **how)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        response = self.raw(method, path, json=body)
        return response.status_code, response.json()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The result of a call that must work."""
        status, answer = self.call(method, path, body)
        assert (status, list(answer)) == (200, ["result"])
        return answer["result"]

    def on(self, vmid: int, method: str, tail: str, body: Any = None) -> tuple[int, Any]:
        return self.call(method, f"/datacenter/server/{vmid}/{tail}", body)

    def job(self, number: int) -> Any:
        return self.ask("GET", f"/job/{number}")

    def finished(self, ticket: Any) -> Any:
        """The output of a job, after the two seconds that it takes."""
        self.clock.advance(2)
        job = self.job(ticket["jobId"])
        assert job["status"] == "finished"
        return job["output"]

    def create(self, **options: Any) -> Any:
        return self.finished(self.ask("POST", "/datacenter/server", ORDER | options))

    def facts(self, vmid: int) -> Any:
        return next(vm for vm in self.sandbox.state()["vms"] if vm["vmid"] == vmid)


@pytest.fixture
def account() -> Iterator[Account]:
    clock = Clock()
    with SandboxServer(Sandbox(clock)) as server, requests.Session() as session:
        session.trust_env = False
        yield Account(server.sandbox, clock, server.base_url, session)


@pytest.fixture
def vmid(account: Account) -> int:
    return int(account.create()["vmid"])


# The account.


def test_templates_are_listed(account: Account) -> None:
    templates = ["Debian10.0", "Ubuntu18.04", "Ubuntu20.04", "CentOS8"]
    assert account.ask("GET", "/datacenter/templates") == templates
    account.sandbox.settings(templates=["Alpine"])
    assert account.ask("GET", "/datacenter/templates") == ["Alpine"]


def test_fresh_account_has_no_servers(account: Account) -> None:
    assert account.ask("GET", "/datacenter/server") == []


def test_servers_are_listed_in_order(account: Account) -> None:
    for number in (4003, 4001, 4002):
        account.sandbox.add_vm(vmid=number)
    assert account.ask("GET", "/datacenter/server") == [4001, 4002, 4003]


@pytest.mark.parametrize("token", ["", "Bearer wrong", "sandbox-token", "Basic sandbox-token"])
def test_wrong_token_is_refused(account: Account, token: str) -> None:
    account.token = token
    refusal = (401, {"result": False, "error": "0x03: unauthorized"})
    assert account.call("GET", "/datacenter/templates") == refusal
    assert account.call("POST", "/datacenter/server", ORDER) == refusal
    assert account.sandbox.state()["jobs"] == []


def test_other_token_can_be_set(account: Account) -> None:
    account.sandbox.settings(token="1|other")
    account.token = "Bearer 1|other"
    assert account.ask("GET", "/datacenter/server") == []


@pytest.mark.parametrize(("method", "tail"), VM_ENDPOINTS)
def test_unknown_vm_is_not_found(account: Account, method: str, tail: str) -> None:
    assert account.on(4010, method, tail, BODIES.get(tail)) == NO_VM


@pytest.mark.parametrize("name", ["quas", "-1", "4010.0", "９", "9" * 5000])
def test_odd_vmid_is_not_found(account: Account, name: str) -> None:
    status, answer = account.call("GET", f"/datacenter/server/{name}/status")
    assert status == 404
    assert answer["error"].startswith("0x01: no vm with id ")


@pytest.mark.parametrize("number", ["1", "0", "x", "9" * 5000])
def test_unknown_job_is_not_found(account: Account, number: str) -> None:
    assert account.call("GET", f"/job/{number}") == (404, {"result": False, "error": "0xc1: job not found"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/datacenter/servers", 404), ("GET", "/", 404), ("DELETE", "/datacenter/server", 405)],
)
def test_unknown_path_answers_a_page(account: Account, method: str, path: str, status: int) -> None:
    response = account.raw(method, path)
    assert response.status_code == status
    assert response.headers["Content-Type"].startswith("text/html")
    assert "<h1>" in response.text


def test_page_outside_of_the_api(account: Account) -> None:
    account.base_url = account.base_url.removesuffix("/api/v1")
    assert account.raw("GET", "/else").status_code == 404


# Creating, and the life of its job.


def test_create_answers_a_ticket(account: Account) -> None:
    tickets = [account.ask("POST", "/datacenter/server", ORDER) for _ in range(2)]
    assert tickets == [{"status": "queued", "jobId": number, "progress": 0} for number in (1, 2)]


def test_job_is_queued_then_executing_then_finished(account: Account) -> None:
    account.ask("POST", "/datacenter/server", ORDER)
    seen = []
    for seconds in (0, 0.4, 0.2, 0.5, 0.8):
        account.clock.advance(seconds)
        seen.append(account.job(1))
    assert seen == [
        {"status": "queued", "progress": 0, "output": None},
        {"status": "queued", "progress": 0, "output": None},
        {"status": "executing", "progress": 0.07, "output": None},
        {"status": "executing", "progress": 0.4, "output": None},
        {"status": "executing", "progress": 0.93, "output": None},
    ]
    account.clock.advance(0.1)
    assert (account.job(1)["status"], account.job(1)["progress"]) == ("finished", 1)


def test_finished_job_tells_the_access(account: Account) -> None:
    output = account.create(ipCount=2)
    assert sorted(output) == ["ips", "password", "user", "vmid"]
    assert (output["vmid"], output["user"]) == (4001, "root")
    assert output["ips"] == ["192.0.2.1", "192.0.2.2"]
    assert output["password"] == account.facts(4001)["password"]


def test_new_vm_runs_with_the_asked_config(account: Account, vmid: int) -> None:
    assert account.on(vmid, "GET", "config") == (
        200,
        {"result": {"cpuCount": 2, "mem": 2048, "disk": "20G", "ipCount": 2}},
    )
    assert account.on(vmid, "GET", "status")[1]["result"]["state"] == "running"


def test_every_vm_has_its_own_password_and_ips(account: Account) -> None:
    outputs = [account.create(ipCount=1) for _ in range(3)]
    assert [output["vmid"] for output in outputs] == [4001, 4002, 4003]
    assert len({output["password"] for output in outputs}) == 3
    assert len({output["ips"][0] for output in outputs}) == 3


def test_ips_go_on_beyond_the_documentation_networks(account: Account) -> None:
    account.sandbox.settings(max_ip_count=1000)
    ips = account.create(ipCount=800)["ips"]
    assert len(set(ips)) == 800
    assert ips[253:255] == ["192.0.2.254", "198.51.100.1"]
    assert ipaddress.ip_address(ips[-1]) in ipaddress.ip_network("10.0.0.0/8")


@pytest.mark.parametrize(
    ("setting", "seen"), [("executing", [[], [4001], [4001]]), ("finished", [[], [], [4001]])]
)
def test_vm_is_listed_when_its_job_is_that_far(account: Account, setting: str, seen: list[Any]) -> None:
    account.sandbox.settings(listed=setting)
    account.ask("POST", "/datacenter/server", ORDER)
    lists = []
    for seconds in (0, 0.5, 1.5):
        account.clock.advance(seconds)
        lists.append(account.ask("GET", "/datacenter/server"))
    assert lists == seen


@pytest.mark.parametrize("name", list(ORDER))
@pytest.mark.parametrize("null", [False, True])
def test_create_needs_each_parameter(account: Account, name: str, null: bool) -> None:
    body = ORDER | {name: None} if null else {key: value for key, value in ORDER.items() if key != name}
    assert account.call("POST", "/datacenter/server", body) == (
        400,
        {"result": False, "error": f"0xb1: Missing required parameter {name}"},
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("template", 1),
        ("cpuCores", "2"),
        ("cpuCores", 0),
        ("cpuCores", True),
        ("mem", 1024.0),
        ("disk", "10"),
        ("disk", 10),
        ("ipCount", -1),
    ],
)
def test_create_refuses_wrong_types(account: Account, name: str, value: Any) -> None:
    assert account.call("POST", "/datacenter/server", ORDER | {name: value}) == (
        400,
        {"result": False, "error": f"0xb1: Invalid parameter {name}"},
    )
    assert account.sandbox.state()["jobs"] == []


@pytest.mark.parametrize("body", [b"{", b"[]", b"7", b"[" * 100_000, b"\xff"])
def test_wrong_json_is_a_400(account: Account, body: bytes) -> None:
    response = account.raw("POST", "/datacenter/server", data=body)
    assert (response.status_code, response.json()["error"][:5]) == (400, "0xb1:")


@pytest.mark.parametrize(
    "beyond",
    [{"cpuCores": 65}, {"mem": 262_145}, {"disk": "5T"}, {"ipCount": 33}],
    ids=lambda it: next(iter(it)),
)
def test_create_beyond_the_limits_fails(account: Account, beyond: dict[str, Any]) -> None:
    account.ask("POST", "/datacenter/server", ORDER | beyond)
    account.clock.advance(2)
    assert account.job(1) == {"status": "failed", "progress": 0.33, "output": OVER_LIMITS}
    assert account.sandbox.state()["vms"] == []


def test_create_at_the_limits_works(account: Account) -> None:
    output = account.create(cpuCores=64, mem=262_144, disk="4T", ipCount=32)
    assert account.facts(output["vmid"])["config"]["cpu_cores"] == 64


def test_limits_can_be_set(account: Account) -> None:
    account.sandbox.settings(max_mem=1024)
    account.ask("POST", "/datacenter/server", ORDER)
    account.clock.advance(2)
    assert account.job(1)["output"] == OVER_LIMITS


def test_create_of_an_unknown_template_fails(account: Account) -> None:
    account.ask("POST", "/datacenter/server", ORDER | {"template": "Windows95"})
    account.clock.advance(2)
    assert account.job(1)["output"] == "0xb1: unknown template Windows95"
    assert account.ask("GET", "/datacenter/server") == []


# Power.


def test_status_counts_from_the_start(account: Account, vmid: int) -> None:
    account.clock.advance(1164)
    status = account.on(vmid, "GET", "status")[1]["result"]
    assert sorted(status) == ["cpu", "mem", "memfree", "netin", "netout", "state", "uptime"]
    assert (status["state"], status["uptime"]) == ("running", 1164)
    assert status["mem"] + status["memfree"] == 2048 * 1024 * 1024
    assert status["netin"] > 0 < status["netout"]


def state_of(account: Account, vmid: int) -> tuple[str, int]:
    status = account.on(vmid, "GET", "status")[1]["result"]
    return status["state"], status["uptime"]


def test_shutdown_stops_after_its_delay(account: Account, vmid: int) -> None:
    account.clock.advance(9)
    assert account.on(vmid, "PUT", "shutdown") == (200, {"result": True})
    account.clock.advance(0.9)
    assert state_of(account, vmid) == ("running", 9)
    account.on(vmid, "PUT", "shutdown")  # a second one does not begin anew
    account.clock.advance(0.1)
    assert state_of(account, vmid) == ("stopped", 0)


def test_shut_down_vm_starts_again(account: Account, vmid: int) -> None:
    account.sandbox.settings(shutdown_delay=0)
    account.on(vmid, "PUT", "shutdown")
    assert state_of(account, vmid)[0] == "stopped"
    account.on(vmid, "PUT", "start")
    assert state_of(account, vmid)[0] == "running"


def test_unresponsive_guest_never_shuts_down(account: Account, vmid: int) -> None:
    account.sandbox.settings(shutdown_delay=None)
    assert account.on(vmid, "PUT", "shutdown") == (200, {"result": True})
    account.clock.advance(100_000)
    assert state_of(account, vmid)[0] == "running"
    assert account.on(vmid, "PUT", "stop") == (200, {"result": True})
    assert state_of(account, vmid)[0] == "stopped"


def test_start_leaves_a_running_vm_alone(account: Account, vmid: int) -> None:
    account.clock.advance(5)
    assert account.on(vmid, "PUT", "start") == (200, {"result": True})
    assert state_of(account, vmid) == ("running", 5)


def test_stopped_vm_starts_at_once(account: Account, vmid: int) -> None:
    account.on(vmid, "PUT", "stop")
    account.clock.advance(5)
    assert account.on(vmid, "PUT", "start") == (200, {"result": True})
    account.clock.advance(3)
    assert state_of(account, vmid) == ("running", 3)


@pytest.mark.parametrize("tail", ["reboot", "reboot/force"])
def test_reboot_resets_the_uptime(account: Account, vmid: int, tail: str) -> None:
    account.clock.advance(5)
    assert account.on(vmid, "PUT", tail) == (200, {"result": True})
    account.clock.advance(1)
    assert state_of(account, vmid) == ("running", 1)


@pytest.mark.parametrize(("tail", "signal"), [("reboot", "reboot"), ("reboot/force", "reset")])
def test_stopped_vm_cannot_reboot(account: Account, vmid: int, tail: str, signal: str) -> None:
    account.on(vmid, "PUT", "stop")
    error = f"0xa1: failed to send {signal} signal to vm"
    assert account.on(vmid, "PUT", tail) == (500, {"result": False, "error": error})


BUSY = [
    ("PUT", "start", "0xa1: failed to send start signal to vm"),
    ("PUT", "shutdown", "0xa1: failed to send shutdown signal to vm"),
    ("PUT", "stop", "0xa1: failed to send stop signal to vm"),
    ("PUT", "reboot", "0xa1: failed to send reboot signal to vm"),
    ("PUT", "reboot/force", "0xa1: failed to send reset signal to vm"),
    ("PUT", "password/reset", "0xa1: failed to set config on vm"),
    ("PUT", "change", "0xa1: failed to set config on vm"),
    ("PUT", "reinstall", "0xa3: timeout"),
    ("PUT", "backups/create", "0xa3: timeout"),
    ("POST", "delete", "0xa3: timeout"),
]


@pytest.mark.parametrize("work", ["create", "reinstall", "restore"])
@pytest.mark.parametrize(("method", "tail", "error"), BUSY, ids=[row[1] for row in BUSY])
def test_busy_vm_refuses(account: Account, work: str, method: str, tail: str, error: str) -> None:
    vmid = busy_vm(account, work)
    assert account.on(vmid, method, tail) == (500, {"result": False, "error": error})
    account.clock.advance(2)
    account.on(vmid, "PUT", "stop")
    assert account.on(vmid, "PUT", "start") == (200, {"result": True})


@pytest.mark.parametrize("work", ["reinstall", "restore", "backup"])
def test_busy_vm_cannot_be_restored(account: Account, work: str) -> None:
    vmid = busy_vm(account, work)
    backup = account.on(vmid, "GET", "backups/list")[1]["result"][0]
    answer = account.on(vmid, "POST", "backups/restore", {"backup": backup})
    assert answer == (500, {"result": False, "error": "0xa1: failed to send restore signal to vm"})


def busy_vm(account: Account, work: str) -> int:
    if work == "create":
        account.ask("POST", "/datacenter/server", ORDER)
        account.clock.advance(0.5)
        return 4001
    vmid = int(account.create()["vmid"])
    account.on(vmid, "PUT", "backups/create")
    account.clock.advance(2)
    if work == "reinstall":
        account.on(vmid, "PUT", "reinstall")
    elif work == "backup":
        account.on(vmid, "PUT", "backups/create")
    else:
        account.on(vmid, "POST", "backups/restore", {"backup": account.facts(vmid)["backups"][0]})
    return vmid


# The password.


def test_password_reset_returns_the_new_one(account: Account, vmid: int) -> None:
    before = account.facts(vmid)["password"]
    status, answer = account.on(vmid, "PUT", "password/reset")
    assert (status, answer["result"]["status"]) == (200, "success")
    assert answer["result"]["password"] == account.facts(vmid)["password"] != before


def test_password_reset_needs_a_running_vm(account: Account, vmid: int) -> None:
    before = account.facts(vmid)["password"]
    account.on(vmid, "PUT", "stop")
    answer = account.on(vmid, "PUT", "password/reset")
    assert answer == (500, {"result": False, "error": "0xa1: failed to set config on vm"})
    assert account.facts(vmid)["password"] == before


# Deleting.


@pytest.mark.parametrize("body", [None, {}, {"force": False}, {"force": None}])
def test_running_vm_is_not_deleted_without_force(account: Account, vmid: int, body: Any) -> None:
    assert account.on(vmid, "POST", "delete", body) == (500, {"result": False, "error": "0xa3: timeout"})
    assert account.ask("GET", "/datacenter/server") == [vmid]


def test_force_deletes_a_running_vm(account: Account, vmid: int) -> None:
    assert account.on(vmid, "POST", "delete", {"force": True}) == (200, {"result": True})
    assert account.ask("GET", "/datacenter/server") == []
    assert account.on(vmid, "GET", "config")[0] == 404


def test_stopped_vm_is_deleted_without_force(account: Account, vmid: int) -> None:
    account.on(vmid, "PUT", "stop")
    assert account.on(vmid, "POST", "delete") == (200, {"result": True})
    assert account.ask("GET", "/datacenter/server") == []


def test_force_must_be_a_boolean(account: Account, vmid: int) -> None:
    answer = account.on(vmid, "POST", "delete", {"force": "false"})
    assert answer == (400, {"result": False, "error": "0xb1: Invalid parameter force"})
    assert account.ask("GET", "/datacenter/server") == [vmid]


def test_job_fails_when_its_vm_was_deleted(account: Account, vmid: int) -> None:
    account.on(vmid, "PUT", "reinstall")
    account.on(vmid, "POST", "delete", {"force": True})
    account.clock.advance(2)
    job = account.job(2)
    assert (job["status"], job["output"]) == ("failed", f"0x01: no vm with id {vmid} found")


def test_deleted_vmid_is_not_given_again(account: Account, vmid: int) -> None:
    account.on(vmid, "POST", "delete", {"force": True})
    assert account.create()["vmid"] == vmid + 1


# Changing.


def test_change_applies_all_of_it(account: Account, vmid: int) -> None:
    ips = account.facts(vmid)["ips"]
    body = {"cpuCores": 4, "mem": 4096, "disk": "1T", "ipCount": 3}
    assert account.on(vmid, "PUT", "change", body) == (200, {"result": True})
    assert account.on(vmid, "GET", "config")[1]["result"] == {
        "cpuCount": 4,
        "mem": 4096,
        "disk": "1T",
        "ipCount": 3,
    }
    assert account.facts(vmid)["ips"][:2] == ips
    assert len(set(account.facts(vmid)["ips"])) == 3


def test_change_keeps_what_is_not_named(account: Account, vmid: int) -> None:
    account.on(vmid, "PUT", "stop")
    assert account.on(vmid, "PUT", "change", {"mem": 4096}) == (200, {"result": True})
    assert account.facts(vmid)["config"] == {"cpu_cores": 2, "mem": 4096, "disk": "20G", "ip_count": 2}


def test_fewer_ips_are_silently_ignored(account: Account, vmid: int) -> None:
    assert account.on(vmid, "PUT", "change", {"ipCount": 1, "mem": 512}) == (200, {"result": True})
    config = account.on(vmid, "GET", "config")[1]["result"]
    assert (config["ipCount"], config["mem"]) == (2, 512)


@pytest.mark.parametrize("disk", ["19G", "20479M"])
def test_smaller_disk_is_refused(account: Account, vmid: int, disk: str) -> None:
    answer = account.on(vmid, "PUT", "change", {"disk": disk, "mem": 512})
    assert answer == (400, {"result": False, "error": "0xb1: Invalid parameter disk"})
    assert account.on(vmid, "GET", "config")[1]["result"]["mem"] == 2048


def test_change_beyond_the_limits_is_refused(account: Account, vmid: int) -> None:
    assert account.on(vmid, "PUT", "change", {"mem": 300_000}) == (
        400,
        {"result": False, "error": OVER_LIMITS},
    )


def test_change_can_be_a_job(account: Account, vmid: int) -> None:
    account.sandbox.settings(change_answer="job")
    ticket = account.on(vmid, "PUT", "change", {"mem": 4096, "ipCount": 3})[1]["result"]
    assert ticket == {"status": "queued", "jobId": 2, "progress": 0}
    assert account.on(vmid, "GET", "config")[1]["result"]["mem"] == 2048
    assert account.finished(ticket) == {"vmid": vmid}
    config = account.on(vmid, "GET", "config")[1]["result"]
    assert (config["mem"], config["ipCount"]) == (4096, 3)
    assert state_of(account, vmid)[0] == "running"


def test_change_job_beyond_the_limits_fails(account: Account, vmid: int) -> None:
    account.sandbox.settings(change_answer="job")
    account.on(vmid, "PUT", "change", {"mem": 300_000})
    account.clock.advance(2)
    assert account.job(2) == {"status": "failed", "progress": 0.33, "output": OVER_LIMITS}


# Reinstalling.


def test_reinstall_gives_new_credentials(account: Account, vmid: int) -> None:
    before = account.facts(vmid)
    ticket = account.on(vmid, "PUT", "reinstall")[1]["result"]
    assert ticket == {"status": "queued", "jobId": 2, "progress": 0}
    output = account.finished(ticket)
    assert (output["vmid"], output["ips"], output["user"]) == (vmid, before["ips"], "root")
    assert output["password"] == account.facts(vmid)["password"] != before["password"]
    assert account.facts(vmid)["template"] == "Debian10.0"
    assert state_of(account, vmid) == ("running", 0)


def test_reinstall_takes_another_template(account: Account, vmid: int) -> None:
    account.finished(account.on(vmid, "PUT", "reinstall", {"template": "CentOS8"})[1]["result"])
    assert account.facts(vmid)["template"] == "CentOS8"


def test_reinstall_of_an_unknown_template_fails(account: Account, vmid: int) -> None:
    before = account.facts(vmid)["password"]
    account.on(vmid, "PUT", "reinstall", {"template": "Windows95"})
    account.clock.advance(2)
    assert account.job(2)["output"] == "0xb1: unknown template Windows95"
    assert (account.facts(vmid)["template"], account.facts(vmid)["password"]) == ("Debian10.0", before)


def test_reinstall_and_change_judge_only_their_part(account: Account, vmid: int) -> None:
    account.sandbox.settings(max_mem=1024, change_answer="job")
    account.finished(account.on(vmid, "PUT", "reinstall")[1]["result"])
    account.sandbox.settings(max_mem=4096, templates=["Alpine"])
    account.finished(account.on(vmid, "PUT", "change", {"mem": 4096})[1]["result"])


# Reverse DNS.


def test_rdns_is_stored(account: Account, vmid: int) -> None:
    ip = account.facts(vmid)["ips"][1]
    body = {"ip": ip, "hostname": "web1.example.com"}
    assert account.on(vmid, "POST", "rdns", body) == (200, {"result": True})
    assert account.facts(vmid)["rdns"] == {ip: "web1.example.com"}


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"hostname": "a.example"}, 401, "0xb1: Missing required parameter ip"),
        ({"ip": "192.0.2.1"}, 401, "0xb1: Missing required parameter hostname"),
        ({"ip": 1, "hostname": "a.example"}, 400, "0xb1: Invalid parameter ip"),
        ({"ip": "192.0.2.200", "hostname": "a.example"}, 400, "0xb1: Invalid parameter ip"),
    ],
)
def test_rdns_refuses_wrong_parameters(
    account: Account, vmid: int, body: dict[str, Any], status: int, error: str
) -> None:
    assert account.on(vmid, "POST", "rdns", body) == (status, {"result": False, "error": error})
    assert account.facts(vmid)["rdns"] == {}


# Backups.


def test_backup_comes_into_the_list(account: Account, vmid: int) -> None:
    second = account.clock() // 1000
    assert account.on(vmid, "PUT", "backups/create") == (200, {"result": True})
    account.clock.advance(1.9)
    pending = {"status": "pending", "progress": 0}
    assert account.on(vmid, "GET", "backups/status") == (200, {"result": pending})
    assert account.on(vmid, "GET", "backups/list") == (200, {"result": []})
    account.clock.advance(0.1)
    ended = {"status": "finished", "progress": 1}
    assert account.on(vmid, "GET", "backups/status") == (200, {"result": ended})
    assert account.on(vmid, "GET", "backups/list") == (200, {"result": [second]})


def test_backups_are_listed_newest_first(account: Account, vmid: int) -> None:
    account.sandbox.settings(backup_duration=0)
    second = account.clock() // 1000
    for _ in range(3):  # within one second: each still has a time of its own
        account.on(vmid, "PUT", "backups/create")
    assert account.on(vmid, "GET", "backups/list")[1]["result"] == [second + 2, second + 1, second]


def test_second_backup_at_once_times_out(account: Account, vmid: int) -> None:
    account.on(vmid, "PUT", "backups/create")
    assert account.on(vmid, "PUT", "backups/create") == (500, {"result": False, "error": "0xa3: timeout"})
    account.clock.advance(2)
    assert len(account.on(vmid, "GET", "backups/list")[1]["result"]) == 1


def test_restore_is_pending_until_it_ends(account: Account, vmid: int) -> None:
    account.on(vmid, "PUT", "backups/create")
    account.clock.advance(2)
    backup = account.on(vmid, "GET", "backups/list")[1]["result"][0]
    body = {"backup": backup}
    assert account.on(vmid, "POST", "backups/restore", body) == (200, {"result": "pending"})
    assert account.on(vmid, "GET", "backups/status")[1]["result"]["status"] == "pending"
    account.clock.advance(2)
    assert account.on(vmid, "GET", "backups/status")[1]["result"]["status"] == "finished"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (None, "0xa5: no target backup defined"),
        ({"backup": None}, "0xa5: no target backup defined"),
        ({"backup": 1606345164}, "0xa5: no target backup defined"),
        ({"backup": "1606345164"}, "0xb1: Invalid parameter backup"),
    ],
)
def test_restore_needs_a_known_backup(account: Account, vmid: int, body: Any, error: str) -> None:
    assert account.on(vmid, "POST", "backups/restore", body) == (400, {"result": False, "error": error})
    assert account.on(vmid, "PUT", "stop") == (200, {"result": True})


# The words that the documentation leaves open.


def test_undocumented_words_can_be_set(account: Account, vmid: int) -> None:
    account.sandbox.settings(stopped_word="halted", backup_done_word="done")
    account.on(vmid, "PUT", "stop")
    assert state_of(account, vmid) == ("halted", 0)
    assert account.on(vmid, "GET", "backups/status")[1]["result"] == {"status": "done", "progress": 1}
