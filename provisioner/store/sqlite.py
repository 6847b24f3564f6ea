"""The embedded engine: SQLite with one writer thread that commits once for all that waits (group commit).

One writing connection keeps clear of SQLite's WAL-reset bug, which needs two, and is several times faster
than a connection for each thread, because everybody who waits shares one fsync. Readers have connections of
their own that cannot write.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

from provisioner.errors import ProvisionerError, StoreUnavailable, StoreUnusable
from provisioner.store.migrate import create, migrate, prepare_update, refuse_foreign, version_in
from provisioner.store.verbs import Memory, Row, Verbs, in_parts
from provisioner.store.writer import CLOSING, Unit, Writer

T = TypeVar("T")

LEAST_SQLITE = (3, 35, 0)  # RETURNING
CHECKPOINT_S = 30.0  # what was erased leaves the log file, too, so long after its commit


def is_affected(version: tuple[int, ...]) -> bool:
    """Whether this SQLite has the WAL-reset bug (fixed in 3.51.3, and in 3.50.7 and 3.44.6)."""
    backports = {(3, 50): (3, 50, 7), (3, 44): (3, 44, 6)}
    fixed_in = backports.get((version[0], version[1]), (3, 51, 3))
    return (3, 7, 0) <= version < fixed_in


def wall_clock() -> int:
    """Milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


class _Connection:
    """One connection as the verbs' engine."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.raw = connection
        self.raw.row_factory = _as_dict
        self.memory = Memory()

    def run(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        return self.raw.execute(*_placed(sql, parameters)).fetchall()

    def tuples(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        cursor = self.raw.cursor()
        cursor.row_factory = None
        return cursor.execute(*_placed(sql, parameters)).fetchall()

    def change(self, sql: str, parameters: Mapping[str, Any]) -> int:
        return self.raw.execute(*_placed(sql, parameters)).rowcount

    def put(self, sql: str, parameters: Mapping[str, Any]) -> None:
        self.raw.execute(*_placed(sql, parameters))


def _placed(sql: str, parameters: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """A statement and its parameters in their places, which are bound in half the time of named ones."""
    placed, names = _translated(sql)
    return placed, [parameters[name] for name in names]


@cache
def _translated(sql: str) -> tuple[str, list[str]]:
    """A statement with question marks for its parameters, and their names."""
    parts = in_parts(sql)
    return "?".join(parts[::2]).strip(), parts[1::2]


_NAME = itemgetter(0)


def _as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(map(_NAME, cursor.description), row, strict=True))


class SqliteStore:
    """A store in one SQLite file, for one process.

    :param path: the database file; made, with its tables, where it is missing.
    :param before_update: called with the version of an older store before that is brought up to date, while
        nobody else can use it; without it an older store is refused.
    :raises StoreUnusable: locked by another process, older (`store_older`) or newer than this version,
        corrupt or not writable.
    """

    def __init__(self, path: Path, before_update: Callable[[int], None] | None = None) -> None:
        if sqlite3.sqlite_version_info < LEAST_SQLITE:
            raise StoreUnusable(
                f"SQLite {sqlite3.sqlite_version} is too old: RETURNING needs 3.35 or newer; "
                "use a Python that is built with a newer one"
            )
        self.path = path
        self.name = str(path)
        self._lock = _lock(path)
        try:
            self._writer = _Connection(_open_writer(path, before_update))
        except BaseException:
            os.close(self._lock)
            raise
        self._change = threading.Condition()
        self._idle_readers: list[_Connection] = []
        self._reading = 0
        self._closing = False
        self._queue = Writer(self._commit, self._empty_log, CHECKPOINT_S)

    def clock(self) -> int:
        """See `Store.clock`."""
        return wall_clock()

    def write(self, unit: Callable[[Verbs], T]) -> T:
        """See `Store.write`. The unit runs in the writer's thread, and again where another one of its batch
        raised after it had changed something."""
        return self._queue.write(unit)

    def retire(self, unit: Callable[[Verbs], T], why: str) -> T:
        """See `Store.retire`."""
        return self._queue.retire(unit, why)

    def read(self, unit: Callable[[Verbs], T]) -> T:
        """See `Store.read`. The unit runs in the caller's thread.

        :raises StoreUnavailable: it cannot be read (damaged, closing).
        """
        try:
            with self._reader() as engine:
                engine.raw.execute("BEGIN")
                engine.memory = Memory()  # others have written since the last look
                try:
                    return unit(Verbs(engine))
                finally:
                    engine.raw.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the store cannot be read: {error}; {_remedy(error)}") from error

    def begin(self, wake: Callable[[], None], alone: Callable[[], None], badges: Sequence[int] = ()) -> None:
        """See `Store.begin`. The lock file says that nobody else serves."""
        alone()

    def is_served(self) -> bool:
        """See `Store.is_served`."""
        return False

    def served_without(self, badge: int) -> int:
        """See `Store.served_without`: who has the store open is the only one, and is not asked."""
        return 0

    def close(self) -> None:
        """See `Store.close`."""
        with self._change:
            self._closing = True
        if not self._queue.close():
            return
        with self._change:
            self._change.wait_for(lambda: not self._reading)
        for engine in self._idle_readers:
            engine.raw.close()
        self._empty_log()
        self._writer.raw.close()
        os.close(self._lock)

    @contextmanager
    def _reader(self) -> Iterator[_Connection]:
        """A connection that cannot write, for one unit at a time."""
        with self._change:
            if self._closing:
                raise StoreUnavailable(CLOSING)
            engine = self._idle_readers.pop() if self._idle_readers else None
            self._reading += 1
        try:
            engine = engine or _Connection(_open_reader(self.path))
            yield engine
        finally:
            with self._change:
                self._reading -= 1
                if engine is not None:
                    self._idle_readers.append(engine)
                if self._closing:
                    self._change.notify_all()

    def _empty_log(self) -> bool:
        """Moves the log into the database and empties it; False where a reader was in the way."""
        with suppress(sqlite3.Error):  # what is wrong with the disk is said to the next who writes
            row = self._writer.raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not row["busy"]
        return False

    def _commit(self, batch: list[Unit]) -> None:
        """Commits once for all; none knows of another that leaves nothing behind."""
        try:
            try:
                self._transact(batch)
            except _Left:
                self._give_up()
                self._transact(batch, apart=True)
        except BaseException as error:
            self._give_up()
            for unit in batch:
                unit.error = StoreUnavailable(f"the store cannot be written: {error}; {_remedy(error)}")

    def _transact(self, batch: list[Unit], *, apart: bool = False) -> None:
        """:param apart: each unit in a savepoint of its own, which most batches do well without.
        :raises _Left: one that raised has left something behind, and has no savepoint to go back to.
        """
        raw = self._writer.raw
        self._writer.memory.begin_batch()
        raw.execute("BEGIN IMMEDIATE")
        for unit in batch:
            if apart:
                raw.execute("SAVEPOINT unit")
            self._run(unit, has_savepoint=apart)
            if apart:
                raw.execute("RELEASE unit")
        Verbs(self._writer).keep_audit_end()
        raw.execute("COMMIT")

    def _run(self, unit: Unit, *, has_savepoint: bool) -> None:
        raw = self._writer.raw
        before, changes = self._writer.memory.without_facts(), raw.total_changes
        unit.result = unit.error = None
        try:
            unit.result = unit.work(Verbs(self._writer))
        except Exception as error:
            if not raw.in_transaction:  # SQLite itself gave the whole transaction up: disk full, I/O error
                raise
            if has_savepoint:
                raw.execute("ROLLBACK TO unit")
            elif raw.total_changes != changes:
                raise _Left from error
            self._writer.memory = before
            unit.error = error if isinstance(error, ProvisionerError) else _as_store_error(error)

    def _give_up(self) -> None:
        """Takes the whole transaction back."""
        with suppress(sqlite3.Error):  # SQLite may have given it up already
            self._writer.raw.execute("ROLLBACK")
        self._writer.memory = Memory()


class _Left(Exception):
    """A unit that raised has changed something."""


def _as_store_error(error: Exception) -> Exception:
    if isinstance(error, sqlite3.OperationalError | sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.IntegrityError
    ):
        return StoreUnavailable(f"the store cannot be written: {error}; {_remedy(error)}")
    return error


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)


def _open_reader(path: Path) -> sqlite3.Connection:
    connection = _connect(path)
    connection.execute("PRAGMA wal_autocheckpoint=0").fetchall()
    connection.execute("PRAGMA query_only=1").fetchall()
    return connection


def _open_writer(path: Path, before_update: Callable[[int], None] | None) -> sqlite3.Connection:
    try:
        _make_private(path)
        connection = _connect(path)
        try:
            _refuse_others(connection, path)
            _set_and_check(connection, "journal_mode", "wal")
            _set_and_check(connection, "synchronous", 2)
            _set_and_check(connection, "foreign_keys", 1)
            _set_and_check(connection, "secure_delete", 1)
            _prepare(connection, path, before_update)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise StoreUnusable(f"the store {path} cannot be opened: {error}; {_remedy(error)}") from error
    return connection


def _make_private(path: Path) -> None:
    """The file is its owner's before anything is in it: SQLite gives its log and index the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)


def _refuse_others(connection: sqlite3.Connection, path: Path) -> None:
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    refuse_foreign(tables, path, "name a file of its own")


def _set_and_check(connection: sqlite3.Connection, pragma: str, wanted: str | int) -> None:
    connection.execute(f"PRAGMA {pragma}={wanted}").fetchall()
    found = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    if found != wanted:
        raise StoreUnusable(
            f"SQLite did not take {pragma}={wanted}, it says {found}: is the disk a network one?"
        )


def _prepare(connection: sqlite3.Connection, path: Path, before_update: Callable[[int], None] | None) -> None:
    """Makes the tables of a new store, or brings an older one up to date, in one transaction."""
    version = version_in(connection)
    back = ", or restore a backup made by this one"
    prepare_update(version, path, before_update, back=back, how="copies it and ")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for sql in migrate(version) if version else create():
            connection.execute(sql)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _lock(path: Path) -> int:
    """Holds the lock file beside the store, so that there is one writing process always."""
    try:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnusable(f"the store {path} cannot be opened: {error}; {_remedy(error)}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if not isinstance(error, BlockingIOError):
            raise StoreUnusable(f"the store {path} cannot be locked: {error}; {_remedy(error)}") from error
        raise StoreUnusable(
            f"the store {path} is in use by another process; end that one first, or use its admin API",
            code="store_locked",
        ) from None
    return lock


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the store's lock for something that works on the file itself.

    :raises StoreUnusable: another process has it.
    """
    lock = _lock(path)
    try:
        yield
    finally:
        os.close(lock)


def _remedy(error: BaseException) -> str:
    text = str(error)
    if "full" in text or "No space" in text:
        return "the disk is full: make room"
    if "readonly" in text or "unable to open" in text or isinstance(error, OSError):
        return "check that the folder exists and that this user may write to it"
    if "malformed" in text or "not a database" in text:
        return "the file is damaged or no store: restore a backup"
    if "disk I/O" in text:
        return "look whether the disk is full or failing"
    if "locked" in text:
        return "another program writes to it: end that one"
    return "if it stays so, report this"
