"""A store that an earlier version made is copied, brought up to date, and goes on where it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from provisioner import app as wiring
from provisioner.cli import run
from provisioner.errors import StoreUnusable
from provisioner.operation import State
from provisioner.service import ServiceStatus
from provisioner.store import backup
from provisioner.store.migrate import SCHEMA_VERSION, version_of

STORES = Path(__file__).parents[1] / "stores"
RELEASED = sorted(file.stem for file in STORES.glob("*.sql"))
PASSED_S = 600.0


@pytest.fixture
def left(tmp_path: Path, worlds: Callable[..., Any]) -> Callable[[str], Any]:
    """Makes a world over the store that a version left behind; it is not opened yet."""

    def make(version: str) -> Any:
        world = worlds()
        world.app.close()
        path = world.app.settings.store.path
        for file in tmp_path.glob("provisioner.db*"):
            file.unlink()
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript((STORES / f"{version}.sql").read_text("utf-8"))
        world.clock.advance(PASSED_S)
        return world

    return make


def aside(world: Any) -> list[Path]:
    return sorted(Path(world.folder).glob("provisioner.db.schema-*"))


def update(world: Any) -> None:
    world.app = wiring.build(world.app.settings, world.clock, updates=True)
    world.app.store.write(lambda verbs: verbs.release_leases(world.clock()))


@pytest.mark.parametrize("version", RELEASED)
def test_store_of_each_released_version_goes_on(left: Callable[[str], Any], version: str) -> None:
    world = left(version)
    before = version_of(world.app.settings.store.path)
    assert 0 < before < SCHEMA_VERSION
    update(world)
    assert version_of(world.app.settings.store.path) == SCHEMA_VERSION
    statuses = {service.service_id: service.status for service in world.app.store.read(services)}
    assert statuses["1001"] is ServiceStatus.ACTIVE
    assert statuses["1002"] is ServiceStatus.SUSPENDED
    assert statuses["1003"] is ServiceStatus.TERMINATING
    world.run(1)
    (told,) = world.told("1006")
    assert (told.type, told.data["username"]) == ("service.provisioned", "root")
    assert len(told.data["password"]) > 8
    (order,) = world.app.store.read(lambda verbs: verbs.operations(9, None, service_id="1006"))
    assert order.state is State.SUCCEEDED


def services(verbs: Any) -> Any:
    return verbs.services(100, None)


def test_first_released_version_is_kept() -> None:
    assert RELEASED[0] == "0.1.0"


def test_update_keeps_a_copy_that_the_version_before_can_put_back(left: Callable[[str], Any]) -> None:
    world = left("0.1.0")
    update(world)
    (copy,) = aside(world)
    assert copy.name.startswith("provisioner.db.schema-1-")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert version_of(copy) == 1
    with closing(sqlite3.connect(copy)) as connection:
        marked = connection.execute("SELECT name FROM facts WHERE name = ?", (backup.BACKUP,)).fetchall()
        whole = connection.execute("PRAGMA integrity_check").fetchone()
    assert (marked, whole) == ([(backup.BACKUP,)], ("ok",))
    world.reopen()
    assert aside(world) == [copy]


def test_update_without_room_for_a_copy_is_refused(
    left: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = left("0.1.0")
    monkeypatch.setattr(backup.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000})())
    with pytest.raises(StoreUnusable, match=r"must be copied before .* has 0 MB free: make room"):
        update(world)
    assert version_of(world.app.settings.store.path) == 1
    assert aside(world) == []
    monkeypatch.undo()
    update(world)


def test_commands_leave_an_older_store_as_it_is(left: Callable[[str], Any]) -> None:
    world = left("0.1.0")
    with pytest.raises(StoreUnusable) as raised:
        wiring.build(world.app.settings, world.clock)
    assert raised.value.code == "store_older"
    assert version_of(world.app.settings.store.path) == 1
    update(world)


def test_check_says_what_the_new_version_will_do(
    left: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = left("0.1.0")
    config = tmp_path / "config.toml"
    config.write_text(
        '[security]\nadmin_token = "an-admin-token-of-tests"\n'
        f'encryption_keys = ["{"a2tr" * 10}a2s="]\n[upstream]\ntoken = "sandbox-token"\n'
    )
    config.chmod(0o600)
    status = run(["check", "--offline", "--config", str(config)])
    said = capsys.readouterr().out
    assert status == 0, said
    assert "is of schema 1: the `serve` of this version copies it" in said.replace("\n", " ")
    assert version_of(world.app.settings.store.path) == 1
    update(world)
