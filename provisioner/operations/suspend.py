"""suspend: the VM is shut down, and off it stays (contract, section 3).

begin → shutdown → watch → (stop) → off → done
"""

from __future__ import annotations

from provisioner.operations import Done, Go, Outcome, Run, Steps
from provisioner.operations.brakes import pass_brake
from provisioner.operations.judged import living_vm
from provisioner.operations.missing import own_vm
from provisioner.operations.vm import is_off, stopping
from provisioner.service import ServiceStatus


def begin(run: Run) -> Outcome:
    """Remembers whether the VM ran; a second suspend changes nothing but reason and lock."""
    living_vm(run)
    args, service = run.operation.args, run.service
    if service.status is ServiceStatus.SUSPENDED:
        reason = args["reason"] or service.suspend_reason
        run.change_service(suspend_reason=reason, locked=service.locked or args["lock"])
        return Done("service.suspended", {"reason": reason})
    pass_brake(run)
    off = is_off(run, own_vm(run))
    run.memo.setdefault("ran", off is not True or _comes_back(run))
    if off:
        return Go("off")
    return Go("stop" if args["force"] else "shutdown")


def _comes_back(run: Run) -> bool:
    """Whether a terminate before this was taken back, and its VM is still to be started behind this."""
    service = run.service
    waiting = run.look(lambda verbs: verbs.open_operations_of_service(service.billing, service.service_id))
    return any(operation.args.get("undo", {}).get("ran") for operation in waiting)


def off(run: Run) -> Outcome:
    """The VM is off: the service is suspended from now on."""
    args = run.operation.args
    run.change_service(
        status=ServiceStatus.SUSPENDED,
        suspend_reason=args["reason"],
        locked=args["lock"],
        ran_before_suspend=run.memo["ran"],
    )
    return Done("service.suspended", {"reason": args["reason"]})


STEPS: Steps = {"begin": begin, **stopping(then="off"), "off": off}
