"""Promises 2 and 7: a VM whose id was missing once and is there again gets nothing before a person looks."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.operation import Kind, Operation, State
from tests.conftest import World
from tests.integration.test_looks import AtOnce, looking

KINDS: dict[str, dict[str, Any]] = {
    "service.start": {},
    "service.shutdown": {},
    "service.stop": {},
    "service.reboot": {},
    "service.force_reboot": {},
    "service.reset_password": {},
    "service.backup": {},
    "service.set_rdns": {"hostname": "x.example.com"},
    "service.suspend": {},
    "service.reinstall": {},
    "service.upgrade": {"options": {"cpu_cores": 2}},
    "service.terminate": {},
}
KNOWN_AGAIN = {"service.reinstall", "service.upgrade", "service.terminate"}
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def active(world: World) -> World:
    world.done(world.order())
    world.run(60)
    return world


@pytest.fixture
def suspect(active: World) -> World:
    """A service whose VM was missing, and a stranger's VM of the same id."""
    vanish(active)
    active.sandbox.add_vm(vmid=4001)
    return active


def vanish(world: World) -> None:
    """The VM is gone, and one who wanted something of it has noticed."""
    world.sandbox.remove_vm(4001)
    gone = world.done(world.event("service.reboot"))
    assert (gone.state, gone.error_code) == (State.FAILED, "no_such_vm")


def ask(world: World, kind: str) -> str:
    data = dict(KINDS.get(kind, {}))
    if kind == "service.set_rdns":
        data["ip"] = world.service().ips[0]
    return world.event(kind, **data)


def changing(world: World) -> list[str]:
    """The calls that changed something."""
    return [call["path"] for call in world.sandbox.calls() if call["method"] != "GET"]


def is_held(operation: Operation) -> bool:
    return (operation.state, operation.error_code) == (State.HELD, "vm_came_back")


@each_kind
def test_vm_that_came_back_gets_nothing(suspect: World, kind: str) -> None:
    sent = changing(suspect)
    assert is_held(suspect.done(ask(suspect, kind), 3_600))
    assert changing(suspect) == sent
    assert "service.credentials" not in [one.type for one in suspect.told()]


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"service.set_rdns"}))  # this one has another IP
def test_approval_lets_it_go_on_and_forgets_the_suspicion(suspect: World, kind: str) -> None:
    operation = ask(suspect, kind)
    suspect.done(operation)
    suspect.app.commands.approve(operation, "admin:anna", "it is the same")
    assert suspect.done(operation, 90_000).state is State.SUCCEEDED
    if kind in ("service.suspend", "service.terminate"):
        return
    assert suspect.done(ask(suspect, "service.stop")).state is State.SUCCEEDED


def test_vm_that_is_missing_once_more_is_suspect_once_more(suspect: World) -> None:
    stop = suspect.event("service.stop")
    suspect.done(stop)
    suspect.app.commands.approve(stop, "admin:anna")
    suspect.done(stop)
    vanish(suspect)
    suspect.sandbox.add_vm(vmid=4001)
    assert is_held(suspect.done(suspect.event("service.start")))


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - KNOWN_AGAIN))
def test_vm_that_is_missing_still_is_no_such_vm(active: World, kind: str) -> None:
    vanish(active)
    ended = active.done(ask(active, kind))
    assert (ended.state, ended.error_code) == (State.FAILED, "no_such_vm")


def test_error_while_looking_whether_it_came_back_is_no_absence(suspect: World) -> None:
    suspect.sandbox.fault(method="GET", path="/datacenter/server", kind="page", times=3)
    assert is_held(suspect.done(suspect.event("service.reboot")))


def test_retry_of_what_failed_for_the_missing_vm_is_held(suspect: World) -> None:
    (reboot,) = [
        one for one in suspect.app.store.read(lambda verbs: verbs.operations_of_service("shop", "1001"))
        if one.kind is Kind.REBOOT
    ]  # fmt: skip
    sent = changing(suspect)
    suspect.app.commands.retry(reboot.id, "admin:anna")
    assert is_held(suspect.done(reboot.id))
    assert changing(suspect) == sent


def comes_back(world: World) -> None:
    """Another operation's look, or the reconciliation, saw that it was gone; then it is there again."""
    world.sandbox.remove_vm(4001)
    world.clock.advance(61)
    world.app.reconcile.run(fix=False)
    world.sandbox.add_vm(vmid=4001)


AT_STEPS = {
    "service.reboot": ("send", "look", "look_unanswered"),
    "service.stop": ("send", "look"),
    "service.reset_password": ("send", "lost"),
    "service.set_rdns": ("send",),
    "service.backup": ("begin", "make", "listed"),
    "service.restore": ("restored",),
    "service.reinstall": ("lost",),
    "service.upgrade": ("confirm", "settle_power"),
    "service.suspend": ("begin", "shutdown", "watch", "stop"),
    "service.unsuspend": ("start",),
    "service.terminate": ("shutdown", "watch", "stop"),
}


def stand_before(world: World, operation: str, step: str) -> None:
    """Pauses in such a moment that this step is the next one: all before it was done and seen."""
    while world.operation(operation).step != step:
        claimed = world.app.advance.claim()
        if claimed is None:
            world.clock.advance(1)
            continue
        world.app.commands.pause("admin:anna", "")
        world.app.advance.advance(claimed)
        if world.operation(operation).step != step:
            world.app.commands.resume()


def asked(world: World, kind: str, step: str) -> str:
    """An operation of this kind that comes by this step."""
    world.sandbox.settings(shutdown_delay=None, job_executing=300)
    if step in ("lost", "look_unanswered"):
        world.sandbox.fault(method="PUT", kind="drop_before")
    if kind == "service.restore":
        world.done(world.event("service.backup"))
        (vm,) = world.sandbox.state()["vms"]
        return world.event(kind, backup=vm["backups"][0])
    if kind == "service.unsuspend" or step == "settle_power":
        world.done(world.event("service.suspend"))
    return ask(world, kind)


def touching(world: World) -> list[str]:
    """The calls for the VM, reading ones too."""
    return [call["path"] for call in world.sandbox.calls() if "/4001/" in call["path"]]


@pytest.mark.parametrize(
    ("kind", "step"), [(kind, step) for kind, steps in AT_STEPS.items() for step in steps]
)
def test_vm_that_comes_back_in_the_midst_gets_nothing_more(active: World, kind: str, step: str) -> None:
    """Not the forced stop after the grace, nor what is sent again because no answer came, nor a look."""
    operation = asked(active, kind, step)
    stand_before(active, operation, step)
    comes_back(active)
    before = touching(active)
    active.app.commands.resume()
    assert is_held(active.done(operation, 3_600))
    assert touching(active) == before


def test_strangers_job_tells_no_password_to_a_lost_reinstall(active: World) -> None:
    """It names the id that is searched for, and is no operation's."""
    reinstall = asked(active, "service.reinstall", "lost")
    stand_before(active, reinstall, "lost")
    comes_back(active)
    active.app.upstream.reinstall(4001)
    active.clock.advance(400)
    active.app.commands.resume()
    assert is_held(active.done(reinstall))
    assert "service.credentials" not in [one.type for one in active.told()]


def test_undo_of_a_termination_starts_no_vm_that_came_back(active: World) -> None:
    terminate = active.event("service.terminate")
    active.run(120, until=lambda: active.operation(terminate).step == "grace")
    comes_back(active)
    active.sandbox.power(4001, "stopped")
    sent = changing(active)
    assert is_held(active.done(active.event("service.unsuspend")))
    assert changing(active) == sent


def test_second_order_wakes_no_vm_that_came_back(active: World) -> None:
    terminate = active.event("service.terminate")
    active.run(120, until=lambda: active.operation(terminate).step == "grace")
    comes_back(active)
    sent = changing(active)
    assert is_held(active.done(active.order()))
    assert changing(active) == sent


def test_nobody_is_shown_the_vm_that_came_back(suspect: World) -> None:
    before = len(suspect.sandbox.calls())
    looks = looking(suspect, AtOnce())
    for _ in range(2):
        seen = looks.look("shop", "1001")
        assert (seen.vmid, seen.at, seen.size, seen.backups) == (None, None, None, None)
        assert "may be somebody else's" in seen.problem
    assert len(suspect.sandbox.calls()) == before


def test_refresh_takes_no_size_from_the_vm_that_came_back(active: World) -> None:
    """Else it would fit what is on record, and be known again."""
    vanish(active)
    active.sandbox.add_vm(vmid=4001, mem=16384)
    active.app.reconcile.run(fix=True, actor="admin:anna")
    config = active.service().config
    assert config is not None
    assert config.mem == 1024


def test_vm_that_was_never_missing_costs_no_list(active: World) -> None:
    lists = active.calls("GET /datacenter/server")
    for kind in ("service.reboot", "service.stop", "service.start", "service.backup"):
        assert active.done(ask(active, kind)).state is State.SUCCEEDED
    assert active.calls("GET /datacenter/server") == lists
