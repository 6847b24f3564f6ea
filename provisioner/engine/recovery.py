"""A store that was put back from a copy is *recovering* (contract, promise 8).

What happened after the copy was taken is not in it, and nothing of that may be done twice, given to another
or destroyed. So events are accepted, nothing is sent, and what would re-run history is held until a person
has looked at what store, upstream and billing systems say, and ends the recovery.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from provisioner.audit import ITSELF, LOCAL, Origin
from provisioner.billing import Billing
from provisioner.delivery import DeliveryState, iso
from provisioner.engine import old_passwords, pauses
from provisioner.engine.record import NewId, Record, service_of
from provisioner.errors import BillingError, WrongState
from provisioner.operation import CLAIMABLE, Kind, Operation, State
from provisioner.operations import lost_jobs, there_before
from provisioner.service import ServiceStatus
from provisioner.store import Store
from provisioner.store.verbs import Verbs

HELD_CODE = "restored"
HELD_KINDS = (Kind.CREATE, Kind.TERMINATE, Kind.REINSTALL, Kind.RESTORE)
PUBLIC = "The provider checks this before it goes on."
PAGE = 500  # services read at once
_BEGUN = "begun"  # in the fact: that what was open in the copy is held, and that the audit says so
_SAME = {ServiceStatus.FAILED: "pending", ServiceStatus.TERMINATING: "terminated"}  # there, by another name


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A service whose status a billing system shows as another one than the store."""

    billing: str
    service_id: str
    status: str
    there: str


@dataclass(slots=True)
class Recovery:
    """Holds, shows and ends. `clock` gives milliseconds since the epoch."""

    store: Store
    billings: Mapping[str, Billing]
    clock: Callable[[], int]
    new_id: NewId
    wake: Callable[[], None]

    def begin(self) -> None:
        """Holds, once, what would re-run history: at the start of a store that was put back, or when somebody
        looks at it before that."""
        if self.store.read(_is_untouched):
            self.store.write(self._hold_all)

    def overview(self) -> dict[str, Any]:
        """What the store says while it recovers: when the copy was taken, and what is held."""
        self.begin()

        def unit(verbs: Verbs) -> dict[str, Any]:
            fact = verbs.fact(pauses.RECOVERING)
            return {
                "recovering": fact is not None,
                "taken_at": fact["taken_at"] if fact else None,
                "held": _held(verbs),
                "deliveries": verbs.count_deliveries().get(DeliveryState.WAITING.value, 0),
            }

        return self.store.read(unit)

    def elsewhere(self) -> tuple[list[Elsewhere], dict[str, str]]:
        """Where a billing system says something else of a living service, and what was not asked, and why."""
        others: list[Elsewhere] = []
        unasked: dict[str, str] = {}
        for name, billing in self.billings.items():
            ours = self.store.read(partial(_living, billing=name))
            try:
                theirs = billing.statuses(list(ours)) if ours else {}
            except BillingError as error:
                unasked[name] = error.detail
                continue
            others += [
                Elsewhere(name, service_id, ours[service_id].value, said)
                for service_id, said in theirs.items()
                if said != _SAME.get(ours[service_id], ours[service_id].value)
            ]
            if theirs and len(theirs) < len(ours):
                unasked[name] = (
                    f"asked were the newest {len(theirs)} of {len(ours)} services: there was no time"
                )
        return others, unasked

    def finish(self, actor: str, reason: str = "", *, origin: Origin = ITSELF) -> int:
        """Lets everything go on; returns how many operations that are.

        A create becomes unknown: it may have been carried out after the copy was taken, so its job is looked
        for before anything is sent. A password of before the copy is not delivered, neither one that
        waits to be told nor one that a job of before tells yet.

        :raises WrongState: the store is not recovering; or something of it is held only now, so that nobody
            can have looked whether it may go on.
        """

        def unit(verbs: Verbs) -> int | None:
            fact = verbs.fact(pauses.RECOVERING)
            if fact is None:
                raise WrongState("the store is not recovering; there is nothing to finish")
            if self._hold_all(verbs):
                return None
            record = Record(verbs, self.clock(), self.new_id, origin)
            copied = [*_held(verbs), *_let_go(verbs)]
            for operation in copied:
                self._release(record, operation, actor)
            old_passwords.forget(record, fact["at"])
            pauses.end(verbs, pauses.RECOVERING, record.now)
            record.audit("recovery.finished", actor, reason=reason, released=len(copied))
            return len(copied)

        released = self.store.write(unit)
        if released is None:
            raise WrongState(
                "what was open in the copy is held only now, and nobody has seen it: look with "
                "`provisioner restore`, cancel what must not happen any more, then finish"
            )
        self.wake()
        return released

    def _hold_all(self, verbs: Verbs) -> int:
        """Holds what was open in the copy, unless that was done; returns how many are held now."""
        fact = verbs.fact(pauses.RECOVERING)
        if fact is None or not _is_untouched(verbs):
            return 0
        record = Record(verbs, self.clock(), self.new_id, Origin(LOCAL, fact.get("user", "")))
        verbs.set_fact(pauses.RECOVERING, {**fact, _BEGUN: True}, record.now)
        record.audit("store.restored", "admin:admin", taken_at=iso(fact["taken_at"]))
        may_go_on = [operation for operation in _weighty(verbs) if operation.state in CLAIMABLE]
        for operation in may_go_on:
            detail = "open when the copy was taken: it may have been carried out since"
            record.hold(operation, HELD_CODE, PUBLIC, detail=detail)
        return len(may_go_on)

    def _release(self, record: Record, operation: Operation, actor: str) -> None:
        changes: dict[str, Any] = {}
        is_create = operation.kind is Kind.CREATE and not operation.job_id
        if is_create and not _makes_nothing(record.verbs, operation):
            changes = {"step": "lost", "sent": True, "memo": self._evidence(record.verbs, operation)}
        record.move(
            operation,
            State.WAITING,
            "recovered",
            actor=actor,
            error_code="",
            error_message="",
            error_detail="",
            failures=0,
            failing_since=None,
            next_run_at=record.now,
            **changes,
        )

    def _evidence(self, verbs: Verbs, operation: Operation) -> dict[str, Any]:
        """What is known from before: a create of the copy that was not sent yet may have been sent since."""
        before = {
            "above": verbs.fact(lost_jobs.GREATEST),
            there_before.LISTED: list(verbs.owners_of_vms()),
            "sent_at": self.clock(),
        }
        return {**before, **operation.memo, "sent_at": self.clock(), "unknown": True}


def _is_untouched(verbs: Verbs) -> bool:
    """Whether the store was put back and nothing of it is held yet."""
    fact = verbs.fact(pauses.RECOVERING)
    return fact is not None and not fact.get(_BEGUN)


def _weighty(verbs: Verbs) -> list[Operation]:
    """What is open of the kinds that make, erase or overwrite something."""
    return [operation for kind in HELD_KINDS for operation in verbs.open_operations_of_kind(kind)]


def _held(verbs: Verbs) -> list[Operation]:
    """What is held because the store was put back."""
    return [
        operation
        for operation in _weighty(verbs)
        if operation.state is State.HELD and operation.error_code == HELD_CODE
    ]


def _let_go(verbs: Verbs) -> list[Operation]:
    """What was held so and a person has approved since, which lets it go on with the others, as they do."""
    return [
        operation
        for operation in _weighty(verbs)
        if operation.state in CLAIMABLE and HELD_CODE in operation.approvals
    ]


def _makes_nothing(verbs: Verbs, create: Operation) -> bool:
    """Whether it was not sent, and its service has its VM, which no terminate is about to take."""
    if create.sent or service_of(verbs, create).vmid is None:
        return False
    waiting = verbs.open_operations_of_service(create.billing, create.service_id)
    return not any(operation.kind is Kind.TERMINATE for operation in waiting)


def _living(verbs: Verbs, billing: str) -> dict[str, ServiceStatus]:
    """The services of a billing system that are not over, the newest first."""
    found: dict[str, ServiceStatus] = {}
    cursor: int | None = None
    while rows := verbs.services(PAGE, cursor, billing=billing):
        found |= {row.service_id: row.status for row in rows}
        cursor = rows[-1].seq
    return {one: status for one, status in found.items() if status is not ServiceStatus.TERMINATED}
