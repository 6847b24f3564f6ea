"""`services unlink` and `move`: who has which VM, changed by a person, with nothing sent upstream."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from provisioner.delivery import DeliveryState
from provisioner.engine.advance import service_key
from provisioner.engine.bindings import Moved, Unlinked
from provisioner.errors import NotFound, RequestInvalid, WrongState
from provisioner.operation import Kind, State
from provisioner.operations.lost_create import SPARE
from provisioner.operations.missing import missing_fact
from provisioner.service import Service
from provisioner.store.verbs import SealedCredentials
from tests.conftest import World

NAMES = ("orphans", "ghosts", "drift", "foreign")


@pytest.fixture
def active(world: World) -> World:
    """A service with a VM, made and told."""
    world.done(world.order(hostname="web1.example.com", client={"id": "7"}))
    world.run(120)
    return world


def unlink(world: World, service_id: str = "1001", **more: Any) -> Unlinked:
    return world.app.bindings.unlink("shop", service_id, "admin:anna", "sold", **more)


def move(world: World, to: str = "2002", billing: str = "shop", **more: Any) -> Moved:
    return world.app.bindings.move("shop", "1001", (billing, to), "admin:anna", "merged", **more)


def service_of(world: World, service_id: str, billing: str = "shop") -> Service | None:
    return world.app.store.read(lambda verbs: verbs.service(billing, service_id))


def found(world: World) -> dict[str, list[int]]:
    compared = world.app.reconcile.run(fix=False)
    return {name: [one["vmid"] for one in compared[name]] for name in NAMES if compared[name]}


def sent(world: World) -> list[str]:
    """What was asked of the upstream and was more than a look."""
    return [f"{one['method']} {one['path']}" for one in world.sandbox.calls() if one["method"] != "GET"]


# Unlink


def test_unlinked_service_has_no_vm(active: World) -> None:
    calls = len(active.sandbox.calls())
    done = unlink(active)
    active.run(60)
    service = active.service()
    assert (done.vmid, done.service) == (4001, service)
    assert (service.status, service.vmid, service.ips, service.config) == ("pending", None, (), None)
    assert len(active.sandbox.calls()) == calls
    assert [one.type for one in active.told()] == ["service.provisioned", "service.action"]


def test_unlinked_vm_is_foreign_with_a_note(active: World) -> None:
    unlink(active)
    compared = active.app.reconcile.run(fix=False)
    assert (compared["orphans"], compared["ghosts"]) == ([], [])
    (foreign,) = compared["foreign"]
    assert (foreign["vmid"], foreign["was"]) == (4001, "shop/1001")
    assert (foreign["actor"], foreign["reason"]) == ("admin:anna", "sold")
    assert foreign["means"].startswith("unlinked from shop/1001 on purpose, 20")


def test_linked_then_unlinked_is_foreign(world: World) -> None:
    vmid = world.sandbox.add_vm()["vmid"]
    world.done(world.event("service.link", vmid=vmid, plan="vps-s"))
    unlink(world)
    assert found(world) == {"foreign": [vmid]}


def test_unlinked_spare_is_foreign(world: World) -> None:
    vmid = world.sandbox.add_vm()["vmid"]
    made_for = {"operation": "op_1", "billing": "shop", "service": "1"}
    world.app.store.write(lambda verbs: verbs.set_fact(f"{SPARE}{vmid}", made_for, world.clock()))
    assert found(world) == {"orphans": [vmid]}
    world.done(world.event("service.link", vmid=vmid, plan="vps-s"))
    unlink(world)
    assert found(world) == {"foreign": [vmid]}


def test_id_that_a_new_job_names_has_a_new_owner(worlds: Callable[..., World]) -> None:
    """The unlinked VM is deleted with the provider, its id is given to an order, and that loses it."""
    world = worlds()
    world.sandbox.settings(reuse_vmids=True)
    world.done(world.order("1001"))
    unlink(world)
    world.sandbox.remove_vm(4001)
    world.done(world.order("1002"))
    assert world.service("1002").vmid == 4001
    world.app.store.write(lambda verbs: verbs.save_service(replace(world.service("1002"), vmid=None)))
    assert found(world) == {"orphans": [4001]}


def test_unlink_is_in_the_timeline(active: World) -> None:
    before = active.app.store.read(lambda verbs: verbs.last_operation_of_service("shop", "1001"))
    assert before is not None
    unlink(active)
    (line,) = [one for one in active.timeline(before.id) if one.startswith("unlinked")]
    assert json.loads(line.removeprefix("unlinked ")) == {"vmid": 4001, "reason": "sold"}


def test_dry_unlink_changes_nothing(active: World) -> None:
    before = active.service()
    done = unlink(active, dry_run=True)
    assert (done.vmid, done.service.status, done.service.vmid) == (4001, "pending", None)
    assert active.service() == before
    assert found(active) == {}


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        ("service.suspend", {}, "no_such_vm"),
        ("service.reinstall", {}, "no_such_vm"),
        ("service.upgrade", {"plan": "vps-l"}, "no_such_vm"),
        ("service.terminate", {}, ""),
    ],
)
def test_late_event_does_not_reach_the_vm(active: World, kind: str, data: dict[str, Any], code: str) -> None:
    unlink(active)
    before, calls = active.vmids(), sent(active)
    assert active.done(active.event(kind, **data)).error_code == code
    assert (active.vmids(), sent(active)) == (before, calls)


def test_order_after_unlink_makes_one_new_vm(active: World) -> None:
    unlink(active)
    assert active.done(active.order()).state is State.SUCCEEDED
    assert (active.service().vmid, active.vmids()) == (4002, [4001, 4002])
    assert found(active) == {"foreign": [4001]}


def test_vm_let_go_is_no_leftover_of_a_failed_create(world: World) -> None:
    """It was not there when that was sent and has its size, and yet was somebody's meanwhile."""
    world.sandbox.settings(fail_next_job={"error": "0xb0: no"})
    failed = world.done(world.order("1"))
    assert failed.state is State.FAILED
    vmid = world.sandbox.add_vm()["vmid"]
    world.done(world.event("service.link", "3", vmid=vmid, plan="vps-s"))
    unlink(world, "3")
    world.app.commands.retry(failed.id, "admin:anna")
    assert world.done(failed.id).state is State.SUCCEEDED
    assert world.service("1").vmid not in (None, vmid)


def test_vm_let_go_is_no_evidence_of_a_lost_create(worlds: Callable[..., World]) -> None:
    """Made and unlinked while another create was unknown: that one was never made, and is sent again."""
    world = worlds(upstream={"exclusive": True})
    world.done(world.order("1"))
    world.sandbox.fault(method="POST", path="/datacenter/server", kind="drop_before")
    lost = world.order("2")
    world.run(2)
    assert world.operation(lost).step == "lost"
    vmid = world.sandbox.add_vm()["vmid"]
    world.done(world.event("service.link", "3", vmid=vmid, plan="vps-s"))
    unlink(world, "3")
    assert world.done(lost).state is State.SUCCEEDED
    assert world.service("2").vmid not in (None, vmid)


def test_link_after_unlink_binds_it_again(active: World) -> None:
    unlink(active)
    assert active.done(active.event("service.link", vmid=4001, plan="vps-s")).state is State.SUCCEEDED
    assert (active.service().status, active.service().vmid) == ("active", 4001)
    assert found(active) == {}


def test_doubt_about_an_id_ends_with_the_binding(active: World) -> None:
    active.app.store.write(lambda verbs: verbs.set_fact(missing_fact(4001), {}, active.clock()))
    unlink(active)
    assert active.app.store.read(lambda verbs: verbs.fact(missing_fact(4001))) is None


def suspend_that_waits(world: World) -> None:
    world.app.commands.pause("admin:anna", "")
    world.event("service.suspend")


def suspend_that_is_held(world: World) -> None:
    world.sandbox.fault(path="*/status", kind="error", error="0x03: no")
    assert world.done(world.event("service.suspend")).state is State.HELD


OPEN = {"waits": suspend_that_waits, "held": suspend_that_is_held}


@pytest.mark.parametrize("begin", OPEN.values(), ids=OPEN)
@pytest.mark.parametrize("act", [unlink, move])
def test_open_operation_refuses(active: World, begin: Callable[[World], None], act: Any) -> None:
    begin(active)
    before = active.service()
    for dry_run in (True, False):
        with pytest.raises(WrongState, match="under way for shop/1001: suspend op_"):
            act(active, dry_run=dry_run)
    assert active.service() == before


@pytest.mark.parametrize("act", [unlink, move])
def test_service_without_vm_refuses(active: World, act: Any) -> None:
    unlink(active)
    with pytest.raises(WrongState, match="has no VM"):
        act(active)


def test_unknown_service_refuses(world: World) -> None:
    with pytest.raises(NotFound):
        unlink(world, "9")


def untold(world: World) -> World:
    """A VM whose password the shop has not taken yet."""
    world.billing.answer_with(500)
    world.order()
    world.run(60)
    assert world.service().vmid == 4001
    return world


def slot(world: World, service_id: str, billing: str = "shop") -> dict[str, Any] | None:
    kept = world.app.store.read(lambda verbs: verbs.credentials(billing, service_id))
    return world.app.vault.open(service_key(billing, service_id), kept.sealed) if kept else None


def test_password_on_its_way_refuses_an_unlink(world: World) -> None:
    untold(world)
    with pytest.raises(WrongState, match="password is still to be delivered"):
        unlink(world)
    assert slot(world, "1001") is not None


def test_password_that_was_given_up_is_forgotten(worlds: Callable[..., World]) -> None:
    world = untold(worlds(retry={"deliveries_give_up_after": 10}))
    assert unlink(world, dry_run=True).forgets_password
    assert slot(world, "1001") is not None
    unlink(world)
    assert slot(world, "1001") is None
    assert world.app.store.read(lambda verbs: verbs.sealed_deliveries()) == []


# Move


def test_move_takes_everything_along(active: World) -> None:
    active.done(active.event("service.suspend", reason="abuse", lock=True))
    before, calls = active.service(), sent(active)
    active.clock.advance(60)
    done = move(active)
    active.run(60)
    moved = active.service("2002")
    same = replace(before, service_id="2002", seq=moved.seq)
    assert moved == replace(same, created_at=moved.created_at, updated_at=moved.updated_at)
    assert (moved.locked, moved.suspend_reason, moved.ran_before_suspend) == (True, "abuse", True)
    assert (active.service().status, active.service().vmid) == ("pending", None)
    assert (done.vmid, sent(active), found(active)) == (4001, calls, {})


def test_moved_service_is_told_once_without_a_password(active: World) -> None:
    before = len(active.told())
    move(active)
    active.run(60)
    (told,) = active.told("2002")
    assert (told.type, told.data["status"], told.data["vmid"]) == ("service.provisioned", "active", 4001)
    assert (told.data["ips"], told.data["hostname"]) == (list(active.service("2002").ips), "web1.example.com")
    assert "password" not in told.data
    assert len(active.told()) == before


def test_moved_vm_is_ruled_by_its_new_service_alone(active: World) -> None:
    move(active)
    assert active.done(active.event("service.suspend", "1001")).error_code == "no_such_vm"
    assert active.done(active.event("service.suspend", "2002")).state is State.SUCCEEDED
    assert active.sandbox.state()["vms"][0]["power"] == "stopped"


def test_history_is_readable_from_both_sides(active: World) -> None:
    done = move(active)
    operations = active.app.store.read(lambda verbs: verbs.operations(500, None, vmid=4001))
    assert [one.service_id for one in operations] == ["2002", "1001", "1001"]
    (link,) = [one for one in operations if one.service_id == "2002"]
    assert (link.id, link.kind, link.actor) == (done.operation, Kind.LINK, "admin:anna")
    (here,) = [one for one in active.timeline(link.id) if "shop/1001" in one]
    assert json.loads(here.removeprefix("moved ")) == {"was": "shop/1001", "vmid": 4001, "reason": "merged"}
    (there,) = [one for one in active.timeline(operations[1].id) if one.startswith("moved")]
    assert json.loads(there.removeprefix("moved ")) == {"vmid": 4001, "reason": "merged", "to": "shop/2002"}


def test_password_goes_where_the_vm_goes(world: World) -> None:
    untold(world)
    password = world.sandbox.state()["vms"][0]["password"]
    done = move(world)
    assert done.password_goes_along
    assert (slot(world, "1001"), slot(world, "2002")) == (None, {"username": "root", "password": password})
    world.billing.answer_with(204)
    world.run(600)
    assert [one.data.get("password") for one in world.told("2002")] == [password]
    assert not any("password" in one.data for one in world.told("1001"))
    assert (slot(world, "2002"), world.app.store.read(lambda verbs: verbs.sealed_deliveries())) == (None, [])
    states = [one.state for one in world.app.store.read(lambda verbs: verbs.operations(9, None))]
    assert set(states) == {State.SUCCEEDED}


def test_message_without_a_password_is_still_told_of_the_old_one(active: World) -> None:
    active.billing.answer_with(500)
    active.event("service.suspend")
    active.run(30)
    move(active)
    active.billing.answer_with(204)
    active.run(600)
    assert active.told("1001")[-1].type == "service.suspended"
    assert active.told("2002")[-1].data["status"] == "suspended"


def test_dry_move_changes_nothing(active: World) -> None:
    before = active.service()
    done = move(active, dry_run=True)
    assert (done.service.service_id, done.service.vmid, done.operation) == ("2002", 4001, "")
    assert (active.service(), service_of(active, "2002")) == (before, None)


def test_service_with_a_vm_is_no_target(active: World) -> None:
    active.done(active.order("2002"))
    with pytest.raises(WrongState, match="shop/2002 has VM 4002"):
        move(active)
    assert (active.service().vmid, active.service("2002").vmid) == (4001, 4002)


def test_service_with_an_order_is_no_target(active: World) -> None:
    active.app.commands.pause("admin:anna", "")
    active.order("2002")
    with pytest.raises(WrongState, match="under way for shop/2002: create"):
        move(active)


def test_unlinked_service_is_a_target(active: World) -> None:
    active.done(active.order("2002", plan="vps-l", client={"id": "8"}))
    unlink(active, "2002")
    active.done(active.event("service.suspend", reason="abuse", lock=True))
    before = active.service()
    move(active)
    moved = active.service("2002")
    for name in ("status", "vmid", "plan", "spec", "config", "ips", "ips_complete", "hostname"):
        assert getattr(moved, name) == getattr(before, name), name
    assert (moved.locked, moved.suspend_reason, moved.ran_before_suspend) == (True, "abuse", True)
    assert moved.client_id == "8"
    assert found(active) == {"foreign": [4002]}


def test_move_back_is_a_move(active: World) -> None:
    before = active.service()
    move(active)
    active.app.bindings.move("shop", "2002", ("shop", "1001"), "admin:anna")
    after = active.service()
    assert replace(after, updated_at=before.updated_at) == before
    assert found(active) == {}


def test_vm_of_a_moved_service_is_no_orphan_after_its_end(worlds: Callable[..., World]) -> None:
    """Its id is somebody else's then: nobody may take it for what the first service's order made."""
    world = worlds(safety={"terminate_grace": 0})
    world.done(world.order())
    move(world)
    assert world.done(world.event("service.terminate", "2002")).state is State.SUCCEEDED
    world.sandbox.add_vm(vmid=4001)
    assert found(world) == {"foreign": [4001]}


@pytest.fixture
def two_shops(worlds: Callable[..., World]) -> World:
    world = worlds()
    other = {**world.tables["billing"]["shop"], "plans": ["vps-l"]}
    world.app.close()
    world.tables["billing"]["whmcs2"] = other
    world.open()
    return world


def test_vm_moves_to_another_billing_system(two_shops: World) -> None:
    two_shops.done(two_shops.order())
    move(two_shops, "1001", "whmcs2")
    two_shops.run(60)
    moved = service_of(two_shops, "1001", "whmcs2")
    assert moved is not None
    assert (moved.vmid, moved.plan) == (4001, "vps-s")
    assert (two_shops.service().vmid, len(two_shops.told())) == (None, 2)


def test_place_that_is_none_is_refused(active: World) -> None:
    with pytest.raises(NotFound, match="no billing system elsewhere"):
        move(active, "2002", "elsewhere")
    with pytest.raises(RequestInvalid, match="is the service that has the VM"):
        move(active, "1001")


def test_password_that_does_not_open_stays_where_it_is(world: World) -> None:
    untold(world)
    world.app.store.write(
        lambda verbs: verbs.keep_credentials("shop", "1001", SealedCredentials("cred_x", "junk"))
    )
    with pytest.raises(WrongState, match="put the key back"):
        move(world)
    assert world.service().vmid == 4001


def test_waiting_message_of_the_old_service_ends_given_up(world: World) -> None:
    untold(world)
    move(world)
    (create,) = world.app.store.read(lambda verbs: verbs.operations(9, None, kind="create"))
    (delivery,) = world.app.store.read(lambda verbs: verbs.deliveries_of_operation(create.id))
    assert (delivery.state, delivery.sealed) == (DeliveryState.GIVEN_UP, "")
    assert "shop/2002" in delivery.last_error
