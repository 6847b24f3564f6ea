"""A result and the next claim in one transaction: whoever has done one thing goes on to the next at once.

Else each would wait for a transaction of its own, and all of them for the one thread that claims.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from provisioner.errors import Fenced, RowUnreadable, StoreUnavailable
from provisioner.logs import Log
from provisioner.store import Store
from provisioner.store.verbs import Verbs

log = Log(__name__)

R = TypeVar("R")
C = TypeVar("C")

MayClaim = Callable[[], bool]  # asked in the transaction: not once the worker is to stop

WRITE_TRIES = 3  # a result may be the only copy of a job's id: try more than once


def never() -> bool:
    """For whoever does one thing and no more."""
    return False


def keep(
    store: Store,
    result: Callable[[Verbs], R],
    claim: Callable[[Verbs, R], C | None],
    tries: int = WRITE_TRIES,
) -> tuple[R, C | None]:
    """Writes a result down, and leases with it what is to be done next.

    Only the first try claims: whatever is wrong with another one's row must not cost this one's result. If
    the first was kept and its answer lost, what it claimed is done once its lease is over.

    :raises Fenced: it was somebody else's by now; nothing was written.
    :raises StoreUnavailable: it may or may not have been kept.
    """

    def unit(verbs: Verbs) -> tuple[R, C | None]:
        kept = result(verbs)
        return kept, claim(verbs, kept)

    try:
        return store.write(unit)
    except Fenced:
        raise
    except Exception as error:
        if tries == 1:
            raise
        why = error.detail if isinstance(error, StoreUnavailable) else type(error).__name__
        log.warning("result_written_again", error=why)
        return keep(store, result, _nothing, tries - 1)


def past_unreadable(claim: Callable[[], C | None]) -> C | None:
    """What it leases; None where that cannot be read. Its lease is kept then, or nobody got past it."""
    try:
        return claim()
    except RowUnreadable as error:
        log.error("row_unreadable", error=error.detail, remedy="restore it from a backup, or mend it by hand")
        return None


def _nothing(_verbs: Verbs, _kept: object) -> None:
    return None
