"""When every reader is busy, or the database takes nobody more: 503 at once, never a hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from psycopg_pool.base import AttemptWithBackoff

from provisioner import app as wiring
from provisioner.errors import StoreUnavailable
from provisioner.signing import Signer
from provisioner.store import postgres as postgres_engine
from provisioner.store.postgres import PostgresStore
from provisioner.web import create_app
from tests.conftest import BILLING_SECRET, World
from tests.postgres import Postgres

PATIENCE_S = 0.2
SOON_S = 5.0
TOKEN = {"Authorization": "Bearer an-admin-token-of-tests"}


@pytest.fixture
def world(worlds: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(postgres_engine, "READERS", 2)
    monkeypatch.setattr(postgres_engine, "PATIENCE_S", PATIENCE_S)
    return worlds()


@contextmanager
def reading(world: World, count: int) -> Iterator[None]:
    """So many read, and do not come to an end meanwhile."""
    begun, go_on = threading.Semaphore(0), threading.Event()

    def unit(verbs: Any) -> None:
        verbs.fact("a")
        begun.release()
        go_on.wait(SOON_S)

    threads = [threading.Thread(target=world.app.store.read, args=(unit,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert begun.acquire(timeout=SOON_S)
    yield
    go_on.set()
    for thread in threads:
        thread.join()


def test_used_up_readers_are_503_and_orders_are_taken(world: World) -> None:
    client = create_app(wiring.surfaces(world.app)).test_client()
    body = b'{"type": "order.paid", "data": {"service_id": "1001", "plan": "vps-s"}}'
    signed = Signer([BILLING_SECRET]).sign("order-1", int(world.clock() / 1000), body)
    with reading(world, 2):
        began = time.monotonic()
        refused = client.get("/api/operations", headers=TOKEN)
        assert (refused.status_code, refused.json["error"]["code"]) == (503, "store_unavailable")
        assert refused.headers["Retry-After"] == "5"
        assert "too many read at once" in refused.json["error"]["message"]
        assert time.monotonic() - began < SOON_S / 2
        taken = client.post("/webhooks/shop", data=body, headers=signed, content_type="application/json")
        assert taken.status_code == 202
    assert [one["service_id"] for one in client.get("/api/operations", headers=TOKEN).json["items"]] == [
        "1001"
    ]


def test_database_that_takes_nobody_more_is_said(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the first connection that is free again it goes on by itself, however long that took."""
    monkeypatch.setattr(postgres_engine, "PATIENCE_S", PATIENCE_S)
    monkeypatch.setattr(AttemptWithBackoff, "INITIAL_DELAY", 10 * SOON_S)  # as it is after a while
    postgres.execute("postgres", "CREATE ROLE guest LOGIN CONNECTION LIMIT 1")
    url = postgres.database(OWNER="guest").replace("postgres@", "guest@")
    with closing(PostgresStore(url)) as store:
        store.write(lambda verbs: verbs.set_fact("a", 1, 0))
        with pytest.raises(StoreUnavailable, match="gave no connection to read with"):
            store.read(lambda verbs: verbs.fact("a"))
        postgres.execute("postgres", "ALTER ROLE guest CONNECTION LIMIT -1")
        until = time.monotonic() + SOON_S
        while not can_read(store):
            assert time.monotonic() < until


def can_read(store: PostgresStore) -> bool:
    try:
        return store.read(lambda verbs: verbs.fact("a")) == 1
    except StoreUnavailable:
        return False
