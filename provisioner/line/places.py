"""Places for calls in flight, taken in the order in which they are asked for."""

from __future__ import annotations

import threading
from collections import deque


class Places:
    """So many at once. A semaphore wakes whoever is quickest: with many who ask, one may wait for ever.

    :param count: how many.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[threading.Lock] = deque()  # each is held until its owner has a place
        self._lock = threading.Lock()

    def take(self, timeout_s: float) -> bool:
        """Waits for a place, at most so many seconds; whether there was one. It is to be given back."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        return mine.acquire(timeout=timeout_s) or self._was_given(mine)

    def _was_given(self, mine: threading.Lock) -> bool:
        """Whether a place came as the wait for it ended; else it is waited for no more."""
        with self._lock:
            if mine not in self._waiting:
                return True
            self._waiting.remove(mine)
            return False

    def give_back(self) -> None:
        """To whoever waits longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1
