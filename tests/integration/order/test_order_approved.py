"""What a person approves is what was seen then: nothing that differs later, and no later try."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner.operation import Operation, State

if TYPE_CHECKING:
    from tests.integration.order.conftest import Life

DAY_S = 86_400.0


def held(life: Life, operation: str, code: str) -> Operation:
    found = life.end(operation, 2 * DAY_S)
    assert (found.state, found.error_code) == (State.HELD, code)
    return found


def approve(life: Life, operation: str) -> None:
    life.app.commands.approve(operation, "admin:anna")


def test_another_machine_in_the_grace_is_not_deleted(life: Life) -> None:
    """It was approved for one size; a day later somebody else's has the id."""
    vmid = life.make()
    life.sandbox.change(vmid, mem=999)
    terminate = life.ask("service.terminate")
    held(life, terminate, "config_differs")
    approve(life, terminate)
    life.reach(terminate, "grace")
    life.sandbox.remove_vm(vmid)
    life.sandbox.add_vm(vmid=vmid, cpu_cores=8, mem=16_000, disk="500G", power="stopped")
    assert "8 cores, 16000 MB" in held(life, terminate, "config_differs").error_detail
    assert list(life.vms()) == [vmid]
    approve(life, terminate)
    assert life.end(terminate, DAY_S).state is State.SUCCEEDED


def test_what_was_approved_is_not_asked_again(life: Life) -> None:
    """A terminate looks three times: one approval is enough while the same is seen."""
    life.sandbox.change(life.make(), mem=999)
    terminate = life.ask("service.terminate")
    held(life, terminate, "config_differs")
    approve(life, terminate)
    assert life.end(terminate, 2 * DAY_S).state is State.SUCCEEDED
    assert life.operation(terminate).approvals == ("config_differs",)


def test_retry_drops_what_was_approved(life: Life) -> None:
    life.sandbox.change(life.make(), mem=999)
    reinstall = life.ask("service.reinstall")
    held(life, reinstall, "config_differs")
    life.sandbox.fault(path="*/reinstall", kind="error", error="0xb0: no")
    approve(life, reinstall)
    assert life.end(reinstall).error_code == "0xb0"
    life.app.commands.retry(reinstall, "admin:anna")
    assert held(life, reinstall, "config_differs").approvals == ()


def test_vm_that_comes_back_twice_is_asked_about_twice(life: Life) -> None:
    """Approved is the first absence; what came after the second may be another machine."""
    vmid = life.make()
    life.wait(3600)
    gone_and_back(life, vmid)
    terminate = life.ask("service.terminate")
    held(life, terminate, "vm_came_back")
    approve(life, terminate)
    life.reach(terminate, "grace")
    life.wait(60)
    gone_and_back(life, vmid)
    life.sandbox.power(vmid, "stopped")
    held(life, terminate, "vm_came_back")
    assert list(life.vms()) == [vmid]


def test_approval_forgets_the_suspicion(life: Life) -> None:
    vmid = life.make()
    life.wait(3600)
    gone_and_back(life, vmid)
    reinstall = life.ask("service.reinstall")
    held(life, reinstall, "vm_came_back")
    approve(life, reinstall)
    assert life.end(reinstall).state is State.SUCCEEDED
    assert life.do("service.reinstall").state is State.SUCCEEDED


def gone_and_back(life: Life, vmid: int) -> None:
    life.sandbox.remove_vm(vmid)
    life.app.reconcile.run(fix=False)
    life.sandbox.add_vm(vmid=vmid)


def test_absence_that_was_approved_covers_no_later_one(life: Life) -> None:
    """The list was wrong once, a person said; what it says weeks later is another matter."""
    vmid = life.make()
    life.wait(3600)
    life.sandbox.remove_vm(vmid)
    change = life.ask("service.upgrade", options={"mem": 2048})
    held(life, change, "vm_not_seen")
    life.sandbox.add_vm(vmid=vmid)
    approve(life, change)
    held(life, change, "vm_came_back")
    life.sandbox.fault(path="*/change", kind="page")
    approve(life, change)
    life.idle()
    life.wait(1)
    life.sandbox.remove_vm(vmid)
    held(life, change, "vm_not_seen")


def test_what_runs_after_each_delete_is_asked_about(life: Life) -> None:
    vmid = life.make()
    life.sandbox.fault(path="*/delete", kind="drop_before", times=2)
    terminate = life.ask("service.terminate", immediate=True)
    life.reach(terminate, "gone")
    life.sandbox.power(vmid, "running")
    held(life, terminate, "runs_again")
    approve(life, terminate)
    life.reach(terminate, "gone")
    life.sandbox.power(vmid, "running")
    held(life, terminate, "runs_again")
    approve(life, terminate)
    assert life.end(terminate).state is State.SUCCEEDED


def test_approval_of_an_older_version_is_asked_for_once_more(life: Life) -> None:
    """It does not say what was seen; the row is read all the same."""
    life.sandbox.change(life.make(), mem=999)
    terminate = life.ask("service.terminate", immediate=True)
    found = held(life, terminate, "config_differs")
    older = replace(found, memo={name: value for name, value in found.memo.items() if name != "held_for"})
    life.app.store.write(lambda verbs: verbs.save_operation(older, fence=found.claims))
    approve(life, terminate)
    held(life, terminate, "config_differs")
    approve(life, terminate)
    assert life.end(terminate).state is State.SUCCEEDED
