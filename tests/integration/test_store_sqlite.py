"""The embedded engine: everything of the suite, and what SQLite alone can go wrong with."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from provisioner.errors import StoreUnavailable, StoreUnusable
from provisioner.store import Store, sqlite
from provisioner.store.migrate import SCHEMA_VERSION
from provisioner.store.sqlite import SqliteStore, is_affected
from provisioner.store.verbs import MOST_FACTS, Verbs
from tests.integration.store_conformance import NOW, StoreConformance, a_deed, an_event

NOBODY = 65534


class TestSqliteStore(StoreConformance):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Callable[[], Store]:
        return lambda: SqliteStore(tmp_path / "provisioner.db")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "provisioner.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    store.close()


def words(raised: pytest.ExceptionInfo[Exception]) -> str:
    return str(raised.value)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Folders' modes do not bind root, and containers run tests as root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


# Durability


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("secure_delete", 1)],
)
def test_writer_is_durable_and_forgets(store: SqliteStore, pragma: str, value: str | int) -> None:
    assert store._writer.raw.execute(f"PRAGMA {pragma}").fetchone() == {pragma: value}


def test_refused_setting_is_said() -> None:
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(StoreUnusable, match="did not take journal_mode=wal, it says memory"),
    ):
        sqlite._set_and_check(connection, "journal_mode", "wal")


def test_files_are_their_owners_alone(store: SqliteStore, path: Path) -> None:
    store.write(lambda verbs: verbs.set_fact("a", 1, NOW))
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()}
    names = ("", "-wal", "-shm", ".lock")
    assert modes == {f"provisioner.db{end}": "0o600" for end in names}


def test_readable_store_is_made_private(path: Path) -> None:
    SqliteStore(path).close()
    path.chmod(0o644)
    SqliteStore(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
    ],
)
def test_affected_versions_are_known(version: tuple[int, int, int], affected: bool) -> None:
    assert is_affected(version) == affected


# What cannot be opened


def test_newer_store_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE schema_version SET version = version + 1")
    with pytest.raises(StoreUnusable, match=rf"newer version \(schema {SCHEMA_VERSION + 1}") as raised:
        SqliteStore(path)
    assert "start the newer version, or restore a backup" in words(raised)


def test_older_store_is_migrated_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SqliteStore(path).close()
    monkeypatch.setattr("provisioner.store.migrate.SCHEMA_VERSION", SCHEMA_VERSION + 1)
    steps = ["CREATE TABLE added (a TEXT)", f"UPDATE schema_version SET version = {SCHEMA_VERSION + 1}"]
    monkeypatch.setattr(sqlite, "migrate", lambda version: [*steps, "broken"])
    with pytest.raises(StoreUnusable):
        SqliteStore(path, lambda version: None)
    assert tables(path) == {"version": SCHEMA_VERSION, "added": False}
    monkeypatch.setattr(sqlite, "migrate", lambda version: steps if version == SCHEMA_VERSION else [])
    seen: list[dict[str, object]] = []
    SqliteStore(path, lambda version: seen.append(tables(path))).close()
    assert seen == [{"version": SCHEMA_VERSION, "added": False}]
    assert tables(path) == {"version": SCHEMA_VERSION + 1, "added": True}
    SqliteStore(path, lambda version: seen.append(tables(path))).close()
    assert len(seen) == 1


def test_older_store_is_refused_unless_it_may_be_updated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SqliteStore(path).close()
    monkeypatch.setattr("provisioner.store.migrate.SCHEMA_VERSION", SCHEMA_VERSION + 1)
    with pytest.raises(StoreUnusable, match="start `provisioner serve`, which copies it") as raised:
        SqliteStore(path)
    assert raised.value.code == "store_older"
    assert tables(path) == {"version": SCHEMA_VERSION, "added": False}


def tables(path: Path) -> dict[str, object]:
    with closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("SELECT version FROM schema_version").fetchone()
        added = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'added'").fetchone()
    return {"version": version, "added": added is not None}


def test_garbage_is_refused(path: Path) -> None:
    path.write_bytes(b"no database at all. " * 500)
    with pytest.raises(
        StoreUnusable, match="not a database; the file is damaged or no store: restore a backup"
    ):
        SqliteStore(path)


def test_damaged_store_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    pages = bytearray(path.read_bytes())
    pages[100:4096] = b"\x55" * 3996  # its table of tables
    path.write_bytes(pages)
    with pytest.raises(StoreUnusable, match="damaged or no store: restore a backup"):
        SqliteStore(path)


def test_damage_shows_in_words(path: Path) -> None:
    """A page that only a unit comes by: the store opens, and whoever comes by it is told."""
    with closing(SqliteStore(path)) as store:
        store.write(lambda verbs: verbs.set_fact("a", 1, NOW))
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'facts'").fetchone()
    pages = bytearray(path.read_bytes())
    pages[(root - 1) * 4096 : root * 4096] = b"\x55" * 4096
    path.write_bytes(pages)
    with closing(SqliteStore(path)) as store:
        with pytest.raises(StoreUnavailable, match=r"cannot be read: .*; the file is damaged"):
            store.read(lambda verbs: verbs.fact("a"))
        with pytest.raises(StoreUnavailable, match=r"cannot be written: .*; the file is damaged"):
            store.write(lambda verbs: verbs.set_fact("a", 2, NOW))


def test_database_of_others_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE invoices (a TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match=r"another program's database .*a table invoices"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="check that the folder exists"):
        SqliteStore(tmp_path / "missing" / "provisioner.db")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can look into: pytest's own cannot be entered by them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize("there", [True, False], ids=["a store", "no store"])
def test_read_only_folder_is_said(open_folder: Path, there: bool) -> None:
    path = open_folder / "provisioner.db"
    if there:
        SqliteStore(path).close()
    open_folder.chmod(0o555)
    with as_nobody(), pytest.raises(StoreUnusable, match=r"cannot be opened: .*this user may write to it"):
        SqliteStore(path)


def test_read_only_file_is_said(open_folder: Path) -> None:
    path = open_folder / "provisioner.db"
    SqliteStore(path).close()
    open_folder.chmod(0o777)
    path.chmod(0o444)
    (open_folder / "provisioner.db.lock").chmod(0o666)
    with as_nobody(), pytest.raises(StoreUnusable, match=r"cannot be opened: .*this user may write to it"):
        SqliteStore(path)


def test_second_process_is_refused(store: SqliteStore, path: Path) -> None:
    code = (
        "import pathlib, sys; from provisioner.store import sqlite; "
        "sqlite.SqliteStore(pathlib.Path(sys.argv[1]))"
    )
    second = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode != 0
    assert re.search("in use by another process; end that one first, or use its admin API", second.stderr)
    store.write(lambda verbs: verbs.set_fact("a", 1, NOW))  # the first one goes on


def test_lock_ends_with_the_store(path: Path) -> None:
    for _ in range(2):
        SqliteStore(path).close()


def test_failed_opening_leaves_no_lock(path: Path) -> None:
    path.write_bytes(b"no database at all. " * 500)
    with pytest.raises(StoreUnusable):
        SqliteStore(path)
    path.unlink()
    SqliteStore(path).close()


# What goes wrong while it is open


def test_full_disk_is_said_and_passes(store: SqliteStore) -> None:
    """Nothing of the unit is kept, nor of its batch; with room again the same store goes on."""
    writer = store._writer.raw
    (used,) = writer.execute("PRAGMA page_count").fetchone().values()
    writer.execute(f"PRAGMA max_page_count={used + 5}").fetchall()

    def unit(verbs: Verbs) -> None:
        for number in range(200):
            verbs.set_fact(f"fact:{number}", "x" * 900, NOW)

    with pytest.raises(StoreUnavailable, match="the disk is full: make room"):
        store.write(unit)
    assert store.read(lambda verbs: verbs.facts_like("fact:")) == {}
    writer.execute("PRAGMA max_page_count=1000000").fetchall()
    store.write(unit)
    assert len(store.read(lambda verbs: verbs.facts_like("fact:"))) == 200


def test_file_that_another_program_writes_is_said_and_passes(store: SqliteStore, path: Path) -> None:
    store._writer.raw.execute("PRAGMA busy_timeout = 0").fetchall()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked; another program writes to it: end that one"):
            store.write(lambda verbs: verbs.set_fact("fact", 1, NOW))
    store.write(lambda verbs: verbs.set_fact("fact", 2, NOW))


def test_what_a_writer_remembers_is_bounded(store: SqliteStore) -> None:
    for number in range(2 * MOST_FACTS):
        store.write(lambda verbs, name=f"fact:{number}": verbs.fact(name))  # type: ignore[misc]
    assert len(store._writer.memory.facts) <= MOST_FACTS + 1


def test_batch_without_a_deed_leaves_the_audits_end(store: SqliteStore) -> None:
    store.write(lambda verbs: verbs.add_audit(a_deed()))
    said: list[str] = []
    store._writer.raw.set_trace_callback(said.append)
    store.write(lambda verbs: verbs.set_fact("a", 1, NOW))
    store._writer.raw.set_trace_callback(None)
    assert not [sql for sql in said if "audit" in sql]


def test_number_that_was_drawn_in_vain_is_drawn_again(store: SqliteStore) -> None:
    """An event that takes the place of one of the same webhook-id keeps that one's number."""
    rejected = an_event("evt_1", state="rejected")
    for event in (rejected, rejected, an_event("evt_2")):
        store.write(lambda verbs, event=event: verbs.add_event(event))  # type: ignore[misc]
    assert [one.seq for one in store.read(lambda verbs: verbs.events(9, None))] == [2, 1]
