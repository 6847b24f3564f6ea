"""How a change of an operation is written: its row, its timeline and what is told, in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from provisioner.delivery import Delivery, DeliveryState
from provisioner.operation import DELIVERY_FAILED, TRANSITIONS, Kind, Operation, State, TimelineEntry
from provisioner.service import Service, ServiceStatus
from provisioner.store.verbs import Verbs

NewId = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Record:
    """Writes to one transaction at one moment (`now` in milliseconds since the epoch)."""

    verbs: Verbs
    now: int
    new_id: NewId

    def move(
        self, operation: Operation, state: State, what: str, *, actor: str = "service", **changes: Any
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

    def line(self, operation: Operation, what: str, actor: str = "service", **detail: Any) -> None:
        """A line in the operation's timeline."""
        self.verbs.add_timeline(operation.id, TimelineEntry(self.now, what, detail, actor))

    def fail(
        self,
        operation: Operation,
        code: str,
        public: str,
        *,
        detail: str = "",
        actor: str = "service",
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
        self._tell_failure(failed, retryable=True)
        return failed

    def cancel(
        self, operation: Operation, code: str, public: str, *, actor: str = "service", detail: str = ""
    ) -> Operation:
        """Ends an operation `cancelled`, which is told like a failure."""
        cancelled = self.move(
            operation,
            State.CANCELLED,
            "cancelled",
            actor=actor,
            error_code=code,
            error_message=public,
            error_detail=detail or public,
        )
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
        self.tell(self._service(held), "operation.held", {"kind": held.kind.value, "error": error}, held)
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
        service = self._status_after_failure(operation, self._service(operation))
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

    def _service(self, operation: Operation) -> Service:
        service = self.verbs.service(operation.billing, operation.service_id)
        if service is None:
            raise LookupError(f"operation {operation.id} has no service")
        return service
