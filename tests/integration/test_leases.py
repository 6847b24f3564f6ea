"""Killed, asleep or slow: what is sent was announced before, and nobody sends or writes for another."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from provisioner.engine.advance import Claimed
from provisioner.errors import StoreUnavailable
from provisioner.operation import Operation, State
from provisioner.operations.there_before import before
from provisioner.store.verbs import Verbs
from tests.conftest import World
from tests.heard import capture_logs

LEASE_S = 5 * 6 + 30  # of these settings: a handful of calls, each bounded by `timeout`

# What must not be sent twice blindly: the event, the call (as client and sandbox name it), the step at which
# somebody else goes on, and how often it is sent where the first call was carried out unheard.
ONCE = {
    "create": ("order.paid", "create", "lost", 1),
    "reinstall": ("service.reinstall", "reinstall", "lost", 1),
    "reset_password": ("service.reset_password", "reset_password", "lost", 2),  # the answer was the password
    "reboot": ("service.reboot", "reboot", "look_unanswered", 1),
    "force_reboot": ("service.force_reboot", "force_reboot", "look_unanswered", 1),
    "delete": ("service.terminate", "delete", "gone", 1),
    "backup": ("service.backup", "create_backup", "listed", 1),
    "restore": ("service.restore", "restore_backup", "restored", 1),
}
each_once = pytest.mark.parametrize(("kind", "call", "then", "sent_unheard"), ONCE.values(), ids=ONCE)


class PowerCut(BaseException):
    """The process ends here; nothing of ours catches it."""


@pytest.fixture
def world(worlds: Callable[..., World]) -> World:
    return worlds(safety={"terminate_grace": 0, "suspend_grace": 1})


def ask(world: World, kind: str) -> str:
    """Has it accepted, with all that must be there before."""
    if kind == "order.paid":
        return world.order()
    world.done(world.order())
    world.run(60)
    if kind != "service.restore":
        return world.event(kind)
    world.done(world.event("service.backup"))
    (backup,) = world.sandbox.state()["vms"][0]["backups"]
    return world.event(kind, backup=backup)


def count(world: World, call: str, monkeypatch: pytest.MonkeyPatch) -> list[Operation]:
    """Has each such call of the upstream look into the store when it arrives."""
    real = getattr(world.sandbox, call)
    seen: list[Operation] = []

    def looked(*given: Any, **more: Any) -> Any:
        newest = world.app.store.read(lambda verbs: verbs.operations(1, None))
        seen.append(newest[0])
        return real(*given, **more)

    monkeypatch.setattr(world.sandbox, call, looked)
    return seen


def cut(world: World, call: str, monkeypatch: pytest.MonkeyPatch, *, sent: bool) -> None:
    """Has the next such call end the process, before it is sent or before its answer is used."""
    real = getattr(world.app.upstream, call)

    def cutting(*given: Any, **more: Any) -> None:
        if sent:
            real(*given, **more)
        raise PowerCut

    monkeypatch.setattr(world.app.upstream, call, cutting)


def run_until_cut(world: World) -> None:
    with pytest.raises(PowerCut):
        world.run(600)


# Announced before it is sent


@each_once
def test_intent_is_durable_before_the_call(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str, call: str, then: str, sent_unheard: int
) -> None:
    operation = ask(world, kind)
    seen = count(world, call, monkeypatch)
    assert world.done(operation).state is State.SUCCEEDED
    (at_the_call,) = seen
    assert (at_the_call.id, at_the_call.step, at_the_call.sent) == (operation, then, True)
    assert at_the_call.job_id == ""
    assert [line for line in world.timeline(operation) if line.startswith(f'intent {{"then": "{then}"')]


def test_evidence_is_durable_before_the_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.sandbox.add_vm()
    world.done(world.order("1"))
    order = world.order("2")
    seen = count(world, "create", monkeypatch)
    looked, there = world.sandbox.create, []

    def look(*given: Any) -> Any:
        there.append(world.app.store.read(lambda verbs: before(verbs, verbs.operations(1, None)[0])))
        return looked(*given)

    monkeypatch.setattr(world.sandbox, "create", look)
    assert world.done(order).state is State.SUCCEEDED
    (at_the_call,) = seen
    assert there == [{4001, 4002}]
    assert at_the_call.memo["above"] == 1  # the greatest job id known
    assert at_the_call.memo["sent_at"] == world.operation(order).created_at


def test_job_id_is_durable_before_it_is_followed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = count(world, "job", monkeypatch)
    order = world.order()
    world.idle()
    assert [(one.id, one.job_id, one.step) for one in seen[:1]] == [(order, "1", "follow")]


# The process is killed in the middle


@each_once
@pytest.mark.parametrize("sent", [False, True], ids=["before", "after"])
def test_power_cut_loses_and_doubles_nothing(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    call: str,
    then: str,
    sent_unheard: int,
    sent: bool,
) -> None:
    operation = ask(world, kind)
    cut(world, call, monkeypatch, sent=sent)
    arrived = count(world, call, monkeypatch)
    run_until_cut(world)
    assert world.operation(operation).step == then
    world.reopen()
    assert world.done(operation).state is State.SUCCEEDED
    assert len(arrived) == (sent_unheard if sent else 1)
    assert len(world.vmids()) == (0 if call == "delete" else 1)
    assert world.told()[-1].data["operation"] == operation


@pytest.mark.parametrize(("call", "posts"), [("servers", 1), ("job", 1), ("config", 1)])
def test_power_cut_at_a_look_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, call: str, posts: int
) -> None:
    """Within the evidence, at a look at the job, or in the search for a lost one."""
    if call == "config":
        world.sandbox.fault(method="POST", path="/datacenter/server", kind="drop_after")
        world.done(world.order("before"))  # so that a job's id is known
    order = world.order()
    cut(world, call, monkeypatch, sent=True)
    if call == "config":
        world.sandbox.fault(method="POST", path="/datacenter/server", kind="drop_after")
    run_until_cut(world)
    world.reopen()
    assert world.done(order).state is State.SUCCEEDED
    assert len(world.vmids()) == len(world.app.store.read(lambda verbs: verbs.services(9, None)))


def test_restart_ends_the_leases(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one process: whoever had them is dead, and nobody waits for them to run out."""
    operation = ask(world, "service.reinstall")
    cut(world, "reinstall", monkeypatch, sent=True)
    run_until_cut(world)
    assert world.app.advance.claim() is None
    world.reopen()
    assert world.step()
    assert world.done(operation, LEASE_S / 2).state is State.SUCCEEDED


def test_lease_runs_out_without_a_restart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = ask(world, "service.reinstall")
    cut(world, "reinstall", monkeypatch, sent=True)
    run_until_cut(world)
    monkeypatch.undo()
    world.run(LEASE_S - 1)
    assert world.operation(operation).state is State.RUNNING
    assert world.done(operation, 60).state is State.SUCCEEDED
    assert world.calls("PUT /datacenter/server/{sid}/reinstall") == 1


# A worker sleeps, and another one takes over


def sleep_in(world: World, monkeypatch: pytest.MonkeyPatch, call: str, *, until: Callable[[], bool]) -> None:
    """The next such call takes longer than the lease: meanwhile somebody else has it to the end."""
    real = getattr(world.app.upstream, call)

    def asleep(*given: Any, **more: Any) -> Any:
        monkeypatch.setattr(world.app.upstream, call, real)
        answer = real(*given, **more)
        world.clock.advance(LEASE_S + 1)
        world.run(600, until=until)
        return answer

    monkeypatch.setattr(world.app.upstream, call, asleep)


@pytest.mark.parametrize("call", ["servers", "create", "job"])
def test_sleeping_worker_writes_nothing_back(
    world: World, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Asleep while it gathers evidence, in the order itself, or at a look at the job."""
    world.done(world.order("before"))  # so that a job's id is known
    order = world.order()
    sleep_in(world, monkeypatch, call, until=lambda: world.operation(order).state is State.SUCCEEDED)
    with capture_logs() as logs:
        world.idle()
    ended = world.operation(order)
    assert ended.state is State.SUCCEEDED
    assert [entry["event"] for entry in logs].count("result_dropped") == 1
    world.run(600)
    assert world.operation(order) == ended
    assert len(world.vmids()) == 2
    assert len(world.told()) == 1
    assert world.calls("POST /datacenter/server") == 2


def test_two_claims_never_give_the_same(world: World) -> None:
    order = world.order()
    first = world.app.advance.claim()
    assert first is not None
    assert world.app.advance.claim() is None
    world.clock.advance(LEASE_S)
    second = world.app.advance.claim()
    assert second is not None
    assert (second.operation.id, second.operation.claims) == (order, first.operation.claims + 1)
    with capture_logs() as logs:
        world.app.advance.advance(first)
    assert [entry["event"] for entry in logs] == ["result_dropped"]
    assert world.calls("POST /datacenter/server") == 0
    world.app.advance.advance(second)
    assert world.calls("POST /datacenter/server") == 1


def test_each_step_renews_the_lease(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of two thirds of a lease each, and nobody takes it away."""
    world.done(world.order())
    world.sandbox.power(4001, "stopped")
    terminate = world.event("service.terminate")
    claims: list[Claimed | None] = []
    real = world.sandbox.config

    def slow(vmid: int) -> dict[str, Any]:
        world.clock.advance(LEASE_S * 2 / 3)
        claims.append(world.app.advance.claim())
        return real(vmid)

    monkeypatch.setattr(world.sandbox, "config", slow)
    assert world.done(terminate).state is State.SUCCEEDED
    assert len(claims) > 1  # when it begins, and again right before its end
    assert set(claims) == {None}


def test_person_takes_it_from_the_worker(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled between a worker's looks: its intent comes too late, so nothing is sent."""
    operation = ask(world, "service.reinstall")
    real = world.sandbox.config

    def cancelling(vmid: int) -> dict[str, Any]:
        world.app.commands.cancel(operation, "anna")
        return real(vmid)

    monkeypatch.setattr(world.sandbox, "config", cancelling)
    world.idle()
    assert world.operation(operation).state is State.CANCELLED
    assert world.calls("PUT /datacenter/server/{sid}/reinstall") == 0


# The store does not take it


class Failing:
    """Lets the store refuse so many writes, kept or not, once a call of the upstream was made."""

    def __init__(self, world: World, times: int, *, keeps: bool) -> None:
        self._write = world.app.store.write
        self.times = times
        self.keeps = keeps
        self.armed = False

    def __call__(self, unit: Callable[[Verbs], Any]) -> Any:
        if not (self.armed and self.times):
            return self._write(unit)
        self.times -= 1
        if self.keeps:
            self._write(unit)
        raise StoreUnavailable("it may or may not have been kept")


@pytest.mark.parametrize("keeps", [False, True], ids=["not kept", "kept"])
@pytest.mark.parametrize("times", [1, 2, 3, 4])
def test_job_id_survives_a_failing_store(
    world: World, monkeypatch: pytest.MonkeyPatch, times: int, keeps: bool
) -> None:
    """A few tries later it is kept; if it is not, the job is looked for as a lost one."""
    world.done(world.order("before"))
    failing = Failing(world, times, keeps=keeps)
    real = world.sandbox.create

    def arming(spec: Any) -> Any:
        failing.armed = True
        return real(spec)

    monkeypatch.setattr(world.sandbox, "create", arming)
    monkeypatch.setattr(world.app.store, "write", failing)
    order = world.order()
    for _ in range(10):  # a claim or an acceptance that the store refuses comes again
        try:
            world.run(LEASE_S * 2)
        except StoreUnavailable:
            continue
    assert world.operation(order).state is State.SUCCEEDED
    assert world.calls("POST /datacenter/server") == 2
    assert len(world.vmids()) == 2
    was_lost = any(line.startswith("lost_create") for line in world.timeline(order))
    assert was_lost == (times > 2 and not keeps)


def test_unkept_intent_sends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    order = world.order()
    claimed = world.app.advance.claim()
    assert claimed is not None
    refusing = Failing(world, 99, keeps=False)
    refusing.armed = True
    monkeypatch.setattr(world.app.store, "write", refusing)
    with capture_logs() as logs:
        world.app.advance.advance(claimed)
    assert logs[-1]["event"] == "write_back_failed"
    assert world.calls("POST /datacenter/server") == 0
    monkeypatch.undo()
    world.clock.advance(LEASE_S)
    assert world.done(order).state is State.SUCCEEDED


@each_once
def test_process_that_stood_still_at_the_intent_sends_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str, call: str, then: str, sent_unheard: int
) -> None:
    """Frozen while it was committed: by the time it goes on, another one may have sent it."""
    operation = ask(world, kind)
    real, sent = world.app.store.write, count(world, call, monkeypatch)
    seen: list[str] = []

    def freeze(unit: Callable[[Verbs], Any]) -> Any:
        result = real(unit)
        if world.operation(operation).step == then and not seen:
            seen.append("frozen")
            world.clock.advance(LEASE_S)
        return result

    monkeypatch.setattr(world.app.store, "write", freeze)
    with capture_logs() as logs:
        while not seen:
            if not (world.step() or world.post()):
                world.clock.now = world._next_at() or world.clock.now
    assert sent == []
    assert "result_dropped" in [entry["event"] for entry in logs]
    monkeypatch.setattr(world.app.store, "write", real)
    assert world.done(operation).state is State.SUCCEEDED


# Deliveries


def test_delivery_is_repeated_after_a_power_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was accepted, and nobody wrote that down: it comes once more, the same in id and body."""
    order = world.order()
    real = world.app.billings["shop"].deliver

    def cutting(*given: Any) -> None:
        real(*given)
        raise PowerCut

    monkeypatch.setattr(world.app.billings["shop"], "deliver", cutting)
    run_until_cut(world)
    assert world.operation(order).state is State.DELIVERING
    world.reopen()
    assert world.done(order).state is State.SUCCEEDED
    first, second = world.told()
    assert (first.webhook_id, first.body) == (second.webhook_id, second.body)
    assert json.loads(first.body)["data"]["password"] == world.sandbox.state()["vms"][0]["password"]


def test_restart_ends_the_lease_of_any_try(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second try was under way: it is made again at once, not after its lease."""
    world.billing.answer_with(500, times=1)
    order = world.order()
    world.run(60, until=lambda: len(world.billing.deliveries) == 1)

    def cutting(*_: Any) -> None:
        raise PowerCut

    monkeypatch.setattr(world.app.billings["shop"], "deliver", cutting)
    run_until_cut(world)
    world.reopen()
    assert world.post()
    assert world.operation(order).state is State.SUCCEEDED


def test_sleeping_deliverer_writes_nothing_back(world: World) -> None:
    world.order()
    world.run(60, until=lambda: bool(world.app.store.read(lambda verbs: verbs.count_deliveries())))
    world.app.store.write(lambda verbs: verbs.release_leases(world.clock()))
    assert [one.type for one in world.told()] == ["service.provisioned"]
    change = world.event("service.upgrade", options={"mem": 2048})
    while world.operation(change).state is not State.DELIVERING:
        assert world.step()
    first = world.app.deliver.claim()
    assert first is not None
    assert world.app.deliver.claim() is None
    world.clock.advance(121)
    second = world.app.deliver.claim()
    assert second is not None
    world.app.deliver.deliver(second)
    with capture_logs() as logs:
        world.app.deliver.deliver(first)
    assert [entry["event"] for entry in logs] == ["result_dropped"]
    assert world.operation(change).state is State.SUCCEEDED
    assert [one.webhook_id for one in world.told()[1:]] == [first.id, first.id]
