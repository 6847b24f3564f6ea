"""What a customer wanted now is not done tomorrow: `action_ttl` (contract, section 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provisioner.operation import State
from provisioner.store.verbs import Verbs
from tests.conftest import World

TTL_S = 900


@pytest.fixture
def active(world: World) -> World:
    world.done(world.order())
    world.sandbox.power(4001, "stopped")
    return world


def expire_after(world: World, seconds: float) -> None:
    world.clock.advance(seconds)
    world.app.ticks.expire()


@pytest.mark.parametrize(
    ("kind", "expires"),
    [
        ("service.start", True),
        ("service.shutdown", True),
        ("service.stop", True),
        ("service.reboot", True),
        ("service.force_reboot", True),
        ("service.reset_password", True),
        ("service.reinstall", True),
        ("service.restore", True),
        ("service.suspend", False),
        ("service.unsuspend", False),
        ("service.terminate", False),
        ("service.backup", False),
        ("service.upgrade", False),
        ("service.set_rdns", False),
        ("order.paid", False),
    ],
)
def test_actions_expire_and_orders_do_not(active: World, kind: str, expires: bool) -> None:
    data = {
        "service.restore": {"backup": 1},
        "service.upgrade": {"options": {"mem": 2048}},
        "service.set_rdns": {"ip": "192.0.2.1", "hostname": "web1.example.com"},
        "order.paid": {"plan": "vps-s"},
    }
    active.app.commands.pause("anna", "")
    operation = active.event(kind, **data.get(kind, {}))  # type: ignore[arg-type]
    expire_after(active, TTL_S - 0.001)
    assert active.operation(operation).state is State.QUEUED
    expire_after(active, 0.001)
    ended = active.operation(operation)
    assert (ended.state, ended.error_code) == ((State.FAILED, "expired") if expires else (State.QUEUED, ""))


def test_expired_one_is_told_and_not_done(active: World) -> None:
    """During a pause, too: the delivery goes out, the VM stays as it is."""
    active.app.commands.pause("anna", "")
    start = active.event("service.start")
    expire_after(active, TTL_S)
    active.idle()
    (told,) = [one for one in active.told() if one.type == "operation.failed"]
    assert (told.data["operation"], told.data["error"]["code"], told.data["retryable"]) == (
        start,
        "expired",
        True,
    )
    active.app.commands.resume()
    active.run(60)
    assert active.sandbox.state()["vms"][0]["power"] == "stopped"


def test_what_has_begun_does_not_expire(active: World) -> None:
    active.sandbox.power(4001, "running")
    active.clock.advance(60)
    active.sandbox.fault(kind="drop_before", path="*/reboot")
    reboot = active.event("service.reboot")
    active.idle()
    assert active.operation(reboot).sent
    expire_after(active, 2 * TTL_S)
    assert active.done(reboot).state is State.SUCCEEDED


def test_what_begins_at_that_moment_does_not_expire(active: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was seen to be late, and was sent before that was written down."""
    active.sandbox.power(4001, "running")
    active.sandbox.fault(kind="drop_before", path="*/reboot")
    reboot = active.event("service.reboot")
    read = active.app.store.read

    def stale(unit: Callable[[Verbs], Any]) -> Any:
        seen = read(unit)
        monkeypatch.undo()
        assert active.step()
        return seen

    monkeypatch.setattr(active.app.store, "read", stale)
    expire_after(active, TTL_S)
    assert (active.operation(reboot).state, active.operation(reboot).sent) == (State.WAITING, True)


def test_what_waits_behind_another_expires(active: World) -> None:
    active.sandbox.fault(kind="page", path="*/config", times=0)
    change = active.event("service.upgrade", options={"mem": 2048})
    start = active.event("service.start")
    active.idle()
    expire_after(active, TTL_S)
    assert active.operation(start).error_code == "expired"
    assert active.operation(change).state is State.WAITING


def test_refused_token_is_no_beginning(active: World) -> None:
    active.sandbox.settings(token_refused=True)
    start = active.event("service.start")
    active.idle()
    assert not active.operation(start).sent
    expire_after(active, TTL_S)
    assert active.operation(start).error_code == "expired"


def test_failing_reads_are_no_beginning(active: World) -> None:
    """A reinstall begins with looks at the VM: a day later nobody wants it any more."""
    active.sandbox.fault(kind="page", path="*/config", times=0)
    reinstall = active.event("service.reinstall")
    active.run(TTL_S - 300)
    active.clock.advance(300)
    active.app.ticks.expire()
    assert active.operation(reinstall).error_code == "expired"
    active.sandbox.clear_faults()
    active.run(600)
    assert active.calls("PUT /datacenter/server/{sid}/reinstall") == 0


def test_worker_that_has_it_sends_nothing(active: World) -> None:
    """It expires while a worker is between its looks: the intent comes too late."""
    start = active.event("service.start")
    claimed = active.app.advance.claim()
    assert claimed is not None
    expire_after(active, TTL_S)
    active.app.advance.advance(claimed)
    assert active.operation(start).error_code == "expired"
    assert active.calls("PUT /datacenter/server/{sid}/start") == 0


def test_retried_one_has_its_time_again(active: World) -> None:
    active.app.commands.pause("anna", "")
    start = active.event("service.start")
    expire_after(active, TTL_S)
    active.app.commands.retry(start, "admin")
    expire_after(active, TTL_S - 1)
    assert active.operation(start).state is State.QUEUED
    active.app.commands.resume()
    assert active.done(start).state is State.SUCCEEDED
