"""The store beside the upstream: what is told, and the one thing that is stopped (contract, section 1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from provisioner.audit import Origin
from provisioner.engine import pauses, reconcile
from provisioner.errors import UpstreamError
from provisioner.operation import State
from provisioner.operations.missing import missing_fact
from tests.conftest import World


@pytest.fixture
def active(world: World) -> World:
    world.done(world.order())
    world.run(120)
    return world


@pytest.fixture
def suspended(active: World) -> World:
    """A suspended service whose VM was started behind our back."""
    active.done(active.event("service.suspend"))
    active.sandbox.power(4001, "running")
    return active


def compared(world: World, *, fix: bool = False) -> dict[str, Any]:
    return world.app.reconcile.run(fix=fix)


def names(found: dict[str, Any]) -> dict[str, list[int]]:
    return {kind: [one["vmid"] for one in found[kind]] for kind in ("orphans", "ghosts", "drift", "foreign")}


NOTHING: dict[str, list[int]] = {"orphans": [], "ghosts": [], "drift": [], "foreign": []}


def power(world: World) -> str:
    return str(world.sandbox.state()["vms"][0]["power"])


def test_all_well_is_nothing_to_tell(active: World) -> None:
    found = compared(active)
    assert names(found) == NOTHING
    assert found["seen_at"] == active.clock.now
    assert active.app.store.read(lambda verbs: verbs.fact("reconciliation")) == found


def test_foreign_vm_is_counted(active: World) -> None:
    active.sandbox.add_vm()
    assert names(compared(active)) == {**NOTHING, "foreign": [4002]}


def test_vanished_vm_is_a_ghost_and_suspect(active: World) -> None:
    active.sandbox.remove_vm(4001)
    (ghost,) = compared(active)["ghosts"]
    assert (ghost["service_id"], ghost["status"]) == ("1001", "active")
    active.sandbox.add_vm(vmid=4001)
    compared(active)
    held = active.done(active.event("service.terminate"))
    assert (held.state, held.error_code) == (State.HELD, "vm_came_back")


def test_ghosts_remedy_gives_the_service_another_vm(active: World) -> None:
    """A link alone is refused: the service has a VM on record, though it is gone."""
    active.sandbox.remove_vm(4001)
    (ghost,) = compared(active)["ghosts"]
    assert ghost["remedy"].endswith("or unlink it and link another VM")
    another = active.sandbox.add_vm()["vmid"]
    active.app.bindings.unlink("shop", "1001", "admin:anna", "gone")
    link = active.done(active.event("service.link", vmid=another, plan="vps-s"))
    assert (link.state, active.service().vmid) == (State.SUCCEEDED, another)


def test_fresh_vm_may_lag_in_the_list(world: World) -> None:
    """A ghost to be looked at, but no reason to suspect its id later."""
    world.sandbox.settings(list_lag=40)
    world.done(world.order())
    assert names(compared(world))["ghosts"] == [4001]
    assert world.app.store.read(lambda verbs: verbs.fact(missing_fact(4001))) is None


def test_vm_without_its_service_is_an_orphan(active: World) -> None:
    write = active.app.store.write
    write(lambda verbs: verbs.save_service(replace(active.service(), vmid=None)))
    (orphan,) = compared(active)["orphans"]
    assert (orphan["vmid"], orphan["service_id"]) == (4001, "1001")


def test_drift_is_told_by_what_was_asked(active: World) -> None:
    """Against the spec last asked for, never against today's plan."""
    active.sandbox.change(4001, mem=4096)
    (drift,) = compared(active)["drift"]
    assert (drift["what"], drift["asked"], drift["there"]) == ("mem", 1024, 4096)
    assert active.service().config == active.service().spec


def test_fix_refreshes_what_is_known(active: World) -> None:
    active.sandbox.change(4001, mem=4096, ip_count=2)
    compared(active, fix=True)
    service = active.service()
    assert service.config is not None
    assert (service.config.mem, service.config.ip_count, service.ips_complete) == (4096, 2, False)
    assert service.spec is not None
    assert service.spec.mem == 1024


def told(world: World) -> list[tuple[str, str]]:
    """What was told of the power, with its remedy."""
    found = world.app.store.read(lambda verbs: verbs.fact("reconciliation"))
    return [(line["there"], line["remedy"]) for line in found["drift"] if line["what"] == "power"]


def stops(world: World) -> list[tuple[str, str, str]]:
    lines = world.app.store.read(lambda verbs: verbs.audit(10, None))
    return [(line.actor, line.address, line.reason) for line in lines if line.action == "vm.stopped"]


WHY = "it ran, and its service is suspended"


def test_hourly_look_stops_a_suspended_vm_that_runs(suspended: World) -> None:
    suspended.app.reconcile.tick()
    assert power(suspended) == "stopped"
    assert told(suspended) == [("running", "stopped again")]
    assert stops(suspended) == [("service", "", WHY)]


def test_fix_stops_it_in_the_name_of_who_asked(suspended: World) -> None:
    origin = Origin("192.0.2.7", "anna")
    suspended.app.reconcile.run(fix=True, actor="admin:anna", reason="seen running", origin=origin)
    assert power(suspended) == "stopped"
    assert stops(suspended) == [("admin:anna", "192.0.2.7", WHY)]


def test_comparing_alone_sends_nothing_and_says_when_it_is_stopped(suspended: World) -> None:
    compared(suspended)
    assert power(suspended) == "running"
    assert told(suspended) == [("running", "the hourly look stops it, and reconcile --fix at once")]


def test_stop_that_fails_is_told_and_tried_again(suspended: World) -> None:
    suspended.sandbox.fault(kind="rate_limit", path="*/stop")
    suspended.app.reconcile.tick()
    ((_, remedy),) = told(suspended)
    assert remedy.startswith("could not be stopped")
    assert stops(suspended) == []
    suspended.app.reconcile.tick()
    assert power(suspended) == "stopped"


def pause(world: World, name: str) -> None:
    world.app.store.write(lambda verbs: pauses.begin(verbs, name, {}, world.clock()))


def unsuspend_behind_a_fault(world: World) -> None:
    """Somebody is at work on it: it is to run again any moment."""
    world.sandbox.fault(path="*/start", kind="rate_limit")
    world.event("service.unsuspend")
    world.idle()


REASONS: dict[str, Callable[[World], object]] = {
    "a pause": lambda world: world.app.commands.pause("anna", ""),
    "a refused token": lambda world: pause(world, pauses.TOKEN_REFUSED),
    "recovering": lambda world: pause(world, pauses.RECOVERING),
    "work under way": unsuspend_behind_a_fault,
    "another size": lambda world: world.sandbox.change(4001, mem=4096),
    "an id that was missing": lambda world: world.app.store.write(
        lambda verbs: verbs.set_fact(missing_fact(4001), {}, world.clock())
    ),
}


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS)
def test_running_vm_is_left_alone_and_told(suspended: World, reason: Callable[[World], object]) -> None:
    reason(suspended)
    suspended.app.reconcile.tick()
    for fix in (False, True):
        ((there, remedy),) = told(suspended)
        assert there == power(suspended) == "running"
        assert remedy.startswith("left alone")
        compared(suspended, fix=fix)
    assert power(suspended) == "running"


def test_unsuspended_meanwhile_runs_on(suspended: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was suspended when the comparison began."""
    real = suspended.sandbox.config

    def unsuspending(vmid: int) -> dict[str, Any]:
        monkeypatch.setattr(suspended.sandbox, "config", real)
        suspended.done(suspended.event("service.unsuspend"))
        return real(vmid)

    monkeypatch.setattr(suspended.sandbox, "config", unsuspending)
    suspended.app.reconcile.tick()
    assert power(suspended) == "running"
    assert told(suspended) == []


@pytest.mark.parametrize(("fix", "stop"), [(False, []), (True, ["/datacenter/server/4001/stop"])])
def test_nothing_else_is_ever_sent(suspended: World, fix: bool, stop: list[str]) -> None:
    """It never deletes, starts, resizes or reinstalls."""
    suspended.sandbox.add_vm()
    suspended.done(suspended.order("2"))
    suspended.sandbox.remove_vm(4003)
    before = len(suspended.sandbox.calls())
    compared(suspended, fix=fix)
    made = suspended.sandbox.calls()[before:]
    changing = [call["path"] for call in made if call["method"] != "GET"]
    assert changing == stop


def test_unreadable_list_proves_nothing(active: World) -> None:
    found = compared(active)
    active.sandbox.fault(kind="page", path="/datacenter/server")
    with pytest.raises(UpstreamError):
        compared(active)
    active.sandbox.fault(kind="page", path="/datacenter/server")
    active.app.reconcile.tick()
    assert active.app.store.read(lambda verbs: verbs.fact("reconciliation")) == found


def test_more_vms_than_are_looked_at_together_are_all_looked_at(
    active: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "AT_ONCE", 1)
    active.done(active.order("1002"))
    for vmid in (4001, 4002):
        active.sandbox.change(vmid, mem=4096)
    assert names(compared(active)) == {**NOTHING, "drift": [4001, 4002]}


def test_unreadable_vm_spares_the_others(active: World) -> None:
    active.done(active.order("2"))
    active.sandbox.change(4002, mem=4096)
    active.sandbox.fault(kind="page", path="*/4001/config")
    assert names(compared(active)) == {**NOTHING, "drift": [4002]}
