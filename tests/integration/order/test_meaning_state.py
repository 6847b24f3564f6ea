"""Contract, section 3, "What an event means": a service never seen, a terminated one, a suspended one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from provisioner.operation import Kind, State

if TYPE_CHECKING:
    from tests.integration.order.conftest import Life

ON_A_SERVICE: dict[str, dict[str, Any]] = {
    "service.upgrade": {"plan": "vps-m"},
    "service.suspend": {},
    "service.unsuspend": {},
    "service.terminate": {},
    "service.start": {},
    "service.shutdown": {},
    "service.stop": {},
    "service.reboot": {},
    "service.force_reboot": {},
    "service.reinstall": {},
    "service.reset_password": {},
    "service.set_rdns": {"ip": "192.0.2.1", "hostname": "web1.example.com"},
    "service.backup": {},
    "service.restore": {"backup": 1_800_000_000},
}
AWAKE = (
    "service.start",
    "service.shutdown",
    "service.stop",
    "service.reboot",
    "service.force_reboot",
    "service.reinstall",
    "service.reset_password",
    "service.restore",
)
SUCCEEDED, FAILED = State.SUCCEEDED, State.FAILED


@pytest.mark.parametrize("kind", ON_A_SERVICE)
def test_service_never_seen_is_refused(life: Life, kind: str) -> None:
    assert life.is_refused(kind, **ON_A_SERVICE[kind]) == "unknown_service"


@pytest.mark.parametrize("known_by", ["an order", "a link"])
def test_order_or_link_makes_known(life: Life, known_by: str) -> None:
    """Whatever becomes of it: from then on state is judged later, not at once."""
    if known_by == "an order":
        life.order()
    else:
        life.ask("service.link", vmid=9999, plan="vps-s")
    assert life.send("service.start").status == 202


@pytest.mark.parametrize("kind", ON_A_SERVICE)
def test_event_on_terminated_service_fails(life: Life, kind: str) -> None:
    life.make()
    life.do("service.terminate", immediate=True)
    calls = len(life.sandbox.calls())
    operation = life.do(kind, **ON_A_SERVICE[kind])
    assert (operation.state, operation.error_code) == (FAILED, "terminated")
    assert len(life.sandbox.calls()) == calls
    assert life.service().status == "terminated"


def test_state_is_judged_when_run(life: Life) -> None:
    life.make()
    life.do("service.suspend")
    life.ask("service.unsuspend")
    assert life.do("service.reboot").state is SUCCEEDED


def test_state_is_not_judged_when_accepted(life: Life) -> None:
    life.make()
    suspend = life.ask("service.suspend")
    reboot = life.do("service.reboot")
    assert (reboot.state, reboot.error_code) == (FAILED, "suspended")
    assert life.ended(suspend) == [(SUCCEEDED, "")]


@pytest.fixture
def suspended(life: Life) -> Life:
    life.make()
    life.do("service.backup")
    assert life.do("service.suspend", reason="overdue").state is SUCCEEDED
    assert life.power() == "stopped"
    return life


@pytest.mark.parametrize("change_answer", ["true", "job"])
def test_change_works_while_suspended(suspended: Life, change_answer: str) -> None:
    suspended.sandbox.settings(change_answer=change_answer)
    assert suspended.do("service.upgrade", options={"mem": 2048}).state is SUCCEEDED
    assert (suspended.power(), suspended.service().status) == ("stopped", "suspended")


def test_change_leaves_suspended_off(suspended: Life) -> None:
    """An upstream may start a VM to change it: it is off again afterwards."""
    change = suspended.ask("service.upgrade", options={"mem": 2048})
    suspended.sandbox.power(4001, "running")
    assert suspended.end(change).state is SUCCEEDED
    assert (suspended.power(), suspended.service().status) == ("stopped", "suspended")


@pytest.mark.parametrize("kind", ["service.backup", "service.set_rdns"])
def test_backup_and_rdns_work_while_suspended(suspended: Life, kind: str) -> None:
    assert suspended.do(kind, **ON_A_SERVICE[kind]).state is SUCCEEDED
    assert (suspended.power(), suspended.service().status) == ("stopped", "suspended")


def test_unsuspend_works_while_suspended(suspended: Life) -> None:
    assert suspended.do("service.unsuspend").state is SUCCEEDED
    assert (suspended.power(), suspended.service().status) == ("running", "active")
    assert suspended.service().suspend_reason == ""


def test_terminate_works_while_suspended(suspended: Life) -> None:
    assert suspended.do("service.terminate", immediate=True).state is SUCCEEDED
    assert suspended.vms() == {}


@pytest.mark.parametrize("kind", AWAKE)
def test_waking_events_fail_while_suspended(suspended: Life, kind: str) -> None:
    before = suspended.vms()
    failed = suspended.do(kind, **ON_A_SERVICE[kind])
    assert (failed.state, failed.error_code, failed.sent) == (FAILED, "suspended", False)
    assert suspended.vms() == before


@pytest.mark.parametrize(
    ("second", "reason", "locked"),
    [
        ({"reason": "abuse"}, "abuse", False),
        ({"lock": True}, "overdue", True),
        ({"reason": "abuse", "lock": True, "force": True}, "abuse", True),
    ],
    ids=["a reason", "a lock", "both"],
)
def test_second_suspend_changes_reason_and_lock(
    suspended: Life, second: dict[str, Any], reason: str, locked: bool
) -> None:
    before = suspended.service()
    calls = len(suspended.sandbox.calls())
    suspended.do("service.suspend", **second)
    suspended.idle()
    after = suspended.service()
    assert (after.suspend_reason, after.locked) == (reason, locked)
    assert (after.status, after.ran_before_suspend) == (before.status, before.ran_before_suspend)
    assert len(suspended.sandbox.calls()) == calls
    assert (suspended.last().type, suspended.last().data["reason"]) == ("service.suspended", reason)


def test_second_suspend_keeps_the_lock(life: Life) -> None:
    life.make()
    life.do("service.suspend", lock=True)
    life.do("service.suspend", reason="overdue")
    assert life.service().locked


def test_only_admin_lifts_the_lock(life: Life) -> None:
    life.make()
    life.do("service.suspend", lock=True)
    refused = life.do("service.unsuspend")
    assert (refused.state, refused.error_code, life.power()) == (FAILED, "locked", "stopped")
    assert life.end(life.act(Kind.UNSUSPEND)).state is SUCCEEDED
    assert (life.service().status, life.service().locked, life.power()) == ("active", False, "running")


def test_second_link_lifts_nothing(life: Life) -> None:
    """A billing system's link of the VM that is there already is no way around the lock."""
    vmid = life.make()
    life.do("service.suspend", reason="abuse", lock=True)
    before = life.service()
    assert life.do("service.link", vmid=vmid, plan="vps-s").state is SUCCEEDED
    after = life.service()
    assert (after.status, after.locked, after.suspend_reason) == ("suspended", True, "abuse")
    assert (after.ran_before_suspend, after.ips) == (before.ran_before_suspend, before.ips)


@pytest.mark.parametrize("second", [False, True])
def test_vm_off_before_stays_off(life: Life, second: bool) -> None:
    life.make()
    life.do("service.stop")
    life.do("service.suspend")
    if second:
        life.do("service.suspend", reason="abuse")
    assert life.do("service.unsuspend").state is SUCCEEDED
    assert (life.power(), life.service().status) == ("stopped", "active")


@pytest.mark.parametrize("obeys", [True, False])
def test_suspend_stops_after_the_grace(life: Life, obeys: bool) -> None:
    life.make()
    life.sandbox.settings(shutdown_delay=3.0 if obeys else None)
    begun = life.clock()
    life.end(life.ask("service.suspend"))
    assert (life.calls("PUT", "/shutdown"), life.calls("PUT", "/stop")) == (1, 0 if obeys else 1)
    assert life.power() == "stopped"
    assert life.clock() - begun == (3_000 if obeys else 60_000)


def test_forced_suspend_stops_at_once(life: Life) -> None:
    life.make()
    begun = life.clock()
    life.end(life.ask("service.suspend", force=True))
    assert (life.calls("PUT", "/shutdown"), life.calls("PUT", "/stop")) == (0, 1)
    assert (life.power(), life.clock()) == ("stopped", begun)
