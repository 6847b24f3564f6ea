"""How long work takes is learnt from the work before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provisioner.operation import State
from provisioner.operations import estimates


def usual(world: Any, operation: str) -> float | None:
    found = world.operation(operation)
    return world.app.store.read(lambda verbs: estimates.usual_s(verbs, found))


def left(world: Any, operation: str) -> float | None:
    found = world.operation(operation)
    return world.app.store.read(lambda verbs: estimates.left_s(verbs, found, world.clock.now))


def noted(world: Any, name: str) -> Any:
    return world.app.store.read(lambda verbs: verbs.fact(f"took:{name}"))


def begun(world: Any, operation: str) -> None:
    world.run(60, until=lambda: world.operation(operation).state is State.WAITING)


def test_first_build_has_no_estimate_and_the_next_has(world: Any) -> None:
    first = world.order("1")
    begun(world, first)
    assert left(world, first) is None
    world.done(first)
    second = world.order("2")
    assert left(world, second) == usual(world, second) == noted(world, "create:vps-s")[0] > 0


def test_estimate_shrinks_while_the_work_goes_on_and_ends_at_nothing(world: Any) -> None:
    world.done(world.order("1"))
    second = world.order("2")
    begun(world, second)
    before = left(world, second)
    world.clock.advance(1)
    assert before is not None
    assert left(world, second) == pytest.approx(before - 1)
    world.clock.advance(1000)
    assert left(world, second) == 0
    world.done(second)
    assert left(world, second) is None


def test_waiting_in_the_queue_is_no_work(world: Any) -> None:
    order = world.order("1")
    world.clock.advance(500)
    world.done(order)
    assert noted(world, "create:vps-s")[0] < 60


def test_plans_and_kinds_are_apart(world: Any) -> None:
    world.done(world.order("1"))
    world.done(world.order("2", plan="vps-l"))
    world.done(world.event("service.backup", "1"))
    world.done(world.event("service.reinstall", "2"))
    assert [len(noted(world, name)) for name in ("create:vps-s", "create:vps-l", "backup:vps-s")] == [1, 1, 1]
    assert len(noted(world, "reinstall:vps-l")) == 1
    assert noted(world, "reinstall:vps-s") is None


def test_short_work_is_not_timed(world: Any) -> None:
    world.done(world.order("1"))
    reboot = world.event("service.reboot", "1")
    world.done(reboot)
    assert usual(world, reboot) is None
    assert noted(world, "reboot:vps-s") is None


def test_work_that_waited_for_a_person_tells_nothing(worlds: Callable[..., Any]) -> None:
    world = worlds(safety={"max_creates_per_hour": 1})
    world.done(world.order("1"))
    held = world.order("2")
    assert world.done(held).state is State.HELD
    world.clock.advance(5000)
    world.app.commands.approve(held, "admin:anna")
    assert world.done(held).state is State.SUCCEEDED
    assert len(noted(world, "create:vps-s")) == 1


def test_retried_work_tells_nothing(world: Any) -> None:
    world.sandbox.settings(fail_next_job={"error": "0xb0: no more"})
    order = world.order("1")
    assert world.done(order).state is State.FAILED
    world.clock.advance(5000)
    world.app.commands.retry(order, "admin:anna")
    assert world.done(order).state is State.SUCCEEDED
    assert noted(world, "create:vps-s") is None


def test_order_that_found_its_vm_there_tells_nothing(world: Any) -> None:
    world.done(world.order("1"))
    world.done(world.order("1"))
    assert len(noted(world, "create:vps-s")) == 1


def test_last_twenty_are_kept_and_the_median_counts(world: Any) -> None:
    world.done(world.order("1"))
    times = [float(number) for number in range(1, 21)]
    world.app.store.write(lambda verbs: verbs.set_fact("took:create:vps-s", times, world.clock.now))
    order = world.order("2")
    assert usual(world, order) == 10.5
    world.done(order)
    kept = noted(world, "create:vps-s")
    assert (len(kept), kept[:2]) == (20, [2.0, 3.0])


def looks(world: Any) -> int:
    return int(sum(n for call, n in world.sandbox.state()["calls"].items() if "/job/" in call))


@pytest.mark.parametrize("build_s", [2.0, 60.0])
def test_learnt_builds_are_looked_at_less_and_noticed_sooner(
    worlds: Callable[..., Any], build_s: float
) -> None:
    world = worlds()
    world.sandbox.settings(job_queued=0.0, job_executing=build_s)
    costs, late_s = [], []
    for number in range(8):
        before, began = looks(world), world.clock.now
        world.done(world.order(str(number)))
        costs.append(looks(world) - before)
        late_s.append((world.clock.now - began) / 1000 - build_s)
    learnt = costs[3:]
    assert sum(learnt) / len(learnt) < 0.75 * costs[0]
    assert sorted(late_s[3:])[len(learnt) // 2] <= 1.0
    if build_s < world.app.settings.upstream.job_poll:
        assert sum(learnt) / len(learnt) <= 1.5


def test_builds_that_become_faster_are_noticed_again(worlds: Callable[..., Any]) -> None:
    world = worlds()
    world.sandbox.settings(job_queued=0.0, job_executing=4.0)
    for number in range(4):
        world.done(world.order(str(number)))
    world.sandbox.settings(job_executing=1.0)
    took_s = []
    for number in range(10, 40):
        began = world.clock.now
        world.done(world.order(str(number)))
        took_s.append((world.clock.now - began) / 1000)
    assert took_s[0] > 3.0
    assert took_s[-1] < 2.0
