"""Accepting on several nodes: orders a second by one process on SQLite, and by some on one PostgreSQL."""

from __future__ import annotations

import json
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from bench.report import Table
from provisioner import app as wiring
from provisioner.config import parse
from provisioner.web.server import THREADS
from tests.conftest import tables
from tests.postgres import Postgres

NODES = (1, 2, 3)
PATIENCE_S = 60.0
AGAINST = (
    f"Each process has {THREADS} threads that give orders to the engine, so it is the store that is "
    "measured, and no HTTP; they begin together, on one database beside them. An order is answered once it "
    "is durable."
)


def measure(seconds: float, rounds: int) -> Table:
    """See the package."""
    with closing(Postgres()) as postgres:
        ways: Mapping[str, tuple[bool, int]] = {
            "SQLite, one process": (False, 1),
            **{f"PostgreSQL, {nodes} node{'s' * (nodes > 1)}": (True, nodes) for nodes in NODES},
        }
        found: dict[str, list[list[float]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, (is_shared, nodes) in ways.items():
                store = {"url": postgres.database()} if is_shared else {}
                found[name].append(sorted(accepted(store, nodes, seconds)))
    rows = tuple(
        (
            name,
            f"{statistics.median(len(times) / seconds for times in runs):,.0f}",
            f"{statistics.median(statistics.median(times) for times in runs):.0f}",
            f"{statistics.median(times[int(len(times) * 0.99)] for times in runs):.0f}",
        )
        for name, runs in found.items()
    )
    return Table("Several nodes", AGAINST, ("", "orders/s", "median, ms", "p99, ms"), rows)


def accepted(store: Mapping[str, str], nodes: int, seconds: float) -> list[float]:
    """How long each order took, in milliseconds."""
    spawn = multiprocessing.get_context("spawn")
    taken, together = spawn.Queue(), spawn.Barrier(nodes)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        processes = [
            spawn.Process(target=accept, args=(store, folder, node, seconds, together, taken))
            for node in range(nodes)
        ]
        for process in processes:
            process.start()
        times = [one for _ in processes for one in taken.get(timeout=seconds + PATIENCE_S)]
        for process in processes:
            process.join()
    return times


def accept(
    store: Mapping[str, str], folder: str, node: int, seconds: float, together: Any, taken: Any
) -> None:
    """One process, which puts the times of its orders into the queue `taken`."""
    settings = parse(
        {"store": store, **tables("http://127.0.0.1:1", "http://127.0.0.1:1/a")},
        name="config.toml", folder=Path(folder), environ={},
    )  # fmt: skip
    with closing(wiring.build(settings)) as app:
        together.wait(PATIENCE_S)
        until, times = time.monotonic() + seconds, []

        def give(thread: int) -> None:
            for number in count():
                if time.monotonic() >= until:
                    return
                name = f"{node}-{thread}-{number}"
                body = json.dumps({"type": "order.paid", "data": {"service_id": name, "plan": "vps-s"}})
                began = time.perf_counter()
                answer = app.accept.webhook("shop", name, body.encode())
                times.append((time.perf_counter() - began) * 1000)
                if answer.status != 202:
                    raise RuntimeError(f"an order was answered {answer}")

        threads = [threading.Thread(target=give, args=(thread,)) for thread in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    taken.put(times)
