"""What `make soak` found, each made small."""

from __future__ import annotations

from collections.abc import Callable

from provisioner.operation import State
from tests.conftest import World


def test_killed_retry_is_tried_at_once(world: World) -> None:
    """A delivery that failed before and is cut short by a kill does not wait for its lease to end."""
    order = world.order()
    world.billing.answer_with(503, times=1)
    world.run(60, until=lambda: bool(world.billing.deliveries))
    world.clock.advance(10)
    assert world.app.deliver.claim() is not None  # and whoever has it is killed

    world.reopen()
    assert world.post()
    assert [one.data["operation"] for one in world.told()] == [order]


def test_restart_keeps_the_wait_for_a_retry(world: World) -> None:
    """What was not under way is not hurried: a shop that is down is not called at every start."""
    world.order()
    world.billing.answer_with(503, times=1)
    world.run(60, until=lambda: bool(world.billing.deliveries))
    world.reopen()
    assert not world.post()


def test_terminate_knows_a_change_without_answer(worlds: Callable[..., World]) -> None:
    """It was carried out behind a 502, and superseded before it was tried again."""
    world = worlds(safety={"terminate_grace": 0})
    world.done(world.order())
    world.sandbox.fault(kind="page_after", method="PUT", path="*/change", status=502)
    change = world.event("service.upgrade", options={"mem": 2048})
    assert world.step()
    (vm,) = world.sandbox.state()["vms"]
    assert (vm["config"]["mem"], world.operation(change).state) == (2048, State.WAITING)

    terminate = world.event("service.terminate")
    assert world.operation(change).error_code == "superseded"
    assert world.done(terminate).state is State.SUCCEEDED
    assert world.vmids() == []
