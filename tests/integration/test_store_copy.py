"""One store into another, from engine to engine: whole or not at all, and nobody works with both."""

from __future__ import annotations

import base64
import json
import random
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from provisioner.app import open_store
from provisioner.cli import run
from provisioner.config import fresh_secrets, starter, store_at
from provisioner.engine import pauses
from provisioner.errors import StoreUnusable
from provisioner.store import Store, copy
from provisioner.store.copy import UNFINISHED, copy_rows
from provisioner.store.postgres import PostgresStore
from provisioner.store.sqlite import SqliteStore
from tests.integration.store_conformance import NOW, an_operation, keep, problem_of
from tests.integration.test_store_engines import Dice, answers, calls, left, rows_of
from tests.postgres import TABLES, Postgres

UNITS = 120


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "provisioner.db")) as store:
        yield store


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.empty()


@pytest.fixture
def shared(url: str) -> Iterator[PostgresStore]:
    with closing(PostgresStore(url)) as store:
        yield store


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.toml"
    path.write_text(starter(fresh_secrets(), upstream_token="a-token"))
    path.chmod(0o600)
    return path


def nothing(table: str, done: int, of: int) -> None:
    pass


def filled(store: Store, seed: int) -> None:
    dice = Dice(seed)
    for _ in range(UNITS):
        answers(store, calls(dice))


def test_every_table_is_copied(embedded: SqliteStore) -> None:
    with closing(sqlite3.connect(embedded.path)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables - {"schema_version"} == copy.KEYS.keys() == set(TABLES)


def test_there_and_back_is_the_same(
    embedded: SqliteStore, shared: PostgresStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy, "AT_ONCE", 3)  # so that each table is more than one piece
    seed = random.SystemRandom().randrange(10**9)
    filled(embedded, seed)
    told: list[tuple[str, int, int]] = []
    there = copy_rows(embedded, shared, NOW, lambda *how_far: told.append(how_far))
    assert left(rows_of(shared)) == left(rows_of(embedded)), f"seed {seed}"
    with closing(SqliteStore(tmp_path / "again.db")) as again:
        back = copy_rows(shared, again, NOW, nothing)
        assert left(rows_of(again)) == left(rows_of(embedded)), f"seed {seed}"
    assert there == back
    assert {one.table: one.rows for one in there} == {table: done for table, done, of in told if done == of}
    assert problem_of(shared) == ""


def test_full_target_is_left_alone(embedded: SqliteStore, shared: PostgresStore) -> None:
    keep(embedded, an_operation())
    keep(shared, an_operation("op_2"))
    with pytest.raises(
        StoreUnusable, match=r"is not empty \(it has services and operations\): name a new one"
    ):
        copy_rows(embedded, shared, NOW, nothing)
    assert shared.read(lambda verbs: (verbs.operation("op_1"), verbs.fact(UNFINISHED))) == (None, None)


def test_row_that_was_not_kept_is_found(
    embedded: SqliteStore, shared: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(embedded, an_operation())
    real = copy._insert

    def broken(table: str, rows: list[dict[str, object]]) -> tuple[str, dict[str, object]]:
        return real(table, [{**row, "memo": "{ }"} if "memo" in row else row for row in rows])

    monkeypatch.setattr(copy, "_insert", broken)
    with pytest.raises(StoreUnusable, match="has not kept operations"):
        copy_rows(embedded, shared, NOW, nothing)
    assert shared.read(lambda verbs: verbs.fact(UNFINISHED)) == NOW


def test_unfinished_copy_is_never_served(shared: PostgresStore, url: str, tmp_path: Path) -> None:
    shared.write(lambda verbs: verbs.set_fact(UNFINISHED, NOW, NOW))
    with pytest.raises(StoreUnusable, match="a copy that was not finished: drop it"):
        open_store(store_at(url, tmp_path, {}))


# The command


def test_store_moves_to_postgresql_and_back(
    config: Path,
    tmp_path: Path,
    url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with closing(SqliteStore(tmp_path / "old.db")) as store:
        keep(store, an_operation())
    monkeypatch.setenv("DATABASE_URL", url)
    assert run(["store", "copy", "sqlite:///old.db", "env:DATABASE_URL"]) == 0
    said = capsys.readouterr()
    assert re.search(r"^operations +1 +[0-9a-f]{64}$", said.out, re.MULTILINE)
    assert "and both were compared" in said.out
    assert "operations: 1 of 1" in said.err
    with pytest.raises(StoreUnusable, match="not the one that goes on"):
        open_store(store_at("sqlite:///old.db", tmp_path, {}))
    with closing(open_store(store_at(url, tmp_path, {}))) as store:
        assert store.read(lambda verbs: verbs.operation("op_1")) is not None
        assert [line.action for line in store.read(lambda verbs: verbs.audit(9, None))] == ["store.left"]
    assert run(["store", "copy", "env:DATABASE_URL", "sqlite:///new.db", "--json"]) == 0
    tables = {one["table"]: one["rows"] for one in json.loads(capsys.readouterr().out)["tables"]}
    assert (tables["operations"], tables["audit"]) == (1, 2)
    with closing(open_store(store_at("sqlite:///new.db", tmp_path, {}))) as store:
        assert store.read(lambda verbs: verbs.operation("op_1")) is not None


def test_refused_copy_leaves_the_first_one_serving(
    config: Path, tmp_path: Path, shared: PostgresStore, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    SqliteStore(tmp_path / "old.db").close()
    keep(shared, an_operation())
    assert run(["store", "copy", "sqlite:///old.db", url]) == 1
    assert "is not empty" in capsys.readouterr().err
    open_store(store_at("sqlite:///old.db", tmp_path, {})).close()


def test_broken_copy_leaves_the_first_one_serving(
    config: Path, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    SqliteStore(tmp_path / "old.db").close()

    def broken(*_: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(copy, "copy_rows", broken)
    assert run(["store", "copy", "sqlite:///old.db", url]) == 1
    open_store(store_at("sqlite:///old.db", tmp_path, {})).close()


def test_served_store_is_not_copied(
    config: Path, shared: PostgresStore, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shared.begin(lambda: None, lambda: None)
    assert run(["store", "copy", url, "sqlite:///new.db"]) == 1
    assert "is served: end `provisioner serve` on every node first" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["mysql://a/b", "sqlite:///", "env:NOT_SET"])
def test_wrong_address_is_wrong_use(config: Path, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["store", "copy", address, "sqlite:///new.db"]) == 2
    assert "the store's address" in capsys.readouterr().err


def test_mistyped_first_one_is_not_made(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty store that was never there would be copied, and count as a success."""
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    assert run(["store", "copy", "sqlite:///mistyped.db", "sqlite:///new.db"]) == 1
    assert f"there is no store {tmp_path}/mistyped.db to copy" in capsys.readouterr().err
    assert set(tmp_path.iterdir()) == before


# Backups of a database


@pytest.fixture
def on_database(config: Path) -> Callable[[str], None]:
    """Has the settings name a database."""
    before = config.read_text()
    key = base64.urlsafe_b64encode(b"k" * 32).decode()

    def name(url: str) -> None:
        text = before.replace("[security]\n", f'[security]\nencryption_keys = ["{key}"]\n')
        config.write_text(text + f'\n[store]\nurl = "{url}"\n')

    return name


def test_database_is_backed_up_while_it_is_served(
    on_database: Callable[[str], None],
    tmp_path: Path,
    shared: PostgresStore,
    url: str,
    postgres: Postgres,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_database(url)
    shared.begin(lambda: None, lambda: None)
    keep(shared, an_operation())
    assert run(["backup", "copy.db"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"config.toml", "copy.db"}
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    assert run(["backup", "copy.db"]) == 1
    with pytest.raises(StoreUnusable, match="is a copy that `provisioner backup` made"):
        open_store(store_at("sqlite:///copy.db", tmp_path, {}))
    assert run(["restore", "copy.db"]) == 1
    assert "is served" in capsys.readouterr().err
    other = postgres.database()
    on_database(other)
    assert run(["restore", "copy.db"]) == 0
    assert "accepts events and sends nothing" in capsys.readouterr().out
    with closing(open_store(store_at(other, tmp_path, {}))) as store:
        recovering, operation = store.read(
            lambda verbs: (verbs.fact(pauses.RECOVERING), verbs.operation("op_1"))
        )
    assert operation is not None
    assert recovering["taken_at"] > NOW - 10**9
    assert run(["restore", "copy.db"]) == 1
    assert "is not empty" in capsys.readouterr().err


def test_databases_backup_fits_the_embedded_store(
    on_database: Callable[[str], None], config: Path, shared: PostgresStore, url: str, tmp_path: Path
) -> None:
    plain = config.read_text()
    on_database(url)
    keep(shared, an_operation())
    assert run(["backup", "copy.db"]) == 0
    config.write_text(plain)
    assert run(["restore", "copy.db"]) == 0
    with closing(open_store(store_at("sqlite:///provisioner.db", tmp_path, {}))) as store:
        assert store.read(lambda verbs: verbs.operation("op_1")) is not None
        assert store.read(lambda verbs: verbs.fact(pauses.RECOVERING)) is not None


def test_file_that_is_no_copy_is_refused(
    on_database: Callable[[str], None], url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on_database(url)
    SqliteStore(tmp_path / "some.db").close()
    (tmp_path / "junk.db").write_bytes(b"junk. " * 999)
    assert run(["restore", "some.db"]) == 1
    assert "is no copy that `provisioner backup` made" in capsys.readouterr().err
    assert run(["restore", "junk.db"]) == 1
    assert "is no store" in capsys.readouterr().err


def test_database_is_not_taken_along(
    on_database: Callable[[str], None], url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    on_database(url)
    assert run(["backup", "--move", "copy.db"]) == 2
    assert "start a node on the new machine" in capsys.readouterr().err
