"""What becomes of a step whose call went wrong: tried again, given up, failed or held (promise 5)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from provisioner.engine.advance import backoff_s
from provisioner.operation import Kind, State
from provisioner.operations import Run, power
from provisioner.operations.kinds import STEPS
from provisioner.service import ServiceStatus
from tests.conftest import World

CREATE = "/datacenter/server"
CONFIG = "/datacenter/server/*/config"


@pytest.fixture
def active(world: World) -> World:
    """A world with service 1001 running."""
    assert world.done(world.order()).state is State.SUCCEEDED
    return world


@pytest.fixture
def hasty(worlds: Callable[..., World]) -> World:
    """The same, with a step given up after an hour."""
    world = worlds(retry={"give_up_after": 3600})
    assert world.done(world.order()).state is State.SUCCEEDED
    return world


def failures_of(world: World, service_id: str = "1001") -> list[dict[str, Any]]:
    return [dict(one.data) for one in world.told(service_id) if one.type == "operation.failed"]


# Passing: the same step again, later


def test_refused_connection_is_tried_again(world: World) -> None:
    world.upstream.go_down()
    order = world.order()
    world.run(30)
    waiting = world.operation(order)
    assert (waiting.state, waiting.sent, waiting.step) == (State.WAITING, False, "send")
    assert waiting.failures >= 3
    world.upstream.come_up()
    assert world.done(order).state is State.SUCCEEDED
    assert world.operation(order).failures == 0
    assert world.calls("POST /datacenter/server") == 1


def test_waits_grow_with_each_failure(world: World) -> None:
    """As `backoff_s` has it with the same random numbers: each failure of the step counts."""
    world.app.advance.rng = random.Random(3)
    expected = random.Random(3)
    world.upstream.go_down()
    order = world.order()
    for failures in range(1, 6):
        world.idle()
        wait_ms = world.operation(order).next_run_at - world.clock.now
        assert wait_ms == int(backoff_s(failures, 2, 300, expected) * 1000)
        assert world.operation(order).attempts == failures
        world.clock.advance(wait_ms / 1000)


def test_upstreams_own_wait_is_honoured(world: World) -> None:
    world.sandbox.fault(kind="rate_limit", path=CREATE, method="POST", retry_after=77)
    order = world.order()
    world.idle()
    assert world.operation(order).next_run_at - world.clock.now == 77_000
    assert world.done(order).state is State.SUCCEEDED
    assert world.calls("POST /datacenter/server") == 2


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "page", "status": 502},
        {"kind": "error", "error": "0xa3: timeout"},
        {"kind": "error", "error": "0xa1: failed"},
        {"kind": "drop_before"},
        {"kind": "drop_after"},
        {"kind": "truncate"},
        {"kind": "garbage"},
        {"kind": "rate_limit"},
    ],
    ids=lambda fault: str(fault["kind"] + fault.get("error", "")[:4]),
)
@pytest.mark.parametrize(
    ("kind", "path"),
    [("service.suspend", "*/shutdown"), ("service.upgrade", "*/change"), ("service.stop", "*/stop")],
)
def test_harmless_call_is_simply_repeated(active: World, fault: dict[str, Any], kind: str, path: str) -> None:
    """Whatever became of it, sending it once more harms nobody, and nobody is told."""
    active.sandbox.fault(path=path, times=2, **fault)
    data: dict[str, Any] = {"options": {"mem": 2048}} if kind == "service.upgrade" else {}
    assert active.done(active.event(kind, **data)).state is State.SUCCEEDED
    assert failures_of(active) == []


def test_step_is_given_up_in_time(hasty: World) -> None:
    """`give_up_after` counts from the step's first failure; a retry begins a new count."""
    change = hasty.event("service.upgrade", options={"mem": 2048})
    hasty.app.commands.pause("anna", "")
    hasty.run(5000)
    hasty.app.commands.resume()
    hasty.sandbox.fault(kind="page", path=CONFIG, times=0)
    began_at = hasty.clock.now
    ended = hasty.done(change, 2 * 3600)
    assert (ended.state, ended.error_code) == (State.FAILED, "unavailable")
    assert 3600 <= (hasty.clock.now - began_at) / 1000 <= 3600 + 300
    assert "given up" in ended.error_detail
    (failure,) = failures_of(hasty)
    assert failure["kind"] == "change"
    assert failure["error"]["message"].endswith("so it is not tried any more.")
    assert failure["retryable"] is True
    hasty.app.commands.retry(change, "admin")
    hasty.run(3000)
    assert hasty.operation(change).state is State.WAITING
    hasty.sandbox.clear_faults()
    assert hasty.done(change).state is State.SUCCEEDED


def test_failures_of_another_step_count_for_themselves(hasty: World) -> None:
    """Trouble that is spread over two steps gives neither up."""
    hasty.sandbox.fault(kind="page", path=CONFIG, times=0)
    change = hasty.event("service.upgrade", options={"mem": 2048})
    hasty.run(3000)
    hasty.sandbox.clear_faults()
    hasty.sandbox.fault(kind="page", path="*/change", times=0)
    hasty.run(3000)
    assert hasty.operation(change).state is State.WAITING
    hasty.sandbox.clear_faults()
    assert hasty.done(change).state is State.SUCCEEDED


def test_pause_counts_for_no_giving_up(hasty: World) -> None:
    hasty.sandbox.fault(kind="page", path=CONFIG, times=0)
    change = hasty.event("service.upgrade", options={"mem": 2048})
    hasty.run(3000)
    hasty.app.commands.pause("anna", "moving house")
    hasty.run(50_000)
    hasty.app.commands.resume()
    hasty.run(300)
    assert hasty.operation(change).state is State.WAITING
    assert hasty.done(change, 1000).state is State.FAILED


# Final: it said no


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        ("0xb0: Requested resources exceed administrative limits", 400, "0xb0"),
        ("0xb1: Missing required parameter template", 401, "0xb1"),
        ("0xff: something new", 500, "0xff"),
    ],
)
def test_refused_order_fails_and_is_told(world: World, error: str, status: int, code: str) -> None:
    world.sandbox.fault(kind="error", path=CREATE, method="POST", error=error, status=status)
    order = world.order()
    ended = world.done(order)
    assert (ended.state, ended.error_code, ended.sent) == (State.FAILED, code, False)
    (failure,) = failures_of(world)
    assert failure["kind"] == "create"
    assert failure["status"] == "failed"
    assert failure["retryable"] is True
    assert failure["operation"] == order
    assert failure["error"]["code"] == code
    assert not any(
        word in failure["error"]["message"].lower() for word in ("venocix", "upstream", "reseller")
    )
    world.app.commands.retry(order, "admin")
    assert world.done(order).state is State.SUCCEEDED
    assert len(world.vmids()) == 1


def test_failed_job_tells_its_code(world: World) -> None:
    world.sandbox.settings(fail_next_job={"error": "0xb0: Requested resources exceed administrative limits"})
    ended = world.done(world.order())
    assert (ended.state, ended.error_code, ended.step) == (State.FAILED, "0xb0", "recheck")
    assert world.service().status == "failed"


# 0x03: believed if the list is refused too


def test_refused_token_pauses_everything(world: World) -> None:
    world.sandbox.settings(token_refused=True)
    orders = [world.order("1"), world.order("2")]
    world.run(100_000)  # longer than a step is tried
    assert [world.operation(order).state for order in orders] == [State.WAITING, State.QUEUED]
    assert world.app.advance.claim() is None
    assert world.billing.deliveries == []
    assert world.app.store.read(lambda verbs: verbs.fact("token_refused")) is not None
    assert [line for line in world.timeline(orders[0]) if "token_refused" in line]
    world.app.ticks.probe_token()
    assert world.app.advance.claim() is None  # refused still
    world.sandbox.settings(token_refused=False)
    world.app.ticks.probe_token()
    assert [world.done(order).state for order in orders] == [State.SUCCEEDED] * 2
    assert world.calls("POST /datacenter/server") == 2
    assert len(world.vmids()) == 2


def test_pause_stops_what_runs(active: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step that runs ends; the next one, which would send something, waits."""
    real = active.sandbox.config

    def pausing(vmid: int) -> dict[str, Any]:
        active.app.commands.pause("anna", "")
        return real(vmid)

    monkeypatch.setattr(active.sandbox, "config", pausing)
    change = active.event("service.upgrade", options={"mem": 2048})
    active.run(600)
    waiting = active.operation(change)
    assert (waiting.state, waiting.step, waiting.sent) == (State.WAITING, "send", False)
    monkeypatch.undo()
    active.app.commands.resume()
    assert active.done(change).state is State.SUCCEEDED


def test_probe_needs_a_clear_answer(world: World) -> None:
    world.sandbox.settings(token_refused=True)
    world.order()
    world.idle()
    world.sandbox.fault(kind="page", path=CREATE, method="GET", times=1)
    world.sandbox.settings(token_refused=False)
    world.app.ticks.probe_token()
    assert world.app.advance.claim() is None
    world.app.ticks.probe_token()
    assert world.step()


def test_probe_asks_only_when_refused(world: World) -> None:
    world.app.commands.pause("anna", "")
    world.app.ticks.probe_token()
    assert world.sandbox.calls() == []


def test_two_reasons_must_both_end(world: World) -> None:
    world.sandbox.settings(token_refused=True)
    order = world.order()
    world.idle()
    world.app.commands.pause("anna", "")
    world.sandbox.settings(token_refused=False)
    world.app.ticks.probe_token()
    assert world.app.advance.claim() is None
    world.app.commands.resume()
    assert world.done(order).state is State.SUCCEEDED


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "error", "error": "0x03: unauthorized", "status": 401},
        {"kind": "page", "status": 403},
        {"kind": "page", "status": 401},
    ],
    ids=lambda fault: f"{fault['kind']} {fault['status']}",
)
def test_one_refused_call_is_held(active: World, fault: dict[str, Any]) -> None:
    """The token works elsewhere, so that is not the account's trouble but this operation's."""
    active.sandbox.fault(path=CONFIG, **fault)
    change = active.event("service.upgrade", options={"mem": 2048})
    held = active.done(change)
    assert (held.state, held.error_code) == (State.HELD, "0x03")
    assert "token works elsewhere" in held.error_detail
    assert active.told()[-1].type == "operation.held"
    assert active.done(active.order("2")).state is State.SUCCEEDED  # nobody else waits
    active.app.commands.approve(change, "admin")
    assert active.done(change).state is State.SUCCEEDED


def test_refusal_without_confirmation_is_tried_again(active: World) -> None:
    """The list cannot be read: neither is believed."""
    active.sandbox.fault(kind="error", path=CONFIG, error="0x03: unauthorized", status=401)
    active.sandbox.fault(kind="page", path=CREATE, method="GET", after=1)
    change = active.event("service.upgrade", options={"mem": 2048})
    active.idle()
    assert active.operation(change).state is State.WAITING
    assert active.done(change).state is State.SUCCEEDED


# 0x01: believed if the list agrees


def test_gone_vm_fails_what_needs_it(active: World) -> None:
    active.sandbox.remove_vm(4001)
    ended = active.done(active.event("service.start"))
    assert (ended.state, ended.error_code) == (State.FAILED, "no_such_vm")
    assert "the list agrees" in ended.error_detail


def test_gone_vm_that_is_listed_is_tried_again(active: World) -> None:
    active.sandbox.fault(kind="error", path="*/start", error="0x01: no vm with id 4001 found", status=404)
    active.sandbox.power(4001, "stopped")
    start = active.event("service.start")
    active.idle()
    assert active.operation(start).state is State.WAITING
    assert "in the list" in "".join(active.timeline(start))
    assert active.done(start).state is State.SUCCEEDED


def test_vm_that_was_missing_is_suspect(active: World) -> None:
    """A good list did not have it: when its id comes back, it may be somebody else's (promise 7)."""
    active.sandbox.remove_vm(4001)
    active.done(active.event("service.start"))
    active.sandbox.add_vm(vmid=4001)
    held = active.done(active.event("service.reinstall"))
    assert (held.state, held.error_code) == (State.HELD, "vm_came_back")


# A mistake of ours


def test_broken_step_is_held(active: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Run) -> None:
        raise KeyError("a mistake with 'secrets' in its words")

    monkeypatch.setitem(STEPS, Kind.START, {**power.STEPS, "send": broken})
    start = active.event("service.start")
    held = active.done(start)
    assert (held.state, held.error_code, held.step) == (State.HELD, "internal_error", "send")
    assert "KeyError" in held.error_detail
    assert "secrets" not in "".join(active.timeline(start))
    assert active.told()[-1].data["error"]["code"] == "internal_error"
    monkeypatch.undo()
    active.app.commands.approve(start, "admin")
    assert active.done(start).state is State.SUCCEEDED


def test_mistake_after_the_intent_is_looked_into(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held at the step that looks for what was sent, never at the one that sends."""

    def broken(*_: object) -> str:
        raise RuntimeError

    monkeypatch.setattr(world.app.upstream, "create", broken)
    held = world.done(world.order())
    assert (held.state, held.error_code, held.step, held.sent) == (State.HELD, "internal_error", "lost", True)


def test_what_an_order_changes_is_stored_with_its_intent(world: World) -> None:
    """A service that is made anew is pending, under its new name, before anything is sent."""
    world.done(world.order(hostname="old.example.com"))
    world.done(world.event("service.terminate", immediate=True))
    real, seen = world.sandbox.create, []

    def creating(spec: Any) -> Any:
        service = world.service()
        seen.append((service.status, service.hostname))
        return real(spec)

    world.sandbox.create = creating  # type: ignore[method-assign]
    world.done(world.order(hostname="new.example.com", recreate=True))
    assert seen == [(ServiceStatus.PENDING, "new.example.com")]
    assert world.service().status is ServiceStatus.ACTIVE
