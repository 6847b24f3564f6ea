"""A store that says which operations have ended, once their end is durable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from provisioner.operation import Operation
from provisioner.store import Store
from provisioner.store.verbs import Verbs

T = TypeVar("T")


class ObservedStore:
    """Another store, whose writes are watched.

    :param ended: is given each operation that ended, in the writer's caller's thread, after the commit. An
        end that may or may not have been kept is not told.
    """

    def __init__(self, store: Store, ended: Callable[[Operation], None]) -> None:
        self._store = store
        self._ended = ended

    @property
    def name(self) -> str:
        """See `Store.name`."""
        return self._store.name

    def clock(self) -> int:
        """See `Store.clock`."""
        return self._store.clock()

    def write(self, unit: Callable[[Verbs], T]) -> T:
        """See `Store.write`."""
        return self._watched(self._store.write, unit)

    def retire(self, unit: Callable[[Verbs], T], why: str) -> T:
        """See `Store.retire`."""
        return self._watched(lambda watched: self._store.retire(watched, why), unit)

    def read(self, unit: Callable[[Verbs], T]) -> T:
        """See `Store.read`."""
        return self._store.read(unit)

    def begin(self, wake: Callable[[], None], alone: Callable[[], None], badges: Sequence[int] = ()) -> None:
        """See `Store.begin`."""
        self._store.begin(wake, alone, badges)

    def is_served(self) -> bool:
        """See `Store.is_served`."""
        return self._store.is_served()

    def served_without(self, badge: int) -> int:
        """See `Store.served_without`."""
        return self._store.served_without(badge)

    def close(self) -> None:
        """See `Store.close`."""
        self._store.close()

    def _watched(self, run: Callable[[Callable[[Verbs], T]], T], unit: Callable[[Verbs], T]) -> T:
        ended: list[Operation] = []

        def watched(verbs: Verbs) -> T:
            result = unit(verbs)
            ended[:] = verbs.ended  # of the last run: an engine may have to begin again
            return result

        result = run(watched)
        for operation in ended:
            self._ended(operation)
        return result
