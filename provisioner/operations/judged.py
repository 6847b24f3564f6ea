"""What every kind asks before it begins: state is judged when an operation runs, not when it is accepted."""

from __future__ import annotations

from provisioner.errors import OperationFailed
from provisioner.operations import Run, lives
from provisioner.service import ServiceStatus


def living_vm(run: Run) -> int:
    """The vmid of the run's service, which is the VM that the operation is about.

    :raises OperationFailed: `terminated` or `no_such_vm`.
    """
    service = run.service
    if service.status is ServiceStatus.TERMINATED:
        raise OperationFailed("The service was terminated.", code="terminated")
    if service.vmid is None:
        raise OperationFailed(
            "The service has no server.",
            code="no_such_vm",
            detail=f"service {service.service_id} has no VM: its create did not succeed, or it was unlinked",
        )
    if run.operation.vmid not in (None, service.vmid):
        raise OperationFailed(
            "The server that this was asked for is not the service's any more.",
            code="no_such_vm",
            detail=f"{lives.which(run.operation, service)}; have it asked for anew if it is still wanted",
        )
    return service.vmid


def not_suspended(run: Run) -> None:
    """:raises OperationFailed: `suspended`; what this guards must not wake a suspended VM."""
    if run.service.status is ServiceStatus.SUSPENDED:
        raise OperationFailed("The service is suspended.", code="suspended")
