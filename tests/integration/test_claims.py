"""A result is written down and the next thing claimed in one transaction, and neither harms the other."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from provisioner.operation import State
from provisioner.operations import lost_create
from provisioner.store.sqlite import SqliteStore
from provisioner.store.verbs import Verbs
from tests.conftest import World
from tests.heard import capture_logs


def always() -> bool:
    return True


def raw(world: World) -> sqlite3.Connection:
    """What the writer writes with."""
    store: SqliteStore = world.app.store._store  # type: ignore[attr-defined]
    return store._writer.raw


def claim(world: World) -> Any:
    claimed = world.app.advance.claim()
    assert claimed is not None
    return claimed


@pytest.fixture
def orders(world: World) -> list[str]:
    """Three that wait; and one before, so that a job's id is known."""
    world.done(world.order("before"))
    return [world.order(str(number)) for number in range(3)]


@pytest.fixture
def writes(world: World, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One for each transaction from now on."""
    made: list[None] = []
    write = world.app.store.write

    def counting(unit: Callable[..., Any]) -> Any:
        made.append(None)
        return write(unit)

    monkeypatch.setattr(world.app.store, "write", counting)
    return made


def test_sent_order_brings_the_next(world: World, orders: list[str], writes: list[None]) -> None:
    first = claim(world)
    before = len(writes)
    second = world.app.advance.advance(first, always)
    with_claim, before = len(writes) - before, len(writes)
    assert second is not None
    assert [first.operation.id, second.operation.id] == orders[:2]
    states = [world.operation(order).state for order in orders]
    assert states == [State.WAITING, State.RUNNING, State.QUEUED]
    assert world.app.advance.advance(second) is None
    assert len(writes) - before == with_claim  # to claim took no transaction more


def test_whether_an_order_may_be_sent_is_asked_with_its_intent(
    world: World, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before might not hold any more when it is announced."""
    piece, real = claim(world), world.app.upstream.create
    reads: list[None] = []
    monkeypatch.setattr(world.app.store, "read", lambda _unit: reads.append(None))

    def create(spec: Any) -> str:
        monkeypatch.undo()
        return real(spec)

    monkeypatch.setattr(type(world.app.upstream), "create", lambda _, spec: create(spec))
    assert world.app.advance.advance(piece) is None
    assert world.operation(orders[0]).job_id
    assert not reads


def test_told_delivery_brings_the_next(world: World, orders: list[str]) -> None:
    while any(world.operation(order).state is not State.DELIVERING for order in orders):
        world.clock.advance(1)
        world.step()
    first = world.app.deliver.claim()
    assert first is not None
    second = world.app.deliver.deliver(first, always)
    assert second is not None
    assert second.operation != first.operation
    assert world.app.deliver.deliver(second) is None
    assert sorted(len(world.told(str(number))) for number in range(3)) == [0, 1, 1]


def test_nothing_is_claimed_while_work_is_paused(world: World, orders: list[str]) -> None:
    first = claim(world)
    world.app.commands.pause("anna", "")
    assert world.app.advance.advance(first, always) is None
    assert world.operation(orders[1]).state is State.QUEUED


def test_dropped_result_claims_nothing(world: World, orders: list[str]) -> None:
    first = claim(world)
    mine = first.operation
    taken_over = replace(mine, claims=mine.claims + 1)
    world.app.store.write(lambda verbs: verbs.save_operation(taken_over, fence=mine.claims))
    with capture_logs() as logs:
        assert world.app.advance.advance(first, always) is None
    assert [entry["event"] for entry in logs] == ["result_dropped"]
    assert world.operation(orders[1]).state is State.QUEUED


def test_broken_claim_costs_no_job(world: World, orders: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Another operation's row cannot be read: the answer of this one's call is kept all the same."""
    first = claim(world)
    monkeypatch.setattr(type(world.app.advance), "_claim", broken)
    with capture_logs() as lines:
        assert world.app.advance.advance(first, always) is None
    assert [line["error"] for line in lines if line["event"] == "result_written_again"] == ["ValueError"]
    assert world.operation(first.operation.id).job_id
    monkeypatch.undo()
    assert world.done(first.operation.id).state is State.SUCCEEDED
    assert not any(line.startswith("lost_create") for line in world.timeline(first.operation.id))


def test_broken_claim_tells_nothing_twice(
    world: World, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    while (delivery := world.app.deliver.claim()) is None:
        world.clock.advance(1)
        world.step()
    monkeypatch.setattr(type(world.app.deliver), "_claim", broken)
    assert world.app.deliver.deliver(delivery, always) is None
    monkeypatch.undo()
    assert world.operation(delivery.operation).state is State.SUCCEEDED
    world.run(600)
    assert len(world.told(delivery.service_id)) == 1


def broken(*_: object) -> None:
    raise ValueError("a row that cannot be read")


DAMAGES = {
    "service": "UPDATE services SET spec = '{' WHERE service_id = '0'",
    "service gone": "DELETE FROM services WHERE service_id = '0'",
    "operation": "UPDATE operations SET args = '{' WHERE service_id = '0'",
    "kind of a newer version": "UPDATE operations SET kind = 'teleport' WHERE service_id = '0'",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_row_that_cannot_be_read_holds_up_no_other(world: World, orders: list[str], damage: str) -> None:
    """Its operation stays leased, or else each claim would find it again."""
    raw(world).execute("PRAGMA ignore_check_constraints = 1")
    raw(world).execute("PRAGMA foreign_keys = 0")
    raw(world).execute(DAMAGES[damage])
    with capture_logs() as logs:
        for _ in range(60):
            world.clock.advance(1)
            world.idle()
    said = [entry["error"] for entry in logs if entry["event"] == "row_unreadable"]
    assert len(said) == 1
    assert orders[0] in said[0] or "shop/0 " in said[0]
    assert [world.operation(order).state for order in orders[1:]] == [State.SUCCEEDED] * 2


def test_delivery_that_cannot_be_read_holds_up_no_other(world: World, orders: list[str]) -> None:
    raw(world).execute(
        "CREATE TEMP TRIGGER damage AFTER INSERT ON main.deliveries WHEN new.service_id = '0' "
        "BEGIN UPDATE deliveries SET data = '{' WHERE id = new.id; END"
    )
    with capture_logs() as logs:
        for _ in range(60):
            world.clock.advance(1)
            world.idle()
    (said,) = [entry["error"] for entry in logs if entry["event"] == "row_unreadable"]
    assert said.startswith("the delivery msg_")
    assert [service for service in "012" if world.told(service)] == ["1", "2"]


def test_intent_that_is_begun_anew_keeps_nothing_of_what_was_judged_before(
    world: World, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its batch was lost with the database, say, and by now another order is unknown."""
    piece, write, engine = claim(world), world.app.store.write, raw(world)
    is_fenced = itertools.chain([False], itertools.repeat(True))

    def anew(unit: Callable[..., Any]) -> Any:
        def twice(verbs: Verbs) -> Any:
            engine.execute("SAVEPOINT before")
            unit(verbs)
            engine.execute("ROLLBACK TO before")
            return unit(verbs)

        return write(twice)

    monkeypatch.setattr(world.app.store, "write", anew)
    monkeypatch.setattr(lost_create, "_fenced", lambda *_: next(is_fenced))
    assert world.app.advance.advance(piece) is None
    kept = world.operation(orders[0])
    assert (kept.step, kept.sent, kept.memo["waits_for"]) == ("send", False, "another_order")
    assert "sent_at" not in kept.memo
