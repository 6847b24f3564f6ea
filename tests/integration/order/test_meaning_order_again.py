"""Contract, section 3, "What an event means": order.paid again. One test for each of its sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from provisioner.operation import Kind, State

if TYPE_CHECKING:
    from tests.integration.order.conftest import Life

SUCCEEDED, CANCELLED, FAILED = State.SUCCEEDED, State.CANCELLED, State.FAILED


@pytest.mark.parametrize("step", ["begin", "follow"])
def test_order_under_way_is_answered(life: Life, step: str) -> None:
    first = life.order(hostname="web1.example.com")
    life.reach(first, step)
    answer = life.send("order.paid", plan="vps-m")
    assert (answer.status, answer.operation) == (202, first)
    assert life.end(first).state is SUCCEEDED
    assert [op.kind for op in life.operations()] == [Kind.CREATE, Kind.SET_RDNS]
    assert len(life.vms()) == 1


@pytest.mark.parametrize("held", [False, True])
def test_order_undoes_waiting_terminate(make_life: Callable[..., Life], held: bool) -> None:
    """The create goes on, and its delivery is the order's: there is one VM, and it stays."""
    life = make_life(upstream={"job_timeout": 60})
    first = life.order()
    life.reach(first, "follow")
    if held:
        life.sandbox.settings(hang_jobs=True)
        life.wait(70)
        assert life.operation(first).state is State.HELD
    terminate = life.ask("service.terminate")
    life.idle()
    answer = life.send("order.paid", plan="vps-s")
    assert (answer.status, answer.operation) == (202, first)
    assert life.ended(terminate) == [(CANCELLED, "cancelled")]
    life.sandbox.settings(hang_jobs=False)
    if held:
        life.app.commands.approve(first, "admin:anna")
    assert life.end(first).state is SUCCEEDED
    life.idle()
    assert life.types()[-2:] == ["operation.failed", "service.provisioned"]
    assert life.last().data["status"] == "active"
    assert list(life.vms()) == [life.service().vmid]


def test_undone_order_can_be_replaced(life: Life) -> None:
    """The create that was under way fails after all: the next order makes it anew."""
    life.sandbox.settings(fail_next_job={"error": "0xb0: too much"})
    first = life.order()
    life.reach(first, "follow")
    life.ask("service.terminate")
    life.order()
    assert life.end(first).error_code == "0xb0"
    life.make()
    assert life.ended(first) == [(CANCELLED, "superseded")]


def test_new_order_replaces_failed_one(life: Life) -> None:
    life.sandbox.settings(fail_next_job={"error": "0xb0: too much"})
    first = life.order(hostname="old.example.com")
    assert life.end(first).state is FAILED
    second = life.order(plan="vps-m", hostname="new.example.com")
    assert life.ended(first) == [(CANCELLED, "superseded")]
    (old, new) = [op for op in life.operations() if op.kind is Kind.SET_RDNS]
    assert life.ended(old.id) == [(CANCELLED, "superseded")]
    assert life.end(new.id).state is SUCCEEDED
    assert life.ended(second) == [(SUCCEEDED, "")]
    ((vmid, vm),) = life.vms().items()
    assert life.service().vmid == vmid
    assert (vm["config"]["mem"], vm["rdns"]) == (4096, {vm["ips"][0]: "new.example.com"})


@pytest.mark.parametrize("suspended", [False, True])
def test_order_of_living_service_makes_nothing(life: Life, suspended: bool) -> None:
    vmid = life.make(hostname="web1.example.com")
    if suspended:
        life.do("service.suspend")
    before = life.service()
    again = life.do("order.paid", plan="vps-m", hostname="other.example.com")
    life.idle()
    assert life.ended(again.id) == [(SUCCEEDED, "")]
    assert (list(life.vms()), life.calls("POST", "/datacenter/server")) == ([vmid], 1)
    assert life.last().type == "service.provisioned"
    assert life.last().data == {
        "service_id": "1001",
        "operation": again.id,
        "status": "suspended" if suspended else "active",
        "vmid": vmid,
        "ips": list(before.ips),
        "username": "root",
        "hostname": "web1.example.com",
        "warnings": [],
    }
    assert life.service() == before
    assert life.power() == ("stopped" if suspended else "running")


def test_order_in_grace_is_undo(life: Life) -> None:
    vmid = life.make()
    terminate = life.ask("service.terminate")
    life.reach(terminate, "grace")
    again = life.do("order.paid", plan="vps-m", recreate=True)
    life.idle()
    assert life.ended(terminate, again.id) == [(CANCELLED, "cancelled"), (SUCCEEDED, "")]
    assert life.types()[-2:] == ["operation.failed", "service.provisioned"]
    assert (life.last().data["status"], "password" in life.last().data) == ("active", False)
    assert (list(life.vms()), life.power()) == ([vmid], "running")


@pytest.fixture
def terminated(life: Life) -> Life:
    life.make()
    assert life.do("service.terminate", immediate=True).state is SUCCEEDED
    assert life.vms() == {}
    return life


def test_order_of_terminated_is_refused(terminated: Life) -> None:
    assert terminated.is_refused("order.paid", plan="vps-s") == "terminated"


@pytest.mark.parametrize("kind", ["service.start", "service.terminate"])
def test_waiting_events_change_no_refusal(terminated: Life, kind: str) -> None:
    """What waits to fail on a terminated service must not let an order through."""
    terminated.ask(kind)
    assert terminated.is_refused("order.paid", plan="vps-s") == "terminated"
    terminated.wait(600)
    assert terminated.vms() == {}


def test_recreate_makes_it_anew(terminated: Life) -> None:
    vmid = terminated.make(plan="vps-m", recreate=True)
    assert list(terminated.vms()) == [vmid]
    assert terminated.last().data["password"] == terminated.vms()[vmid]["password"]


def test_order_during_delete_comes_too_late(life: Life) -> None:
    """Neither the grace nor terminated yet: it is judged when its turn comes."""
    life.make()
    life.sandbox.fault(method="POST", path="*/delete", kind="drop_before", times=1)
    terminate = life.ask("service.terminate", immediate=True)
    life.idle()
    assert life.operation(terminate).memo["delete_sent"] is True
    late, anew = life.order(), life.order(recreate=True)
    assert late == anew
    assert life.end(late).error_code == "terminated"
    assert life.ended(terminate) == [(SUCCEEDED, "")]
    assert life.vms() == {}
    life.make(recreate=True)


def test_cancelled_order_can_be_ordered(life: Life) -> None:
    first = life.order()
    life.app.commands.cancel(first, "admin:anna")
    life.make()
    assert life.ended(first) == [(CANCELLED, "cancelled")]


def test_order_waits_for_link_before(life: Life) -> None:
    """The link has the service's VM: none is made beside it."""
    vmid = life.sandbox.add_vm()["vmid"]
    link = life.ask("service.link", vmid=vmid, plan="vps-s")
    order = life.order()
    life.end(order)
    assert life.ended(link, order) == [(SUCCEEDED, "")] * 2
    assert (list(life.vms()), life.service().vmid) == ([vmid], vmid)
