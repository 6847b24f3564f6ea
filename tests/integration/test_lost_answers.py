"""The answer to a call that must not be sent twice was lost: looked for, never repeated blindly.

Promise 2, and the design's "The create whose answer was lost".
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from provisioner.errors import JobNotFound, RequestInvalid
from provisioner.operation import State
from provisioner.operations import lost_jobs
from provisioner.operations.there_before import before
from provisioner.sandbox import jobs
from provisioner.sandbox.wire import Exchange
from provisioner.upstream import Job
from provisioner.upstream.client import UpstreamClient
from tests.conftest import World
from tests.integration.line_clock import on_a_clock

SETTLE_S = 30
POST = "POST /datacenter/server"
CREATE = {"method": "POST", "path": "/datacenter/server"}
DONE_UNHEARD: list[dict[str, Any]] = [
    {"kind": "drop_after"},
    {"kind": "truncate"},
    {"kind": "garbage"},
    {"kind": "page_after", "status": 502},
    {"kind": "page_after", "status": 404},
    {"kind": "error_after", "error": "0xa3: timeout"},
    {"kind": "error_after", "error": "0xa1: failed", "status": 400},
    {"kind": "error_after", "error": "", "status": 500},
    {"kind": "redirect", "status": 307},
]
NOT_DONE: list[dict[str, Any]] = [
    {"kind": "drop_before"},
    {"kind": "page", "status": 502},
    {"kind": "page", "status": 418},
    {"kind": "error", "error": "0xa3: timeout"},
    {"kind": "error", "error": "0xa1: failed"},
    {"kind": "redirect", "status": 302},
]


def name(fault: dict[str, Any]) -> str:
    return " ".join(str(value) for value in fault.values())


def lose(world: World, kind: str = "drop_after", **more: Any) -> None:
    world.sandbox.fault(kind=kind, **{**CREATE, **more})


def knows_jobs(world: World) -> World:
    """One order is done, so the greatest job id is known."""
    assert world.done(world.order("first")).state is State.SUCCEEDED
    return world


def owns_what_was_told(world: World, service_id: str = "1001") -> bool:
    """Whether the last credentials told are those of the service's VM."""
    told = [one.data for one in world.told(service_id) if "password" in one.data][-1]
    vm = next(vm for vm in world.sandbox.state()["vms"] if vm["vmid"] == world.service(service_id).vmid)
    return (told["vmid"], told["ips"], told["password"]) == (vm["vmid"], vm["ips"], vm["password"])


def there_before(world: World, order: str) -> frozenset[int] | None:
    """The VMs that it has noted as there before it was sent."""
    return world.app.store.read(lambda verbs: before(verbs, world.operation(order)))


def decisions(world: World, operation: str) -> list[str]:
    entries = world.app.store.read(lambda verbs: verbs.timeline(operation))
    found = [entry.detail["decision"] for entry in entries if entry.what == "lost_create"]
    return [one for place, one in enumerate(found) if place == 0 or one != found[place - 1]]


# The order was carried out, or it was not


@pytest.mark.parametrize("fault", [one for one in DONE_UNHEARD if one["kind"] != "redirect"], ids=name)
def test_unheard_order_is_found_and_taken(world: World, fault: dict[str, Any]) -> None:
    knows_jobs(world)
    lose(world, **fault)
    order = world.order()
    ended = world.done(order, SETTLE_S)
    assert (ended.state, ended.job_id) == (State.SUCCEEDED, "2")
    assert world.calls(POST) == 2
    assert len(world.vmids()) == 2
    assert decisions(world, order)[-1] == "take"
    assert owns_what_was_told(world)
    assert [one.type for one in world.told()] == ["service.provisioned"]


@pytest.mark.parametrize("fault", NOT_DONE, ids=name)
def test_order_never_made_is_sent_again(world: World, fault: dict[str, Any]) -> None:
    knows_jobs(world)
    lose(world, **fault)
    order = world.order()
    world.run(SETTLE_S - 1)
    assert (world.operation(order).state, world.calls(POST)) == (State.WAITING, 2)
    assert world.done(order).state is State.SUCCEEDED
    assert world.calls(POST) == 3
    assert len(world.vmids()) == 2
    assert decisions(world, order) == ["wait", "send_again"]
    assert owns_what_was_told(world)


def test_order_not_sent_is_no_lost_one(world: World) -> None:
    """429 and a refusal say that nothing happened: it is simply sent later."""
    lose(world, "rate_limit")
    order = world.order()
    assert world.done(order, 10).state is State.SUCCEEDED
    assert decisions(world, order) == []


def test_answer_after_the_timeout_is_a_lost_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    knows_jobs(world)
    on_a_clock(monkeypatch).answer_s = 4.7  # of 5
    lose(world, "slow", seconds=30.0)
    ended = world.done(world.order())
    assert (ended.state, ended.job_id) == (State.SUCCEEDED, "2")
    assert len(world.vmids()) == 2


def test_order_lost_again_and_again_ends_well(world: World) -> None:
    knows_jobs(world)
    for kind in ("drop_before", "drop_before", "drop_after"):
        lose(world, kind)
    assert world.done(world.order()).state is State.SUCCEEDED
    assert (world.calls(POST), len(world.vmids())) == (4, 2)


GIVE_UP_S = 3 * SETTLE_S


def test_order_that_is_never_made_is_given_up(worlds: Callable[..., World]) -> None:
    """The upstream answers nothing that says yes or no, for as long as `give_up_after`."""
    world = knows_jobs(worlds(retry={"give_up_after": GIVE_UP_S}))
    lose(world, "page", status=503, times=1000)
    ended = world.done(world.order(), GIVE_UP_S + 2 * SETTLE_S)
    assert (ended.state, ended.error_code) == (State.FAILED, "outcome_unknown")
    assert GIVE_UP_S <= (ended.updated_at - ended.created_at) / 1000 <= GIVE_UP_S + SETTLE_S + 5
    assert "given up: no clear answer for" in ended.error_detail
    world.run(10 * GIVE_UP_S, until=lambda: len(world.told()) == 1)
    assert [one.type for one in world.told()] == ["operation.failed"]
    world.sandbox.clear_faults()
    world.app.commands.retry(ended.id, "anna")
    assert world.done(ended.id).state is State.SUCCEEDED
    assert len(world.vmids()) == 2


def test_looks_for_a_lost_order_become_rarer_and_miss_no_end(worlds: Callable[..., World]) -> None:
    world = knows_jobs(worlds(upstream={"settle": 120}))
    lose(world, "drop_before")
    order = world.order()
    world.run(119)
    looks = [line for line in world.timeline(order) if line.startswith("lost_create")]
    assert 10 <= len(looks) <= 20
    assert world.calls(POST) == 2
    world.run(3)
    assert world.calls(POST) == 3


def test_order_lost_each_time_is_sent_less_and_less_often(world: World) -> None:
    """A day of it must neither fill the store nor order every two minutes."""
    knows_jobs(world)
    lose(world, "page", status=503, times=1000)
    world.order()
    world.run(20 * SETTLE_S)
    assert 8 <= world.calls(POST) - 1 <= 10


def test_orders_that_wait_for_one_another_are_given_up(worlds: Callable[..., World]) -> None:
    """To wait until another is looked for, or may be sent, is no progress either."""
    world = knows_jobs(worlds(retry={"give_up_after": GIVE_UP_S}))
    lose(world, "page", status=503, times=1000)
    orders = [world.order(str(number)) for number in range(3)]
    world.run(GIVE_UP_S + 4 * SETTLE_S)
    assert {world.operation(order).error_code for order in orders} == {"outcome_unknown"}


def test_order_that_is_lost_each_time_holds_up_no_other(worlds: Callable[..., World]) -> None:
    """Those that waited go first: what is wrong may be wrong with this one alone."""
    world = knows_jobs(worlds(retry={"give_up_after": GIVE_UP_S}))
    lose(world, "page", status=503)
    first = world.order("1")
    world.idle()
    others = [world.order("2"), world.order("3")]
    world.run(SETTLE_S + 5, until=lambda: bool(world.operation(first).job_id))
    assert [world.operation(order).job_id for order in (*others, first)] == ["2", "3", "4"]


def test_retry_of_what_was_given_up_looks_first(worlds: Callable[..., World]) -> None:
    """The call was carried out after all, when nobody looked any more."""
    world = knows_jobs(worlds(retry={"give_up_after": GIVE_UP_S}))
    lose(world, "page", status=503, times=1000)
    order = world.order()
    assert world.done(order, GIVE_UP_S + 2 * SETTLE_S).error_code == "outcome_unknown"
    world.sandbox.clear_faults()
    world.app.upstream.create(spec_of_plan(world))
    world.clock.advance(60)
    posts = world.calls(POST)
    world.app.commands.retry(order, "anna")
    kept = world.done(order)
    assert (kept.state, kept.error_code, world.calls(POST)) == (State.HELD, "leftover_vm", posts)


def test_pause_does_not_bring_giving_up_nearer(worlds: Callable[..., World]) -> None:
    world = knows_jobs(worlds(retry={"give_up_after": GIVE_UP_S}))
    lose(world, "page", status=503, times=2)
    order = world.order()
    world.run(5)
    world.app.commands.pause("anna", "")
    world.clock.advance(2 * GIVE_UP_S)
    world.app.commands.resume()
    assert world.done(order, GIVE_UP_S).state is State.SUCCEEDED
    assert world.calls(POST) == 4


def test_order_is_looked_for_to_the_end_also_where_it_failed_long_before(
    worlds: Callable[..., World],
) -> None:
    """Given up at the first look that fails, what was sent a moment ago would be ordered again."""
    world = knows_jobs(worlds(retry={"give_up_after": 2 * SETTLE_S + SETTLE_S / 2}))
    world.sandbox.settings(list_lag=SETTLE_S - 5, listed="finished", job_queued=3, job_executing=10)
    lose(world, "page", status=503, times=2)
    order = world.order()
    world.run(3 * SETTLE_S, until=lambda: world.calls(POST) == 3)
    lose(world, "drop_after")
    world.run(SETTLE_S + 1, until=lambda: world.calls(POST) == 4)
    world.sandbox.fault(kind="page", status=503, method="GET", path="/job/*", times=100)
    world.run(SETTLE_S - 1)
    assert (world.operation(order).state, world.operation(order).step) == (State.WAITING, "lost")
    world.sandbox.clear_faults()
    assert world.done(order).state is State.SUCCEEDED
    assert (world.calls(POST), len(world.vmids())) == (4, 2)


def test_looking_for_an_order_that_failed_before_is_no_new_try(world: World) -> None:
    knows_jobs(world)
    lose(world, "rate_limit")
    lose(world, "page", status=503)
    order = world.order()
    world.run(SETTLE_S)
    kept = world.operation(order)
    assert (kept.step, kept.attempts) == ("lost", 2)
    assert sum(line.startswith("running") for line in world.timeline(order)) == 2


def test_what_is_clear_again_has_its_whole_time(worlds: Callable[..., World]) -> None:
    """A job that fails after lost answers is another failure than they were."""
    world = knows_jobs(worlds(retry={"give_up_after": GIVE_UP_S}))
    lose(world, "page", status=503, times=2)
    order = world.order()
    world.run(GIVE_UP_S, until=lambda: bool(world.operation(order).job_id))
    assert world.operation(order).failing_since is None


def test_late_carrying_out_is_a_spare(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was carried out long after `settle`: the service has one VM, and a person sees the other."""
    knows_jobs(world)
    on_a_clock(monkeypatch).answer_s = 4.7  # of 5
    carry_out = threading.Event()
    monkeypatch.setattr(Exchange, "wait", lambda _, seconds: seconds and carry_out.wait(60))
    lose(world, "slow_before", seconds=1.0)
    order = world.order()
    world.run(SETTLE_S + 1, until=lambda: world.operation(order).job_id == "2")
    carry_out.set()
    while len(world.sandbox.state()["jobs"]) < 3:
        world.idle()
    world.clock.advance(5)
    assert world.done(order).state is State.SUCCEEDED
    assert owns_what_was_told(world)
    (spare,) = [line for line in world.timeline(order) if line.startswith("spare")]
    assert str(max(world.vmids())) in spare
    assert len(world.vmids()) == 3
    (orphan,) = world.app.reconcile.run(fix=False)["orphans"]
    assert (orphan["vmid"], orphan["operation"]) == (max(world.vmids()), order)


# What else is on the account


@pytest.mark.parametrize("kind", ["drop_after", "drop_before"])
@pytest.mark.parametrize("listed", ["executing", "finished"])
def test_lagging_list_makes_no_second_vm(world: World, kind: str, listed: str) -> None:
    knows_jobs(world)
    world.sandbox.settings(list_lag=SETTLE_S - 5, listed=listed, job_queued=3, job_executing=10)
    lose(world, kind)
    assert world.done(world.order()).state is State.SUCCEEDED
    assert len(world.vmids()) == 2


@pytest.mark.parametrize("kind", ["drop_after", "drop_before"])
def test_foreign_vms_that_were_there_are_nobodys_evidence(world: World, kind: str) -> None:
    knows_jobs(world)
    foreign = world.sandbox.add_vm()["vmid"]
    lose(world, kind)
    assert world.done(world.order()).state is State.SUCCEEDED
    assert world.service().vmid != foreign
    assert world.sandbox.state()["vms"][1]["password"] == foreign_password(world, foreign)
    assert len(world.vmids()) == 3


def foreign_password(world: World, vmid: int) -> str:
    password: str = next(vm["password"] for vm in world.sandbox.state()["vms"] if vm["vmid"] == vmid)
    return password


def test_new_foreign_vm_of_the_size_is_never_taken(world: World) -> None:
    """Nobody else should order here, and yet there it is, with no job to show for it: a person's."""
    knows_jobs(world)
    lose(world, "drop_before")
    order = world.order()
    world.idle()
    foreign = world.sandbox.add_vm()["vmid"]
    held = world.done(order)
    assert (held.state, held.error_code) == (State.HELD, "create_lost")
    assert str(foreign) in held.error_detail
    assert held.memo["set_aside"] == [foreign]
    assert world.calls(POST) == 2


def test_new_foreign_vm_of_another_size_is_no_evidence(world: World) -> None:
    knows_jobs(world)
    lose(world, "drop_before")
    order = world.order()
    world.idle()
    world.sandbox.add_vm(mem=4096)
    assert world.done(order).state is State.SUCCEEDED
    assert world.service().vmid == 4003


def test_reused_vmid_is_a_new_vm(world: World) -> None:
    """It was in the list of the evidence, as another service's, which has died since."""
    world.sandbox.settings(reuse_vmids=True, job_queued=20)
    world.done(world.order("old"))
    lose(world)
    order = world.order()
    world.idle()
    assert there_before(world, order) == {4001}
    world.event("service.terminate", "old", immediate=True)
    world.run(10)
    assert world.vmids() == []
    assert world.done(order).state is State.SUCCEEDED
    assert world.service().vmid == 4001
    assert owns_what_was_told(world)
    assert world.calls(POST) == 2


def test_vm_under_deletion_is_no_evidence(world: World) -> None:
    """Its delete was sent and its id is free any moment, so it is not counted among those there."""
    world.sandbox.settings(reuse_vmids=True, job_queued=20)
    world.done(world.order("old"))
    world.sandbox.fault(path="*/delete", kind="drop_before")
    world.event("service.terminate", "old", immediate=True)
    world.idle()
    lose(world)
    order = world.order()
    world.idle()
    assert there_before(world, order) == set()


def test_reused_id_is_not_deleted_twice(world: World) -> None:
    """Between a delete and the look after it another order got the id: that VM is the other's."""
    world.sandbox.settings(reuse_vmids=True)
    world.done(world.order("old"))
    world.sandbox.settings(job_queued=5, job_executing=100)
    order = world.order()
    world.idle()
    real = world.sandbox.delete

    def deleting(vmid: int, *, force: bool = False) -> bool:
        real(vmid, force=force)
        world.clock.advance(6)
        return True

    world.sandbox.delete = deleting  # type: ignore[method-assign]
    terminate = world.event("service.terminate", "old", immediate=True)
    assert world.done(terminate).state is State.SUCCEEDED
    assert world.done(order).state is State.SUCCEEDED
    assert world.service().vmid == 4001
    assert world.calls("POST /datacenter/server/{sid}/delete") == 1
    assert owns_what_was_told(world)
    assert world.sandbox.state()["vms"][0]["power"] == "running"


def test_reused_id_of_a_foreign_vm_is_left_alone(world: World) -> None:
    """The VM was off when its delete was sent; the one that runs under its id now is not touched."""
    world.done(world.order())
    real = world.sandbox.delete

    def deleting(vmid: int, *, force: bool = False) -> bool:
        world.sandbox.delete = real  # type: ignore[method-assign]
        real(vmid, force=force)
        world.sandbox.add_vm(vmid=vmid)
        return True

    world.sandbox.delete = deleting  # type: ignore[method-assign]
    terminate = world.event("service.terminate", immediate=True)
    held = world.done(terminate)
    assert (held.state, held.error_code) == (State.HELD, "runs_again")
    assert world.sandbox.state()["vms"][0]["power"] == "running"
    world.app.commands.approve(terminate, "anna", reason="it is ours: the provider started it")
    assert world.done(terminate).state is State.SUCCEEDED
    assert world.vmids() == []


def test_lost_reinstall_is_nobodys_evidence(world: World) -> None:
    """Its job names a VM of the asked size, too; each finds its own."""
    knows_jobs(world)
    world.sandbox.fault(path="*/reinstall", kind="drop_after")
    lose(world)
    reinstall = world.event("service.reinstall", "first")
    order = world.order()
    world.run(60)
    assert [world.operation(one).state for one in (reinstall, order)] == [State.SUCCEEDED] * 2
    assert {world.operation(one).job_id for one in (reinstall, order)} == {"2", "3"}
    assert owns_what_was_told(world, "first")
    assert owns_what_was_told(world)
    assert len(world.vmids()) == 2


def test_lost_job_of_another_size_is_not_taken(world: World) -> None:
    """Two orders were lost together: each gets the VM of its own size."""
    knows_jobs(world)
    real = world.sandbox.create
    orders: list[str] = []

    def creating(spec: Any) -> Any:
        world.sandbox.create = real  # type: ignore[method-assign]
        orders.append(world.order("large", plan="vps-l"))
        lose(world)
        assert world.step()  # sent while the first one's answer is still out
        return real(spec)

    world.sandbox.create = creating  # type: ignore[method-assign]
    lose(world)
    orders.append(world.order("small"))
    world.run(120)
    assert [world.operation(one).state for one in orders] == [State.SUCCEEDED] * 2
    vms = {vm["vmid"]: vm["config"]["mem"] for vm in world.sandbox.state()["vms"]}
    assert [vms[world.service(one).vmid or 0] for one in ("large", "small")] == [8192, 1024]
    assert len(vms) == 3
    assert world.calls(POST) == 3


def test_orders_lost_together_get_a_vm_each(world: World) -> None:
    knows_jobs(world)
    real = world.sandbox.create
    second: list[str] = []

    def creating(spec: Any) -> Any:
        world.sandbox.create = real  # type: ignore[method-assign]
        second.append(world.order("2"))
        lose(world)
        assert world.step()
        return real(spec)

    world.sandbox.create = creating  # type: ignore[method-assign]
    lose(world)
    first = world.order("1")
    world.run(120)
    assert [world.operation(one).state for one in (first, *second)] == [State.SUCCEEDED] * 2
    assert {world.service(one).vmid for one in ("1", "2")} == {4002, 4003}
    assert owns_what_was_told(world, "1")
    assert owns_what_was_told(world, "2")
    assert (world.calls(POST), len(world.vmids())) == (3, 3)


def test_answer_that_is_out_may_claim_the_job(worlds: Callable[..., World]) -> None:
    """An order whose answer is still under way may have made what looks like nobody's."""
    world = worlds(upstream={"timeout": 60})  # of real time, in which all of the other's happens
    knows_jobs(world)
    real = world.sandbox.create
    lost: list[str] = []

    def creating(spec: Any) -> Any:
        world.sandbox.create = real  # type: ignore[method-assign]
        ticket = real(spec)  # carried out; the answer takes its time
        lose(world, "drop_before")
        lost.append(world.order("lost"))
        world.run(SETTLE_S + 5)
        assert decisions(world, lost[0]) == ["wait"]
        return ticket

    world.sandbox.create = creating  # type: ignore[method-assign]
    slow = world.order("slow")
    world.idle()
    assert world.done(slow).state is State.SUCCEEDED
    assert world.done(lost[0]).state is State.SUCCEEDED
    assert world.operation(slow).job_id == "2"
    assert len(world.vmids()) == 3


def test_vm_of_an_unfinished_job_is_its_orders(world: World) -> None:
    """In the list while its job runs, and of the asked size: no reason to hold the lost one."""
    knows_jobs(world)
    world.sandbox.settings(job_executing=200)
    slow = world.order("slow")
    world.run(10)
    world.sandbox.settings(job_executing=2)
    lose(world, "drop_before")
    order = world.order()
    assert world.done(order, 300).state is State.SUCCEEDED
    assert world.done(slow).state is State.SUCCEEDED
    assert len(world.vmids()) == 3


# Where to look


def test_first_order_of_a_new_account_is_found(world: World) -> None:
    """No job id is known yet, but the account's jobs begin here."""
    lose(world)
    assert world.done(world.order()).state is State.SUCCEEDED
    assert (world.calls(POST), world.vmids()) == (1, [4001])


def old_account(world: World) -> World:
    """The account has had jobs before this store knew it."""
    for _ in range(30):
        world.app.upstream.create(spec_of_plan(world))
    world.clock.advance(10)
    return world


def spec_of_plan(world: World) -> Any:
    return world.app.settings.plans["vps-s"].spec()


def test_order_without_anything_to_go_by_is_held(world: World) -> None:
    old_account(world)
    lose(world)
    held = world.done(world.order())
    assert (held.state, held.error_code, held.memo["set_aside"]) == (State.HELD, "create_lost", [4031])


def test_order_without_anything_to_go_by_may_be_sent_again(world: World) -> None:
    """Neither a job nor a VM: the list alone proves it."""
    old_account(world)
    lose(world, "drop_before")
    assert world.done(world.order()).state is State.SUCCEEDED
    assert len(world.vmids()) == 31


def test_another_order_teaches_where_to_look(world: World) -> None:
    """One passes the fence, for its job's id says where the lost one's is; the next waits again."""
    old_account(world)
    lose(world)
    lost = world.order("lost")
    world.idle()
    orders = [world.order("2"), world.order("3")]
    world.idle()
    assert world.calls(POST) == 30 + 2
    assert [world.operation(one).step for one in orders] == ["follow", "send"]
    world.run(SETTLE_S + 30)
    assert [world.operation(one).state for one in (lost, *orders)] == [State.SUCCEEDED] * 3
    assert world.operation(lost).job_id == "31"
    assert owns_what_was_told(world, "lost")
    assert len(world.vmids()) == 33


def test_only_one_at_a_time_is_let_through_to_teach(world: World) -> None:
    """While its answer is out nothing is learnt yet, and the fence stands."""
    old_account(world)
    lose(world)
    world.order("lost")
    world.idle()
    real = world.sandbox.create

    def creating(spec: Any) -> Any:
        world.sandbox.create = real  # type: ignore[method-assign]
        world.order("3")
        assert world.step()
        assert world.calls(POST) == 30 + 2
        return real(spec)

    world.sandbox.create = creating  # type: ignore[method-assign]
    world.order("2")
    world.run(SETTLE_S + 30)
    assert world.calls(POST) == 30 + 3
    assert len(world.vmids()) == 33


def test_where_to_look_stays_once_it_is_found(world: World) -> None:
    """Other jobs go on, far beyond the window, while the lost one is still open."""
    old_account(world)
    world.sandbox.settings(job_executing=60)
    lose(world)
    lost = world.order("lost")
    world.idle()
    world.order("2")
    world.idle()
    world.sandbox.settings(job_executing=1)
    for _ in range(15):
        world.run(2)
        world.app.store.write(lambda verbs: lost_jobs.learn(verbs, new_job(world), None, world.clock()))
    assert world.done(lost).state is State.SUCCEEDED
    assert world.operation(lost).job_id == "31"


def new_job(world: World) -> str:
    return world.app.upstream.reinstall(4001)


def test_lost_job_is_found_behind_other_unknown_ones(world: World) -> None:
    """More jobs that nobody claims than windows are long: in one look each one seen carries it on."""
    knows_jobs(world)
    world.sandbox.settings(job_queued=0, job_executing=0.1)
    for _ in range(3 * lost_jobs.WINDOW):
        new_job(world)
        world.clock.advance(1)
    lose(world)
    ended = world.done(world.order(), lost_jobs.LOOK_S + 1)
    assert (ended.state, ended.job_id) == (State.SUCCEEDED, "32")


def test_too_many_jobs_are_a_persons(world: World) -> None:
    knows_jobs(world)
    lose(world)
    order = world.order()
    world.idle()
    far = str(lost_jobs.MOST_IDS + 10)
    world.app.store.write(lambda verbs: lost_jobs.learn(verbs, far, None, world.clock()))
    held = world.done(order)
    assert (held.state, held.error_code) == (State.HELD, "too_many_jobs")
    assert world.calls(POST) == 2


@pytest.mark.parametrize(("job_id", "known"), [("a1b2", None), ("7", 7), ("6", 7), ("-8", 7)])
def test_irregular_job_ids_prove_nothing(world: World, job_id: str, known: int | None) -> None:
    knows_jobs(world)
    world.app.store.write(lambda verbs: lost_jobs.learn(verbs, job_id, known, world.clock()))
    lose(world)
    order = world.order()
    world.run(1)
    assert (world.operation(order).state, world.operation(order).error_code) == (State.HELD, "create_lost")


def test_growing_job_ids_are_regular(world: World) -> None:
    def unit(verbs: Any) -> tuple[Any, Any]:
        for job_id in ("7", "9", "8"):  # answers overtake each other
            lost_jobs.learn(verbs, job_id, 6, world.clock())
        return verbs.fact(lost_jobs.GREATEST), verbs.fact(lost_jobs.IRREGULAR)

    assert world.app.store.write(unit) == (9, None)


# The job is lost, or never ends


def test_one_wrong_answer_loses_no_job(world: World) -> None:
    """0xc1 once, then the job is there again: the same one is followed, however long it takes."""
    world.sandbox.settings(job_executing=300)
    order = world.order()
    world.run(10)
    world.sandbox.fault(path="/job/1", kind="error", error="0xc1: job not found", status=404, times=2)
    assert world.done(order).state is State.SUCCEEDED
    assert world.calls(POST) == 1
    assert owns_what_was_told(world)


@pytest.mark.parametrize("listed", ["executing", "finished"])
@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("job_s", [2, 300])
def test_lost_job_is_never_ordered_again(
    worlds: Callable[..., World], listed: str, exclusive: bool, job_s: float
) -> None:
    """It was accepted, so its VM may come at any time: a person chooses, after `settle`."""
    world = worlds(upstream={"exclusive": exclusive})
    world.sandbox.settings(job_queued=0, job_executing=job_s, listed=listed)
    order = world.order()
    world.idle()
    world.sandbox.settings(lose_job=1)
    world.run(SETTLE_S - 5)
    assert world.operation(order).state is State.WAITING
    held = world.done(order)
    assert (held.state, held.error_code) == (State.HELD, "create_lost")
    world.run(400)
    assert world.calls(POST) == 1
    assert world.vmids() == [4001]
    world.app.commands.approve(order, "admin", choice="adopt", vmid=4001)
    assert world.done(order).state is State.SUCCEEDED
    assert owns_what_was_told(world)


def test_lost_job_that_fails_late_is_watched(world: World) -> None:
    """It ran longer than `settle`, failed, and left a VM that the list shows later still."""
    knows_jobs(world)
    world.sandbox.settings(
        job_executing=300,
        listed="finished",
        list_lag=20,
        fail_next_job={"error": "0xa3: no", "after_vm": True},
    )
    lose(world)
    held = world.done(world.order())
    assert (held.state, held.error_code, held.memo["set_aside"]) == (State.HELD, "create_lost", [4002])
    assert world.calls(POST) == 2


def test_held_order_leaves_the_jobs_of_others(world: World) -> None:
    """Its own job was accepted, so the one that is found is not its: the other lost order gets that."""
    knows_jobs(world)
    world.sandbox.settings(job_executing=300)
    accepted = world.order("accepted")
    world.run(1)
    world.sandbox.settings(job_executing=2)
    lose(world)
    lost = world.order("lost")
    world.idle()
    world.sandbox.settings(lose_job=2)
    world.run(2 * SETTLE_S)
    assert [world.operation(one).state for one in (accepted, lost)] == [State.HELD, State.SUCCEEDED]
    assert world.operation(lost).job_id == "3"
    assert 4003 not in world.operation(accepted).memo["set_aside"]
    assert world.calls(POST) == 3


def test_unclaimed_job_that_never_ends_is_a_persons(worlds: Callable[..., World]) -> None:
    """The shop would stand still behind it."""
    world = knows_jobs(worlds(upstream={"job_timeout": 60}))
    world.sandbox.settings(hang_jobs=True)
    lose(world)
    order = world.order()
    waiting = world.order("2")
    world.run(55)
    assert [world.operation(one).state for one in (order, waiting)] == [State.WAITING] * 2
    held = world.done(order)
    assert (held.state, held.error_code, held.memo["set_aside_jobs"]) == (State.HELD, "create_lost", [2])
    world.sandbox.settings(hang_jobs=False)
    assert world.done(waiting).state is State.SUCCEEDED
    assert world.operation(waiting).job_id == "3"


# The fence


def test_other_orders_wait_while_the_unknown_one_is_looked_for(world: World) -> None:
    """A worker has it at that moment, as one has an order whose answer is out; but its own is lost."""
    knows_jobs(world)
    lose(world, "drop_before")
    world.order()
    world.idle()
    real, seen = world.sandbox.job, []

    def looking(number: int) -> Any:
        world.sandbox.job = real  # type: ignore[method-assign]
        other = world.order("2")
        world.step()
        seen.append((world.operation(other).memo["waits_for"], world.calls(POST)))
        return real(number)

    world.sandbox.job = looking  # type: ignore[method-assign]
    world.run(5)
    assert seen == [("another_order", 2)]


def test_other_orders_wait_for_the_unknown_one(world: World) -> None:
    knows_jobs(world)
    lose(world, "drop_before")
    lost = world.order("lost")
    world.idle()
    waiting = world.order("2")
    world.run(SETTLE_S - 2)
    assert world.calls(POST) == 2
    kept = world.operation(waiting)
    assert (kept.step, kept.sent, kept.memo["waits_for"]) == ("send", False, "another_order")
    assert "sent_at" not in kept.memo
    assert world.done(lost).state is State.SUCCEEDED
    assert world.done(waiting).state is State.SUCCEEDED
    assert len(world.vmids()) == 3


def test_other_work_does_not_wait(world: World) -> None:
    knows_jobs(world)
    lose(world, "drop_before")
    world.order("lost")
    world.idle()
    assert world.done(world.event("service.reinstall", "first"), SETTLE_S / 2).state is State.SUCCEEDED


def test_held_order_stops_nobody(worlds: Callable[..., World]) -> None:
    world = knows_jobs(worlds(upstream={"exclusive": False}))
    lose(world)
    held = world.done(world.order("lost"))
    assert held.state is State.HELD
    assert world.done(world.order("2"), 10).state is State.SUCCEEDED


def test_what_a_held_one_may_have_made_is_set_aside(world: World) -> None:
    """Another lost order of the same size must not get it."""
    knows_jobs(world)
    lose(world, "drop_before")
    first = world.order("1")
    world.idle()
    foreign = world.sandbox.add_vm()["vmid"]
    assert world.done(first).memo["set_aside"] == [foreign]
    lose(world, "drop_before")
    second = world.order("2")
    assert world.done(second).state is State.SUCCEEDED
    assert world.service("2").vmid != foreign


@pytest.mark.parametrize("at_once", [False, True])
def test_two_are_not_held_for_the_same_vm(world: World, at_once: bool) -> None:
    """Both were lost before it came. The older one's search ends first, also where both look at once."""
    knows_jobs(world)
    lose(world, "drop_before", times=2)
    real = world.app.upstream.create
    orders = [world.order("older")]

    def creating(spec: Any) -> str:
        world.app.upstream.create = real  # type: ignore[method-assign]
        orders.append(world.order("younger"))
        assert world.step()  # sent while the older one's call is under way
        return real(spec)

    world.app.upstream.create = creating  # type: ignore[method-assign]
    world.idle()
    foreign = world.sandbox.add_vm()["vmid"]
    world.run(SETTLE_S - 1)
    servers = world.sandbox.servers

    def looking() -> list[int]:
        world.sandbox.servers = servers  # type: ignore[method-assign]
        world.step()
        return servers()

    if at_once:
        world.sandbox.servers = looking  # type: ignore[method-assign]
    world.run(SETTLE_S + 60)
    older, younger = (world.operation(one) for one in orders)
    assert (older.state, older.memo["set_aside"]) == (State.HELD, [foreign])
    assert younger.state is State.SUCCEEDED
    assert world.service("younger").vmid != foreign


def test_two_that_made_a_vm_each_make_no_third(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows their jobs any more, so the first is held with both VMs: one of them is the second's."""
    knows_jobs(world)
    real = world.app.upstream.create
    orders = [world.order("1")]

    def creating(spec: Any) -> str:
        world.app.upstream.create = real  # type: ignore[method-assign]
        orders.append(world.order("2"))
        assert world.step()
        return real(spec)

    def forgotten(_upstream: UpstreamClient, job_id: str) -> Job:
        raise JobNotFound("There is no such job.", detail=f"job {job_id}")

    world.app.upstream.create = creating  # type: ignore[method-assign]
    lose(world, times=2)
    with monkeypatch.context() as patch:
        patch.setattr(UpstreamClient, "job", forgotten)
        ended = [world.done(order) for order in orders]
    assert [(one.state, one.error_code) for one in ended] == [(State.HELD, "create_lost")] * 2
    assert [one.memo["set_aside"] for one in ended] == [[4002, 4003]] * 2
    for order, vmid in zip(orders, (4003, 4002), strict=True):
        world.app.commands.approve(order, "anna", choice="adopt", vmid=vmid)
        assert world.done(order).state is State.SUCCEEDED
    assert (world.service("1").vmid, world.service("2").vmid) == (4003, 4002)
    assert (world.calls(POST), len(world.vmids())) == (3, 3)


def test_settle_counts_from_the_last_one_lost(world: World) -> None:
    """What the later one has sent may still arrive, and be taken for the earlier one's."""
    knows_jobs(world)
    lose(world, "rate_limit", retry_after=5)
    older = world.order("older")
    world.idle()
    lose(world, "drop_before", times=2)
    real = world.app.upstream.create

    def creating(spec: Any) -> str:
        world.app.upstream.create = real  # type: ignore[method-assign]
        world.clock.advance(5)
        assert world.step()  # the older one's second try, which is lost at once
        world.clock.advance(20)
        return real(spec)

    world.app.upstream.create = creating  # type: ignore[method-assign]
    world.order("younger")
    world.idle()
    assert world.calls(POST) == 4
    world.run(SETTLE_S - 1)
    assert world.calls(POST) == 4
    assert world.done(older).state is State.SUCCEEDED
    world.run(60)
    assert len(world.vmids()) == 3


# A person chooses


@pytest.fixture
def held(worlds: Callable[..., World]) -> tuple[World, str]:
    """An account that others order on, too: the order made VM 4002, and nobody may infer that."""
    world = knows_jobs(worlds(upstream={"exclusive": False}))
    lose(world)
    order = world.order()
    world.idle()
    world.run(10)
    operation = world.operation(order)
    assert (operation.state, operation.error_code) == (State.HELD, "create_lost")
    return world, order


@pytest.fixture
def seen(worlds: Callable[..., World]) -> tuple[World, str]:
    """The same, and the VM showed before it was held."""
    world = knows_jobs(worlds(upstream={"exclusive": False}))
    world.sandbox.settings(listed="executing", job_queued=0.0)
    lose(world)
    order = world.order()
    world.idle()
    world.run(10)
    assert world.operation(order).memo["set_aside"] == [4002]
    return world, order


def test_lost_order_is_held_at_once(held: tuple[World, str]) -> None:
    world, order = held
    assert decisions(world, order) == ["hold"]
    assert world.told()[-1].type == "operation.held"
    assert world.service().vmid is None


def test_adopted_vm_gets_new_credentials(held: tuple[World, str]) -> None:
    world, order = held
    made = world.sandbox.state()["vms"][1]
    world.app.commands.approve(order, "anna", reason="it is this one", choice="adopt", vmid=4002)
    assert world.done(order).state is State.SUCCEEDED
    adopted = world.sandbox.state()["vms"][1]
    assert adopted["password"] != made["password"]
    assert world.service().vmid == 4002
    assert world.service().ips == tuple(adopted["ips"])
    assert owns_what_was_told(world)
    assert (world.calls(POST), world.calls("PUT /datacenter/server/{sid}/reinstall")) == (2, 1)


@pytest.mark.parametrize("kind", ["drop_after", "drop_before"])
def test_adoption_survives_a_lost_answer(held: tuple[World, str], kind: str) -> None:
    world, order = held
    world.sandbox.fault(path="*/reinstall", kind=kind)
    world.app.commands.approve(order, "anna", choice="adopt", vmid=4002)
    assert world.done(order).state is State.SUCCEEDED
    world.run(60)
    assert owns_what_was_told(world)
    sent = world.calls("PUT /datacenter/server/{sid}/reinstall")
    assert sent == (1 if kind == "drop_after" else 2)


def test_foreign_ones_stay_foreign(seen: tuple[World, str]) -> None:
    """`not_mine`: nothing is sent, the order fails, and a new one makes its own VM."""
    world, order = seen
    world.app.commands.approve(order, "anna", choice="not_mine")
    ended = world.done(order)
    assert (ended.state, ended.error_code) == (State.FAILED, "lost")
    assert world.calls(POST) == 2
    assert world.done(world.order()).state is State.SUCCEEDED
    assert world.service().vmid == 4003
    assert [one["vmid"] for one in world.app.reconcile.run(fix=False)["foreign"]] == [4002]


@pytest.mark.parametrize("then", ["retry", "order"])
def test_vm_that_nobody_had_seen_is_not_foreign(held: tuple[World, str], then: str) -> None:
    """The person was told that there is none: it showed later."""
    world, order = held
    world.app.commands.approve(order, "anna", choice="not_mine")
    assert world.done(order).error_code == "lost"
    if then == "retry":
        world.app.commands.retry(order, "anna")
    again = world.done(order if then == "retry" else world.order())
    assert (again.state, again.error_code) == (State.HELD, "leftover_vm")
    assert again.memo["set_aside"] == [4002]
    assert world.calls(POST) == 2
    world.app.commands.approve(again.id, "anna", choice="adopt")
    assert world.done(again.id).state is State.SUCCEEDED
    assert (world.service().vmid, world.vmids()) == (4002, [4001, 4002])


def test_sending_again_looks_once_more(held: tuple[World, str]) -> None:
    """What showed since it was held is asked about first, and once."""
    world, order = held
    world.app.commands.approve(order, "anna", choice="send_again")
    again = world.done(order)
    assert (again.state, again.error_code, again.memo["set_aside"]) == (State.HELD, "leftover_vm", [4002])
    assert world.calls(POST) == 2
    world.app.commands.approve(order, "anna", choice="send_again")
    assert world.done(order).state is State.SUCCEEDED
    assert (world.calls(POST), world.vmids()) == (3, [4001, 4002, 4003])


def test_sent_again_makes_another_vm(seen: tuple[World, str]) -> None:
    world, order = seen
    world.app.commands.approve(order, "anna", choice="send_again")
    assert world.done(order).state is State.SUCCEEDED
    assert world.service().vmid == 4003
    assert owns_what_was_told(world)
    assert (world.calls(POST), world.vmids()) == (3, [4001, 4002, 4003])


@pytest.mark.parametrize(
    ("choice", "vmid", "words"),
    [
        ("", None, "choice: must be one of adopt, not_mine, send_again"),
        ("keep", None, "choice: must be one of adopt, not_mine, send_again"),
        ("adopt", 4001, "VM 4001 belongs to service shop/first"),
        ("adopt", None, "vmid: is needed to adopt"),
    ],
)
def test_wrong_choice_is_said(held: tuple[World, str], choice: str, vmid: int | None, words: str) -> None:
    world, order = held
    with pytest.raises(RequestInvalid, match=words):
        world.app.commands.approve(order, "anna", choice=choice, vmid=vmid)
    assert world.operation(order).state is State.HELD


def test_vm_that_is_not_there_cannot_be_adopted(held: tuple[World, str]) -> None:
    world, order = held
    world.app.commands.approve(order, "anna", choice="adopt", vmid=9999)
    again = world.done(order)
    assert (again.state, again.error_code) == (State.HELD, "create_lost")
    assert "9999" in again.error_detail
    world.app.commands.approve(order, "anna", choice="adopt", vmid=4002)
    assert world.done(order).state is State.SUCCEEDED


def test_vm_that_was_there_before_cannot_be_adopted(worlds: Callable[..., World]) -> None:
    """A slip of the finger must not erase a stranger's VM."""
    world = knows_jobs(worlds(upstream={"exclusive": False}))
    foreign = world.sandbox.add_vm()
    lose(world)
    order = world.order()
    world.idle()
    with pytest.raises(RequestInvalid, match="was there before the order was sent"):
        world.app.commands.approve(order, "anna", choice="adopt", vmid=foreign["vmid"])
    assert world.operation(order).state is State.HELD


def test_vm_of_another_size_is_not_adopted(held: tuple[World, str]) -> None:
    world, order = held
    foreign = world.sandbox.add_vm(mem=2048)
    world.app.commands.approve(order, "anna", choice="adopt", vmid=foreign["vmid"])
    again = world.done(order)
    assert (again.state, again.error_code) == (State.HELD, "create_lost")
    assert "not of the size" in again.error_detail
    assert world.calls("PUT /datacenter/server/{sid}/reinstall") == 0


# A job that ended and told too little


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize("name", ["vmid", "ips", "user", "password"])
def test_job_that_tells_too_little_is_held(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, empty: bool
) -> None:
    """Nothing is delivered that does not work, and the person is told what there is not."""
    real = jobs.Job.finish

    def finish(job: jobs.Job, output: dict[str, Any]) -> None:
        whole = {key: value for key, value in output.items() if key != name}
        real(job, whole | ({name: ""} if empty else {}))

    monkeypatch.setattr(jobs.Job, "finish", finish)
    held = world.done(world.order())
    assert (held.state, held.error_code) == (State.HELD, "incomplete_answer")
    assert name in held.error_detail.split(":")[0]
    world.run(60)
    assert [one.type for one in world.told()] == ["operation.held"]


# A job that failed may have left a VM


@pytest.fixture
def leftover(world: World) -> tuple[World, str]:
    """The order's job failed after it had made VM 4002."""
    knows_jobs(world)
    world.sandbox.settings(fail_next_job={"error": "0xa3: timeout", "after_vm": True})
    order = world.order()
    failed = world.done(order)
    assert (failed.state, failed.error_code, world.vmids()) == (State.FAILED, "0xa3", [4001, 4002])
    return world, order


def test_retry_sees_the_leftover(leftover: tuple[World, str]) -> None:
    world, order = leftover
    world.app.commands.retry(order, "anna")
    held = world.done(order)
    assert (held.state, held.error_code, held.memo["set_aside"]) == (State.HELD, "leftover_vm", [4002])
    assert world.calls(POST) == 2
    world.app.commands.approve(order, "anna", choice="adopt")
    assert world.done(order).state is State.SUCCEEDED
    assert (world.service().vmid, world.vmids()) == (4002, [4001, 4002])
    assert owns_what_was_told(world)


def test_new_order_sees_the_leftover(leftover: tuple[World, str]) -> None:
    world, _ = leftover
    order = world.order()
    held = world.done(order)
    assert (held.state, held.error_code) == (State.HELD, "leftover_vm")
    world.app.commands.approve(order, "anna", choice="send_again")
    assert world.done(order).state is State.SUCCEEDED
    assert world.service().vmid == 4003


def test_terminate_sees_the_leftover(leftover: tuple[World, str]) -> None:
    """No VM made here is left without a service, and none is deleted on inference."""
    world, _ = leftover
    terminate = world.event("service.terminate")
    held = world.done(terminate)
    assert (held.state, held.error_code) == (State.HELD, "leftover_vm")
    assert "4002" in held.error_detail
    world.sandbox.remove_vm(4002)
    world.app.commands.approve(terminate, "anna")
    assert world.done(terminate).state is State.SUCCEEDED


def compared(world: World) -> dict[str, list[Any]]:
    found = world.app.reconcile.run(fix=False)
    return {kind: [one["vmid"] for one in found[kind]] for kind in ("orphans", "foreign")}


def test_reconciliation_names_the_leftover(leftover: tuple[World, str]) -> None:
    """Without a retry, a new order or a terminate nobody else would ever see that it is paid for."""
    world, order = leftover
    world.sandbox.add_vm(mem=2048)
    assert compared(world) == {"orphans": [4002], "foreign": [4003]}
    (orphan,) = world.app.reconcile.run(fix=False)["orphans"]
    assert (orphan["operation"], orphan["service_id"]) == (order, "1001")


def test_leftover_of_a_shared_account_is_foreign_with_a_note(worlds: Callable[..., World]) -> None:
    """A stranger's VM of that size would look the same, and an orphan's remedy is to delete it."""
    world = knows_jobs(worlds(upstream={"exclusive": False}))
    world.sandbox.settings(fail_next_job={"error": "0xa3: timeout", "after_vm": True})
    order = world.order()
    world.done(order)
    assert compared(world) == {"orphans": [], "foreign": [4002]}
    (foreign,) = world.app.reconcile.run(fix=False)["foreign"]
    assert order in foreign["means"]


@pytest.fixture
def failed_without(world: World) -> World:
    """The order's job failed before it made a VM."""
    knows_jobs(world)
    world.sandbox.settings(fail_next_job={"error": "0xa3: timeout"})
    assert world.done(world.order()).state is State.FAILED
    return world


def test_vm_of_an_order_under_way_is_no_leftover(failed_without: World) -> None:
    """That order has not heard of it yet."""
    world = failed_without
    other = world.order("1002")
    world.run(until=lambda: len(world.vmids()) == 2)
    assert world.operation(other).step == "follow"
    assert compared(world)["orphans"] == []


def test_vm_that_waits_for_a_person_is_no_leftover(failed_without: World) -> None:
    """It is set aside by the order that is held."""
    world = failed_without
    world.sandbox.settings(fail_next_job={"error": "0xa3: timeout", "after_vm": True})
    world.done(world.order("1002"))
    assert compared(world)["orphans"] == [4002]
    assert world.done(world.order("1002")).error_code == "leftover_vm"
    assert compared(world) == {"orphans": [], "foreign": [4002]}


def test_approval_of_what_was_refused_looks_first(world: World) -> None:
    """The page said 401, and the VM was made all the same."""
    knows_jobs(world)
    world.sandbox.settings(listed="executing", job_queued=0.0)
    lose(world, "page_after", status=401)
    order = world.order()
    assert world.done(order).error_code == "0x03"
    world.app.commands.approve(order, "anna")
    again = world.done(order)
    assert (again.error_code, again.memo["set_aside"]) == ("leftover_vm", [4002])
    assert world.calls(POST) == 2


def test_retry_waits_for_no_order_that_came_later(failed_without: World) -> None:
    """There is always a VM in the list that an order under way has not heard of yet."""
    world = failed_without
    world.sandbox.settings(listed="executing", job_queued=0.0, job_executing=10.0)
    (failed,) = world.app.store.read(lambda verbs: verbs.operations(1, None, state="failed"))
    world.clock.advance(60)
    world.order("other")
    world.run(2)
    world.app.commands.retry(failed.id, "anna")
    for number in range(20):
        world.order(f"later-{number}")
        world.run(2)
    assert world.operation(failed.id).state is State.SUCCEEDED


def test_job_that_failed_before_leaves_nothing(world: World) -> None:
    knows_jobs(world)
    world.sandbox.settings(fail_next_job={"error": "0xa3: timeout"})
    order = world.order()
    world.done(order)
    world.app.commands.retry(order, "anna")
    assert world.done(order).state is State.SUCCEEDED
    assert len(world.vmids()) == 2


# Other calls that must not be sent twice


OTHERS: dict[str, tuple[str, str, int]] = {  # the call's path, its endpoint, how often it is sent if unheard
    "service.reinstall": ("*/reinstall", "PUT /datacenter/server/{sid}/reinstall", 1),
    "service.reset_password": ("*/password/reset", "PUT /datacenter/server/{sid}/password/reset", 2),
    "service.backup": ("*/backups/create", "PUT /datacenter/server/{sid}/backups/create", 1),
    "service.restore": ("*/backups/restore", "POST /datacenter/server/{sid}/backups/restore", 1),
    "service.reboot": ("*/reboot", "PUT /datacenter/server/{sid}/reboot", 1),
    "service.force_reboot": ("*/reboot/force", "PUT /datacenter/server/{sid}/reboot/force", 1),
    "service.terminate": ("*/delete", "POST /datacenter/server/{sid}/delete", 1),
}


def with_backup(world: World) -> dict[str, Any]:
    world.done(world.event("service.backup"))
    return {"backup": world.sandbox.state()["vms"][0]["backups"][0]}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("fault", [DONE_UNHEARD[0], DONE_UNHEARD[3], NOT_DONE[0], NOT_DONE[3]], ids=name)
def test_lost_call_is_looked_for(world: World, kind: str, fault: dict[str, Any]) -> None:
    """Found: never twice. Not found: once more after `settle`."""
    path, endpoint, unheard = OTHERS[kind]
    world.done(world.order())
    world.run(100)
    data: dict[str, Any] = with_backup(world) if kind == "service.restore" else {}
    if kind == "service.terminate":
        data = {"immediate": True}
    world.sandbox.fault(path=path, **fault)
    operation = world.event(kind, **data)
    began_at = world.clock.now
    assert world.done(operation).state is State.SUCCEEDED
    is_unheard = fault in DONE_UNHEARD
    assert world.calls(endpoint) == (unheard if is_unheard else 2)
    if not is_unheard:
        assert (world.clock.now - began_at) / 1000 >= SETTLE_S
    assert world.vmids() == ([] if kind == "service.terminate" else [4001])
    if kind in ("service.reinstall", "service.reset_password"):
        assert owns_what_was_told(world)


NOT_REPEATED = (
    "service.reinstall",
    "service.reset_password",
    "service.backup",
    "service.reboot",
    "service.restore",
)
LONG_S = 40 * SETTLE_S


def always_lost(worlds: Callable[..., World], kind: str) -> tuple[World, str]:
    """Whatever writes is answered with a proxy's page, and what reads works; `give_up_after` is `LONG_S`."""
    world = worlds(retry={"give_up_after": LONG_S})
    world.done(world.order())
    world.run(100)
    data = with_backup(world) if kind == "service.restore" else {}
    world.sandbox.fault(path=OTHERS[kind][0], kind="page", status=502, times=0)
    return world, world.event(kind, **data)


@pytest.mark.parametrize("kind", NOT_REPEATED)
def test_call_that_is_lost_for_long_ends_well(worlds: Callable[..., World], kind: str) -> None:
    """An outage is waited out, however often it was sent in vain."""
    world, operation = always_lost(worlds, kind)
    world.run(LONG_S - 5 * SETTLE_S)
    assert world.operation(operation).state is State.WAITING
    world.sandbox.clear_faults()
    assert world.done(operation, 15 * SETTLE_S).state is State.SUCCEEDED
    if kind in ("service.reinstall", "service.reset_password"):
        assert owns_what_was_told(world)


@pytest.mark.parametrize("kind", NOT_REPEATED)
def test_call_that_is_always_lost_is_given_up(worlds: Callable[..., World], kind: str) -> None:
    """After `give_up_after`, as any other; a retry begins with a look and then sends it."""
    world, operation = always_lost(worlds, kind)
    ended = world.done(operation, 3 * LONG_S)
    assert (ended.state, ended.error_code) == (State.FAILED, "outcome_unknown")
    assert "given up: no clear answer for" in ended.error_detail
    assert LONG_S <= (ended.updated_at - ended.created_at) / 1000 <= LONG_S + 300 + 2 * SETTLE_S
    sent = world.calls(OTHERS[kind][1])
    assert 5 <= sent < LONG_S / SETTLE_S / 2  # rarer each time
    assert ended.step not in ("send", "make", "restore")
    world.sandbox.clear_faults()
    world.app.commands.retry(operation, "anna")
    assert world.done(operation).state is State.SUCCEEDED
    assert world.calls(OTHERS[kind][1]) == sent + 1


def test_each_time_it_is_sent_in_vain_it_waits_longer(worlds: Callable[..., World]) -> None:
    """`settle` at least, for what is on its way still; a person who retries it begins anew."""
    world, operation = always_lost(worlds, "service.reset_password")
    world.done(operation, 3 * LONG_S)
    before = world.calls(OTHERS["service.reset_password"][1])
    world.app.commands.retry(operation, "anna")
    world.done(operation, 3 * LONG_S)
    at = [call["at"] for call in world.sandbox.calls() if call["path"].endswith("/password/reset")]
    waits = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert waits[before : before + 3] == waits[1:4]
    assert waits[:4] == [1000 * (SETTLE_S + more) for more in (0, 2, 4, 8)]
    assert waits[-1] == 1000 * (SETTLE_S + 300)


def test_retry_of_what_happened_unheard_sends_nothing(worlds: Callable[..., World]) -> None:
    """The look before it: the server was rebooted meanwhile, by whomever."""
    world, operation = always_lost(worlds, "service.reboot")
    world.done(operation, 3 * LONG_S)
    world.sandbox.clear_faults()
    world.app.upstream.reboot(4001)
    sent = world.calls(OTHERS["service.reboot"][1])
    world.app.commands.retry(operation, "anna")
    assert world.done(operation).state is State.SUCCEEDED
    assert world.calls(OTHERS["service.reboot"][1]) == sent


def test_vm_that_stays_is_given_up_after_a_few_deletes(world: World) -> None:
    """Then a person is told; a retry begins at a look."""
    path, endpoint, _ = OTHERS["service.terminate"]
    world.done(world.order())
    world.sandbox.fault(path=path, kind="drop_before", times=0)
    operation = world.event("service.terminate", immediate=True)
    ended = world.done(operation)
    assert (ended.state, ended.error_code) == (State.FAILED, "still_there")
    assert world.calls(endpoint) == 3
    world.sandbox.clear_faults()
    world.app.commands.retry(operation, "anna")
    assert world.done(operation).state is State.SUCCEEDED


def test_newest_reinstall_is_the_one_that_counts(world: World) -> None:
    """Another call of ours arrived late: the password of the job that ends last is the one that works."""
    world.done(world.order())
    world.sandbox.fault(path="*/reinstall", kind="drop_after")
    reinstall = world.event("service.reinstall")
    world.idle()
    world.clock.advance(2)  # the lost one's job has ended
    assert new_job(world) == "3"
    ended = world.done(reinstall)
    assert (ended.state, ended.job_id) == (State.SUCCEEDED, "3")
    world.run(60)
    assert owns_what_was_told(world)


def test_lost_reinstall_whose_job_failed_is_sent_again(world: World) -> None:
    world.done(world.order())
    world.sandbox.settings(fail_next_job={"error": "0xa3: timeout"})
    world.sandbox.fault(path="*/reinstall", kind="drop_after")
    reinstall = world.event("service.reinstall")
    assert world.done(reinstall).state is State.SUCCEEDED
    assert world.calls("PUT /datacenter/server/{sid}/reinstall") == 2
    assert owns_what_was_told(world)


@pytest.mark.parametrize(("times", "sent"), [(2, 1), (0, 2)])
def test_reinstalls_job_that_is_lost_is_waited_for(world: World, times: int, sent: int) -> None:
    """Two wrong answers: the same job. None any more: once more after `settle`, counted from there."""
    world.done(world.order())
    world.sandbox.settings(job_executing=60)
    reinstall = world.event("service.reinstall")
    world.run(50)
    world.sandbox.settings(job_executing=2)
    lost = {"path": "/job/2", "kind": "error", "error": "0xc1: job not found", "status": 404}
    world.sandbox.fault(**lost, times=times)
    world.run(SETTLE_S - 5)
    assert world.calls("PUT /datacenter/server/{sid}/reinstall") == 1
    assert world.done(reinstall).state is State.SUCCEEDED
    assert world.calls("PUT /datacenter/server/{sid}/reinstall") == sent
    assert owns_what_was_told(world)


def test_change_that_took_unheard_is_not_asked_again(world: World) -> None:
    world.done(world.order())
    world.sandbox.fault(path="*/change", kind="drop_after")
    assert world.done(world.event("service.upgrade", options={"mem": 4096})).state is State.SUCCEEDED
    assert world.calls("PUT /datacenter/server/{sid}/change") == 1
