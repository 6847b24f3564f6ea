"""unsuspend: the VM runs again, unless it was off before its first suspension (contract, section 3).

It also brings back a VM whose terminate was taken back: `undo` in its args says how it was before.
"""

from __future__ import annotations

from typing import Any

from provisioner.errors import OperationFailed
from provisioner.operations import Done, Go, Outcome, Run, Steps
from provisioner.operations.judged import living_vm
from provisioner.operations.vm import back_from, starting, stopping
from provisioner.service import ServiceStatus


def begin(run: Run) -> Outcome:
    """Judges the lock, then starts what is to run."""
    living_vm(run)
    args, service = run.operation.args, run.service
    suspended = service.status is ServiceStatus.SUSPENDED
    was: dict[str, Any] | None = args.get("undo")
    if args.get("as_it_was") and suspended:
        return Done("service.suspended", {"reason": service.suspend_reason})
    if suspended and service.locked and not args["admin"]:
        raise OperationFailed(
            "The suspension is locked: only the provider's staff can lift it.", code="locked"
        )
    run.memo["reason"] = service.suspend_reason
    runs = service.ran_before_suspend is not False if suspended else bool(was and was["ran"])
    if not runs:
        return Go("on")
    return back_from(run, was or {})


def on(run: Run) -> Outcome:
    """The service is active from now on, as if it had never been suspended."""
    run.change_service(status=ServiceStatus.ACTIVE, suspend_reason="", locked=False, ran_before_suspend=None)
    return Done("service.unsuspended", {"reason": run.memo["reason"]})


STEPS: Steps = {"begin": begin, **stopping(then="start"), **starting(then="on"), "on": on}
