"""What a person does with operations and with the account: retry, cancel, approve, pause, resume, trust."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from provisioner.audit import ITSELF, SERVICE, Origin
from provisioner.config import Settings
from provisioner.delivery import DeliveryState
from provisioner.engine import pauses
from provisioner.engine.accept import Accept, Request, installation_fact
from provisioner.engine.approve import Approval, approve
from provisioner.engine.record import NewId, Record, service_of
from provisioner.engine.undo import undo, undoable
from provisioner.errors import NotFound, WrongState
from provisioner.event_models import Bare
from provisioner.operation import CLAIMABLE, DELIVERY_FAILED, Kind, Operation, State
from provisioner.operations import brakes, estimates, lives, retried
from provisioner.service import Service, ServiceStatus
from provisioner.store import Store
from provisioner.store.verbs import Verbs

T = TypeVar("T")


class _Rehearsed(Exception):
    """No error: it has the store take back what was only tried."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(operation.id)
        self.operation = operation


@dataclass(slots=True)
class Commands:
    """Everything a person may change, with a line in the audit each.

    `clock` gives milliseconds since the epoch. Every command is told who gives it (`actor`), why (`reason`,
    '' where none was given) and from where (`origin`). What is `dry` is judged as ever and answers what would
    be; nothing of it is kept.
    """

    settings: Settings
    store: Store
    accept: Accept
    clock: Callable[[], int]
    new_id: NewId
    wake: Callable[[], None]

    def retry(
        self, operation_id: str, actor: str, reason: str = "", *, origin: Origin = ITSELF, dry: bool = False
    ) -> Operation:
        """A failed operation goes on from where it failed; one that was not delivered is delivered again.

        What was judged or approved then is judged and asked anew; a terminate begins anew, with its grace.

        :raises NotFound: there is no such operation.
        :raises WrongState: it has not failed, its service has another VM by now, or is being terminated.
        """
        return self._change(
            operation_id,
            origin,
            lambda record, operation: self._retry(record, operation, actor, reason),
            dry=dry,
        )

    def cancel(
        self, operation_id: str, actor: str, reason: str = "", *, origin: Origin = ITSELF, dry: bool = False
    ) -> Operation:
        """Ends an operation that has sent nothing upstream, or any held one; undoes a terminate in its grace.

        :raises WrongState: it was sent (`create_sent` for a create), or has ended.
        """
        return self._change(
            operation_id,
            origin,
            lambda record, operation: self._cancel(record, operation, actor, reason),
            dry=dry,
        )

    def approve(
        self,
        operation_id: str,
        actor: str,
        reason: str = "",
        choice: str = "",
        vmid: int | None = None,
        *,
        origin: Origin = ITSELF,
        dry: bool = False,
    ) -> Operation:
        """Lifts the reason an operation is held for; all other checks run again.

        :param choice: what a lost create needs: `adopt` (with the vmid), `not_mine` or `send_again`.
        :raises WrongState: it is not held.
        :raises RequestInvalid: a choice is missing, not needed, or its VM cannot be adopted.
        """
        approval = Approval(actor, reason, choice, vmid)
        ttl_ms = self._ttl_ms()
        return self._change(
            operation_id,
            origin,
            lambda record, operation: approve(record, operation, approval, ttl_ms),
            dry=dry,
        )

    def signed_in(self, actor: str, *, origin: Origin = ITSELF) -> None:
        """Notes that a person came to the console."""
        self._write(origin, lambda record: record.audit("person.signed_in", actor))

    def pause(self, actor: str, reason: str, *, origin: Origin = ITSELF) -> None:
        """Stops all work upstream; events are still accepted."""

        def change(record: Record) -> None:
            value = {"actor": actor, "reason": reason, "at": record.now}
            pauses.begin(record.verbs, pauses.BY_PERSON, value, record.now)
            record.audit("work.paused", actor, reason=reason)

        self._write(origin, change)

    def resume(self, actor: str = SERVICE, reason: str = "", *, origin: Origin = ITSELF) -> None:
        """Lets the work upstream go on; where no person had paused it, nothing changes."""

        def change(record: Record) -> None:
            if pauses.end(record.verbs, pauses.BY_PERSON, record.now):
                record.audit("work.resumed", actor, reason=reason)

        self._write(origin, change)
        self.wake()

    def reset_brake(
        self, kind: Kind, actor: str = SERVICE, reason: str = "", *, origin: Origin = ITSELF
    ) -> None:
        """Restarts a brake's count; releases nothing that is held."""

        def change(record: Record) -> None:
            brakes.reset(record.verbs, kind)
            record.audit("brake.reset", actor, reason=reason, kind=kind.value)

        self._write(origin, change)

    def trust(
        self,
        billing: str,
        installation: str,
        actor: str = SERVICE,
        reason: str = "",
        *,
        origin: Origin = ITSELF,
    ) -> None:
        """Accepts events of another installation of a billing system from now on.

        :raises NotFound: there is no such billing system.
        """
        if billing not in self.settings.billing:
            raise NotFound(f"there is no billing system {billing}")

        def change(record: Record) -> None:
            before = record.verbs.fact(installation_fact(billing))
            record.verbs.set_fact(installation_fact(billing), installation, record.now)
            told = {"installation": installation, "before": before}
            record.audit("installation.trusted", actor, billing=billing, reason=reason, **told)

        self._write(origin, change)

    def _write(self, origin: Origin, change: Callable[[Record], T]) -> T:
        def unit(verbs: Verbs) -> T:
            return change(Record(verbs, self.clock(), self.new_id, origin))

        return self.store.write(unit)

    def _change(
        self,
        operation_id: str,
        origin: Origin,
        change: Callable[[Record, Operation], Operation],
        *,
        dry: bool,
    ) -> Operation:
        def change_found(record: Record) -> Operation:
            operation = record.verbs.operation(operation_id)
            if operation is None:
                raise NotFound(f"there is no operation {operation_id}")
            changed = change(record, operation)
            if dry:
                raise _Rehearsed(changed)
            return changed

        try:
            changed = self._write(origin, change_found)
        except _Rehearsed as rehearsed:
            return rehearsed.operation
        self.wake()
        return changed

    def _retry(self, record: Record, operation: Operation, actor: str, reason: str) -> Operation:
        if operation.state is not State.FAILED:
            raise WrongState(
                f"operation {operation.id} is {operation.state}; only a failed one can be retried"
            )
        if operation.kind in (Kind.CREATE, Kind.TERMINATE) and operation.error_code != DELIVERY_FAILED:
            self._refuse_behind_terminate(record, operation)
        service = service_of(record.verbs, operation)
        if operation.error_code != DELIVERY_FAILED:
            _refuse_of_former_vm(record, operation, service)
        if reason:
            record.line(operation, "reason", actor, reason=reason)
        record.audit_of(operation, "retried", actor, reason=reason, code=operation.error_code)
        if operation.error_code == DELIVERY_FAILED:
            return self._deliver_again(record, operation, actor)
        if operation.kind is not Kind.CREATE:
            record.verbs.move_behind(operation.id)
        if operation.kind is Kind.CREATE and service.status is ServiceStatus.FAILED:
            service = replace(service, status=ServiceStatus.PENDING, updated_at=record.now)
            record.verbs.save_service(service)
        went = retried.goes_on(operation)
        return record.move(
            operation,
            State.QUEUED,
            "retried",
            actor=actor,
            approvals=(),
            failures=0,
            attempts=operation.attempts + 1,
            failing_since=None,
            error_code="",
            error_message="",
            error_detail="",
            next_run_at=record.now,
            expires_at=record.now + self._ttl_ms() if operation.expires_at is not None else None,
            **{**went, "memo": {**went["memo"], estimates.BEGUN: None}},
        )

    def _ttl_ms(self) -> int:
        return int(self.settings.retry.action_ttl * 1000)

    def _refuse_behind_terminate(self, record: Record, operation: Operation) -> None:
        """A terminate passes a failed create; the two must not meet, nor two terminates."""
        for later in record.verbs.open_operations_of_service(operation.billing, operation.service_id):
            if later.kind is Kind.TERMINATE:
                raise WrongState(
                    f"operation {operation.id} cannot be retried: terminate {later.id} is under way"
                )

    def _deliver_again(self, record: Record, operation: Operation, actor: str) -> Operation:
        is_fetched = operation.billing in self.settings.fetching
        for delivery in record.verbs.deliveries_of_operation(operation.id):
            if delivery.concludes and delivery.state is DeliveryState.GIVEN_UP:
                if not delivery.data:
                    words = "is past its retention: the billing system has to ask again (service.show)"
                    raise WrongState(f"what operation {operation.id} had to tell {words}")
                waiting = replace(
                    delivery,
                    state=DeliveryState.WAITING,
                    next_run_at=record.now,
                    # What is posted has its time from its first failure, what is fetched from now.
                    failing_since=record.now if is_fetched else None,
                    updated_at=record.now,
                )
                record.verbs.save_delivery(waiting, fence=delivery.claims)
        return record.move(
            operation,
            State.DELIVERING,
            "retried",
            actor=actor,
            error_code="",
            error_message="",
            error_detail="",
        )

    def _cancel(self, record: Record, operation: Operation, actor: str, reason: str) -> Operation:
        if operation.kind is Kind.TERMINATE and "was" in operation.memo:
            waiting = record.verbs.open_operations_of_service(operation.billing, operation.service_id)
            if operation in undoable(waiting):
                return self._undo_terminate(record, operation, undoable(waiting), actor, reason)
        is_open = operation.state is State.HELD or operation.state in CLAIMABLE
        if not is_open:
            raise WrongState(f"operation {operation.id} is {operation.state}: there is nothing to cancel")
        if operation.kind is Kind.CREATE and operation.sent:
            raise WrongState(
                f"the create {operation.id} was sent, so there may be a VM: terminate the service instead",
                code="create_sent",
            )
        if operation.sent and operation.state is not State.HELD:
            raise WrongState(f"operation {operation.id} was sent upstream already; it goes on to its end")
        public = "This was cancelled by the provider."
        for follower in record.verbs.open_operations_of_service(operation.billing, operation.service_id):
            if follower.args.get("create") == operation.id:
                record.cancel(follower, "cancelled", public, actor=actor, reason=reason)
        return record.cancel(operation, "cancelled", public, actor=actor, reason=reason)

    def _undo_terminate(
        self, record: Record, operation: Operation, terminates: list[Operation], actor: str, reason: str
    ) -> Operation:
        """The VM comes back as it was: an unsuspend of ours brings it there, and tells it."""
        service = service_of(record.verbs, operation)
        if reason:
            record.line(operation, "reason", actor, reason=reason)
        _, restored = undo(record, terminates, service, actor, reason)
        if restored and service.vmid is not None:
            request = Request(
                operation.billing, operation.service_id, Kind.UNSUSPEND, Bare(), actor, is_admin=True,
                reason=reason,
            )  # fmt: skip
            self.accept.add(record, request, {**restored, "admin": True, "as_it_was": True})
        return record.verbs.operation(operation.id) or operation


def _refuse_of_former_vm(record: Record, operation: Operation, service: Service) -> None:
    """What was asked for while the service had another VM is done to none that came after it."""
    if lives.is_over(record.verbs, operation, service):
        raise WrongState(
            f"operation {operation.id} cannot be retried: {lives.which(operation, service)}; have it asked "
            "for anew if it is still wanted"
        )
