"""reinstall: the VM is made anew where it stands; its new credentials are delivered (contract, section 3).

begin → send → follow → done
             ↘ lost       its job names our vmid; nothing after `settle`: again
"""

from __future__ import annotations

from dataclasses import replace

from provisioner.errors import JobNotFound, OperationHeld
from provisioner.operations import Again, Done, Go, Outcome, Run, Steps, jobs, lost_jobs
from provisioner.operations.judged import living_vm, not_suspended
from provisioner.operations.missing import own_vm
from provisioner.operations.outcome import on_to, send_again
from provisioner.operations.vm import know_again
from provisioner.upstream import Credentials


def begin(run: Run) -> Outcome:
    """A suspended VM is not to run, and a reinstalled one does."""
    living_vm(run)
    not_suspended(run)
    return on_to(run, "send")


def send(run: Run) -> Outcome:
    """Asks once. It destroys what is on the disk, so the VM is known again right before."""
    know_again(run)
    vmid = living_vm(run)
    run.memo.pop("job_lost", None)
    run.memo["sent_at"] = run.now()
    run.intend("lost", lambda verbs: lost_jobs.remember_greatest(verbs, run))
    jobs.asked(run, run.upstream.reinstall(vmid, run.operation.args["template"]))
    return Go("follow")


def follow(run: Run) -> Outcome:
    """Looks at the job until it ends."""
    try:
        job = jobs.look(run, resume="begin")
    except JobNotFound:
        return jobs.lost(run, then="lost")
    if isinstance(job, Again):
        return job
    output = job.output
    if output is None or output.credentials is None or output.vmid not in (None, run.service.vmid):
        raise OperationHeld(
            "The provider checks this before it goes on.",
            code="incomplete_answer",
            detail=f"job {run.operation.job_id} finished without a password, or for another VM",
        )
    return _done(run, output.credentials, output.ips)


def lost(run: Run) -> Outcome:
    """Looks for the job that names our VM; nothing after `settle`: sends again."""
    if jobs.is_back(run):
        return Go("follow")
    found = lost_jobs.search(run, own_vm(run))
    if found is not None:
        run.job_id = found
        return Go("follow")
    if lost_jobs.may_still_run(run):
        return Again(lost_jobs.LOOK_S, "outcome", fails=True)
    return send_again(run, "begin", "The reinstallation could not be started.", lost_jobs.LOOK_S)


def _done(run: Run, credentials: Credentials, ips: tuple[str, ...]) -> Done:
    service = run.service
    known = ips or service.ips
    template = run.operation.args["template"]
    if template and service.spec is not None:
        run.change_service(spec=replace(service.spec, template=template))
    if ips:
        run.change_service(ips=ips, ips_complete=True)
    run.credentials = credentials
    data = {"vmid": service.vmid, "ips": list(known), "username": "root"}
    return Done("service.credentials", data, with_credentials=True)


STEPS: Steps = {"begin": begin, "send": send, "follow": follow, "lost": lost}
