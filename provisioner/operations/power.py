"""start, shutdown, stop, reboot, force_reboot: the call of that name, and a look that it really happened.

    begin → send → look → done

A start, shutdown or stop may be sent again; a reboot may not: an uptime that began after it was sent is proof
that it happened, and only where there is none after `settle` seconds is it sent again.
"""

from __future__ import annotations

from collections.abc import Callable

from provisioner.errors import OperationFailed, UpstreamUnavailable
from provisioner.operation import Kind
from provisioner.operations import Again, Done, Go, Outcome, Run, Steps
from provisioner.operations.judged import living_vm, not_suspended
from provisioner.operations.missing import own_vm
from provisioner.operations.outcome import on_to, send_again, settled
from provisioner.operations.vm import BUSY, LOOK_S, RUNNING, is_off
from provisioner.upstream import Upstream

ANSWERED_LOOK_S = 15.0  # a reboot that was answered with yes is believed after so long without proof

_CALLS: dict[Kind, Callable[[Upstream, int], None]] = {
    Kind.START: lambda upstream, vmid: upstream.start(vmid),
    Kind.SHUTDOWN: lambda upstream, vmid: upstream.shutdown(vmid),
    Kind.STOP: lambda upstream, vmid: upstream.stop(vmid),
    Kind.REBOOT: lambda upstream, vmid: upstream.reboot(vmid),
    Kind.FORCE_REBOOT: lambda upstream, vmid: upstream.force_reboot(vmid),
}


def begin(run: Run) -> Outcome:
    """A suspended VM must not be woken."""
    living_vm(run)
    not_suspended(run)
    return on_to(run, "send")


def send(run: Run) -> Outcome:
    """start, shutdown and stop: harmless to repeat."""
    vmid = own_vm(run)
    run.memo["sent_at"] = run.now()
    run.intend("send")
    try:
        _CALLS[run.operation.kind](run.upstream, vmid)
    except UpstreamUnavailable as error:
        if error.code != BUSY or is_off(run, vmid) is not (run.operation.kind is not Kind.START):
            raise
    return Go("look")


def look(run: Run) -> Outcome:
    """Looks until the VM is as asked, for `settle` seconds; a guest may ignore a shutdown."""
    wanted_off = run.operation.kind is not Kind.START
    if is_off(run, own_vm(run)) is wanted_off:
        return _done(run)
    if settled(run):
        word = "running" if wanted_off else "off"
        raise OperationFailed(
            "The server is still running." if wanted_off else "The server is still off.",
            code="still_running" if wanted_off else "not_running",
            detail=f"the call was answered, but VM {run.service.vmid} is still {word}",
            resume="send",
        )
    return Again(LOOK_S, "power")


def send_reboot(run: Run) -> Outcome:
    """reboot and force_reboot: not to be sent twice while it is unknown whether one happened."""
    vmid = own_vm(run)
    run.memo["sent_at"] = run.now()
    run.intend("look_unanswered")
    _CALLS[run.operation.kind](run.upstream, vmid)
    return Go("look")


def look_reboot(run: Run) -> Outcome:
    """The call was answered: looks for the proof a while, then believes the answer."""
    if _has_rebooted(run):
        return _done(run)
    if run.now() - run.memo["sent_at"] >= ANSWERED_LOOK_S * 1000:
        run.note("not_seen", message="the reboot was answered, but no new uptime was seen")
        return _done(run)
    return Again(LOOK_S, "power")


def look_unanswered(run: Run) -> Outcome:
    """No clear answer: proof, or again after `settle`."""
    if _has_rebooted(run):
        return _done(run)
    return send_again(run, "begin", "The server could not be rebooted.", LOOK_S, "power")


def _has_rebooted(run: Run) -> bool:
    status = run.upstream.status(own_vm(run))
    began_at = run.now() - status.uptime * 1000
    # The uptime is in whole seconds: a second less could be the one before.
    return status.state == RUNNING and began_at >= run.memo["sent_at"] - 1000


def _done(run: Run) -> Done:
    return Done("service.action", {"action": run.operation.kind.value})


STEPS: Steps = {"begin": begin, "send": send, "look": look}
REBOOT_STEPS: Steps = {
    "begin": begin,
    "send": send_reboot,
    "look": look_reboot,
    "look_unanswered": look_unanswered,
}
