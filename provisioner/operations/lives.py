"""Which VM an operation is about: a service may have had several, one after another, and ids get reused.

What was asked for while an earlier one lived is never done to a later one.
"""

from __future__ import annotations

from provisioner.operation import Kind, Operation
from provisioner.service import Service
from provisioner.store.verbs import Verbs


def is_over(verbs: Verbs, operation: Operation, service: Service) -> bool:
    """Whether the VM that an operation was asked for is not the one that its service has now."""
    if operation.kind is Kind.LINK:  # it names its VM itself
        return False
    if operation.kind is Kind.CREATE:
        return service.vmid is not None and operation.vmid not in (None, service.vmid)
    if operation.vmid not in (None, service.vmid):
        return True
    died_at = verbs.died_at(service.billing, service.service_id)
    return died_at is not None and operation.created_at <= died_at


def which(operation: Operation, service: Service) -> str:
    """Both VMs, in words for the operator."""
    was = f"VM {operation.vmid}" if operation.vmid is not None else "an earlier VM"
    now = f"has VM {service.vmid} now" if service.vmid is not None else "has no VM now"
    if operation.vmid is not None and operation.vmid == service.vmid:
        now = "has another VM of that id now"
    return f"it was asked for {was}, and service {service.billing}/{service.service_id} {now}"
