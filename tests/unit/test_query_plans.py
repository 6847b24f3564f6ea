"""What is asked again and again costs the same however many rows there are: the plans say so, not a clock."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from provisioner.operation import State
from provisioner.store import migrate
from provisioner.store.verbs import QUERIES, Verbs

# Asked by dispatchers, ticks, acceptance and pages: at every moment, whatever is in the store.
OFTEN = (
    "claim_operation", "claim_look", "next_operation_at", "claim_delivery", "next_delivery_at",
    "expired_operations", "creates_in_doubt", "late_creates", "open_terminates", "oldest_due_operation",
    "oldest_due_delivery", "event_by_webhook", "service", "service_by_vmid", "open_operations_of_service",
    "last_operation_of_service", "operation", "timeline", "fact", "facts_among", "mark", "audit_line",
    "count_open_operations",
)  # fmt: skip
LISTS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("operations", {}),
    ("operations", {"state": State.HELD.value}),
    ("operations", {"billing": "shop"}),
    ("operations", {"billing": "shop", "service_id": "1"}),
    ("operations", {"vmid": 4001}),
    ("services", {}),
    ("services", {"status": "active"}),
    ("services", {"billing": "shop"}),
    ("events", {}),
    ("events", {"state": "rejected"}),
    ("events", {"billing": "shop"}),
    ("audit", {}),
    ("audit", {"vmid": 4001}),
    ("audit", {"actor": "admin:anna"}),
    ("audit", {"billing": "shop", "service_id": "1"}),
)
WHOLE_TABLE = re.compile(r"SCAN (?!.*USING (COVERING )?INDEX)|SCAN .*(autoindex_\w+_1)\b|USE TEMP B-TREE")
PLACED = re.compile(r"SCAN (operations|services|events|audit) USING INDEX sqlite_autoindex_\1_[12]$")


class Plans:
    """An engine that keeps how each statement would be carried out."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:")
        for statement in migrate.create():
            self.connection.execute(statement)
        self.steps: list[str] = []

    def run(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Any]:
        self.steps += [row[3] for row in self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
        return []

    tuples = run


@pytest.fixture
def plans() -> Iterator[Plans]:
    made = Plans()
    yield made
    made.connection.close()


@pytest.mark.parametrize("name", OFTEN)
def test_what_is_asked_often_looks_at_no_whole_table(plans: Plans, name: str) -> None:
    sql = re.sub(r"^--.*$", "", QUERIES[name], flags=re.MULTILINE)
    plans.run(sql, dict.fromkeys(re.findall(r"(?<!:):([a-z]\w*)", sql), 1))
    assert plans.steps
    assert [step for step in plans.steps if WHOLE_TABLE.search(step)] == []


@pytest.mark.parametrize(("table", "filters"), LISTS)
@pytest.mark.parametrize("cursor", [None, 1000])
def test_page_of_a_list_is_read_in_its_order(
    plans: Plans, table: str, filters: Mapping[str, Any], cursor: int | None
) -> None:
    """Newest first along an index: a page reads its rows and no more, nothing is sorted."""
    getattr(Verbs(plans), table)(100, cursor, **filters)
    assert plans.steps
    for step in plans.steps:
        assert step.startswith("SEARCH") or (not filters and PLACED.match(step)), step
