"""backup and restore: asked for once, then followed to the end (contract, section 3).

Only `pending` is a documented status. A backup has ended when the list has a time that was not there; a
restore when a status other than a waiting one is seen after a waiting one, or a minute after it was sent.
"""

from __future__ import annotations

from provisioner.errors import OperationFailed, OperationHeld
from provisioner.operations import Again, Done, Go, Outcome, Run, Steps
from provisioner.operations.judged import living_vm, not_suspended
from provisioner.operations.missing import own_vm
from provisioner.operations.outcome import on_to, send_again
from provisioner.operations.vm import know_again
from provisioner.upstream import BackupStatus

WAITING = frozenset({"pending", "queued", "executing"})
QUIET_S = 60.0  # after so long a status that never was a waiting one counts as the end


def begin_backup(run: Run) -> Outcome:
    """Remembers what is there, so that the new one is known by its time."""
    run.memo["before"] = sorted(run.upstream.backups(own_vm(run)))
    return Go("make")


def make(run: Run) -> Outcome:
    """Asks once; the list tells what became of it, answer or not."""
    vmid = own_vm(run)
    run.memo |= {"sent_at": run.now(), "answered": False}
    run.intend("listed")
    run.upstream.create_backup(vmid)
    run.memo["answered"] = True
    return Go("listed")


def listed(run: Run) -> Outcome:
    """Until `backups/list` shows a time that was not there."""
    vmid = own_vm(run)
    backups = run.upstream.backups(vmid)
    if set(backups) - set(run.memo["before"]):
        return Done("service.backups", {"backups": list(backups)})
    status = run.upstream.backup_status(vmid)
    run.memo["progress"] = status.progress
    if _is_waiting(status) or run.memo["answered"]:
        return _again(run)
    return send_again(run, "make", "The backup could not be started.", _look_s(run), "backup")


def begin_restore(run: Run) -> Outcome:
    """A restore destroys what is on the disk: the VM is known again, and the backup is there."""
    vmid = living_vm(run)
    not_suspended(run)
    know_again(run)
    backup = run.operation.args["backup"]
    backups = run.upstream.backups(vmid)
    if backup not in backups:
        raise OperationFailed(
            "There is no such backup.",
            code="unknown_backup",
            detail=f"VM {vmid} has no backup {backup}; there are {', '.join(map(str, backups)) or 'none'}",
        )
    return on_to(run, "restore")


def restore(run: Run) -> Outcome:
    """Asks once. A pause may lie between the last look and this."""
    know_again(run)
    vmid = living_vm(run)
    run.memo |= {"sent_at": run.now(), "answered": False, "was_waiting": False}
    run.intend("restored")
    run.upstream.restore_backup(vmid, run.operation.args["backup"])
    run.memo["answered"] = True
    return Go("restored")


def restored(run: Run) -> Outcome:
    """Until the status says that it has ended."""
    status = run.upstream.backup_status(own_vm(run))
    run.memo["progress"] = status.progress
    if _is_waiting(status):
        run.memo["was_waiting"] = True
        return _again(run)
    quiet = run.now() - run.memo["sent_at"] >= QUIET_S * 1000
    if run.memo["was_waiting"] or (run.memo["answered"] and quiet):
        return Done("service.restored", {"backup": run.operation.args["backup"]})
    if run.memo["answered"]:
        return _again(run)
    return send_again(run, "begin", "The restore could not be started.", _look_s(run), "backup")


def _is_waiting(status: BackupStatus) -> bool:
    return status.status in WAITING and status.progress < 1


def _again(run: Run) -> Again:
    waited_s = _waited_s(run)
    if waited_s >= run.settings.upstream.job_timeout and not run.has_approval("job_timeout"):
        raise OperationHeld(
            "This takes longer than it ever should; the provider has been told.",
            code="job_timeout",
            detail=f"not seen to end after {waited_s:.0f} s; approve to go on waiting",
        )
    return Again(_look_s(run), "backup")


def _look_s(run: Run) -> float:
    return min(run.settings.upstream.job_poll, max(0.5, _waited_s(run) / 4))


def _waited_s(run: Run) -> float:
    return float(run.now() - run.memo["sent_at"]) / 1000


BACKUP_STEPS: Steps = {"begin": begin_backup, "make": make, "listed": listed}
RESTORE_STEPS: Steps = {"begin": begin_restore, "restore": restore, "restored": restored}
