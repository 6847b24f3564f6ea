"""All rows of one store into another, empty one, whichever engines they have; counted and compared.

The source is read as it was at one moment. What was written is read again, and its sums are compared: so a
row that an engine keeps in another way is found before anybody works with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from provisioner.errors import StoreUnavailable, StoreUnusable
from provisioner.store import Store
from provisioner.store.backup import BACKUP, MOVED
from provisioner.store.verbs import Row, Verbs

UNFINISHED = "copy_unfinished"  # the fact that marks a target until it is whole
AT_ONCE = 200  # rows in one statement: few enough for the parameters that SQLite takes

# Each table with what its rows are told apart by, and in an order in which each row finds what it refers to.
KEYS: Mapping[str, Sequence[str]] = {
    "services": ("billing", "service_id"),
    "credentials": ("billing", "service_id"),
    "tombstones": ("billing", "service_id", "vmid"),
    "operations": ("id",),
    "timeline": ("operation", "position"),
    "events": ("id",),
    "deliveries": ("id",),
    "marks": ("subject", "name"),
    "brake_passages": ("kind", "operation"),
    "audit": ("seq",),
    "facts": ("name",),
}
_OF_ONE_STORE = frozenset({UNFINISHED, BACKUP, MOVED})  # what these say of a source is not true of its copy

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Copied:
    """One table: how many rows it has, and the sum of all that is in them, the same in both stores."""

    table: str
    rows: int
    sha256: str


def copy_rows(source: Store, target: Store, now: int, tell: Tell) -> list[Copied]:
    """Copies everything. Until it is done the target is marked, and nobody serves it.

    :param now: milliseconds since the epoch, UTC.
    :param tell: is told how far it is: the table, the rows that are done, and how many there are.
    :raises StoreUnusable: the target is not empty, or what it has kept is not what the source has.
    :raises StoreUnavailable: one of the two cannot be read or written.
    """
    begun = False

    def unit(verbs: Verbs) -> list[Copied]:
        nonlocal begun
        if begun:  # a unit may be run again, and then at another moment
            raise StoreUnavailable(f"{source.name} was lost meanwhile; drop {target.name}, and copy again")
        begun = True
        return [_copy(verbs, table, target, tell) for table in KEYS]

    target.write(lambda verbs: _begin(verbs, target.name, now))
    copied = source.read(unit)
    kept = target.read(lambda verbs: [_sum(table, _rows(verbs, table)) for table in KEYS])
    wrong = [before.table for before, after in zip(copied, kept, strict=True) if before != after]
    if wrong:
        raise StoreUnusable(
            f"{target.name} has not kept {' and '.join(wrong)} as {source.name} has it: drop it, "
            "and report this"
        )
    target.write(lambda verbs: verbs.drop_fact(UNFINISHED))
    return copied


def refuse_full(target: Store) -> None:
    """Looks whether a store has nothing in it.

    :raises StoreUnusable: it has.
    """
    target.read(lambda verbs: _refuse_full(verbs, target.name))


def _refuse_full(verbs: Verbs, name: str) -> None:
    full = [table for table in KEYS if verbs._engine.run(f"SELECT 1 AS found FROM {table} LIMIT 1", {})]  # noqa: S608
    if full:
        raise StoreUnusable(f"{name} is not empty (it has {' and '.join(full)}): name a new one")


def _begin(verbs: Verbs, name: str, now: int) -> None:
    _refuse_full(verbs, name)
    verbs.set_fact(UNFINISHED, now, now)


def _copy(verbs: Verbs, table: str, target: Store, tell: Tell) -> Copied:
    count = int(verbs._engine.run(f"SELECT count(*) AS count FROM {table}", {})[0]["count"])  # noqa: S608
    done, rows = 0, _rows(verbs, table)
    summed = _Sum(table)
    tell(table, 0, count)
    while piece := list(islice(rows, AT_ONCE)):
        sql, parameters = _insert(table, piece)
        target.write(lambda verbs, sql=sql, parameters=parameters: verbs._engine.put(sql, parameters))  # type: ignore[misc]
        for row in piece:
            summed.add(row)
        done += len(piece)
        tell(table, done, count)
    if done != count:  # marks are no part of the copy
        tell(table, done, done)
    return summed.copied()


def _rows(verbs: Verbs, table: str) -> Iterator[Row]:
    """A table's rows in the order of their keys, which both engines compare by bytes."""
    keys = KEYS[table]
    order = ", ".join(keys)
    after: dict[str, object] = {}
    while True:
        beyond = f"WHERE ({order}) > ({', '.join(f':{key}' for key in keys)}) " if after else ""
        sql = f"SELECT * FROM {table} {beyond}ORDER BY {order} LIMIT :limit"  # noqa: S608 - our own names
        rows = verbs._engine.run(sql, {**after, "limit": AT_ONCE})
        yield from (row for row in rows if table != "facts" or row["name"] not in _OF_ONE_STORE)
        if len(rows) < AT_ONCE:
            return
        after = {key: rows[-1][key] for key in keys}


def _insert(table: str, rows: Sequence[Row]) -> tuple[str, dict[str, object]]:
    columns = list(rows[0])
    places = [f"({', '.join(f':{name}_{number}' for name in columns)})" for number in range(len(rows))]
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join(places)}"  # noqa: S608 - our own names
    return sql, {f"{name}_{number}": row[name] for number, row in enumerate(rows) for name in columns}


class _Sum:
    """The sum of a table's rows, whatever order an engine has its columns in."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._rows = 0
        self._hash = hashlib.sha256()

    def add(self, row: Row) -> None:
        self._rows += 1
        self._hash.update(json.dumps(dict(row), sort_keys=True).encode() + b"\n")

    def copied(self) -> Copied:
        return Copied(self._table, self._rows, self._hash.hexdigest())


def _sum(table: str, rows: Iterator[Row]) -> Copied:
    summed = _Sum(table)
    for row in rows:
        summed.add(row)
    return summed.copied()
