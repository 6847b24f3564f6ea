"""create: an order becomes a VM. `POST server`, then its job until it ends (contract, section 3: order.paid).

begin → send → follow → done        a clear answer
             ↘ lost                 none: `lost_create` finds out what became of it
adopt → follow_adopted → done       a person chose a VM: a reinstall gives its credentials
"""

from __future__ import annotations

from provisioner.errors import JobNotFound, OperationFailed, OperationHeld
from provisioner.operations import (
    Again,
    Done,
    Go,
    Outcome,
    Run,
    Steps,
    jobs,
    lost_create,
    lost_jobs,
    there_before,
)
from provisioner.operations.brakes import pass_brake
from provisioner.operations.outcome import send_again
from provisioner.operations.vm import as_spec, back_from, starting, stopping
from provisioner.service import ServiceStatus
from provisioner.store.verbs import Verbs
from provisioner.upstream import Job, JobOutput, VmConfig


def begin(run: Run) -> Outcome:
    """Judges the service: one that has its VM already is told so, and nothing is made."""
    service, args = run.service, run.operation.args
    if service.vmid is not None:
        was = args.get("undo") or {}
        wake = service.status is ServiceStatus.ACTIVE and was.get("ran")
        return back_from(run, was) if wake else there_already(run)
    if service.status is ServiceStatus.TERMINATED and not args["recreate"]:
        raise OperationFailed("The service was terminated.", code="terminated")
    pass_brake(run)
    too_early = lost_create.refuse_leftovers(run, args.get("replaces", []))
    if too_early:
        return too_early
    run.change_service(status=ServiceStatus.PENDING, hostname=args["hostname"])
    return Go("send", commits=False)


def there_already(run: Run) -> Outcome:
    """Tells what the service has, without a password."""
    return Done("service.provisioned", _facts(run))


def recheck(run: Run) -> Outcome:
    """Before it is sent again: a call before may have left a VM behind."""
    before = [run.operation.id, *run.operation.args.get("replaces", [])]
    return lost_create.refuse_leftovers(run, before) or Go("send")


def send(run: Run) -> Outcome:
    """Commits the intent, then asks once. Whatever is not a clear answer is looked for, never repeated."""
    there = lost_create.announce(run)
    if there is None:
        return Again(lost_create.FENCE_S, "another_order", fails=True)
    with run.upstream.room_for_create():
        lost_create.note_there(run, there)
        jobs.asked(run, run.upstream.create(lost_create.spec_of(run)))
    return jobs.begun(run, then="follow")


def follow(run: Run) -> Outcome:
    """Looks at the job until it ends."""
    try:
        job = jobs.look(run, resume="recheck")
    except JobNotFound:
        return jobs.lost(run, then="lost")
    if isinstance(job, Again):
        return job
    lost_create.note_spares(run)
    return _made(run, _complete(run, job))


def adopt(run: Run) -> Outcome:
    """A person says which VM the lost call made: a reinstall tells its addresses and a password."""
    vmid = int(run.memo["adopt"])
    wrong = _wrong_with(run, vmid)
    if wrong:
        raise OperationHeld(
            "The provider checks this order before it goes on.",
            code="create_lost",
            detail=f"VM {vmid} {wrong}: choose again",
            resume="lost",
        )
    run.look(lambda verbs: lost_jobs.remember_greatest(verbs, run))
    lost_jobs.unclaimed(run)  # the job that was lost names this VM, too, and tells a password of before
    for name in ("job_lost", "named"):
        run.memo.pop(name, None)
    run.memo["sent_at"] = run.now()
    run.intend("adopt_lost", lambda verbs: lost_jobs.remember_greatest(verbs, run))
    jobs.asked(run, run.upstream.reinstall(vmid, lost_create.spec_of(run).template))
    return Go("follow_adopted")


def _wrong_with(run: Run, vmid: int) -> str:
    """What speaks against the VM that a person chose, for everything on it will be erased; else empty."""
    if vmid not in run.upstream.servers():
        return "is not in the upstream's list"
    spec = lost_create.spec_of(run)
    if vmid in run.memo.get("set_aside", []) or lost_create.has_size(run, vmid, spec):
        return ""
    return "is not of the size that was asked for"


def follow_adopted(run: Run) -> Outcome:
    """Looks at the reinstall's job until it ends."""
    try:
        job = jobs.look(run, resume="adopt")
    except JobNotFound:
        return jobs.lost(run, then="adopt_lost")
    if isinstance(job, Again):
        return job
    vmid = int(run.memo["adopt"])
    return _made(run, _complete(run, job, vmid), run.upstream.config(vmid))


def adopt_lost(run: Run) -> Outcome:
    """The reinstall's answer was lost: its job names the VM; nothing after `settle`: again."""
    if jobs.is_back(run):
        return Go("follow_adopted")
    found = lost_jobs.search(run, int(run.memo["adopt"]))
    if found is not None:
        run.job_id = found
        return Go("follow_adopted")
    if lost_jobs.may_still_run(run):
        return Again(lost_jobs.LOOK_S, "outcome", fails=True)
    return send_again(run, "adopt", "The server could not be set up.", lost_jobs.LOOK_S)


def _made(run: Run, output: JobOutput, config: VmConfig | None = None) -> Outcome:
    """:param config: as it was seen; None where the VM was made as asked."""
    args, vmid = run.operation.args, output.vmid
    owner, was_there = run.look(lambda verbs: _not_its_own(verbs, run, vmid))
    if owner is not None:
        run.memo["named"] = vmid
        if vmid in run.look(lost_create.vmids_being_deleted):  # their ids are free again before that is seen
            return Again(lost_jobs.LOOK_S, "another_delete")
        raise _taken(run, vmid, f"which service {owner} has already")
    if was_there and config is None:
        raise _taken(run, vmid, "which was there before the order was sent")
    spec = lost_create.spec_of(run)
    run.credentials = output.credentials
    run.change_service(
        status=ServiceStatus.ACTIVE,
        plan=args["plan"],
        spec=spec,
        config=as_spec(config, spec.template) if config else spec,
        vmid=vmid,
        ips=output.ips,
        ips_complete=True,
        hostname=args["hostname"],
        client_id=args["client_id"],
        suspend_reason="",
        locked=False,
        ran_before_suspend=None,
    )
    run.memo["progress"] = 1.0
    there_before.drop(run)
    return Done("service.provisioned", _facts(run), with_credentials=True)


def _taken(run: Run, vmid: int | None, why: str) -> OperationHeld:
    return OperationHeld(
        "The provider checks this before it goes on.",
        code="vmid_taken",
        detail=f"job {run.operation.job_id} says VM {vmid}, {why}: "
        "approve to look again, or choose adopt (with --vmid), not_mine or send_again",
    )


def _complete(run: Run, job: Job, vmid: int | None = None) -> JobOutput:
    """Empty credentials are never delivered: a job that tells too little waits for a person."""
    output = job.output
    missing = [
        name
        for name, is_there in (
            ("vmid", output is not None and output.vmid is not None and vmid in (None, output.vmid)),
            ("ips", output is not None and output.ips),
            ("user or password", output is not None and output.credentials is not None),
        )
        if not is_there
    ]
    if output is None or missing:
        raise OperationHeld(
            "The provider checks this before it goes on.",
            code="incomplete_answer",
            detail=f"job {run.operation.job_id} finished without {', '.join(missing)}: "
            "approve to look again, or choose adopt (with --vmid), not_mine or send_again",
        )
    return output


def _not_its_own(verbs: Verbs, run: Run, vmid: int | None) -> tuple[str | None, bool]:
    """The other service that has a VM which a job names, and whether it was there before that was sent."""
    if vmid is None:
        return None, False
    owner = verbs.service_by_vmid(vmid)
    if owner is None:
        return None, lost_create.was_there(verbs, run.operation, vmid)
    mine = (run.service.billing, run.service.service_id)
    return None if (owner.billing, owner.service_id) == mine else owner.service_id, False


def _facts(run: Run) -> dict[str, object]:
    service = run.service
    known = {"vmid": service.vmid, "ips": service.ips, "hostname": service.hostname, **run.changes}
    return {
        "vmid": known["vmid"],
        "ips": list(known["ips"]),
        "username": run.credentials.username if run.credentials else "root",
        "hostname": known["hostname"] or None,
        "warnings": run.warnings,
    }


STEPS: Steps = {
    "begin": begin,
    **stopping(then="start"),
    **starting(then="there_already"),
    "there_already": there_already,
    "recheck": recheck,
    "send": send,
    "follow": follow,
    "lost": lost_create.lost,
    "adopt": adopt,
    "follow_adopted": follow_adopted,
    "adopt_lost": adopt_lost,
}
