"""procrastinate on PostgreSQL: its connector for synchronous programs, a connection for each thread."""

from __future__ import annotations

from procrastinate import App, SyncPsycopgConnector

from bench.rivals import Place


class ProcrastinatePostgres:
    def __init__(self, place: Place) -> None:
        self._connector = SyncPsycopgConnector(
            conninfo=place.postgres_url, min_size=place.threads, max_size=place.threads
        )
        self._app = App(connector=self._connector)
        self._app.open()
        if not self._asked("SELECT to_regclass('procrastinate_jobs') IS NOT NULL AS found")["found"]:
            self._app.schema_manager.apply_schema()
        self._provision = self._app.task(name="provision")(_provision)

    def keep(self, webhook_id: str, body: bytes) -> None:
        self._provision.defer(webhook_id=webhook_id, body=body.decode())

    def kept(self) -> int:
        return int(self._asked("SELECT count(*) AS jobs FROM procrastinate_jobs")["jobs"])

    def is_durable(self) -> bool:
        settings = ("synchronous_commit", "fsync")
        return all(self._asked(f"SHOW {name}")[name] == "on" for name in settings)

    def _asked(self, sql: str) -> dict[str, object]:
        return self._connector.execute_query_one(sql)


def _provision(webhook_id: str, body: str) -> None:
    raise NotImplementedError("nothing is worked off while accepting is measured")


rival = ProcrastinatePostgres
