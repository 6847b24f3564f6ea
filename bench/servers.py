"""The WSGI server: our application and less than it, on each of three, with as many threads."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from bench.load import Webhooks
from bench.report import Table
from bench.rivals import Place
from bench.served import WAITRESS, Cell, Served, folder_in
from bench.wsgi import NO_OP, OURS, SECRET, VERIFIES
from provisioner.web.server import BACKLOG, THREADS

CONNECTIONS = 32
SERVERS: Mapping[str, tuple[str, ...]] = {
    "waitress": WAITRESS,
    "gunicorn gthread": (
        *(sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--worker-class", "gthread"),
        *("--workers", "1", "--threads", str(THREADS), "--backlog", str(BACKLOG), "--keep-alive", "60"),
        *("--no-control-socket", "bench.wsgi:made()"),
    ),
    "granian": (
        *(sys.executable, "-m", "granian", "--host", "127.0.0.1", "--port", "{port}", "--interface", "wsgi"),
        *("--workers", "1", "--blocking-threads", str(THREADS), "--backlog", str(BACKLOG), "--no-ws"),
        *("--factory", "bench.wsgi:made"),
    ),
}
CONTESTANTS: Mapping[str, str] = {
    NO_OP: "does nothing",
    VERIFIES: "verifies alone",
    OURS: "provisioner",
}
AGAINST = (
    f"The same applications as above, over {CONNECTIONS} connections, on the servers that could serve them: "
    f"each with one process, because one process keeps the one writer, and {THREADS} threads."
)
NOTES = ("Which one was chosen, and why, is [decision 12](decisions/0012-the-wsgi-server.md).",)

Where = tuple[str, str]  # a server, and an application on it


def measure(seconds: float, rounds: int) -> Table:
    """See the package. A cell is one application on one server."""
    found: dict[Where, list[Cell]] = defaultdict(list)
    webhooks = Webhooks(SECRET)
    with everything() as served:
        for one in served.values():
            one.warm(webhooks, CONNECTIONS)
        for _ in range(rounds):
            for where, one in served.items():
                found[where].append(one.cell(webhooks, CONNECTIONS, seconds))
    rows = tuple(_row(server, found) for server in SERVERS)
    each = [(f"{title}: /s", "p99 ms", "CPU ms") for title in CONTESTANTS.values()]
    columns = ("", *(column for columns in each for column in columns), "of verifying")
    return Table("The WSGI server", AGAINST, columns, rows, notes=NOTES)


@contextmanager
def everything() -> Iterator[dict[Where, Served]]:
    """Each application on each server, each in a folder and a process of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        served: dict[Where, Served] = {}
        for name in CONTESTANTS:
            for server, command in SERVERS.items():
                place = Place(folder_in(folder, f"{name}-{server.split()[0]}"), "", "", THREADS)
                served[server, name] = stack.enter_context(closing(Served(name, place, command)))
        yield served


def _row(server: str, found: Mapping[Where, list[Cell]]) -> tuple[str, ...]:
    cells = [server]
    for name in CONTESTANTS:
        runs = [cell.run for cell in found[server, name]]
        cells.append(f"{statistics.median(run.per_s for run in runs):,.0f}")
        cells.append(f"{statistics.median(run.p99_ms for run in runs):.0f}")
        cells.append(f"{statistics.median(cell.processor_ms for cell in found[server, name]):.2f}")
    pairs = zip(found[server, OURS], found[server, VERIFIES], strict=True)
    cells.append(
        f"{statistics.median(ours.run.per_s / verifying.run.per_s for ours, verifying in pairs):.2f}"
    )
    return tuple(cells)
