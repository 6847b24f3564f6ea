"""Requests that hold no thread while their commit is under way.

An event is judged in a moment, and then waits for the disk with all the others of its batch. Were each of
them a thread, half of what it costs would be what threads lose to one another. So they run in the thread of
the server's loop, each as a strand (a greenlet): it goes on until it waits for the store's writer, and once
it is answered it goes on from there. The code that runs knows nothing of this (decision 17).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from greenlet import GreenletExit, getcurrent, greenlet  # type: ignore[import-untyped]

from provisioner.logs import Log
from provisioner.store.writer import Waiting, waiting

log = Log(__name__)


class Strands:
    """The strands of one thread, which made this and calls `run`.

    :param wake: makes that thread call `run` soon; called in any thread.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._new: deque[Callable[[], None]] = deque()
        self._answered: deque[_Pending] = deque()
        self._parked: deque[_Pending] = deque()  # the one that waits longest first: all are equally patient

    def begin(self, work: Callable[[], None]) -> None:
        """Has `run` begin this. It must wait for nothing but the store's writer."""
        self._new.append(work)
        self._wake()

    def run(self) -> None:
        """Goes on with each that can, until all wait or have ended."""
        while self._new or self._answered:
            while self._answered:
                self._answered.popleft().go_on(in_time=True)
            while self._new:
                greenlet(self._strand).switch(self._new.popleft())
        self._lose_patience()

    def park(self, pending: _Pending) -> None:
        """The present strand waits for this from now on."""
        self._parked.append(pending)

    def answered(self, pending: _Pending) -> None:
        """Has `run` go on with whoever waits for this; called in any thread."""
        self._answered.append(pending)
        self._wake()

    def _strand(self, work: Callable[[], None]) -> None:
        waiting.set(Waiting(False, lambda: _Pending(self)))  # of this strand alone: each has its own context
        try:
            work()
        except GreenletExit:  # nobody is there any more who could go on with it
            raise
        except BaseException:  # also sys.exit(): the loop serves everybody else, too
            log.exception("request_broke")

    def _lose_patience(self) -> None:
        now = time.monotonic()
        while self._parked and (self._parked[0].is_over or self._parked[0].until <= now):
            self._parked.popleft().go_on(in_time=False)


class _Pending:
    """What the present strand waits for; the writer takes it for a lock."""

    __slots__ = ("_strand", "_strands", "is_over", "until")

    def __init__(self, strands: Strands) -> None:
        self._strands = strands
        self._strand = getcurrent()
        self.is_over = False
        self.until = 0.0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """See `Pending.acquire`."""
        self.until = time.monotonic() + timeout
        self._strands.park(self)
        in_time: bool = self._strand.parent.switch()  # to `Strands.run`, which began this one
        return in_time

    def release(self) -> None:
        """See `Pending.release`."""
        self._strands.answered(self)

    def go_on(self, *, in_time: bool) -> None:
        """Goes on with the strand, unless it went on before."""
        if not self.is_over:
            self.is_over = True
            self._strand.switch(in_time)
