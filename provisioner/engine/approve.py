"""A person lifts a hold. What a lost create may have made is the person's choice (contract, section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from provisioner.engine.record import Record, service_of
from provisioner.errors import RequestInvalid, WrongState
from provisioner.operation import Kind, Operation, State
from provisioner.operations import there_before
from provisioner.operations.lost_create import FOREIGN, HELD_CODES, TOLD_TOO_LITTLE
from provisioner.operations.missing import CAME_BACK, missing_fact

ADOPT, NOT_MINE, SEND_AGAIN = "adopt", "not_mine", "send_again"
CHOICES = (ADOPT, NOT_MINE, SEND_AGAIN)


@dataclass(frozen=True, slots=True)
class Approval:
    """Who approves, why, and what was chosen."""

    actor: str
    reason: str = ""
    choice: str = ""
    vmid: int | None = None


def approve(record: Record, operation: Operation, approval: Approval, ttl_ms: int) -> Operation:
    """Lets a held operation go on; see `Commands.approve`.

    :param ttl_ms: how soon one that expires must begin now that a person has asked for it again.
    """
    if operation.state is not State.HELD:
        raise WrongState(f"operation {operation.id} is {operation.state}; only a held one can be approved")
    _check_choice(operation, approval)
    if approval.reason:
        record.line(operation, "reason", approval.actor, reason=approval.reason)
    changes = _chosen(record, operation, approval)
    if operation.error_code == CAME_BACK:
        record.verbs.drop_fact(missing_fact(service_of(record.verbs, operation).vmid or 0))
    told: dict[str, Any] = {
        "code": operation.error_code,
        "choice": approval.choice,
        "adopted": changes.get("vmid"),
    }
    record.audit_of(
        operation, "approved", approval.actor, reason=approval.reason, **{k: v for k, v in told.items() if v}
    )
    if approval.choice == NOT_MINE:
        public = "The server could not be set up."
        detail = "a person decided that no VM is this order's"
        return record.fail(operation, "lost", public, detail=detail, actor=approval.actor, **changes)
    return record.move(
        operation,
        State.WAITING,
        f"approved {approval.choice}".strip(),
        actor=approval.actor,
        approvals=(*operation.approvals, operation.error_code),
        failures=0,
        failing_since=None,
        error_code="",
        error_message="",
        error_detail="",
        next_run_at=record.now,
        expires_at=record.now + ttl_ms if operation.expires_at is not None else None,
        **changes,
    )


def _chosen(record: Record, operation: Operation, approval: Approval) -> dict[str, Any]:
    match approval.choice:
        case "adopt":
            vmid = _adoptable(record, operation, approval.vmid)
            return {"step": "adopt", "memo": {**operation.memo, "adopt": vmid}, "vmid": vmid}
        case "not_mine" | "send_again":
            return {"step": "recheck", "memo": _decided(operation)}
        case "":
            return {"memo": _decided(operation)} if operation.error_code == "leftover_vm" else {}
    raise RequestInvalid(f"choice: must be one of {', '.join(CHOICES)}")


def _decided(operation: Operation) -> dict[str, Any]:
    """What was set aside is foreign now; what nobody had seen by then is still looked for."""
    foreign = {*operation.memo.get(FOREIGN, []), *operation.memo.get("set_aside", [])}
    return {**operation.memo, FOREIGN: sorted(foreign)}


def _check_choice(operation: Operation, approval: Approval) -> None:
    is_create = operation.kind is Kind.CREATE
    if is_create and operation.error_code in HELD_CODES and not approval.choice:
        raise RequestInvalid(f"choice: must be one of {', '.join(CHOICES)}")
    if approval.choice and not (is_create and operation.error_code in HELD_CODES | TOLD_TOO_LITTLE):
        raise RequestInvalid(f"choice: this operation is held for {operation.error_code}, which needs none")


def _adoptable(record: Record, operation: Operation, asked: int | None) -> int:
    candidates: list[int] = operation.memo.get("set_aside", [])
    vmid = asked if asked is not None else candidates[0] if len(candidates) == 1 else None
    if vmid is None:
        raise RequestInvalid(f"vmid: is needed to adopt; new ones are {candidates or 'none'}")
    owner = record.verbs.service_by_vmid(vmid)
    if owner is not None:
        raise RequestInvalid(f"vmid: VM {vmid} belongs to service {owner.billing}/{owner.service_id}")
    if vmid not in candidates and _was_there_before(record, operation, vmid):
        raise RequestInvalid(f"vmid: VM {vmid} was there before the order was sent: it is not this order's")
    return vmid


def _was_there_before(record: Record, operation: Operation, vmid: int) -> bool:
    """Whether the create found it in the list; one that died here since may have left its id to another."""
    if there_before.LISTED not in operation.memo:
        return False
    there = there_before.before(record.verbs, operation)
    if there is None:
        raise RequestInvalid(
            f"vmid: what was there before the order was sent is not on record any more, so VM {vmid} may be "
            "somebody else's: adopt one that was set aside when it was held, or choose not_mine or send_again"
        )
    return vmid in there and vmid not in record.verbs.tombstoned_since(operation.memo["sent_at"])
