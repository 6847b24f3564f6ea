"""The standard library's `sqlite3`, a connection for each request."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from bench.rivals import Place

BUSY_S = 30.0
SYNCED = 2  # FULL


def connect(place: Place) -> sqlite3.Connection:
    connection = sqlite3.connect(place.folder / "events.db", timeout=BUSY_S, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


class SqlitePerRequest:
    def __init__(self, place: Place) -> None:
        self._place = place
        self._open = connect(
            place
        )  # one that stays: else the last one to close writes the log back each time
        self._open.execute("PRAGMA journal_mode = WAL")
        self._open.execute(
            "CREATE TABLE IF NOT EXISTS events (webhook_id TEXT PRIMARY KEY, body TEXT NOT NULL)"
        )

    def keep(self, webhook_id: str, body: bytes) -> None:
        with closing(connect(self._place)) as connection, connection:
            connection.execute("INSERT OR IGNORE INTO events VALUES (?, ?)", (webhook_id, body.decode()))

    def kept(self) -> int:
        return int(self._open.execute("SELECT count(*) FROM events").fetchone()[0])

    def is_durable(self) -> bool:
        return self._open.execute("PRAGMA synchronous").fetchone()[0] == SYNCED


rival = SqlitePerRequest
