"""Nothing is kept longer than `[retention]` says (contract, section 2).

Rows are looked at in the order in which they came, a few in each unit of work, from where the last look
ended; so a tick costs what has become too old since, however much there is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from provisioner.config import Settings
from provisioner.operation import ENDS, Operation
from provisioner.store import Store
from provisioner.store.verbs import Aged, Verbs

DAY_MS = 86_400_000
IDS_DAYS = 400  # an id that comes again within a year and a month is known
AT_ONCE = 200  # rows in one unit: it holds the writer for a few milliseconds
MOST_UNITS = 50  # in one tick: a store that is far behind is caught up with over some of them
FACT = "pruned:"


@dataclass(slots=True)
class Retention:
    """Prunes. `clock` gives milliseconds since the epoch."""

    settings: Settings
    store: Store
    clock: Callable[[], int]

    def prune(self) -> None:
        """Takes away what has become too old, as far as one tick goes."""
        kept = self.settings.retention
        for step in (
            lambda verbs: self._empty_events(verbs, self._before(kept.bodies)),
            lambda verbs: self._empty_deliveries(verbs, self._before(kept.bodies)),
            lambda verbs: self._delete_events(verbs, self._before(IDS_DAYS)),
            lambda verbs: self._delete_deliveries(verbs, self._before(IDS_DAYS)),
            lambda verbs: self._drop_timelines(verbs, self._before(kept.timelines)),
        ):
            for _ in range(MOST_UNITS):
                if not self.store.write(step):
                    break
        for _ in range(MOST_UNITS):
            if not self.store.write(lambda verbs: verbs.prune_audit(self._before(kept.audit))):
                break
        self.store.write(self._drop_notes)

    def _before(self, days: int) -> int:
        return self.clock() - days * DAY_MS

    def _empty_events(self, verbs: Verbs, before: int) -> bool:
        return self._walk(verbs, "event_bodies", verbs.events_above, before, verbs.empty_events)

    def _empty_deliveries(self, verbs: Verbs, before: int) -> bool:
        return self._walk(verbs, "delivery_bodies", verbs.deliveries_above, before, verbs.empty_deliveries)

    def _delete_events(self, verbs: Verbs, before: int) -> bool:
        def delete(above: int, last: int) -> None:
            verbs.delete_events(last)

        return self._walk(verbs, "events", verbs.events_above, before, delete)

    def _delete_deliveries(self, verbs: Verbs, before: int) -> bool:
        def delete(above: int, last: int) -> None:
            verbs.delete_deliveries(last)

        return self._walk(verbs, "deliveries", verbs.deliveries_above, before, delete)

    def _walk(
        self,
        verbs: Verbs,
        name: str,
        rows: Callable[[int, int], list[Aged]],
        before: int,
        carry_out: Callable[[int, int], None],
    ) -> bool:
        """Carries something out for the next rows that are too old; whether there may be more of them."""
        above = verbs.fact(FACT + name) or 0
        old = [row.seq for row in rows(above, AT_ONCE) if row.at < before]
        if old:
            carry_out(above, max(old))
            verbs.set_fact(FACT + name, max(old), self.clock())
        return len(old) == AT_ONCE

    def _drop_timelines(self, verbs: Verbs, before: int) -> bool:
        """Those of operations that ended before then; what goes on is looked at again each time."""
        seen: dict[str, Any] = verbs.fact(FACT + "timelines") or {"above": 0, "open": []}
        ahead = [op for op in verbs.operations_above(seen["above"], AT_ONCE) if op.created_at < before]
        known = [operation for id_ in seen["open"] if (operation := verbs.operation(id_)) is not None]
        later = []
        for operation in [*known, *ahead]:
            if _ended_before(operation, before):
                verbs.drop_timeline(operation.id)
            else:
                later.append(operation.id)
        above = max([seen["above"], *(operation.seq for operation in ahead)])
        now_seen = {"above": above, "open": later}
        if now_seen != seen:
            verbs.set_fact(FACT + "timelines", now_seen, self.clock())
        return len(ahead) == AT_ONCE

    def _drop_notes(self, verbs: Verbs) -> None:
        verbs.drop_marks_before(self._before(IDS_DAYS))
        verbs.drop_passages_before(self._before(1))


def _ended_before(operation: Operation, before: int) -> bool:
    return operation.state in ENDS and operation.updated_at < before
