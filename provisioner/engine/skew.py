"""How far this machine's clock is off, as far as others can tell.

Nobody here knows the true time. What is known is what others said it was: the upstream in the `Date` of each
answer, the billing systems in what they sign. Each of them has one vote, so that one wrong clock decides
nothing where there are others to ask.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from statistics import median

UPSTREAM = "upstream"
LAST = 9  # times of one witness that count: an odd one among them changes nothing
LEAST = 3  # fewer are no vote
WINDOW_MS = 30 * 60_000  # an older time was said before the clock went wrong, perhaps


def billing_witness(billing: str) -> str:
    """The name under which a billing system's signed times count."""
    return f"billing {billing}"


class Skew:
    """Keeps what was heard last, a bounded number of times for each witness; safe for many threads.

    :param clock: this machine's, in milliseconds since the epoch.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._heard: dict[str, deque[tuple[int, float]]] = {}

    def heard(self, witness: str, their_s: float) -> None:
        """Somebody says that it is `their_s` now, in seconds since the epoch."""
        now = self._clock()
        with self._lock:
            times = self._heard.setdefault(witness, deque(maxlen=LAST))
            times.append((now, now / 1000 - their_s))

    def seconds(self) -> float | None:
        """How far ahead of the others this clock is, behind where negative; None while too few have spoken.

        Of an even number of votes the two in the middle must agree that it is off, and the lesser counts.
        """
        votes = sorted(self._votes())
        if not votes:
            return None
        low, high = votes[(len(votes) - 1) // 2], votes[len(votes) // 2]
        return min(low, high, key=abs) if low * high > 0 else 0.0

    def _votes(self) -> list[float]:
        now = self._clock()
        with self._lock:
            recent = [
                [off for at, off in times if abs(now - at) <= WINDOW_MS] for times in self._heard.values()
            ]
        return [median(offs) for offs in recent if len(offs) >= LEAST]
