"""A copy while serving, and its way back: nothing is done twice, given away or destroyed (promise 8)."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from provisioner.app import open_store
from provisioner.engine import shown_once
from provisioner.engine.recovery import Elsewhere
from provisioner.errors import BillingUnavailable, StoreUnusable, WrongState
from provisioner.operation import State
from provisioner.store import backup
from provisioner.store.backup import copy_store, put_back
from provisioner.vault import key_file, load_keys


def copy(world: Any) -> Path:
    file = Path(world.folder) / "copy.db"
    copy_store(world.app.settings.store.path, file, world.clock())
    return file


def bring_back(world: Any, file: Path) -> None:
    """Puts the copy back, and opens it for a command: no service has started on it."""
    world.app.close()
    put_back(file, world.app.settings.store.path, world.clock())
    world.open()


def restore(world: Any, file: Path) -> None:
    """What a person does: ends the service, puts the copy back, starts it again."""
    bring_back(world, file)
    world.app.store.write(lambda verbs: verbs.release_leases(world.clock()))
    world.app.recovery.begin()


def carried_out_since(world: Any) -> tuple[str, Path]:
    """An order that waits in a copy and was carried out after that was taken; and the copy."""
    world.done(world.order("1000"))
    world.app.commands.pause("admin:admin", "")
    order = world.order("1001")
    file = copy(world)
    world.app.commands.resume()
    assert world.done(order).state is State.SUCCEEDED
    return order, file


def held(world: Any) -> dict[str, str]:
    return {op.id: op.kind.value for op in world.app.recovery.overview()["held"]}


def test_copy_is_never_served(world: Any) -> None:
    world.done(world.order())
    file = copy(world)
    assert file.stat().st_mode & 0o777 == 0o600
    settings = world.app.settings.model_copy(
        update={"store": type(world.app.settings.store)(url=f"sqlite:////{str(file).lstrip('/')}")}
    )
    with pytest.raises(StoreUnusable, match="a copy that `provisioner backup` made"):
        open_store(settings.store)


def test_copy_is_never_written_over_a_file(world: Any) -> None:
    file = copy(world)
    before = file.read_bytes()
    with pytest.raises(StoreUnusable, match="exists already"):
        copy_store(world.app.settings.store.path, file, world.clock())
    assert file.read_bytes() == before


@pytest.fixture
def open_to_others(world: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Which files of the world's folder others may read while a copy is made or put back, as it is marked."""
    found: set[str] = set()
    mark = backup._mark

    def look(path: Path, *words: Any) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DELETE FROM facts")  # what SQLite keeps beside it is there, too
            files = [file for file in Path(world.folder).iterdir() if file.name.startswith(path.name)]
            assert [file.name for file in files if file.name.endswith("-journal")]
            found.update(file.name for file in files if file.stat().st_mode & 0o077)
        mark(path, *words)

    monkeypatch.setattr(backup, "_mark", look)
    before = os.umask(0o022)
    yield found
    os.umask(before)


def test_copy_is_nobody_elses_while_it_is_made_and_put_back(world: Any, open_to_others: set[str]) -> None:
    file = copy(world)
    bring_back(world, file)
    assert open_to_others == set()
    assert world.app.settings.store.path.stat().st_mode & 0o777 == 0o600


def files_of(world: Any) -> set[str]:
    return {file.name for file in Path(world.folder).iterdir()}


def test_nothing_stays_of_a_copy_that_could_not_be_put_back(world: Any) -> None:
    file = copy(world)
    damaged = bytearray(file.read_bytes())
    damaged[4096:] = b"\x55" * len(damaged[4096:])
    file.write_bytes(damaged)
    before = files_of(world)
    with pytest.raises(StoreUnusable):
        put_back(file, world.app.settings.store.path, world.clock())
    assert files_of(world) == before


def test_nothing_stays_of_a_copy_that_could_not_be_made(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backup, "_mark", break_off)
    before = files_of(world)
    with pytest.raises(KeyboardInterrupt):
        copy(world)
    assert files_of(world) == before


def test_copy_that_was_killed_is_in_nobodys_way(world: Any) -> None:
    left = Path(world.folder) / "copy.db.partial"
    left.write_bytes(b"what a killed one left")
    left.chmod(0o644)
    assert copy(world).stat().st_mode & 0o777 == 0o600
    assert not left.exists()


def test_only_a_copy_is_put_back(world: Any, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(b"no store")
    with pytest.raises(StoreUnusable):
        put_back(other, world.app.settings.store.path, world.clock())
    plain = tmp_path / "plain.db"
    with sqlite3.connect(plain) as connection:
        connection.execute("CREATE TABLE facts (name TEXT, value TEXT, updated_at INTEGER)")
    connection.close()
    before = files_of(world)
    with pytest.raises(StoreUnusable, match="is no copy that"):
        put_back(plain, world.app.settings.store.path, world.clock())
    assert files_of(world) == before
    assert world.order()


def test_recovering_store_accepts_and_sends_nothing(world: Any) -> None:
    world.done(world.order())
    file = copy(world)
    restore(world, file)
    calls = len(world.sandbox.calls())
    operation = world.event("service.reboot")
    world.run(600)
    assert len(world.sandbox.calls()) == calls
    assert world.operation(operation).state is State.QUEUED
    assert len(world.told()) == 1

    world.app.recovery.finish("admin:admin")
    assert world.done(operation).state is State.SUCCEEDED
    with pytest.raises(WrongState, match="not recovering"):
        world.app.recovery.finish("admin:admin")


def test_order_made_after_the_copy_is_found_not_made_again(world: Any) -> None:
    order, file = carried_out_since(world)
    (first,) = world.told("1001")
    before = world.vmids()

    restore(world, file)
    assert held(world) == {order: "create"}
    world.app.recovery.finish("admin:admin")
    world.app.commands.resume()
    assert world.done(order).error_code == "delivery_failed"  # its job tells a password of before
    assert world.vmids() == before
    assert world.service("1001").vmid == first.data["vmid"]
    assert [one.type for one in world.told("1001")] == [first.type, "operation.held"]


def test_order_made_after_the_copy_is_not_made_again_where_no_service_started(world: Any) -> None:
    order, file = carried_out_since(world)
    before = world.vmids()

    bring_back(world, file)
    assert held(world) == {order: "create"}
    assert world.app.recovery.overview()["deliveries"] == 1  # that it is held
    world.app.recovery.finish("admin:admin")
    world.app.commands.resume()
    world.done(order)
    assert world.vmids() == before


def test_recovery_is_not_ended_before_anybody_could_look(world: Any) -> None:
    world.done(world.order())
    terminate = world.event("service.terminate")
    world.idle()
    file = copy(world)
    world.done(world.event("service.unsuspend"))
    bring_back(world, file)
    with pytest.raises(WrongState, match="nobody has seen it"):
        world.app.recovery.finish("admin:admin")
    assert held(world) == {terminate: "terminate"}
    world.run(100_000)
    assert len(world.vmids()) == 1
    assert world.app.recovery.finish("admin:admin") == 1


def test_recovery_without_anything_to_look_at_ends_at_once(world: Any) -> None:
    world.done(world.order())
    bring_back(world, copy(world))
    assert world.app.recovery.finish("admin:admin") == 0


def test_order_that_a_person_approved_too_early_is_not_made_again(world: Any) -> None:
    order, file = carried_out_since(world)
    before = world.vmids()

    restore(world, file)
    world.app.commands.approve(order, "admin:admin")
    world.app.recovery.finish("admin:admin")
    world.app.commands.resume()
    world.done(order)
    assert world.vmids() == before


def test_what_is_accepted_since_is_not_held_by_the_next_start(world: Any) -> None:
    world.done(world.order("1000"))
    restore(world, copy(world))
    order = world.order("1001")
    world.reopen()
    world.app.recovery.begin()
    assert held(world) == {}
    world.app.recovery.finish("admin:admin")
    assert world.done(order).state is State.SUCCEEDED


def test_what_a_person_let_go_is_not_held_by_the_next_look(world: Any) -> None:
    world.done(world.order())
    terminate = world.event("service.terminate", immediate=True)
    restore(world, copy(world))
    world.app.commands.approve(terminate, "admin:admin")
    assert held(world) == {}
    assert world.operation(terminate).state is State.WAITING


def test_second_order_of_a_service_that_has_its_vm_makes_none_after_the_recovery(world: Any) -> None:
    world.done(world.order())
    before = world.vmids()
    world.app.commands.pause("admin:admin", "")
    again = world.order()
    restore(world, copy(world))
    world.app.recovery.finish("admin:admin")
    world.app.commands.resume()
    assert world.done(again).state is State.SUCCEEDED
    assert world.vmids() == before


def test_order_behind_a_terminate_is_judged_again_after_the_recovery(world: Any) -> None:
    """Its service is terminated by then, and nobody has asked for it to be made anew."""
    world.done(world.order())
    world.sandbox.fault(path="*/delete", kind="drop_before", times=0)
    terminate = world.event("service.terminate", immediate=True)
    world.run(until=lambda: bool(world.operation(terminate).memo.get("delete_sent")))
    again = world.order()
    assert again != terminate
    restore(world, copy(world))
    world.sandbox.clear_faults()
    world.app.recovery.finish("admin:admin")
    world.run(1800)
    assert world.operation(terminate).state is State.SUCCEEDED
    ended = world.operation(again)
    assert (ended.state, ended.error_code) == (State.FAILED, "terminated")
    assert (world.calls("POST /datacenter/server"), world.vmids()) == (1, [])


def test_order_never_made_is_made_after_the_recovery(world: Any) -> None:
    world.done(world.order("1000"))
    world.app.commands.pause("admin:admin", "")
    order = world.order("1001")
    restore(world, copy(world))
    world.app.recovery.finish("admin:admin")
    world.app.commands.resume()
    assert world.done(order).state is State.SUCCEEDED
    assert len(world.vmids()) == 2


def test_terminate_waits_for_a_person(world: Any) -> None:
    world.done(world.order())
    terminate = world.event("service.terminate")
    world.idle()
    file = copy(world)
    world.done(world.event("service.unsuspend"))  # undone after the copy: the customer stayed
    restore(world, file)
    assert held(world) == {terminate: "terminate"}
    world.run(100_000)
    assert len(world.vmids()) == 1
    world.app.commands.cancel(terminate, "admin:admin")
    world.app.recovery.finish("admin:admin")
    world.run(100_000)
    assert len(world.vmids()) == 1
    assert world.service().status == "active"


def test_old_password_is_not_delivered_again(world: Any) -> None:
    world.billing.answer_with(503)
    order = world.order()
    world.run(30)
    file = copy(world)
    world.billing.answer_with(204)
    world.run(600)
    world.done(world.event("service.reset_password"))
    newest = world.told()[-1].data["password"]

    restore(world, file)
    world.app.recovery.finish("admin:admin")
    world.run(3600)
    assert world.told()[-1].data.get("password", newest) == newest
    assert [one.data["password"] for one in world.told() if "password" in one.data][-1] == newest
    operation = world.operation(order)
    assert (operation.state, operation.error_code) == (State.FAILED, "delivery_failed")


def passwords(world: Any) -> list[str]:
    return [one.data["password"] for one in world.told() if one.data.get("password")]


def password(world: Any) -> str:
    """The one that works."""
    (vm,) = world.sandbox.state()["vms"]
    return str(vm["password"])


def test_password_that_a_job_of_the_copy_tells_is_not_delivered(world: Any) -> None:
    order = world.order()
    world.run(until=lambda: world.operation(order).job_id != "")
    file = copy(world)
    world.done(order)
    world.done(world.event("service.reset_password"))
    told = passwords(world)
    assert told[-1] == password(world)

    restore(world, file)
    world.app.recovery.finish("admin:admin")
    operation = world.done(order)
    assert (operation.state, operation.error_code) == (State.FAILED, "delivery_failed")
    assert "reset the password" in operation.error_detail
    assert (world.service().status, world.vmids()) == ("active", [world.service().vmid])
    assert passwords(world) == told

    world.app.commands.retry(order, "admin:admin")
    assert world.done(order).state is State.SUCCEEDED
    assert world.told()[-1].type == "service.provisioned"
    assert passwords(world) == told
    world.done(world.event("service.reset_password"))
    assert passwords(world) == [*told, password(world)]


def test_password_that_a_reinstall_of_the_copy_tells_is_not_delivered(world: Any) -> None:
    world.done(world.order())
    reinstall = world.event("service.reinstall")
    world.run(until=lambda: world.operation(reinstall).job_id != "")
    file = copy(world)
    world.done(reinstall)
    world.done(world.event("service.reset_password"))
    told = passwords(world)

    restore(world, file)
    world.app.recovery.finish("admin:admin")
    assert world.done(reinstall).error_code == "delivery_failed"
    assert passwords(world) == told


def test_retry_of_a_job_of_the_copy_delivers_no_password(worlds: Any) -> None:
    world = worlds(retry={"give_up_after": 60})
    order = world.order()
    world.run(until=lambda: world.operation(order).job_id != "")
    world.sandbox.fault(kind="page", status=503, method="GET", path="/job/*", times=100)
    assert world.done(order).state is State.FAILED
    file = copy(world)
    restore(world, file)
    world.app.recovery.finish("admin:admin")
    world.sandbox.clear_faults()
    world.app.commands.retry(order, "admin:admin")
    assert world.done(order).error_code == "delivery_failed"
    assert passwords(world) == []


def test_password_of_a_job_asked_for_since_is_delivered(world: Any) -> None:
    world.done(world.order())
    reinstall = world.event("service.reinstall")
    restore(world, copy(world))
    world.app.recovery.finish("admin:admin")
    assert world.done(reinstall).state is State.SUCCEEDED
    assert passwords(world)[-1] == password(world)


def test_order_accepted_since_whose_answer_was_lost_delivers_its_password(world: Any) -> None:
    restore(world, copy(world))
    world.run(5)
    world.app.recovery.finish("admin:admin")
    world.sandbox.fault(path="/datacenter/server", method="POST", kind="drop_after")
    order = world.order()
    assert world.done(order).state is State.SUCCEEDED
    assert any("outcome_unknown" in line for line in world.timeline(order))
    assert passwords(world) == [password(world)]


@pytest.mark.parametrize("waited_in_copy", [True, False])
def test_retry_of_what_was_not_delivered_tells_no_password_of_before(
    worlds: Any, *, waited_in_copy: bool
) -> None:
    world = worlds(retry={"deliveries_give_up_after": 604_800 if waited_in_copy else 10})
    world.billing.answer_with(503)
    order = world.order()
    world.run(60)
    assert world.operation(order).state is (State.DELIVERING if waited_in_copy else State.FAILED)
    restore(world, copy(world))
    world.billing.answer_with(204)
    world.app.recovery.finish("admin:admin")
    world.app.commands.retry(order, "admin:admin")
    assert world.done(order).state is State.SUCCEEDED
    assert world.told()[-1].type == "service.provisioned"
    assert passwords(world) == []


def test_password_that_nothing_has_tried_to_deliver_is_not_told_by_a_retry(world: Any) -> None:
    world.done(world.order())
    reset = world.event("service.reset_password")
    world.step()
    restore(world, copy(world))
    world.app.recovery.finish("admin:admin")
    assert world.operation(reset).error_code == "delivery_failed"
    told = passwords(world)
    world.app.commands.retry(reset, "admin:admin")
    assert world.done(reset).state is State.SUCCEEDED
    assert (world.told()[-1].type, passwords(world)) == ("service.credentials", told)


def test_panel_shows_no_password_of_before(world: Any) -> None:
    kept = {"session": "0123456789abcdef", "sealed": "sealed", "at": world.clock()}
    world.app.store.write(lambda verbs: verbs.set_fact(f"{shown_once.FACT}shop/1001", kept, world.clock()))
    restore(world, copy(world))
    world.app.recovery.finish("admin:admin")
    assert not world.app.shown_once.is_kept("shop", "1001", kept["session"])


def test_ghosts_and_strangers_are_shown_side_by_side(world: Any) -> None:
    world.done(world.order("1000"))
    file = copy(world)
    world.done(world.event("service.terminate", "1000", immediate=True))
    world.done(world.order("1001"))
    (made,) = world.vmids()
    restore(world, file)
    found = world.app.reconcile.run(fix=False)
    assert [line["service_id"] for line in found["ghosts"]] == ["1000"]
    assert [line["vmid"] for line in found["foreign"]] == [made]
    world.app.recovery.finish("admin:admin")
    world.run(3600)
    assert world.vmids() == [made]


class Asked:
    """A billing system that can be asked."""

    def __init__(self, **said: str) -> None:
        self.said = {f"10{name[1:]}": word for name, word in said.items()}

    def statuses(self, service_ids: list[str]) -> dict[str, str]:
        if not self.said:
            raise BillingUnavailable("It is away.", detail="the shop is away")
        return {one: self.said[one] for one in service_ids if one in self.said}


def test_billing_system_that_can_be_asked_is_held_beside_the_store(world: Any) -> None:
    for service_id in ("1000", "1001", "1002"):
        world.done(world.order(service_id))
    world.done(world.event("service.suspend", "1001"))
    restore(world, copy(world))
    recovery = world.app.recovery
    assert recovery.elsewhere() == ([], {})  # a callback cannot be asked
    recovery.billings = {"shop": Asked(s00="terminated", s01="suspended", s02="active")}
    assert recovery.elsewhere() == ([Elsewhere("shop", "1000", "active", "terminated")], {})
    recovery.billings = {"shop": Asked(s02="missing")}
    others, unasked = recovery.elsewhere()
    assert others == [Elsewhere("shop", "1002", "active", "missing")]
    assert "the newest 1 of 3" in unasked["shop"]
    recovery.billings = {"shop": Asked()}
    assert recovery.elsewhere() == ([], {"shop": "the shop is away"})


def test_rotated_keys_seal_anew_and_still_deliver(worlds: Any) -> None:
    world = worlds(security={"encryption_keys": []})
    world.billing.answer_with(503)
    order = world.order()
    world.run(30)
    path = world.app.settings.store.path
    before = load_keys([], path, store_exists=True)
    with sqlite3.connect(path) as connection:
        sealed = connection.execute("SELECT sealed FROM credentials").fetchall()
    assert world.app.rotation.rotate() == 2
    after = load_keys([], path, store_exists=True)
    assert after[1:] == before
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT sealed FROM credentials").fetchall() != sealed
    connection.close()

    key_file(path).write_text(f"{after[0]}\n")
    world.reopen()
    world.billing.answer_with(204)
    assert world.done(order, 4000).state is State.SUCCEEDED
    (vm,) = world.sandbox.state()["vms"]
    assert world.told()[-1].data["password"] == vm["password"]
    assert re.search(r"\S", key_file(path).read_text())
