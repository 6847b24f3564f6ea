"""What the panel calls things; sentences are marked here and translated where they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.operation import Kind
from provisioner.service import ServiceStatus
from provisioner.web.panel.speech import N_


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked before something is done: the verb on the button, what happens, and what is lost."""

    verb: str
    happens: str
    loses: str = ""


TITLES: Mapping[Kind, str] = {
    Kind.CREATE: N_("Set-up"),
    Kind.LINK: N_("Connection"),
    Kind.CHANGE: N_("Change of size"),
    Kind.SUSPEND: N_("Suspension"),
    Kind.UNSUSPEND: N_("Reactivation"),
    Kind.TERMINATE: N_("Termination"),
    Kind.START: N_("Start of the server"),
    Kind.SHUTDOWN: N_("Shutdown"),
    Kind.STOP: N_("Switch-off"),
    Kind.REBOOT: N_("Restart of the server"),
    Kind.FORCE_REBOOT: N_("Forced restart"),
    Kind.REINSTALL: N_("Reinstallation"),
    Kind.RESET_PASSWORD: N_("Password reset"),
    Kind.SET_RDNS: N_("Reverse name"),
    Kind.BACKUP: N_("Backup"),
    Kind.RESTORE: N_("Restoring a backup"),
}  # in the history

STATUSES: Mapping[ServiceStatus, str] = {
    ServiceStatus.PENDING: N_("Being set up"),
    ServiceStatus.ACTIVE: N_("Active"),
    ServiceStatus.SUSPENDED: N_("Suspended"),
    ServiceStatus.TERMINATING: N_("Being terminated"),
    ServiceStatus.TERMINATED: N_("Terminated"),
    ServiceStatus.FAILED: N_("Not set up"),
}

POWER: Mapping[Kind, Ask] = {
    Kind.START: Ask(N_("Start"), N_("The server is switched on.")),
    Kind.REBOOT: Ask(
        N_("Restart"),
        N_("The programs on the server are asked to end, then it starts anew. That takes a minute or so."),
        N_("Until then nobody reaches what runs on it: websites, mail, connections."),
    ),
    Kind.SHUTDOWN: Ask(
        N_("Shut down"),
        N_("The programs on the server are asked to end, then it is off until you start it again."),
        N_("Until then nobody reaches what runs on it: websites, mail, connections."),
    ),
    Kind.FORCE_REBOOT: Ask(
        N_("Force a restart"),
        N_("The power is cut and comes back at once. Only for a server that does not answer any more."),
        N_("What programs had not written to the disk yet is lost, and files may be damaged."),
    ),
    Kind.STOP: Ask(
        N_("Switch off"),
        N_("The power is cut at once. Only for a server that cannot be shut down any more."),
        N_("What programs had not written to the disk yet is lost, and files may be damaged."),
    ),
}

STEPS: Mapping[Kind, tuple[str, str, str]] = {
    Kind.CREATE: (N_("Order accepted"), N_("Server is being built"), N_("Access data on their way to you")),
    Kind.REINSTALL: (N_("Accepted"), N_("System is being installed"), N_("Access data on their way to you")),
}

AGAIN = N_("This takes longer than usual. It is tried again by itself.")
READY = N_("This is done. The new access data are on their way to you.")
