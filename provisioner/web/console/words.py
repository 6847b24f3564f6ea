"""What an operation waits for and what a person can do, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.engine import pauses
from provisioner.operation import Kind, Operation, State
from provisioner.store.verbs import Verbs
from provisioner.web.browser.pages import span
from provisioner.web.console.runbook import NOTHING, Paragraph, failed, held

_WAITS: Mapping[str, str] = {
    "job": "for the upstream's job {job_id} to end",
    "backup": "for the backup to end",
    "change": "for the change to show in the VM's configuration",
    "power": "for the VM to be on or off, as asked",
    "shutdown": "for the VM to shut down; after the grace it is switched off",
    "grace": "for the grace of the termination to end: until then it can be undone",
    "delete": "for the VM to be gone from the upstream's list",
    "another_delete": "for another VM with the same id to be gone",
    "another_order": "for another order, whose answer was lost and is being looked for",
    "leftover": "for a VM that a failed order may have left behind: the upstream's list may show it late",
    "outcome": "for proof of what became of a call whose answer was lost; nothing is sent again before that",
    "retry": "to try again, because the upstream could not be reached or did not answer well",
}
_PAUSED = {
    pauses.BY_PERSON: "work upstream is paused by a person",
    pauses.TOKEN_REFUSED: "the upstream refuses the token; it goes on by itself once that works",
    pauses.RECOVERING: "the store was put back from a copy; restore --finish lets it go",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """How an operation stands: `waits` in words, `behind` the id of the one it waits for, what to do."""

    waits: str = ""
    behind: str = ""
    advice: Paragraph = NOTHING


def standing(verbs: Verbs, operation: Operation, now: int) -> Standing:
    """How an operation stands at this moment (milliseconds since the epoch)."""
    match operation.state:
        case State.HELD:
            return Standing("for a person", advice=held(operation.error_code))
        case State.FAILED:
            return Standing(advice=failed(operation.error_code))
        case State.DELIVERING:
            return Standing("for the billing system to take the message; the work itself is done")
        case State.RUNNING:
            return Standing("for the present call to be answered")
        case State.QUEUED | State.WAITING:
            return _waiting(verbs, operation, now)
    return Standing()


def _waiting(verbs: Verbs, operation: Operation, now: int) -> Standing:
    for reason in pauses.reasons(verbs):
        return Standing(f"because {_PAUSED[reason]}")
    before = _in_front(verbs, operation)
    if before is not None:
        words = f"for {before.kind} of the same service, which is {before.state}"
        return Standing(words, behind=before.id)
    left_ms = operation.next_run_at - now
    when = f"; next look in {span(left_ms / 1000)}" if left_ms > 0 else "; it is due now"
    if operation.state is State.QUEUED:
        return Standing(f"for a free place{when}")
    name = str(operation.memo.get("waits_for", ""))
    words = _WAITS.get(name, "to go on").format(job_id=operation.job_id or "(not known yet)")
    return Standing(words + when)


def _in_front(verbs: Verbs, operation: Operation) -> Operation | None:
    """What holds it back, if anything of its service does (contract, section 6, promise 3)."""
    for other in verbs.open_operations_of_service(operation.billing, operation.service_id):
        passes = operation.kind is Kind.TERMINATE and other.blocks == 2
        if other.seq < operation.seq and other.blocks and not passes:
            return other
    return None
