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
KEPT_ENDS = 8  # of a kind's and plan's jobs: few, so that another pace of the upstream is soon learnt
EXPLORING = 4  # one job in so many is looked at earlier: of many at once not all need to
ENOUGH = 3  # before it is relied on
CLOSE_S = 1.0  # between two looks while a job may end any moment: nobody is told later than that
SLACK_S = 0.1  # behind the latest one: better one look a little late than two
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
    """Notes between which two looks its job ended: it still ran at the first, 0 where there was none."""
    looked = operation.memo.get(JOB_ENDED)
    if looked is not None:
        name = _fact(verbs, operation, "ends")
        noted = [round(seconds, 2) for seconds in looked]
        verbs.set_fact(name, [*(verbs.fact(name) or []), noted][-KEPT_ENDS:], now)


def look_after_s(verbs: Verbs, operation: Operation, waited_s: float) -> float | None:
    """In how many seconds a job is worth a look, as such jobs ended before.

    :param waited_s: for how long it has been looked at.
    :returns: None where too few are on record, or it takes longer than they did.
    """
    ends = verbs.fact(_fact(verbs, operation, "ends")) or []
    if len(ends) < ENOUGH:
        return None
    looks_s, latest_s = _worth_a_look(ends, looks_earlier=operation.seq % EXPLORING == 0)
    for at_s in looks_s:
        if waited_s < at_s:
            return at_s - waited_s
    return CLOSE_S if waited_s <= latest_s + CLOSE_S else None


def _worth_a_look(ends: list[tuple[float, float]], *, looks_earlier: bool) -> tuple[list[float], float]:
    """When the next job is looked at, and from when on it takes longer than those before, in seconds.

    Where all may have ended at one moment, that lies between the latest at which one still ran and the
    earliest at which one had ended: a look at the later of the two is enough.

    :param looks_earlier: this one finds out where in between, if that is not known well.
    """
    least, *others = sorted(ends, key=lambda end: end[1])
    if least[1] < others[0][1] / 2:  # one that ended at once says little of the others
        ends = others
    ran_s, ended_s = _between(ends)
    if ran_s >= ended_s:  # they differ
        return [ended_s if ran_s - ended_s > CLOSE_S else ran_s + SLACK_S], ran_s
    if ended_s - ran_s <= CLOSE_S or not looks_earlier:
        return [ended_s], ended_s
    return [_earlier(ends, ran_s, ended_s), ended_s], ended_s


def _earlier(ends: list[tuple[float, float]], ran_s: float, ended_s: float) -> float:
    """Where to find out whether they end earlier by now: a second earlier, or twice the last such step, since
    an upstream may have become much faster; not beyond the middle of where the end can be."""
    step_s = max(CLOSE_S, 2 * (_between(ends[:-1])[1] - ends[-1][1]))
    return max((ran_s + ended_s) / 2, ended_s - step_s)


def _between(ends: list[tuple[float, float]]) -> tuple[float, float]:
    """The latest moment at which one of them still ran, and the earliest at which one had ended."""
    return max(ran for ran, _ in ends), min(ended for _, ended in ends)


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
