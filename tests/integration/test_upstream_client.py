"""The client against the sandbox, over real HTTP: every endpoint, every documented error, every fault."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from provisioner.errors import (
    JobNotFound,
    TokenRefused,
    UpstreamError,
    UpstreamOutcomeUnknown,
    UpstreamRefused,
    UpstreamUnavailable,
    VmNotFound,
)
from provisioner.sandbox import Sandbox, SandboxServer
from provisioner.service import Spec
from provisioner.upstream import Call, Job, VmConfig
from provisioner.upstream.client import UpstreamClient
from tests.integration.line_clock import on_a_clock

TOKEN = "sandbox-token"
TIMEOUT_S = 60.0  # which no call here takes on any machine; by the clock of the line it may be near
SPEC = Spec("Debian10.0", 2, 2048, "20G", 2)
VMID = 4001

Method = Callable[[UpstreamClient], object]

READS: dict[str, Method] = {
    "GET /job/{jobId}": lambda client: client.job("1"),
    "GET /datacenter/templates": lambda client: client.templates(),
    "GET /datacenter/server": lambda client: client.servers(),
    "GET /datacenter/server/{sid}/status": lambda client: client.status(VMID),
    "GET /datacenter/server/{sid}/config": lambda client: client.config(VMID),
    "GET /datacenter/server/{sid}/backups/list": lambda client: client.backups(VMID),
    "GET /datacenter/server/{sid}/backups/status": lambda client: client.backup_status(VMID),
}
REPEATABLE: dict[str, Method] = {
    **READS,
    "POST /datacenter/server/{sid}/rdns": lambda client: client.set_rdns(
        VMID, "192.0.2.1", "web1.example.com"
    ),
    "PUT /datacenter/server/{sid}/change": lambda client: client.change(VMID, mem=4096),
    "PUT /datacenter/server/{sid}/start": lambda client: client.start(VMID),
    "PUT /datacenter/server/{sid}/shutdown": lambda client: client.shutdown(VMID),
    "PUT /datacenter/server/{sid}/stop": lambda client: client.stop(VMID),
}
ONCE: dict[str, Method] = {
    "POST /datacenter/server": lambda client: client.create(SPEC),
    "POST /datacenter/server/{sid}/delete": lambda client: client.delete(VMID, force=True),
    "PUT /datacenter/server/{sid}/reboot": lambda client: client.reboot(VMID),
    "PUT /datacenter/server/{sid}/reboot/force": lambda client: client.force_reboot(VMID),
    "PUT /datacenter/server/{sid}/reinstall": lambda client: client.reinstall(VMID),
    "PUT /datacenter/server/{sid}/password/reset": lambda client: client.reset_password(VMID),
    "PUT /datacenter/server/{sid}/backups/create": lambda client: client.create_backup(VMID),
    "POST /datacenter/server/{sid}/backups/restore": lambda client: client.restore_backup(VMID, 1),
}
ALL = REPEATABLE | ONCE
WITH_VM = {name: method for name, method in ALL.items() if "{sid}" in name}


def each(methods: dict[str, Method]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("endpoint", "method"), methods.items(), ids=methods)


@dataclass
class Account:
    """The sandbox, a client of it and what the client recorded."""

    sandbox: Sandbox
    server: SandboxServer
    client: UpstreamClient
    calls: list[Call]

    def counted(self, endpoint: str) -> int:
        return int(self.sandbox.state()["calls"].get(endpoint, 0))

    def error(self, method: Method) -> UpstreamError:
        with pytest.raises(UpstreamError) as caught:
            method(self.client)
        return caught.value

    def vm(self) -> dict[str, Any]:
        facts: dict[str, Any] = self.sandbox.state()["vms"][0]
        return facts

    def made(self) -> Job:
        """One VM, made by job 1."""
        return self.client.job(self.client.create(SPEC))


@pytest.fixture
def account() -> Iterator[Account]:
    sandbox = Sandbox(job_queued=0, job_executing=0, backup_duration=0, restore_duration=0, shutdown_delay=0)
    calls: list[Call] = []
    with SandboxServer(sandbox) as server:
        client = UpstreamClient(
            server.base_url, TOKEN, timeout_s=TIMEOUT_S, max_concurrency=4, record=calls.append
        )
        yield Account(sandbox, server, client, calls)
        client.close()


def test_all_endpoints_are_covered() -> None:
    assert len(ALL) == 20


def test_create_makes_the_asked_vm(account: Account) -> None:
    job_id = account.client.create(SPEC)
    assert job_id == "1"
    assert account.vm()["config"] == {"cpu_cores": 2, "mem": 2048, "disk": "20G", "ip_count": 2}
    assert account.vm()["template"] == "Debian10.0"


def test_finished_job_tells_credentials(account: Account) -> None:
    job = account.made()
    assert job.finished
    assert job.output is not None
    assert job.output.credentials is not None
    assert (job.output.vmid, job.output.credentials.username) == (VMID, "root")
    assert list(job.output.ips) == account.vm()["ips"]
    assert job.output.credentials.password == account.vm()["password"]


def test_job_tells_its_progress(account: Account) -> None:
    account.sandbox.settings(job_queued=60)
    job = account.client.job(account.client.create(SPEC))
    assert job == Job("queued", 0.0, None)


def test_failed_job_tells_its_code(account: Account) -> None:
    job = account.client.job(account.client.create(Spec("Debian10.0", 9999, 2048, "20G", 2)))
    assert job.failed
    assert (job.error_code, job.output) == ("0xb0", None)
    assert "administrative limits" in job.error


def test_list_names_all_vms(account: Account) -> None:
    assert account.client.servers() == frozenset()
    account.made()
    account.sandbox.add_vm(vmid=5000)
    assert account.client.servers() == {VMID, 5000}


def test_templates_are_listed(account: Account) -> None:
    assert account.client.templates() == ("Debian10.0", "Ubuntu18.04", "Ubuntu20.04", "CentOS8")


def test_status_tells_power(account: Account) -> None:
    account.made()
    assert account.client.status(VMID).state == "running"
    account.sandbox.power(VMID, "stopped")
    status = account.client.status(VMID)
    assert (status.state, status.uptime) == ("stopped", 0)


def test_config_is_in_our_names(account: Account) -> None:
    account.made()
    assert account.client.config(VMID) == VmConfig(2, 2048, "20G", 2)


@pytest.mark.parametrize("force", [False, True])
def test_delete_passes_force_on(account: Account, force: bool) -> None:
    account.made()
    account.sandbox.power(VMID, "stopped")
    account.client.delete(VMID, force=force)
    assert account.client.servers() == frozenset()
    assert account.sandbox.calls()[-2]["body"] == {"force": force}


def test_rdns_is_set(account: Account) -> None:
    account.made()
    ip = account.vm()["ips"][1]
    account.client.set_rdns(VMID, ip, "web1.example.com")
    assert account.vm()["rdns"] == {ip: "web1.example.com"}


def test_change_sends_only_what_is_given(account: Account) -> None:
    account.made()
    assert account.client.change(VMID, mem=4096) is None
    assert account.sandbox.calls()[-1]["body"] == {"mem": 4096}
    assert account.client.change(VMID, cpu_cores=4, mem=4096, disk="30G", ip_count=3) is None
    assert account.client.config(VMID) == VmConfig(4, 4096, "30G", 3)


def test_change_returns_a_job_if_any(account: Account) -> None:
    account.made()
    account.sandbox.settings(change_answer="job")
    assert account.client.change(VMID, mem=4096) == "2"


def test_power_calls_reach_the_vm(account: Account) -> None:
    account.made()
    account.client.stop(VMID)
    assert account.vm()["power"] == "stopped"
    account.client.start(VMID)
    assert account.vm()["power"] == "running"
    account.client.shutdown(VMID)
    assert account.vm()["power"] == "stopped"


@pytest.mark.parametrize("verb", ["reboot", "reboot/force"])
def test_reboots_reach_their_endpoint(account: Account, verb: str) -> None:
    account.made()
    ONCE[f"PUT /datacenter/server/{{sid}}/{verb}"](account.client)
    assert account.counted(f"PUT /datacenter/server/{{sid}}/{verb}") == 1


@pytest.mark.parametrize("template", [None, "CentOS8"])
def test_reinstall_keeps_or_changes_template(account: Account, template: str | None) -> None:
    account.made()
    old = account.vm()["password"]
    job = account.client.job(account.client.reinstall(VMID, template))
    assert job.finished
    assert account.vm()["template"] == (template or "Debian10.0")
    assert job.output is not None
    assert job.output.credentials is not None
    assert old != job.output.credentials.password == account.vm()["password"]


def test_reset_returns_the_new_password(account: Account) -> None:
    account.made()
    old = account.vm()["password"]
    assert old != account.client.reset_password(VMID) == account.vm()["password"]


def test_backups_are_made_and_restored(account: Account) -> None:
    account.made()
    assert account.client.backups(VMID) == ()
    account.client.create_backup(VMID)
    (backup,) = account.client.backups(VMID)
    assert abs(backup - time.time()) < 60
    account.client.restore_backup(VMID, backup)
    assert account.sandbox.calls()[-1]["body"] == {"backup": backup}
    account.sandbox.settings(backup_duration=60)
    account.client.create_backup(VMID)
    assert account.client.backup_status(VMID).status == "pending"


# Documented errors.


def test_unknown_job_is_lost(account: Account) -> None:
    error = account.error(lambda client: client.job("23"))
    assert type(error) is JobNotFound
    assert error.code == "0xc1"


@each(WITH_VM)
def test_unknown_vm_is_not_found(account: Account, endpoint: str, method: Method) -> None:
    error = account.error(method)
    assert type(error) is VmNotFound
    assert error.code == "0x01"
    assert account.counted(endpoint) == 1


@each(ALL)
def test_refused_token_is_told(account: Account, endpoint: str, method: Method) -> None:
    account.sandbox.settings(token_refused=True)
    error = account.error(method)
    assert type(error) is TokenRefused
    assert error.code == "0x03"
    assert account.counted(endpoint) == 1


@each(ALL)
@pytest.mark.parametrize("status", [401, 403])
def test_page_that_forbids_refuses_the_token(
    account: Account, endpoint: str, method: Method, status: int
) -> None:
    account.sandbox.fault(kind="page", status=status)
    assert type(account.error(method)) is TokenRefused


def test_missing_parameter_is_no_token_matter(account: Account) -> None:
    account.sandbox.fault(kind="error", status=401, error="0xb1: Missing required parameter hostname")
    error = account.error(lambda client: client.set_rdns(VMID, "192.0.2.1", "web1.example.com"))
    assert type(error) is UpstreamRefused
    assert error.code == "0xb1"


def test_wrong_parameter_refuses_the_create(account: Account) -> None:
    error = account.error(lambda client: client.create(Spec("Debian10.0", 1, 0, "10G", 1)))
    assert type(error) is UpstreamRefused
    assert error.code == "0xb1"


def test_unknown_backup_is_refused(account: Account) -> None:
    account.made()
    error = account.error(lambda client: client.restore_backup(VMID, 1))
    assert type(error) is UpstreamRefused
    assert error.code == "0xa5"


def test_delete_of_running_vm_times_out(account: Account) -> None:
    account.made()
    error = account.error(lambda client: client.delete(VMID))
    assert type(error) is UpstreamOutcomeUnknown
    assert error.code == "0xa3"


def test_reset_of_stopped_vm_is_unknown(account: Account) -> None:
    account.made()
    account.client.stop(VMID)
    error = account.error(lambda client: client.reset_password(VMID))
    assert type(error) is UpstreamOutcomeUnknown
    assert error.code == "0xa1"


def test_failed_signal_is_passing(account: Account) -> None:
    account.made()
    account.sandbox.settings(job_executing=60)
    account.client.reinstall(VMID)
    error = account.error(lambda client: client.start(VMID))
    assert type(error) is UpstreamUnavailable
    assert error.code == "0xa1"


@each(ALL)
@pytest.mark.parametrize("code", ["0xa5", "0xb0", "0xb1", "0xd7"])
def test_final_codes_are_refusals(account: Account, endpoint: str, method: Method, code: str) -> None:
    account.sandbox.fault(kind="error", status=500, error=f"{code}: no")
    error = account.error(method)
    assert type(error) is UpstreamRefused
    assert error.code == code


# Faults: what happened cannot be told from the answer.

UNCLEAR: dict[str, dict[str, Any]] = {
    "0xa1": {"kind": "error", "error": "0xa1: failed to send {signal} signal to vm"},
    "0xa3": {"kind": "error", "error": "0xa3: timeout"},
    "0xa3 with 404": {"kind": "error_after", "error": "0xa3: timeout", "status": 404},
    "no code": {"kind": "error", "error": "sorry", "status": 400},
    "page": {"kind": "page"},
    "page with 404": {"kind": "page", "status": 404},
    "page with 200": {"kind": "page_after", "status": 200},
    "redirect": {"kind": "redirect"},
    "redirect to a GET": {"kind": "redirect", "status": 302},
    "garbage": {"kind": "garbage"},
    "truncated": {"kind": "truncate"},
    "dropped before": {"kind": "drop_before"},
    "dropped after": {"kind": "drop_after"},
    "too large": {"kind": "huge"},
}


@each(ALL)
@pytest.mark.parametrize("fault", UNCLEAR.values(), ids=UNCLEAR.keys())
def test_unclear_answers_are_sorted_by_call(
    account: Account, endpoint: str, method: Method, fault: dict[str, Any]
) -> None:
    account.sandbox.fault(**fault)
    error = account.error(method)
    assert type(error) is (UpstreamOutcomeUnknown if endpoint in ONCE else UpstreamUnavailable)
    assert account.counted(endpoint) == 1
    assert sum(account.sandbox.state()["calls"].values()) == 1


@pytest.mark.parametrize("kind", ["slow", "slow_before", "trickle", "trickle_headers"])
@pytest.mark.parametrize("endpoint", ["GET /datacenter/server", "POST /datacenter/server"])
def test_deadline_bounds_the_whole_call(
    account: Account, monkeypatch: pytest.MonkeyPatch, endpoint: str, kind: str
) -> None:
    """Sent in time, it has half a second left for the answer, of which each piece that comes takes a bit."""
    account.sandbox.fault(kind=kind, seconds=50)
    clock = on_a_clock(monkeypatch)
    clock.look_s, clock.answer_s = 0.05, TIMEOUT_S - 1.0
    began_s = time.monotonic()
    error = account.error(ALL[endpoint])
    assert time.monotonic() - began_s < 20  # without a deadline it would be 50
    assert type(error) is (UpstreamOutcomeUnknown if endpoint in ONCE else UpstreamUnavailable)
    assert str(error).startswith(f"{endpoint.replace(' /', ' ')}: ")
    assert "no answer within 60 s" in str(error)


@each(ALL)
def test_too_many_calls_come_back_later(account: Account, endpoint: str, method: Method) -> None:
    account.sandbox.fault(kind="rate_limit", retry_after=7)
    error = account.error(method)
    assert type(error) is UpstreamUnavailable
    assert error.retry_after_s == 7.0
    assert account.counted(endpoint) == 1


@each(ALL)
def test_refused_connection_sent_nothing(account: Account, endpoint: str, method: Method) -> None:
    account.server.go_down()
    error = account.error(method)
    assert type(error) is UpstreamUnavailable
    assert "connection refused; nothing was sent" in str(error)
    assert account.calls[-1].status == 0


def test_restarted_peer_is_met_by_new_connections(account: Account) -> None:
    account.client.servers()
    account.server.go_down()
    account.server.come_up()
    assert account.client.servers() == frozenset()
    assert account.counted("GET /datacenter/server") == 2


# Records.


def test_each_call_is_recorded_once(account: Account) -> None:
    account.client.create(SPEC)
    (call,) = account.calls
    assert (call.method, call.path, call.status, call.outcome) == ("POST", "datacenter/server", 200, "ok")
    assert call.summary == '{"result": {"status": "queued", "jobId": 1, "progress": 0}}'
    assert 0 <= call.duration_ms < TIMEOUT_S * 1000


@pytest.mark.parametrize(
    ("fault", "status", "outcome"),
    [
        ({"kind": "error", "error": "0xb0: too much"}, 500, "0xb0"),
        ({"kind": "page"}, 502, "unavailable"),
        ({"kind": "truncate"}, 200, "unavailable"),
        ({"kind": "drop_before"}, 0, "unavailable"),
    ],
)
def test_failed_calls_are_recorded_too(
    account: Account, fault: dict[str, Any], status: int, outcome: str
) -> None:
    account.sandbox.fault(**fault)
    account.error(READS["GET /datacenter/server"])
    (call,) = account.calls
    assert (call.status, call.outcome) == (status, outcome)
    assert call.summary


def test_views_report_to_both(account: Account) -> None:
    seen: list[Call] = []
    account.client.recording(seen.append).servers()
    account.client.servers()
    assert len(seen) == 1
    assert len(account.calls) == 2
    assert seen[0] == account.calls[0]


def test_no_password_is_recorded(account: Account) -> None:
    account.made()
    passwords = [account.vm()["password"], account.client.reset_password(VMID)]
    account.client.job(account.client.reinstall(VMID))
    passwords.append(account.vm()["password"])
    account.sandbox.fault(kind="truncate")
    account.error(READS["GET /job/{jobId}"])
    assert len(set(passwords)) == 3
    for secret in (*passwords, TOKEN):
        assert secret not in repr(account.calls)


# Places.


def test_calls_in_flight_are_bounded(account: Account) -> None:
    account.sandbox.settings(latency=0.1)
    client = UpstreamClient(account.server.base_url, TOKEN, timeout_s=TIMEOUT_S, max_concurrency=2)
    threads = [threading.Thread(target=client.recording(account.calls.append).servers) for _ in range(6)]
    began_s = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    assert len(account.calls) == 6
    assert time.monotonic() - began_s >= 0.3


def test_waiting_for_a_place_ends(account: Account) -> None:
    client = UpstreamClient(account.server.base_url, TOKEN, timeout_s=0.3, max_concurrency=1)
    view = client.recording(account.calls.append)
    client._lines._places.take(0)
    with pytest.raises(UpstreamUnavailable, match="no place for another call"):
        view.create(SPEC)
    client.close()
    assert account.calls[0].outcome == "unavailable"
    assert account.sandbox.calls() == []


def test_failed_calls_give_their_place_back(account: Account) -> None:
    account.sandbox.fault(kind="drop_before", times=10)
    for _ in range(10):
        account.error(READS["GET /datacenter/server"])
    assert account.client.servers() == frozenset()


def test_many_threads_share_a_client(account: Account) -> None:
    account.made()
    client = UpstreamClient(account.server.base_url, TOKEN, timeout_s=30, max_concurrency=4)
    seen: list[object] = []

    def work() -> None:
        for _ in range(20):
            seen.append(client.servers())
            seen.append(client.config(VMID))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    assert len(seen) == 320
    assert set(map(type, seen)) == {frozenset, VmConfig}


# Arguments.


@pytest.mark.parametrize("job_id", ["", "..", "1/../../datacenter/server", "1?x", "%2e%2e"])
def test_job_id_cannot_leave_its_path(account: Account, job_id: str) -> None:
    with pytest.raises(ValueError, match="job's id"):
        account.client.job(job_id)
    assert account.sandbox.calls() == []
