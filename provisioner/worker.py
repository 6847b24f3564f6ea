"""What keeps the work going: dispatchers that claim what is due, and the recurring ticks under them.

Nothing waits in a thread but a dispatcher. A new operation and a finished step wake it at once; its own
monotonic wait is the floor under that, and the scheduler's tick, which runs on the wall clock, under both.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

from provisioner.errors import StoreError
from provisioner.logs import Log
from provisioner.store.writer import wait_to_the_end

if TYPE_CHECKING:
    from apscheduler.schedulers.background import BackgroundScheduler

log = Log(__name__)

T = TypeVar("T")

BEAT_S = 1.0  # between two ticks, which wake the dispatchers
LONGEST_WAIT_S = 1.5  # of a dispatcher that no tick wakes: longer, so that it does not look twice for each
SHORTEST_WAIT_S = 0.002
APART = "apart"  # the threads of the ticks that may be slow


class Dispatcher(Generic[T]):
    """Claims what is due and hands it to a pool of threads, as many at once as the pool has.

    :param claim: leases the next piece of work, or None.
    :param work: does it, and returns the next piece where it has leased one together with its result, if what
        it is given says that it may. Runs in the pool.
    :param next_at: when the next piece will be due, milliseconds since the epoch, or None.
    :param clock: milliseconds since the epoch.
    :param after: called when a piece is done: what others do may have become due.
    """

    def __init__(
        self,
        name: str,
        *,
        claim: Callable[[], T | None],
        work: Callable[[T, Callable[[], bool]], T | None],
        next_at: Callable[[int], int | None],
        clock: Callable[[], int],
        threads: int,
        after: Callable[[], None],
    ) -> None:
        self._name = name
        self._claim = claim
        self._work = work
        self._next_at = next_at
        self._clock = clock
        self._after = after
        self._places = threading.Semaphore(threads)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name, initializer=wait_to_the_end)
        self._awake = threading.Event()
        self._is_due = True  # something may be; else it is only asked for the next moment
        self._looked_at = clock()  # nothing that was due by then is left but what is held back
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{name}-dispatcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Something may be due: look at once."""
        self._is_due = True
        self._awake.set()

    def stop(self) -> None:
        """Claims nothing more, and returns once what runs has been written back."""
        self._stopping.set()
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(wait=True)

    def _run(self) -> None:
        wait_to_the_end()
        while True:
            self._places.acquire()
            self._awake.clear()
            if self._stopping.is_set():  # after the clear, so that a stop is not slept through
                return
            is_due, self._is_due = self._is_due, False  # likewise
            claimed = self._try_claim() if is_due else None
            if claimed is None:
                self._places.release()
                if not self._awake.wait(self._wait_s()):
                    self._is_due = True
            else:
                self._is_due = True
                self._pool.submit(self._do, claimed)

    def _try_claim(self) -> T | None:
        self._looked_at = self._clock()
        try:
            return self._claim()
        except StoreError as error:
            log.error("claim_failed", dispatcher=self._name, error=error.detail)
        except Exception:  # one row that cannot be read must not end all work
            log.exception("claim_broke", dispatcher=self._name)
        return None

    def _wait_s(self) -> float:
        try:
            now = self._clock()
            at = self._next_at(min(self._looked_at, now))
        except Exception:  # the claim before has said what is wrong
            return LONGEST_WAIT_S
        if at is None:
            return LONGEST_WAIT_S
        return min(max((at - now) / 1000, SHORTEST_WAIT_S), LONGEST_WAIT_S)

    def _do(self, claimed: T) -> None:
        piece: T | None = claimed
        try:
            while piece is not None:
                piece = self._next_after(piece)
                self._after()
        finally:
            self._places.release()
            self._awake.set()  # it may be due again at a moment of its own

    def _next_after(self, piece: T) -> T | None:
        """Does it. Where it asked for the next one and there was none, nothing is due just now."""
        asked, asked_at, claimed = False, 0, None

        def may_claim() -> bool:
            nonlocal asked, asked_at
            asked, asked_at = True, self._clock()
            return not self._stopping.is_set()

        try:
            claimed = self._work(piece, may_claim)
        except Exception:
            log.exception("work_broke", dispatcher=self._name)
        if claimed is not None or not asked:
            self.wake()
        else:
            self._looked_at = asked_at
        return claimed


@dataclass(frozen=True, slots=True)
class Tick:
    """Something done every so many seconds.

    :param first_s: how long after the start it is done first.
    :param apart: on threads of its own, because it may be slow and nothing may wait for it.
    """

    name: str
    every_s: float
    do: Callable[[], None]
    first_s: float = 0.0
    apart: bool = False


@dataclass(slots=True)
class Worker:
    """The dispatchers and the ticks, started and stopped together."""

    dispatchers: list[Dispatcher[object]]
    ticks: list[Tick]
    _last_tick: float = field(default_factory=time.monotonic)
    _scheduler: BackgroundScheduler | None = None
    _was_stopped: bool = False
    _turning: threading.Lock = field(default_factory=threading.Lock)  # on or off

    def start(self) -> None:
        """Starts the work, unless it was stopped before: who moves away may ask that as soon as events are
        answered."""
        with self._turning:
            if not self._was_stopped:
                self._start()

    def _start(self) -> None:
        # Here, so that no event waits for it: `serve` accepts them before the work starts.
        from apscheduler.executors.pool import ThreadPoolExecutor as TickThreads  # noqa: PLC0415
        from apscheduler.schedulers.background import BackgroundScheduler  # noqa: PLC0415

        scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": TickThreads(4), APART: TickThreads(4)},
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
        )
        for tick in [Tick("work", BEAT_S, self._beat), *self.ticks]:
            scheduler.add_job(
                _guarded(tick),
                "interval",
                seconds=tick.every_s,
                id=tick.name,
                executor=APART if tick.apart else "default",
                next_run_time=datetime.now(UTC) + timedelta(seconds=tick.first_s),
            )
        for dispatcher in self.dispatchers:
            dispatcher.start()
        scheduler.start()
        self._scheduler = scheduler

    def stop(self) -> None:
        """Ends the ticks, then lets each dispatcher finish what it runs. It is not started again."""
        with self._turning:
            self._was_stopped = True
            scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None:
            scheduler.shutdown(wait=True)
        for dispatcher in self.dispatchers:
            dispatcher.stop()

    def wake(self) -> None:
        for dispatcher in self.dispatchers:
            dispatcher.wake()

    def tick_age_s(self) -> float:
        """Seconds since the scheduler last ticked: its thread can die while it says that it runs."""
        return time.monotonic() - self._last_tick

    def _beat(self) -> None:
        self._last_tick = time.monotonic()
        self.wake()


def _guarded(tick: Tick) -> Callable[[], None]:
    def run() -> None:
        try:
            tick.do()
        except Exception:
            log.exception("tick_broke", tick=tick.name)

    return run
