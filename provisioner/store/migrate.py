"""From any released schema to the present one. `schema.sql` is the whole truth; a test proves that the
migrations lead to it.

Each migration says in its first line whether nodes of the version before may go on beside it (`-- pre:`, it
only adds) or must have ended (`-- post:`, it takes away what they use, which this version does without), or
that SQLite alone needs it (`-- sqlite:`).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from provisioner.errors import StoreUnusable

SCHEMA_VERSION = 7
PRE, POST, SQLITE = "-- pre: ", "-- post: ", "-- sqlite: "


def statements(script: str) -> Iterator[str]:
    """The statements of a script one by one, so that they can run inside a transaction of ours."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""
    if statement.strip() and not statement.strip().startswith("--"):
        raise ValueError(f"the script ends within a statement: {statement.strip()[:80]}")


def version_in(connection: sqlite3.Connection) -> int:
    """The version of a store's schema; 0 where there is none yet."""
    tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'").fetchall()
    return int(connection.execute("SELECT version FROM schema_version").fetchone()[0]) if tables else 0


def version_of(path: Path) -> int:
    """The same of a file, which may be in use; 0 where it cannot be read."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            return version_in(connection)
    except sqlite3.Error:
        return 0


def refuse_foreign(tables: Collection[str], name: object, remedy: str) -> None:
    """:raises StoreUnusable: the database has tables, and ours are not among them; the remedy is in it."""
    if tables and "schema_version" not in tables:
        raise StoreUnusable(
            f"{name} is another program's database (it has a table {min(tables)}); {remedy} in [store] url"
        )


def prepare_update(
    version: int, name: object, before_update: Callable[[int], None] | None, *, back: str = "", how: str = ""
) -> None:
    """Before a store of this version is used: a newer one is refused, an older one unless it may be updated.

    :param before_update: called with the version of an older one; None: it may not be.
    :param back: what helps besides a newer version; `how` what `serve` does to an older store first.
    :raises StoreUnusable: it is newer, or older (`store_older`).
    """
    if version > SCHEMA_VERSION:
        raise StoreUnusable(
            f"the store {name} was written by a newer version (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); start the newer version{back}"
        )
    if 0 < version < SCHEMA_VERSION:
        if before_update is None:
            raise StoreUnusable(
                f"the store {name} is of an older version (schema {version}, this one writes "
                f"{SCHEMA_VERSION}); start `provisioner serve`, which {how}brings it up to date",
                code="store_older",
            )
        before_update(version)


def create() -> list[str]:
    """What makes a new store."""
    script = files("provisioner.store").joinpath("schema.sql").read_text("utf-8")
    return [*statements(script), f"INSERT INTO schema_version (version) VALUES ({SCHEMA_VERSION})"]  # noqa: S608 - a number of ours


def migrate(version: int, *, is_shared: bool = False) -> list[str]:
    """What brings a store of this version up to date; nothing where it is.

    Each file in `migrations/` is named after the version that it leads to: `0002_words.sql`.

    :param is_shared: whether it is on PostgreSQL.
    """
    scripts = [one for one in _scripts(version) if not (is_shared and one.startswith(SQLITE))]
    wanted = [sql for script in scripts for sql in statements(script)]
    done = f"UPDATE schema_version SET version = {SCHEMA_VERSION}"  # noqa: S608 - a number of ours
    return [*wanted, done] if version < SCHEMA_VERSION else []


def takes_away(version: int) -> bool:
    """Whether what brings a store of this version up to date is not for nodes of the version before."""
    return any(script.startswith(POST) for script in _scripts(version))


def _scripts(version: int) -> Iterator[str]:
    """The migrations that a store of this version has still to go through, in their order."""
    for file in sorted(files("provisioner.store").joinpath("migrations").iterdir(), key=lambda f: f.name):
        match = re.fullmatch(r"(\d{4})_\w+\.sql", file.name)
        if match and version < int(match[1]) <= SCHEMA_VERSION:
            yield file.read_text("utf-8")
