"""The admin API's answers (contract, section 5); /openapi.json describes them by the same models."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Generic, Literal, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticSerializationError

from provisioner.audit import AuditLine as StoredLine
from provisioner.config import AnyBilling
from provisioner.delivery import Delivery as StoredDelivery
from provisioner.delivery import DeliveryState, iso
from provisioner.engine import bindings
from provisioner.engine.alerts import Alert as StoredAlert
from provisioner.engine.causes import CauseName
from provisioner.engine.imports import Judged, Outcome, Report
from provisioner.event import parse
from provisioner.event_models import MODELS
from provisioner.operation import Kind, State
from provisioner.operation import Operation as StoredOperation
from provisioner.operation import TimelineEntry as StoredEntry
from provisioner.redact import redact
from provisioner.service import Service as StoredService
from provisioner.service import ServiceStatus
from provisioner.service import Spec as StoredSpec
from provisioner.store.listed import ListedEvent, ListedOperation, ListedService
from provisioner.store.verbs import StoredEvent
from provisioner.web.pages import Paged, R

At = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Progress = Annotated[float, Field(ge=0, le=1)]

# What was asked, in the events' own words; what acceptance adds for the steps to find is theirs.
_ASKED = {name for model in MODELS.values() for name in model.model_fields} | {"spec", "client_id"}


class Answer(BaseModel):
    """What all answers share."""

    model_config = ConfigDict(frozen=True)

    def text(self) -> str:
        """The answer as it is sent: JSON."""
        try:
            return self.model_dump_json()
        except PydanticSerializationError:  # a lone surrogate, which no UTF-8 has, in what was kept as JSON
            return json.dumps(self.model_dump())


A = TypeVar("A", bound=Answer)


class Page(Answer, Generic[A]):
    """One page of a list, newest first."""

    items: list[A]
    next: str | None = Field(description="the cursor of the next page; null on the last one")

    @classmethod
    def told(cls, found: Paged[R], facts: Callable[[R], dict[str, Any]]) -> Self:
        """A page as it was found.

        :param facts: gives the values of a row's fields; the rows are judged together, in half the time.
        """
        return cls.model_validate({"items": list(map(facts, found.rows)), "next": found.next})


class Problem(Answer):
    """What went wrong."""

    code: str
    message: str


class Refusal(Answer):
    """Every error."""

    error: Problem


class Rejection(Refusal):
    """An event that cannot be carried out, and where it is kept."""

    event: str


class Operation(Answer):
    """One operation; `error.message` is the operator's."""

    id: str
    kind: Kind
    state: State
    billing: str
    service_id: str
    attempts: int
    error: Problem | None
    job_id: int | str | None
    vmid: int | None
    actor: str
    created_at: At
    updated_at: At
    next_run_at: At | None

    @classmethod
    def facts(cls, operation: StoredOperation | ListedOperation) -> dict[str, Any]:
        """The values of the fields above."""
        due = operation.state in (State.QUEUED, State.WAITING)
        return {
            "id": operation.id,
            "kind": operation.kind,
            "state": operation.state,
            "billing": operation.billing,
            "service_id": operation.service_id,
            "attempts": operation.attempts,
            "error": {"code": operation.error_code, "message": operation.error_detail}
            if operation.error_code
            else None,
            "job_id": _job_id(operation.job_id),
            "vmid": operation.vmid,
            "actor": operation.actor,
            "created_at": iso(operation.created_at),
            "updated_at": iso(operation.updated_at),
            "next_run_at": iso(operation.next_run_at) if due else None,
        }

    @classmethod
    def of(cls, operation: StoredOperation) -> Self:
        return cls(**cls.facts(operation))


class TimelineEntry(Answer):
    """One line of an operation's history; no secret is in its detail."""

    at: At
    what: str
    detail: dict[str, Any]
    actor: str


class Delivery(Answer):
    """One message to the billing system, without what it carried."""

    id: str
    type: str
    state: DeliveryState
    attempts: int
    last_error: str
    created_at: At
    updated_at: At

    @classmethod
    def of(cls, delivery: StoredDelivery) -> Self:
        return cls(
            id=delivery.id,
            type=delivery.type,
            state=delivery.state,
            attempts=delivery.attempts,
            last_error=delivery.last_error,
            created_at=iso(delivery.created_at),
            updated_at=iso(delivery.updated_at),
        )


class OperationWhole(Operation):
    """One operation with its history. `progress` runs from 0 to 1; `event` is null for an admin's action."""

    step: str
    args: dict[str, Any] = Field(description="what was asked, resolved when it was accepted")
    progress: Progress | None
    event: str | None
    approvals: list[str] = Field(
        description="the reasons to hold it that a person has lifted since it was last retried"
    )
    timeline: list[TimelineEntry]
    deliveries: list[Delivery]

    @classmethod
    def told(
        cls,
        operation: StoredOperation,
        timeline: list[StoredEntry],
        messages: list[StoredDelivery],
    ) -> Self:
        return cls(
            **cls.facts(operation),
            step=operation.step,
            args={name: value for name, value in operation.args.items() if name in _ASKED},
            progress=progress_of(operation),
            event=operation.event or None,
            approvals=list(operation.approvals),
            timeline=[
                TimelineEntry(at=iso(entry.at), what=entry.what, detail=entry.detail, actor=entry.actor)
                for entry in timeline
            ],
            deliveries=[Delivery.of(message) for message in messages],
        )


class Spec(Answer):
    """What a VM is to be: `mem` in MB, `disk` such as 10G."""

    template: str
    cpu_cores: int
    mem: int
    disk: str
    ip_count: int


class Service(Answer):
    """One service; `ips_complete` is false where the reseller never told all of its IPs."""

    billing: str
    service_id: str
    status: ServiceStatus
    plan: str
    vmid: int | None
    ips: list[str]
    ips_complete: bool
    hostname: str | None
    client_id: str | None
    spec: Spec | None = Field(description="as last asked for and carried out")
    suspend_reason: str
    locked: bool = Field(description="only an admin may lift the suspension")
    created_at: At
    updated_at: At

    @classmethod
    def facts(cls, service: StoredService | ListedService) -> dict[str, Any]:
        """The values of the fields above."""
        return {
            "billing": service.billing,
            "service_id": service.service_id,
            "status": service.status,
            "plan": service.plan,
            "vmid": service.vmid,
            "ips": service.ips,
            "ips_complete": service.ips_complete,
            "hostname": service.hostname or None,
            "client_id": service.client_id or None,
            "spec": _spec(service.spec) if service.spec else None,
            "suspend_reason": service.suspend_reason,
            "locked": service.locked,
            "created_at": iso(service.created_at),
            "updated_at": iso(service.updated_at),
        }

    @classmethod
    def of(cls, service: StoredService) -> Self:
        return cls(**cls.facts(service))


class ServiceWhole(Service):
    """One service with its operations, newest first, the last hundred of them."""

    operations: list[Operation]

    @classmethod
    def told(cls, service: StoredService, latest: list[ListedOperation]) -> Self:
        return cls.model_validate({**cls.facts(service), "operations": list(map(Operation.facts, latest))})


class Difference(Answer):
    """Where a VM is not what a line of the file asks for."""

    what: str
    asked: int | str
    there: int | str


class ImportLine(Answer):
    """One line of the file, and what becomes of it."""

    line: int = Field(description="as an editor counts it, from 1")
    billing: str
    service_id: str
    vmid: int | None
    outcome: Outcome
    problems: list[Problem]
    differences: list[Difference]
    options: str = Field(description="what the line's options would have to say to accept what is there")
    notes: list[str]
    operation: str | None = Field(description="the link, once it was accepted")

    @classmethod
    def of(cls, judged: Judged) -> Self:
        line = judged.line
        return cls(
            line=line.number,
            billing=line.billing,
            service_id=line.service_id,
            vmid=line.vmid,
            outcome=judged.outcome,
            problems=[Problem(code=one.code, message=one.message) for one in judged.problems],
            differences=[
                Difference(what=one.what, asked=one.asked, there=one.there) for one in judged.differences
            ],
            options=judged.options,
            notes=list(judged.notes),
            operation=judged.operation or None,
        )


class Imported(Answer):
    """Every line of the file; `linked` is false after a dry run, and where a line that does not fit kept all
    of them from being linked."""

    linked: bool
    counts: dict[Outcome, int]
    items: list[ImportLine]

    @classmethod
    def of(cls, report: Report) -> Self:
        return cls(
            linked=report.linked,
            counts={outcome: report.count(outcome) for outcome in Outcome},
            items=[ImportLine.of(judged) for judged in report.lines],
        )


class Unlinked(Answer):
    """The service as it is without its VM, or would be."""

    vmid: int
    service: Service
    forgets_password: bool = Field(description="one was kept for a delivery that was given up")

    @classmethod
    def of(cls, done: bindings.Unlinked) -> Self:
        return cls(vmid=done.vmid, service=Service.of(done.service), forgets_password=done.forgets_password)


class Moved(Answer):
    """Both services as they are, or would be; `operation` is the link that tells the new one."""

    vmid: int
    left: Service
    service: Service
    operation: str | None
    password_goes_along: bool = Field(description="one was still to be delivered: the new service is told it")

    @classmethod
    def of(cls, done: bindings.Moved) -> Self:
        return cls(
            vmid=done.vmid,
            left=Service.of(done.left),
            service=Service.of(done.service),
            operation=done.operation or None,
            password_goes_along=done.password_goes_along,
        )


class Event(Answer):
    """One webhook as it was received and judged; `code` and `message` are empty unless it was rejected."""

    id: str
    billing: str
    webhook_id: str
    type: str
    state: str = Field(json_schema_extra={"enum": ["accepted", "rejected"]})
    service_id: str
    operation: str | None
    code: str
    message: str
    received_at: At

    @classmethod
    def facts(cls, event: StoredEvent | ListedEvent) -> dict[str, Any]:
        """The values of the fields above."""
        return {
            "id": event.id,
            "billing": event.billing,
            "webhook_id": event.webhook_id,
            "type": event.type,
            "state": event.state,
            "service_id": event.service_id,
            "operation": event.operation or None,
            "code": event.code,
            "message": event.message,
            "received_at": iso(event.received_at),
        }


class EventWhole(Event):
    """One webhook with what it said and what was answered; `body` is null past its retention."""

    installation: str | None
    actor: str
    body: dict[str, Any] | None = Field(description="what came, with what is under a secret's name redacted")
    answer: dict[str, Any] | None

    @classmethod
    def told(cls, event: StoredEvent) -> Self:
        return cls(
            **cls.facts(event),
            installation=event.installation or None,
            actor=event.actor,
            body=_without_secrets(event.body) if event.body else None,
            answer=json.loads(event.answer) if event.answer else None,
        )


class AuditLine(Answer):
    """Who did what, when, from where and why; an erased line has nothing but its place and its digest."""

    seq: int = Field(description="its place: lines follow each other without a gap")
    at: At | None
    actor: str = Field(
        description="`admin:` and a name of ours, `billing:` and whoever a billing system named, or `service`"
    )
    address: str = Field(description="the caller's IP; `local` beside the store; empty for work by itself")
    action: str
    billing: str
    service_id: str
    operation: str | None
    vmid: int | None = Field(description="the service's VM as it was then")
    reason: str
    detail: dict[str, Any]
    erased: bool
    digest: str = Field(description="SHA-256 of its content")
    chain: str = Field(description="SHA-256 of the line before's chain and this digest")

    @classmethod
    def facts(cls, line: StoredLine) -> dict[str, Any]:
        """The values of the fields above."""
        return {
            "seq": line.seq,
            "at": None if line.erased_by is not None else iso(line.at),
            "actor": line.actor,
            "address": line.address,
            "action": line.action,
            "billing": line.billing,
            "service_id": line.service_id,
            "operation": line.operation or None,
            "vmid": line.vmid,
            "reason": line.reason,
            "detail": line.facts,
            "erased": line.erased_by is not None,
            "digest": line.digest,
            "chain": line.chain,
        }


class Verification(Answer):
    """How far the audit's chain was followed; `problem` is empty while every line is as it was written."""

    read: int = Field(description="lines read in this piece")
    seq: int = Field(description="the last line that is right; 0 where there is none")
    chain: str = Field(description="its chain: kept elsewhere, it proves what was there until then")
    problem: str
    next: str | None = Field(description="the cursor of the next piece; null at the end")


class Accepted(Answer):
    """An operation that was queued."""

    operation: str


class Replayed(Accepted):
    """A rejected event that was accepted now."""

    event: str
    status_url: str


class Pauses(Answer):
    """Whether the work upstream stands still, and why: `paused`, `token_refused` or `recovering`."""

    paused: bool
    reasons: list[str]


class Elsewhere(Answer):
    """A service of which a billing system says something else."""

    billing: str
    service_id: str
    status: str
    there: str = Field(description="the billing system's word; `missing` of a service that it does not have")


class Recovery(Answer):
    """Whether the store was put back from a copy, when that was taken, and what waits for a person."""

    recovering: bool
    taken_at: str | None
    held: list[Operation]
    deliveries: int
    elsewhere: list[Elsewhere] = Field(description="where a billing system that can be asked differs")
    unasked: dict[str, str] = Field(description="which could not be asked, or not of all, and why")


class Released(Answer):
    """How many held operations go on."""

    released: int


class Resealed(Answer):
    """How many secrets are sealed anew."""

    resealed: int


class Keys(Answer):
    """What is sealed in the store, and with which keys it can be read."""

    first: str = Field(description="tells the key that seals from any other, and nothing of it")
    sealed: int = Field(description="passwords that are not delivered yet")
    unreadable: int = Field(description="of these, those that no key opens")


class ServiceName(Answer):
    """Which service."""

    billing: str
    service_id: str


class Erased(Answer):
    """How much was taken away, or would be."""

    operations: int
    events: int
    deliveries: int


class Forgotten(Answer):
    """The services whose password was lost before it was delivered."""

    services: list[ServiceName]


class Left(Answer):
    """Whether the work here has ended for good."""

    left: bool


class Trusted(Answer):
    """The installation whose events are accepted from now on."""

    billing: str
    installation: str


class BillingSystem(Answer):
    """One billing system; `fetched_at` is when it last fetched its deliveries, to the minute."""

    name: str
    platform: str
    deliver: Literal["push", "pull"]
    installation: str | None
    fetched_at: At | None

    @classmethod
    def of(cls, name: str, billing: AnyBilling, installation: str | None, fetched_at: int | None) -> Self:
        return cls(
            name=name,
            platform=billing.platform,
            deliver="pull" if billing.fetches else "push",
            installation=installation,
            fetched_at=None if fetched_at is None else iso(fetched_at),
        )


class BillingSystems(Answer):
    """Every billing system of the settings."""

    items: list[BillingSystem]


class Brake(Answer):
    """One brake of `[safety]`: how many passed in the last hour, and since when it is on."""

    kind: Kind
    limit: int = Field(description="in an hour; 0 is no limit")
    count: int
    tripped_at: At | None

    @classmethod
    def of(cls, brake: dict[str, Any]) -> Self:
        tripped = brake["tripped_at"]
        return cls(**{**brake, "tripped_at": None if tripped is None else iso(tripped)})


class Brakes(Answer):
    """Every brake."""

    items: list[Brake]


class Reconciliation(Answer):
    """What store and upstream disagree on, as last looked at; `seen_at` is null before the first look."""

    seen_at: At | None
    orphans: list[dict[str, Any]] = Field(description="VMs that a job of ours made and no living service has")
    ghosts: list[dict[str, Any]] = Field(description="active services whose VM is gone")
    drift: list[dict[str, Any]] = Field(description="VMs that are not as they were asked for")
    foreign: list[dict[str, Any]] = Field(description="VMs on the account that are not ours; never touched")

    @classmethod
    def of(cls, found: dict[str, Any]) -> Self:
        seen_at = found["seen_at"]
        return cls(**{**found, "seen_at": None if seen_at is None else iso(seen_at)})


class Alert(Answer):
    """One cause that a person must know of; `docs/runbook.md` has it by its name."""

    cause: CauseName
    subject: str = Field(description="which one: a billing system, a held reason, a brake; often empty")
    severe: bool = Field(description="the work stands still or soon will; no heartbeat is sent meanwhile")
    count: int
    title: str
    what: str
    remedy: str
    began_at: At
    noticed_at: At

    @classmethod
    def of(cls, alert: StoredAlert) -> Self:
        return cls(
            cause=alert.name,
            subject=alert.subject,
            severe=alert.severe,
            count=alert.count,
            title=alert.title,
            what=alert.what,
            remedy=alert.remedy,
            began_at=iso(alert.began_at),
            noticed_at=iso(alert.noticed_at),
        )


class Alerts(Answer):
    """What is on; as it was last seen, where the service does not run."""

    items: list[Alert]
    seen_at: At | None = Field(description="when this process last looked; null before the first time")
    waiting: int = Field(description="messages to people that are still to be sent")
    not_sent: dict[str, str] = Field(description="addresses that did not take the last message, and why")

    @classmethod
    def of(
        cls, alerts: list[StoredAlert], looked_at: int | None, waiting: int, not_sent: dict[str, str]
    ) -> Self:
        return cls(
            items=[Alert.of(alert) for alert in alerts],
            seen_at=None if looked_at is None else iso(looked_at),
            waiting=waiting,
            not_sent=not_sent,
        )


class Health(Answer):
    """Whether the recurring work goes on; `tick_age_s` is in seconds."""

    ok: bool
    tick_age_s: float


class Readiness(Answer):
    """Whether events can be accepted; each warning begins with its code and a colon."""

    ready: bool
    warnings: list[str]


def progress_of(operation: StoredOperation) -> float | None:
    """How far an operation is, from 0 to 1; None where nobody knows."""
    if operation.state in (State.DELIVERING, State.SUCCEEDED):
        return 1.0
    progress = operation.memo.get("progress")
    return min(max(float(progress), 0.0), 1.0) if isinstance(progress, int | float) else None


@lru_cache(maxsize=256)
def _spec(spec: StoredSpec) -> Spec:
    """Most services have one of a few."""
    return Spec(**spec.as_dict())


def _without_secrets(body: str) -> dict[str, Any]:
    return cast("dict[str, Any]", redact(parse(body.encode()).body))


def _job_id(job_id: str) -> int | str | None:
    """A number where the upstream's id is one, so that programs can compare it with the upstream's."""
    if job_id.isdecimal() and len(job_id) <= 18 and str(int(job_id)) == job_id:
        return int(job_id)
    return job_id or None
