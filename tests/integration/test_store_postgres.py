"""The shared engine: everything of the suite, and what PostgreSQL alone can go wrong with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import psycopg
import pytest

from provisioner.errors import StoreUnavailable, StoreUnusable
from provisioner.store import Store
from provisioner.store import postgres as postgres_engine
from provisioner.store.migrate import SCHEMA_VERSION, migrate
from provisioner.store.postgres import PostgresStore
from provisioner.store.verbs import Verbs
from tests.integration.store_conformance import (
    NOW,
    StoreConformance,
    a_deed,
    a_delivery,
    an_event,
    an_operation,
    at_once,
    audit_of,
    claims,
    keep,
    problem_of,
    write_down,
)
from tests.postgres import TABLES, Postgres
from tests.relay import RESET, SWALLOWED, Relay

LONG_S = 10.0  # longer than anything here takes
HASTE_S = 0.5  # in which a cut line is noticed here


class TestPostgresStore(StoreConformance):
    @pytest.fixture
    def opened(self, postgres: Postgres) -> Callable[[], Store]:
        url = postgres.empty()
        return lambda: PostgresStore(url)


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.empty()


@pytest.fixture
def opened(url: str) -> Iterator[Callable[..., PostgresStore]]:
    """Opens the same store, as often as there are nodes."""
    with ExitStack() as stack:
        yield lambda *of: stack.enter_context(closing(PostgresStore(url, *of)))


def wait_for(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < ends_at, "it never came true"
        time.sleep(0.005)


def as_admin(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(url, autocommit=True)


def end_sessions(url: str) -> None:
    """What a restart, a fail-over or a person does to whoever is connected."""
    with as_admin(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


# Statements


@pytest.mark.parametrize(
    ("sql", "translated"),
    [
        ("SELECT :a, :b_c", "SELECT %(a)s, %(b_c)s"),
        ("-- tried since :watched.\nSELECT 1", "\nSELECT 1"),
        ("SELECT 'approved%'", "SELECT 'approved%%'"),
        ("SELECT x::text", "SELECT x::text"),
        ("LIMIT 1 /*skip locked*/)", "LIMIT 1 FOR UPDATE SKIP LOCKED)"),
    ],
)
def test_statement_is_translated(sql: str, translated: str) -> None:
    assert postgres_engine._translated(sql) == translated.encode()


def test_nul_is_replaced_where_text_cannot_have_it(opened: Callable[..., PostgresStore]) -> None:
    store = opened()
    keep(store, an_operation(error_detail="the upstream said \0"))
    operation = store.read(lambda verbs: verbs.operation("op_1"))
    assert operation is not None
    assert operation.error_detail == "the upstream said \ufffd"


# Opening


def test_address_in_words_has_no_password() -> None:
    assert postgres_engine.name_of("postgresql://me:secret@db.example/shop") == "postgresql://db.example/shop"


def test_database_that_is_away_is_said() -> None:
    with pytest.raises(StoreUnusable, match="refused") as raised:
        PostgresStore("postgresql://me:a-secret@127.0.0.1:1/shop")
    assert "a-secret" not in str(raised.value)


USABLE = {
    "version": 160004, "fsync": "on", "encoding": "UTF8", "is_replica": False,
    "in_order": ["-", "B", "Z", "_", "a", "a b", "ab", "z", "ä"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, ""),
        ({"version": 120022}, "PostgreSQL 12 is too old; 13 or newer"),
        ({"is_replica": True}, "it is a replica"),
        ({"encoding": "SQL_ASCII"}, "does not sort by bytes; make it anew: CREATE DATABASE"),
        ({"in_order": ["_", "-", "a", "ab", "a b", "ä", "B", "z", "Z"]}, "does not sort by bytes"),
        ({"fsync": "off"}, "fsync = off, so a power cut would lose orders"),
    ],
)
def test_unfit_database_is_refused(row: dict[str, Any], problem: str) -> None:
    found = postgres_engine.problem_of({**USABLE, **row})
    assert (problem in found) if problem else not found


def test_other_encoding_is_refused(postgres: Postgres) -> None:
    url = postgres.database(ENCODING="'LATIN1'", LOCALE="'C'")
    with pytest.raises(StoreUnusable):
        PostgresStore(url)


def test_database_of_others_is_left_alone(postgres: Postgres) -> None:
    url = postgres.database()
    with as_admin(url) as connection:
        connection.execute("CREATE TABLE invoices (a TEXT)")
    with pytest.raises(StoreUnusable, match=r"another program's database .*a table invoices"):
        PostgresStore(url)
    with as_admin(url) as connection:
        assert connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall() == [("invoices",)]


def test_newer_store_is_refused(postgres: Postgres) -> None:
    url = postgres.database()
    PostgresStore(url).close()
    with as_admin(url) as connection:
        connection.execute("UPDATE schema_version SET version = version + 1")
    with pytest.raises(StoreUnusable, match=rf"newer version \(schema {SCHEMA_VERSION + 1}"):
        PostgresStore(url)


def test_nodes_that_open_a_new_store_together_make_one(postgres: Postgres) -> None:
    url = postgres.database()
    at_once(4, lambda _: PostgresStore(url).close())
    with as_admin(url) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(SCHEMA_VERSION,)]


def test_older_store_is_updated_once_and_whole(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    url = postgres.database()
    PostgresStore(url).close()
    newer = SCHEMA_VERSION + 1
    monkeypatch.setattr("provisioner.store.migrate.SCHEMA_VERSION", newer)
    with pytest.raises(StoreUnusable, match="brings it up to date") as raised:
        PostgresStore(url)
    assert raised.value.code == "store_older"
    steps = ["CREATE TABLE added (a TEXT)", f"UPDATE schema_version SET version = {newer}"]
    monkeypatch.setattr(postgres_engine, "migrate", lambda version, **_: [*steps, "broken"])
    with pytest.raises(StoreUnusable):
        PostgresStore(url, lambda version: None)
    monkeypatch.setattr(postgres_engine, "migrate", lambda version, **_: steps if version < newer else [])
    seen: list[int] = []
    at_once(3, lambda _: PostgresStore(url, seen.append).close())
    assert seen == [SCHEMA_VERSION]


def test_migration_that_takes_away_waits_for_the_nodes_before(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.database()
    with closing(PostgresStore(url)) as serving:
        serving.begin(lambda: None, lambda: None)
        monkeypatch.setattr("provisioner.store.migrate.SCHEMA_VERSION", SCHEMA_VERSION + 1)
        steps = ["DROP TABLE marks", f"UPDATE schema_version SET version = {SCHEMA_VERSION + 1}"]
        monkeypatch.setattr(postgres_engine, "migrate", lambda version, **_: steps)
        monkeypatch.setattr(postgres_engine, "takes_away", lambda version: True)
        with pytest.raises(StoreUnusable, match="end them all, then start this"):
            PostgresStore(url, lambda version: None)
        assert serving.write(lambda verbs: verbs.mark("op_1", "mailed")) == ""
    PostgresStore(url, lambda version: None).close()
    with as_admin(url) as connection:
        assert connection.execute("SELECT to_regclass('marks')").fetchall() == [(None,)]


def test_running_node_works_on_after_a_newer_one_has_updated(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rolling upgrade: what was added has a default, and the old version neither knows nor minds it."""
    url = postgres.database()
    with closing(PostgresStore(url)) as store:

        def work(number: int) -> None:
            keep(store, an_operation(f"op_{number}", str(number)), a_delivery(f"msg_{number}", str(number)))
            keep(store, an_event(f"evt_{number}"))
            write_down(store, a_deed())
            store.read(lambda verbs: verbs.service("shop", str(number)))
            assert f"op_{number}" in list(claims(store))
            assert store.write(lambda verbs: verbs.claim_delivery(NOW, NOW + 9)) is not None
            assert store.read(lambda verbs: verbs.event(f"evt_{number}")) is not None
            assert problem_of(store) == ""
            assert len(store.read(lambda verbs: verbs.services(100, None))) == number + 1

        for number in range(8):  # often enough that statements are prepared
            work(number)
        steps = [f"ALTER TABLE {table} ADD COLUMN added TEXT NOT NULL DEFAULT ''" for table in TABLES]
        with monkeypatch.context() as newer:
            newer.setattr("provisioner.store.migrate.SCHEMA_VERSION", SCHEMA_VERSION + 1)
            done = f"UPDATE schema_version SET version = {SCHEMA_VERSION + 1}"
            newer.setattr(postgres_engine, "migrate", lambda version, **_: [*steps, done])
            PostgresStore(url, lambda version: None).close()
        for number in range(8, 10):
            work(number)
        with pytest.raises(StoreUnusable, match="newer version"):
            PostgresStore(url)


def test_migrations_lead_to_the_schema(postgres: Postgres) -> None:
    """The released files, one after the other, make what a new store is."""
    made, migrated = postgres.database(), postgres.database()
    PostgresStore(made).close()
    with as_admin(migrated) as connection:
        for sql in migrate(0, is_shared=True):
            connection.execute(sql.encode())
    assert columns(made) == columns(migrated)


def columns(url: str) -> list[tuple[Any, ...]]:
    with as_admin(url) as connection:
        return connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
            " WHERE table_schema = 'public'"
            " UNION ALL SELECT tablename, indexname, indexdef, '' FROM pg_indexes WHERE schemaname = 'public'"
            " ORDER BY 1, 2"
        ).fetchall()


# Several nodes


def test_units_of_two_nodes_see_each_other_one_by_one(opened: Callable[..., PostgresStore]) -> None:
    """What a unit decides by what it has read holds: no counter loses a step."""
    nodes = [opened(), opened()]

    def count(verbs: Verbs) -> None:
        verbs.set_fact("counter", (verbs.fact("counter") or 0) + 1, NOW)

    at_once(8, lambda number: [nodes[number % 2].write(count) for _ in range(10)])
    assert nodes[0].read(lambda verbs: verbs.fact("counter")) == 80


def test_audit_of_two_nodes_is_one_chain(opened: Callable[..., PostgresStore]) -> None:
    nodes = [opened(), opened()]
    at_once(6, lambda number: [write_down(nodes[number % 2], a_deed(number)) for _ in range(10)])
    assert audit_of(nodes[0]) == list(range(60, 0, -1))
    assert problem_of(nodes[1]) == ""


def test_no_two_nodes_claim_the_same(opened: Callable[..., PostgresStore]) -> None:
    nodes = [opened(), opened(), opened()]
    keep(nodes[0], *(an_operation(f"op_{number}", str(number)) for number in range(60)))
    claimed = [name for names in at_once(6, lambda number: list(claims(nodes[number % 3]))) for name in names]
    assert sorted(claimed) == sorted(f"op_{number}" for number in range(60))


def test_claim_passes_by_what_somebody_has_locked(opened: Callable[..., PostgresStore], url: str) -> None:
    store = opened()
    keep(store, an_operation("op_1", "1"), an_operation("op_2", "2"))
    with as_admin(url) as connection, connection.transaction():
        connection.execute("SELECT 1 FROM operations WHERE id = 'op_1' FOR UPDATE")
        assert list(claims(store)) == ["op_2"]
    assert list(claims(store)) == ["op_1"]


def test_node_that_queues_wakes_the_others(opened: Callable[..., PostgresStore]) -> None:
    nodes, woken = [opened(), opened()], threading.Event()
    nodes[0].begin(woken.set, lambda: None)
    nodes[1].write(lambda verbs: verbs.set_fact("a", 1, NOW))
    keep(nodes[1], an_operation())
    assert woken.wait(LONG_S)


def test_what_queues_nothing_wakes_nobody(opened: Callable[..., PostgresStore]) -> None:
    """Else two nodes that find nothing would wake each other for ever."""
    nodes, woken = [opened(), opened()], []
    nodes[0].begin(lambda: woken.append(1), lambda: None)
    assert list(claims(nodes[1])) == []
    nodes[1].write(lambda verbs: verbs.set_fact("a", 1, NOW))
    keep(nodes[1], an_operation())
    wait_for(lambda: bool(woken))
    assert woken == [1]


def test_only_who_serves_alone_ends_leases(
    opened: Callable[..., PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_engine, "STARTED_S", 0.0)
    nodes, alone = [opened(), opened(), opened()], []
    assert not nodes[2].is_served()
    nodes[0].begin(lambda: None, lambda: alone.append(0))
    assert nodes[2].is_served()
    nodes[1].begin(lambda: None, lambda: alone.append(1))
    nodes[0].close()
    assert nodes[2].is_served()
    nodes[1].close()
    assert not nodes[2].is_served()
    nodes[2].begin(lambda: None, lambda: alone.append(2))
    assert alone == [0, 2]


def test_others_see_the_badges_of_who_serves(opened: Callable[..., PostgresStore]) -> None:
    nodes, most = [opened(), opened(), opened()], 2**63 - 1
    assert nodes[2].served_without(7) == 0
    nodes[0].begin(lambda: None, lambda: None, [7, most])
    nodes[1].begin(lambda: None, lambda: None, [most])
    assert [nodes[2].served_without(badge) for badge in (7, most, 8)] == [1, 0, 2]
    assert nodes[0].served_without(8) == 2  # of itself, too
    nodes[1].close()
    assert nodes[2].served_without(7) == 0


def test_restarted_database_does_not_know_who_serves(
    opened: Callable[..., PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_engine, "STARTED_S", 1e6)
    alone: list[int] = []
    opened().begin(lambda: None, lambda: alone.append(1))
    assert alone == []


def test_presence_comes_back(opened: Callable[..., PostgresStore], url: str) -> None:
    nodes, woken = [opened(), opened()], threading.Event()
    nodes[0].begin(woken.set, lambda: None, [7])
    end_sessions(url)
    wait_for(nodes[1].is_served)
    assert nodes[1].served_without(7) == 0
    assert woken.wait(LONG_S)  # something may have been missed
    woken.clear()
    keep(nodes[1], an_operation())
    assert woken.wait(LONG_S)


def test_nodes_have_the_databases_time(
    opened: Callable[..., PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a machine's own clocks say, and however they jump."""
    jumped_ms = 10**9
    monkeypatch.setattr(postgres_engine, "_monotonic_ms", lambda: time.monotonic_ns() // 10**6 + jumped_ms)
    store = opened()
    assert abs(store.clock() - time.time() * 1000) < 1000
    jumped_ms += 10**8
    store.write(lambda verbs: None)
    assert abs(store.clock() - time.time() * 1000) < 1000


# What goes wrong while it is open


def test_lost_sessions_are_nobodys_concern(opened: Callable[..., PostgresStore], url: str) -> None:
    store = opened()
    store.read(lambda verbs: verbs.fact("a"))
    for number in range(3):
        end_sessions(url)
        store.write(lambda verbs, number=number: verbs.set_fact("a", number, NOW))  # type: ignore[misc]
        end_sessions(url)
        assert store.read(lambda verbs: verbs.fact("a")) == number


def test_session_lost_within_a_unit_leaves_nothing_half(
    opened: Callable[..., PostgresStore], url: str
) -> None:
    store, runs = opened(), []

    def unit(verbs: Verbs) -> str:
        runs.append(verbs.fact("first"))
        verbs.set_fact("first", len(runs), NOW)
        if len(runs) == 1:
            end_sessions(url)
        verbs.set_fact("second", len(runs), NOW)
        return "done"

    assert store.write(unit) == "done"
    assert runs == [None, None]
    assert store.read(lambda verbs: (verbs.fact("first"), verbs.fact("second"))) == (2, 2)


def test_lost_commit_is_said(
    opened: Callable[..., PostgresStore], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """From there on it may have been kept, so nobody does it again but who knows how."""
    store, runs = opened(), []

    def unit(verbs: Verbs) -> None:
        runs.append(1)
        verbs.set_fact("a", 1, NOW)

    with as_admin(url) as connection:
        connection.execute(
            "CREATE FUNCTION break_off() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
        )
        connection.execute(
            "CREATE CONSTRAINT TRIGGER breaks AFTER INSERT ON facts DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION break_off()"
        )
    try:
        with pytest.raises(StoreUnavailable, match="cannot be written"):
            store.write(unit)
        assert runs == [1]
    finally:
        with as_admin(url) as connection:
            connection.execute("DROP TRIGGER breaks ON facts; DROP FUNCTION break_off")
    store.write(unit)


def test_node_that_stands_still_holds_nobody_up_for_long(
    opened: Callable[..., PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = postgres_engine._SETTINGS.replace("timeout = 5000", "timeout = 200")
    monkeypatch.setattr(postgres_engine, "_SETTINGS", hasty)
    frozen, other, go_on = opened(), opened(), threading.Event()
    seen: list[Any] = []

    def stand_still(verbs: Verbs) -> None:
        seen.append(verbs.fact("a"))
        go_on.wait(LONG_S)
        verbs.set_fact("b", verbs.fact("a"), NOW)

    thread = threading.Thread(target=lambda: frozen.write(stand_still))
    thread.start()
    wait_for(lambda: bool(seen))
    other.write(lambda verbs: verbs.set_fact("a", 1, NOW))
    go_on.set()
    thread.join(LONG_S)
    assert seen == [None, 1]  # it has begun again, and seen what others did meanwhile
    assert other.read(lambda verbs: verbs.fact("b")) == 1


def test_used_up_readers_are_said(
    opened: Callable[..., PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_engine, "READERS", 1)
    monkeypatch.setattr(postgres_engine, "PATIENCE_S", 0.1)
    store = opened()

    def unit(verbs: Verbs) -> None:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="too many read at once"):
            store.read(lambda verbs: verbs.fact("a"))
        assert time.monotonic() - began < LONG_S

    store.read(unit)
    store.read(lambda verbs: verbs.fact("a"))
    store.write(lambda verbs: verbs.set_fact("a", 1, NOW))  # writers have a connection of their own


def test_lock_that_never_comes_is_said(
    opened: Callable[..., PostgresStore], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    hasty = postgres_engine._SETTINGS.replace("lock_timeout = 8000", "lock_timeout = 50")
    monkeypatch.setattr(postgres_engine, "_SETTINGS", hasty)
    monkeypatch.setattr(postgres_engine, "RECONNECT_S", 0.1)
    store = opened()
    with as_admin(url) as connection:
        connection.execute(f"SELECT pg_advisory_lock({postgres_engine.WRITER})")
        with pytest.raises(StoreUnavailable, match=r"cannot be written: .*lock timeout"):
            store.write(lambda verbs: verbs.set_fact("a", 1, NOW))
    store.write(lambda verbs: verbs.set_fact("a", 1, NOW))


# A line that is cut


@pytest.fixture
def relay(postgres: Postgres) -> Iterator[Relay]:
    with closing(Relay(postgres.socket)) as made:
        yield made


@pytest.fixture
def cut_off(url: str, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresStore]:
    """A store whose line to its database a test may cut; it notices soon."""
    monkeypatch.setattr(postgres_engine._Line, "silence_s", HASTE_S)
    for name in ("SILENCE_S", "PATIENCE_S", "RECONNECT_S", "LISTENING_S"):
        monkeypatch.setattr(postgres_engine, name, HASTE_S)
    monkeypatch.setattr(postgres_engine, "EAR_S", HASTE_S / 5)
    monkeypatch.setitem(postgres_engine._KEEPALIVES, "connect_timeout", 1)
    with closing(PostgresStore(relay.to(url))) as store:
        yield store


@pytest.mark.parametrize("how", [SWALLOWED, RESET])
def test_cut_line_is_said_and_mends_itself(cut_off: PostgresStore, relay: Relay, how: str) -> None:
    woken = threading.Event()
    cut_off.begin(woken.set, lambda: None)
    cut_off.write(lambda verbs: verbs.set_fact("a", 1, NOW))
    at_once(4, lambda _: cut_off.read(lambda verbs: verbs.fact("a")))  # so many lines are there to be lost
    relay.cut(how)
    for use in (cut_off.write, cut_off.read, cut_off.write, cut_off.read):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            use(lambda verbs: verbs.fact("a"))
        assert time.monotonic() - began < 5 * HASTE_S
    woken.clear()
    relay.mend()
    wait_for(lambda: works(cut_off))
    assert woken.wait(LONG_S)  # something may have been missed
    woken.clear()
    keep(cut_off, an_operation())
    assert woken.wait(LONG_S)


def works(store: PostgresStore) -> bool:
    try:
        store.write(lambda verbs: verbs.set_fact("a", 2, NOW))
        return store.read(lambda verbs: verbs.fact("a")) == 2
    except StoreUnavailable:
        return False
