"""Promise 3: the order within a service, what holds it back, and what passes by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from provisioner.errors import WrongState
from provisioner.operation import DELIVERY_FAILED, Kind, State

if TYPE_CHECKING:
    from tests.integration.order.conftest import Life

SUCCEEDED, CANCELLED, FAILED, HELD = State.SUCCEEDED, State.CANCELLED, State.FAILED, State.HELD
QUEUED, WAITING, DELIVERING = State.QUEUED, State.WAITING, State.DELIVERING
DONE, SUPERSEDED = (SUCCEEDED, ""), (CANCELLED, "superseded")
FOLLOWERS: dict[str, dict[str, Any]] = {
    "service.suspend": {},
    "service.upgrade": {"plan": "vps-m"},
    "service.backup": {},
}


def test_each_waits_for_the_one_before(life: Life) -> None:
    """Not only in order, but one after the other: each finds what the one before has left."""
    life.order(hostname="web1.example.com")
    asked = [
        life.ask("service.upgrade", plan="vps-m"),
        life.ask("service.stop"),
        life.ask("service.backup"),
        life.ask("service.start"),
        life.ask("service.reset_password"),
        life.ask("service.reinstall"),
        life.ask("service.suspend"),
        life.ask("service.unsuspend"),
    ]
    life.end(asked[-1])
    life.idle()
    assert life.ended(*asked) == [DONE] * 8
    assert life.begun == [op.id for op in life.operations()]
    assert life.types() == [
        "service.provisioned",
        "service.action",
        "service.upgraded",
        "service.action",
        "service.backups",
        "service.action",
        "service.credentials",
        "service.credentials",
        "service.suspended",
        "service.unsuspended",
    ]


def test_services_run_side_by_side(life: Life) -> None:
    life.sandbox.settings(hang_jobs=True)
    stuck = life.order("1")
    life.idle()
    life.sandbox.settings(hang_jobs=False)
    life.sandbox.fault(method="GET", path="/job/1", kind="page", times=0)
    assert life.end(life.order("2")).state is SUCCEEDED
    assert life.operation(stuck).state is WAITING


# What holds back: what is there, whether the next one waits, and whether a terminate does.


def failed_create(life: Life) -> str:
    life.sandbox.settings(fail_next_job={"error": "0xb0: too much"})
    return life.end(life.order(hostname="web1.example.com")).id


def braked_create(life: Life) -> str:
    life.make("2")
    return life.end(life.order()).id


def lost_create(life: Life) -> str:
    life.sandbox.fault(method="POST", path="/datacenter/server", kind="drop_after")
    return life.end(life.order()).id


def running_create(life: Life) -> str:
    create = life.order()
    life.sandbox.settings(hang_jobs=True)
    life.idle()
    return create


def told_too_little(life: Life) -> str:
    life.make()
    vmid = life.service().vmid
    assert vmid is not None
    life.sandbox.change(vmid, mem=2048)
    return life.do("service.reinstall").id


def failed_change(life: Life) -> str:
    life.make()
    return life.do("service.upgrade", options={"disk": "5G"}).id


def failed_reinstall(life: Life) -> str:
    life.make()
    life.sandbox.settings(fail_next_job={"error": "0xa3: timeout"})
    return life.do("service.reinstall").id


def undelivered_create(life: Life) -> str:
    life.billing.go_down()
    create = life.order()
    life.end(create, 3_600)
    life.billing.come_up()
    return create


def untold_create(life: Life) -> str:
    life.billing.go_down()
    create = life.order()
    life.wait(60)
    return create


def cancelled_create(life: Life) -> str:
    create = life.order()
    life.app.commands.cancel(create, "admin:anna")
    return create


def create_behind_the_end(life: Life) -> str:
    """Ordered while the delete is looked after: too late for an undo, too early to be refused at once."""
    life.make()
    life.sandbox.fault(kind="drop_before", path="*/delete")
    life.ask("service.terminate", immediate=True)
    life.wait(5)
    create = life.order()
    life.wait(600)
    return create


@dataclass(frozen=True, slots=True)
class Row:
    """What is there, in which state and code, and which of those behind it are held back."""

    there: Callable[[Life], str]
    state: tuple[State, str]
    next_waits: bool
    terminate_waits: bool
    settings: dict[str, Any]


SHARED = {"upstream": {"exclusive": False}}
BRAKED = {"safety": {"max_creates_per_hour": 1}}
IMPATIENT = {"retry": {"deliveries_give_up_after": 600}}
HOLDING = {
    "a failed create": Row(failed_create, (FAILED, "0xb0"), True, False, {}),
    "a create under way": Row(running_create, (WAITING, ""), True, True, {}),
    "a held create that was not sent": Row(braked_create, (HELD, "brake"), True, False, BRAKED),
    "a held create that may have a VM": Row(lost_create, (HELD, "create_lost"), True, True, SHARED),
    "a held reinstall": Row(told_too_little, (HELD, "config_differs"), True, False, {}),
    "a failed change": Row(failed_change, (FAILED, "disk_smaller"), False, False, {}),
    "a failed reinstall": Row(failed_reinstall, (FAILED, "0xa3"), False, False, {}),
    "a cancelled create": Row(cancelled_create, (CANCELLED, "cancelled"), False, False, {}),
    "a create of what has ended": Row(create_behind_the_end, (FAILED, "terminated"), False, False, {}),
    "a create not yet told": Row(untold_create, (DELIVERING, ""), False, False, {}),
    "a create never told": Row(undelivered_create, (FAILED, DELIVERY_FAILED), False, False, IMPATIENT),
}


@pytest.mark.parametrize("kind", [*FOLLOWERS, "service.terminate"])
@pytest.mark.parametrize("case", HOLDING)
def test_what_holds_back_the_next(make_life: Callable[..., Life], case: str, kind: str) -> None:
    row = HOLDING[case]
    life = make_life(**row.settings)
    there = row.there(life)
    assert life.ended(there) == [row.state]
    following = life.ask(kind, **FOLLOWERS.get(kind, {}))
    life.wait(3)
    waits = row.terminate_waits if kind == "service.terminate" else row.next_waits
    assert (following not in life.begun) is waits
    assert (life.operation(following).state is QUEUED) is waits


def test_next_starts_while_delivering(life: Life) -> None:
    """Only deliveries wait for deliveries."""
    life.billing.go_down()
    create = life.order()
    life.wait(10)
    suspend = life.ask("service.suspend")
    life.wait(10)
    assert life.ended(create, suspend) == [(DELIVERING, ""), (DELIVERING, "")]
    assert (life.power(), life.told()) == ("stopped", [])
    life.billing.come_up()
    life.wait(600)
    assert life.ended(create, suspend) == [DONE, DONE]
    assert life.types() == ["service.provisioned", "service.suspended"]


def test_refused_delivery_holds_later_ones(life: Life) -> None:
    life.billing.answer_with(500, times=1)
    life.order()
    life.wait(3)
    life.ask("service.stop")
    life.end(life.ask("service.start"))
    life.wait(600)
    assert life.types() == ["service.provisioned", "service.action", "service.action"]
    assert [delivery.accepted for delivery in life.billing.deliveries] == [False, True, True, True]


def test_new_order_passes_failed_create(life: Life) -> None:
    """What waited behind the failed one waits behind the new one; the set_rdns went with the failed one."""
    failed = failed_create(life)
    waiting = [life.ask("service.upgrade", plan="vps-m"), life.ask("service.backup")]
    life.wait(60)
    assert life.ended(*waiting) == [(QUEUED, ""), (QUEUED, "")]
    order = life.order(hostname="web2.example.com")
    life.end(waiting[-1])
    old, new = [op for op in life.operations() if op.kind is Kind.SET_RDNS]
    assert life.ended(failed, old.id, order, new.id, *waiting) == [SUPERSEDED] * 2 + [DONE] * 4
    assert life.begun == [failed, order, new.id, *waiting]
    assert life.calls("POST", "/rdns") == 1


def test_new_order_fails_too(life: Life) -> None:
    """Then it holds back what waits, as the first one did, and can be replaced as well."""
    first = failed_create(life)
    waiting = life.ask("service.backup")
    second = failed_create(life)
    third = life.order()
    life.end(waiting)
    assert life.ended(first, second, third, waiting) == [SUPERSEDED, SUPERSEDED, DONE, DONE]


def test_new_order_looks_for_leftover(life: Life) -> None:
    """The failed create's job has made a VM after all, of the size that was asked for then."""
    life.sandbox.settings(fail_next_job={"error": "0xa3: timeout", "after_vm": True})
    life.end(life.order())
    (left,) = life.vms()
    order = life.order(plan="vps-m")
    held = life.end(order)
    assert (held.error_code, held.memo["set_aside"]) == ("leftover_vm", [left])
    life.app.commands.approve(order, "admin:anna", choice="adopt", vmid=left)
    assert life.end(order).state is SUCCEEDED
    assert (list(life.vms()), life.service().vmid) == ([left], left)
    life.idle()
    assert life.last().data["password"] == life.vms()[left]["password"]
    # It is the size it is: the next step that destroys knows it again, and the drift can be mended.
    assert life.do("service.upgrade", plan="vps-m").state is SUCCEEDED


@pytest.mark.parametrize("way", ["order", "retry", "terminate"])
def test_leftover_that_the_list_shows_late_is_waited_for(life: Life, way: str) -> None:
    """The job fails and its VM is listed some seconds later: until then nobody can say that there is none."""
    life.sandbox.settings(list_lag=3, fail_next_job={"error": "0xa3: timeout", "after_vm": True})
    failed = life.order()
    assert life.end(failed).error_code == "0xa3"
    match way:
        case "order":
            asked = life.order()
        case "retry":
            life.app.commands.retry(failed, "admin:anna")
            asked = failed
        case _:
            asked = life.ask("service.terminate")
    held = life.end(asked)
    (left,) = life.vms()
    assert (held.error_code, held.memo["set_aside"]) == ("leftover_vm", [left])


def test_create_that_failed_long_ago_is_waited_for_no_more(life: Life) -> None:
    failed_create(life)
    life.wait(3600)
    began_ms = life.clock.now_ms
    assert life.end(life.order()).state is SUCCEEDED
    assert life.clock.now_ms - began_ms < 10_000


@pytest.mark.parametrize("choice", ["not_mine", "send_again"])
def test_decided_leftover_holds_nobody_again(life: Life, choice: str) -> None:
    """A person has said that it is foreign: neither the next order nor a terminate asks again."""
    life.sandbox.settings(fail_next_job={"error": "0xa3: timeout", "after_vm": True})
    life.end(life.order())
    (left,) = life.vms()
    order = life.order()
    assert life.end(order).error_code == "leftover_vm"
    life.sandbox.settings(fail_next_job={"error": "0xb0: too much"} if choice == "send_again" else None)
    life.app.commands.approve(order, "admin:anna", choice=choice)
    assert life.end(order).error_code == ("lost" if choice == "not_mine" else "0xb0")
    life.sandbox.settings(fail_next_job=None)
    vmid = life.make()
    assert life.do("service.terminate", immediate=True).state is SUCCEEDED
    assert vmid != left
    assert list(life.vms()) == [left]


def test_leftover_waits_for_other_orders(life: Life) -> None:
    """A VM that another order's job has made is nobody's until that job tells it."""
    failed_create(life)
    other = life.order("2")
    life.wait(1)
    assert len(life.vms()) == 1
    order = life.order()
    life.end(order)
    assert life.ended(other, order) == [DONE, DONE]
    assert len(life.vms()) == 2


def test_retried_create_keeps_its_place(life: Life) -> None:
    failed = failed_create(life)
    waiting = life.ask("service.backup")
    life.app.commands.retry(failed, "admin:anna")
    life.end(waiting)
    assert life.ended(failed, waiting) == [DONE, DONE]
    assert life.types()[0] == "operation.failed"
    assert life.types()[-3:] == ["service.provisioned", "service.action", "service.backups"]


def test_retried_create_looks_for_leftover(life: Life) -> None:
    life.sandbox.settings(fail_next_job={"error": "0xa3: timeout", "after_vm": True})
    create = life.order()
    life.end(create)
    life.app.commands.retry(create, "admin:anna")
    assert life.end(create).error_code == "leftover_vm"
    assert len(life.vms()) == 1


def test_other_retry_goes_behind(life: Life) -> None:
    """It holds nothing back, so others went on; now it is behind those that wait."""
    life.make()
    life.sandbox.settings(fail_next_job={"error": "0xa3: timeout"})
    failed = life.do("service.reinstall").id
    running = life.ask("service.suspend")
    life.idle()
    waiting = life.ask("service.unsuspend")
    life.app.commands.retry(failed, "admin:anna")
    life.end(failed)
    assert life.ended(running, waiting, failed) == [DONE, DONE, DONE]
    assert life.types()[-3:] == ["service.suspended", "service.unsuspended", "service.credentials"]


def test_retry_of_delivery_sends_nothing(make_life: Callable[..., Life]) -> None:
    life = make_life(**IMPATIENT)
    create = undelivered_create(life)
    calls = len(life.sandbox.calls())
    life.app.commands.retry(create, "admin:anna")
    assert life.operation(create).state is DELIVERING
    assert life.end(create).state is SUCCEEDED
    assert len(life.sandbox.calls()) == calls
    assert life.last().data["password"] == life.vms()[4001]["password"]


def test_order_after_undelivered_create_is_told(make_life: Callable[..., Life]) -> None:
    """Its work counts as done: it is no failed create, and nothing is made in its place."""
    life = make_life(**IMPATIENT)
    create = undelivered_create(life)
    again = life.do("order.paid", plan="vps-s")
    assert life.ended(create, again.id) == [(FAILED, DELIVERY_FAILED), DONE]
    assert len(life.vms()) == 1


def test_held_one_goes_on_when_approved(life: Life) -> None:
    held = told_too_little(life)
    waiting = life.ask("service.backup")
    life.wait(60)
    assert life.ended(held, waiting) == [(HELD, "config_differs"), (QUEUED, "")]
    life.app.commands.approve(held, "admin:anna")
    life.end(waiting)
    assert life.ended(held, waiting) == [DONE, DONE]
    assert life.begun[-2:] == [held, waiting]


def test_cancelled_hold_lets_next_go(life: Life) -> None:
    held = told_too_little(life)
    waiting = life.ask("service.backup")
    life.app.commands.cancel(held, "admin:anna")
    life.end(waiting)
    assert life.ended(held, waiting) == [(CANCELLED, "cancelled"), DONE]


def test_cancelled_order_takes_rdns_along(life: Life) -> None:
    life.app.commands.pause("admin:anna", "")
    order = life.order(hostname="web1.example.com")
    life.app.commands.cancel(order, "admin:anna")
    assert [op.state for op in life.operations()] == [CANCELLED, CANCELLED]


@pytest.mark.parametrize("state", ["running", "held"])
def test_sent_create_cannot_be_cancelled(make_life: Callable[..., Life], state: str) -> None:
    life = make_life(**SHARED)
    create = running_create(life) if state == "running" else lost_create(life)
    with pytest.raises(WrongState) as refusal:
        life.app.commands.cancel(create, "admin:anna")
    assert refusal.value.code == "create_sent"


def test_sent_work_cannot_be_cancelled(life: Life) -> None:
    life.make()
    suspend = life.ask("service.suspend")
    life.idle()
    with pytest.raises(WrongState):
        life.app.commands.cancel(suspend, "admin:anna")
    assert life.end(suspend).state is SUCCEEDED


def test_link_behind_an_order_is_judged_then(life: Life) -> None:
    vmid = life.sandbox.add_vm()["vmid"]
    life.order()
    link = life.do("service.link", vmid=vmid, plan="vps-s")
    assert link.error_code == "has_another_vm"
    assert vmid in life.vms()
