"""Orders under way side by side share the lists that they note before they are sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from provisioner.operation import State
from provisioner.operations import Run, lost_create
from provisioner.service import Spec
from provisioner.upstream.client import UpstreamClient
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


class Killed(BaseException):
    """The process ended here."""


def test_order_that_waits_for_room_is_in_no_doubt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed as it waits, it was certainly not sent: nobody has to look for it, nor ask a person."""

    def killed(_upstream: object) -> None:
        raise Killed

    order = world.order("1")
    with monkeypatch.context() as patch:
        patch.setattr(UpstreamClient, "room_for_create", killed)
        with pytest.raises(Killed):
            world.step()
    world.reopen()
    assert world.done(order).state is State.SUCCEEDED
    assert not any(line.startswith("lost_create") for line in world.timeline(order))
    assert world.calls(POST) == 1


def test_no_more_orders_are_in_doubt_than_calls_are_in_flight(
    worlds: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent, as far as a process knows that is killed, is what has noted its list and no answer yet."""
    world = worlds(upstream={"max_concurrency": 2})
    for number in range(ORDERS):
        world.order(f"side-{number}")
    note, create, counting, now, most = lost_create.note_there, UpstreamClient.create, threading.Lock(), 0, 0

    def noted(run: Run, there: frozenset[int]) -> None:
        nonlocal now, most
        note(run, there)
        with counting:
            now += 1
            most = max(most, now)

    def answered(self: UpstreamClient, spec: Spec) -> str:
        nonlocal now
        job_id = create(self, spec)
        with counting:
            now -= 1
        return job_id

    monkeypatch.setattr(lost_create, "note_there", noted)
    monkeypatch.setattr(UpstreamClient, "create", answered)
    world.sandbox.settings(latency=LATENCY_S / 5)
    side_by_side(world)
    assert world.calls(POST) == ORDERS
    assert (now, most) == (0, 2)


def test_order_without_room_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    order = world.order("1")
    with monkeypatch.context() as patch:
        patch.setattr(world.app.upstream._creates, "take", lambda _timeout_s: False)  # type: ignore[attr-defined]
        world.step()
    waiting = world.operation(order)
    assert (waiting.state, waiting.step, waiting.sent) == (State.WAITING, "send", False)
    assert any("others are being sent" in line for line in world.timeline(order))
    assert world.done(order).state is State.SUCCEEDED
    assert world.calls(POST) == 1
