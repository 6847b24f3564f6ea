"""Whose turn a tick is, where several processes serve one store: what one has done is done for all.

A turn is a lease, as everything else is: a process that is killed or frozen within its turn holds nobody up
for longer. An advisory lock would be held for as long as a frozen process has its session.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from provisioner.store import Store
from provisioner.store.verbs import Verbs

LEASE_MS = 60_000  # a turn that takes longer may be taken by another one, too
EARLY = 0.9  # of the time between two turns: no two processes' clocks tick alike


@dataclass(frozen=True, slots=True)
class Turns:
    """Turns by facts. `clock` gives milliseconds since the epoch, the same to all processes."""

    store: Store
    clock: Callable[[], int]

    def taking(self, name: str, every_s: float, do: Callable[[], None]) -> Callable[[], None]:
        """What does a tick whenever nobody has done it for so many seconds.

        :param name: of the tick; the same in all processes.
        """
        fact, every_ms = f"turn:{name}", int(every_s * 1000 * EARLY)

        def turn() -> None:
            if self.store.read(lambda verbs: self._is_taken(verbs, fact)):
                return
            taken_at = self.store.write(lambda verbs: self._take(verbs, fact, every_ms))
            if taken_at is None:
                return
            try:
                do()
            finally:
                self.store.write(lambda verbs: self._end(verbs, fact, taken_at, every_ms))

        return turn

    def _is_taken(self, verbs: Verbs, fact: str) -> bool:
        turn = verbs.fact(fact)
        return turn is not None and bool(self.clock() < turn["until"])

    def _take(self, verbs: Verbs, fact: str, every_ms: int) -> int | None:
        """When the turn began; None where another one has it."""
        if self._is_taken(verbs, fact):
            return None
        now = self.clock()
        verbs.set_fact(fact, {"taken_at": now, "until": now + max(every_ms, LEASE_MS)}, now)
        return now

    def _end(self, verbs: Verbs, fact: str, taken_at: int, every_ms: int) -> None:
        turn = verbs.fact(fact)
        if turn is not None and turn["taken_at"] == taken_at:
            verbs.set_fact(fact, {**turn, "until": taken_at + every_ms}, self.clock())
