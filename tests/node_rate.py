"""How many events a second are accepted, by one process on SQLite and by some on one PostgreSQL.

`python -m tests.node_rate 5`, with the seconds of each measurement: each process has 32 threads that give
orders to the engine, so it is the store that is measured and no HTTP. No test, for its figures are one
machine's.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from provisioner import app as wiring
from provisioner.config import parse
from tests.conftest import tables
from tests.postgres import Postgres

THREADS = 32


def accept(store: dict[str, str], folder: str, node: int, seconds: float, taken: Any) -> None:
    """One process; puts each acceptance's milliseconds into a queue."""
    settings = parse(
        {"store": store, **tables("http://127.0.0.1:1", "http://127.0.0.1:1/a")},
        name="config.toml", folder=Path(folder), environ={},
    )  # fmt: skip
    with closing(wiring.build(settings)) as app:
        until, times = time.monotonic() + seconds, []

        def give(thread: int) -> None:
            number = 0
            while time.monotonic() < until:
                number += 1
                name = f"{node}-{thread}-{number}"
                body = json.dumps({"type": "order.paid", "data": {"service_id": name, "plan": "vps-s"}})
                began = time.perf_counter()
                assert app.accept.webhook("shop", name, body.encode()).status == 202
                times.append((time.perf_counter() - began) * 1000)

        threads = [threading.Thread(target=give, args=(thread,)) for thread in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    taken.put(times)


def measure(store: dict[str, str], nodes: int, seconds: float) -> str:
    spawn = multiprocessing.get_context("spawn")
    taken: Any = spawn.Queue()
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            spawn.Process(target=accept, args=(store, folder, node, seconds, taken)) for node in range(nodes)
        ]
        for process in processes:
            process.start()
        times = sorted(one for _ in processes for one in taken.get())
        for process in processes:
            process.join()
    p99 = times[int(len(times) * 0.99)]
    return f"{len(times) / seconds:.0f}/s, median {statistics.median(times):.0f} ms, p99 {p99:.0f} ms"


def main() -> None:
    seconds = float(sys.argv[1])
    print(f"SQLite, one process: {measure({}, 1, seconds)}", flush=True)
    with closing(Postgres()) as postgres:
        for nodes in (1, 2, 3):
            found = measure({"url": postgres.database()}, nodes, seconds)
            print(f"PostgreSQL, {nodes}: {found}", flush=True)


if __name__ == "__main__":
    main()
