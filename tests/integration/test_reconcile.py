"""What store and upstream disagree on is told; only a suspended VM that runs is touched."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.errors import UpstreamUnavailable
from provisioner.operation import State


def lines(world: Any, kind: str, *, fix: bool = False) -> list[dict[str, Any]]:
    return list(world.app.reconcile.run(fix=fix)[kind])


def mutating(world: Any) -> list[str]:
    return [call["path"] for call in world.sandbox.calls() if call["method"] != "GET"]


def test_agreement_has_nothing_to_tell(world: Any) -> None:
    world.done(world.order())
    found = world.app.reconcile.run(fix=False)
    assert [found[kind] for kind in ("orphans", "ghosts", "drift", "foreign")] == [[], [], [], []]


def test_suspended_vm_that_runs_is_stopped_again(world: Any) -> None:
    world.done(world.order())
    world.done(world.event("service.suspend"))
    (vmid,) = world.vmids()
    world.sandbox.power(vmid, "running")
    (line,) = lines(world, "drift", fix=True)
    assert (line["what"], line["remedy"]) == ("power", "stopped again")
    assert world.sandbox.state()["vms"][0]["power"] == "stopped"
    assert lines(world, "drift") == []


def test_paused_account_is_only_looked_at(world: Any) -> None:
    world.done(world.order())
    world.done(world.event("service.suspend"))
    world.sandbox.power(world.vmids()[0], "running")
    world.app.commands.pause("admin:admin", "")
    before = mutating(world)
    world.app.reconcile.run(fix=True)
    assert mutating(world) == before


def test_suspended_vm_under_work_is_left_to_it(world: Any) -> None:
    world.done(world.order())
    world.done(world.event("service.suspend"))
    world.sandbox.power(world.vmids()[0], "running")
    world.event("service.unsuspend")
    before = mutating(world)
    world.app.reconcile.run(fix=True)
    assert mutating(world) == before


def test_drift_is_against_the_spec_last_asked_for(world: Any) -> None:
    world.done(world.order())
    world.done(world.event("service.upgrade", options={"mem": 2048}))
    assert lines(world, "drift") == []
    (vm,) = world.vmids()
    world.sandbox.change(vm, mem=4096)
    (line,) = lines(world, "drift")
    assert (line["what"], line["asked"], line["there"]) == ("mem", 2048, 4096)
    before = mutating(world)
    lines(world, "drift", fix=True)
    assert mutating(world) == before
    assert world.service().config.mem == 4096
    assert world.service().spec.mem == 2048


def test_vanished_vm_is_a_ghost_and_suspect_when_back(world: Any) -> None:
    world.done(world.order())
    (vmid,) = world.vmids()
    world.clock.advance(120)
    world.sandbox.remove_vm(vmid)
    (ghost,) = lines(world, "ghosts")
    assert (ghost["service_id"], ghost["vmid"]) == ("1001", vmid)
    world.sandbox.add_vm(vmid=vmid, cpu_cores=1, mem=1024, disk="10G", ip_count=1)
    terminate = world.done(world.event("service.terminate"))
    assert (terminate.state, terminate.error_code) == (State.HELD, "vm_came_back")
    assert world.vmids() == [vmid]


def test_foreign_vm_is_counted_and_never_touched(world: Any) -> None:
    world.sandbox.add_vm(vmid=5000, cpu_cores=1, mem=1024, disk="10G", ip_count=1)
    world.done(world.order())
    assert [line["vmid"] for line in lines(world, "foreign", fix=True)] == [5000]
    assert not [path for path in mutating(world) if "5000" in path]


def test_list_that_cannot_be_read_concludes_nothing(world: Any) -> None:
    world.done(world.order())
    before = world.app.reconcile.run(fix=False)
    world.sandbox.fault(method="GET", path="/datacenter/server", kind="page")
    with pytest.raises(UpstreamUnavailable):
        world.app.reconcile.run(fix=False)
    assert world.app.store.read(lambda verbs: verbs.fact("reconciliation")) == before
    world.sandbox.fault(method="GET", path="/datacenter/server", kind="page")
    world.app.reconcile.tick()
