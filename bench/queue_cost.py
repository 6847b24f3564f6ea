"""What the queue costs with many services, on both engines: `python -m bench.queue_cost 10000 1000000`.

Filling a store of a million services takes a quarter of an hour and 7 GB on each engine, so `python -m bench`
has two smaller ones.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psutil
import psycopg

from bench.lived import Shape, fill
from bench.report import Goal, Table
from provisioner.sandbox import BillingStub, Sandbox, SandboxServer
from provisioner.store import Store
from provisioner.store.postgres import PostgresStore
from provisioner.store.sqlite import SqliteStore, wall_clock
from tests.conftest import BILLING_SECRET, Clock, World, tables
from tests.postgres import Postgres

SIZES = (10_000, 100_000)
DUE = 100
TIMES = 100  # of each in each round
FLAT = 2.0  # times as long with ten times the rows, or more, still counts as flat: a level more of each index
JOBS_A_YEAR = 12  # of each service: its order, and what its customer has done with it
YEAR_S = 365 * 86_400
BUILD_S = 90.0  # how long the upstream takes for one
SPREAD_S = 3.0  # give or take so much, as a normal distribution has it
BUILDS = 24  # from the first half of which is learnt
POLLS_S = (5, 60)  # `job_poll`: its default, and what serves as well where builds take so long
AGAINST = (
    "Each service has had an order carried out and told, with all that is kept of it; one in a hundred waits "
    f"in a termination's grace, and {DUE} orders are due. Times are processor milliseconds, of the service "
    "and of the database together, the median of the rounds; what a disk or a line adds is not in them. A "
    "page is {page} operations with all that is in them."
)
PAGE = 100


def measure(seconds: float, rounds: int, sizes: Iterable[int] = SIZES) -> Table:
    """:param seconds: not needed: each is done so many times."""
    del seconds
    looks = [looks_for_each_job(poll_s) for poll_s in POLLS_S]
    with filled(sizes) as queues:
        for _ in range(rounds):
            for queue in queues:
                queue.measure()
        rows = tuple(queue.row(looks) for queue in queues)
    columns = ("services", "engine", "rows", "tables, MB", "indexes, MB", *ASKED, "looks at jobs each second")
    notes = (
        f"Looks at jobs: for {JOBS_A_YEAR} jobs a year of each service, which take the upstream "
        f"{BUILD_S:.0f} s give or take {SPREAD_S:.0f} s; that is known after some, and each is then "
        f"looked at {looks[0]:.1f} times with `job_poll = {POLLS_S[0]}`, which is the default, and "
        f"{looks[1]:.1f} times with `job_poll = {POLLS_S[1]}`.",
    )
    against = AGAINST.format(page=PAGE)
    return Table("The queue", against, columns, rows, (flatness(queues),), notes)


ASKED: tuple[str, ...] = ("claim", "look in vain", "when is the next", "page", "page of one service")


@dataclass(slots=True)
class Queue:
    """One filled store.

    :param processor_s: the processor time that it has taken so far, of the service and the database.
    :param sizes: of its tables and its indexes, in bytes.
    """

    services: int
    engine: str
    store: Store
    processor_s: Callable[[], float]
    sizes: Callable[[], tuple[int, int]]
    found: dict[str, list[float]] = field(default_factory=dict)
    moments: Iterator[int] = field(default_factory=lambda: count(wall_clock()))

    def measure(self) -> None:
        """One round."""
        for name, work in self._asked().items():
            work()
            began_s = self.processor_s()
            for _ in range(TIMES):
                work()
            self.found.setdefault(name, []).append((self.processor_s() - began_s) / TIMES * 1000)

    def _asked(self) -> Mapping[str, Callable[[], object]]:
        read, write = self.store.read, self.store.write

        def claim() -> None:  # the one that has been due longest, again and again: its lease is over at once
            now = next(self.moments)
            if write(lambda verbs: verbs.claim_operation(now, now)) is None:
                raise RuntimeError("there was nothing to claim")

        works: tuple[Callable[[], object], ...] = (
            claim,
            lambda: write(lambda verbs: verbs.claim_operation(0, 0)),
            lambda: read(lambda verbs: verbs.next_operation_at(next(self.moments))),
            lambda: read(lambda verbs: verbs.operations(PAGE, None)),
            lambda: read(lambda verbs: verbs.operations(PAGE, None, billing="shop", service_id="7000007")),
        )
        return dict(zip(ASKED, works, strict=True))

    def median(self, name: str) -> float:
        return statistics.median(self.found[name])

    def row(self, looks: list[float]) -> tuple[str, ...]:
        """:param looks: at each job, with each of `POLLS_S`."""
        rows = self.store.read(
            lambda verbs: sum(
                verbs._engine.run(f"SELECT count(*) AS count FROM {table}", {})[0]["count"]
                for table in ("services", "operations", "timeline", "events", "deliveries", "audit")
            )
        )
        in_tables, in_indexes = self.sizes()
        return (
            f"{self.services:,}",
            self.engine,
            f"{rows:,}",
            f"{in_tables / 2**20:,.0f}",
            f"{in_indexes / 2**20:,.0f}",
            *(f"{self.median(name):.2f}" for name in ASKED),
            " or ".join(f"{self.services * JOBS_A_YEAR / YEAR_S * one:.2f}" for one in looks),
        )


def flatness(queues: list[Queue]) -> Goal:
    """Of the largest against the smallest of each engine."""
    growth = {
        f"{engine}, {name}": sized[-1].median(name) / sized[0].median(name)
        for engine in ("SQLite", "PostgreSQL")
        for name in ASKED
        if (sized := [queue for queue in queues if queue.engine == engine])
    }
    steepest = max(growth, key=lambda name: growth[name])
    return Goal(
        f"less than {FLAT:.0f} times as long with the most services as with the fewest",
        f"{steepest}: {growth[steepest]:.2f} times",
        growth[steepest] < FLAT,
    )


@contextmanager
def filled(sizes: Iterable[int]) -> Iterator[list[Queue]]:
    """A store of each size on each engine."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        postgres = stack.enter_context(closing(Postgres()))
        queues = []
        for size in sizes:
            small = stack.enter_context(closing(SqliteStore(folder / f"{size}.db")))
            shared = stack.enter_context(closing(PostgresStore(url := postgres.database())))
            for store in (small, shared):
                fill(store, Shape(size, size // 100, DUE), wall_clock())
            with psycopg.connect(url, autocommit=True) as connection:  # as it does by itself, later
                connection.execute("VACUUM ANALYZE")
            queues += [
                Queue(size, "SQLite", small, time.process_time, lambda store=small: sqlite_sizes(store)),  # type: ignore[misc]
                Queue(
                    size, "PostgreSQL", shared,
                    lambda store=shared: time.process_time() + backends_s(store),  # type: ignore[misc]
                    lambda store=shared: postgres_sizes(store),  # type: ignore[misc]
                ),
            ]  # fmt: skip
        yield queues


def sqlite_sizes(store: Store) -> tuple[int, int]:
    sql = (
        "SELECT s.type AS type, sum(d.pgsize) AS size FROM dbstat d JOIN sqlite_schema s ON s.name = d.name"
        " GROUP BY s.type"
    )
    found = {row["type"]: row["size"] for row in store.read(lambda verbs: verbs._engine.run(sql, {}))}
    return found["table"], found["index"]


def postgres_sizes(store: Store) -> tuple[int, int]:
    sql = (
        "SELECT sum(pg_table_size(relid))::bigint AS tables, sum(pg_indexes_size(relid))::bigint AS indexes"
        " FROM pg_stat_user_tables"
    )
    (found,) = store.read(lambda verbs: verbs._engine.run(sql, {}))
    return found["tables"], found["indexes"]


def backends_s(store: Store) -> float:
    """The processor time of the processes that serve this store's connections, in seconds."""
    sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = :kind"
    rows = store.read(lambda verbs: verbs._engine.run(sql, {"kind": "client backend"}))
    return sum(sum(psutil.Process(row["pid"]).cpu_times()[:2]) for row in rows)


def looks_for_each_job(poll_s: int) -> float:
    """How often the service looks at a job of the upstream's, once it has seen some."""
    clock, dice = Clock(), random.Random(7)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(SandboxServer(Sandbox(clock))) as upstream,
        closing(BillingStub([BILLING_SECRET], clock=clock)) as billing,
    ):
        settings = tables(upstream.base_url, billing.callback_url)
        settings["upstream"]["job_poll"] = poll_s
        settings["safety"] = {"max_creates_per_hour": 0}
        world = World(Path(folder), clock, upstream, billing, settings)
        with closing(world.app):
            for number in range(BUILDS):
                if number == BUILDS // 2:
                    before = looks_at(world)
                world.sandbox.settings(job_executing=dice.gauss(BUILD_S, SPREAD_S))
                world.done(world.order(str(number)))
            return (looks_at(world) - before) / (BUILDS - BUILDS // 2)


def looks_at(world: World) -> int:
    return sum(call["method"] == "GET" and "/job/" in call["path"] for call in world.sandbox.calls())


if __name__ == "__main__":
    tempfile.tempdir = os.environ["TMPDIR"] = "/var/tmp"
    print(measure(0, 3, tuple(map(int, sys.argv[1:])) or SIZES).markdown())
