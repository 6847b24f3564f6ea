"""Standing still: what the whole service costs while nothing is due, and what is asked of it then.

Two of them stand side by side, one with a hundredth of the other's rows.
"""

from __future__ import annotations

import base64
import http.client
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.lived import HOUR_MS, Shape, fill
from bench.report import Goal, Table
from provisioner.config import fresh_secrets, starter
from provisioner.sandbox import BillingStub, Sandbox, SandboxServer
from provisioner.store.sqlite import SqliteStore, wall_clock
from tests.ports import free_port

SIZES = (1_000, 100_000)
SETTLES_S = 5.0
PATIENCE_S = 60.0
TIMES = 100
CPU_GOAL_S, MEMORY_GOAL_MB, ASKED_GOAL_MS = 0.2, 120, 5.0
FLAT = 1.5  # one level more of an index, and what a machine wavers; a look at every row would be 100
LISTS = ("operations", "services", "events", "audit")
SCRAPE = "a scrape"
AGAINST = (
    "The real `serve` on SQLite, one with {:,} and one with {:,} services, each of which has an order that "
    "was carried out and told; one in ten waits in a termination's grace besides, and nothing is due. "
    "Processor time is that of all its threads. A page is 100 rows of the admin API over a kept connection, "
    "a claim is durable when it counts."
)
NOTES = (
    "A scrape of `/metrics` counts all services and operations by their state, so it is not flat; it has no "
    "goal.",
    "A page's time is from the first byte out to the last one in; `processor` is the service's part of it.",
)


def measure(seconds: float, rounds: int) -> Table:
    """:param seconds: for which nothing is asked of the two, in each round."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with ExitStack() as stack:
            services = [stack.enter_context(served(Path(folder) / str(size), size)) for size in SIZES]
            time.sleep(SETTLES_S)
            for _ in range(rounds):
                idle(services, seconds)
            for service in services:
                service.note("memory at rest, MB", service.memory_mb())
            for name in LISTS:
                asked(services, name, f"/api/{name}?limit=100")
            asked(services, SCRAPE, "/metrics")
            for service in services:
                service.note("memory after all pages, MB", service.memory_mb())
        claims(services)
    return table(services)


@dataclass(slots=True)
class Service:
    """One of the two, and what was found of it."""

    process: psutil.Popen
    store: Path
    port: int
    token: str
    found: dict[str, list[float]] = field(default_factory=dict)

    def processor_s(self) -> float:
        """The processor time of its threads so far, in seconds, finer than the system's ticks."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def memory_mb(self) -> float:
        return float(self.process.memory_info().rss) / 2**20

    def note(self, name: str, value: float) -> None:
        self.found.setdefault(name, []).append(value)


@contextmanager
def served(folder: Path, size: int) -> Iterator[Service]:
    """The service over a store that is filled before.

    :raises RuntimeError: it does not become ready.
    """
    folder.mkdir()
    store, port, fresh, sandbox = folder / "provisioner.db", free_port(), fresh_secrets(), Sandbox()
    with closing(SqliteStore(store)) as filled:
        fill(filled, Shape(size, size // 10, 0), wall_clock())
    with SandboxServer(sandbox) as upstream, BillingStub([fresh.webhook_secret]) as shop:
        settings = starter(
            fresh,
            listen=f"127.0.0.1:{port}",
            public_url=f"http://127.0.0.1:{port}",
            callback_url=shop.callback_url,
            upstream_base_url=upstream.base_url,
            upstream_token=sandbox.settings()["token"],
        )
        key = base64.urlsafe_b64encode(b"k" * 32).decode()
        config, said = folder / "config.toml", folder / "said"
        config.write_text(settings.replace("[security]\n", f'[security]\nencryption_keys = ["{key}"]\n'))
        config.chmod(0o600)
        words = [sys.executable, "-m", "provisioner", "--config", str(config), "serve"]
        with said.open("wb") as out:
            process = psutil.Popen(words, stdout=out, stderr=out)
        try:
            wait_until(lambda: b"is ready" in said.read_bytes() or process.poll() is not None)
            if process.poll() is not None:
                raise RuntimeError(f"it has ended: {said.read_text()[-2000:]}")
            yield Service(process, store, port, fresh.admin_token)
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"it is not ready within {PATIENCE_S} s")
        time.sleep(0.05)


def idle(services: list[Service], seconds: float) -> None:
    """Nothing is asked of either."""
    before = [service.processor_s() for service in services]
    time.sleep(seconds)
    for service, began_s in zip(services, before, strict=True):
        service.note("processor seconds a minute", (service.processor_s() - began_s) / seconds * 60)


def asked(services: list[Service], name: str, path: str) -> None:
    """Of one and the other in turns."""
    with ExitStack() as stack:
        lines = [
            stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", service.port)))
            for service in services
        ]
        for turn in range(TIMES + 1):
            for service, line in zip(services, lines, strict=True):
                began_s = service.processor_s()  # looks at each of its threads, which takes milliseconds
                began = time.perf_counter()
                answer(line, path, service.token)
                took_ms = (time.perf_counter() - began) * 1000
                if turn:  # the first one connects
                    service.note(f"{name}, ms", took_ms)
                    service.note(f"{name}, processor ms", (service.processor_s() - began_s) * 1000)


def answer(line: http.client.HTTPConnection, path: str, token: str) -> None:
    line.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    answer = line.getresponse()
    body = answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{path}: {answer.status} {body[:500]!r}")


def claims(services: list[Service]) -> None:
    """Each durable, of one and the other in turns, once everything that waits has become due."""
    later = wall_clock() + 48 * HOUR_MS
    with ExitStack() as stack:
        stores = [stack.enter_context(closing(SqliteStore(service.store))) for service in services]
        for _ in range(TIMES):
            for service, store in zip(services, stores, strict=True):
                began, began_s = time.perf_counter(), time.process_time()
                if store.write(lambda verbs: verbs.claim_operation(later, later)) is None:
                    raise RuntimeError("there was nothing to claim")
                service.note("a claim, ms", (time.perf_counter() - began) * 1000)
                service.note("a claim, processor ms", (time.process_time() - began_s) * 1000)


def table(services: list[Service]) -> Table:
    small, large = ({name: statistics.median(all_) for name, all_ in one.found.items()} for one in services)
    rows = tuple((name, f"{small[name]:.2f}", f"{large[name]:.2f}") for name in large)
    judged = {name for name in large if not name.startswith(SCRAPE)}
    asked_for = {name: large[name] for name in judged if name.endswith(", ms")}
    slowest = max(asked_for, key=lambda name: asked_for[name])
    growth = {name: large[name] / small[name] for name in judged if name.endswith("processor ms")}
    steepest = max(growth, key=lambda name: growth[name])
    goals = (
        Goal(
            f"less than {CPU_GOAL_S} processor seconds a minute",
            f"{(cpu := large['processor seconds a minute']):.2f} s",
            cpu < CPU_GOAL_S,
        ),
        Goal(
            f"less than {MEMORY_GOAL_MB} MB",
            f"{(memory := large['memory after all pages, MB']):.0f} MB",
            memory < MEMORY_GOAL_MB,
        ),
        Goal(
            f"a claim and each page in less than {ASKED_GOAL_MS:.0f} ms",
            f"{slowest}: {asked_for[slowest]:.1f}",
            asked_for[slowest] < ASKED_GOAL_MS,
        ),
        Goal(
            f"a claim and each page take less than {FLAT} times as long with a hundred times the rows",
            f"{steepest}: {growth[steepest]:.2f} times",
            growth[steepest] < FLAT,
        ),
    )
    columns = ("", *(f"{size:,} services" for size in SIZES))
    return Table("Standing still", AGAINST.format(*SIZES), columns, rows, goals, NOTES)
