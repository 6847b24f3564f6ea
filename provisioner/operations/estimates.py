"""How long work takes, learnt from the work before: for each kind and plan, the median of the last ones.

What is noted is the time from the begin of the work to its end, before it is told; only of work that went
through in one go, because what waited for a person tells how long people take.
"""

from __future__ import annotations

from statistics import median

from provisioner.operation import ENDS, Kind, Operation, State
from provisioner.store.verbs import Verbs

TIMED = frozenset({Kind.CREATE, Kind.REINSTALL, Kind.RESTORE, Kind.BACKUP, Kind.CHANGE})
KEPT = 20  # of each kind and plan: enough for a median, and a faster upstream shows within a day
BEGUN = "begun_at"  # in an operation's memo, milliseconds since the epoch; None once a person retried it


def note(verbs: Verbs, operation: Operation, now: int) -> None:
    """Notes how long an operation took whose work is done at this moment, where that tells something."""
    begun = operation.memo.get(BEGUN)
    if operation.kind not in TIMED or not operation.sent or operation.approvals:
        return
    if begun is None or now < begun:
        return
    name = _fact(verbs, operation)
    verbs.set_fact(name, [*(verbs.fact(name) or []), round((now - begun) / 1000, 1)][-KEPT:], now)


def usual_s(verbs: Verbs, operation: Operation) -> float | None:
    """How many seconds such work usually takes; None where none of its kind and plan is on record."""
    if operation.kind not in TIMED:
        return None
    noted = verbs.fact(_fact(verbs, operation))
    return float(median(noted)) if noted else None


def left_s(verbs: Verbs, operation: Operation, now: int) -> float | None:
    """How many seconds an operation's work will still take; 0 where it is over its usual time.

    :param now: milliseconds since the epoch.
    :returns: None where nobody knows: it has ended or is held, or none of its kind and plan is on record.
    """
    if operation.state in ENDS or operation.state in (State.HELD, State.DELIVERING):
        return None
    usual = usual_s(verbs, operation)
    if usual is None:
        return None
    begun = operation.memo.get(BEGUN) or now
    return max(usual - (now - begun) / 1000, 0.0)


def _fact(verbs: Verbs, operation: Operation) -> str:
    """The name of the fact that has the times of this operation's like."""
    plan = operation.args.get("plan")
    if plan is None:
        service = verbs.service(operation.billing, operation.service_id)
        plan = service.plan if service else ""
    return f"took:{operation.kind.value}:{plan}"
