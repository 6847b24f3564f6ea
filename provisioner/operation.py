"""An operation: one thing this service does for one service, as a small durable state machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What an operation does; one file in `operations/` for each kind or family."""

    CREATE = "create"
    LINK = "link"
    CHANGE = "change"
    SUSPEND = "suspend"
    UNSUSPEND = "unsuspend"
    TERMINATE = "terminate"
    START = "start"
    SHUTDOWN = "shutdown"
    STOP = "stop"
    REBOOT = "reboot"
    FORCE_REBOOT = "force_reboot"
    REINSTALL = "reinstall"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a kind, not a password
    SET_RDNS = "set_rdns"
    BACKUP = "backup"
    RESTORE = "restore"


class State(StrEnum):
    """Where an operation stands, and who moves it on (contract, section 5)."""

    QUEUED = "queued"  # not begun, also behind another; a claim moves it to running
    RUNNING = "running"  # a worker has its lease; the worker's write-back moves it on
    WAITING = "waiting"  # for a job, a retry, a grace, an unknown outcome; a claim, once it is due
    DELIVERING = "delivering"  # its work is done and being told; the delivery's end moves it on
    HELD = "held"  # waits for a person, who approves or cancels
    SUCCEEDED = "succeeded"  # an end
    FAILED = "failed"  # an end, unless a person retries it or a new order replaces it
    CANCELLED = "cancelled"  # an end


DELIVERY_FAILED = "delivery_failed"  # the code of an operation whose work is done but could not be told
DECIDED = frozenset({DELIVERY_FAILED, "terminated"})  # a create that failed so leaves nothing to wait for

OPEN = frozenset({State.QUEUED, State.RUNNING, State.WAITING, State.HELD})
CLAIMABLE = frozenset({State.QUEUED, State.RUNNING, State.WAITING})
ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})

TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.HELD, State.FAILED, State.CANCELLED}),
    State.RUNNING: frozenset(
        {State.RUNNING, State.WAITING, State.DELIVERING, State.HELD, State.FAILED, State.CANCELLED}
    ),
    State.WAITING: frozenset({State.RUNNING, State.HELD, State.FAILED, State.CANCELLED}),
    State.DELIVERING: frozenset({State.SUCCEEDED, State.FAILED}),
    State.HELD: frozenset({State.WAITING, State.FAILED, State.CANCELLED}),
    State.FAILED: frozenset({State.QUEUED, State.DELIVERING, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.CANCELLED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as the store has it. Times are milliseconds since the epoch, UTC.

    `args` is what was asked (resolved at acceptance), `memo` what its steps must remember.
    `sent` is true from before its first call that changes something upstream.
    `claims` fences write-backs; `failures` counts the failed tries of the present step.
    """

    id: str
    seq: int
    billing: str
    service_id: str
    kind: Kind
    state: State
    step: str
    args: dict[str, Any]
    memo: dict[str, Any]
    sent: bool
    attempts: int
    failures: int
    claims: int
    next_run_at: int
    failing_since: int | None
    expires_at: int | None
    error_code: str
    error_message: str
    error_detail: str
    job_id: str
    vmid: int | None
    actor: str
    event: str
    approvals: tuple[str, ...]
    created_at: int
    updated_at: int

    @property
    def blocks(self) -> int:
        """What it holds back behind it: 0 nothing, 1 everything, 2 all but a terminate (promise 3)."""
        if self.state in CLAIMABLE:
            return 1
        if self.state is State.HELD:
            return 1 if self.kind is Kind.CREATE and self.sent else 2
        if self.state is State.FAILED and self.kind is Kind.CREATE and self.error_code not in DECIDED:
            return 2
        return 0


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One line of an operation's history: what happened, with facts that hold no secret."""

    at: int
    what: str
    detail: dict[str, Any] = field(default_factory=dict)
    actor: str = "service"
