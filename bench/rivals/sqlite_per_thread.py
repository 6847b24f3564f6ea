"""The standard library's `sqlite3`, a connection for each thread, which spares opening it each time."""

from __future__ import annotations

import sqlite3
import threading

from bench.rivals import Place
from bench.rivals.sqlite_per_request import SqlitePerRequest, connect


class SqlitePerThread(SqlitePerRequest):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._own = threading.local()

    def keep(self, webhook_id: str, body: bytes) -> None:
        with self._connection() as connection:
            connection.execute("INSERT OR IGNORE INTO events VALUES (?, ?)", (webhook_id, body.decode()))

    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._own, "connection"):
            self._own.connection = connect(self._place)
        connection: sqlite3.Connection = self._own.connection
        return connection


rival = SqlitePerThread
