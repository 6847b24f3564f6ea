"""set_rdns: the name that an IP resolves to. `POST rdns` is harmless to repeat (contract, section 3)."""

from __future__ import annotations

from provisioner.errors import OperationFailed
from provisioner.operations import Done, Go, Outcome, Run, Steps
from provisioner.operations.judged import living_vm
from provisioner.operations.missing import own_vm


def begin(run: Run) -> Outcome:
    """Judges the IP: it must be one of the service's, where all of them are known."""
    living_vm(run)
    _ip(run)
    return Go("send")


def send(run: Run) -> Outcome:
    """Sets it; a repetition sets the same."""
    vmid, ip = own_vm(run), _ip(run)
    run.intend("send")
    run.upstream.set_rdns(vmid, ip, run.operation.args["hostname"])
    return Done("service.action", {"action": "set_rdns"})


def _ip(run: Run) -> str:
    """The asked IP, or the service's first one for a hostname that came with the order."""
    service, asked = run.service, run.operation.args["ip"]
    if asked is None:
        if not service.ips:
            raise OperationFailed("The server's addresses are not known.", code="not_its_ip")
        return service.ips[0]
    if service.ips_complete and asked not in service.ips:
        raise OperationFailed(
            "This address does not belong to the service.",
            code="not_its_ip",
            detail=f"{asked} is none of {', '.join(service.ips) or 'no known IPs'}",
        )
    return str(asked)


STEPS: Steps = {"begin": begin, "send": send}
