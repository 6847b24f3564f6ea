"""Following one of the upstream's jobs to its end. A look at a job that still runs is no failure."""

from __future__ import annotations

from provisioner.errors import JobNotFound, OperationFailed, OperationHeld
from provisioner.operations import Again, Go, Run
from provisioner.upstream import Job

SHORTEST_LOOK_S = 0.5


def look(run: Run, resume: str) -> Job | Again:
    """Looks once: the finished job, or when to look again.

    :param resume: the step at which a retry goes on if the job failed.
    :raises OperationFailed: the job failed, with the upstream's code.
    :raises OperationHeld: `job_timeout`, it has not ended in `job_timeout` seconds.
    :raises JobNotFound: the upstream does not know it (any more).
    """
    job = run.upstream.job(run.operation.job_id)
    run.memo["progress"] = job.progress
    if job.failed:
        raise OperationFailed(
            "The server could not be set up.",
            code=job.error_code or "job_failed",
            detail=job.error,
            resume=resume,
        )
    if job.finished:
        return job
    since = run.memo.setdefault("job_since", run.now())
    waited_s = (run.now() - since) / 1000
    settings = run.settings.upstream
    if waited_s >= settings.job_timeout and not run.has_approval("job_timeout"):
        raise OperationHeld(
            "This takes longer than it ever should; the provider has been told.",
            code="job_timeout",
            detail=f"job {run.operation.job_id} is {job.status!r} after {waited_s:.0f} s; "
            "approve to go on waiting",
        )
    # Early on a build may end any moment; the longer it runs, the less a second matters.
    return Again(min(settings.job_poll, max(SHORTEST_LOOK_S, waited_s / 4)), "job")


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
