"""The brakes of `[safety]`: beyond a number in an hour a person looks first (contract, sections 2 and 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provisioner.operation import Kind, State
from provisioner.operations import brakes
from tests.conftest import World

HOUR_S = 3600


@pytest.fixture
def world(worlds: Callable[..., World]) -> World:
    return worlds(safety={"max_creates_per_hour": 2, "max_suspensions_per_hour": 1, "suspend_grace": 1})


def states(world: World, *operations: str) -> list[tuple[str, str]]:
    return [(world.operation(one).state.value, world.operation(one).error_code) for one in operations]


def brake(world: World, kind: Kind) -> dict[str, Any]:
    shown = world.app.store.read(lambda verbs: brakes.overview(verbs, world.app.settings, world.clock()))
    return next(one for one in shown if one["kind"] == kind.value)


PASSED, HELD = ("succeeded", ""), ("held", "brake")


def test_one_too_many_is_held(world: World) -> None:
    orders = [world.order(str(number)) for number in range(3)]
    world.run(60)
    assert states(world, *orders) == [PASSED, PASSED, HELD]
    assert len(world.vmids()) == 2
    assert world.told("2")[-1].data["error"]["code"] == "brake"
    assert brake(world, Kind.CREATE)["tripped_at"] is not None


def test_tripped_brake_waits_for_a_person(world: World) -> None:
    """The hour's end opens it for nobody."""
    orders = [world.order(str(number)) for number in range(3)]
    world.run(60)
    world.clock.advance(2 * HOUR_S)
    later = world.order("later")
    world.run(60)
    assert states(world, orders[2], later) == [HELD, HELD]


def test_reset_releases_nothing_that_is_held(world: World) -> None:
    orders = [world.order(str(number)) for number in range(3)]
    world.run(60)
    world.app.commands.reset_brake(Kind.CREATE)
    assert brake(world, Kind.CREATE) == {"kind": "create", "limit": 2, "count": 0, "tripped_at": None}
    later = [world.order(f"later {number}") for number in range(3)]
    world.run(60)
    assert states(world, orders[2], *later) == [HELD, PASSED, PASSED, HELD]


def test_approved_one_passes_and_resets_nothing(world: World) -> None:
    orders = [world.order(str(number)) for number in range(3)]
    world.run(60)
    world.app.commands.approve(orders[2], "admin", reason="a sale")
    later = world.order("later")
    world.run(60)
    assert states(world, orders[2], later) == [PASSED, HELD]
    assert brake(world, Kind.CREATE)["tripped_at"] is not None


def test_hour_that_passes_makes_room(world: World) -> None:
    first = [world.order(str(number)) for number in range(2)]
    world.run(HOUR_S + 1)
    later = world.order("later")
    world.run(60)
    assert states(world, *first, later) == [PASSED, PASSED, PASSED]
    assert brake(world, Kind.CREATE)["count"] == 1


def test_same_operation_counts_once(world: World) -> None:
    """A step that is tried again asks again; it has passed already."""
    world.done(world.order())
    world.sandbox.fault(kind="page", path="*/status", times=3)
    suspend = world.event("service.suspend")
    assert world.done(suspend).state is State.SUCCEEDED
    assert brake(world, Kind.SUSPEND)["count"] == 1


def test_brakes_are_apart(world: World) -> None:
    orders = [world.order(str(number)) for number in range(3)]
    world.run(60)
    suspends = [world.event("service.suspend", str(number)) for number in range(2)]
    world.run(60)
    assert states(world, orders[2], *suspends) == [HELD, PASSED, HELD]
    assert brake(world, Kind.TERMINATE) == {"kind": "terminate", "limit": 20, "count": 0, "tripped_at": None}


def test_mass_termination_stops_nothing_more(worlds: Callable[..., World]) -> None:
    """Held before anything is sent: the VMs beyond the limit run on."""
    world = worlds(safety={"max_terminations_per_hour": 2, "terminate_grace": 0, "suspend_grace": 1})
    for number in range(5):
        world.order(str(number))
    world.run(60)
    terminates = [world.event("service.terminate", str(number)) for number in range(5)]
    world.run(60)
    assert states(world, *terminates) == [PASSED] * 2 + [HELD] * 3
    assert [vm["power"] for vm in world.sandbox.state()["vms"]] == ["running"] * 3
    assert world.service("4").status == "active"


def test_zero_is_no_limit(worlds: Callable[..., World]) -> None:
    world = worlds(safety={"max_creates_per_hour": 0})
    orders = [world.order(str(number)) for number in range(4)]
    world.run(60)
    assert states(world, *orders) == [PASSED] * 4
