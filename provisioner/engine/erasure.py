"""Forgets a customer's data once the service is over (`services erase`).

What stays is what keeps others from harm: that the service was there and is terminated, so that an old order
makes no VM; the ids of its events, so that none is accepted twice; which VM it had, and which kinds of
operation there were, without what they said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from provisioner.audit import ERASED as ERASED_LINES
from provisioner.audit import ITSELF, Deed, Origin
from provisioner.delivery import DeliveryState
from provisioner.engine import shown_once
from provisioner.engine.record import NewId
from provisioner.errors import NotFound, WrongState
from provisioner.operation import Operation, State
from provisioner.service import Service, ServiceStatus
from provisioner.store import Store
from provisioner.store.verbs import Verbs

OVER = frozenset({ServiceStatus.TERMINATED, ServiceStatus.FAILED, ServiceStatus.PENDING})  # and without a VM
ERASED = "erased"  # in place of who asked: a client is named by an id
# What an operation was asked that tells of a customer, and what is left in its place.
PERSONAL: dict[str, Any] = {"hostname": "", "client_id": "", "ips": [], "ip": None, "reason": ""}


@dataclass(frozen=True, slots=True)
class Erased:
    """How much an erasure takes away, or would."""

    operations: int
    events: int
    deliveries: int


@dataclass(slots=True)
class Erasure:
    """Erases. `clock` gives milliseconds since the epoch."""

    store: Store
    clock: Callable[[], int]
    new_id: NewId

    def erase(
        self,
        billing: str,
        service_id: str,
        actor: str,
        reason: str = "",
        *,
        origin: Origin = ITSELF,
        dry: bool,
    ) -> Erased:
        """Forgets what the store holds of a service's customer.

        :param dry: only says how much that would be.
        :raises NotFound: there is no such service.
        :raises WrongState: it is not over, something is still being done or told for it.
        """
        self.store.read(lambda verbs: _over(verbs, billing, service_id))
        events = self.store.read(lambda verbs: verbs.events_of_service(billing, service_id))

        def unit(verbs: Verbs) -> Erased:
            service = _over(verbs, billing, service_id)
            operations = verbs.operations_of_service(billing, service_id)
            deliveries = [one for op in operations for one in verbs.deliveries_of_operation(op.id)]
            if any(delivery.state is DeliveryState.WAITING for delivery in deliveries):
                raise WrongState(f"service {service_id} of {billing} has messages that are still to be told")
            if not dry:
                self._forget(verbs, service, operations)
                for event in events:
                    verbs.erase_event(event)
                for delivery in deliveries:
                    verbs.erase_delivery(delivery.id)
                detail = {"user": origin.user} if origin.user else {}
                erasing = Deed(
                    self.clock(), actor, ERASED_LINES, origin.address, billing, service_id,
                    reason=reason, detail=detail,
                )  # fmt: skip
                verbs.erase_audit(billing, service_id, erasing)
            return Erased(len(operations), len(events), len(deliveries))

        return self.store.read(unit) if dry else self.store.write(unit)

    def _forget(self, verbs: Verbs, service: Service, operations: list[Operation]) -> None:
        nobody = replace(
            service, hostname="", client_id="", ips=(), suspend_reason="", updated_at=self.clock()
        )
        verbs.save_service(nobody)
        verbs.drop_credentials(service.billing, service.service_id)
        shown_once.drop(verbs, service.billing, service.service_id)
        for operation in operations:
            verbs.drop_timeline(operation.id)
            verbs.drop_marks_of(operation.id)  # the addresses that WHMCS showed are among them
            args, memo = _without_person(operation.args), _without_person(operation.memo)
            verbs.erase_operation(replace(operation, args=args, memo=memo, actor=ERASED))


def _over(verbs: Verbs, billing: str, service_id: str) -> Service:
    """The service, if nothing of it is alive any more."""
    service = verbs.service(billing, service_id)
    if service is None:
        raise NotFound(f"there is no service {service_id} of {billing}", code="unknown_service")
    if service.status not in OVER or service.vmid is not None:
        raise WrongState(
            f"service {service_id} of {billing} is {service.status}: terminate it first, then erase it"
        )
    waiting = verbs.open_operations_of_service(billing, service_id)
    under_way = [operation for operation in waiting if operation.state is not State.FAILED]
    if under_way:
        raise WrongState(
            f"service {service_id} of {billing}: operation {under_way[0].id} is still {under_way[0].state}"
        )
    return service


def _without_person(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: PERSONAL.get(name, value) for name, value in facts.items()}
