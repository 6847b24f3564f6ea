"""A retry long after the failure: what was asked of one VM is never done to another, and is judged anew."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from provisioner.errors import WrongState
from provisioner.operation import Operation, State
from provisioner.service import ServiceStatus

if TYPE_CHECKING:
    from tests.integration.order.conftest import Life

NO = "0xb0: no"
DAY_S = 86_400.0
PATHS: dict[str, tuple[str, dict[str, Any]]] = {
    "service.terminate": ("*/delete", {}),
    "service.reinstall": ("*/reinstall", {}),
    "service.upgrade": ("*/change", {"options": {"mem": 2048}}),
    "service.suspend": ("*/shutdown", {}),
    "service.stop": ("*/stop", {}),
    "service.reset_password": ("*/password/reset", {}),
}
each_kind = pytest.mark.parametrize("kind", PATHS)


def failed(life: Life, kind: str, **data: Any) -> Operation:
    """One that the upstream says no to."""
    path, more = PATHS[kind]
    life.sandbox.fault(path=path, kind="error", error=NO, times=0)
    operation = life.end(life.ask(kind, **{**more, **data}), 2 * DAY_S)
    assert (operation.state, operation.error_code) == (State.FAILED, "0xb0")
    life.sandbox.clear_faults()
    life.idle()
    return operation


def retry(life: Life, operation: Operation) -> None:
    life.app.commands.retry(operation.id, "admin:anna")


def changing(life: Life) -> list[str]:
    """The calls that changed something, without their paths' beginning."""
    calls = [call for call in life.sandbox.calls() if call["method"] != "GET"]
    return [call["path"].rsplit("/", 1)[-1] for call in calls]


def recreate(life: Life) -> int:
    """Another VM for the service, after its first one's end."""
    assert life.do("service.terminate", immediate=True).state is State.SUCCEEDED
    return life.make(recreate=True)


@each_kind
def test_old_failure_is_not_retried_on_a_new_vm(life: Life, kind: str) -> None:
    first = life.make()
    old = failed(life, kind)
    second = recreate(life)
    before = (changing(life), life.power(), life.service())
    with pytest.raises(
        WrongState, match=f"asked for VM {first}, .* has VM {second} now; have it asked for anew"
    ):
        retry(life, old)
    life.wait(2 * DAY_S)
    assert (changing(life), life.power(), life.service()) == before
    assert life.operation(old.id) == old


def test_same_id_is_another_vm(life: Life) -> None:
    """Ids get reused: the number alone says nothing."""
    first = life.make()
    old = failed(life, "service.reinstall")
    life.sandbox.settings(reuse_vmids=True)
    assert recreate(life) == first
    with pytest.raises(WrongState, match="has another VM of that id now"):
        retry(life, old)


def test_what_waited_for_the_end_of_a_vm_is_not_done_to_the_next(life: Life) -> None:
    """It never had a VM on record: it failed because there was none any more."""
    life.make()
    terminate = life.ask("service.terminate", immediate=True)
    suspend = life.ask("service.suspend")
    life.end(terminate)
    assert life.end(suspend).error_code == "terminated"
    life.make(recreate=True)
    with pytest.raises(WrongState, match="asked for an earlier VM"):
        retry(life, life.operation(suspend))


def test_failure_of_a_vm_that_is_gone_is_not_retried(life: Life) -> None:
    life.make()
    old = failed(life, "service.terminate", immediate=True)
    assert life.do("service.terminate", immediate=True).state is State.SUCCEEDED
    with pytest.raises(WrongState, match="has no VM now"):
        retry(life, old)


def test_what_was_not_delivered_is_delivered_after_the_vm_s_end(make_life: Any) -> None:
    life = make_life(retry={"deliveries_give_up_after": 60})
    life.make()
    life.billing.answer_with(503)
    reboot = life.do("service.reboot")
    life.wait(600)
    assert life.operation(reboot.id).error_code == "delivery_failed"
    life.billing.answer_with(204)
    life.do("service.terminate", immediate=True)
    retry(life, reboot)
    assert life.end(reboot.id).state is State.SUCCEEDED


def test_vm_does_not_change_under_an_operation(life: Life) -> None:
    """Whatever way led there: what has begun on one VM does not go on with another."""
    first = life.make()
    old = failed(life, "service.reinstall")
    second = recreate(life)
    stale = life.app.store.write(lambda verbs: queued(verbs, old))
    ended = life.end(stale.id)
    assert (ended.error_code, ended.vmid) == ("no_such_vm", first)
    assert f"has VM {second} now" in ended.error_detail
    assert life.calls("PUT", "/reinstall") == 1


def queued(verbs: Any, operation: Operation) -> Operation:
    again = replace(operation, state=State.QUEUED, claims=operation.claims + 1)
    verbs.save_operation(again, fence=operation.claims)
    return again


def test_retried_terminate_has_its_stop_and_its_grace(life: Life) -> None:
    """Weeks after the failure the customer works with the VM: nothing is deleted before it can be undone."""
    vmid = life.make()
    old = failed(life, "service.terminate")
    assert life.do("service.unsuspend").state is State.SUCCEEDED
    assert life.do("service.start").state is State.SUCCEEDED
    life.wait(20 * DAY_S)
    began_ms, before = life.clock.now_ms, changing(life)
    retry(life, old)
    life.reach(old.id, "grace")
    assert changing(life)[len(before) :] == ["shutdown"]
    assert life.service().status is ServiceStatus.TERMINATING
    life.wait(DAY_S - 600)
    assert list(life.vms()) == [vmid]
    assert life.end(old.id, DAY_S).state is State.SUCCEEDED
    assert life.clock.now_ms - began_ms >= DAY_S * 1000
    assert life.vms() == {}


def test_undo_of_a_retried_terminate_gives_the_status_of_now(life: Life) -> None:
    """Not the one of before the first try: it was suspended since."""
    life.make()
    old = failed(life, "service.terminate")
    assert life.do("service.suspend", reason="unpaid").state is State.SUCCEEDED
    retry(life, old)
    life.reach(old.id, "grace")
    life.app.commands.cancel(old.id, "admin:anna")
    life.wait(60)
    assert life.service().status is ServiceStatus.SUSPENDED
    assert life.do("service.unsuspend").state is State.SUCCEEDED


def test_undo_of_a_retried_terminate_starts_what_the_first_try_stopped(life: Life) -> None:
    life.make()
    old = failed(life, "service.terminate")
    assert life.power() != "running"
    retry(life, old)
    life.reach(old.id, "grace")
    life.app.commands.cancel(old.id, "admin:anna")
    life.wait(60)
    assert (life.service().status, life.power()) == (ServiceStatus.ACTIVE, "running")


def test_retried_terminate_that_has_not_begun_can_be_cancelled(life: Life) -> None:
    life.make()
    old = failed(life, "service.terminate")
    retry(life, old)
    life.app.commands.cancel(old.id, "admin:anna")
    life.wait(60)
    assert (life.operation(old.id).state, life.service().status) == (State.CANCELLED, ServiceStatus.ACTIVE)


def test_terminate_is_not_retried_beside_another(life: Life) -> None:
    life.make()
    old = failed(life, "service.terminate")
    under_way = life.ask("service.terminate")
    life.reach(under_way, "grace")
    with pytest.raises(WrongState, match=f"terminate {under_way} is under way"):
        retry(life, old)


def lost_delete(life: Life, kind: str) -> Operation:
    """A terminate whose deletes got no answer, and which was given up."""
    life.sandbox.fault(path="*/delete", kind=kind, times=0)
    operation = life.end(life.ask("service.terminate", immediate=True), 2 * DAY_S)
    life.sandbox.clear_faults()
    return operation


def test_retried_terminate_sees_that_the_vm_is_gone(life: Life) -> None:
    """Somebody deleted it by hand: it ends, and asks nobody."""
    vmid = life.make()
    old = lost_delete(life, "drop_before")
    assert old.error_code == "still_there"
    life.sandbox.remove_vm(vmid)
    calls = changing(life)
    retry(life, old)
    assert life.end(old.id).state is State.SUCCEEDED
    assert (changing(life), life.service().status) == (calls, ServiceStatus.TERMINATED)


def test_retried_terminate_does_not_stop_what_runs_after_its_delete(life: Life) -> None:
    """Its delete may have been carried out late, and the id be somebody else's."""
    vmid = life.make()
    old = lost_delete(life, "drop_before")
    life.sandbox.remove_vm(vmid)
    life.sandbox.add_vm(vmid=vmid)
    calls = changing(life)
    retry(life, old)
    assert life.end(old.id).error_code == "runs_again"
    assert changing(life) == calls
    life.app.commands.approve(old.id, "admin:anna")
    assert life.end(old.id).state is State.SUCCEEDED
    assert life.vms() == {}


def test_retried_suspend_waits_its_grace_again(life: Life) -> None:
    """A guest gets its time to go down, however long ago the first try was."""
    life.make()
    life.sandbox.fault(path="*/stop", kind="error", error=NO, times=0)
    life.sandbox.settings(shutdown_delay=None)
    old = life.do("service.suspend")
    assert old.error_code == "0xb0"
    life.sandbox.clear_faults()
    life.wait(DAY_S)
    began_ms = life.clock.now_ms
    retry(life, old)
    assert life.end(old.id).state is State.SUCCEEDED
    assert life.clock.now_ms - began_ms >= 60_000


@pytest.mark.parametrize("kind", ["service.start", "service.reinstall", "service.reset_password"])
def test_retry_does_not_wake_what_was_suspended_since(life: Life, kind: str) -> None:
    life.make()
    life.do("service.stop")
    path = {"service.start": "*/start"}.get(kind) or PATHS[kind][0]
    life.sandbox.fault(path=path, kind="error", error=NO, times=0)
    old = life.do(kind)
    assert old.error_code == "0xb0"
    life.sandbox.clear_faults()
    life.do("service.suspend")
    calls = changing(life)
    retry(life, old)
    assert life.end(old.id).error_code == "suspended"
    assert (changing(life), life.power()) == (calls, "stopped")


def test_retry_lifts_no_lock(life: Life) -> None:
    life.make()
    life.do("service.suspend")
    life.sandbox.fault(path="*/start", kind="error", error=NO, times=0)
    old = life.do("service.unsuspend")
    assert old.error_code == "0xb0"
    life.sandbox.clear_faults()
    life.do("service.suspend", lock=True, reason="abuse")
    retry(life, old)
    assert life.end(old.id).error_code == "locked"
    assert life.service().locked


def test_retried_change_stops_no_vm_that_is_active_by_now(life: Life) -> None:
    """It took; only the VM, which was suspended then, was still to be off again."""
    vmid = life.make()
    life.do("service.suspend")
    life.sandbox.power(vmid, "running")
    old = failed_at_shutdown(life)
    life.do("service.unsuspend")
    calls = changing(life)
    retry(life, old)
    assert life.end(old.id).state is State.SUCCEEDED
    assert (changing(life), life.power()) == (calls, "running")


def failed_at_shutdown(life: Life) -> Operation:
    life.sandbox.fault(path="*/shutdown", kind="error", error=NO, times=0)
    operation = life.do("service.upgrade", options={"mem": 2048})
    assert (operation.step, operation.error_code) == ("shutdown", "0xb0")
    life.sandbox.clear_faults()
    return operation


@pytest.mark.parametrize("undo", ["service.unsuspend", "order.paid"])
def test_retried_undo_shuts_nothing_down(life: Life, undo: str) -> None:
    """The VM was seen to be off before its start failed: what runs now, the customer has started."""
    life.make()
    terminate = life.ask("service.terminate")
    life.reach(terminate, "watch")
    life.sandbox.fault(path="*/start", kind="error", error=NO, times=0)
    old = life.do(undo, **({"plan": "vps-s"} if undo == "order.paid" else {}))
    assert (old.step, old.error_code) == ("start", "0xb0")
    life.sandbox.clear_faults()
    life.sandbox.power(4001, "running")
    calls = changing(life)
    retry(life, old)
    assert life.end(old.id).state is State.SUCCEEDED
    assert "shutdown" not in changing(life)[len(calls) :]


def test_lost_reinstall_is_not_sent_again_to_a_suspended_vm(make_life: Any) -> None:
    """The look was given up, and goes on; what it would send again is judged anew."""
    life = make_life(retry={"give_up_after": 600})
    life.make()
    life.sandbox.fault(path="*/reinstall", kind="drop_before")
    life.sandbox.fault(path="*/job/*", kind="page", times=0)
    old = life.end(life.ask("service.reinstall"), 3600)
    assert (old.state, old.step) == (State.FAILED, "lost")
    life.sandbox.clear_faults()
    life.do("service.suspend")
    retry(life, old)
    assert life.end(old.id).error_code == "suspended"
    assert life.calls("PUT", "/reinstall") == 1


# What a change asked for then.

BIGGER = {"cpu_cores": 4, "mem": 4096, "disk": "40G", "ip_count": 2}


def test_old_change_takes_nothing_back(life: Life) -> None:
    """Another upgrade came since: a smaller disk is refused before anything is sent."""
    vmid = life.make()
    old = failed(life, "service.upgrade", options={"mem": 2048, "disk": "20G"})
    assert life.do("service.upgrade", options=BIGGER).state is State.SUCCEEDED
    calls, service = changing(life), life.service()
    retry(life, old)
    assert life.end(old.id).error_code == "disk_smaller"
    assert (changing(life), life.service(), life.vms()[vmid]["config"]) == (calls, service, BIGGER)


def test_old_change_asks_for_its_options_over_what_is_there(life: Life) -> None:
    """It was sent once with one IP; the second one that came since is neither taken away nor forgotten."""
    vmid = life.make()
    old = failed(life, "service.upgrade", options={"mem": 2048})
    assert life.do("service.upgrade", options=BIGGER).state is State.SUCCEEDED
    retry(life, old)
    assert life.end(old.id).state is State.SUCCEEDED
    assert life.vms()[vmid]["config"] == {**BIGGER, "mem": 2048}


def test_old_change_knows_no_addresses_of_then(life: Life) -> None:
    """An upstream whose jobs tell them told some to the first try; what is on record now came later."""
    life.make()
    old = failed(life, "service.upgrade")
    told = replace(old, memo={**old.memo, "ips": ["198.51.100.1"]})
    life.app.store.write(lambda verbs: verbs.save_operation(told, fence=old.claims))
    ips = life.service().ips
    retry(life, old)
    assert life.end(old.id).state is State.SUCCEEDED
    assert life.service().ips == ips


def test_what_was_refused_is_no_size_to_know_the_vm_by(life: Life) -> None:
    """The upstream said a clear no: a VM of that size is another one."""
    vmid = life.make()
    failed(life, "service.upgrade")
    life.sandbox.change(vmid, mem=2048)
    assert life.do("service.terminate", immediate=True).error_code == "config_differs"


def test_refusal_after_an_unclear_try_proves_nothing(life: Life) -> None:
    """The first one, which got no answer, may have been carried out late."""
    vmid = life.make()
    life.sandbox.fault(path="*/change", kind="drop_before")
    failed(life, "service.upgrade")
    life.sandbox.change(vmid, mem=2048)
    assert life.do("service.terminate", immediate=True).state is State.SUCCEEDED


def test_size_asked_in_a_former_life_is_no_size_of_this_one(life: Life) -> None:
    life.make()
    life.sandbox.fault(path="*/change", kind="drop_before")
    failed(life, "service.upgrade")
    life.sandbox.change(recreate(life), mem=2048)
    assert life.do("service.reinstall").error_code == "config_differs"
