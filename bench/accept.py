"""Accepting: durable webhooks a second over HTTP, against less than that and against what others write."""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from bench.load import Webhooks
from bench.redis_server import RedisServer
from bench.report import Goal, Table
from bench.rivals import Place
from bench.served import Cell, Served, folder_in
from bench.wsgi import IN_LOOP, NO_OP, OURS, RIVALS, SECRET, VERIFIES, rival
from provisioner.web.server import THREADS
from tests.postgres import Postgres

CONNECTIONS = (32, 64)
WITH_HOSTNAME = "ours_with_hostname"
TITLES: Mapping[str, str] = {
    NO_OP: "(a) a Flask view that does nothing",
    VERIFIES: "(b) verifies the signature, keeps nothing",
    IN_LOOP: "the same without a thread, as ours",
    OURS: "**provisioner**",
    WITH_HOSTNAME: "provisioner, orders with a hostname (two operations each)",
    "sqlite_per_request": "(c) sqlite3, a connection for each request",
    "sqlite_per_thread": "(c) sqlite3, a connection for each thread",
    "huey_sqlite": "(c) Huey, SQLite with fsync",
    "celery_redis": "(c) Celery, Redis with appendfsync always",
    "rq_redis": "(c) RQ, Redis with appendfsync always",
    "procrastinate_postgres": "(c) procrastinate, PostgreSQL",
}
OF_VERIFYING, OF_BEST = 0.80, 1.5

AGAINST = (
    "Signed `order.paid` events of about 1,060 bytes, each of another order, posted over 32 and 64 "
    "keep-alive connections, one request at a time on each. All are served by waitress as `provisioner "
    f"serve` sets it up, with {THREADS} threads, in one process each, one after the other; all but (a) "
    "verify the signature with the same code, and all but (a) and (b) have the event on the disk before "
    "they answer 202. Ours is the service as `serve` wires it on a SQLite file, its worker not started, as "
    "none of the others has one at work either."
)
NOTES = (
    "Ours holds no thread while its commit is under way ([decision 17](decisions/0017-an-event-holds-no-"
    "thread.md)); a view as somebody else writes it has one, and so has (b). The row below it is (b) with "
    "that done for it, too.",
    "The program that posts shares the machine's cores with what it measures; it takes about as much of "
    "them for each contestant, so a contestant that is fast is slowed down most.",
    "*CPU* is the processor time of the contestant's own process for each webhook; that of Redis and "
    "PostgreSQL is not in it.",
    "What others write only keeps the event. Ours judges it, knows its service, puts the operation behind "
    "the service's others and writes timeline and audit, all in the same commit.",
    "(c): sqlite3 with WAL and `synchronous = FULL`; Huey `fsync=True, results=False`; Celery with a "
    "connection for each thread and no results; RQ as it is; procrastinate with a connection for each "
    "thread, on PostgreSQL with `synchronous_commit = on`. That each syncs, refuses a forged signature and "
    "has kept every event that it answered is looked at in the run.",
)


Round = Mapping[tuple[str, int], Cell]


def measure(seconds: float, rounds: int) -> Table:
    """See the package. A cell is one contestant with 32 or 64 connections."""
    with contestants() as field:
        field.warm()
        found = [field.round(seconds) for _ in range(rounds)]
        field.check()
    rows = tuple(_row(name, found) for name in TITLES)
    return Table("Accepting", AGAINST, _columns(), rows, tuple(_goals(found)), NOTES)


class Field:
    """All contestants, each listening."""

    def __init__(self, places: Mapping[str, Place], served: Mapping[str, Served]) -> None:
        self._places = places
        self._served = {**served, WITH_HOSTNAME: served[OURS]}
        self._webhooks = dict.fromkeys(served, Webhooks(SECRET))
        self._webhooks[WITH_HOSTNAME] = Webhooks(SECRET, hostname=True)

    def warm(self) -> None:
        for name in TITLES:
            (forged,) = self._webhooks[name].take(1)
            if name != NO_OP and not self._served[name].refuses(forged):
                raise RuntimeError(f"{name} takes a forged event")
            self._served[name].warm(self._webhooks[name], max(CONNECTIONS))

    def round(self, seconds: float) -> Round:
        return {
            (name, connections): self._served[name].cell(self._webhooks[name], connections, seconds)
            for connections in CONNECTIONS
            for name in TITLES
        }

    def check(self) -> None:
        """What was answered is there, and on the disk.

        :raises RuntimeError: it is not.
        """
        for name in RIVALS:
            kept = rival(name, self._places[name])
            if not kept.is_durable():
                raise RuntimeError(f"{name} does not sync")
            self._compare(name, kept.kept())
        with closing(sqlite3.connect(self._places[OURS].folder / "provisioner.db")) as store:
            self._compare(
                OURS, store.execute("SELECT count(*) FROM events WHERE state = 'accepted'").fetchone()[0]
            )

    def _compare(self, name: str, kept: int) -> None:
        if kept != self._served[name].accepted:
            raise RuntimeError(f"{name} answered {self._served[name].accepted} events and has {kept}")


@contextmanager
def contestants() -> Iterator[Field]:
    """All of them, each in a folder and a process of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        redis = stack.enter_context(closing(RedisServer(folder_in(folder, "redis"))))
        postgres = stack.enter_context(closing(Postgres()))
        everywhere = Place(folder, redis.url, postgres.database(), THREADS)
        places = {
            name: replace(everywhere, folder=folder_in(folder, name))
            for name in (NO_OP, VERIFIES, IN_LOOP, OURS, *RIVALS)
        }
        served = {name: stack.enter_context(closing(Served(name, place))) for name, place in places.items()}
        yield Field(places, served)


def _columns() -> tuple[str, ...]:
    each = [(f"{count} connections: /s", "p50 ms", "p99 ms") for count in CONNECTIONS]
    return ("", *(column for columns in each for column in columns), "CPU ms")


def _row(name: str, found: list[Round]) -> tuple[str, ...]:
    cells = [TITLES[name]]
    for connections in CONNECTIONS:
        runs = [one[name, connections].run for one in found]
        cells.append(f"{statistics.median(run.per_s for run in runs):,.0f}")
        cells.append(f"{statistics.median(run.p50_ms for run in runs):.0f}")
        cells.append(f"{statistics.median(run.p99_ms for run in runs):.0f}")
    cells.append(f"{statistics.median(one[name, CONNECTIONS[0]].processor_ms for one in found):.2f}")
    return tuple(cells)


def _goals(found: list[Round]) -> Iterator[Goal]:
    verifying = [_ratio(found, count, (VERIFIES,)) for count in CONNECTIONS]
    best = [_ratio(found, count, RIVALS) for count in CONNECTIONS]
    yield Goal(f"at least {OF_VERIFYING:.2f} of (b)", _both(verifying), min(verifying) >= OF_VERIFYING)
    yield Goal(f"at least {OF_BEST} times the best of (c)", _both(best), min(best) >= OF_BEST)
    slowest = [_p99_ratio(found, count) for count in CONNECTIONS]
    yield Goal("a lower p99 than each of (c): ours over the lowest", _both(slowest), max(slowest) < 1)


def _ratio(found: list[Round], connections: int, others: tuple[str, ...]) -> float:
    """Ours over the best of the others in the same round: the median of the rounds."""
    return statistics.median(
        one[OURS, connections].run.per_s / max(one[other, connections].run.per_s for other in others)
        for one in found
    )


def _p99_ratio(found: list[Round], connections: int) -> float:
    return statistics.median(
        one[OURS, connections].run.p99_ms / min(one[other, connections].run.p99_ms for other in RIVALS)
        for one in found
    )


def _both(figures: list[float]) -> str:
    return ", ".join(f"{figure:.2f} with {count}" for figure, count in zip(figures, CONNECTIONS, strict=True))
