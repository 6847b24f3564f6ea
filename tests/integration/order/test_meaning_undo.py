"""Contract, section 3, "What an event means": Undo. A test for each sentence, and what hides in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from provisioner.operation import Kind, State

if TYPE_CHECKING:
    from tests.integration.order.conftest import Life

SUCCEEDED, CANCELLED, FAILED, HELD = State.SUCCEEDED, State.CANCELLED, State.FAILED, State.HELD
WAYS = ("service.unsuspend", "order.paid", "cancel")
TELLS = {"service.unsuspend": "service.unsuspended", "order.paid": "service.provisioned"}


def undo(life: Life, way: str, terminate: str) -> str:
    """Takes the terminate back; returns the operation that brings the VM back."""
    if way == "cancel":
        life.app.commands.cancel(terminate, "admin:anna", "a mistake")
    elif way == "order.paid":
        life.order()
    else:
        life.ask(way)
    assert life.ended(terminate) == [(CANCELLED, "cancelled")]
    return life.operations()[-1].id


def is_back(life: Life, power: str = "running", status: str = "active") -> None:
    """The VM is what it was, and nothing is left that could end it."""
    life.wait(10 * 86_400)
    assert (life.service().status, life.power(), len(life.vms())) == (status, power, 1)
    assert life.calls("POST", "/delete") == 0


@pytest.mark.parametrize("way", WAYS)
def test_undo_in_the_grace(life: Life, way: str) -> None:
    vmid = life.make()
    terminate = life.ask("service.terminate")
    life.wait(86_399)
    assert (life.service().status, life.power()) == ("terminating", "stopped")
    back = life.end(undo(life, way, terminate))
    assert (back.state, life.service().vmid) == (SUCCEEDED, vmid)
    is_back(life)
    assert life.calls("PUT", "/shutdown") == 1  # the terminate's; the undo only starts it


@pytest.mark.parametrize("way", WAYS)
def test_terminate_is_told_before_undo(life: Life, way: str) -> None:
    life.make()
    terminate = life.ask("service.terminate")
    life.reach(terminate, "grace")
    back = undo(life, way, terminate)
    life.end(back)
    life.idle()
    cancelled, restored = life.told()[-2:]
    assert cancelled.data == {
        "service_id": "1001",
        "operation": terminate,
        "status": "active",
        "kind": "terminate",
        "error": {"code": "cancelled", "message": "The termination was taken back."},
        "retryable": False,
    }
    assert cancelled.type == "operation.failed"
    assert (restored.type, restored.data["operation"]) == (TELLS.get(way, "service.unsuspended"), back)
    assert restored.data["status"] == "active"


@pytest.mark.parametrize("way", WAYS)
def test_guest_that_an_earlier_terminate_told_is_waited_for(life: Life, way: str) -> None:
    """The second terminate ended the undo of the first one, and had told the guest nothing itself."""
    life.make()
    life.sandbox.settings(shutdown_delay=20)
    first = life.ask("service.terminate")
    life.reach(first, "watch")
    undo(life, way, first)
    second = life.ask("service.terminate")
    life.end(undo(life, way, second))
    is_back(life)


@pytest.mark.parametrize("way", WAYS)
def test_vm_off_before_comes_back_off(life: Life, way: str) -> None:
    life.make()
    life.do("service.stop")
    terminate = life.ask("service.terminate")
    life.reach(terminate, "grace")
    life.end(undo(life, way, terminate))
    is_back(life, "stopped")


@pytest.mark.parametrize(
    ("way", "power", "status"),
    [
        ("service.unsuspend", "running", "active"),
        ("order.paid", "stopped", "suspended"),
        ("cancel", "stopped", "suspended"),
    ],
)
def test_suspended_comes_back_as_it_was(life: Life, way: str, power: str, status: str) -> None:
    life.make()
    life.do("service.suspend", reason="overdue")
    terminate = life.ask("service.terminate")
    life.reach(terminate, "grace")
    life.end(undo(life, way, terminate))
    life.idle()
    told = "service.suspended" if way == "cancel" else TELLS[way]
    assert (life.last().type, life.last().data["status"]) == (told, status)
    is_back(life, power, status)
    assert life.service().suspend_reason == ("" if status == "active" else "overdue")


def test_unsuspend_under_lock_undoes_nothing(life: Life) -> None:
    life.make()
    life.do("service.suspend", lock=True)
    terminate = life.ask("service.terminate")
    life.reach(terminate, "grace")
    refused = life.ask("service.unsuspend")
    assert life.ended(refused) == [(FAILED, "locked")]
    assert life.operation(terminate).state is State.WAITING
    assert life.end(terminate, 90_000).state is SUCCEEDED
    assert life.vms() == {}


def test_unsuspend_behind_coming_lock_undoes_nothing(life: Life) -> None:
    """The lock was asked for before the terminate, though it is not there yet."""
    life.make()
    suspend = life.ask("service.suspend", lock=True)
    life.idle()
    terminate = life.ask("service.terminate")
    assert life.operation(suspend).step == "watch"
    refused = life.ask("service.unsuspend")
    assert life.ended(refused) == [(FAILED, "locked")]
    assert life.operation(terminate).state is State.QUEUED


@pytest.mark.parametrize("way", ["order.paid", "cancel", "unsuspend by an admin"])
def test_lock_keeps_nobody_else_from_undo(life: Life, way: str) -> None:
    life.make()
    life.do("service.suspend", lock=True)
    terminate = life.ask("service.terminate")
    life.reach(terminate, "grace")
    if way == "unsuspend by an admin":
        life.end(life.act(Kind.UNSUSPEND))
        assert life.ended(terminate) == [(CANCELLED, "cancelled")]
        is_back(life)
    else:
        life.end(undo(life, way, terminate))
        is_back(life, "stopped", "suspended")
        assert life.service().locked


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("found", ["config_differs", "0x03"])
def test_undo_of_terminate_held_before_delete(life: Life, way: str, found: str) -> None:
    vmid = life.make()
    terminate = life.ask("service.terminate")
    life.reach(terminate, "grace")
    if found == "config_differs":
        life.sandbox.change(vmid, mem=2048)
    else:
        life.sandbox.fault(method="POST", path="*/delete", kind="error", status=401, error="0x03: no")
    held = life.end(terminate, 90_000)
    assert (held.state, held.error_code) == (HELD, found)
    deletes = life.calls("POST", "/delete")
    life.end(undo(life, way, terminate))
    life.wait(10 * 86_400)
    assert (life.service().status, life.power()) == ("active", "running")
    assert life.calls("POST", "/delete") == deletes


@pytest.mark.parametrize("way", WAYS)
def test_undo_of_terminate_held_by_brake(make_life: Callable[..., Life], way: str) -> None:
    life = make_life(safety={"max_terminations_per_hour": 1})
    life.make("2")
    life.do("service.terminate", "2", immediate=True)
    life.make()
    terminate = life.ask("service.terminate")
    assert life.end(terminate).error_code == "brake"
    deletes = life.calls("POST", "/delete")
    undo(life, way, terminate)
    life.wait(10 * 86_400)
    assert (life.service().status, life.power()) == ("active", "running")
    assert (life.calls("POST", "/delete"), life.calls("PUT", "/shutdown")) == (deletes, 0)


@pytest.mark.parametrize("way", WAYS)
def test_undo_of_queued_terminate(life: Life, way: str) -> None:
    """Nothing of it had begun, so nothing has to be brought back."""
    life.make()
    life.ask("service.reinstall")
    life.idle()
    terminate = life.ask("service.terminate")
    undo(life, way, terminate)
    is_back(life)
    assert life.calls("PUT", "/shutdown") == 0


@pytest.mark.parametrize("way", WAYS)
def test_undo_before_it_has_stopped(life: Life, way: str) -> None:
    """A start while the guest still shuts down would be lost: it is let down first, then started."""
    life.make()
    life.sandbox.settings(shutdown_delay=20.0)
    terminate = life.ask("service.terminate")
    life.idle()
    assert (life.operation(terminate).step, life.power()) == ("watch", "running")
    life.end(undo(life, way, terminate))
    is_back(life)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", ["begin", "shutdown", "grace", "verify", "delete"])
def test_undo_while_a_step_runs(make_life: Callable[..., Life], way: str, step: str) -> None:
    """A worker has the terminate in its hands: it is fenced off, and deletes nothing."""
    life = make_life(safety={"terminate_grace": 60})
    life.make()
    terminate = life.ask("service.terminate")
    claimed = at_step(life, terminate, step)
    back = undo(life, way, terminate)
    life.app.advance.advance(claimed)
    assert life.ended(terminate) == [(CANCELLED, "cancelled")]
    life.end(back)
    is_back(life)


def at_step(life: Life, terminate: str, step: str) -> Any:
    """The terminate, claimed at this step by a worker that has done nothing yet."""
    if step in ("grace", "verify", "delete"):
        life.reach(terminate, "grace")
        life.clock.now_ms += 60_000
    pause_at = {"shutdown": "begin", "delete": "verify"}.get(step)
    if pause_at is None and step != "verify":
        claimed = life.app.advance.claim()
    else:
        claimed = stopped_between_steps(life, step)
    assert claimed is not None
    assert (claimed.operation.id, claimed.operation.step) == (terminate, step)
    return claimed


def stopped_between_steps(life: Life, step: str) -> Any:
    """A pause lets the step that runs end, and nothing after it begin."""
    while True:
        claimed = life.app.advance.claim()
        assert claimed is not None
        if claimed.operation.step == step:
            return claimed
        life.app.commands.pause("admin:anna", "")
        life.app.advance.claim()
        life.app.advance.advance(claimed)
        life.app.commands.resume()


def test_undo_after_delete_is_too_late(life: Life) -> None:
    life.make()
    life.sandbox.fault(method="POST", path="*/delete", kind="error_after", error="0xa3: timeout")
    life.sandbox.fault(method="GET", path="*/status", kind="page", after=3, times=1)
    terminate = life.ask("service.terminate", immediate=True)
    life.idle()
    assert (life.operation(terminate).step, life.vms()) == ("gone", {})
    late = life.ask("service.unsuspend")
    assert life.operation(terminate).state is State.WAITING
    assert life.end(late).error_code == "terminated"
    assert life.ended(terminate) == [(SUCCEEDED, "")]


def test_delete_not_sent_can_be_undone(life: Life) -> None:
    """The upstream cannot be reached when the grace is over: nothing was deleted, so it is not too late."""
    life.make()
    terminate = life.ask("service.terminate")
    life.reach(terminate, "grace")
    life.sandbox.fault(method="POST", path="*/delete", kind="rate_limit", times=0, retry_after=30)
    life.wait(86_500)
    assert life.operation(terminate).step == "delete"
    life.sandbox.clear_faults()
    undo(life, "service.unsuspend", terminate)
    life.wait(10 * 86_400)
    assert (life.service().status, life.power()) == ("active", "running")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("immediate_first", [False, True])
def test_undo_takes_back_every_terminate(life: Life, way: str, immediate_first: bool) -> None:
    """Billing systems ask twice: an undo that ended one of them only would lose the VM."""
    life.make()
    if immediate_first:
        life.ask("service.reinstall")
        life.idle()
    first = life.ask("service.terminate", immediate=immediate_first)
    if not immediate_first:
        life.reach(first, "grace")
    second = life.ask("service.terminate")
    if way == "cancel" and immediate_first:
        life.app.commands.cancel(first, "admin:anna")
        assert life.ended(second) == [(State.QUEUED, "")]
        first = second
    life.end(undo(life, way, first))
    assert life.ended(first, second) == [(CANCELLED, "cancelled")] * 2
    is_back(life)


def test_cancel_of_second_leaves_first(life: Life) -> None:
    """The second one has sent nothing and is in no grace: it ends, and undoes nothing."""
    life.make()
    first = life.ask("service.terminate")
    life.reach(first, "grace")
    second = life.ask("service.terminate")
    life.app.commands.cancel(second, "admin:anna")
    assert life.ended(first, second) == [(State.WAITING, ""), (CANCELLED, "cancelled")]
    assert life.end(first, 90_000).state is SUCCEEDED
    assert life.vms() == {}


def test_immediate_terminate_ends_first_grace(life: Life) -> None:
    life.make()
    first = life.ask("service.terminate")
    life.reach(first, "grace")
    second = life.ask("service.terminate", immediate=True)
    life.end(second, 60)
    assert life.ended(first, second) == [(SUCCEEDED, ""), (FAILED, "terminated")]
    assert life.vms() == {}


@pytest.mark.parametrize("step", ["begin", "watch", "grace"])
def test_immediate_ends_grace_of_running_one(life: Life, step: str) -> None:
    """A worker that has the first one must not write the old grace back."""
    life.make()
    first = life.ask("service.terminate")
    if step != "begin":
        life.reach(first, "watch")
        life.clock.now_ms += 1_000 if step == "watch" else 0
    if step == "grace":
        life.reach(first, "grace")
        life.clock.now_ms = life.operation(first).next_run_at
    claimed = life.app.advance.claim()
    assert claimed is not None
    assert claimed.operation.step == step
    life.ask("service.terminate", immediate=True)
    life.app.advance.advance(claimed)
    assert life.end(first, 60).state is SUCCEEDED
    assert life.vms() == {}


def test_second_terminate_restarts_no_grace(life: Life) -> None:
    life.make()
    first = life.ask("service.terminate")
    life.wait(80_000)
    second = life.ask("service.terminate")
    life.wait(6_300)
    assert (life.operation(first).step, len(life.vms())) == ("grace", 1)
    life.end(second, 200)
    assert life.ended(first, second) == [(SUCCEEDED, ""), (FAILED, "terminated")]


def test_undo_behind_suspend_brings_back_running(life: Life) -> None:
    """A suspension that waited behind the terminate finds the VM off: that is not how it was before."""
    life.make()
    terminate = life.ask("service.terminate")
    life.reach(terminate, "grace")
    life.ask("service.suspend")
    life.end(undo(life, "order.paid", terminate))
    assert (life.service().status, life.power()) == ("suspended", "stopped")
    life.do("service.unsuspend")
    is_back(life)


def test_terminate_before_the_undo_ran(life: Life) -> None:
    """Terminate, undo, terminate, undo, while nothing could be done: the VM runs as it did at first."""
    life.make()
    terminate = life.ask("service.terminate")
    life.reach(terminate, "grace")
    first = undo(life, "service.unsuspend", terminate)
    again = life.ask("service.terminate")
    assert life.ended(first) == [(CANCELLED, "superseded")]
    life.reach(again, "grace")
    life.end(undo(life, "service.unsuspend", again))
    is_back(life)


def test_terminate_after_held_one_keeps_memory(life: Life) -> None:
    """A held terminate has stopped the VM; the next one ends it, and its undo still starts the VM."""
    vmid = life.make()
    held = life.ask("service.terminate")
    life.reach(held, "grace")
    life.sandbox.change(vmid, mem=2048)
    assert life.end(held, 90_000).state is HELD
    second = life.ask("service.terminate")
    assert life.ended(held) == [(CANCELLED, "superseded")]
    life.end(second)
    life.app.commands.approve(second, "admin:anna")
    life.reach(second, "grace")
    life.end(undo(life, "service.unsuspend", second))
    is_back(life)


def test_undone_terminate_counts_no_longer(life: Life) -> None:
    """After an undo the service can be terminated again, with a grace of its own."""
    life.make()
    life.reach(terminate := life.ask("service.terminate"), "grace")
    life.end(undo(life, "service.unsuspend", terminate))
    begun = life.clock()
    assert life.end(life.ask("service.terminate"), 90_000).state is SUCCEEDED
    assert life.clock() - begun >= 86_400_000
    assert life.vms() == {}
