"""The service leaves this machine: its work ends, and its store takes nothing more (`backup --move`).

What came in is in the store, so the copy that is taken afterwards is the whole of it, and it goes on where it
is put. Two that went on would each do everything, so this one refuses, now and after every start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from provisioner.audit import ITSELF, Origin
from provisioner.engine.record import NewId, Record
from provisioner.errors import WrongState
from provisioner.store import Store
from provisioner.store.backup import MOVED
from provisioner.store.verbs import Verbs

CODE = "store_moved"
WORDS = (
    "the service has moved to another machine, so this one does nothing more; let the billing systems and "
    "people call the new one, or put the copy back here with `provisioner restore FILE`"
)


@dataclass(slots=True)
class Relocation:
    """Ends a service for good. `clock` gives milliseconds since the epoch.

    :param end_work: returns once what was under way is written back.
    :param is_shared: whether other processes may serve the same store: then this one cannot take it along.
    """

    store: Store
    clock: Callable[[], int]
    new_id: NewId
    end_work: Callable[[], None]
    is_shared: bool = False

    def leave(self, actor: str, reason: str = "", *, origin: Origin = ITSELF) -> None:
        """Ends the work, then lets the store take nothing more.

        :raises StoreUnavailable: the store cannot be written, or has moved already.
        :raises WrongState: several processes may serve this store; nothing has ended.
        """
        if self.is_shared:
            raise WrongState(
                "with PostgreSQL the service is wherever a process serves the database: start one on the new "
                "machine, then end the one here"
            )

        def last(verbs: Verbs) -> None:
            record = Record(verbs, self.clock(), self.new_id, origin)
            record.audit("store.left", actor, reason=reason)
            verbs.set_fact(MOVED, {"actor": actor, "at": record.now}, record.now)

        self.end_work()
        self.store.retire(last, WORDS)
