"""link: binds a VM that exists already. Nothing is changed there, no password is delivered (contract, 3)."""

from __future__ import annotations

from dataclasses import replace

from provisioner.errors import OperationFailed
from provisioner.operations import Done, Outcome, Run, Steps
from provisioner.operations.vm import as_spec
from provisioner.service import ServiceStatus, Spec


def begin(run: Run) -> Outcome:
    """Judges who has the VM, looks at it, and binds it."""
    args = run.operation.args
    vmid: int = args["vmid"]
    _check_owner(run, vmid)
    if vmid not in run.upstream.servers():
        raise OperationFailed(
            "There is no such server.", code="no_such_vm", detail=f"VM {vmid} is not in the upstream's list"
        )
    config = run.upstream.config(vmid)
    spec = Spec(**args["spec"])
    has_it = run.service.vmid == vmid
    if has_it and run.service.spec:  # what is installed is shown by no call, and is not the plan's any more
        spec = replace(spec, template=run.service.spec.template)
    ips = tuple(args["ips"]) or (run.service.ips if has_it else ())
    if not has_it:  # a second link of the same VM lifts no suspension, and no lock
        run.change_service(
            status=ServiceStatus(args["status"]), suspend_reason="", locked=False, ran_before_suspend=None
        )
    run.change_service(
        plan=args["plan"],
        spec=spec,
        config=as_spec(config, spec.template),
        vmid=vmid,
        ips=ips,
        ips_complete=len(ips) == config.ip_count,
        hostname=args["hostname"] or run.service.hostname,
    )
    return Done(
        "service.provisioned",
        {
            "vmid": vmid,
            "ips": list(ips),
            "username": "root",
            "hostname": args["hostname"] or run.service.hostname or None,
            "warnings": run.warnings,
        },
    )


def _check_owner(run: Run, vmid: int) -> None:
    service = run.service
    if service.vmid not in (None, vmid):
        raise OperationFailed(
            "The service has another server already.",
            code="has_another_vm",
            detail=f"service {service.service_id} has VM {service.vmid}: unlink or terminate that one first",
        )
    owner = run.look(lambda verbs: verbs.service_by_vmid(vmid))
    if owner is not None and (owner.billing, owner.service_id) != (service.billing, service.service_id):
        raise OperationFailed(
            "This server belongs to another service.",
            code="vmid_taken",
            detail=f"VM {vmid} is bound to {owner.billing}/{owner.service_id}",
        )


STEPS: Steps = {"begin": begin}
