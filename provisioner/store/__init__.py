"""The store port: units of work over verbs. `sqlite.py` is the embedded engine.

A unit is a function of a `Verbs`; it runs in one transaction, and what it returns is returned once the
transaction is durable. A unit that raises leaves nothing behind. Units must not block or call out: they
share one writer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from provisioner.store.verbs import Verbs

T = TypeVar("T")


class Store(Protocol):
    """What every engine offers; held to it by one conformance suite."""

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

    def close(self) -> None:
        """Finishes what was accepted, then closes; nothing can be written afterwards."""
