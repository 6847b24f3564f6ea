"""How a change of an operation is written: its row, its timeline and what is told, in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from provisioner.audit import ITSELF, SERVICE, Deed, Origin
from provisioner.delivery import Delivery, DeliveryState
from provisioner.errors import RowUnreadable
from provisioner.operation import DELIVERY_FAILED, TRANSITIONS, Kind, Operation, State, TimelineEntry
from provisioner.service import Service, ServiceStatus
from provisioner.store.verbs import Verbs

NewId = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Record:
    """Writes to one transaction at one moment (`now` in milliseconds since the epoch).

    `origin` is where the person or billing system called from on whose behalf all this is written.
    """

    verbs: Verbs
    now: int
    new_id: NewId
    origin: Origin = ITSELF

    def move(
        self, operation: Operation, state: State, what: str, *, actor: str = SERVICE, **changes: Any
    ) -> Operation:
        """Moves an operation on, takes it from whoever had it, and leaves a line in the timeline.

        :raises Fenced: it was claimed or changed since it was read.
        """
        if state is not operation.state and state not in TRANSITIONS[operation.state]:
            raise ValueError(f"operation {operation.id} cannot go from {operation.state} to {state}")
        moved = replace(
            operation, **{"claims": operation.claims + 1, **changes, "state": state, "updated_at": self.now}
        )
        self.verbs.save_operation(moved, fence=operation.claims)
        detail = {"from": operation.state.value, "to": state.value}
        if moved.error_code and moved.error_code != operation.error_code:
            detail |= {"code": moved.error_code, "message": moved.error_detail}
        self.line(moved, what, actor, **detail)
        return moved

    def line(self, operation: Operation, what: str, actor: str = SERVICE, **detail: Any) -> None:
        """A line in the operation's timeline."""
        self.verbs.add_timeline(operation.id, TimelineEntry(self.now, what, detail, actor))

    def audit(
        self,
        action: str,
        actor: str = SERVICE,
        *,
        billing: str = "",
        service_id: str = "",
        operation: str = "",
        vmid: int | None = None,
        reason: str = "",
        **detail: Any,
    ) -> None:
        """A line in the audit, from where this record's caller is: who did what to which service, and why.

        :param action: what it was about and what was done, such as `brake.reset`; `docs/audit.md` has each.
        :param actor: `admin:anna`, `billing:shop:cron`, or the service itself.
        """
        origin = ITSELF if actor == SERVICE else self.origin
        if origin.user:
            detail["user"] = origin.user
        self.verbs.add_audit(
            Deed(
                at=self.now,
                actor=actor,
                action=action,
                address=origin.address,
                billing=billing,
                service_id=service_id,
                operation=operation,
                vmid=vmid,
                reason=reason,
                detail=detail,
            )
        )

    def audit_of(
        self,
        operation: Operation,
        what: str,
        actor: str = SERVICE,
        *,
        service: Service | None = None,
        reason: str = "",
        **detail: Any,
    ) -> None:
        """A line in the audit about an operation, with the VM that its service has now or had last.

        :param service: the operation's, as it is now, where the caller has it at hand; looked up otherwise.
        """
        link = operation.args.get("vmid") if operation.kind is Kind.LINK else None
        vmid = link or (
            service.vmid if service else self.verbs.vmid_of_service(operation.billing, operation.service_id)
        )
        self.audit(
            f"{operation.kind.value}.{what}",
            actor,
            billing=operation.billing,
            service_id=operation.service_id,
            operation=operation.id,
            vmid=operation.vmid if vmid is None else vmid,
            reason=reason,
            **detail,
        )

    def fail(
        self,
        operation: Operation,
        code: str,
        public: str,
        *,
        detail: str = "",
        actor: str = SERVICE,
        **more: Any,
    ) -> Operation:
        """Ends an operation `failed`, which is told afterwards; a service that never was stays `failed`."""
        failed = self.move(
            operation,
            State.FAILED,
            "failed",
            actor=actor,
            error_code=code,
            error_message=public,
            error_detail=detail or public,
            **more,
        )
        self.audit_of(failed, "failed", actor, code=code, message=failed.error_detail)
        self._tell_failure(failed, retryable=True)
        return failed

    def cancel(
        self, operation: Operation, code: str, public: str, *, actor: str = SERVICE, reason: str = ""
    ) -> Operation:
        """Ends an operation `cancelled`, which is told like a failure."""
        cancelled = self.move(
            operation,
            State.CANCELLED,
            "cancelled",
            actor=actor,
            error_code=code,
            error_message=public,
            error_detail=reason or public,
        )
        self.audit_of(cancelled, "cancelled", actor, reason=reason, code=code)
        self._tell_failure(cancelled, retryable=False)
        return cancelled

    def hold(
        self, operation: Operation, code: str, public: str, *, detail: str = "", **more: Any
    ) -> Operation:
        """Stops an operation for a person, and tells it."""
        held = self.move(
            operation,
            State.HELD,
            "held",
            error_code=code,
            error_message=public,
            error_detail=detail or public,
            **more,
        )
        error = {"code": code, "message": public}
        self.tell(
            service_of(self.verbs, held), "operation.held", {"kind": held.kind.value, "error": error}, held
        )
        return held

    def tell(
        self,
        service: Service,
        kind: str,
        data: dict[str, Any],
        operation: Operation | None = None,
        *,
        concludes: bool = False,
        with_credentials: bool = False,
    ) -> Delivery:
        """Queues a delivery behind the service's earlier ones."""
        delivery = Delivery(
            id=self.new_id("msg"),
            seq=0,
            billing=service.billing,
            service_id=service.service_id,
            operation=operation.id if operation else "",
            concludes=concludes,
            type=kind,
            data={
                "service_id": service.service_id,
                "operation": operation.id if operation else None,
                "status": service.status.value,
                **data,
            },
            with_credentials=with_credentials,
            credentials_version="",
            sealed="",
            state=DeliveryState.WAITING,
            attempts=0,
            claims=0,
            next_run_at=self.now,
            failing_since=None,
            last_error="",
            hooks_due=False,
            created_at=self.now,
            updated_at=self.now,
        )
        self.verbs.add_delivery(delivery)
        return delivery

    def _tell_failure(self, operation: Operation, *, retryable: bool) -> None:
        if operation.error_code == DELIVERY_FAILED:
            return  # what could not be delivered is not told by another delivery
        service = self._status_after_failure(operation, service_of(self.verbs, operation))
        error = {"code": operation.error_code, "message": operation.error_message}
        data = {"kind": operation.kind.value, "error": error, "retryable": retryable}
        self.tell(service, "operation.failed", data, operation)

    def _status_after_failure(self, operation: Operation, service: Service) -> Service:
        """A service that never came to be has failed; one whose terminate ended early is what it was."""
        status = service.status
        if operation.kind in (Kind.CREATE, Kind.LINK) and status is ServiceStatus.PENDING:
            status = ServiceStatus.FAILED
        if (
            operation.kind is Kind.TERMINATE
            and status is ServiceStatus.TERMINATING
            and "was" in operation.memo
        ):
            status = ServiceStatus(operation.memo["was"]["status"])
        if status is not service.status:
            service = replace(service, status=status, updated_at=self.now)
            self.verbs.save_service(service)
        return service


def service_of(verbs: Verbs, operation: Operation) -> Service:
    """The service as it is now.

    :raises RowUnreadable: there is none, which no operation is without, or its row is damaged.
    """
    service = verbs.service(operation.billing, operation.service_id)
    if service is None:
        raise RowUnreadable(f"operation {operation.id} has no service: its row is gone")
    return service
