"""The record of calls that reached the sandbox's upstream side."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

KEPT = 100_000  # calls; a long load test must not eat the memory. The counts know them all


@dataclass(slots=True)
class Call:
    """One call: `status` is None until it is answered, or `dropped`; times in ms since the epoch."""

    seq: int
    at: int
    method: str
    path: str
    body: Any
    status: int | str | None = None
    fault: str | None = None
    answered_at: int | None = None


class Calls:
    """The calls in the order in which they came, from seq 1."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: deque[Call] = deque(maxlen=KEPT)
        self._counts: Counter[str] = Counter()

    def begin(self, endpoint: str, method: str, path: str, body: Any) -> Call:
        """Notes a call that came in; `endpoint` is what it is counted under."""
        with self._lock:
            self._counts[endpoint] += 1
            call = Call(self._counts.total(), self._clock(), method, path, body)
            self._calls.append(call)
            return call

    def end(self, call: Call, status: int | str, fault: str | None) -> None:
        """Notes how it is answered; called before the first byte, so that whoever has the answer sees it."""
        with self._lock:
            call.status, call.fault, call.answered_at = status, fault, self._clock()

    def facts(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(call) for call in self._calls]

    def counts(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)
