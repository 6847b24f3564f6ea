"""Promise 3: what a terminate does to what was accepted before it, and a create above all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from provisioner.errors import WrongState
from provisioner.operation import Kind, Operation, State

if TYPE_CHECKING:
    from tests.integration.order.conftest import Life

SUCCEEDED, CANCELLED, FAILED, HELD = State.SUCCEEDED, State.CANCELLED, State.FAILED, State.HELD
QUEUED, WAITING = State.QUEUED, State.WAITING
SUPERSEDED = (CANCELLED, "superseded")
DONE = (SUCCEEDED, "")
ORDER = "/datacenter/server"


# What is there when the terminate arrives: how the create came to stand so.


def queued(life: Life) -> str:
    life.app.commands.pause("admin:anna", "")
    create = life.order(hostname="web1.example.com")
    life.idle()
    life.app.commands.resume()
    return create


def in_a_workers_hands(life: Life) -> str:
    create = life.order(hostname="web1.example.com")
    life.worker = life.app.advance.claim()  # type: ignore[attr-defined]
    return create


def held_by_the_brake(life: Life) -> str:
    life.make("2")
    create = life.order(hostname="web1.example.com")
    assert life.end(create).error_code == "brake"
    return create


def under_way(life: Life) -> str:
    create = life.order(hostname="web1.example.com")
    life.idle()
    assert life.operation(create).step == "follow"
    return create


def unknown_and_made(life: Life) -> str:
    return _unknown(life, "drop_after")


def unknown_and_never_made(life: Life) -> str:
    return _unknown(life, "drop_before")


def _unknown(life: Life, fault: str) -> str:
    life.make("2")  # so that a job's id is known
    life.sandbox.fault(method="POST", path=ORDER, kind=fault)
    create = life.order(hostname="web1.example.com")
    life.idle()
    assert life.operation(create).step == "lost"
    return create


def held_and_made(life: Life) -> str:
    life.sandbox.settings(listed="executing", job_queued=0.0)
    return held_and_unseen(life)


def held_and_unseen(life: Life) -> str:
    """Its VM shows after it was held."""
    life.sandbox.fault(method="POST", path=ORDER, kind="drop_after")
    create = life.order(hostname="web1.example.com")
    held = life.end(create)
    assert held.error_code == "create_lost"
    life.wait(10)
    return create


def failed(life: Life) -> str:
    life.sandbox.settings(fail_next_job={"error": "0xb0: too much"})
    create = life.order(hostname="web1.example.com")
    assert life.end(create).error_code == "0xb0"
    return create


def failed_with_a_vm(life: Life) -> str:
    life.sandbox.settings(fail_next_job={"error": "0xa3: timeout", "after_vm": True})
    create = life.order(hostname="web1.example.com")
    assert life.end(create).error_code == "0xa3"
    assert len(life.vms()) == 1
    return create


# What a person, or time, decides once it has arrived.


def nothing(_: Life, __: str, ___: str) -> None:
    pass


def adopt(life: Life, create: str, _: str) -> None:
    (vmid,) = life.vms()
    life.app.commands.approve(create, "admin:anna", choice="adopt", vmid=vmid)


def not_mine(life: Life, create: str, _: str) -> None:
    life.app.commands.approve(create, "admin:anna", choice="not_mine")


def not_mine_nor_what_showed(life: Life, create: str, terminate: str) -> None:
    not_mine(life, create, terminate)
    held = life.end(terminate)
    assert (held.error_code, held.memo["set_aside"]) == ("leftover_vm", list(life.vms()))
    approve_as_foreign(life, create, terminate)


def send_again(life: Life, create: str, _: str) -> None:
    life.app.commands.approve(create, "admin:anna", choice="send_again")


def delete_and_approve(life: Life, _: str, terminate: str) -> None:
    for vmid in life.vms():
        life.sandbox.remove_vm(vmid)
    life.app.commands.approve(terminate, "admin:anna")


def approve_as_foreign(life: Life, _: str, terminate: str) -> None:
    life.app.commands.approve(terminate, "admin:anna")


def advance_by_worker(life: Life, _: str, __: str) -> None:
    life.app.advance.advance(life.worker)  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Row:
    """What is there, what becomes of it at once, and how all of it ends.

    :param at_once: the state and code of the create, and of the terminate, once all that is due was done.
    :param orders: how often the upstream was asked for this service's VM.
    :param left: how many of its VMs are on the account at the end.
    """

    there: Callable[[Life], str]
    at_once: tuple[tuple[State, str], tuple[State, str]]
    create: tuple[State, str]
    terminate: tuple[State, str] = DONE
    orders: int = 0
    left: int = 0
    then: Callable[[Life, str, str], None] = nothing
    settings: dict[str, Any] = field(default_factory=dict)


EXCLUSIVE = {"upstream": {"exclusive": True}}
SHARED = {"upstream": {"exclusive": False}}
ROWS = {
    "before it was sent": Row(queued, (SUPERSEDED, DONE), SUPERSEDED),
    "in a worker's hands": Row(in_a_workers_hands, (SUPERSEDED, DONE), SUPERSEDED, then=advance_by_worker),
    "held before it was sent": Row(
        held_by_the_brake, (SUPERSEDED, DONE), SUPERSEDED, settings={"safety": {"max_creates_per_hour": 1}}
    ),
    "during its job": Row(under_way, ((WAITING, ""), (QUEUED, "")), DONE, orders=1),
    "unknown, and made": Row(unknown_and_made, ((WAITING, ""), (QUEUED, "")), DONE, orders=1),
    "unknown, and never made": Row(
        unknown_and_never_made, ((WAITING, ""), (QUEUED, "")), SUPERSEDED, orders=1
    ),
    "held, then adopted": Row(
        held_and_made, ((HELD, "create_lost"), (QUEUED, "")), DONE, orders=1, then=adopt, settings=SHARED
    ),
    "held, then not mine": Row(
        held_and_made,
        ((HELD, "create_lost"), (QUEUED, "")),
        SUPERSEDED,
        orders=1,
        left=1,
        then=not_mine,
        settings=SHARED,
    ),
    "held, then to be sent again": Row(
        held_and_made,
        ((HELD, "create_lost"), (QUEUED, "")),
        SUPERSEDED,
        orders=1,
        left=1,
        then=send_again,
        settings=SHARED,
    ),
    "held, then not mine, and its VM showed": Row(
        held_and_unseen,
        ((HELD, "create_lost"), (QUEUED, "")),
        SUPERSEDED,
        orders=1,
        left=1,
        then=not_mine_nor_what_showed,
        settings=SHARED,
    ),
    # It waits until no VM of that create can show late.
    "failed": Row(failed, ((FAILED, "0xb0"), (WAITING, "")), SUPERSEDED, orders=1),
    "failed, and it left a VM": Row(
        failed_with_a_vm,
        ((FAILED, "0xa3"), (HELD, "leftover_vm")),
        SUPERSEDED,
        orders=1,
        then=delete_and_approve,
    ),
    "failed, and the VM is not its": Row(
        failed_with_a_vm,
        ((FAILED, "0xa3"), (HELD, "leftover_vm")),
        SUPERSEDED,
        orders=1,
        left=1,
        then=approve_as_foreign,
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_terminate_after_create(make_life: Callable[..., Life], case: str) -> None:
    row = ROWS[case]
    life = make_life(**row.settings)
    create = row.there(life)
    others, orders = len(life.vms()), life.calls("POST", ORDER)
    mine = 1 if life.operation(create).sent else 0
    terminate = life.ask("service.terminate", immediate=True)
    life.idle()
    assert tuple(life.ended(create, terminate)) == row.at_once
    assert rdns_of(life, create).state is CANCELLED
    row.then(life, create, terminate)
    life.end(terminate, 3_600)
    life.wait(3_600)
    assert life.ended(create, terminate) == [row.create, row.terminate]
    assert life.calls("POST", ORDER) - orders + mine == row.orders
    assert len([vm for vm in life.vms().values() if vm["vmid"] not in owned(life)]) == row.left, others
    assert life.service().status == "terminated"
    assert rdns_of(life, create).error_code == "superseded"


def rdns_of(life: Life, create: str) -> Operation:
    (found,) = [op for op in life.operations() if op.args.get("create") == create]
    return found


def owned(life: Life) -> set[int | None]:
    services = life.app.store.read(lambda verbs: verbs.services_with_vm())
    return {service.vmid for service in services}


def test_terminate_waits_for_credentials_told(life: Life) -> None:
    """The VM that the create made is told before it is said to be gone."""
    create = under_way(life)
    life.end(life.ask("service.terminate", immediate=True))
    life.idle()
    assert life.types() == ["operation.failed", "service.provisioned", "service.terminated"]
    assert life.told()[1].data["operation"] == create


@pytest.mark.parametrize("kind", ["service.reboot", "service.suspend", "service.upgrade", "service.backup"])
def test_terminate_ends_what_waits(life: Life, kind: str) -> None:
    life.make()
    running = life.ask("service.reinstall")
    life.idle()
    waiting = life.ask(kind, **({"plan": "vps-m"} if kind == "service.upgrade" else {}))
    terminate = life.ask("service.terminate", immediate=True)
    assert life.ended(waiting) == [SUPERSEDED]
    life.end(terminate)
    assert life.ended(running, waiting, terminate) == [DONE, SUPERSEDED, DONE]
    assert waiting not in life.begun


@pytest.mark.parametrize("kind", ["service.suspend", "service.upgrade"])
def test_terminate_fences_what_reads_only(life: Life, kind: str) -> None:
    """A worker has it, but nothing was sent yet: nothing will be."""
    life.make()
    there = life.ask(kind, **({"plan": "vps-m"} if kind == "service.upgrade" else {}))
    claimed = life.app.advance.claim()
    assert claimed is not None
    terminate = life.ask("service.terminate", immediate=True)
    life.app.advance.advance(claimed)
    assert life.ended(there) == [SUPERSEDED]
    assert life.calls("PUT", "/shutdown") + life.calls("PUT", "/change") == 0
    life.end(terminate)
    assert life.begun[-1] == terminate


def test_terminate_lets_sent_work_end(life: Life) -> None:
    life.make()
    suspend = life.ask("service.suspend")
    life.idle()
    assert life.operation(suspend).step == "watch"
    terminate = life.ask("service.terminate", immediate=True)
    life.end(terminate)
    life.idle()
    assert life.ended(suspend, terminate) == [DONE, DONE]
    assert life.types()[-2:] == ["service.suspended", "service.terminated"]


def test_terminate_ends_what_is_held(life: Life) -> None:
    """Sent or not: a person need not decide any more."""
    vmid = life.make()
    life.sandbox.change(vmid, mem=2048)
    held = life.do("service.reinstall")
    assert held.error_code == "config_differs"
    behind = life.ask("service.backup")
    terminate = life.ask("service.terminate", immediate=True)
    assert life.ended(held.id, behind) == [SUPERSEDED, SUPERSEDED]
    assert life.end(terminate).error_code == "config_differs"


def test_terminate_ends_sent_work_that_is_held(make_life: Callable[..., Life]) -> None:
    life = make_life(upstream={"job_timeout": 60})
    life.make()
    life.sandbox.settings(hang_jobs=True)
    held = life.do("service.reinstall")
    assert (held.error_code, held.sent) == ("job_timeout", True)
    terminate = life.ask("service.terminate")
    assert life.ended(held.id) == [SUPERSEDED]
    life.sandbox.settings(hang_jobs=False)
    assert life.end(terminate, 90_000).state is SUCCEEDED


def test_terminate_takes_place_of_held_one(make_life: Callable[..., Life]) -> None:
    life = make_life(safety={"max_terminations_per_hour": 1})
    life.make("2")
    life.do("service.terminate", "2", immediate=True)
    life.make()
    first = life.do("service.terminate", immediate=True)
    assert first.error_code == "brake"
    second = life.do("service.terminate", immediate=True)
    assert (second.error_code, life.ended(first.id)) == ("brake", [SUPERSEDED])
    life.app.commands.approve(second.id, "admin:anna")
    assert life.end(second.id).state is SUCCEEDED
    assert list(life.vms()) == []


def test_retried_create_must_not_meet_terminate(make_life: Callable[..., Life]) -> None:
    """A terminate passes a failed create, so a retry of that one would run beside it."""
    life = make_life()
    create = failed_with_a_vm(life)
    terminate = life.do("service.terminate", immediate=True)
    assert terminate.error_code == "leftover_vm"
    with pytest.raises(WrongState):
        life.app.commands.retry(create, "admin:anna")
    delete_and_approve(life, create, terminate.id)
    life.end(terminate.id)
    with pytest.raises(WrongState):
        life.app.commands.retry(create, "admin:anna")


def test_undone_terminate_lets_create_be_retried(life: Life) -> None:
    create = failed_with_a_vm(life)
    terminate = life.do("service.terminate")
    life.app.commands.cancel(terminate.id, "admin:anna")
    (vmid,) = life.vms()
    life.sandbox.remove_vm(vmid)
    life.app.commands.retry(create, "admin:anna")
    assert life.end(create).state is SUCCEEDED
    assert len(life.vms()) == 1


def test_events_after_terminate_wait_and_fail(life: Life) -> None:
    life.make()
    terminate = life.ask("service.terminate")
    life.reach(terminate, "grace")
    after = [life.ask("service.upgrade", plan="vps-m"), life.ask("service.backup")]
    life.wait(80_000)
    assert life.ended(*after) == [(QUEUED, ""), (QUEUED, "")]
    life.wait(10_000)
    assert life.ended(terminate, *after) == [DONE, (FAILED, "terminated"), (FAILED, "terminated")]


def test_adopted_vm_is_what_the_terminate_deletes(make_life: Callable[..., Life]) -> None:
    """Beside it stands a foreign one of the same size, which is never touched."""
    life = make_life(**SHARED)
    foreign = life.sandbox.add_vm()["vmid"]
    create = held_and_made(life)
    (made,) = set(life.vms()) - {foreign}
    terminate = life.ask("service.terminate", immediate=True)
    life.app.commands.approve(create, "admin:anna", choice="adopt", vmid=made)
    assert life.end(terminate).state is SUCCEEDED
    assert list(life.vms()) == [foreign]
    assert life.operation(create).kind is Kind.CREATE
