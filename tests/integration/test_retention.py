"""Nothing is kept longer than the settings say, and what is kept stays useful."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from provisioner.engine import retention
from provisioner.engine.retention import Retention
from provisioner.errors import WrongState
from provisioner.operation import State

DAY_S = 86_400.0
KEPT = {"bodies": 90, "timelines": 365, "audit": 1095}


@pytest.fixture
def world(worlds: Callable[..., Any]) -> Any:
    return worlds(retention=KEPT)


def prune(world: Any) -> None:
    Retention(world.app.settings, world.app.store, world.clock).prune()


def after(world: Any, days: float) -> None:
    world.clock.advance(days * DAY_S)
    prune(world)


def bodies(world: Any) -> dict[str, str]:
    listed = world.app.store.read(lambda verbs: [verbs.event(e.id) for e in verbs.events(99, None)])
    return {event.webhook_id: event.body for event in listed}


def told(world: Any, operation: str) -> list[dict[str, Any]]:
    return [d.data for d in world.app.store.read(lambda verbs: verbs.deliveries_of_operation(operation))]


def test_bodies_are_kept_so_long_and_no_longer(world: Any) -> None:
    order = world.order()
    world.done(order)
    after(world, 89)
    assert all(bodies(world).values())
    assert all(told(world, order))
    world.event("service.reboot")
    after(world, 2)
    assert {name: bool(body) for name, body in bodies(world).items()} == {"evt-1": False, "evt-2": True}
    assert told(world, order) == [{}]


def test_event_past_its_retention_is_still_known(world: Any) -> None:
    world.done(world.order())
    after(world, 399)
    body = json.dumps({"type": "order.paid", "data": {"service_id": "1001", "plan": "vps-s"}}).encode()
    assert world.app.accept.webhook("shop", "evt-1", body).status == 200
    after(world, 2)
    assert bodies(world) == {}


def test_rejected_event_past_its_retention_is_not_replayed(world: Any) -> None:
    body = json.dumps({"type": "order.paid", "data": {"service_id": "1001", "plan": "gone"}}).encode()
    rejected = json.loads(world.app.accept.webhook("shop", "evt-1", body).body)["event"]
    after(world, 91)
    with pytest.raises(WrongState, match="past its retention"):
        world.app.accept.replay(rejected, "admin:anna")


def test_delivery_past_its_retention_is_not_told_empty(worlds: Any) -> None:
    world = worlds(retry={"deliveries_give_up_after": 3600})
    world.billing.go_down()
    order = world.order()
    world.run(DAY_S, until=lambda: world.operation(order).state is State.FAILED)
    after(world, 91)
    world.billing.come_up()
    with pytest.raises(WrongState, match="past its retention"):
        world.app.commands.retry(order, "admin:anna")
    assert world.told() == []


def test_timelines_of_what_has_ended_go(world: Any) -> None:
    ended = world.order()
    world.done(ended)
    world.app.commands.pause("admin:anna", "")
    waiting = world.event("service.backup")
    after(world, 366)
    assert world.timeline(ended) == []
    assert world.timeline(waiting) != []
    world.app.commands.resume()
    world.done(waiting)
    after(world, 364)
    assert world.timeline(waiting) != []
    after(world, 2)
    assert world.timeline(waiting) == []


def test_what_is_far_behind_is_caught_up_with(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 3)
    monkeypatch.setattr(retention, "MOST_UNITS", 2)
    world.done(world.order())
    for _ in range(9):
        world.event("service.backup")
    after(world, 91)
    assert sum(not body for body in bodies(world).values()) == 6
    prune(world)
    assert not any(bodies(world).values())


def test_second_look_costs_nothing(world: Any) -> None:
    world.done(world.order())
    after(world, 91)
    units: list[Any] = []
    write = world.app.store.write

    class Counting:
        def write(self, unit: Any) -> Any:
            units.append(unit)
            return write(unit)

    Retention(world.app.settings, Counting(), world.clock).prune()  # type: ignore[arg-type]
    assert len(units) == 7  # one for each thing that is pruned
