"""Ticks that are done once, however many processes serve the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from provisioner import app as wiring
from provisioner.config import parse
from provisioner.engine.turns import LEASE_MS, Turns
from provisioner.store.sqlite import SqliteStore
from tests.conftest import Clock, World
from tests.postgres import Postgres

EVERY_S = 300.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "provisioner.db")
    yield store
    store.close()


class Node:
    def __init__(self, store: SqliteStore, clock: Clock) -> None:
        self.done = 0
        self.tick = Turns(store, clock).taking("templates", EVERY_S, self.do)

    def do(self) -> None:
        self.done += 1


def test_tick_is_one_nodes(store: SqliteStore, clock: Clock) -> None:
    first, second = Node(store, clock), Node(store, clock)
    first.tick()
    second.tick()
    clock.advance(EVERY_S)
    second.tick()
    first.tick()
    assert (first.done, second.done) == (1, 1)


def test_turn_lasts_while_it_is_done(store: SqliteStore, clock: Clock) -> None:
    other = Node(store, clock)

    def slowly() -> None:
        clock.advance(LEASE_MS / 1000 - 1)
        other.tick()

    Turns(store, clock).taking("templates", 5.0, slowly)()
    assert other.done == 0
    other.tick()
    assert other.done == 1  # five seconds are over long since


def test_turn_of_a_dead_node_ends(store: SqliteStore, clock: Clock) -> None:
    dead = Turns(store, clock)
    store.write(lambda verbs: dead._take(verbs, "turn:templates", 4500))
    other = Node(store, clock)
    other.tick()
    assert other.done == 0
    clock.advance(LEASE_MS / 1000)
    other.tick()
    assert other.done == 1


def test_late_node_does_not_end_anothers_turn(store: SqliteStore, clock: Clock) -> None:
    """It stood still within its turn, and another one has taken the next."""
    other = Node(store, clock)

    def stand_still() -> None:
        clock.advance(EVERY_S)
        other.tick()

    Turns(store, clock).taking("templates", EVERY_S, stand_still)()
    third = Node(store, clock)
    third.tick()
    assert (other.done, third.done) == (1, 0)


def test_broken_tick_ends_its_turn(store: SqliteStore, clock: Clock) -> None:
    def break_off() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        Turns(store, clock).taking("templates", 5.0, break_off)()
    clock.advance(5)
    other = Node(store, clock)
    other.tick()
    assert other.done == 1


def test_two_nodes_take_turns(worlds: Callable[..., World], postgres: Postgres) -> None:
    """As they are wired: what is done once, and what each node does for itself."""
    world = worlds(store={"url": postgres.empty()})
    settings = parse(world.tables, name="config.toml", folder=world.folder, environ={})
    with closing(wiring.build(settings, world.clock)) as second:
        for app in (world.app, second):
            ticks = {tick.name: tick.do for tick in app.worker.ticks}
            assert ticks.keys() > wiring.ONCE
            ticks["templates"]()
            ticks["look"]()
        assert world.calls("GET /datacenter/templates") == 1
        assert world.app.alerts.looked_at == second.alerts.looked_at == world.clock()


def test_only_process_takes_no_turns(world: World) -> None:
    ticks = {tick.name: tick.do for tick in world.app.worker.ticks}
    ticks["templates"]()
    ticks["templates"]()
    assert world.calls("GET /datacenter/templates") == 2


def test_service_that_is_restarted_each_hour_does_all_that_it_does_by_the_clock(world: World) -> None:
    assert {tick.name for tick in world.app.worker.ticks} >= {"reconcile", "retention"}
    assert [tick.name for tick in world.app.worker.ticks if tick.first_s > 600] == []
