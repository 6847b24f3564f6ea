"""Orders under way side by side share the lists that they note before they are sent."""

from __future__ import annotations

import json
import threading
from typing import Any

from provisioner.operation import State
from tests.conftest import World

ORDERS = 8
LIST = "GET /datacenter/server"
POST = "POST /datacenter/server"
LATENCY_S = 0.1  # of every call: long beside what a step takes otherwise, so that they meet


def side_by_side(world: World) -> None:
    """Carries out what is due now, each operation in a thread of its own."""
    claimed = [world.app.advance.claim() for _ in range(ORDERS)]
    threads = [threading.Thread(target=world.app.advance.advance, args=(each,)) for each in claimed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def lists_of(world: World, operation: str) -> list[dict[str, Any]]:
    """The lists in an operation's timeline."""
    lines = [line.partition(" ") for line in world.timeline(operation)]
    calls = [json.loads(detail) for what, _, detail in lines if what == "upstream"]
    return [call for call in calls if call["call"] == "GET datacenter/server"]


def test_few_lists_serve_many_orders_and_none_names_what_they_made(world: World) -> None:
    world.sandbox.settings(latency=LATENCY_S, listed="executing", job_queued=0.0)
    orders = [world.order(f"side-{number}") for number in range(ORDERS)]
    side_by_side(world)
    made = world.calls(LIST)
    assert world.calls(POST) == ORDERS
    assert made < ORDERS / 2
    noted = [lists_of(world, order) for order in orders]
    assert all(len(lists) == 1 for lists in noted)
    assert sum("shared" not in lists[0] for lists in noted) == made
    world.sandbox.settings(latency=0.0)
    for order in orders:
        done = world.done(order)
        assert done.state is State.SUCCEEDED
        assert "listed" not in done.memo  # as long as the account has VMs, and of no use any more
    assert len(world.vmids()) == ORDERS


def test_list_that_fails_is_each_ones_own_failed_read(world: World) -> None:
    world.sandbox.settings(latency=LATENCY_S)
    world.sandbox.fault(kind="page", status=502, method="GET", path="/datacenter/server", times=ORDERS)
    orders = [world.order(f"side-{number}") for number in range(ORDERS)]
    side_by_side(world)
    assert world.calls(POST) == 0
    for order in map(world.operation, orders):
        assert (order.state, order.step, order.sent) == (State.WAITING, "send", False)
        assert order.failures == 1
    world.sandbox.clear_faults()
    world.sandbox.settings(latency=0.0)
    for order in orders:
        assert world.done(order).state is State.SUCCEEDED
    assert world.calls(POST) == ORDERS


def test_shared_list_is_counted_once(world: World) -> None:
    world.sandbox.settings(latency=LATENCY_S)
    for number in range(ORDERS):
        world.order(f"side-{number}")
    side_by_side(world)
    counted = [
        sample.value
        for family in world.app.counts.families()
        for sample in family.samples
        if sample.name == "provisioner_upstream_calls_total" and sample.labels["endpoint"] == "GET server"
    ]
    assert counted == [world.calls(LIST)]
