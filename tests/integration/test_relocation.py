"""The service moves to another machine: the old one does nothing more, the new one goes on with all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner import app as wiring
from provisioner.engine import pauses, relocation
from provisioner.errors import SettingsError, StoreUnavailable, StoreUnusable
from provisioner.operation import State
from provisioner.store.backup import copy_store, put_back
from provisioner.vault import key_file, load_keys
from provisioner.web import create_app


def leave(world: Any) -> Path:
    """Ends the service and takes the copy that moves."""
    world.app.relocation.leave("admin:admin")
    file = Path(world.folder) / "moving.db"
    copy_store(world.app.settings.store.path, file, world.clock())
    return file


def arrive(world: Any, file: Path) -> Any:
    world.app.close()
    back = put_back(file, world.app.settings.store.path, world.clock())
    world.open()
    wiring.begin(world.app)
    world.app.worker.start()
    return back


def test_service_that_left_takes_nothing_more(world: Any) -> None:
    world.done(world.order())
    leave(world)
    with pytest.raises(StoreUnavailable, match="has moved to another machine"):
        world.event("service.reboot")
    with pytest.raises(StoreUnavailable, match="has moved to another machine"):
        world.app.commands.pause("admin:admin", "")
    client = create_app(wiring.surfaces(world.app)).test_client()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "has moved to another machine" in answer.json["error"]["message"]


def test_service_that_left_does_not_start_again(world: Any) -> None:
    leave(world)
    world.app.close()
    with pytest.raises(
        StoreUnusable, match=r"has moved to another machine.*`provisioner restore FILE`"
    ) as raised:
        wiring.build(world.app.settings, world.clock)
    assert raised.value.code == relocation.CODE


def test_service_goes_on_where_it_moved_to_without_recovering(world: Any) -> None:
    order = world.order()
    world.step()
    file = leave(world)
    back = arrive(world, file)
    assert not back.recovers
    assert back.kept is not None
    assert world.app.store.read(lambda verbs: verbs.fact(pauses.RECOVERING)) is None
    world.app.worker.stop()
    assert world.done(order).state is State.SUCCEEDED
    assert len(world.vmids()) == 1


def test_leaving_waits_for_what_is_under_way(world: Any) -> None:
    ended: list[bool] = []
    world.app.relocation.end_work = lambda: ended.append(
        world.app.store.read(lambda verbs: verbs.fact("moved")) is None
    )
    leave(world)
    assert ended == [True]


# A key that is lost for good


def lose_key(world: Any) -> None:
    world.app.close()
    world.tables["security"]["encryption_keys"] = ["eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg="]
    world.open()


def test_lost_key_is_gone_on_without(world: Any) -> None:
    world.billing.go_down()
    order = world.order()
    world.run(60)
    lose_key(world)
    world.run(600)
    assert world.operation(order).state is State.DELIVERING
    assert world.app.rotation.forget_unreadable("admin:anna") == [("shop", "1001")]
    ended = world.operation(order)
    assert (ended.state, ended.error_code) == (State.FAILED, "delivery_failed")
    assert "then reset the password" in ended.error_detail
    assert world.app.rotation.forget_unreadable("admin:anna") == []
    world.billing.come_up()
    world.app.commands.retry(order, "admin:anna")
    assert world.done(order).state is State.SUCCEEDED
    assert [(told.type, "password" in told.data) for told in world.told()] == [("service.provisioned", False)]


def test_readable_passwords_are_not_forgotten(world: Any) -> None:
    world.billing.go_down()
    order = world.order()
    world.run(60)
    assert world.app.rotation.forget_unreadable("admin:anna") == []
    assert world.operation(order).state is State.DELIVERING


def test_missing_key_file_names_both_remedies(tmp_path: Path) -> None:
    store = tmp_path / "provisioner.db"
    with pytest.raises(SettingsError, match=r"put back from a backup.*keys rotate --lost"):
        load_keys([], store, store_exists=True)
    assert not key_file(store).exists()
