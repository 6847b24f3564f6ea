"""The engine for several nodes: PostgreSQL, with one writer at a time over all of them.

What a unit decides rests on what it has read: whether a brake is on, which job is claimed, where the audit
ends. So a batch of units takes an advisory lock before its first look, and units see each other one by one,
as with SQLite (docs/decisions/0011). A node that is killed, frozen or cut off within a batch loses the lock
with its session: PostgreSQL ends a transaction that has stood idle for `IDLE_S`.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

import psycopg
from psycopg import ClientCursor, Connection, Cursor, IsolationLevel
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row, tuple_row
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from provisioner.errors import ProvisionerError, StoreUnavailable, StoreUnusable
from provisioner.logs import Log
from provisioner.store.migrate import create, migrate, prepare_update, refuse_foreign, takes_away
from provisioner.store.verbs import AUDIT_END, NUMBERED, Memory, Row, Verbs, in_parts, place_of
from provisioner.store.writer import CLOSING, Unit, Writer

log = Log(__name__)

T = TypeVar("T")

LEAST_POSTGRESQL = 130000  # as server_version_num has it: the oldest that is still tested with psycopg
READERS = 16  # connections that read, at most
PATIENCE_S = 5.0  # how long a reader waits for one of them
RECONNECT_S = 8.0  # how long a batch waits for a database that restarts: less than its callers do
AGAIN_S = 0.1  # between two tries to reach it
IDLE_S = 5.0  # how long a node that stands still may hold the lock: the others wait as long
LOCK_S = 8.0  # how long a batch waits for the lock: less than its callers do
STATEMENT_S = 8.5  # of one statement: nobody waits longer for an answer
SILENCE_S = 9.0  # without a word from the database a line counts as cut; longer than whatever it may wait for
LISTENING_S = 5.0  # between two questions of who listens: only an answer shows that it could hear
EAR_S = 0.5  # so long it listens before it looks whether it is to end
STARTED_S = 60.0  # a database that has restarted within that time may not know yet which nodes there are

WRITER, SCHEMA, NODE = 0x70726F76_01, 0x70726F76_02, 0x70726F76_03  # advisory locks: numbers of our own
CHANNEL = "provisioner"  # where nodes are told that something was queued
WAKING = ("operations", "deliveries")  # what another node may work off
IN_ORDER = ["-", "_", "ab", "a b", "a", "B", "Z", "z", "ä"]

_SETTINGS = (
    f"SET idle_in_transaction_session_timeout = {int(IDLE_S * 1000)};"
    f"SET lock_timeout = {int(LOCK_S * 1000)};"
    f"SET statement_timeout = {int(STATEMENT_S * 1000)};"
    # The database, too, ends the sessions of who is cut off, and with them their locks.
    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;"
    "SET synchronous_commit = on; SET client_encoding = 'UTF8'"
)
_NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now"
_LAST = ", ".join(f"(SELECT coalesce(max(seq), 0) FROM {table}) AS {table}" for table in NUMBERED)  # noqa: S608
_AUDIT_END = f"(SELECT value FROM facts WHERE name = '{AUDIT_END}') AS audit_end"  # noqa: S608
_BEGIN = f"BEGIN; SELECT pg_advisory_xact_lock({WRITER}); SAVEPOINT unit; {_NOW}, {_LAST}, {_AUDIT_END}"
_HOLDING = (
    "FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND classid = :high AND objid = :low"
)
# What is broken must be noticed by both sides within the time in which others wait for it.
_KEEPALIVES: dict[str, Any] = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "provisioner",
}


class _Line(Connection[DictRow]):
    """A connection that is given up where the database says nothing for so many seconds.

    What is between may keep a line open and swallow what is sent: no keepalive notices that.
    """

    silence_s = SILENCE_S

    def wait(self, gen: Any, *arguments: Any, **named: Any) -> Any:
        """As psycopg's own.

        :raises psycopg.OperationalError: it was given up.
        """
        return super().wait(self._heard(gen), *arguments, **named)

    def _heard(self, gen: Any) -> Any:
        heard_at = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard_at = time.monotonic()
                elif time.monotonic() - heard_at > self.silence_s:
                    self.close()
                    raise psycopg.OperationalError("the database does not answer")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value


class _Connection:
    """One connection as the verbs' engine.

    What is put is kept until something is asked or the unit ends, and then sent in one message: a round trip
    for all of it, and none that is only half sent while the database waits for the rest of it.
    """

    def __init__(self, connection: Connection[DictRow], memory: Memory | None = None) -> None:
        self.raw = connection
        self.memory = memory or Memory()
        self._binder = ClientCursor(connection)
        self._puts: list[str] = []

    def run(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        self.send()
        return self.raw.execute(_translated(sql), _storable(parameters)).fetchall()

    def tuples(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        self.send()
        cursor = self.raw.cursor(row_factory=tuple_row)
        return cursor.execute(_translated(sql), _storable(parameters)).fetchall()

    def change(self, sql: str, parameters: Mapping[str, Any]) -> int:
        self.send()
        return self.raw.execute(_translated(sql), _storable(parameters)).rowcount

    def put(self, sql: str, parameters: Mapping[str, Any]) -> None:
        self._puts.append(self._binder.mogrify(_translated(sql), _storable(parameters)))

    def send(self, *then: str) -> None:
        """Has carried out what was put, and these statements behind it."""
        statements = [*self._puts, *then]
        self._puts.clear()
        if statements:
            self.raw.execute(";".join(statements).encode(), prepare=False)

    def go_back(self, before: Memory) -> None:
        """Takes back what the present unit has done."""
        self._puts.clear()
        self.send("ROLLBACK TO unit")
        self.memory = before.without_facts()


def _memory(row: Row) -> Memory:
    end = row["audit_end"]
    return Memory({table: int(row[table]) for table in NUMBERED}, place_of(end and json.loads(end)))


def _storable(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """PostgreSQL's TEXT has no NUL."""
    return {
        name: value.replace("\0", "\ufffd") if isinstance(value, str) else value
        for name, value in parameters.items()
    }


@cache
def _translated(sql: str) -> bytes:
    """A statement in psycopg's own style."""
    parts = in_parts(sql.replace("/*skip locked*/", "FOR UPDATE SKIP LOCKED").replace("%", "%%"))
    parts[1::2] = [f"%({name})s" for name in parts[1::2]]
    return "".join(parts).encode()


class PostgresStore:
    """A store in one PostgreSQL database, for any number of processes.

    :param url: `postgresql://…`; a database of its own, whose tables are made where they are missing.
    :param before_update: called with the version of an older store before that is brought up to date; without
        it an older store is refused.
    :raises StoreUnusable: it cannot be reached, is older (`store_older`) or newer than this version, another
        program's, or does not sort or keep what is written as it must.
    """

    def __init__(self, url: str, before_update: Callable[[int], None] | None = None) -> None:
        self._place = make_conninfo(url, **{**_KEEPALIVES, **conninfo_to_dict(url)})
        self.name = name_of(url)
        self._writing: _Line | None = None
        self._lost_at: float | None = None  # since when it is away, by the monotonic clock, in seconds
        try:
            self._writing = self._connect()
            _prepare(self._writing, self.name, before_update)
        except psycopg.Error as error:
            self._drop()
            raise StoreUnusable(f"the store {self.name} cannot be opened: {_words(error)}") from error
        except BaseException:
            self._drop()
            raise
        self._offset_ms = 0
        self._hear(self._writing.execute(_NOW))
        self._closing = False
        self._readers = ConnectionPool(
            self._place,
            connection_class=_Line,
            kwargs={"row_factory": dict_row},
            configure=_as_reader,
            min_size=0,
            max_size=READERS,
            max_waiting=8 * READERS,
            timeout=PATIENCE_S,
            reconnect_timeout=PATIENCE_S,
            name="readers",
            open=True,
        )
        self._presence: Presence | None = None
        self._queue = Writer(self._commit)

    def clock(self) -> int:
        """The database's time, which is the same for every node: milliseconds since the epoch, UTC."""
        return _monotonic_ms() + self._offset_ms

    def write(self, unit: Callable[[Verbs], T]) -> T:
        """See `Store.write`. The unit runs in the writer's thread, and again where the database was lost."""
        return self._queue.write(unit)

    def retire(self, unit: Callable[[Verbs], T], why: str) -> T:
        """See `Store.retire`. It ends this process's writing, no other's."""
        return self._queue.retire(unit, why)

    def read(self, unit: Callable[[Verbs], T]) -> T:
        """See `Store.read`. The unit runs in the caller's thread, and again where the database was lost.

        :raises StoreUnavailable: it cannot be read (away, closing), or too many are reading.
        """
        return self._with_reader(lambda reader: unit(Verbs(reader)))

    def begin(self, wake: Callable[[], None], alone: Callable[[], None], badges: Sequence[int] = ()) -> None:
        """See `Store.begin`."""
        self._presence = Presence(self._connect, wake, alone, badges)

    def is_served(self) -> bool:
        """See `Store.is_served`."""
        return self._with_reader(_serves)

    def served_without(self, badge: int) -> int:
        """See `Store.served_without`."""
        return self._with_reader(lambda reader: _serving_without(reader, badge))

    def close(self) -> None:
        """See `Store.close`."""
        self._closing = True
        if not self._queue.close():
            return
        if self._presence is not None:
            self._presence.close()
        self._readers.close()
        self._drop()

    def _with_reader(self, work: Callable[[_Connection], T]) -> T:
        """Looks a second time where the first was in vain: after a restart each connection is broken, after
        an update by a newer version each prepared statement."""
        if self._closing:
            raise StoreUnavailable(CLOSING)
        until = time.monotonic() + SILENCE_S
        try:
            return self._read(work, until)
        except psycopg.Error as error:
            self._readers.drain()
            if time.monotonic() >= until:
                raise _unreadable(error) from error
        try:
            return self._read(work, until)
        except psycopg.Error as error:
            raise _unreadable(error) from error

    def _read(self, work: Callable[[_Connection], T], until: float) -> T:
        """One look.

        :param until: when the database must have said something, by the monotonic clock, in seconds.
        :raises psycopg.Error: it was in vain.
        """
        try:
            with self._readers.connection(min(PATIENCE_S, until - time.monotonic())) as connection:
                connection.silence_s = until - time.monotonic()
                engine = _Connection(connection)
                found = work(engine)
                engine.send()  # a reader that writes is told so
                return found
        except (PoolTimeout, TooManyRequests, PoolClosed) as error:
            raise StoreUnavailable(
                "the store gave no connection to read with: its database is away, or too many read at once; "
                "try again later"
            ) from error

    def _connect(self) -> _Line:
        connection = _Line.connect(self._place, autocommit=True, row_factory=dict_row)
        connection.execute(_SETTINGS, prepare=False)
        return connection

    def _is_lost(self) -> bool:
        return self._writing is None or self._writing.closed

    def _drop(self) -> None:
        connection, self._writing = self._writing, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _commit(self, batch: list[Unit]) -> None:
        """Carries a batch out. Until COMMIT is sent nothing can have been kept, so it begins again on another
        connection where this one was lost; after that it may have been. A database that has been away for
        long is tried once: those who wait are told at once."""
        began_at = time.monotonic()
        while True:
            committing = threading.Event()
            try:
                self._transact([unit for unit in batch if not unit.abandoned], committing)
                self._lost_at = None
                return
            except Exception as error:
                is_away = isinstance(error, psycopg.OperationalError) or self._is_lost()
                self._drop()
                away_since = self._lost_at or began_at
                self._lost_at = away_since if is_away else None
                if committing.is_set() or not is_away or time.monotonic() >= away_since + RECONNECT_S:
                    for unit in batch:
                        unit.error = _unwritable(error)
                    return
            time.sleep(AGAIN_S)

    def _transact(self, batch: Sequence[Unit], committing: threading.Event) -> None:
        raw = self._writing = self._writing or self._connect()
        engine = _Connection(raw, _memory(self._hear(raw.execute(_BEGIN, prepare=False))))
        begun = engine.memory.without_facts()
        for unit in batch:
            self._run(engine, unit)
        Verbs(engine).keep_audit_end()
        queued = [table for table in WAKING if engine.memory.seqs[table] > begun.seqs[table]]
        engine.send(*[f"NOTIFY {CHANNEL}"] if queued else [])
        committing.set()
        raw.execute("COMMIT", prepare=False)

    def _run(self, engine: _Connection, unit: Unit) -> None:
        before = engine.memory.without_facts()
        try:
            self._try(engine, unit, before)
        except psycopg.errors.FeatureNotSupported:  # a newer version has changed a table: prepare anew
            engine.go_back(before)
            self._try(engine, unit, before)

    def _try(self, engine: _Connection, unit: Unit, before: Memory) -> None:
        unit.result = unit.error = None
        try:
            unit.result = unit.work(Verbs(engine))
            engine.send("RELEASE unit", "SAVEPOINT unit")
        except psycopg.errors.FeatureNotSupported:
            raise
        except Exception as error:
            if engine.raw.closed:
                raise
            engine.go_back(before)
            unit.error = error if isinstance(error, ProvisionerError) else _as_store_error(error)

    def _hear(self, cursor: Cursor[DictRow]) -> Row:
        """Sets the clock by the database's, which is in the last that it was asked: its answer."""
        while cursor.nextset():
            pass
        (row,) = cursor.fetchall()
        self._offset_ms = row["now"] - _monotonic_ms()
        return row


class Presence:
    """That this process serves: a lock that ends with its session, and an ear for what others queue.

    :param wake: called when another process has queued something.
    :param alone: called before any other process can begin, where none serves.
    :param badges: numbers of locks that it holds, too, for others to see.
    """

    def __init__(
        self,
        connect: Callable[[], _Line],
        wake: Callable[[], None],
        alone: Callable[[], None],
        badges: Sequence[int],
    ) -> None:
        self._connect = connect
        self._badges = badges
        self._wake = wake
        self._closing = threading.Event()
        try:
            connection = connect()
            _be_present(connection, alone, badges)
        except psycopg.Error as error:
            raise _unwritable(error) from error
        self._thread = threading.Thread(
            target=self._listen, args=(connection,), name="store-presence", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Others may be alone from here on."""
        self._closing.set()
        self._thread.join()

    def _listen(self, connection: _Line) -> None:
        is_present = True
        while not self._closing.is_set():
            try:
                if not is_present:
                    connection = self._connect()
                    _be_present(connection, None, self._badges)
                    is_present = True
                    self._wake()  # something may have been said meanwhile
                self._hear(connection)
            except psycopg.Error as error:
                if is_present:
                    log.warning("store_presence_lost", error=_words(error))
                is_present = False
                connection.close()
                self._closing.wait(AGAIN_S)
        _leave(connection)

    def _hear(self, connection: _Line) -> None:
        """Wakes for what is said, until it is time to ask whether anything could be heard."""
        until = time.monotonic() + LISTENING_S
        while not self._closing.is_set() and time.monotonic() < until:
            for _ in connection.notifies(timeout=EAR_S, stop_after=1):
                self._wake()
        connection.execute("SELECT 1")


def _serves(connection: _Connection) -> bool:
    """Whether a process serves the database."""
    return bool(connection.run(f"SELECT 1 AS found {_HOLDING}", _halves(NODE)))


def _serving_without(connection: _Connection, badge: int) -> int:
    """How many processes serve the database and hold no lock of this number."""
    serve = _holding(connection, NODE)
    return len(serve - _holding(connection, badge))  # asked last: who serves has shown its badges before


def _holding(connection: _Connection, lock: int) -> set[int]:
    return {row["pid"] for row in connection.run(f"SELECT pid {_HOLDING}", _halves(lock))}


def _halves(lock: int) -> dict[str, int]:
    """How an advisory lock's number is listed."""
    return {"high": lock >> 32, "low": lock & 0xFFFFFFFF}


def _be_present(connection: _Line, alone: Callable[[], None] | None, badges: Sequence[int]) -> None:
    """Takes the lock that every serving process shares, with its badges before it, and listens."""
    for badge in badges:
        connection.execute("SELECT pg_advisory_lock_shared(%s)", (badge,))
    if alone is not None and _is_alone(connection):
        try:
            alone()
        finally:
            connection.execute(f"SELECT pg_advisory_lock_shared({NODE}), pg_advisory_unlock({NODE})")
    else:
        connection.execute(f"SELECT pg_advisory_lock_shared({NODE})")
    connection.execute(f"LISTEN {CHANNEL}")


def _leave(connection: _Line) -> None:
    """Gives the lock back before it goes: the database sees the end of a session a little later."""
    with suppress(psycopg.Error):
        connection.execute("SELECT pg_advisory_unlock_all()")
    connection.close()


def _is_alone(connection: _Line) -> bool:
    """Whether nobody else serves; then the lock is held alone, until it is shared."""
    sql = "SELECT pg_postmaster_start_time() < clock_timestamp() - make_interval(secs => %s) AND"
    row = connection.execute(f"{sql} pg_try_advisory_lock({NODE}) AS alone", (STARTED_S,)).fetchone()
    return bool(row and row["alone"])


def name_of(url: str) -> str:
    """What people may read of a database's address: no password."""
    parts = conninfo_to_dict(url)
    return f"postgresql://{parts.get('host') or 'localhost'}/{parts.get('dbname') or ''}"


def _as_reader(connection: _Line) -> None:
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    connection.autocommit = True
    connection.execute(_SETTINGS, prepare=False)
    connection.autocommit = False


def _prepare(connection: _Line, name: str, before_update: Callable[[int], None] | None) -> None:
    """Makes the tables of a new store, or brings an older one up to date: whole, and one node at a time."""
    _examine(connection, name)
    connection.silence_s = math.inf  # what changes tables takes its time
    with connection.transaction():
        connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0", prepare=False)
        connection.execute(f"SELECT pg_advisory_xact_lock({SCHEMA})")
        version = version_in(connection, name)
        prepare_update(version, name, before_update)
        if version and takes_away(version) and _serves(_Connection(connection)):
            raise StoreUnusable(
                f"the store {name} loses what nodes of the version before need; end them all, then start this"
            )
        for sql in migrate(version, is_shared=True) if version else create():
            connection.execute(sql.encode())
    connection.silence_s = SILENCE_S


def version_in(connection: Connection[DictRow], name: str) -> int:
    """The version of a store's schema; 0 where there is none yet.

    :raises StoreUnusable: the database is another program's.
    """
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    tables = {row["tablename"] for row in rows}
    refuse_foreign(tables, name, "name a database of its own")
    row = connection.execute("SELECT version FROM schema_version").fetchone() if tables else None
    return int(row["version"]) if row else 0


def _examine(connection: Connection[DictRow], name: str) -> None:
    """Looks whether the database can be written, sorts by bytes and keeps what it has committed."""
    row = connection.execute(
        "SELECT current_setting('server_version_num')::int AS version, current_setting('fsync') AS fsync,"
        " current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS is_replica,"
        " ARRAY(SELECT x FROM unnest(%s::text[]) x ORDER BY x) AS in_order",
        (IN_ORDER,),
    ).fetchone()
    if row is not None and (problem := problem_of(row)):
        raise StoreUnusable(f"the store {name} cannot be used: {problem}")


def problem_of(row: Row) -> str:
    """What is wrong with a database; '' where nothing is."""
    if row["version"] < LEAST_POSTGRESQL:
        return (
            f"PostgreSQL {row['version'] // 10000} is too old; {LEAST_POSTGRESQL // 10000} or newer is needed"
        )
    if row["is_replica"]:
        return "it is a replica, which nobody writes to; name the primary in [store] url"
    if row["encoding"] != "UTF8" or row["in_order"] != sorted(IN_ORDER):
        return (
            "it does not sort by bytes; make it anew: CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8' "
            "LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    if row["fsync"] != "on":
        return f"it runs with fsync = {row['fsync']}, so a power cut would lose orders; turn it on"
    return ""


def _as_store_error(error: Exception) -> Exception:
    if isinstance(error, psycopg.Error) and not isinstance(error, psycopg.IntegrityError):
        return _unwritable(error)
    return error


def _unwritable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"the store cannot be written: {_words(error)}")


def _unreadable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"the store cannot be read: {_words(error)}")


def _words(error: BaseException) -> str:
    """What the database says, in one line; it names no password."""
    first = str(error).strip().splitlines()
    return first[0] if first else type(error).__name__


def _monotonic_ms() -> int:
    """Goes on while the machine sleeps, where the system can say so."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return (time.clock_gettime_ns(clock) if clock is not None else time.monotonic_ns()) // 1_000_000
