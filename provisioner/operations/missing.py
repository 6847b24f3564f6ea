"""VMs that a good list once did not have: whatever has such an id now may be somebody else's (promise 7)."""

from __future__ import annotations

from provisioner.errors import OperationFailed, OperationHeld
from provisioner.operations import Run
from provisioner.operations.judged import living_vm
from provisioner.service import Service
from provisioner.store.verbs import Verbs

CAME_BACK = "vm_came_back"  # what is held for it; the approval forgets that the VM was missing


def own_vm(run: Run) -> int:
    """The vmid of the run's service, asked before every call to it: one whose id is suspect gets none.

    What harms knows its VM again besides (`vm.know_again`), and asks there whether it is missing.

    :raises OperationFailed: `terminated`; `no_such_vm`, also where it was missing and is so still.
    :raises OperationHeld: `vm_came_back`.
    """
    vmid = living_vm(run)
    if run.look(lambda verbs: was_missing(verbs, vmid)):
        _refuse_suspect(run, vmid)
    return vmid


def _refuse_suspect(run: Run, vmid: int) -> None:
    if vmid not in run.upstream.servers():
        raise OperationFailed(
            "The server does not exist any more.",
            code="no_such_vm",
            detail=f"VM {vmid} was missing from the upstream's list before, and is not in it now",
        )
    raise OperationHeld(
        "The provider checks this before it goes on.",
        code=CAME_BACK,
        detail=came_back(vmid),
    )


def came_back(vmid: int) -> str:
    """What is said of it to the operator."""
    return f"VM {vmid} was once missing from the list and came back: it may be somebody else's now"


def was_missing(verbs: Verbs, vmid: int) -> bool:
    """Whether a VM was missing from a good list, and nobody has said since that it is the same."""
    return verbs.fact(missing_fact(vmid)) is not None


def missing_fact(vmid: int) -> str:
    """The name of the fact that a vmid was missing from a good list."""
    return f"missing:{vmid}"


def remember_missing(verbs: Verbs, vmid: int, service: Service, now: int) -> int:
    """A living service's VM is not in a good list: from now on its id is suspect.

    :returns: since when it is, milliseconds.
    """
    known = verbs.fact(missing_fact(vmid))
    if known is None:
        known = {"billing": service.billing, "service_id": service.service_id, "at": now}
        verbs.set_fact(missing_fact(vmid), known, now)
    return int(known["at"])
