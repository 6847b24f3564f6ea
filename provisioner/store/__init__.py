"""The store port: units of work over verbs. `sqlite.py` is the embedded engine, `postgres.py` the shared one.

A unit is a function of a `Verbs`; it runs in one transaction, and what it returns is returned once the
transaction is durable. A unit that raises leaves nothing behind. Units must not block or call out: they
share one writer. A unit may be run again: where its first run was lost, or where another of its
batch left something behind. So it changes nothing but the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from provisioner.store.verbs import Verbs

T = TypeVar("T")


class Store(Protocol):
    """What every engine offers; held to it by one conformance suite."""

    @property
    def name(self) -> str:
        """Which store it is, for people: no secrets."""

    def clock(self) -> int:
        """The time by which leases go, the same for all who serve the store: milliseconds since the epoch."""

    def write(self, unit: Callable[[Verbs], T]) -> T:
        """Runs a unit that writes; durable when this returns.

        :raises StoreUnavailable: it may or may not have been kept (full, slow, read-only, closing).
        """

    def read(self, unit: Callable[[Verbs], T]) -> T:
        """Runs a unit over one unchanging view of the store; it cannot write."""

    def retire(self, unit: Callable[[Verbs], T], why: str) -> T:
        """Runs a last unit behind all that were accepted; whoever writes afterwards is told `why`.

        :param why: words for StoreUnavailable: what happened to the store, and what to do.
        :raises StoreUnavailable: it may or may not have been kept, and the store goes on; or it is retired.
        """

    def begin(self, wake: Callable[[], None], alone: Callable[[], None], badges: Sequence[int] = ()) -> None:
        """This process serves the store from now on, until it is closed.

        :param wake: called, in any thread, when another process has queued something.
        :param alone: called first, before anybody else can begin, where no other process serves: whoever had
            a lease is dead.
        :param badges: numbers from 1 to 2**63 - 1 that others see while this process serves: what it has.
        :raises StoreUnavailable: try again.
        """

    def is_served(self) -> bool:
        """Whether another process works off what is queued.

        :raises StoreUnavailable: it cannot be seen.
        """

    def served_without(self, badge: int) -> int:
        """How many processes on a shared store serve it, this one or others, and do not show this badge.

        :raises StoreUnavailable: it cannot be seen.
        """

    def close(self) -> None:
        """Finishes what was accepted, then closes; nothing can be written afterwards."""
