"""A store that has been lived in: three services have their orders carried out, and are then multiplied.

So the rows are as long as they are in life, and are made in the database, at its own pace. Of so many
services the most have an order that has ended and was told, some wait besides in a termination's grace, and
the last ones have just ordered.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provisioner.sandbox import BillingStub, Sandbox, SandboxServer
from provisioner.store import Store
from provisioner.store.verbs import AUDIT_END, Row, Verbs
from tests.conftest import BILLING_SECRET, Clock, World, tables

DONE, WAITING, DUE = "7000000", "8000000", "9000000"  # the service ids, of one length whatever is added
AT_ONCE = 5_000  # services in one statement: a node gives a statement up that takes long
APART_MS = 10_000  # between two orders
HOUR_MS = 3_600_000
TABLES: Mapping[str, str] = {  # each table with what tells whose a row is; a service comes before what it has
    "services": "service_id",
    "operations": "service_id",
    "timeline": "operation",
    "events": "service_id",
    "deliveries": "service_id",
    "audit": "service_id",
}
MARKS = (DONE, WAITING, DUE)
TEACHING = ("1", "2", "3")  # the services before, from which is learnt how long an order takes
NAMED = re.compile(r"\b(op_|evt_|msg_|cred_|evt-)([0-9a-f]+)\b")
FAR = 10_000_000  # between the VMs and jobs of one kind of service and the next
MOMENTS = frozenset({"at", "created_at", "updated_at", "received_at"})


@dataclass(frozen=True, slots=True)
class Shape:
    """How many services there are, and how many of them have something to do.

    :param waiting: those that are in a termination's grace.
    :param due: those that have ordered, and nobody has begun.
    """

    services: int
    waiting: int
    due: int

    @property
    def counts(self) -> dict[str, int]:
        return {DONE: self.services - self.waiting - self.due, WAITING: self.waiting, DUE: self.due}


def fill(store: Store, shape: Shape, now: int) -> None:
    """Fills an empty store.

    :param now: milliseconds since the epoch, before which all has happened; what waits does so from then on.
    """
    lives, facts = _lives()
    first = dict.fromkeys(TABLES, 1)
    for service, count in shape.counts.items():
        for table, rows in lives[service].items():
            for begin in range(0, count, AT_ONCE):
                block = _Block(begin, min(begin + AT_ONCE, count) - 1, now - shape.services * APART_MS, now)
                for place, row in enumerate(rows):
                    store.write(_copying(table, row, block, f"{first[table] + place} + i * {len(rows)}"))
            first[table] += len(rows) * count
    end = {"seq": first["audit"] - 1, "chain": lives[DUE]["audit"][-1]["chain"]}
    store.write(lambda verbs: _keep(verbs, {**facts, AUDIT_END: end, "greatest_job": str(10**12)}, now))


def _keep(verbs: Verbs, facts: Mapping[str, Any], now: int) -> None:
    for name, value in facts.items():
        verbs.set_fact(name, value, now)


@dataclass(frozen=True, slots=True)
class _Block:
    """Some services by their numbers, from the first to the last; the very first ordered at `began_at`."""

    first: int
    last: int
    began_at: int
    now: int


def _copying(table: str, row: Row, block: _Block, seq: str) -> Callable[[Verbs], object]:
    """What copies a row for each service of a block; `seq` is an expression in `i`, the service's number."""
    parameters: dict[str, Any] = {"first": block.first, "last": block.last}
    later_ms = HOUR_MS if row.get("state") == "waiting" else -HOUR_MS
    values = [
        seq if name == "seq" else _value(name, value, block, later_ms, parameters)
        for name, value in row.items()
    ]
    sql = (
        f"INSERT INTO {table} ({', '.join(row)})"
        " WITH RECURSIVE n(i) AS"
        " (SELECT CAST(:first AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < :last)"
        f" SELECT {', '.join(values)} FROM n"
    )
    return lambda verbs: verbs._engine.put(sql, parameters)


def _value(name: str, value: Any, block: _Block, later_ms: int, parameters: dict[str, Any]) -> str:
    """The expression for a column, with its parameter where it has one."""
    if name in ("vmid", "job_id") and value:
        number = f"CAST({value} AS BIGINT) * {FAR} + i"
        return f"CAST({number} AS TEXT)" if name == "job_id" else number
    if name in MOMENTS:
        return f"{block.began_at} + i * {APART_MS}"
    if name == "next_run_at":
        return f"{block.now + later_ms} + i"
    parameters[name] = value
    if not isinstance(value, str):
        return f"CAST(:{name} AS BIGINT)"
    for mark in MARKS:
        if mark in value:
            return f"replace(CAST(:{name} AS TEXT), '{mark}', CAST({mark} + i AS TEXT))"
    return f"CAST(:{name} AS TEXT)"


Lives = dict[str, dict[str, list[Row]]]


def _lives() -> tuple[Lives, dict[str, Any]]:
    """The rows of each of the three services by their table, and what was learnt meanwhile."""
    clock = Clock()
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(SandboxServer(Sandbox(clock))) as upstream,
        closing(BillingStub([BILLING_SECRET], clock=clock)) as billing,
    ):
        settings = tables(upstream.base_url, billing.callback_url)
        world = World(Path(folder), clock, upstream, billing, settings)
        with closing(world.app):
            for service in (*TEACHING, DONE, WAITING):
                world.done(world.order(service, client={"id": "7"}))
            world.event("service.terminate", WAITING)
            world.run(60)
            world.order(DUE, client={"id": "7"})
            return world.app.store.read(_read)


def _read(verbs: Verbs) -> tuple[Lives, dict[str, Any]]:
    lives: Lives = {}
    for service in MARKS:
        ids = {operation.id for operation in verbs.operations_of_service("shop", service)} | {service}
        names: dict[str, str] = {}
        lives[service] = {
            table: [
                _renamed(row, service, names)
                for row in verbs._engine.run(f"SELECT * FROM {table} ORDER BY 1, 2", {})
                if row[whose] in ids
            ]
            for table, whose in TABLES.items()
        }
    return lives, verbs.facts_like("job:") | verbs.facts_like("took:")


def _renamed(row: Row, service: str, names: dict[str, str]) -> Row:
    """A row with ids that hold the service's number, so that each copy has its own."""

    def rename(found: re.Match[str]) -> str:
        room = max(len(found[2]) - len(service), 1)
        return names.setdefault(found[0], f"{found[1]}{len(names):0{room}}{service}")

    return {
        name: NAMED.sub(rename, value) if isinstance(value, str) else value for name, value in row.items()
    }
