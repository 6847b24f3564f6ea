"""One call for all who asked for it before it began, so that many who need the same list wait for one.

An answer says how things stood at some moment between its request's begin and its end. Who asked before the
begin may take it as the answer to a call of its own; who asked later may not, for what has happened since
may be missing in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Round(Generic[T]):
    """One call and its outcome: `answer`, or the `error` that it broke with."""

    ended: threading.Event = field(default_factory=threading.Event)
    answer: T | None = None
    error: BaseException | None = None


class Shared(Generic[T]):
    """Lets those who ask side by side share calls; safe to use from many threads.

    One call is under way at a time. Whoever asks meanwhile waits for the next one, which the first of them
    makes once that one has ended, and which serves all who have asked by then.

    :param patience_s: how long the one who makes the next call waits for the one before, in seconds, and
        how long a call takes at most; the others wait for both.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._under_way: _Round[T] | None = None
        self._next: _Round[T] | None = None  # it has not begun: whoever comes may still join

    def answer(self, call: Callable[[], T]) -> tuple[T, bool]:
        """The answer to a call that begins after this was asked, and whether somebody else made it.

        :param call: makes it, if this caller is the one who does; its error is raised for all whom it served.
        :raises TimeoutError: it did not end in time.
        """
        with self._lock:
            mine, before = self._next, self._under_way
            makes = mine is None
            if mine is None:
                mine = self._next = _Round()
        if makes:
            self._make(mine, before, call)
        return self._outcome(mine), not makes

    def _make(self, mine: _Round[T], before: _Round[T] | None, call: Callable[[], T]) -> None:
        try:
            if before is not None and not before.ended.wait(self._patience_s):
                raise TimeoutError
            with self._lock:
                self._next, self._under_way = None, mine  # from here on nobody joins: it begins
            mine.answer = call()
        except BaseException as error:  # those who wait must not wait for ever, whatever it was
            mine.error = error
        finally:
            with self._lock:
                self._next = None if self._next is mine else self._next
                self._under_way = None if self._under_way is mine else self._under_way
            mine.ended.set()

    def _outcome(self, mine: _Round[T]) -> T:
        if not mine.ended.wait(2 * self._patience_s):
            raise TimeoutError
        if mine.error is not None:
            raise mine.error
        return mine.answer  # type: ignore[return-value]  # it has ended without an error
