"""Judges what is left when all is quiet: what the upstream has against what was asked and delivered.

It believes the store only where the store is asked about itself (which operation came when, how it ended,
what is set aside); what a VM is to be like follows from the events as they were sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from provisioner.operation import OPEN, Kind, Operation, State
from provisioner.sandbox.billing import Delivery
from provisioner.service import Service, ServiceStatus
from provisioner.store import Store
from provisioner.store.verbs import Verbs

Size = Mapping[str, Any]
BILLING = "shop"
DONE = frozenset({State.DELIVERING, State.SUCCEEDED})
LIVING = frozenset({ServiceStatus.ACTIVE, ServiceStatus.SUSPENDED})

HOLDS: Mapping[str, str] = {  # what an operation may be held for, and the fault that explains it
    "leftover_vm": "fail_after_vm",
    "create_lost": "fail_after_vm",
    "vm_not_seen": "list_lag",
    "vm_came_back": "list_lag",
    "0x03": "token_refused",
}
FAILURES = frozenset(  # what may end an operation without a person
    {"superseded", "suspended", "terminated", "outcome_unknown", "0xa3"}
)


@dataclass(frozen=True, slots=True)
class Told:
    """One delivery as the store has it, in the order in which they were queued."""

    id: str
    operation: str
    concludes: bool
    state: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What the store has of one service."""

    service: Service
    operations: Sequence[Operation]
    told: Sequence[Told]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything there is to judge by.

    :param vms: the upstream's, by their vmid.
    :param calls: that the upstream has seen.
    :param received: every try that the shop has seen, oldest first.
    :param foreign: the VMs that were there before.
    :param asked: the size that each accepted order or upgrade asked for, by its operation.
    :param accepted: the operations that were answered 2xx.
    :param faults: the names of the faults that were used.
    """

    kept: Sequence[Kept]
    vms: Mapping[int, Mapping[str, Any]]
    calls: Sequence[Mapping[str, Any]]
    received: Sequence[Delivery]
    foreign: Sequence[Mapping[str, Any]]
    asked: Mapping[str, Size]
    accepted: frozenset[str]
    faults: frozenset[str]


def read_store(store: Store) -> list[Kept]:
    """All that a store has, once the service has ended."""
    services = store.read(lambda verbs: verbs.services(500, None))
    return [
        store.read(
            lambda verbs, service=service: Kept(  # type: ignore[misc]
                service, verbs.operations_of_service(BILLING, service.service_id), _told(verbs, service)
            )
        )
        for service in services
    ]


def _told(verbs: Verbs, service: Service) -> list[Told]:
    sql = "SELECT id, operation, concludes, state FROM deliveries WHERE service_id = :service_id ORDER BY seq"
    rows = verbs._engine.run(sql, {"service_id": service.service_id})
    return [Told(row["id"], row["operation"], bool(row["concludes"]), row["state"]) for row in rows]


def judge(evidence: Evidence) -> list[str]:
    """What is wrong, in words; nothing where every promise was kept."""
    foreign = {vm["vmid"] for vm in evidence.foreign}
    wrong = [*_foreign(evidence, foreign), *_owners(evidence, foreign), *_answered(evidence)]
    for kept in evidence.kept:
        told = [*_ends(kept, evidence.faults), *_order(kept, evidence.received), *_machine(kept, evidence)]
        wrong += [f"service {kept.service.service_id}: {line}" for line in told]
    return wrong


def _foreign(evidence: Evidence, foreign: set[int]) -> Iterator[str]:
    for before in evidence.foreign:
        now = evidence.vms.get(before["vmid"], {})
        for name in ("config", "power", "password", "template"):
            if now.get(name) != before[name]:
                yield f"foreign VM {before['vmid']}: its {name} is another one"
    for call in evidence.calls:
        number = call["path"].removeprefix("/datacenter/server/").partition("/")[0]
        if call["method"] != "GET" and number.isdecimal() and int(number) in foreign:
            yield f"foreign VM {number}: {call['method']} {call['path']}"


def _owners(evidence: Evidence, foreign: set[int]) -> Iterator[str]:
    """Every VM is somebody's: a service's, foreign, or set aside until a person has chosen."""
    owned = [kept.service.vmid for kept in evidence.kept if kept.service.vmid is not None]
    aside = {
        vmid
        for kept in evidence.kept
        for operation in kept.operations
        if operation.state is State.HELD
        for vmid in operation.memo.get("set_aside", [])
    }
    if len(owned) != len(set(owned)):
        yield f"two services have one VM: {sorted(owned)}"
    for vmid in sorted(evidence.vms.keys() - set(owned) - foreign - aside):
        yield f"VM {vmid} is an orphan: job {evidence.vms[vmid]['made_by']} made it, and nobody has it"


def _answered(evidence: Evidence) -> Iterator[str]:
    there = {operation.id for kept in evidence.kept for operation in kept.operations}
    for lost in sorted(evidence.accepted - there):
        yield f"operation {lost} was answered 2xx and is not in the store"


def _ends(kept: Kept, faults: frozenset[str]) -> Iterator[str]:
    """Every operation has ended, is held for a reason, or waits behind a held one."""
    is_held = False
    for operation in kept.operations:
        line = f"{operation.kind} {operation.id}"
        if operation.state is State.HELD:
            is_held = True
            if HOLDS.get(operation.error_code) not in faults:
                yield f"{line} is held for {operation.error_code}: {operation.error_detail}"
        elif (operation.state in OPEN and not is_held) or operation.state is State.DELIVERING:
            yield f"{line} is still {operation.state} at {operation.step}"
        elif operation.state in (State.FAILED, State.CANCELLED) and operation.error_code not in FAILURES:
            yield f"{line} {operation.state} with {operation.error_code}: {operation.error_detail}"


def _order(kept: Kept, received: Sequence[Delivery]) -> Iterator[str]:
    """Each delivery was accepted, in the order of their queue; what ended well, in the order of asking."""
    first: dict[str, None] = {}
    ours = {told.id for told in kept.told}
    for delivery in received:
        if delivery.accepted and delivery.webhook_id in ours:
            first.setdefault(delivery.webhook_id)
    queue = [told.id for told in kept.told]
    if list(first) != queue:
        yield f"deliveries came as {list(first)}, queued as {queue}"
    ended = [told.operation for told in kept.told if told.concludes]
    asked = [operation.id for operation in kept.operations if operation.id in ended]
    if ended != asked:
        yield f"operations ended as {ended}, asked as {asked}"


@dataclass(slots=True)
class Machine:
    """What a VM may be like; of several possibilities where a failed call may have done something."""

    power: set[str] = field(default_factory=set)
    sizes: list[Size] = field(default_factory=list)
    before_suspend: set[str] | None = None
    knows_password: bool = True

    def take(self, operation: Operation, asked: Size | None) -> None:
        """What one operation did, or may have done."""
        done = operation.state in DONE
        if not done and not operation.sent:
            return
        match operation.kind:
            case Kind.CREATE if done and operation.job_id:
                self.power, self.sizes, self.before_suspend = {"running"}, [asked or {}], None
                self.knows_password = True
            case Kind.CHANGE:
                self.sizes = [asked or {}] if done else [*self.sizes, asked or {}]
            case Kind.START:
                self._turn({"running"}, done)
            case Kind.STOP:
                self._turn({"stopped"}, done)
            case Kind.REINSTALL:
                self._turn({"running"}, done)
                self.knows_password = done
            case Kind.RESET_PASSWORD:
                self.knows_password = done
            case Kind.SUSPEND:
                if done and self.before_suspend is None:
                    self.before_suspend = set(self.power)
                self._turn({"stopped"}, done)
            case Kind.UNSUSPEND if self.before_suspend is not None:
                self._turn(self.before_suspend, done)
                self.before_suspend = None if done else self.before_suspend

    def _turn(self, power: set[str], done: bool) -> None:
        self.power = power if done else self.power | power


def _machine(kept: Kept, evidence: Evidence) -> Iterator[str]:
    """A living service's VM is as last asked; an ended one has none."""
    service = kept.service
    if service.status not in LIVING:
        if service.vmid is not None and not any(one.state is State.HELD for one in kept.operations):
            yield f"is {service.status} and has VM {service.vmid}"
        return
    vm = evidence.vms.get(service.vmid or 0)
    if vm is None:
        yield f"is {service.status} and its VM {service.vmid} is not there"
        return
    wanted = Machine()
    for operation in kept.operations:
        wanted.take(operation, evidence.asked.get(operation.id))
    if vm["power"] not in wanted.power:
        yield f"VM {service.vmid} is {vm['power']}, asked for was {' or '.join(sorted(wanted.power))}"
    if vm["config"] not in wanted.sizes:
        yield f"VM {service.vmid} is {vm['config']}, asked for was {wanted.sizes}"
    if wanted.knows_password and vm["password"] != _last_password(service.service_id, evidence.received):
        yield f"VM {service.vmid}: the password delivered last does not work"


def _last_password(service_id: str, received: Sequence[Delivery]) -> str | None:
    told = [one.data for one in received if one.accepted and one.data.get("service_id") == service_id]
    return next((data["password"] for data in reversed(told) if "password" in data), None)
