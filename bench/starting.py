"""Starting: from nothing to `/readyz`, without and with much that waits."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from bench.report import Goal, Table
from bench.served import folder_in
from provisioner.config import fresh_secrets, starter
from provisioner.operation import State
from provisioner.sandbox import SandboxServer
from provisioner.store.copy import AT_ONCE, _insert
from provisioner.store.sqlite import SqliteStore, wall_clock
from provisioner.store.verbs import _operation_row, _service_row
from tests.integration.store_conformance import a_service, an_operation
from tests.ports import free_port

WAITING = 10_000
HOUR_MS = 3_600_000
PATIENCE_S = 30.0
EMPTY, FULL = "`serve` to `/readyz`", f"the same, with {WAITING:,} operations that wait"
HELP, PYTHON = "`--help`", "Python alone"
MOST_MS, MOST_MORE_MS = 700, 1000
AGAINST = (
    "A new process each time, its modules compiled and in the file cache; `--help` and a Python that does "
    "nothing are there to compare with. What waits has an hour to go."
)

Figures = Mapping[str, list[tuple[float, float]]]  # milliseconds by the clock, and of processor time


def measure(seconds: float, rounds: int) -> Table:
    """See the package. A cell is a start, which takes as long as it takes."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with starts() as ways:
        for start in ways.values():  # whatever the first start makes is there from then on
            start()
        for _ in range(rounds):
            for name, start in ways.items():
                found[name].append(start())
    rows = tuple((name, f"{_ms(found, name):.0f}", f"{_ms(found, name, 1):.0f}") for name in ways)
    return Table("Starting", AGAINST, ("", "ms", "CPU ms"), rows, tuple(_goals(found)))


@contextmanager
def starts() -> Iterator[dict[str, Callable[[], tuple[float, float]]]]:
    """What is started, by its name; each start returns what it took."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        upstream = stack.enter_context(SandboxServer())
        empty, full = (Installation(folder_in(folder, name), upstream.base_url) for name in ("empty", "full"))
        full.start()  # makes the store, and the key that it is not opened without
        fill(full.folder / "provisioner.db", WAITING)
        yield {
            EMPTY: empty.start,
            FULL: full.start,
            HELP: lambda: ended("-m", "provisioner", "--help"),
            PYTHON: lambda: ended("-c", "pass"),
        }


class Installation:
    """A folder with settings, to be served from."""

    def __init__(self, folder: Path, upstream_url: str) -> None:
        self.folder = folder
        self._port = free_port()
        listen = f"127.0.0.1:{self._port}"
        (folder / "config.toml").write_text(
            starter(
                fresh_secrets(), listen=listen, public_url=f"http://{listen}",
                upstream_base_url=upstream_url, upstream_token="sandbox-token",
            )
        )  # fmt: skip

    def start(self) -> tuple[float, float]:
        """Serves until it is ready; returns the milliseconds and the processor's that it took."""
        words = [sys.executable, "-m", "provisioner", "serve", "--config", str(self.folder / "config.toml")]
        with (self.folder / "said").open("w") as said:
            began = time.perf_counter()
            process = subprocess.Popen(words, stdout=said, stderr=said, env=environment())
        try:
            while not self._is_ready():
                if process.poll() is not None or time.perf_counter() - began > PATIENCE_S:
                    raise RuntimeError(
                        f"it is not ready: {(self.folder / 'said').read_text('utf-8')[-2000:]}"
                    )
                time.sleep(0.002)
            taken_ms = (time.perf_counter() - began) * 1000
            return taken_ms, sum(psutil.Process(process.pid).cpu_times()[:2]) * 1000
        finally:
            process.terminate()
            process.wait(PATIENCE_S)

    def _is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE_S) as line:
                line.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                return line.recv(64).startswith(b"HTTP/1.1 200")
        except (ConnectionRefusedError, ConnectionResetError):
            return False


def ended(*words: str) -> tuple[float, float]:
    """Runs Python with such words to its end; returns the milliseconds and the processor's that it took."""
    before, began = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, env=environment(), check=True)
    taken_ms, after = (time.perf_counter() - began) * 1000, os.times()
    processor_s = after.children_user - before.children_user + after.children_system - before.children_system
    return taken_ms, processor_s * 1000


def environment() -> dict[str, str]:
    """Modules that were compiled once are kept, whatever the environment says: it is most of a start."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def fill(path: Path, count: int) -> None:
    """Gives a store so many services, each with an operation that waits."""
    later = wall_clock() + HOUR_MS
    services = ({**_service_row(a_service(str(one), vmid=one)), "seq": one} for one in range(count))
    operations = (
        {
            **_operation_row(an_operation(f"op_{one}", str(one), state=State.WAITING, next_run_at=later)),
            "seq": one,
        }
        for one in range(count)
    )
    with closing(SqliteStore(path)) as store:
        _add(store, "services", services)
        _add(store, "operations", operations)


def _add(store: SqliteStore, table: str, rows: Iterator[dict[str, Any]]) -> None:
    while piece := list(islice(rows, AT_ONCE)):
        sql, parameters = _insert(table, piece)
        store.write(lambda verbs, sql=sql, parameters=parameters: verbs._engine.put(sql, parameters))


def _goals(found: Figures) -> Iterator[Goal]:
    ready_ms, full_ms = _ms(found, EMPTY), _ms(found, FULL)
    yield Goal(f"{EMPTY} in less than {MOST_MS / 1000} s", f"{ready_ms / 1000:.2f} s", ready_ms < MOST_MS)
    more_ms = full_ms - ready_ms
    yield Goal(
        f"with {WAITING:,} that wait less than {MOST_MORE_MS // 1000} s more",
        f"{more_ms / 1000:+.2f} s", more_ms < MOST_MORE_MS,
    )  # fmt: skip


def _ms(found: Figures, name: str, which: int = 0) -> float:
    return statistics.median(figures[which] for figures in found[name])
