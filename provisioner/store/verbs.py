"""What a unit of work can do with the store: verbs, never SQL. The SQL is in `queries.sql`, by name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, wraps
from importlib.resources import files
from itertools import takewhile
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, Protocol, TypeVar

from provisioner.audit import ERASED, START, AuditLine, Deed, Place, line_of
from provisioner.delivery import Delivery, DeliveryState
from provisioner.errors import Fenced, RowUnreadable
from provisioner.operation import ENDS, Kind, Operation, State, TimelineEntry
from provisioner.service import Service, ServiceStatus, Spec
from provisioner.store.listed import ListedEvent, ListedOperation, ListedService

Row = Mapping[str, Any]
T = TypeVar("T")


MOST_FACTS = 256  # that are remembered; some are of one VM each


@dataclass(slots=True)
class Memory:
    """What is known of the store without a look, for as long as nobody else writes to it.

    That is a batch of units on PostgreSQL, where it holds the writers' lock, and always on SQLite, which has
    one writer; a reader knows nothing. The audit's end is written down once for a whole batch; all else is
    as it stands in the store.
    """

    seqs: dict[str, int] = field(default_factory=dict)  # the greatest of each table that was added to
    audit: Place | None = None
    audit_at: int | None = None  # when its last line was added; None where this batch added none
    facts: dict[str, str | None] = field(default_factory=dict)  # JSON; None where there is no such fact

    def without_facts(self) -> Memory:
        """What to go back to where a unit leaves nothing behind; facts are then looked up anew."""
        return Memory(self.seqs.copy(), self.audit, self.audit_at)

    def begin_batch(self) -> None:
        """What outlives a batch stays bounded, and numbers that were drawn in vain are drawn again."""
        self.seqs.clear()
        if len(self.facts) > MOST_FACTS:
            self.facts.clear()


class Engine(Protocol):
    """What differs between database engines: how a statement is run. `memory` is the present writer's."""

    memory: Memory

    def run(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Row]: ...

    def tuples(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        """The rows without their columns' names, in half the time."""

    def change(self, sql: str, parameters: Mapping[str, Any]) -> int:
        """Runs a statement that changes rows, and returns how many it found."""

    def put(self, sql: str, parameters: Mapping[str, Any]) -> None:
        """Runs a statement whose answer nobody reads; its error may come with a later one of the unit."""


class StoredEvent(NamedTuple):
    """One webhook as it was received and judged. `received_at` is milliseconds since the epoch."""

    id: str
    seq: int
    billing: str
    webhook_id: str
    state: str
    type: str
    service_id: str
    operation: str
    digest: str
    body: str
    answer: str
    code: str
    message: str
    installation: str
    actor: str
    received_at: int


@dataclass(frozen=True, slots=True)
class SealedCredentials:
    """A service's credentials as they rest: encrypted, with the version that their erasure names."""

    version: str
    sealed: str


@dataclass(frozen=True, slots=True)
class InDoubt:
    """A create whose answer is out or was lost: what others ask of it before they are sent.

    `is_unknown` is what its memo says: that no clear answer came.
    """

    id: str
    seq: int
    state: State
    next_run_at: int
    is_unknown: bool


@dataclass(frozen=True, slots=True)
class Aged:
    """A row's place in the order of its table, and when it came (milliseconds since the epoch)."""

    seq: int
    at: int


def load_queries(text: str) -> dict[str, str]:
    """The statements of a queries file by their names (`-- name: …`)."""
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (body.strip() for body in parts[2::2]), strict=True))


def in_parts(sql: str) -> list[str]:
    """A statement taken apart at its parameters: text, a parameter's name, text, and so on.

    Comments are left out, since their words could look like parameters.
    """
    return re.split(r"(?<!:):([a-z]\w*)", re.sub(r"^--.*$", "", sql, flags=re.MULTILINE))


QUERIES = load_queries(files("provisioner.store").joinpath("queries.sql").read_text("utf-8"))

_OPERATION_FILTERS = {"state", "kind", "billing", "service_id", "vmid"}
_SERVICE_FILTERS = {"status", "billing", "vmid"}
_EVENT_FILTERS = {"state", "billing"}
_AUDIT_FILTERS = {"vmid", "actor", "billing", "service_id"}

NUMBERED = ("services", "operations", "events", "deliveries")  # the tables whose rows have a `seq`
AUDIT_BEGIN = "audit_begin"  # the fact of where the audit begins: the last line that was pruned
AUDIT_END = "audit_end"  # the fact of its last line


class Verbs:
    """One transaction's view of the store. All verbs that write are for units given to `Store.write`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.ended: list[Operation] = []  # the operations that this transaction brings to an end

    def _run(self, query: str, /, **parameters: Any) -> Sequence[Row]:
        return self._engine.run(QUERIES[query], parameters)

    def _change(self, query: str, /, **parameters: Any) -> int:
        return self._engine.change(QUERIES[query], parameters)

    def _put(self, query: str, /, **parameters: Any) -> None:
        self._engine.put(QUERIES[query], parameters)

    def _add(self, query: str, table: str, row: dict[str, Any]) -> None:
        """Puts a new row behind all others of its table."""
        row["seq"] = self._next_seq(table)
        self._engine.put(QUERIES[query], row)

    def _next_seq(self, table: str) -> int:
        """A number behind all of the table's, drawn."""
        seqs = self._engine.memory.seqs
        if table not in seqs:
            sql = f"SELECT coalesce(max(seq), 0) AS last FROM {table}"  # noqa: S608 - our own table names
            seqs[table] = int(self._engine.run(sql, {})[0]["last"])
        seqs[table] += 1
        return seqs[table]

    def _one(self, query: str, /, **parameters: Any) -> Row | None:
        rows = self._run(query, **parameters)
        return rows[0] if rows else None

    # Facts of the whole account

    def fact(self, name: str) -> Any:
        """The fact's value, or None where it was never set."""
        known = self._engine.memory.facts
        if name not in known:
            row = self._one("fact", name=name)
            known[name] = None if row is None else row["value"]
        text = known[name]
        return None if text is None else _of_json(text)

    def facts_among(self, names: tuple[str, str, str]) -> dict[str, Any]:
        """The values of those that were set, by their names."""
        known = self._engine.memory.facts
        if not known.keys() >= set(names):
            rows = self._run("facts_among", **dict(zip(("first", "second", "third"), names, strict=True)))
            known |= dict.fromkeys(names) | {row["name"]: row["value"] for row in rows}
        return {name: _of_json(text) for name in names if (text := known[name]) is not None}

    def facts_like(self, prefix: str) -> dict[str, Any]:
        rows = self._run("facts_like", first=prefix, last=prefix[:-1] + chr(ord(prefix[-1]) + 1))
        return {row["name"]: json.loads(row["value"]) for row in rows}

    def set_fact(self, name: str, value: Any, now: int) -> None:
        text = _in_json(value)
        self._put("set_fact", name=name, value=text, now=now)
        self._engine.memory.facts[name] = text

    def drop_fact(self, name: str) -> None:
        self._put("drop_fact", name=name)
        self._engine.memory.facts.pop(name, None)

    # Events

    def event_by_webhook(self, billing: str, webhook_id: str) -> StoredEvent | None:
        row = self._one("event_by_webhook", billing=billing, webhook_id=webhook_id)
        return None if row is None else _event(row)

    def event(self, event_id: str) -> StoredEvent | None:
        row = self._one("event", id=event_id)
        return None if row is None else _event(row)

    def add_event(self, event: StoredEvent) -> None:
        """Keeps an event; a rejected one of the same webhook-id is replaced, its id and place kept."""
        self._add("add_event", "events", event._asdict())

    def events(self, limit: int, cursor: int | None, **filters: Any) -> list[ListedEvent]:
        """A page of events, newest first, older than the cursor."""
        rows = self._page("events", ListedEvent._fields, _EVENT_FILTERS, limit, cursor, filters)
        return list(map(ListedEvent._make, rows))

    # Services

    def service(self, billing: str, service_id: str) -> Service | None:
        row = self._one("service", billing=billing, service_id=service_id)
        return None if row is None else _service(row)

    def service_by_vmid(self, vmid: int) -> Service | None:
        row = self._one("service_by_vmid", vmid=vmid)
        return None if row is None else _service(row)

    def vmid_of_service(self, billing: str, service_id: str) -> int | None:
        row = self._one("vmid_of_service", billing=billing, service_id=service_id)
        return None if row is None else row["vmid"]

    def services_with_vm(self) -> list[Service]:
        return [_service(row) for row in self._run("services_with_vm")]

    def failed_services(self) -> list[Service]:
        """Every service whose create has failed, and that has no VM."""
        return [_service(row) for row in self._run("failed_services")]

    def owners_of_vms(self) -> dict[int, tuple[str, str]]:
        """Every VM that a service has, with that service's billing system and id; for a whole account."""
        return {row["vmid"]: (row["billing"], row["service_id"]) for row in self._run("owners_of_vms")}

    def add_service(self, service: Service) -> None:
        """A service never seen before; its `seq` is drawn here."""
        self._add("add_service", "services", _service_row(service))

    def save_service(self, service: Service) -> None:
        self._put("save_service", **_service_row(service))

    def services(
        self, limit: int, cursor: int | None, *, ip: str = "", text: str = "", **filters: Any
    ) -> list[ListedService]:
        """A page of services, newest first. `text` matches service id, hostname, plan, client, IPs and VM."""
        clauses, parameters = [], {}
        if ip:
            clauses.append("ips LIKE :ip ESCAPE '\\'")
            parameters["ip"] = f'%"{_escape_like(ip)}"%'
        if text:
            words = _has_text("service_id", "hostname", "plan", "client_id", "ips")
            clauses.append(f"({words} OR CAST(vmid AS TEXT) = :whole)")
            parameters |= {"text": f"%{_escape_like(text)}%", "whole": text}
        rows = self._page(
            "services", ListedService._fields, _SERVICE_FILTERS, limit, cursor, filters, clauses, parameters
        )
        return list(map(_listed_service, rows))

    def count_services(self) -> dict[str, int]:
        return {row["status"]: row["count"] for row in self._run("count_services")}

    def add_tombstone(self, service: Service, vmid: int, now: int) -> None:
        self._put("add_tombstone", billing=service.billing, service_id=service.service_id, vmid=vmid, at=now)

    def tombstones(self, billing: str, service_id: str) -> list[int]:
        return [row["vmid"] for row in self._run("tombstones", billing=billing, service_id=service_id)]

    def died_at(self, billing: str, service_id: str) -> int | None:
        row = self._one("died_at", billing=billing, service_id=service_id)
        return None if row is None else row["at"]

    def tombstoned_since(self, since: int) -> set[int]:
        return {row["vmid"] for row in self._run("tombstoned_since", since=since)}

    # Credentials

    def keep_credentials(self, billing: str, service_id: str, credentials: SealedCredentials) -> None:
        self._put(
            "keep_credentials",
            billing=billing,
            service_id=service_id,
            version=credentials.version,
            sealed=credentials.sealed,
        )

    def credentials(self, billing: str, service_id: str) -> SealedCredentials | None:
        row = self._one("credentials", billing=billing, service_id=service_id)
        return None if row is None else SealedCredentials(**row)

    def all_credentials(self) -> list[tuple[str, str, SealedCredentials]]:
        """Every filled slot, with whose it is."""
        return [
            (row["billing"], row["service_id"], SealedCredentials(row["version"], row["sealed"]))
            for row in self._run("all_credentials")
        ]

    def erase_credentials(self, billing: str, service_id: str, version: str) -> None:
        """Empties the slot if it still has this version and no delivery that waits needs it."""
        self._put("erase_credentials", billing=billing, service_id=service_id, version=version)

    def drop_credentials(self, billing: str, service_id: str) -> None:
        self._put("drop_credentials", billing=billing, service_id=service_id)

    def forget_given_up_credentials(self, billing: str, service_id: str) -> None:
        """Takes them out of the deliveries that were given up: a retry tells those without a password."""
        self._put("forget_given_up_credentials", billing=billing, service_id=service_id)

    def forget_older_credentials(self, delivery: Delivery) -> None:
        """Takes them out of the service's deliveries before this one that wait or were given up, from whoever
        has one: each is told without a password."""
        self._put(
            "forget_older_credentials",
            billing=delivery.billing,
            service_id=delivery.service_id,
            seq=delivery.seq,
        )

    # Operations

    def add_operation(self, operation: Operation) -> None:
        """A new operation, behind all others; its `seq` is drawn here."""
        self._add("add_operation", "operations", _operation_row(operation))

    def save_operation(self, operation: Operation, fence: int) -> None:
        """Writes an operation back whole.

        :param fence: its `claims` as the writer last saw them.
        :raises Fenced: somebody else has claimed or changed it since; the result must be dropped.
        """
        if not self._change("save_operation", fence=fence, **_operation_row(operation)):
            raise Fenced(f"operation {operation.id} was taken over by another worker")
        if operation.state in ENDS:
            self.ended.append(operation)

    def move_behind(self, operation_id: str) -> None:
        """Puts an operation behind all others, as if it had been accepted now."""
        self._put("move_operation", id=operation_id, seq=self._next_seq("operations"))

    def claim_operation(self, now: int, lease_until: int) -> Operation | None:
        """Leases the next operation that may run.

        :raises RowUnreadable: its row is; it is leased all the same, and in nobody's way meanwhile.
        """
        row = self._one("claim_operation", now=now, lease_until=lease_until)
        return None if row is None else _operation(row)

    def claim_look(self, now: int, lease_until: int) -> Operation | None:
        """As `claim_operation`, of those alone that follow a job of the upstream's."""
        row = self._one("claim_look", now=now, lease_until=lease_until)
        return None if row is None else _operation(row)

    def next_operation_at(self, now: int) -> int | None:
        row = self._one("next_operation_at", now=now)
        return None if row is None else row["at"]

    def oldest_due_operation(self, now: int) -> int | None:
        """Since when the operation is due that has been due longest and that nothing holds back."""
        row = self._one("oldest_due_operation", now=now)
        return None if row is None else row["at"]

    def release_leases(self, now: int) -> None:
        self._put("release_leases", now=now)
        self._put("release_delivery_leases", now=now)

    def operation(self, operation_id: str) -> Operation | None:
        row = self._one("operation", id=operation_id)
        return None if row is None else _operation(row)

    def operations(
        self, limit: int, cursor: int | None, *, text: str = "", **filters: Any
    ) -> list[Operation]:
        """A page of operations, newest first, older than the cursor.

        `text` matches id, service id, job id, and the error's code and words.
        """
        names = Operation.__slots__
        rows = self._operations(names, limit, cursor, text, filters)
        return [_operation(dict(zip(names, row, strict=True))) for row in rows]

    def listed_operations(
        self, limit: int, cursor: int | None, *, text: str = "", **filters: Any
    ) -> list[ListedOperation]:
        """The same page, of what lists show of them."""
        rows = self._operations(ListedOperation._fields, limit, cursor, text, filters)
        return list(map(_listed_operation, rows))

    def _operations(
        self, columns: Sequence[str], limit: int, cursor: int | None, text: str, filters: Mapping[str, Any]
    ) -> Sequence[tuple[Any, ...]]:
        clauses, parameters = [], {}
        if text:
            clauses.append(f"({_has_text('id', 'service_id', 'job_id', 'error_code', 'error_detail')})")
            parameters["text"] = f"%{_escape_like(text)}%"
        return self._page(
            "operations", columns, _OPERATION_FILTERS, limit, cursor, filters, clauses, parameters
        )

    def recent_operations(self, since: int, limit: int) -> Sequence[Row]:
        """Of the operations accepted since then, the newest first: `kind`, `state`, `sent`, `error_code`,
        `created_at` and `updated_at`."""
        return self._run("recent_operations", since=since, limit=limit)

    def operations_of_service(self, billing: str, service_id: str) -> list[Operation]:
        rows = self._run("operations_of_service", billing=billing, service_id=service_id)
        return [_operation(row) for row in rows]

    def open_operations_of_service(self, billing: str, service_id: str) -> list[Operation]:
        """Those that have not ended, and a failed create that holds back what follows it."""
        rows = self._run("open_operations_of_service", billing=billing, service_id=service_id)
        return [_operation(row) for row in rows]

    def last_operation_of_service(self, billing: str, service_id: str) -> Operation | None:
        row = self._one("last_operation_of_service", billing=billing, service_id=service_id)
        return None if row is None else _operation(row)

    def open_operations_of_kind(self, kind: Kind) -> list[Operation]:
        return [_operation(row) for row in self._run("open_operations_of_kind", kind=kind)]

    def operations_of_job(self, job_id: str) -> list[Operation]:
        return [_operation(row) for row in self._run("operations_of_job", job_id=job_id)]

    def open_terminates(self) -> list[Operation]:
        return [_operation(row) for row in self._run("open_terminates")]

    def creates_in_doubt(self) -> list[InDoubt]:
        """The creates whose answer is out at this moment, or was lost and no person has them."""
        return [
            InDoubt(row["id"], row["seq"], _STATE[row["state"]], row["next_run_at"], _is_unknown(row["memo"]))
            for row in self._run("creates_in_doubt")
        ]

    def operations_that_made(self, vmid: int) -> list[Operation]:
        """The creates and links that named this VM."""
        return [_operation(row) for row in self._run("operations_that_made", vmid=vmid)]

    def expired_operations(self, now: int, limit: int) -> list[Operation]:
        return [_operation(row) for row in self._run("expired_operations", now=now, limit=limit)]

    def count_operations(self) -> dict[str, int]:
        return {row["state"]: row["count"] for row in self._run("count_operations")}

    def count_open_operations(self) -> dict[str, int]:
        """How many have not ended or are being told, by their state."""
        return {row["state"]: row["count"] for row in self._run("count_open_operations")}

    def late_creates(self, before: int, limit: int) -> Sequence[Row]:
        """The creates that go on, not held, and were accepted or sent on by a person before then: `id`,
        `billing`, `service_id` and `created_at`, for one that cannot be read is late, too."""
        return self._run("late_creates", before=before, limit=limit)

    def count_due_operations(self, now: int) -> int:
        """How many operations could run now."""
        row = self._one("count_due_operations", now=now)
        return 0 if row is None else int(row["count"])

    def count_error_codes(self, state: State) -> Sequence[Row]:
        """Each `code` among the operations of a state, with its `count`, `since`, and an `example`'s id."""
        return self._run("count_error_codes", state=state)

    def forgive_pause(self, paused_at: int, now: int) -> None:
        """A pause since `paused_at` is over: it counts towards no operation's giving up."""
        self._put("forgive_pause", paused_at=paused_at, now=now)

    def add_timeline(self, operation_id: str, entry: TimelineEntry) -> None:
        self._put(
            "add_timeline",
            operation=operation_id,
            at=entry.at,
            what=entry.what,
            detail=_in_json(entry.detail),
            actor=entry.actor,
        )

    def timeline(self, operation_id: str) -> list[TimelineEntry]:
        return [
            TimelineEntry(row["at"], row["what"], json.loads(row["detail"]), row["actor"])
            for row in self._run("timeline", operation=operation_id)
        ]

    # Deliveries

    def add_delivery(self, delivery: Delivery) -> None:
        """A new delivery, behind all others; its `seq` is drawn here."""
        self._add("add_delivery", "deliveries", _delivery_row(delivery))

    def claim_delivery(self, now: int, lease_until: int) -> Delivery | None:
        """As `claim_operation`, of the deliveries."""
        row = self._one("claim_delivery", now=now, lease_until=lease_until)
        return None if row is None else _delivery(row)

    def park_deliveries(self, billing: str, now: int, most_ms: int) -> None:
        """Sets aside what is due and waits to be fetched, until it would be given up.

        :param most_ms: how long it may wait, from when it was made or retried; what has waited longer is left
            to be claimed.
        """
        self._put("park_deliveries", billing=billing, now=now, most_ms=most_ms)

    def release_deliveries(self, billing: str, now: int) -> None:
        """Makes due at once what waits for a billing system, with its whole time before it."""
        self._put("release_deliveries", billing=billing, now=now)

    def deliveries_to_fetch(self, billing: str, limit: int) -> list[Delivery]:
        """What waits for a billing system, of each service from its oldest on and in order.

        The least often offered come first (`attempts`), then the oldest, so that what is fetched in vain
        again and again holds up no other service.
        """
        return [_delivery(row) for row in self._run("deliveries_to_fetch", billing=billing, limit=limit)]

    def take_delivery(self, billing: str, delivery_id: str) -> Delivery | None:
        """A delivery of this billing system that is not done, from whoever has it; None: no such one."""
        row = self._one("take_delivery", billing=billing, id=delivery_id)
        return None if row is None else _delivery(row)

    def oldest_waiting_delivery(self, billing: str) -> int | None:
        """Since when something waits for a billing system, from when it was made or retried."""
        row = self._one("oldest_waiting_delivery", billing=billing)
        return None if row is None else row["at"]

    def claim_hooks(self, now: int, lease_until: int) -> Delivery | None:
        row = self._one("claim_hooks", now=now, lease_until=lease_until)
        return None if row is None else _delivery(row)

    def next_delivery_at(self, now: int) -> int | None:
        row = self._one("next_delivery_at", now=now)
        return None if row is None else row["at"]

    def oldest_due_delivery(self, now: int) -> int | None:
        """Since when the delivery is due that has been due longest and could be sent."""
        row = self._one("oldest_due_delivery", now=now)
        return None if row is None else row["at"]

    def save_delivery(self, delivery: Delivery, fence: int) -> None:
        """Writes a delivery back.

        :raises Fenced: somebody else has claimed it since; the result must be dropped.
        """
        if not self._change("save_delivery", fence=fence, **_delivery_row(delivery)):
            raise Fenced(f"delivery {delivery.id} was taken over by another worker")

    def delivery(self, delivery_id: str) -> Delivery | None:
        row = self._one("delivery", id=delivery_id)
        return None if row is None else _delivery(row)

    def deliveries_of_operation(self, operation_id: str) -> list[Delivery]:
        return [_delivery(row) for row in self._run("deliveries_of_operation", operation=operation_id)]

    def sealed_deliveries(self) -> list[Delivery]:
        return [_delivery(row) for row in self._run("sealed_deliveries")]

    def waiting_deliveries_with_credentials(self) -> list[Delivery]:
        return [_delivery(row) for row in self._run("waiting_deliveries_with_credentials")]

    def is_latest(self, delivery: Delivery) -> bool:
        """Whether no operation after the delivery's asks for another status of the service."""
        found = self._one(
            "later_status_operation",
            billing=delivery.billing,
            service_id=delivery.service_id,
            operation=delivery.operation,
        )
        return found is None

    def mark(self, subject: str, name: str) -> str:
        """What was noted of an operation or delivery under this name; '' where nothing was."""
        row = self._one("mark", subject=subject, name=name)
        return "" if row is None else str(row["value"])

    def set_mark(self, subject: str, name: str, value: str, now: int) -> None:
        """Notes it, in place of what was there; '' forgets it."""
        if value:
            self._put("set_mark", subject=subject, name=name, value=value, now=now)
        else:
            self._put("drop_mark", subject=subject, name=name)

    def count_deliveries(self) -> dict[str, int]:
        return {row["state"]: row["count"] for row in self._run("count_deliveries")}

    def count_due_deliveries(self, now: int) -> int:
        """How many deliveries could be sent now."""
        row = self._one("count_due_deliveries", now=now)
        return 0 if row is None else int(row["count"])

    def waiting_deliveries_by_billing(self, before: int, watched: int) -> Sequence[Row]:
        """Each `billing` that has some: `waiting` and `waiting_since`, `failing` and `failing_since`, and how
        many are `late`: failing since `before`, and tried in vain since `watched`."""
        return self._run("waiting_deliveries_by_billing", before=before, watched=watched)

    def last_delivery_errors(self) -> Sequence[Row]:
        """What billing systems answer that do not take their deliveries: `billing`, `count`, `since`, `at`,
        `last_error`."""
        return self._run("last_delivery_errors")

    def given_up_deliveries_by_billing(self, since: int) -> Sequence[Row]:
        """Each `billing` of which some were given up since then: `count`, and `since` when."""
        return self._run("given_up_deliveries_by_billing", since=since)

    # What is kept no longer

    def events_above(self, above: int, limit: int) -> list[Aged]:
        """The next events after this place, oldest first."""
        return [Aged(**row) for row in self._run("events_above", above=above, limit=limit)]

    def empty_events(self, above: int, last: int) -> None:
        """Takes what they said out of the events between two places, the last one included."""
        self._put("empty_events", above=above, last=last)

    def delete_events(self, last: int) -> None:
        """Forgets the events up to this place."""
        self._put("delete_events", last=last)

    def events_of_service(self, billing: str, service_id: str) -> list[str]:
        """The ids of the events about a service. It looks at all events: not for a unit that writes."""
        return [row["id"] for row in self._run("events_of_service", billing=billing, service_id=service_id)]

    def erase_event(self, event_id: str) -> None:
        """Leaves of an event that it came, under which id, and its digest."""
        self._put("erase_event", id=event_id)

    def deliveries_above(self, above: int, limit: int) -> list[Aged]:
        """The next deliveries after this place, oldest first."""
        return [Aged(**row) for row in self._run("deliveries_above", above=above, limit=limit)]

    def empty_deliveries(self, above: int, last: int) -> None:
        """Takes what they said out of the ended deliveries between two places, the last one included."""
        self._put("empty_deliveries", above=above, last=last)

    def delete_deliveries(self, last: int) -> None:
        """Forgets the ended deliveries up to this place."""
        self._put("delete_deliveries", last=last)

    def erase_delivery(self, delivery_id: str) -> None:
        """Leaves of a delivery that it was, of which type, and how it ended."""
        self._put("erase_delivery", id=delivery_id)

    def operations_above(self, above: int, limit: int) -> list[Operation]:
        """The next operations after this place, oldest first."""
        return [_operation(row) for row in self._run("operations_above", above=above, limit=limit)]

    def erase_operation(self, operation: Operation) -> None:
        """Writes what an ended operation was asked and must remember, without what told of a person."""
        self._put(
            "erase_operation",
            id=operation.id,
            args=_in_json(operation.args),
            memo=_in_json(operation.memo),
            actor=operation.actor,
        )

    def drop_timeline(self, operation_id: str) -> None:
        self._put("drop_timeline", operation=operation_id)

    def drop_marks_of(self, subject: str) -> None:
        """Forgets what delivering noted of an operation, once nothing of it is still to be told."""
        self._put("drop_marks_of", subject=subject)

    def drop_marks_before(self, before: int) -> None:
        self._put("drop_marks_before", before=before)

    def drop_passages_before(self, before: int) -> None:
        self._put("drop_passages_before", before=before)

    # Brakes

    def add_passage(self, kind: Kind, operation_id: str, now: int) -> None:
        self._put("add_passage", kind=kind, operation=operation_id, at=now)

    def has_passed(self, kind: Kind, operation_id: str) -> bool:
        return self._one("passage", kind=kind, operation=operation_id) is not None

    def count_passages(self, kind: Kind, since: int) -> int:
        row = self._one("count_passages", kind=kind, since=since)
        return 0 if row is None else int(row["count"])

    def drop_passages(self, kind: Kind) -> None:
        self._put("drop_passages", kind=kind)

    # The audit

    def add_audit(self, deed: Deed) -> AuditLine:
        """Writes down who did what, behind all that was written before; bounded, and without secrets."""
        memory = self._engine.memory
        line = line_of(deed, self._audit_end())
        self._put("add_audit", **line._asdict())
        memory.audit, memory.audit_at = line.place, deed.at
        return line

    def keep_audit_end(self) -> None:
        """Writes down where the audit ends: the engine's last deed before it commits a batch."""
        memory = self._engine.memory
        if memory.audit is not None and memory.audit_at is not None:
            self.set_fact(AUDIT_END, asdict(memory.audit), memory.audit_at)
            memory.audit_at = None

    def audit(
        self, limit: int, cursor: int | None, *, since: int | None = None, until: int | None = None,
        **filters: Any,
    ) -> list[AuditLine]:  # fmt: skip
        """A page of lines, newest first, older than the cursor.

        :param since: milliseconds since the epoch; no line that is older.
        :param until: likewise; only lines that are older.
        """
        clauses, parameters = [], {}
        if filters.get("service_id"):
            clauses.append("service_id <> ''")  # the index's own words
        if since is not None:
            clauses.append("at >= :since AND seq >= (SELECT min(seq) FROM audit WHERE at >= :since)")
            parameters["since"] = since
        if until is not None:
            clauses.append("at < :until AND seq <= (SELECT max(seq) FROM audit WHERE at < :until)")
            parameters["until"] = until
        rows = self._page(
            "audit", AuditLine._fields, _AUDIT_FILTERS, limit, cursor, filters, clauses, parameters
        )
        return list(map(AuditLine._make, rows))

    def audit_line(self, seq: int) -> AuditLine | None:
        row = self._one("audit_line", seq=seq)
        return None if row is None else _audit_line(row)

    def audit_after(self, seq: int, limit: int) -> list[AuditLine]:
        """The lines behind this one, in their order."""
        return [_audit_line(row) for row in self._run("audit_after", seq=seq, limit=limit)]

    def audit_ends(self) -> tuple[Place, Place]:
        """Where the audit begins (the last line that was pruned) and where it ends, as on record."""
        return place_of(self.fact(AUDIT_BEGIN)), self._audit_end()

    def _audit_end(self) -> Place:
        return self._engine.memory.audit or place_of(self.fact(AUDIT_END))

    def prune_audit(self, before: int, most: int = 1000) -> int:
        """Removes the oldest lines, as far as they are older than `before`; the chain goes on from there.

        :param before: milliseconds since the epoch.
        :param most: lines at once, so that nobody waits long behind it: call again until it returns 0.
        :returns: how many were removed.
        """
        head = self._run("audit_head", limit=most)
        old = list(takewhile(lambda row: row["at"] < before, head))
        if old:
            last = old[-1]
            self.set_fact(AUDIT_BEGIN, asdict(Place(last["seq"], last["chain"])), before)
            self._put("prune_audit", seq=last["seq"])
        return len(old)

    def erase_audit(self, billing: str, service_id: str, deed: Deed) -> int:
        """Empties every line about a service, and adds one that says so: without it, `check` would take them
        for altered. Lines that tell an earlier erasure stay.

        :param deed: who erases it, when and why; its action is `service.erased`, whatever it says.
        :returns: how many lines were emptied.
        """
        service = {"billing": billing, "service_id": service_id}
        (found,) = self._run("erasable_audit", **service)
        told = {**deed.detail, "lines": found["count"], "first": found["first"] or 0}
        erasing = self.add_audit(deed._replace(action=ERASED, detail=told))
        self._put("erase_audit", **service, seq=erasing.seq)
        return int(found["count"])

    def count_erased(self, seq: int) -> tuple[int, int]:
        """How many lines this one has emptied of those that are left, and the first of them (0: none)."""
        (found,) = self._run("count_erased", seq=seq)
        return int(found["count"]), int(found["first"] or 0)

    def _page(
        self,
        table: str,
        columns: Sequence[str],
        allowed: set[str],
        limit: int,
        cursor: int | None,
        filters: Mapping[str, Any],
        clauses: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
    ) -> Sequence[tuple[Any, ...]]:
        """Rows of a list, newest first. Only the filters given become conditions, so that indexes serve."""
        given = {name: value for name, value in filters.items() if value not in (None, "")}
        if not given.keys() <= allowed:
            raise ValueError(f"{table} cannot be filtered by {sorted(given.keys() - allowed)}")
        where = [f"{name} = :{name}" for name in given] + list(clauses)
        if cursor is not None:
            where.append("seq < :cursor")
        condition = f"WHERE {' AND '.join(where)} " if where else ""
        sql = f"SELECT {', '.join(columns)} FROM {table} {condition}"  # noqa: S608 - fixed names
        sql += "ORDER BY seq DESC LIMIT :limit"
        bound = {**given, **(parameters or {}), "limit": limit}
        if cursor is not None:
            bound["cursor"] = cursor
        return self._engine.tuples(sql, bound)


def place_of(fact: Any) -> Place:
    """The place that a fact names; the chain's begin where there is none."""
    return Place(**fact) if fact else START


def _is_unknown(memo: str) -> bool:
    """Of as many creates as are under way, before each one: a memo without the word need not be read."""
    return '"unknown"' in memo and bool(_of_json(memo).get("unknown"))


def _has_text(*columns: str) -> str:
    """That one of these columns holds `:text`, whatever the case."""
    return " OR ".join(f"lower({column}) LIKE lower(:text) ESCAPE '\\'" for column in columns)


def _escape_like(text: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", text)


# What each word of a column means; an enumeration takes ten times as long to say it.
_KIND = {kind.value: kind for kind in Kind}
_STATE = {state.value: state for state in State}
_STATUS = {status.value: status for status in ServiceStatus}
_DELIVERY_STATE = {state.value: state for state in DeliveryState}
_KINDS: tuple[type[Any], ...] = (Service, Operation, Delivery)
_COLUMNS = {kind: itemgetter(*kind.__slots__) for kind in _KINDS}
_FIELDS = {kind: attrgetter(*kind.__slots__) for kind in _KINDS}
_EVENT_COLUMNS = itemgetter(*StoredEvent._fields)
_AUDIT_COLUMNS = itemgetter(*AuditLine._fields)


def _reads(read: Callable[[Row], T]) -> Callable[[Row], T]:
    """Has a row that cannot be read named; what it says may be a secret."""

    @wraps(read)
    def told(row: Row) -> T:
        try:
            return read(row)
        except (LookupError, TypeError, ValueError) as error:
            which = row.get("id") or f"{row.get('billing')}/{row.get('service_id')}"
            raise RowUnreadable(
                f"the {read.__name__.strip('_')} {which} cannot be read ({type(error).__name__}): its row is "
                "damaged, or a newer version wrote it"
            ) from error

    return told


def _known(kind: type[Any], row: Row) -> dict[str, Any]:
    """The columns that this version knows: a newer one on the same database may have added some."""
    return dict(zip(kind.__slots__, _COLUMNS[kind](row), strict=True))


def _fields(thing: Service | Operation | Delivery) -> dict[str, Any]:
    """Its fields by their names, as they are."""
    kind = type(thing)
    return dict(zip(kind.__slots__, _FIELDS[kind](thing), strict=True))


@_reads
def _event(row: Row) -> StoredEvent:
    return StoredEvent._make(_EVENT_COLUMNS(row))


def _audit_line(row: Row) -> AuditLine:
    return AuditLine._make(_AUDIT_COLUMNS(row))


def _of_json(text: str) -> Any:
    """What was written here: without the white space that `json.loads` looks for around it."""
    return _JSON.raw_decode(text)[0]


_JSON = json.JSONDecoder()
_in_json = json.JSONEncoder().encode  # without the arguments that `json.dumps` looks at


@lru_cache(maxsize=256)
def _texts_in_json(texts: tuple[str, ...]) -> str:
    """Most rows have none, or the few that were written before."""
    return _in_json(texts)


@lru_cache(maxsize=256)
def _spec(text: str) -> Spec | None:
    """Most services have one of a few."""
    return Spec(**_of_json(text)) if text else None


def _listed_service(row: tuple[Any, ...]) -> ListedService:
    *facts, status, spec, ips, ips_complete, locked = row
    read = _STATUS[status], _spec(spec), tuple(_of_json(ips)), bool(ips_complete), bool(locked)
    return ListedService._make((*facts, *read))


@_reads
def _service(row: Row) -> Service:
    return Service(
        **{
            **_known(Service, row),
            "status": _STATUS[row["status"]],
            "spec": _spec(row["spec"]),
            "config": _spec(row["config"]),
            "ips": tuple(_of_json(row["ips"])),
            "ips_complete": bool(row["ips_complete"]),
            "locked": bool(row["locked"]),
            "ran_before_suspend": None
            if row["ran_before_suspend"] is None
            else bool(row["ran_before_suspend"]),
        }
    )


def _service_row(service: Service) -> dict[str, Any]:
    ran = service.ran_before_suspend
    return {
        **_fields(service),
        "status": service.status.value,
        "spec": _in_json(service.spec.as_dict()) if service.spec else "",
        "config": _in_json(service.config.as_dict()) if service.config else "",
        "ips": _texts_in_json(service.ips),
        "ips_complete": int(service.ips_complete),
        "locked": int(service.locked),
        "ran_before_suspend": None if ran is None else int(ran),
    }


def _listed_operation(row: tuple[Any, ...]) -> ListedOperation:
    *facts, kind, state = row
    return ListedOperation._make((*facts, _KIND[kind], _STATE[state]))


@_reads
def _operation(row: Row) -> Operation:
    return Operation(
        **{
            **_known(Operation, row),
            "kind": _KIND[row["kind"]],
            "state": _STATE[row["state"]],
            "args": _of_json(row["args"]),
            "memo": _of_json(row["memo"]),
            "sent": bool(row["sent"]),
            "approvals": tuple(_of_json(row["approvals"])),
        }
    )


def _operation_row(operation: Operation) -> dict[str, Any]:
    return {
        **_fields(operation),
        "kind": operation.kind.value,
        "state": operation.state.value,
        "args": _in_json(operation.args),
        "memo": _in_json(operation.memo),
        "sent": int(operation.sent),
        "blocks": operation.blocks,
        "approvals": _texts_in_json(operation.approvals),
    }


@_reads
def _delivery(row: Row) -> Delivery:
    return Delivery(
        **{
            **_known(Delivery, row),
            "concludes": bool(row["concludes"]),
            "data": _of_json(row["data"]),
            "with_credentials": bool(row["with_credentials"]),
            "hooks_due": bool(row["hooks_due"]),
            "state": _DELIVERY_STATE[row["state"]],
        }
    )


def _delivery_row(delivery: Delivery) -> dict[str, Any]:
    return {
        **_fields(delivery),
        "concludes": int(delivery.concludes),
        "data": _in_json(delivery.data),
        "with_credentials": int(delivery.with_credentials),
        "hooks_due": int(delivery.hooks_due),
        "state": delivery.state.value,
    }
