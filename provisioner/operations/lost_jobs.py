"""The ids of the upstream's jobs, which grow: what was sent after the greatest one known has a greater one.

A lost create and a lost reinstall are both found by looking at the jobs above it that no operation claims.
"""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.errors import JobNotFound, OperationHeld, TokenRefused, UpstreamRefused
from provisioner.operation import CLAIMABLE, Kind, State
from provisioner.operations import Run
from provisioner.store.verbs import Verbs
from provisioner.upstream import Job

GREATEST = "greatest_job"  # the fact: the greatest job id ever seen on the account
IRREGULAR = "irregular_jobs"  # the fact: job ids are no growing integers, so nothing follows from them
WINDOW = 10  # ids beyond the greatest seen: the lost one may be the newest of all
MOST_IDS = 200  # more to look at is a person's work
LOOK_S = 2.0


@dataclass(frozen=True, slots=True)
class Found:
    """A job that no operation claims."""

    id: int
    job: Job


def learn(verbs: Verbs, job_id: str, known: int | None, now: int) -> None:
    """A job id was answered.

    :param known: the greatest one known before it was asked for: it must be greater.
    """
    if not job_id.isdigit() or (known is not None and int(job_id) <= known):
        verbs.set_fact(IRREGULAR, job_id, now)
        return
    _see(verbs, int(job_id), now)


def _see(verbs: Verbs, number: int, now: int) -> None:
    greatest = _greatest(verbs)
    if greatest is None or number > greatest:
        verbs.set_fact(GREATEST, number, now)


def remember_greatest(verbs: Verbs, run: Run) -> bool:
    """Before something is sent: the greatest id known, above which its job will be. True, for an intent."""
    run.memo["above"] = verbs.fact(GREATEST)
    return True


def are_irregular(run: Run) -> bool:
    """Whether job ids turned out not to be growing integers."""
    return run.look(lambda verbs: verbs.fact(IRREGULAR)) is not None


def unclaimed(run: Run) -> list[Found]:
    """The jobs above the greatest id known when it was sent, and a window beyond the greatest seen since,
    that no operation claims. An id the upstream does not know, or refuses, proves nothing.

    :raises OperationHeld: `too_many_jobs`.
    """
    above = _above(run)
    if above is None:
        return []
    found: list[Found] = []
    number, last = above + 1, max(run.look(_greatest) or 0, above) + WINDOW
    while number <= last:
        if last - above > MOST_IDS:
            raise OperationHeld(
                "The provider checks this before it goes on.",
                code="too_many_jobs",
                detail=f"{last - above} jobs would have to be looked at, from {above + 1} to {last}",
            )
        job = _unclaimed(run, str(number))
        if job is not None:
            found.append(Found(number, job))
            last = max(last, number + WINDOW)
        number += 1
    if found and found[-1].id > (run.look(_greatest) or 0):
        run.store.write(lambda verbs: _see(verbs, found[-1].id, run.now()))
    return found


def search(run: Run, vmid: int) -> str | None:
    """The id of the lost reinstall's job: the one that names this VM."""
    found = unclaimed(run)
    running = [one.id for one in found if not one.job.finished and not one.job.failed]
    naming = [one.id for one in found if one.job.output is not None and one.job.output.vmid == vmid]
    run.memo["running_jobs"] = running
    # A newer one may be ours, too, and its password is the one that will work.
    return str(naming[-1]) if naming and not any(number > naming[-1] for number in running) else None


def may_still_run(run: Run) -> bool:
    """Whether the last search saw jobs that have not told their VM yet."""
    return bool(run.memo.get("running_jobs"))


def reinstalled_vmids(verbs: Verbs) -> set[int]:
    """The VMs that a job may name because of a reinstall whose answer is out: nobody's evidence."""
    return {
        operation.vmid
        for operation in verbs.open_operations_of_kind(Kind.REINSTALL)
        if operation.sent and not operation.job_id and operation.vmid is not None
    } | {
        int(operation.memo["adopt"])
        for operation in verbs.open_operations_of_kind(Kind.CREATE)
        if "adopt" in operation.memo and (operation.state in CLAIMABLE or operation.state is State.HELD)
    }


def _greatest(verbs: Verbs) -> int | None:
    greatest: int | None = verbs.fact(GREATEST)
    return greatest


def _above(run: Run) -> int | None:
    """Above which id the lost job is; None while nothing tells. Once found it stays."""
    if run.memo.get("above") is None:
        greatest = run.look(_greatest)
        if greatest is not None:  # nothing was known when it was sent: downwards from what was seen since
            run.memo["above"] = max(greatest - WINDOW, 0)
        elif _exists(run, 1) and not _exists(run, WINDOW):  # an account this new: these are all its jobs
            run.memo["above"] = 0
    above: int | None = run.memo.get("above")
    return above


def _exists(run: Run, number: int) -> bool:
    try:
        run.upstream.job(str(number))
    except JobNotFound:
        return False
    except TokenRefused:
        raise
    except UpstreamRefused:
        return True
    return True


def _unclaimed(run: Run, job_id: str) -> Job | None:
    if run.look(lambda verbs: verbs.operations_of_job(job_id)):
        return None
    try:
        return run.upstream.job(job_id)
    except TokenRefused:
        raise
    except UpstreamRefused:
        return None
