"""Huey on SQLite, which syncs each task with `fsync=True`."""

from __future__ import annotations

from huey import SqliteHuey

from bench.rivals import Place

BUSY_S = 30
SYNCED = 2  # FULL


class HueySqlite:
    def __init__(self, place: Place) -> None:
        path = str(place.folder / "huey.db")
        self._huey = SqliteHuey("shop", filename=path, fsync=True, timeout=BUSY_S, results=False)
        self._provision = self._huey.task(name="provision")(_provision)

    def keep(self, webhook_id: str, body: bytes) -> None:
        self._provision(webhook_id, body.decode())

    def kept(self) -> int:
        return int(self._huey.storage.queue_size())

    def is_durable(self) -> bool:
        return bool(self._huey.storage.conn.execute("PRAGMA synchronous").fetchone()[0] == SYNCED)


def _provision(webhook_id: str, body: str) -> None:
    raise NotImplementedError("nothing is worked off while accepting is measured")


rival = HueySqlite
