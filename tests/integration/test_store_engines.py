"""One random sequence of verbs on both engines: every answer and what is left are the same.

DIFFERENTIAL_SEED=… repeats a run, DIFFERENTIAL_UNITS=… makes it longer.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from provisioner.delivery import Delivery, DeliveryState
from provisioner.errors import ProvisionerError
from provisioner.operation import Kind, Operation, State, TimelineEntry
from provisioner.service import Service, ServiceStatus, Spec
from provisioner.store import Store
from provisioner.store.postgres import PostgresStore
from provisioner.store.sqlite import SqliteStore
from provisioner.store.verbs import SealedCredentials, StoredEvent, Verbs
from tests.integration.store_conformance import (
    BIG,
    NOW,
    a_deed,
    a_delivery,
    a_service,
    an_event,
    an_operation,
)
from tests.postgres import TABLES, Postgres

UNITS = int(os.environ.get("DIFFERENTIAL_UNITS", "400"))
Args = dict[str, Any]


class Dice:
    """What verbs are given: few of everything, so that they meet, and now and then something unlikely."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def of(self, *choices: Any) -> Any:
        return self.rng.choice(choices)

    def billing(self) -> str:
        return str(self.of("shop", "shop", "shop", "other"))

    def service_id(self) -> str:
        return str(self.of("1", "2", "3", "4", "ä_%\\'\"", "Z", "z"))

    def operation(self) -> str:
        return f"op_{self.rng.randrange(12)}"

    def delivery(self) -> str:
        return f"msg_{self.rng.randrange(12)}"

    def event(self) -> str:
        return f"evt_{self.rng.randrange(8)}"

    def vmid(self) -> int:
        return int(self.of(4001, 4002, 4003, BIG))

    def at(self) -> int:
        return NOW + self.rng.randrange(-5, 6)

    def seq(self) -> int:
        return self.rng.randrange(0, 20)

    def limit(self) -> int:
        return int(self.of(1, 2, 100))

    def text(self) -> str:
        return str(
            self.of("", "a", "%", "_", "Ü\U0001f600", "back\\slash", "two\nlines", "vps", "VPS", "z'\"")
        )

    def flag(self) -> bool:
        return bool(self.of(True, False))

    def maybe(self, value: Any) -> Any:
        return self.of(None, value)

    # Rows

    def a_service(self) -> Service:
        return a_service(
            self.service_id(), billing=self.billing(), status=self.of(*ServiceStatus),
            vmid=self.maybe(self.vmid()), plan=self.of("vps-s", "VPS-L"),
            spec=self.maybe(Spec("Debian10.0", 1, BIG, "10G", 1)), hostname=self.text(),
            client_id=self.text(), ips=self.of((), ("192.0.2.1",), ("192.0.2.1", "::1")),
            locked=self.flag(), ran_before_suspend=self.of(None, True, False), updated_at=self.at(),
        )  # fmt: skip

    def an_operation(self) -> Operation:
        return an_operation(
            self.operation(), self.service_id(), billing=self.billing(), kind=self.of(*Kind),
            state=self.of(*State), step=self.of("begin", "lost", "follow"), memo={"text": self.text()},
            sent=self.flag(), attempts=self.of(0, 1), failures=self.of(0, 1), claims=self.of(0, 1, 2),
            next_run_at=self.at(), failing_since=self.maybe(self.at()), expires_at=self.maybe(self.at()),
            error_code=self.of("", "0xb0"), error_detail=self.text(), job_id=self.of("", "7", "8"),
            vmid=self.maybe(self.vmid()), created_at=self.at(), updated_at=self.at(),
        )  # fmt: skip

    def a_delivery(self) -> Delivery:
        return a_delivery(
            self.delivery(), self.service_id(), billing=self.billing(), operation=self.operation(),
            data={"text": self.text()}, with_credentials=self.flag(), sealed=self.of("", "sealed"),
            credentials_version=self.of("", "v1", "v2"), state=self.of(*DeliveryState),
            attempts=self.of(0, 1, 2), claims=self.of(0, 1), next_run_at=self.at(),
            failing_since=self.maybe(self.at()), last_error=self.text(), hooks_due=self.flag(),
            created_at=self.at(), updated_at=self.at(),
        )  # fmt: skip

    def an_event(self) -> StoredEvent:
        return an_event(
            self.event(), billing=self.billing(), webhook_id=self.event(),
            state=self.of("accepted", "rejected"), service_id=self.service_id(), body=self.text(),
            code=self.of("", "unknown_plan"), received_at=self.at(),
        )  # fmt: skip


def service(dice: Dice) -> Args:
    return {"billing": dice.billing(), "service_id": dice.service_id()}


def page(dice: Dice, **filters: Any) -> Args:
    given = {name: value for name, value in filters.items() if dice.flag()}
    return {"limit": dice.limit(), "cursor": dice.maybe(dice.seq()), **given}


def named(dice: Dice) -> Args:
    return {"name": dice.of("brake:create", "brake:suspend", "templates", "Z", "a", "ä")}


def claimed(dice: Dice) -> Args:
    now = dice.at()
    return {"now": now, "lease_until": now + dice.of(1, 5)}


def operations(dice: Dice) -> Args:
    return page(
        dice,
        state=dice.of(*State).value,
        kind=dice.of(*Kind).value,
        billing=dice.billing(),
        service_id=dice.service_id(),
        vmid=dice.vmid(),
    )


READS: Mapping[str, Callable[[Dice], Args]] = {
    "fact": named,
    "facts_among": lambda dice: {"names": ("paused", dice.of("brake:", "a", "Z"), dice.text())},
    "facts_like": lambda dice: {"prefix": dice.of("brake:", "a", "Z")},
    "event_by_webhook": lambda dice: {"billing": dice.billing(), "webhook_id": dice.event()},
    "event": lambda dice: {"event_id": dice.event()},
    "events": lambda dice: page(dice, state="rejected", billing=dice.billing()),
    "service": service,
    "service_by_vmid": lambda dice: {"vmid": dice.vmid()},
    "vmid_of_service": service,
    "services_with_vm": lambda dice: {},
    "owners_of_vms": lambda dice: {},
    "failed_services": lambda dice: {},
    "services": lambda dice: page(
        dice, text=dice.text(), ip=dice.of("", "192.0.2.1", "192.0.2."), status=dice.of(*ServiceStatus).value
    ),
    "count_services": lambda dice: {},
    "tombstones": service,
    "died_at": service,
    "tombstoned_since": lambda dice: {"since": dice.at()},
    "credentials": service,
    "all_credentials": lambda dice: {},
    "next_operation_at": lambda dice: {"now": dice.at()},
    "oldest_due_operation": lambda dice: {"now": dice.at()},
    "operation": lambda dice: {"operation_id": dice.operation()},
    "operations": operations,
    "listed_operations": operations,
    "operations_of_service": service,
    "open_operations_of_service": service,
    "last_operation_of_service": service,
    "open_operations_of_kind": lambda dice: {"kind": dice.of(*Kind)},
    "operations_of_job": lambda dice: {"job_id": dice.of("", "7", "8")},
    "open_terminates": lambda dice: {},
    "creates_in_doubt": lambda dice: {},
    "operations_that_made": lambda dice: {"vmid": dice.vmid()},
    "expired_operations": lambda dice: {"now": dice.at(), "limit": dice.limit()},
    "count_operations": lambda dice: {},
    "count_open_operations": lambda dice: {},
    "recent_operations": lambda dice: {"since": dice.at(), "limit": dice.limit()},
    "last_delivery_errors": lambda dice: {},
    "late_creates": lambda dice: {"before": dice.at(), "limit": dice.limit()},
    "count_due_operations": lambda dice: {"now": dice.at()},
    "count_error_codes": lambda dice: {"state": dice.of(*State)},
    "timeline": lambda dice: {"operation_id": dice.operation()},
    "deliveries_to_fetch": lambda dice: {"billing": dice.billing(), "limit": dice.limit()},
    "oldest_waiting_delivery": lambda dice: {"billing": dice.billing()},
    "next_delivery_at": lambda dice: {"now": dice.at()},
    "oldest_due_delivery": lambda dice: {"now": dice.at()},
    "delivery": lambda dice: {"delivery_id": dice.delivery()},
    "deliveries_of_operation": lambda dice: {"operation_id": dice.operation()},
    "sealed_deliveries": lambda dice: {},
    "waiting_deliveries_with_credentials": lambda dice: {},
    "is_latest": lambda dice: {"delivery": dice.a_delivery()},
    "mark": lambda dice: {"subject": dice.operation(), "name": "mail"},
    "count_deliveries": lambda dice: {},
    "count_due_deliveries": lambda dice: {"now": dice.at()},
    "waiting_deliveries_by_billing": lambda dice: {"before": dice.at(), "watched": dice.at()},
    "given_up_deliveries_by_billing": lambda dice: {"since": dice.at()},
    "events_above": lambda dice: {"above": dice.seq(), "limit": dice.limit()},
    "events_of_service": service,
    "deliveries_above": lambda dice: {"above": dice.seq(), "limit": dice.limit()},
    "operations_above": lambda dice: {"above": dice.seq(), "limit": dice.limit()},
    "has_passed": lambda dice: {"kind": Kind.CREATE, "operation_id": dice.operation()},
    "count_passages": lambda dice: {"kind": Kind.CREATE, "since": dice.at()},
    "audit": lambda dice: page(
        dice, since=dice.at(), until=dice.at(), actor="admin:anna", billing="shop", service_id="1", vmid=4001
    ),
    "audit_line": lambda dice: {"seq": dice.seq()},
    "audit_after": lambda dice: {"seq": dice.seq(), "limit": dice.limit()},
    "audit_ends": lambda dice: {},
    "count_erased": lambda dice: {"seq": dice.seq()},
}

WRITES: Mapping[str, Callable[[Dice], Args]] = {
    "keep_audit_end": lambda dice: {},
    "set_fact": lambda dice: {**named(dice), "value": [dice.text(), None, BIG], "now": dice.at()},
    "drop_fact": named,
    "add_event": lambda dice: {"event": dice.an_event()},
    "add_service": lambda dice: {"service": dice.a_service()},
    "save_service": lambda dice: {"service": dice.a_service()},
    "add_tombstone": lambda dice: {"service": dice.a_service(), "vmid": dice.vmid(), "now": dice.at()},
    "keep_credentials": lambda dice: {
        **service(dice), "credentials": SealedCredentials(dice.of("v1", "v2"), dice.text()),
    },
    "erase_credentials": lambda dice: {**service(dice), "version": dice.of("v1", "v2")},
    "drop_credentials": service,
    "forget_given_up_credentials": service,
    "forget_older_credentials": lambda dice: {"delivery": replace(dice.a_delivery(), seq=dice.seq())},
    "add_operation": lambda dice: {"operation": dice.an_operation()},
    "save_operation": lambda dice: {"operation": dice.an_operation(), "fence": dice.of(0, 1, 2, 3)},
    "move_behind": lambda dice: {"operation_id": dice.operation()},
    "claim_operation": claimed,
    "claim_look": claimed,
    "release_leases": lambda dice: {"now": dice.at()},
    "forgive_pause": lambda dice: {"paused_at": dice.at(), "now": NOW + 9},
    "add_timeline": lambda dice: {
        "operation_id": dice.operation(),
        "entry": TimelineEntry(dice.at(), dice.of("retried", "approved it", "x"), {"n": dice.text()}, "a:b"),
    },
    "add_delivery": lambda dice: {"delivery": dice.a_delivery()},
    "claim_delivery": claimed,
    "park_deliveries": lambda dice: {"billing": dice.billing(), "now": dice.at(), "most_ms": dice.of(1, 9)},
    "release_deliveries": lambda dice: {"billing": dice.billing(), "now": dice.at()},
    "take_delivery": lambda dice: {"billing": dice.billing(), "delivery_id": dice.delivery()},
    "claim_hooks": claimed,
    "save_delivery": lambda dice: {"delivery": dice.a_delivery(), "fence": dice.of(0, 1, 2)},
    "set_mark": lambda dice: {
        "subject": dice.operation(), "name": "mail", "value": dice.of("", "begun", "done"), "now": dice.at(),
    },
    "empty_events": lambda dice: {"above": dice.seq(), "last": dice.seq()},
    "delete_events": lambda dice: {"last": dice.of(0, 1, 2)},
    "erase_event": lambda dice: {"event_id": dice.event()},
    "empty_deliveries": lambda dice: {"above": dice.seq(), "last": dice.seq()},
    "delete_deliveries": lambda dice: {"last": dice.of(0, 1, 2)},
    "erase_delivery": lambda dice: {"delivery_id": dice.delivery()},
    "erase_operation": lambda dice: {"operation": dice.an_operation()},
    "drop_timeline": lambda dice: {"operation_id": dice.operation()},
    "drop_marks_of": lambda dice: {"subject": dice.operation()},
    "drop_marks_before": lambda dice: {"before": NOW - 4},
    "drop_passages_before": lambda dice: {"before": NOW - 4},
    "add_passage": lambda dice: {"kind": Kind.CREATE, "operation_id": dice.operation(), "now": dice.at()},
    "drop_passages": lambda dice: {"kind": Kind.SUSPEND},
    "add_audit": lambda dice: {"deed": a_deed(dice.at(), service_id=dice.service_id(), reason=dice.text())},
    "prune_audit": lambda dice: {"before": NOW - 4, "most": 2},
    "erase_audit": lambda dice: {**service(dice), "deed": a_deed(dice.at(), service_id="9")},
}  # fmt: skip

OFTEN = ("add_service", "add_operation", "add_delivery", "add_event", "save_service", "claim_operation")


@dataclass(frozen=True, slots=True)
class Call:
    verb: str
    args: Args

    def on(self, verbs: Verbs) -> Any:
        return getattr(verbs, self.verb)(**self.args)


def calls(dice: Dice) -> list[Call]:
    """A unit: a few verbs that write and read in one transaction."""
    names = [
        dice.of(*WRITES, *OFTEN * 3) if dice.flag() else dice.of(*READS) for _ in range(dice.of(1, 1, 2, 4))
    ]
    return [Call(name, {**READS, **WRITES}[name](dice)) for name in names]


def answers(store: Store, unit: list[Call]) -> Any:
    """What the unit answered, or what it broke; alone in its words are the engines different."""
    try:
        return store.write(lambda verbs: [call.on(verbs) for call in unit])
    except (ProvisionerError, LookupError, ValueError) as error:
        return type(error).__name__
    except (sqlite3.IntegrityError, psycopg.IntegrityError):
        return "IntegrityError"


def left(rows: Callable[[str], list[dict[str, Any]]]) -> dict[str, list[Any]]:
    return {table: sorted(map(repr, (sorted(row.items()) for row in rows(table)))) for table in TABLES}


@pytest.fixture
def engines(tmp_path: Path, postgres: Postgres) -> Iterator[tuple[Store, Store]]:
    with (
        closing(SqliteStore(tmp_path / "provisioner.db")) as embedded,
        closing(PostgresStore(postgres.empty())) as shared,
    ):
        yield embedded, shared


def rows_of(store: Store) -> Callable[[str], list[dict[str, Any]]]:
    def rows(table: str) -> list[dict[str, Any]]:
        found = store.read(lambda verbs: verbs._engine.run(f"SELECT * FROM {table}", {}))
        return [dict(row) for row in found]

    return rows


def test_every_verb_is_compared() -> None:
    verbs = {name for name in vars(Verbs) if not name.startswith("_")}
    assert verbs == READS.keys() | WRITES.keys()


def test_engines_agree(engines: tuple[Store, Store]) -> None:
    seed = int(os.environ.get("DIFFERENTIAL_SEED", random.SystemRandom().randrange(10**9)))
    dice, done = Dice(seed), 0
    for number in range(UNITS):
        unit = calls(dice)
        embedded, shared = (answers(store, unit) for store in engines)
        assert embedded == shared, f"DIFFERENTIAL_SEED={seed}, unit {number}: {unit}"
        done += isinstance(embedded, list)
    assert done > UNITS / 4, "nearly everything was refused: nothing was compared"
    for one, other in zip(*(left(rows_of(store)).items() for store in engines), strict=True):
        assert one == other, f"DIFFERENTIAL_SEED={seed}: {one[0]}"
