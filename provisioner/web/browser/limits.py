"""How often somebody may do something: in memory, per process, for a bounded number of somebodies."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Limit:
    """At most `most` times within `within_s` seconds for each key.

    Ours, because the libraries for this keep every key that anybody makes up until its time is over.

    :param clock: milliseconds since the epoch.
    :param keys: of how many keys the times are remembered; the one that was used longest ago is forgotten.
    """

    most: int
    within_s: int
    clock: Callable[[], int]
    keys: int = 10_000
    _times: OrderedDict[str, deque[int]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait_s(self, key: str) -> int:
        """0 where one more is within the limit; else the seconds until it is. Counts nothing."""
        now = self.clock()
        with self._lock:
            times = self._recent(key, now)
            if times is None or len(times) < self.most:
                return 0
            return max(1, -(-(times[0] + self.within_s * 1000 - now) // 1000))

    def count(self, key: str) -> None:
        """One more of this key."""
        now = self.clock()
        with self._lock:
            times = self._times.setdefault(key, deque(maxlen=self.most))
            times.append(now)
            self._times.move_to_end(key)
            while len(self._times) > self.keys:
                self._times.popitem(last=False)

    def take(self, key: str) -> int:
        """Counts one more if it is within the limit; else returns the seconds until it is."""
        wait_s = self.wait_s(key)
        if wait_s == 0:
            self.count(key)
        return wait_s

    def forget(self, key: str) -> None:
        """Starts anew for this key."""
        with self._lock:
            self._times.pop(key, None)

    def _recent(self, key: str, now: int) -> deque[int] | None:
        times = self._times.get(key)
        while times and times[0] <= now - self.within_s * 1000:
            times.popleft()
        return times
