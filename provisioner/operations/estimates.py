"""How long work takes, learnt from the work before: for each kind and plan, the median of the last ones.

What is noted is the time from the begin of the work to its end, before it is told; only of work that went
through in one go, because what waited for a person tells how long people take. Of the upstream's jobs it is
noted besides when they ended, so that the next one is looked at when it is likely to have ended.
"""

from __future__ import annotations

from statistics import median

from provisioner.operation import ENDS, Kind, Operation, State
from provisioner.store.verbs import Verbs

TIMED = frozenset({Kind.CREATE, Kind.REINSTALL, Kind.RESTORE, Kind.BACKUP, Kind.CHANGE})
KEPT = 20  # of each kind and plan: enough for a median, and a faster upstream shows within a day
KEPT_ENDS = 5  # of a kind's and plan's jobs: few, so that another pace of the upstream is soon learnt
ENOUGH = 3  # before it is relied on
CLOSE_S = 1.0  # between two looks while a job may end any moment: nobody is told later than that
SLACK_S = 0.1  # behind the latest one: better one look a little late than two
EARLIER = 0.7  # of the time of a job that had ended before the first look: the next ones are looked at sooner
JOB_ENDED = "job_ended_s"  # in a memo: how long it had been looked at when it last ran, and when it had ended
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

    _note_job(verbs, operation, now)


def _note_job(verbs: Verbs, operation: Operation, now: int) -> None:
    """Notes when its job ended: between the last look at which it ran and the one at which it did not.

    One that had ended before the first look tells only that it may be looked at earlier.
    """
    looked = operation.memo.get(JOB_ENDED)
    if looked is None:
        return
    ran_s, ended_s = looked
    name = _fact(verbs, operation, "job")
    noted = round((ran_s + ended_s) / 2 if ran_s else ended_s * EARLIER, 2)
    verbs.set_fact(name, [*(verbs.fact(name) or []), noted][-KEPT_ENDS:], now)


def look_after_s(verbs: Verbs, operation: Operation, waited_s: float) -> float | None:
    """In how many seconds a job is worth a look, as such jobs ended before.

    :param waited_s: for how long it has been looked at.
    :returns: None where too few are on record, or it takes longer than they did.
    """
    ends = sorted(verbs.fact(_fact(verbs, operation, "job")) or [])
    if len(ends) < ENOUGH:
        return None
    early_s, late_s = ends[1], ends[-1]  # one that ended at once says little of the others
    spread_s = late_s - early_s
    first_s = late_s + SLACK_S if spread_s <= CLOSE_S else early_s
    if waited_s < first_s:
        return float(first_s - waited_s)
    return CLOSE_S if waited_s <= late_s + CLOSE_S else None


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


def _fact(verbs: Verbs, operation: Operation, of: str = "took") -> str:
    """The name of the fact that has the times of this operation's like."""
    plan = operation.args.get("plan")
    if plan is None:
        service = verbs.service(operation.billing, operation.service_id)
        plan = service.plan if service else ""
    return f"{of}:{operation.kind.value}:{plan}"
