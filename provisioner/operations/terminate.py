"""terminate: stopped for the grace, then deleted, then looked for until it is gone (contract, section 3).

    begin → shutdown → watch → (stop) → grace → verify → delete → gone

Until the delete is sent it can be undone; `memo["was"]` says what an undo brings back.
"""

from __future__ import annotations

from provisioner.errors import (
    OperationFailed,
    OperationHeld,
    UpstreamRefused,
    UpstreamUnavailable,
    VmNotFound,
)
from provisioner.operation import Operation
from provisioner.operations import FIRST, Again, Done, Go, Outcome, Run, Steps, lost_create
from provisioner.operations.brakes import pass_brake
from provisioner.operations.judged import living_vm
from provisioner.operations.vm import LOOK_S, is_off, know_again, stopping
from provisioner.service import ServiceStatus
from provisioner.store.verbs import Verbs

LEFTOVER = "Delete it with the upstream if it is the service's, then approve: that deletes nothing"
MOST_DELETES = 3  # each looked after for `settle` seconds


def begin(run: Run) -> Outcome:
    """Nothing is stopped before the brake and the VM's identity are judged."""
    service = run.service
    if service.status is ServiceStatus.TERMINATED:
        raise OperationFailed("The service was terminated.", code="terminated")
    if service.vmid is None:
        failed = run.look(lambda verbs: lost_create.unresolved(verbs, service))
        return lost_create.refuse_leftovers(run, failed, LEFTOVER) or _ended(run)
    vmid = living_vm(run)
    pass_brake(run)
    run.change_service(status=ServiceStatus.TERMINATING)
    if service.status is not ServiceStatus.TERMINATING or "was" not in run.memo:
        run.memo["was"] = {"ran": False, **run.memo.get("was", {}), "status": service.status.value}
    if run.memo.get("delete_sent") and not all(_shows(run, vmid)):  # by one before this, or a try before
        return Go("gone")
    if know_again(run) is None:
        return Go("gone")
    off = is_off(run, vmid)
    if off is False:
        _refuse_running_again(run)
    run.memo["delete_sent"] = False
    run.memo["was"]["ran"] = run.memo["was"]["ran"] or off is not True
    run.memo["grace_until"] = run.now() + int(run.settings.safety.terminate_grace * 1000)
    if off:
        return Go("grace")
    return Go("stop" if run.operation.args["immediate"] else "shutdown")


def grace(run: Run) -> Outcome:
    """Stopped, and still to be had back."""
    left_ms = run.memo["grace_until"] - run.now()
    if left_ms <= 0 or run.operation.args["immediate"]:
        return Go("verify")
    return Again(left_ms / 1000, "grace")


def verify(run: Run) -> Outcome:
    """A day later the id may be somebody else's: the VM is looked at again right before its end."""
    if know_again(run) is None:
        return Go("gone")
    if is_off(run, living_vm(run)) is False:
        _refuse_running_again(run)
        return Go("stop")
    return Go("delete")


def _refuse_running_again(run: Run) -> None:
    if run.memo.get("delete_sent"):
        detail = (
            f"VM {run.service.vmid} was off when its delete was sent, and runs now: it may be "
            "somebody else's; approve to stop and delete it"
        )
        run.need_approval(code="runs_again", seen=run.memo.get("deleted_at"), detail=detail)


def delete(run: Run) -> Outcome:
    """Sent once; what became of it is seen, not believed. A pause may lie between the last look and this."""
    if know_again(run) is None:
        return Go("gone")
    vmid = living_vm(run)
    sent_before = run.memo.get("delete_sent", False)
    run.memo |= {"delete_sent": True, "deleted_at": run.now()}
    run.intend("gone")
    try:
        run.upstream.delete(vmid)
    except VmNotFound:
        run.note("not_found", message="the upstream does not know the VM; the list will tell")
    except (UpstreamUnavailable, UpstreamRefused):
        run.memo["delete_sent"] = sent_before  # this one was certainly not, so it can still be undone
        raise
    return Go("gone")


def gone(run: Run) -> Outcome:
    """Gone is what the list and `0x01` say together; one without the other is looked at until `settle`."""
    vmid = living_vm(run)
    if run.look(lambda verbs: lost_create.is_named_anew(verbs, vmid)):
        return _ended(run)
    listed, answers = _shows(run, vmid)
    if not listed and not answers:
        return _ended(run)
    since = run.memo.setdefault("deleted_at", run.now())
    if run.now() - since < run.settings.upstream.settle * 1000:
        return Again(LOOK_S, "delete")
    if listed and answers:
        return Again(LOOK_S, "another_order") if _may_be_anothers(run) else _delete_again(run, vmid)
    says = "is in the list but answers 0x01" if listed else "is not in the list but answers"
    run.memo.pop("deleted_at")  # an approval looks for another `settle`
    raise OperationHeld(
        "The provider checks this before it goes on.",
        code="half_gone",
        detail=f"VM {vmid} {says}; approve to look again",
    )


def _shows(run: Run, vmid: int) -> tuple[bool, bool]:
    """Whether the VM is in the list, and whether it answers."""
    listed = vmid in run.upstream.servers()
    try:
        run.upstream.status(vmid)
    except VmNotFound:
        return listed, False
    return listed, True


def _may_be_anothers(run: Run) -> bool:
    """Whether an order whose job has not told its VM yet may have got the id, once it was free again."""
    untold = run.look(lambda verbs: lost_create.untold(verbs) - _behind(verbs, run.operation))
    return bool(untold.intersection(run.memo.setdefault("suspects", sorted(untold))))


def _behind(verbs: Verbs, terminate: Operation) -> set[str]:
    """What comes next for the service: it waits for this one, so this one must not wait for it."""
    service = (terminate.billing, terminate.service_id)
    return {one.id for one in verbs.open_operations_of_service(*service) if one.seq > terminate.seq}


def _delete_again(run: Run, vmid: int) -> Outcome:
    run.memo.pop("suspects")
    run.memo["deletes"] = run.memo.get("deletes", 1) + 1
    if run.memo["deletes"] > MOST_DELETES:
        run.memo["deletes"] = 1
        raise OperationFailed(
            "The server could not be removed.",
            code="still_there",
            detail=f"VM {vmid} is still there after {MOST_DELETES} deletes",
        )
    return Go("verify" if "grace_until" in run.memo else FIRST)  # one of before: it gets its grace first


def _ended(run: Run) -> Done:
    run.change_service(
        status=ServiceStatus.TERMINATED,
        vmid=None,
        ips=(),
        ips_complete=False,
        config=None,
        suspend_reason="",
        locked=False,
        ran_before_suspend=None,
    )
    return Done("service.terminated", {"reason": ""})


STEPS: Steps = {
    "begin": begin,
    **stopping(then="grace"),
    "grace": grace,
    "verify": verify,
    "delete": delete,
    "gone": gone,
}
