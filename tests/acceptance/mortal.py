"""`provisioner`, in a process that dies at a named point: `python mortal.py POINT WAY NTH serve --config …`.

The service has no seam for it: what is named here is wrapped from outside before the command line starts.
WAY is `exit` (`os._exit`: no Python clean-up) or `kill` (SIGKILL: nothing at all). It dies when the point is
reached for the NTH time.
"""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from typing import Any

from provisioner.billing.standard import StandardBilling
from provisioner.cli import main
from provisioner.engine.advance import Advance
from provisioner.engine.deliver import Deliver
from provisioner.store import sqlite
from provisioner.upstream.client import UpstreamClient

reached = itertools.count(1)


def die(way: str, nth: int) -> None:
    if next(reached) < nth:
        return
    if way == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(70)


def before(owner: type, name: str, death: Callable[[], None]) -> None:
    real = getattr(owner, name)

    def mortal(*arguments: Any, **named: Any) -> Any:
        death()
        return real(*arguments, **named)

    setattr(owner, name, mortal)


def after(owner: type, name: str, death: Callable[[], None]) -> None:
    real = getattr(owner, name)

    def mortal(*arguments: Any, **named: Any) -> Any:
        result = real(*arguments, **named)
        death()
        return result

    setattr(owner, name, mortal)


class MortalConnection(sqlite3.Connection):
    """Dies around the statement that it is told, for what happens inside a commit."""

    statement = ""
    moment = ""
    death: Callable[[], None]

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql.startswith(self.statement) and self.moment == "before":
            MortalConnection.death()
        cursor = super().execute(sql, *parameters)
        if sql.startswith(self.statement) and self.moment == "after":
            MortalConnection.death()
        return cursor


def around_statement(statement: str, moment: str, death: Callable[[], None]) -> None:
    """On whichever engine the service has."""
    _around_sqlite(statement, moment, death)
    _around_postgres(statement, moment, death)


def _around_postgres(statement: str, moment: str, death: Callable[[], None]) -> None:
    from provisioner.store.postgres import _Line

    real = _Line.execute

    def execute(line: _Line, sql: Any, *parameters: Any, **named: Any) -> Any:
        is_it = (sql if isinstance(sql, str) else sql.decode()).startswith(statement)
        if is_it and moment == "before":
            death()
        cursor = real(line, sql, *parameters, **named)
        if is_it and moment == "after":
            death()
        return cursor

    _Line.execute = execute  # type: ignore[method-assign]


def _around_sqlite(statement: str, moment: str, death: Callable[[], None]) -> None:
    MortalConnection.statement, MortalConnection.moment = statement, moment
    MortalConnection.death = staticmethod(death)
    real = sqlite._connect

    def connect(path: Any) -> sqlite3.Connection:
        real(path).close()
        return sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=5.0, factory=MortalConnection
        )

    sqlite._connect = connect


POINTS: dict[str, Callable[[Callable[[], None]], None]] = {
    "before the event's commit": lambda death: around_statement("COMMIT", "before", death),
    "after a group commit": lambda death: around_statement("COMMIT", "after", death),
    "during migration": lambda death: around_statement("CREATE TABLE operations", "after", death),
    "after a claim": lambda death: after(Advance, "claim", death),
    "before the intent": lambda death: before(Advance, "_intend", death),
    "after the intent": lambda death: after(Advance, "_intend", death),
    "before the POST": lambda death: before(UpstreamClient, "create", death),
    "after the POST": lambda death: after(UpstreamClient, "create", death),
    "before a write-back": lambda death: before(Advance, "_write_back", death),
    "after a write-back": lambda death: after(Advance, "_write_back", death),
    "before a look at the job": lambda death: before(UpstreamClient, "job", death),
    "after a look at the job": lambda death: after(UpstreamClient, "job", death),
    "before a delivery": lambda death: before(StandardBilling, "deliver", death),
    "after a delivery": lambda death: after(StandardBilling, "deliver", death),
    "after a delivery's commit": lambda death: after(Deliver, "deliver", death),
}

if __name__ == "__main__":
    point, way, nth, *words = sys.argv[1:]
    POINTS[point](lambda: die(way, int(nth)))
    sys.argv = ["provisioner", *words]
    main()
