"""Following one of the upstream's jobs to its end. A look at a job that still runs is no failure."""

from __future__ import annotations

from provisioner.errors import JobNotFound, OperationFailed, OperationHeld
from provisioner.operations import Again, Go, Run, estimates
from provisioner.upstream import Job

SHORTEST_LOOK_S = 0.5
RESTORED_AT = "restored_at"  # the fact: when this store was last put back from a copy, milliseconds
ASKED_SINCE = "asked_since"  # in the memo: that fact, as it was when the upstream last answered with a job
FAILED_AT = "job_failed_at"  # in the memo: milliseconds since the epoch


def asked(run: Run, job_id: str) -> None:
    """The upstream has just answered that this job does what was asked: its password is the newest one."""
    run.job_id = job_id
    restored_at = run.look(lambda verbs: verbs.fact(RESTORED_AT))
    if restored_at is not None:
        run.memo[ASKED_SINCE] = restored_at


def begun(run: Run, then: str) -> Go | Again:
    """The job `run.job_id` has just been asked for: it is looked at, at step `then`, when such jobs end."""
    _watch(run, run.job_id)
    learnt_s = _learnt_s(run, 0.0)
    return Go(then) if learnt_s is None else _again(run, learnt_s, then)


def look(run: Run, resume: str) -> Job | Again:
    """Looks once: the finished job, or when to look again. The first look waits until such jobs end.

    :param resume: the step at which a retry goes on if the job failed.
    :raises OperationFailed: the job failed, with the upstream's code.
    :raises OperationHeld: `job_timeout`, it has not ended in `job_timeout` seconds.
    :raises JobNotFound: the upstream does not know it (any more).
    """
    if run.memo.get("job") != run.operation.job_id:
        _watch(run, run.operation.job_id)
        learnt_s = _learnt_s(run, 0.0)
        if learnt_s is not None:
            return _again(run, learnt_s)
    waited_s = (run.now() - run.memo["job_since"]) / 1000
    job = run.upstream.job(run.operation.job_id)
    run.memo["progress"] = job.progress
    if job.failed:
        run.memo[FAILED_AT] = run.now()
        raise OperationFailed(
            "The server could not be set up.",
            code=job.error_code or "job_failed",
            detail=job.error,
            resume=resume,
        )
    if job.finished:
        run.memo[estimates.JOB_ENDED] = [run.memo["job_ran_s"], waited_s]
        return job
    run.memo["job_ran_s"] = waited_s
    _not_too_long(run, job, waited_s)
    learnt_s = _learnt_s(run, waited_s)
    # Where nothing is learnt: early on it may end any moment; the longer it runs, the less a second matters.
    return _again(run, waited_s / 4 if learnt_s is None else learnt_s)


def _watch(run: Run, job_id: str) -> None:
    run.memo |= {"job": job_id, "job_since": run.now(), "job_ran_s": 0.0}


def _not_too_long(run: Run, job: Job, waited_s: float) -> None:
    if waited_s >= run.settings.upstream.job_timeout and not run.has_approval("job_timeout"):
        raise OperationHeld(
            "This takes longer than it ever should; the provider has been told.",
            code="job_timeout",
            detail=f"job {run.operation.job_id} is {job.status!r} after {waited_s:.0f} s; "
            "approve to go on waiting",
        )


def _learnt_s(run: Run, waited_s: float) -> float | None:
    return run.look(lambda verbs: estimates.look_after_s(verbs, run.operation, waited_s))


def _again(run: Run, after_s: float, step: str = "") -> Again:
    return Again(min(run.settings.upstream.job_poll, max(SHORTEST_LOOK_S, after_s)), "job", step)


def lost(run: Run, then: str) -> Go:
    """The upstream does not know the job (any more): from now on it is watched whether that stays so."""
    run.memo |= {"job_lost": True, "sent_at": run.now()}
    return Go(then)


def is_back(run: Run) -> bool:
    """Whether a job that was lost is there again: one wrong answer proves nothing."""
    if not run.memo.get("job_lost"):
        return False
    try:
        run.upstream.job(run.operation.job_id)
    except JobNotFound:
        return False
    run.memo.pop("job_lost")
    return True
