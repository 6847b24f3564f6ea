"""Which service has which VM, changed by a person: unlink and move. Nothing is sent upstream by either.

Both are one transaction. A service whose VM is gone to somebody else is `pending`, as before its first VM:
`terminated` would tell the billing system that the machine was deleted, `failed` that its order was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from provisioner.audit import ITSELF, Origin
from provisioner.config import Settings
from provisioner.delivery import Delivery, DeliveryState
from provisioner.engine import shown_once
from provisioner.engine.accept import Accept, Request
from provisioner.engine.advance import service_key
from provisioner.engine.record import NewId, Record
from provisioner.errors import NotFound, RequestInvalid, SealBroken, WrongState
from provisioner.event_models import Bare
from provisioner.operation import Kind, Operation, State
from provisioner.operations.let_go import let_go
from provisioner.operations.lost_create import SPARE
from provisioner.operations.missing import missing_fact
from provisioner.service import Service, ServiceStatus
from provisioner.store import Store
from provisioner.store.verbs import SealedCredentials, Verbs
from provisioner.vault import Vault

_FORGOTTEN: dict[str, Any] = {
    "status": ServiceStatus.PENDING,
    "vmid": None,
    "ips": (),
    "ips_complete": False,
    "config": None,
    "suspend_reason": "",
    "locked": False,
    "ran_before_suspend": None,
}
_GOES_ALONG = ("plan", "spec", "hostname", *_FORGOTTEN)


@dataclass(frozen=True, slots=True)
class Unlinked:
    """What an unlink does, or would do: the service as it is afterwards, and the VM that it had.

    :param forgets_password: whether one was still kept, for a delivery that was given up.
    """

    service: Service
    vmid: int
    forgets_password: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move does, or would do: both services as they are afterwards.

    :param operation: the link under which the new service is told; empty in a dry run.
    :param password_goes_along: whether one was still to be delivered: the new service is told it.
    """

    left: Service
    service: Service
    vmid: int
    operation: str
    password_goes_along: bool


@dataclass(slots=True)
class Bindings:
    """Unbinds and rebinds. `clock` gives milliseconds since the epoch."""

    settings: Settings
    store: Store
    vault: Vault
    accept: Accept
    clock: Callable[[], int]
    new_id: NewId
    wake: Callable[[], None]

    def unlink(
        self,
        billing: str,
        service_id: str,
        actor: str,
        reason: str = "",
        *,
        origin: Origin = ITSELF,
        dry_run: bool = False,
    ) -> Unlinked:
        """Forgets which VM a service has; the VM is foreign from then on, and nobody is told.

        :raises NotFound: there is no such service.
        :raises WrongState: it has no VM, something is under way for it, or a password is still to be told.
        """

        def unit(verbs: Verbs) -> Unlinked:
            service, vmid = _with_vm(verbs, billing, service_id)
            _refuse_open(verbs, service)
            if _passwords_to_tell(verbs, service):
                raise WrongState(f"a password is still to be delivered for {_named(service)}: let it arrive")
            kept = verbs.credentials(billing, service_id) is not None
            left = replace(service, **_FORGOTTEN, updated_at=self.clock())
            if not dry_run:
                record = Record(verbs, self.clock(), self.new_id, origin)
                _leave(record, service, left, "unlinked", actor, reason)
                record.audit("service.unlinked", actor, **_subject(service), reason=reason)
                verbs.drop_fact(missing_fact(vmid))
            return Unlinked(left, vmid, kept)

        return self.store.read(unit) if dry_run else self.store.write(unit)

    def move(
        self,
        billing: str,
        service_id: str,
        to: tuple[str, str],
        actor: str,
        reason: str = "",
        *,
        origin: Origin = ITSELF,
        dry_run: bool = False,
    ) -> Moved:
        """Gives a service's VM to another service, with all that is known of it; that one is told.

        What waits to be told of the old one still is, but for a password: it goes where the VM goes.

        :param to: the new service's billing system and id; it may have been unknown until now.
        :raises NotFound: there is no such service, or no such billing system.
        :raises RequestInvalid: both are the same service.
        :raises WrongState: it has no VM, the new one has one, something is under way for one of the two, or
            the password on record does not open.
        """
        if to[0] not in self.settings.billing:
            raise NotFound(f"there is no billing system {to[0]}")
        if to == (billing, service_id):
            raise RequestInvalid(f"service_id: {billing}/{service_id} is the service that has the VM")

        def unit(verbs: Verbs) -> Moved:
            service, vmid = _with_vm(verbs, billing, service_id)
            _refuse_open(verbs, service)
            target = verbs.service(*to)
            if target is not None:
                _refuse_occupied(verbs, target)
            resealed = self._resealed(verbs, service, to)
            left = replace(service, **_FORGOTTEN, updated_at=self.clock())
            moved = self._as_target(service, target, to)
            if dry_run:
                return Moved(left, moved, vmid, "", resealed is not None)
            record = Record(verbs, self.clock(), self.new_id, origin)
            target_name = f"{to[0]}/{to[1]}"
            _leave(record, service, left, "moved", actor, reason, to=target_name)
            record.audit("service.moved", actor, **_subject(service), reason=reason, to=target_name)
            (verbs.save_service if target else verbs.add_service)(moved)
            if resealed is not None:
                verbs.keep_credentials(*to, resealed)
            link = self._tell(record, service, moved, actor, reason, secret=resealed is not None)
            return Moved(left, moved, vmid, link.id, resealed is not None)

        if dry_run:
            return self.store.read(unit)
        moved = self.store.write(unit)
        self.wake()
        return moved

    def _as_target(self, service: Service, target: Service | None, to: tuple[str, str]) -> Service:
        now = self.clock()
        client_id = target.client_id if target and target.client_id else service.client_id
        if target is None:
            target = replace(service, billing=to[0], service_id=to[1], seq=0, created_at=now)
        facts = {name: getattr(service, name) for name in _GOES_ALONG}
        return replace(target, **facts, client_id=client_id, updated_at=now)

    def _resealed(self, verbs: Verbs, service: Service, to: tuple[str, str]) -> SealedCredentials | None:
        """The password on record, sealed for the new service: the vault binds it to one."""
        slot = verbs.credentials(service.billing, service.service_id)
        if slot is None:
            return None
        try:
            payload = self.vault.open(service_key(service.billing, service.service_id), slot.sealed)
        except SealBroken as error:
            raise WrongState(f"{error.detail}: put the key back that sealed it, then move it") from error
        return SealedCredentials(self.new_id("cred"), self.vault.seal(service_key(*to), payload))

    def _tell(
        self, record: Record, left: Service, moved: Service, actor: str, reason: str, *, secret: bool
    ) -> Operation:
        """A move is a link that is done already: the new service's history begins with it, and tells it."""
        request = Request(
            moved.billing, moved.service_id, Kind.LINK, Bare(), actor, is_admin=True, reason=reason,
            origin=record.origin,
        )  # fmt: skip
        args = {
            "vmid": moved.vmid,
            "plan": moved.plan,
            "spec": moved.spec.as_dict() if moved.spec else None,
            "ips": list(moved.ips),
            "hostname": moved.hostname,
            "status": moved.status.value,
        }
        link = self.accept.add(record, request, args)
        link = record.move(link, State.RUNNING, "moved", actor=actor, vmid=moved.vmid)
        record.line(link, "moved", actor, was=_named(left), vmid=moved.vmid, reason=reason)
        done = record.move(link, State.DELIVERING, "done", actor=actor)
        data = {
            "vmid": moved.vmid,
            "ips": list(moved.ips),
            "username": "root",
            "hostname": moved.hostname or None,
            "warnings": [],
        }
        record.tell(moved, "service.provisioned", data, done, concludes=True, with_credentials=secret)
        return done


def _with_vm(verbs: Verbs, billing: str, service_id: str) -> tuple[Service, int]:
    service = verbs.service(billing, service_id)
    if service is None:
        raise NotFound(f"there is no service {service_id} of {billing}", code="unknown_service")
    if service.vmid is None:
        raise WrongState(f"service {_named(service)} is {service.status} and has no VM")
    return service, service.vmid


def _refuse_open(verbs: Verbs, service: Service) -> None:
    """What is under way has read which VM the service has."""
    under_way = verbs.open_operations_of_service(service.billing, service.service_id)
    if under_way:
        told = ", ".join(f"{one.kind} {one.id} ({one.state})" for one in under_way[:5])
        raise WrongState(f"something is under way for {_named(service)}: {told}; let it end, or cancel it")


def _refuse_occupied(verbs: Verbs, target: Service) -> None:
    if target.vmid is not None:
        raise WrongState(
            f"service {_named(target)} has VM {target.vmid}: unlink, move or terminate that one first"
        )
    _refuse_open(verbs, target)


def _leave(
    record: Record, service: Service, left: Service, what: str, actor: str, reason: str, to: str = ""
) -> None:
    """The service without its VM."""
    verbs, vmid = record.verbs, service.vmid
    if vmid is None:
        raise LookupError(f"service {_named(service)} has no VM to leave")
    verbs.save_service(left)
    verbs.drop_fact(f"{SPARE}{vmid}")
    let_go(verbs, service, vmid, record.now, actor=actor, reason=reason, to=to)
    for delivery in _passwords_to_tell(verbs, service):
        _end_untold(record, delivery, f"VM {vmid} is {to}'s now, which is told instead")
    verbs.drop_credentials(service.billing, service.service_id)
    shown_once.drop(verbs, service.billing, service.service_id)
    verbs.forget_given_up_credentials(service.billing, service.service_id)
    last = verbs.last_operation_of_service(service.billing, service.service_id)
    if last is not None:
        detail = {"to": to} if to else {}
        record.line(last, what, actor, vmid=vmid, reason=reason, **detail)


def _passwords_to_tell(verbs: Verbs, service: Service) -> list[Delivery]:
    return [
        delivery
        for delivery in verbs.waiting_deliveries_with_credentials()
        if (delivery.billing, delivery.service_id) == (service.billing, service.service_id)
    ]


def _end_untold(record: Record, delivery: Delivery, why: str) -> None:
    """Its work is done, and a retry would tell the old service what it has not any more."""
    ended = replace(delivery, state=DeliveryState.GIVEN_UP, sealed="", last_error=why, updated_at=record.now)
    record.verbs.save_delivery(ended, fence=delivery.claims)
    operation = record.verbs.operation(delivery.operation)
    if operation is not None and operation.state is State.DELIVERING:
        record.move(operation, State.SUCCEEDED, "succeeded")


def _subject(service: Service) -> dict[str, Any]:
    """Which service and VM a line in the audit is about."""
    return {"billing": service.billing, "service_id": service.service_id, "vmid": service.vmid}


def _named(service: Service) -> str:
    return f"{service.billing}/{service.service_id}"
