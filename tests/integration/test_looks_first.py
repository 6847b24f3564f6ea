"""Whose job runs upstream is looked at in time, however many wait to begin; and those begin all the same."""

from __future__ import annotations

from tests.conftest import World

ORDERS = 8


def begun(world: World) -> None:
    for number in range(ORDERS):
        world.order(str(number))
        assert world.step()


def claimed(world: World) -> str:
    piece = world.app.advance.claim()
    assert piece is not None
    return piece.operation.job_id


def test_job_is_looked_at_before_what_was_accepted_earlier(world: World) -> None:
    world.order("followed")
    assert world.step()
    for number in range(ORDERS):
        world.order(str(number))
    world.clock.advance(60)
    assert "1" in [claimed(world) for _ in range(2)]


def test_jobs_that_are_due_all_the_time_let_others_begin(world: World) -> None:
    world.sandbox.settings(hang_jobs=True)
    begun(world)
    world.order("new")
    world.clock.advance(60)
    assert "" in [claimed(world) for _ in range(4)]
