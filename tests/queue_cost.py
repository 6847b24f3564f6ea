"""What the queue costs with many services, on both engines: `python -m tests.queue_cost 10000 100000`.

Each service has an order that has ended and was told; one in a hundred has an operation that waits for its
time, and a hundred more are due. No test, for its figures are one machine's: docs/scaling.md has some.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from provisioner.delivery import DeliveryState
from provisioner.operation import Kind, Operation, State
from provisioner.store import Store
from provisioner.store.copy import AT_ONCE, _insert
from provisioner.store.postgres import PostgresStore
from provisioner.store.sqlite import SqliteStore
from provisioner.store.verbs import _delivery_row, _operation_row, _service_row
from tests.integration.store_conformance import NOW, a_delivery, a_service, an_operation
from tests.postgres import Postgres

HOUR_MS = 3_600_000
DUE = 100
TIMES = 200
Rows = Iterator[dict[str, Any]]


def services(count: int) -> Rows:
    for number in range(count):
        yield {**_service_row(a_service(str(number), vmid=number, ips=("192.0.2.1",))), "seq": number}


def operations(count: int) -> Rows:
    """In the order in which they came: ended ones, then those that wait, then those that are due."""
    for number in range(count):
        ended = an_operation(
            f"op_{number}", str(number), kind=Kind.CREATE, state=State.SUCCEEDED, vmid=number
        )
        yield _row(ended, number)
    waits = {"state": State.WAITING, "next_run_at": NOW + HOUR_MS}
    for number in range(count // 100):
        yield _row(an_operation(f"wait_{number}", str(number * 100), **waits), count + number)
    for number in range(DUE):
        yield _row(an_operation(f"due_{number}", str(number * 100 + 1)), 2 * count + number)


def _row(operation: Operation, seq: int) -> dict[str, Any]:
    return {**_operation_row(operation), "seq": seq}


def deliveries(count: int) -> Rows:
    for number in range(count):
        told = a_delivery(f"msg_{number}", str(number), operation=f"op_{number}", state=DeliveryState.DONE)
        yield {**_delivery_row(told), "seq": number}


TABLES: Mapping[str, Callable[[int], Rows]] = {
    "services": services,
    "operations": operations,
    "deliveries": deliveries,
}


def fill(store: Store, count: int) -> None:
    for table, rows_of in TABLES.items():
        rows = rows_of(count)
        while piece := list(islice(rows, AT_ONCE)):
            sql, parameters = _insert(table, piece)
            store.write(lambda verbs, sql=sql, parameters=parameters: verbs._engine.put(sql, parameters))  # type: ignore[misc]


def median_ms(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def measure(store: Store) -> dict[str, float]:
    """In milliseconds, each the median of its times."""
    moment = iter(range(TIMES + 1))

    def claim() -> None:  # the one that has been due longest, again and again: its lease is over at once
        now = NOW + next(moment)
        assert store.write(lambda verbs: verbs.claim_operation(now, now)) is not None

    return {
        "claim": median_ms(claim),
        "empty look": median_ms(lambda: store.write(lambda verbs: verbs.claim_operation(0, 0))),
        "when is the next": median_ms(lambda: store.read(lambda verbs: verbs.next_operation_at(NOW))),
        "first page": median_ms(lambda: store.read(lambda verbs: verbs.operations(100, None))),
        "page of one service": median_ms(
            lambda: store.read(lambda verbs: verbs.operations(100, None, billing="shop", service_id="7"))
        ),
    }


def megabytes_of(store: Store) -> float:
    if isinstance(store, SqliteStore):
        return sum(path.stat().st_size for path in store.path.parent.glob("*.db*")) / 2**20
    sql = "SELECT pg_database_size(current_database()) AS size"
    return int(store.read(lambda verbs: verbs._engine.run(sql, {})[0]["size"])) / 2**20


def report(name: str, count: int, store: Store) -> None:
    began = time.perf_counter()
    fill(store, count)
    store.write(lambda verbs: verbs._engine.put("ANALYZE", {}))
    filled_s = time.perf_counter() - began
    figures = " ".join(f"{what}: {ms:.2f} ms;" for what, ms in measure(store).items())
    print(f"{name} {count}: {megabytes_of(store):.0f} MB, filled in {filled_s:.0f} s; {figures}", flush=True)


def main() -> None:
    with closing(Postgres()) as postgres:
        for count in map(int, sys.argv[1:]):
            with (
                tempfile.TemporaryDirectory() as folder,
                closing(SqliteStore(Path(folder) / "a.db")) as store,
            ):
                report("SQLite", count, store)
            with closing(PostgresStore(postgres.database())) as shared:
                report("PostgreSQL", count, shared)


if __name__ == "__main__":
    main()
