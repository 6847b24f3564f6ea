"""What a customer may have done to a service now, in one place; and why not, in words for a customer.

Nothing is offered that would be refused: not by the service's state, not by what is under way for it, and not
by the VM as it was last seen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from provisioner.config import Settings
from provisioner.engine import pauses
from provisioner.engine.looks import Look
from provisioner.engine.ticks import templates_seen
from provisioner.event_models import Fields, Reinstall, Restore, SetRdns
from provisioner.operation import Kind, Operation, State
from provisioner.service import Service, ServiceStatus
from provisioner.store.verbs import Verbs

CUSTOMERS = (
    Kind.START,
    Kind.SHUTDOWN,
    Kind.STOP,
    Kind.REBOOT,
    Kind.FORCE_REBOOT,
    Kind.REINSTALL,
    Kind.RESET_PASSWORD,
    Kind.SET_RDNS,
    Kind.BACKUP,
    Kind.RESTORE,
)  # what a customer may ask for at all: whatever costs or ends something is the billing system's
NEEDS_OFF = frozenset({Kind.START})
NEEDS_RUNNING = frozenset(
    {Kind.SHUTDOWN, Kind.STOP, Kind.REBOOT, Kind.FORCE_REBOOT, Kind.RESET_PASSWORD}
)  # a password is set by the system that runs


class WhyNot(StrEnum):
    """Why something is not offered: a sentence for a customer, translated where it is shown."""

    PENDING = "Your server is not ready yet."
    SUSPENDED = "Your server is suspended."
    TERMINATING = "Your server is being terminated."
    TERMINATED = "Your server was terminated."
    FAILED = "Your server could not be set up. Support takes care of it."
    UNDER_WAY = "Something else is being done for your server. Wait until it is finished."
    HELD = "This is being checked by support. Nothing else can be done until then."
    MAINTENANCE = "Nothing can be changed at the moment because of maintenance. It goes on by itself."
    NOT_SEEN = "The state of your server is not known at the moment. Try again in a few seconds."
    RUNS = "Your server is running already."
    IS_OFF = "Your server is off. Start it first."
    NO_TEMPLATE = "There is nothing to install at the moment."
    NOT_A_TEMPLATE = "Choose one of the systems from the list."
    NO_BACKUP = "There is no backup yet."
    NOT_A_BACKUP = "Choose one of the backups from the list."
    NO_ADDRESS = "The addresses of your server are not known."
    NOT_ITS_ADDRESS = "This address does not belong to your server."
    NOT_OFFERED = "This is not possible here."


_BY_STATUS: Mapping[ServiceStatus, WhyNot] = {
    ServiceStatus.PENDING: WhyNot.PENDING,
    ServiceStatus.SUSPENDED: WhyNot.SUSPENDED,
    ServiceStatus.TERMINATING: WhyNot.TERMINATING,
    ServiceStatus.TERMINATED: WhyNot.TERMINATED,
    ServiceStatus.FAILED: WhyNot.FAILED,
}


@dataclass(frozen=True, slots=True)
class Standing:
    """How a service stands, as the store knows it.

    :param under_way: its operations that have not ended, the oldest first.
    :param last: the one that was accepted last, None before the first.
    :param templates: what may be installed, in the list's order; empty where no list was ever seen.
    :param is_paused: whether the work upstream stands still.
    """

    service: Service
    under_way: tuple[Operation, ...] = ()
    last: Operation | None = None
    templates: tuple[str, ...] = ()
    is_paused: bool = False


def standing(verbs: Verbs, settings: Settings, billing: str, service_id: str) -> Standing | None:
    """How a service stands, or None: there is none."""
    service = verbs.service(billing, service_id)
    if service is None:
        return None
    return Standing(
        service,
        tuple(verbs.open_operations_of_service(billing, service_id)),
        verbs.last_operation_of_service(billing, service_id),
        choices(settings, service, templates_seen(verbs)["items"]),
        bool(pauses.reasons(verbs)),
    )


def choices(settings: Settings, service: Service, seen: Collection[str]) -> tuple[str, ...]:
    """What a reinstall may choose: the upstream's templates as last seen, of those that the plan allows."""
    plan = settings.plans.get(service.plan)
    allowed = {*plan.templates, plan.template} if plan and plan.templates else None
    return tuple(name for name in seen if allowed is None or name in allowed)


@dataclass(frozen=True, slots=True)
class Offers:
    """What a customer may have done, at one moment, by what the store knows and what was last seen."""

    standing: Standing
    look: Look = field(default_factory=Look)

    def why_not(self, kind: Kind) -> WhyNot | None:
        """Why this kind is not offered; None: it is."""
        if kind not in CUSTOMERS:
            return WhyNot.NOT_OFFERED
        return self._by_state() or self._by_what_is_there(kind)

    def refusal(self, kind: Kind, data: Fields) -> WhyNot | None:
        """Why exactly this cannot be asked for; None: it can."""
        why = self.why_not(kind)
        if why is not None:
            return why
        match data:
            case Reinstall(template=template) if template not in self.standing.templates:
                return WhyNot.NOT_A_TEMPLATE
            case Restore(backup=backup) if backup not in (self.look.backups or ()):
                return WhyNot.NOT_A_BACKUP
            case SetRdns(ip=ip) if str(ip) not in self.standing.service.ips:
                return WhyNot.NOT_ITS_ADDRESS
        return None

    @property
    def is_running(self) -> bool | None:
        """Whether the VM runs; None where that was not seen since something was last done to it."""
        last = self.standing.last
        if self.look.at is None or self.look.problem or (last and self.look.at < last.updated_at):
            return None
        return self.look.is_running

    def _by_state(self) -> WhyNot | None:
        service, under_way = self.standing.service, self.standing.under_way
        why = _BY_STATUS.get(service.status)
        if why is not None:
            return why
        if service.vmid is None:
            return WhyNot.PENDING
        if under_way:
            return WhyNot.HELD if any(op.state is State.HELD for op in under_way) else WhyNot.UNDER_WAY
        return WhyNot.MAINTENANCE if self.standing.is_paused else None

    def _by_what_is_there(self, kind: Kind) -> WhyNot | None:
        if kind in NEEDS_OFF | NEEDS_RUNNING:
            runs = self.is_running
            if runs is None:
                return WhyNot.NOT_SEEN
            if runs is (kind in NEEDS_OFF):
                return WhyNot.RUNS if runs else WhyNot.IS_OFF
        if kind is Kind.REINSTALL and not self.standing.templates:
            return WhyNot.NO_TEMPLATE
        if kind is Kind.RESTORE:
            return self._by_backups()
        if kind is Kind.SET_RDNS and not self.standing.service.ips:
            return WhyNot.NO_ADDRESS
        return None

    def _by_backups(self) -> WhyNot | None:
        if self.look.backups is None:
            return WhyNot.NOT_SEEN
        return None if self.look.backups else WhyNot.NO_BACKUP
