"""The one door: a webhook, an admin's action and a replayed event all become an operation here.

Everything an acceptance writes is one transaction: the event, the service, the operation, and what it ends or
takes back of the operations before it (contract, section 3, "What an event means", and promise 3).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from provisioner import event as events
from provisioner.audit import ITSELF, Origin
from provisioner.config import Settings
from provisioner.engine.asked import Known, resolve
from provisioner.engine.record import NewId, Record
from provisioner.engine.shown_once import SESSION
from provisioner.engine.ticks import templates_seen
from provisioner.engine.undo import undo, undoable
from provisioner.errors import EventIdReused, EventRejected, NotFound, WrongState
from provisioner.event import Envelope, Event, Source
from provisioner.event_models import Fields, Suspend, Terminate
from provisioner.operation import CLAIMABLE, OPEN, Kind, Operation, State
from provisioner.operations import FIRST, lost_create
from provisioner.service import Service, ServiceStatus, Spec
from provisioner.store import Store
from provisioner.store.verbs import StoredEvent, Verbs

ACCEPTED, REPEATED = 202, 200
UNKNOWN_INSTALLATION = "unknown_installation"

EXPIRING = frozenset(
    {
        Kind.START,
        Kind.SHUTDOWN,
        Kind.STOP,
        Kind.REBOOT,
        Kind.FORCE_REBOOT,
        Kind.RESET_PASSWORD,
        Kind.REINSTALL,
        Kind.RESTORE,
    }
)  # what a customer asks for now and would not want tomorrow


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver answers: an HTTP status and a JSON body, word for word."""

    status: int
    body: str


@dataclass(frozen=True, slots=True)
class Request:
    """One thing asked for one service, wherever it came from; the success of a `quiet` one is not told.

    `actor` is the word for who asks: `admin:anna` for one of ours, `billing:shop` and what follows it for
    whoever a billing system names, so that its admin is never taken for one of ours; `panel:shop` and what
    follows it for whoever came to the client panel from there. `session` is a digest of a panel session's id.
    """

    billing: str
    service_id: str
    kind: Kind
    data: Fields
    actor: str
    is_admin: bool = False
    event: str = ""
    quiet: bool = False
    reason: str = ""
    origin: Origin = ITSELF
    session: str = ""


def installation_fact(billing: str) -> str:
    """The name of the fact that pins a billing system's installation."""
    return f"installation:{billing}"


@dataclass(slots=True)
class Accept:
    """Accepts what comes in. `clock` gives milliseconds since the epoch; `wake` rouses the dispatcher."""

    settings: Settings
    store: Store
    clock: Callable[[], int]
    new_id: NewId
    wake: Callable[[], None]

    def webhook(self, billing: str, webhook_id: str, raw: bytes, origin: Origin = ITSELF) -> Answer:
        """Judges and keeps an authentic event (contract, section 3: the answers from 400 on).

        :param origin: who sent it, for the audit.
        :raises EventMalformed: 400, nothing kept.
        :raises EventIdReused: 409, nothing kept.
        :raises StoreUnavailable: 503, it may or may not have been kept.
        """
        envelope = events.parse(raw)
        body = events.kept(envelope)  # here and not in the unit: all that wait share its thread
        answer = self.store.write(
            lambda verbs: self._keep(verbs, billing, webhook_id, envelope, body, origin)
        )
        self.wake()
        return answer

    def replay(self, event_id: str, actor: str, reason: str = "", origin: Origin = ITSELF) -> Answer:
        """Judges a rejected event again; what it asks for stays its sender's, the replay is the person's.

        :raises NotFound: there is no such event.
        :raises WrongState: it was accepted already.
        """

        def unit(verbs: Verbs) -> Answer:
            stored = verbs.event(event_id)
            if stored is None:
                raise NotFound(f"there is no event {event_id}")
            if stored.state != "rejected":
                raise WrongState(f"event {event_id} was accepted already: see operation {stored.operation}")
            if not stored.body:
                raise WrongState(f"the body of event {event_id} is past its retention; have it sent again")
            envelope = replace(events.parse(stored.body.encode()), digest=stored.digest)
            answer = self._keep(verbs, stored.billing, stored.webhook_id, envelope, stored.body)
            self._audit_replay(Record(verbs, self.clock(), self.new_id, origin), event_id, actor, reason)
            return answer

        answer = self.store.write(unit)
        self.wake()
        return answer

    def action(self, request: Request) -> Operation:
        """Accepts what an admin asks for.

        :raises EventRejected: it cannot be carried out (422).
        """
        (operation,) = self.actions([request])
        return operation

    def actions(self, requests: Sequence[Request]) -> list[Operation]:
        """The same for several at once: all of them are accepted, or none.

        :raises EventRejected: one cannot be carried out (422).
        """
        accepted = self.store.write(
            lambda verbs: [self._accept(self._record(verbs, one.origin), one) for one in requests]
        )
        self.wake()
        return accepted

    def _audit_replay(self, record: Record, event_id: str, actor: str, reason: str) -> None:
        stored = record.verbs.event(event_id)
        if stored is not None:
            record.audit(
                "event.replayed",
                actor,
                billing=stored.billing,
                service_id=stored.service_id,
                operation=stored.operation,
                reason=reason,
                event=stored.id,
                type=stored.type,
                code=stored.code,
            )

    def examine_source(self, billing: str, envelope: Envelope, origin: Origin = ITSELF) -> Source:
        """Judges who sent an event or a query; the first installation that is seen is pinned.

        :raises EventRejected: 403 `unknown_installation`, or `invalid_field`.
        """
        source = events.source_of(envelope)
        pinned = self.store.read(lambda verbs: verbs.fact(installation_fact(billing)))
        if source.installation and pinned is None:
            self.store.write(
                lambda verbs: self._check_installation(self._record(verbs, origin), billing, source)
            )
        elif source.installation and pinned != source.installation:
            raise _unknown_installation(billing)
        return source

    def _record(self, verbs: Verbs, origin: Origin) -> Record:
        return Record(verbs, self.clock(), self.new_id, origin)

    def _keep(
        self,
        verbs: Verbs,
        billing: str,
        webhook_id: str,
        envelope: Envelope,
        body: str,
        origin: Origin = ITSELF,
    ) -> Answer:
        record = self._record(verbs, origin)
        before = verbs.event_by_webhook(billing, webhook_id)
        if before is not None and before.state == "accepted":
            if before.digest != envelope.digest:
                raise EventIdReused(
                    "this webhook-id was accepted before with another type or data; use a new id"
                )
            return Answer(REPEATED, before.answer)
        stored = StoredEvent(
            id=before.id if before else self.new_id("evt"),
            seq=0,
            billing=billing,
            webhook_id=webhook_id,
            state="rejected",
            type=_storable(envelope.type),
            service_id=_storable(envelope.data.get("service_id", "")),
            operation="",
            digest=envelope.digest,
            body=body,
            answer="",
            code="",
            message="",
            installation="",
            actor="",
            received_at=record.now,
        )
        try:
            source = events.source_of(envelope)
            stored = stored._replace(installation=source.installation or "", actor=_actor(source, billing))
            self._check_installation(record, billing, source)
            request = self._request(events.judge(envelope), stored, source, origin)
            operation = self._accept(record, request)
        except EventRejected as rejection:
            is_new = before is None or before.code != rejection.code
            if rejection.code == UNKNOWN_INSTALLATION and is_new:  # not each time that it is sent again
                self._audit_refusal(record, stored, _on_behalf(source, billing))
            return self._reject(verbs, stored, rejection)
        answer = json.dumps(
            {
                "event": stored.id,
                "operation": operation.id,
                "status_url": f"{self.settings.server.public_url}/api/operations/{operation.id}",
            }
        )
        verbs.add_event(stored._replace(state="accepted", operation=operation.id, answer=answer))
        return Answer(ACCEPTED, answer)

    def _reject(self, verbs: Verbs, stored: StoredEvent, rejection: EventRejected) -> Answer:
        error = {"code": rejection.code, "message": rejection.public}
        body = json.dumps({"error": error, "event": stored.id})
        verbs.add_event(stored._replace(answer=body, code=rejection.code, message=rejection.detail))
        return Answer(rejection.status, body)

    def _audit_refusal(self, record: Record, stored: StoredEvent, actor: str) -> None:
        record.audit(
            "event.refused",
            actor,
            billing=stored.billing,
            service_id=stored.service_id,
            event=stored.id,
            type=stored.type,
            installation=stored.installation,
        )

    def _check_installation(self, record: Record, billing: str, source: Source) -> None:
        if not source.installation:
            return
        pinned = record.verbs.fact(installation_fact(billing))
        if pinned is None:
            record.verbs.set_fact(installation_fact(billing), source.installation, record.now)
            actor = f"billing:{billing}"  # no customer of one service: the line outlives each of them
            record.audit("installation.pinned", actor, billing=billing, installation=source.installation)
        elif pinned != source.installation:
            raise _unknown_installation(billing)

    def _request(self, event: Event, stored: StoredEvent, source: Source, origin: Origin) -> Request:
        return Request(
            billing=stored.billing,
            service_id=event.service_id,
            kind=event.kind,
            data=event.data,
            actor=_on_behalf(source, stored.billing),
            event=stored.id,
            reason=event.data.reason if isinstance(event.data, Suspend) else "",
            origin=origin,
        )

    def _accept(self, record: Record, request: Request) -> Operation:
        """Everything that may refuse comes before the first write: a rejection leaves only itself behind."""
        verbs = record.verbs
        service = verbs.service(request.billing, request.service_id)
        earlier = verbs.open_operations_of_service(request.billing, request.service_id) if service else []
        if service is None and request.kind not in (Kind.CREATE, Kind.LINK):
            raise EventRejected(
                f"service {request.service_id} is unknown: no order.paid and no link of it was accepted",
                code="unknown_service",
            )
        args = resolve(request.kind, request.data, self._known(verbs, request, service, earlier))
        match request.kind:
            case Kind.CREATE:
                return self._create(record, request, service, earlier, args)
            case Kind.LINK if service is None:
                service = self._new_service(record, request, args)
                return self.add(record, request, args)
            case Kind.TERMINATE:
                memo = self._end_what_waits(record, earlier, request)
                return self.add(record, request, args, memo, service)
            case Kind.UNSUSPEND if service is not None:
                args = {"admin": request.is_admin}
                return self._unsuspend(record, request, service, earlier, args)
        return self.add(record, request, args, service=service)

    def _known(
        self, verbs: Verbs, request: Request, service: Service | None, earlier: list[Operation]
    ) -> Known:
        """An order for a VM that is there already asks for nothing."""
        asked = [
            operation
            for operation in earlier
            if "spec" in operation.args
            and not (operation.kind is Kind.CREATE and service and service.vmid is not None)
        ]
        spec = Spec(**asked[-1].args["spec"]) if asked else service.spec if service else None
        plan = asked[-1].args["plan"] if asked else service.plan if service else ""
        return Known(self.settings, request.billing, spec, plan, templates_seen(verbs)["items"])

    def _create(
        self,
        record: Record,
        request: Request,
        service: Service | None,
        earlier: list[Operation],
        args: dict[str, Any],
    ) -> Operation:
        if service is None:
            return self._order(record, request, args, self._new_service(record, request, args))
        if service.status is ServiceStatus.TERMINATED and not args["recreate"]:
            raise EventRejected(
                f"service {request.service_id} was terminated; recreate must be true to make it anew",
                code="terminated",
            )
        service, restored = undo(record, undoable(earlier), service, request.actor, request.reason)
        under_way = [op for op in earlier if op.kind is Kind.CREATE and op.state in OPEN]
        if under_way:
            return under_way[-1]
        if service.vmid is not None or service.status is ServiceStatus.TERMINATING:
            return self.add(record, request, {**args, **restored})
        return self._replace_failed(record, request, args, service, earlier)

    def _replace_failed(
        self,
        record: Record,
        request: Request,
        args: dict[str, Any],
        service: Service,
        earlier: list[Operation],
    ) -> Operation:
        """A failed create and its set_rdns end; what waited behind it waits behind the new one."""
        failed = [op for op in earlier if op.kind is Kind.CREATE and op.state is State.FAILED]
        ids = [op.id for op in failed]
        ended = failed + [op for op in earlier if op.args.get("create") in ids]
        behind = [
            op
            for op in earlier
            if failed and op.seq > failed[0].seq and op not in ended and op.kind is not Kind.TERMINATE
        ]
        for operation in ended:
            record.cancel(operation, "superseded", "A new order replaced this one.", actor=request.actor)
        replaced = lost_create.unresolved(record.verbs, service)
        service = replace(service, status=ServiceStatus.PENDING, plan=args["plan"], updated_at=record.now)
        record.verbs.save_service(service)
        order = self._order(record, request, {**args, "replaces": replaced}, service)
        for operation in behind:
            record.verbs.move_behind(operation.id)
        return order

    def _order(self, record: Record, request: Request, args: dict[str, Any], service: Service) -> Operation:
        """A create, and the set_rdns that a hostname asks for right behind it."""
        if service.status is not ServiceStatus.PENDING:
            raise LookupError(f"service {service.service_id} is {service.status}, not pending")
        create = self.add(record, request, args, service=service)
        if args["hostname"]:
            rdns = {"ip": None, "hostname": args["hostname"], "create": create.id}
            self.add(record, replace(request, kind=Kind.SET_RDNS), rdns, service=service)
        return create

    def _unsuspend(
        self,
        record: Record,
        request: Request,
        service: Service,
        earlier: list[Operation],
        args: dict[str, Any],
    ) -> Operation:
        terminates = undoable(earlier)
        if not terminates:
            return self.add(record, request, args)
        locks = [op for op in earlier if op.kind is Kind.SUSPEND and op.args["lock"]]
        if (service.locked or locks) and not request.is_admin:
            refused = self.add(record, request, args)
            public = "The suspension is locked: only the provider's staff can lift it."
            return record.fail(refused, "locked", public)
        _, restored = undo(record, terminates, service, request.actor, request.reason)
        return self.add(record, request, {**args, **restored})

    def _end_what_waits(self, record: Record, earlier: list[Operation], request: Request) -> dict[str, Any]:
        """Ends what has sent nothing and what is held; a create that was sent is followed first.

        :returns: what the new terminate must remember of those: how the VM was before it was stopped.
        """
        memo: dict[str, Any] = {}
        for operation in earlier:
            if operation.kind is Kind.TERMINATE and operation.state is not State.HELD:
                self._end_grace(record, operation, request)
            elif operation.kind is Kind.CREATE and operation.sent:
                continue
            elif operation.state is State.HELD or (operation.state in CLAIMABLE and not operation.sent):
                record.cancel(
                    operation, "superseded", "The service is being terminated.", actor=request.actor
                )
                memo |= _remembered(operation)
        return memo

    def _end_grace(self, record: Record, terminate: Operation, request: Request) -> None:
        """Whoever has it is fenced off: it would write the arguments back that it has read."""
        immediate = isinstance(request.data, Terminate) and request.data.immediate
        if immediate and terminate.state in CLAIMABLE and not terminate.memo.get("delete_sent"):
            record.move(
                terminate,
                terminate.state,
                "grace_ended",
                actor=request.actor,
                args={**terminate.args, "immediate": True},
                next_run_at=record.now,
            )

    def _new_service(self, record: Record, request: Request, args: dict[str, Any]) -> Service:
        service = Service(
            billing=request.billing,
            service_id=request.service_id,
            seq=0,
            status=ServiceStatus.PENDING,
            plan=args["plan"],
            spec=None,
            config=None,
            vmid=None,
            ips=(),
            ips_complete=False,
            hostname=args["hostname"],
            client_id=args.get("client_id", ""),
            suspend_reason="",
            locked=False,
            ran_before_suspend=None,
            created_at=record.now,
            updated_at=record.now,
        )
        record.verbs.add_service(service)
        return service

    def add(
        self,
        record: Record,
        request: Request,
        args: dict[str, Any],
        memo: dict[str, Any] | None = None,
        service: Service | None = None,
    ) -> Operation:
        """Queues an operation behind the service's others, its `args` resolved.

        :param service: as it is now, where the caller has it at hand.
        """
        ttl_ms = int(self.settings.retry.action_ttl * 1000)
        operation = Operation(
            id=self.new_id("op"),
            seq=0,
            billing=request.billing,
            service_id=request.service_id,
            kind=request.kind,
            state=State.QUEUED,
            step=FIRST,
            args=args | _how_asked(request),
            memo=memo or {},
            sent=False,
            attempts=0,
            failures=0,
            claims=0,
            next_run_at=record.now,
            failing_since=None,
            expires_at=record.now + ttl_ms if request.kind in EXPIRING else None,
            error_code="",
            error_message="",
            error_detail="",
            job_id="",
            vmid=None,
            actor=request.actor,
            event=request.event,
            approvals=(),
            created_at=record.now,
            updated_at=record.now,
        )
        record.verbs.add_operation(operation)
        record.line(operation, "accepted", request.actor, kind=request.kind.value, event=request.event)
        record.audit_of(
            operation, "accepted", request.actor,
            service=service, reason=request.reason, event=request.event,
        )  # fmt: skip
        return operation


def _how_asked(request: Request) -> dict[str, Any]:
    """What an operation must know of who asked for it, beside what was asked."""
    asked: dict[str, Any] = {"quiet": True} if request.quiet else {}
    if request.session and request.kind is Kind.RESET_PASSWORD:  # nothing else is shown to a session
        asked[SESSION] = request.session
    return asked


def _remembered(operation: Operation) -> dict[str, Any]:
    """How the VM was before: of a terminate that ends here, or of an undo that had not brought it back."""
    if "undo" in operation.args:
        return {"was": operation.args["undo"]}
    if operation.kind is Kind.TERMINATE:
        return {name: operation.memo[name] for name in ("was", "delete_sent") if name in operation.memo}
    return {}


def _actor(source: Source, billing: str) -> str:
    if not source.actor_type:
        return f"billing:{billing}"
    return f"{source.actor_type}:{source.actor_name}" if source.actor_name else source.actor_type


def _on_behalf(source: Source, billing: str) -> str:
    """Who asks, after the billing system that says so: `billing:shop:admin:bob` is no admin of ours."""
    said = [source.actor_type, source.actor_name] if source.actor_type else []
    return ":".join(filter(None, ["billing", billing, *said]))


def _unknown_installation(billing: str) -> EventRejected:
    return EventRejected(
        "this installation of the billing system is not the one that was seen first",
        code=UNKNOWN_INSTALLATION,
        status=403,
        detail="another installation than the pinned one: a staging copy? If it is the new home of the "
        f"billing system: provisioner billing trust {billing} INSTALLATION, then replay this event",
    )


def _storable(value: object) -> str:
    """A text that any database keeps, for the list of rejected events."""
    text = value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
    return text[:255].encode("ascii", "backslashreplace").decode().replace("\0", "\\0")
