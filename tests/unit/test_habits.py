"""Said once, proved everywhere: the code's words, the store's, and the README's are the same."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from provisioner import __version__
from provisioner.audit import AuditLine
from provisioner.delivery import Delivery, DeliveryState
from provisioner.operation import CLAIMABLE, OPEN, TRANSITIONS, Kind, Operation, State
from provisioner.service import Service, ServiceStatus
from provisioner.store import migrate, verbs
from provisioner.store.verbs import QUERIES, StoredEvent, Verbs
from provisioner.web.queries import DROP_IN

ROOT = Path(__file__).parents[2]
STORE = ROOT / "provisioner" / "store"
SCHEMA = (STORE / "schema.sql").read_text("utf-8")
CHART = re.compile(r"<!-- states -->(.*)<!-- /states -->", re.DOTALL)
EDGE = re.compile(r"^\s*(\S+) --> (\S+)", re.MULTILINE)


def built(statements: Sequence[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    return connection


@pytest.fixture
def schema() -> Iterator[sqlite3.Connection]:
    connection = built(migrate.create())
    yield connection
    connection.close()


def words_of(text: str) -> set[str]:
    return set(re.findall(r"'(\w*)'", text))


def checked_words(table: str, column: str) -> set[str]:
    """The words that the schema's CHECK allows in a column."""
    definition = re.search(rf"CREATE TABLE {table} \((.*?)\n\);", SCHEMA, re.DOTALL)
    assert definition is not None
    check = re.search(rf"CHECK \(({column} = '\w+'(?:\s+OR {column} = '\w+')*)\)", definition[1])
    assert check is not None
    return words_of(check[1])


@pytest.mark.parametrize(
    ("table", "column", "words"),
    [
        ("operations", "kind", Kind),
        ("operations", "state", State),
        ("services", "status", ServiceStatus),
        ("deliveries", "state", DeliveryState),
    ],
)
def test_schema_has_the_same_words(table: str, column: str, words: type[StrEnum]) -> None:
    assert checked_words(table, column) == {word.value for word in words}


def test_every_state_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(State)
    assert CLAIMABLE < OPEN < set(State)


EXCLUDED = re.compile(r"\bstate <> '\w+'(?: AND state <> '\w+'){2,}")  # all states but these


def plain(sql: str) -> str:
    """A statement on one line, its columns without their table's name."""
    return re.sub(r"\bo\.", "", " ".join(sql.split()))


def test_queries_know_the_same_states() -> None:
    """Those that list states, and those that list all others, mean what the code means by a name."""
    queries = plain("\n".join(QUERIES.values()))
    listed = [words_of(words) for words in re.findall(r"state IN \(([^)]*)\)", queries)]
    left = [{word.value for word in State} - words_of(found[0]) for found in EXCLUDED.finditer(queries)]
    assert listed
    assert left
    taken = [{word.value for word in CLAIMABLE}, {word.value for word in OPEN}]
    assert [words for words in [*listed, *left] if words not in taken] == []


def test_claims_find_their_index() -> None:
    """A partial index serves only those who ask in its own words."""
    index = re.search(r"CREATE INDEX operations_due .*?WHERE (.*?);", SCHEMA, re.DOTALL)
    assert index is not None
    for query in ("claim_operation", "next_operation_at", "oldest_due_operation"):
        assert plain(index[1]) in plain(QUERIES[query])


def test_chart_shows_every_transition() -> None:
    chart = CHART.search((ROOT / "README.md").read_text("utf-8"))
    assert chart is not None
    ends = {("[*]", State.QUEUED.value)} | {(state.value, "[*]") for state in State if not TRANSITIONS[state]}
    moves = {(before.value, after.value) for before in TRANSITIONS for after in TRANSITIONS[before]}
    edges = EDGE.findall(chart[1])
    assert set(edges) == moves | ends
    assert len(edges) == len(set(edges))


@pytest.mark.parametrize(
    ("table", "row", "computed"),
    [
        ("services", Service, set()),
        ("operations", Operation, {"blocks"}),
        ("deliveries", Delivery, set()),
        ("events", StoredEvent, set()),
        ("audit", AuditLine, set()),
    ],
)
def test_rows_have_the_same_fields(
    schema: sqlite3.Connection, table: str, row: type[Any], computed: set[str]
) -> None:
    columns = {column[1] for column in schema.execute(f"PRAGMA table_info({table})")}
    assert columns == set(row.__annotations__) | computed
    assert all(isinstance(getattr(row, name), property) for name in computed)


def test_every_query_is_run() -> None:
    code = Path(str(verbs.__file__)).read_text("utf-8")
    run = re.findall(r"self\._(?:run|one|change|put|add)\(\s*\"(\w+)\"", code)
    assert set(run) == set(QUERIES)


def test_what_is_only_put_has_no_answer_that_is_missed() -> None:
    code = Path(str(verbs.__file__)).read_text("utf-8")
    put = re.findall(r"self\._(?:change|put|add)\(\s*\"(\w+)\"", code)
    assert put
    assert [name for name in put if re.search(r"^SELECT|RETURNING", QUERIES[name], re.MULTILINE)] == []


def test_every_query_says_its_purpose() -> None:
    assert [name for name, query in QUERIES.items() if not query.startswith("-- ")] == []


@pytest.mark.parametrize("query", QUERIES)
def test_query_fits_the_schema(schema: sqlite3.Connection, query: str) -> None:
    parameters = dict.fromkeys(re.findall(r":(\w+)", QUERIES[query]), 1)
    schema.execute(f"EXPLAIN {QUERIES[query]}", parameters)


def test_drop_in_and_service_understand_each_other() -> None:
    """Each says the least version of the other that it works with, and both are what is shipped."""
    module = (
        ROOT / "hooks" / "billing" / "whmcs" / "modules" / "servers" / "provisioner" / "lib" / "Module.php"
    )
    said = dict(re.findall(r"const (\w+) = '([^']+)'", module.read_text("utf-8")))
    assert said["VERSION"] == DROP_IN["newest"]
    assert numbers(DROP_IN["minimum"]) <= numbers(said["VERSION"])
    assert numbers(said["LEAST_SERVICE"]) <= numbers(__version__)


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


# Migrations


def shape(connection: sqlite3.Connection) -> dict[str, Any]:
    """What a schema says, whatever way led to it: the order of columns and the spelling are no matter."""
    found: dict[str, Any] = {}
    objects = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master"
    for kind, name, table, sql in connection.execute(objects).fetchall():
        text = " ".join(re.sub(r"--.*", "", sql).split())
        if kind == "table":
            columns = {tuple(row[1:]) for row in connection.execute(f"PRAGMA table_xinfo({name})")}
            keys = {tuple(row[1:]) for row in connection.execute(f"PRAGMA foreign_key_list({name})")}
            checks = sorted(re.findall(r"CHECK \((?:[^()]|\([^()]*\))*\)", text))
            found[name] = (columns, keys, checks)
        else:
            columns = {tuple(row) for row in connection.execute(f"PRAGMA index_xinfo({name})")}
            named = {(row[0], *row[2:]) for row in columns}  # without the column's place in the table
            found[name] = (table, named, text)
    return found


def test_migrations_lead_to_the_schema(schema: sqlite3.Connection) -> None:
    """Before the first release a change goes into both; afterwards 0001 stands, and a migration follows."""
    migrated = built(migrate.migrate(0))
    assert shape(migrated) == shape(schema)
    migrated.close()


def test_migrations_are_numbered_without_gaps() -> None:
    names = sorted(file.name for file in (STORE / "migrations").glob("*.sql"))
    assert [int(name[:4]) for name in names] == list(range(1, migrate.SCHEMA_VERSION + 1))
    assert all(re.fullmatch(r"\d{4}_\w+\.sql", name) for name in names)


def test_migrations_say_whether_the_version_before_may_go_on() -> None:
    """One that says so only adds, and what it adds to a table has a value in the rows of others; an index may
    be made anew under its name, for it changes no answer."""
    adds = re.compile(
        r"(--[^\n]*\n|\s)*(CREATE (TABLE|(UNIQUE )?INDEX)\b"
        r"|ALTER TABLE \w+ ADD COLUMN (?=.*\bDEFAULT\b|((?!NOT NULL).)*$))",
        re.DOTALL,
    )
    for file in (STORE / "migrations").glob("*.sql"):
        script = file.read_text()
        assert script.startswith((migrate.PRE, migrate.POST, migrate.SQLITE)), file.name
        if script.startswith(migrate.PRE):
            anew = {f"DROP INDEX {name};" for name in re.findall(r"CREATE INDEX (\w+)", script)}
            done = [sql for sql in migrate.statements(script) if not adds.match(sql)]
            assert [sql for sql in done if re.sub(r"--.*\n", "", sql) not in anew] == [], file.name


def test_migration_that_takes_away_is_known_before_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "_scripts", lambda version: ["-- pre: a.\nA;", "-- post: b.\nB;"][version:])
    assert migrate.takes_away(1)
    assert not migrate.takes_away(2)


@pytest.mark.parametrize(("kind", "most"), [("index", 0), ("table", 2)])
def test_nothing_that_is_written_is_compared_with_a_list(
    schema: sqlite3.Connection, kind: str, most: int
) -> None:
    """SQLite builds a table of an index's list at each write to its table, whatever is written, and of a
    CHECK's list of more than two."""
    made = schema.execute("SELECT sql FROM sqlite_master WHERE type = ? AND sql IS NOT NULL", (kind,))
    lists = [found for (sql,) in made.fetchall() for found in re.findall(r"\bIN\s*\(([^)]*)\)", sql)]
    assert [words for words in lists if len(words.split(",")) > most] == []


def test_postgresql_does_without_what_sqlite_alone_needs() -> None:
    scripts = [file.read_text("utf-8") for file in sorted((STORE / "migrations").glob("*.sql"))]
    shared = [one for one in scripts if not one.startswith(migrate.SQLITE)]
    assert shared != scripts
    wanted = [sql for one in shared for sql in migrate.statements(one)]
    newest = migrate.SCHEMA_VERSION
    assert migrate.migrate(0, is_shared=True)[:-1] == wanted
    assert migrate.migrate(newest - 1, is_shared=True)[-1].endswith(f"= {newest}")


def test_rows_go_into_new_tables_as_they_are() -> None:
    scripts = [file.read_text("utf-8") for file in sorted((STORE / "migrations").glob("*.sql"))[:6]]
    store = built([sql for one in scripts for sql in migrate.statements(one)])
    store.execute("PRAGMA foreign_keys = 1")
    fill(store)
    before = contents(store)
    store.execute("BEGIN IMMEDIATE")
    for sql in migrate.migrate(6):
        store.execute(sql)
    store.execute("COMMIT")
    assert contents(store) == before
    assert [len(before[table]) for table in ("services", "operations")] == [SERVICES, OPERATIONS]
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        store.execute("DELETE FROM services")
    store.close()


def contents(connection: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, columns by their names: a migration may have added one behind others."""
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    columns = {
        name: sorted(column[1] for column in connection.execute(f"PRAGMA table_info({name})"))
        for (name,) in found
        if name != "schema_version"
    }
    return {
        name: sorted(connection.execute(f"SELECT {', '.join(named)} FROM {name}").fetchall(), key=repr)
        for name, named in columns.items()
    }


def test_present_store_needs_no_migration() -> None:
    assert migrate.migrate(migrate.SCHEMA_VERSION) == []


# The audit


def test_every_action_of_the_audit_is_explained() -> None:
    code = "\n".join(file.read_text("utf-8") for file in (ROOT / "provisioner").rglob("*.py"))
    whole = set(re.findall(r'(?:\.audit\(|Deed\(|ERASED = )[^"]*?"(\w+\.\w+)"', code))
    ends = set(re.findall(r'\.audit_of\(\s*\w+, "(\w+)"', code))
    explained = set(re.findall(r"`(\w+\.\w+)`", (ROOT / "docs" / "audit.md").read_text("utf-8")))
    assert whole
    assert ends
    assert whole | {f"KIND.{end}" for end in ends} <= explained
    told = {word for word in explained if not word.startswith("KIND.")} - {"terminate.done"}
    assert told == whole, "nothing is explained that is not written"


# Query plans

SERVICES = 1000
OPERATIONS = 4000


def fill(connection: sqlite3.Connection) -> None:
    """A shop of some months: most operations have ended, some wait, some are held back."""
    columns = {
        table: [column[1:3] for column in connection.execute(f"PRAGMA table_info({table})")]
        for table in ("services", "operations", "deliveries", "events", "audit")
    }

    def add(table: str, number: int, **values: Any) -> None:
        plain = {name: "" if kind == "TEXT" else 0 for name, kind in columns[table]}
        row = {**plain, "seq": number, "billing": f"shop{number % 3}", **values}
        places = ", ".join(f":{name}" for name in row)
        connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", row)

    connection.execute("BEGIN")
    for number in range(1, SERVICES + 1):
        add("services", number, service_id=str(number), status="active", vmid=4000 + number)
    for number in range(1, OPERATIONS + 1):
        place = number % SERVICES + 1
        key = {"service_id": str(place), "billing": f"shop{place % 3}", "next_run_at": number}
        state = ("waiting", "queued", "held", "failed")[number % 4] if number % 10 == 0 else "succeeded"
        names = {"id": f"op{number}", "state": state, "kind": "change", "vmid": 4000 + place}
        follows = {"job_id": str(number) if state == "waiting" and number % 20 == 0 else ""}
        add("operations", number, **key, **names, **follows, blocks=int(state != "succeeded"))
        done = "waiting" if number % 10 == 0 else "done"
        add("deliveries", number, **key, id=f"msg{number}", operation=f"op{number}", state=done)
        add("events", number, id=f"evt{number}", webhook_id=str(number), state="accepted")
        of = {"service_id": str(place), "billing": f"shop{place % 3}", "vmid": 4000 + place}
        who = f"admin:{number % 7}" if number % 20 == 0 else f"billing:shop{place % 3}"
        add("audit", number, **of, at=number, actor=who, action="change.accepted", erased_by=None)
    connection.execute("COMMIT")


class Explaining:
    """An engine that tells how each statement would be carried out, and carries none out."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.plan: list[str] = []

    def run(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        rows = self._connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
        self.plan = [row[3] for row in rows]
        return []

    tuples = run


@pytest.fixture(scope="module", params=["as it is", "analysed"])
def explaining(request: pytest.FixtureRequest) -> Iterator[Explaining]:
    connection = built(migrate.create())
    fill(connection)
    if request.param == "analysed":
        connection.execute("ANALYZE")
    yield Explaining(connection)
    connection.close()


@pytest.mark.parametrize(
    ("query", "indexes"),
    [
        ("claim_operation", {"operations_due", "operations_blocking", "sqlite_autoindex_operations_1"}),
        ("claim_look", {"operations_looks_due", "operations_blocking", "sqlite_autoindex_operations_1"}),
        ("next_operation_at", {"operations_due"}),
        ("oldest_due_operation", {"operations_due", "operations_blocking"}),
        ("claim_delivery", {"deliveries_due", "deliveries_waiting", "sqlite_autoindex_deliveries_1"}),
        ("next_delivery_at", {"deliveries_due"}),
        ("park_deliveries", {"deliveries_due"}),
        ("oldest_due_delivery", {"deliveries_due", "deliveries_waiting"}),
        ("release_deliveries", {"deliveries_waiting"}),
        ("take_delivery", {"sqlite_autoindex_deliveries_1"}),
        ("oldest_waiting_delivery", {"deliveries_waiting"}),
        ("claim_hooks", {"deliveries_hooks_due", "sqlite_autoindex_deliveries_1"}),
        ("open_operations_of_service", {"operations_blocking"}),
        ("operations_of_job", {"operations_by_job"}),
        ("deliveries_of_operation", {"deliveries_by_operation"}),
        ("forget_given_up_credentials", {"deliveries_given_up"}),
        ("forget_older_credentials", {"deliveries_waiting", "deliveries_given_up"}),
        ("event_by_webhook", {"sqlite_autoindex_events_3"}),
        ("count_passages", {"brake_passages_by_time"}),
        ("audit_line", {"sqlite_autoindex_audit_1"}),
        ("audit_after", {"sqlite_autoindex_audit_1"}),
        ("prune_audit", {"sqlite_autoindex_audit_1"}),
        ("erasable_audit", {"audit_by_service"}),
        ("erase_audit", {"audit_by_service"}),
        ("count_erased", {"audit_by_erasure"}),
    ],
)
def test_frequent_queries_use_indexes(explaining: Explaining, query: str, indexes: set[str]) -> None:
    explaining.run(QUERIES[query], dict.fromkeys(re.findall(r":(\w+)", QUERIES[query]), 1))
    used = {step.split(" INDEX ")[1].split()[0] for step in explaining.plan if " INDEX " in step}
    assert used == indexes, explaining.plan
    assert not [step for step in explaining.plan if step.startswith("SCAN")]
    if query not in ("deliveries_of_operation", "operations_of_job"):  # a handful of rows may be sorted
        assert not [step for step in explaining.plan if "TEMP B-TREE" in step]


def test_fetching_reads_what_waits(explaining: Explaining) -> None:
    """It ranks all that waits for one billing system by ids alone, and reads those whole that it gives."""
    explaining.run(QUERIES["deliveries_to_fetch"], {"billing": "shop1", "limit": 100})
    read = [step for step in explaining.plan if "INDEX" in step]
    assert [step.split(" INDEX ")[1] for step in read] == [
        "deliveries_waiting (billing=?)",
        "sqlite_autoindex_deliveries_1 (id=?)",
    ]
    assert not [step for step in explaining.plan if step.startswith("SCAN d")]


FILTERS: dict[str, Collection[str]] = {
    "operations": ("state", "kind", "billing", "service_id", "vmid"),
    "services": ("status", "billing", "vmid"),
    "events": ("state", "billing"),
    "audit": ("vmid", "actor", "billing", "service_id"),
}


@pytest.mark.parametrize("cursor", [None, 2000])
@pytest.mark.parametrize(
    ("table", "given"),
    [
        (table, given)
        for table, filters in FILTERS.items()
        for count in range(len(filters) + 1)
        for given in combinations(filters, count)
    ],
)
def test_lists_read_in_their_order(
    explaining: Explaining, table: str, given: tuple[str, ...], cursor: int | None
) -> None:
    """A page ends after its limit: nothing reads all rows to sort them, but the few of a VM or service."""
    getattr(Verbs(explaining), table)(100, cursor, **dict.fromkeys(given, "x"))
    (access, *sorting) = explaining.plan
    assert " USING INDEX " in access
    assert not sorting or "_by_vmid" in access or "_by_service " in access, explaining.plan
    if {"billing", "service_id"} <= set(given) or {"state", "vmid", "billing", "actor"} & set(given):
        assert access.startswith("SEARCH")


@pytest.mark.parametrize("window", [{"since": 3900}, {"until": 100}, {"since": 100, "until": 200}])
def test_window_of_the_audit_is_found_by_its_index(explaining: Explaining, window: dict[str, int]) -> None:
    Verbs(explaining).audit(100, None, **window)
    reads = [step for step in explaining.plan if step.startswith(("SEARCH", "SCAN"))]
    assert all(step.startswith("SEARCH") for step in reads), explaining.plan
    assert not [step for step in explaining.plan if "TEMP B-TREE" in step]


def test_no_verb_changes_a_line_of_the_audit() -> None:
    """But the two that retention and a customer's erasure need."""
    changing = re.compile(r"\b(UPDATE|DELETE FROM|REPLACE INTO) audit\b|INTO audit\b.*ON CONFLICT", re.DOTALL)
    code = Path(str(verbs.__file__)).read_text("utf-8")
    allowed = {"prune_audit", "erase_audit"}
    assert {name for name, query in QUERIES.items() if changing.search(query)} == allowed
    assert not changing.search(code)
    assert all(code.count(f'"{query}"') == 1 for query in allowed)
