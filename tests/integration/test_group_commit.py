"""One writer commits once for all that waits, and answers each one: nobody is left, nothing is half-kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from provisioner.errors import NotFound, ProvisionerError, StoreUnavailable
from provisioner.store import sqlite, writer
from provisioner.store.sqlite import SqliteStore
from provisioner.store.verbs import SealedCredentials, Verbs
from tests.integration.store_conformance import NOW, an_operation, keep

LONG_S = 60.0  # longer than anything here takes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "provisioner.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    store.close()


class Caller(threading.Thread):
    """Somebody who writes, or closes, and waits for the answer."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__()
        self._call = call
        self._outcome: Any = None
        self.start()

    def run(self) -> None:
        try:
            self._outcome = self._call()
        except ProvisionerError as error:
            self._outcome = error

    def answer(self, within_s: float = LONG_S) -> Any:
        self.join(within_s)
        assert not self.is_alive(), "never answered"
        return self._outcome


def wait_for(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < ends_at, "it never came true"
        time.sleep(0.001)


@contextmanager
def blocked(store: SqliteStore) -> Iterator[None]:
    """The writer is busy with a unit; whoever writes now waits, and is one batch with the others."""
    begun, go_on = threading.Event(), threading.Event()

    def unit(_: Verbs) -> None:
        begun.set()
        go_on.wait(LONG_S)

    caller = Caller(lambda: store.write(unit))
    begun.wait(LONG_S)
    try:
        yield
    finally:
        go_on.set()
        caller.answer()


def fact(number: int, error: Exception | None = None) -> Callable[[Verbs], int]:
    """A unit that keeps a fact, and then may raise."""

    def unit(verbs: Verbs) -> int:
        verbs.set_fact(f"fact:{number}", number, NOW)
        if error is not None:
            raise error
        return number

    return unit


def queue(store: SqliteStore, *units: Callable[[Verbs], Any]) -> list[Caller]:
    """Has units wait, in this order."""
    callers = []
    for unit in units:
        waiting = len(store._queue._units)
        callers.append(Caller(lambda unit=unit: store.write(unit)))  # type: ignore[misc]
        wait_for(lambda waiting=waiting: len(store._queue._units) > waiting)  # type: ignore[misc]
    return callers


def kept(store: SqliteStore) -> list[int]:
    return sorted(store.read(lambda verbs: verbs.facts_like("fact:")).values())


@contextmanager
def traced(store: SqliteStore) -> Iterator[list[str]]:
    """The statements of the writing connection."""
    statements: list[str] = []
    store._writer.raw.set_trace_callback(statements.append)
    yield statements
    store._writer.raw.set_trace_callback(None)


@pytest.mark.parametrize(("units", "most", "commits"), [(20, 256, 1), (12, 5, 3)])
def test_waiting_units_share_a_commit(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, units: int, most: int, commits: int
) -> None:
    monkeypatch.setattr(writer, "BATCH", most)
    with traced(store) as statements:
        with blocked(store):
            callers = queue(store, *map(fact, range(units)))
        assert [caller.answer() for caller in callers] == list(range(units))
    assert statements.count("COMMIT") == 1 + commits  # the one is the unit's that kept the writer busy
    assert kept(store) == list(range(units))


def test_nobody_is_answered_before_the_commit(store: SqliteStore) -> None:
    answered: list[int] = []

    def see(statement: str) -> None:
        if statement == "COMMIT":
            answered.append(sum(not caller.is_alive() for caller in callers))

    with blocked(store):
        callers = queue(store, *map(fact, range(5)))
        store._writer.raw.set_trace_callback(see)
    assert [caller.answer() for caller in callers] == list(range(5))
    store._writer.raw.set_trace_callback(None)
    assert answered == [0, 0]  # at the blocking unit's own commit, and at theirs


def test_raising_unit_spares_its_batch(store: SqliteStore) -> None:
    errors = {1: NotFound("there is no such thing"), 3: NotFound("nor that")}
    with traced(store) as statements:
        with blocked(store):
            callers = queue(store, *(fact(number, errors.get(number)) for number in range(5)))
        assert [caller.answer() for caller in callers] == [0, errors[1], 2, errors[3], 4]
    assert statements.count("COMMIT") == 2
    assert kept(store) == [0, 2, 4]


def test_failing_commit_answers_everybody(store: SqliteStore) -> None:
    """Each unit went well, and nothing of it was kept: so each one is told."""
    keep(store, an_operation())

    def breaking(verbs: Verbs) -> None:
        fact(0)(verbs)
        store._writer.raw.execute("PRAGMA defer_foreign_keys=ON")
        store._writer.raw.execute("DELETE FROM services")  # looked at when it is committed

    with blocked(store):
        callers = queue(store, fact(1), breaking, fact(2))
    for caller in callers:
        error = caller.answer()
        assert isinstance(error, StoreUnavailable)
        assert "FOREIGN KEY" in error.public
    assert kept(store) == []
    store.write(fact(9))
    assert kept(store) == [9]


def test_full_queue_is_said(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "WAITING", 2)
    with blocked(store):
        callers = queue(store, fact(1), fact(2))
        monkeypatch.setattr(writer, "PATIENCE_S", 0.05)
        with pytest.raises(StoreUnavailable, match="more waiting than it takes"):
            store.write(fact(3))
    assert [caller.answer() for caller in callers] == [1, 2]
    assert kept(store) == [1, 2]


def test_room_in_the_queue_is_waited_for(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "WAITING", 1)
    with blocked(store):
        queue(store, fact(1))
        late = Caller(lambda: store.write(fact(2)))
    assert late.answer() == 2
    assert kept(store) == [1, 2]


def test_slow_writer_is_said(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody waits for any more is not begun."""
    monkeypatch.setattr(writer, "PATIENCE_S", 0.05)
    with blocked(store):
        with pytest.raises(StoreUnavailable, match="may or may not have been kept"):
            store.write(fact(1))
        monkeypatch.setattr(writer, "PATIENCE_S", LONG_S)
    store.write(fact(2))
    assert kept(store) == [2]


def test_who_waits_to_the_end_learns_what_became_of_it(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of what would not have been begun any more."""
    monkeypatch.setattr(writer, "PATIENCE_S", 0.05)

    def patiently() -> int:
        writer.wait_to_the_end()
        return store.write(fact(1))

    with blocked(store):
        patient = Caller(patiently)
        wait_for(lambda: len(store._queue._units) == 1)
        with pytest.raises(StoreUnavailable, match="may or may not have been kept"):
            store.write(fact(2))
    assert patient.answer() == 1
    assert kept(store) == [1]


def test_close_finishes_what_was_accepted(store: SqliteStore, path: Path) -> None:
    with blocked(store):
        callers = queue(store, *map(fact, range(5)))
        closer = Caller(store.close)
        wait_for(lambda: store._queue._closing)
        with pytest.raises(StoreUnavailable, match="closing"):
            store.write(fact(9))
    assert [caller.answer() for caller in callers] == list(range(5))
    closer.answer()
    with closing(SqliteStore(path)) as again:
        assert kept(again) == list(range(5))


def test_close_answers_who_waits_for_room(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "WAITING", 1)
    monkeypatch.setattr(writer, "PATIENCE_S", 10 * LONG_S)
    with blocked(store):
        queue(store, fact(1))
        late = Caller(lambda: store.write(fact(2)))
        closer = Caller(store.close)
        assert isinstance(late.answer(within_s=LONG_S / 3), StoreUnavailable)
    closer.answer()


def test_close_answers_everybody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers that come while it closes get an answer at once, whichever comes first."""
    monkeypatch.setattr(writer, "PATIENCE_S", 2 * LONG_S)
    for _ in range(20):
        store = SqliteStore(path)

        def write_until_closed(store: SqliteStore = store) -> float:
            while True:
                began = time.monotonic()
                try:
                    store.write(fact(1))
                except StoreUnavailable:
                    return time.monotonic() - began

        callers = [Caller(write_until_closed) for _ in range(4)]
        store.close()
        assert max(caller.answer() for caller in callers) < writer.PATIENCE_S / 2


def test_close_waits_for_readers(store: SqliteStore) -> None:
    begun, go_on = threading.Event(), threading.Event()
    store.write(fact(1))

    def unit(verbs: Verbs) -> list[int]:
        begun.set()
        go_on.wait(LONG_S)
        return list(verbs.facts_like("fact:").values())

    reader = Caller(lambda: store.read(unit))
    begun.wait(LONG_S)
    closer = Caller(store.close)
    closer.join(0.1)
    assert closer.is_alive()
    go_on.set()
    closer.answer()
    assert reader.answer() == [1]


def test_erased_bytes_leave_the_files(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Erased is what neither the database nor its log holds, without a restart (design, "Secrets")."""
    monkeypatch.setattr(sqlite, "CHECKPOINT_S", 0.05)
    with closing(SqliteStore(path)) as store:
        sealed = SealedCredentials("v1", "canary-of-the-vault" * 40)
        store.write(lambda verbs: verbs.keep_credentials("shop", "1", sealed))
        wait_for(lambda: b"canary" in path.read_bytes())
        store.write(lambda verbs: verbs.drop_credentials("shop", "1"))
        files = [path, path.with_name("provisioner.db-wal")]
        wait_for(lambda: not any(b"canary" in file.read_bytes() for file in files))


def test_reader_in_the_way_delays_the_erasure(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "CHECKPOINT_S", 0.02)
    log = path.with_name("provisioner.db-wal")
    with closing(SqliteStore(path)) as store:
        store._writer.raw.execute("PRAGMA busy_timeout=10").fetchall()
        store.write(fact(1))

        def unit(verbs: Verbs) -> None:
            verbs.fact("fact:1")
            store.write(fact(2))
            time.sleep(0.1)  # the log may be emptied only once this view of it is gone
            assert log.stat().st_size > 0

        store.read(unit)
        wait_for(lambda: log.stat().st_size == 0)
