"""Takes a terminate back while its VM still stands (contract, section 3, "Undo")."""

from __future__ import annotations

from typing import Any

from provisioner.engine.record import Record
from provisioner.operation import OPEN, Kind, Operation
from provisioner.operations import FIRST
from provisioner.service import Service

_UNTIL_OFF = frozenset({FIRST, "shutdown", "watch", "stop"})  # the steps at which the VM may still run


def undoable(operations: list[Operation]) -> list[Operation]:
    """The service's terminates that have not ended: all of them, or none once one has sent its delete."""
    terminates = [op for op in operations if op.kind is Kind.TERMINATE and op.state in OPEN]
    return [] if any(op.memo.get("delete_sent") for op in terminates) else terminates


def undo(
    record: Record, terminates: list[Operation], service: Service, actor: str, reason: str = ""
) -> tuple[Service, dict[str, Any]]:
    """Ends the terminates at once; the service has the status again that it had before.

    :returns: the service, and what the undoing operation must bring back (nothing where nothing had begun).
    """
    for terminate in terminates:
        public = "The termination was taken back."
        record.cancel(terminate, "cancelled", public, actor=actor, reason=reason)
    before = [_before(terminate) for terminate in terminates if "was" in terminate.memo]
    if not before:
        return service, {}
    restored = record.verbs.service(service.billing, service.service_id)
    return restored or service, {"undo": before[0]}


def _before(terminate: Operation) -> dict[str, Any]:
    """How the VM was, and whether it may be on its way down: a start would be lost on it until it is off.

    It may be so because of an earlier terminate, whose undo this one ended before the VM was back.
    """
    was, memo = terminate.memo["was"], terminate.memo
    was_told = terminate.sent or "shutdown_at" in memo or was.get("stopping", False)
    return {**was, "stopping": was_told and terminate.step in _UNTIL_OFF}
