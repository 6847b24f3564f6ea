"""What a person may have done for a service, on which button, with which words, and when it makes sense."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provisioner.operation import Kind
from provisioner.service import ServiceStatus
from provisioner.web import models
from provisioner.web.auth import Need, need_of
from provisioner.web.console.desk import number

FREED = frozenset({ServiceStatus.TERMINATED, ServiceStatus.PENDING, ServiceStatus.FAILED})
HAS_LIVED = frozenset({ServiceStatus.ACTIVE, ServiceStatus.SUSPENDED})


@dataclass(frozen=True, slots=True)
class Deed:
    """One of them.

    :param word: on its button.
    :param told: what it does, in a sentence.
    :param fields: the names of what it asks for.
    :param destroys: what is lost for good, '' where nothing is.
    :param kind: the operation; None for what is no operation.
    """

    word: str
    told: str
    fields: tuple[str, ...] = ()
    destroys: str = ""
    kind: Kind | None = None

    @property
    def needs(self) -> Need:
        return need_of(self.kind) if self.kind else Need.DECIDE


def _operations() -> Iterator[Deed]:
    def deed(kind: Kind, word: str, told: str, *fields: str, destroys: str = "") -> Deed:
        return Deed(word, told, fields, destroys, kind)

    size = ("cpu_cores", "mem", "disk", "ip_count")
    unsaved = "what is not saved"
    yield deed(Kind.START, "Start", "The VM is started.")
    yield deed(Kind.SHUTDOWN, "Shut down", "The guest is asked to shut down.")
    yield deed(Kind.STOP, "Stop", "The VM is switched off at once.", destroys=unsaved)
    yield deed(Kind.REBOOT, "Reboot", "The guest is asked to restart.")
    yield deed(Kind.FORCE_REBOOT, "Force reboot", "The VM is switched off and on.", destroys=unsaved)
    told = "A new root password is set and delivered to the billing system; it is not shown here."
    yield deed(Kind.RESET_PASSWORD, "New password", told)
    yield deed(Kind.BACKUP, "Make a backup", "A backup is made; the billing system is told of it.")
    yield deed(Kind.SET_RDNS, "Set rDNS", "The reverse name of one address is set.", "ip", "hostname")
    yield deed(Kind.CHANGE, "Change", "The VM gets another size. What is left empty stays.", "plan", *size)
    yield deed(Kind.SUSPEND, "Suspend", "The VM is shut down, and kept off.", "force", "lock")
    told = "The VM is as it was before its suspension; a termination in its grace is undone."
    yield deed(Kind.UNSUSPEND, "Unsuspend", told)
    told = "The VM is installed anew, with a new password."
    yield deed(Kind.REINSTALL, "Reinstall", told, "template", destroys="everything on the VM")
    told = "The VM is as it was when the backup was made."
    yield deed(Kind.RESTORE, "Restore a backup", told, "backup", destroys="what is on the VM now")
    told = "The VM is stopped, and deleted after the grace; until then it can be undone."
    lost = "the VM, all that is on it, and its backups"
    yield deed(Kind.TERMINATE, "Terminate", told, "immediate", destroys=lost)
    told = "A VM is made for this service, as a paid order would."
    yield deed(Kind.CREATE, "Order again", told, "plan", "template", "hostname", "recreate")
    told = "A VM that exists already becomes this service's; nothing is changed there."
    yield deed(Kind.LINK, "Link a VM", told, "vmid", "plan", "status")


DEEDS: Mapping[str, Deed] = {
    **{deed.kind.value: deed for deed in _operations() if deed.kind},
    "unlink": Deed(
        "Unlink",
        "It is forgotten which VM the service has; nobody is told, and the VM stays as it is.",
    ),
    "move": Deed(
        "Move to another service",
        "The VM, with all that is known of it, becomes another service's of the same billing system.",
        ("to",),
    ),
    "erase": Deed(
        "Erase",
        "What is kept of the customer is forgotten; ids stay.",
        destroys="the customer's data of this service",
    ),
}

_NUMBERS = frozenset({"cpu_cores", "mem", "ip_count", "vmid", "backup"})
_FLAGS = frozenset({"force", "lock", "immediate", "recreate"})
_OPTIONS = ("cpu_cores", "mem", "disk", "ip_count")


def is_possible(name: str, one: models.Service) -> bool:
    """Whether a deed makes sense for a service that stands so; all else is judged when it is done."""
    has_vm, status = one.vmid is not None, one.status
    match name:
        case Kind.CREATE:
            return not has_vm and status in FREED
        case Kind.LINK:
            return not has_vm
        case "erase":
            return status is ServiceStatus.TERMINATED
        case "unlink" | "move":
            return has_vm
        case Kind.UNSUSPEND:
            return status in (ServiceStatus.SUSPENDED, ServiceStatus.TERMINATING)
        case Kind.TERMINATE:
            return status is not ServiceStatus.TERMINATED
        case Kind.SUSPEND | Kind.CHANGE | Kind.BACKUP | Kind.SET_RDNS:
            return has_vm and status in HAS_LIVED
    return has_vm and status is ServiceStatus.ACTIVE


def data_of(deed: Deed, form: Mapping[str, str]) -> dict[str, Any]:
    """The event's data from what was filled in; what was left empty is not asked for."""
    data: dict[str, Any] = {}
    for field in deed.fields:
        text = form.get(field, "")
        if field in _FLAGS:
            data |= {field: True} if text else {}
        elif text:
            data[field] = number(text) if field in _NUMBERS else text
    if deed.kind in (Kind.CHANGE, Kind.CREATE):
        options = {name: data.pop(name) for name in _OPTIONS if name in data}
        data |= {"options": options} if options else {}
    return data
