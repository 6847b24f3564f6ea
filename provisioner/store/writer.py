"""One thread for everything that a process writes: it commits once for all that wait (group commit).

Everybody who waits shares one commit, and a unit never sees another half done. How a batch is committed is
the engine's.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol, TypeVar

from provisioner.errors import StoreUnavailable
from provisioner.store.verbs import Verbs

T = TypeVar("T")

BATCH = 256  # units in one commit: bounds how long the first of them waits
WAITING = 4096  # units in the queue; beyond it the store says that it is full
PATIENCE_S = 10.0  # how long a caller waits for its commit, but for those who wait to the end
CLOSING = "the store is closing; send it again later"


class Pending(Protocol):
    """What is released when a unit is answered; a held lock has these verbs, too."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Waits at most so many seconds; whether it was released."""

    def release(self) -> None:
        """Called once, in the writer's thread."""


class Waiting(NamedTuple):
    """How a caller waits: whether for room in the queue, too, and then for what `pending` makes."""

    for_room: bool
    pending: Callable[[], Pending]


def _held_lock() -> Pending:
    """The thread waits; an Event costs several times as much."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class _Endless:
    """A held lock that is waited for however long it takes."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = _held_lock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return self._lock.acquire()

    def release(self) -> None:
        self._lock.release()


# Whoever must not hold its thread sets another one for what it calls.
waiting: ContextVar[Waiting] = ContextVar("waiting", default=Waiting(True, _held_lock))  # noqa: B039


def wait_to_the_end() -> None:
    """Has this thread learn of all that it writes from here on whether it was kept, however late that is.

    For whoever works in nobody's sight. Who gives up does not know what became of it: work that was leased
    then would be nobody's until its lease is over, and a result would be told again.
    """
    waiting.set(Waiting(True, _Endless))


class Unit:
    """A unit of work on its way through the writer; whoever commits it sets `result` or `error`."""

    __slots__ = ("abandoned", "error", "pending", "result", "work")

    def __init__(self, work: Callable[[Verbs], Any]) -> None:
        self.work = work
        self.result: Any = None
        self.error: BaseException | None = None
        self.abandoned = False
        self.pending = waiting.get().pending()


class Writer:
    """The queue of units, and the thread that works it off.

    :param commit: carries a batch out in one transaction, and raises nothing: each unit has its own error.
    :param tidy: done so long after the first commit behind the last tidying; again where it returns False.
    :param tidy_after_s: seconds.
    """

    def __init__(
        self,
        commit: Callable[[list[Unit]], None],
        tidy: Callable[[], bool] | None = None,
        tidy_after_s: float = 0.0,
    ) -> None:
        self._commit = commit
        self._tidy = tidy
        self._tidy_after_s = tidy_after_s
        mutex = threading.Lock()
        self._work = threading.Condition(mutex)  # the writer waits for units
        self._room = threading.Condition(mutex)  # callers wait for room
        self._units: deque[Unit] = deque()
        self._closing = False
        self._retired = ""
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def write(self, work: Callable[[Verbs], T]) -> T:
        """See `Store.write`. The unit runs in the writer's thread."""
        unit = Unit(work)
        with self._work:
            if self._retired:
                raise StoreUnavailable(self._retired)
            has_room = self._room.wait_for(
                lambda: self._closing or len(self._units) < WAITING,
                timeout=PATIENCE_S if waiting.get().for_room else 0.0,
            )
            if self._closing:
                raise StoreUnavailable(CLOSING)
            if not has_room:
                raise StoreUnavailable("the store has more waiting than it takes; send it again later")
            self._units.append(unit)
            self._work.notify()
        return _result(unit)  # type: ignore[no-any-return]  # it is what the unit returned

    def retire(self, work: Callable[[Verbs], T], why: str) -> T:
        """See `Store.retire`."""
        unit = Unit(work)
        with self._work:
            if self._closing or self._retired:
                raise StoreUnavailable(self._retired or CLOSING)
            self._retired = why
            self._units.append(unit)  # behind all that were accepted before
            self._work.notify()
        try:
            return _result(unit)  # type: ignore[no-any-return]  # it is what the unit returned
        finally:
            if unit.error is not None:  # it left nothing behind; after a time-out that is not known
                with self._work:
                    self._retired = ""

    def close(self) -> bool:
        """Finishes what was accepted; returns whether this was the first time."""
        with self._work:
            if self._closing:
                return False
            self._closing = True
            self._work.notify()
            self._room.notify_all()
        self._thread.join()
        return True

    def _run(self) -> None:
        tidy_at: float | None = (
            None  # by the monotonic clock, in seconds; None while there is nothing to tidy
        )
        while (batch := self._next_batch(tidy_at)) is not None:
            if batch:
                self._commit(batch)
                for unit in batch:
                    unit.pending.release()
                if self._tidy is not None:
                    tidy_at = tidy_at or time.monotonic() + self._tidy_after_s
            if self._tidy is not None and tidy_at is not None and time.monotonic() >= tidy_at:
                tidy_at = None if self._tidy() else time.monotonic() + self._tidy_after_s

    def _next_batch(self, until: float | None) -> list[Unit] | None:
        """The units that wait, as soon as there are any; none of them at `until`, None at the end."""
        timeout = None if until is None else max(0.0, until - time.monotonic())
        with self._work:
            self._work.wait_for(lambda: self._units or self._closing, timeout)
            if self._closing and not self._units:
                return None
            batch = [self._units.popleft() for _ in range(min(BATCH, len(self._units)))]
            self._room.notify_all()
        return [unit for unit in batch if not unit.abandoned]


def _result(unit: Unit) -> Any:
    """What the unit returned or raised, once its transaction is durable."""
    if not unit.pending.acquire(timeout=PATIENCE_S):
        unit.abandoned = True
        raise StoreUnavailable("the store did not answer in time; it may or may not have been kept")
    if unit.error is not None:
        raise unit.error
    return unit.result
