"""One store into another: `store copy`, and the copies that are made of PostgreSQL and put back into it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provisioner.cli.invocation import Family, Invocation, invoked, local_user
from provisioner.cli.output import as_json, print_json, print_table
from provisioner.errors import StoreUnusable

if TYPE_CHECKING:
    from provisioner.config import StoreSettings
    from provisioner.store import Store
    from provisioner.store.copy import Copied
    from provisioner.store.verbs import Verbs

TOLD_EVERY = 10_000  # rows
COLUMNS = ("table", "rows", "sha256")


@click.group(cls=Family)
def store() -> None:
    """The store as a whole: from SQLite to PostgreSQL, or back."""


@store.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@as_json
@invoked
def copy(invocation: Invocation, source: str, target: str, *, as_json: bool) -> None:
    """Copy the whole store FROM one address TO an empty one; the first is served no more.

    Addresses are those of [store] url, or env:NAME or file:PATH where a password is in them. End the service
    before. The keys are not copied: see docs/scaling.md.
    """
    from provisioner.app import bare_store, open_store
    from provisioner.config import store_at
    from provisioner.store.copy import refuse_full

    here = Path.cwd()
    first, second = (store_at(address, here, os.environ) for address in (source, target))
    if first.path is not None and not first.path.exists():  # opening it would make it, and copy nothing
        raise StoreUnusable(f"there is no store {first.path} to copy")
    with closing(open_store(first)) as before, closing(bare_store(second)) as after:
        _refuse_served(before, after)
        refuse_full(after)
        with _leaving(before, after):
            copied = _copy(before, after)
    if as_json:
        print_json({"tables": [asdict(one) for one in copied]})
        return
    print_table(COLUMNS, [asdict(one) for one in copied])
    click.echo(
        f"{before.name} is copied to {after.name}, and both were compared. Now name that one in [store] url; "
        f"{before.name} is kept as it is, and refuses to be served."
    )


def to_file(where: StoreSettings, file: Path) -> None:
    """Copies a served database to a new SQLite file, which is marked as a copy.

    :raises StoreUnusable: the file exists, or one of the two cannot be used.
    """
    from provisioner.app import open_store
    from provisioner.store.backup import BACKUP, marked_as
    from provisioner.store.sqlite import SqliteStore

    if file.exists():
        raise StoreUnusable(f"{file} exists already: name a new file")
    partial = file.with_name(file.name + ".partial")
    with ExitStack() as stack:
        stack.callback(_unlink, partial)
        source = stack.enter_context(closing(open_store(where)))
        with closing(SqliteStore(partial)) as target:
            _copy(source, target)
        marked_as(partial, BACKUP, source.clock())
        partial.replace(file)


def from_file(where: StoreSettings, file: Path) -> bool:
    """Puts a copy into an empty database.

    :returns: whether it must recover first; one that had moved goes on.
    :raises StoreUnusable: the file is no marked copy, or the database is not empty or is served.
    """
    from provisioner.app import bare_store
    from provisioner.store.backup import BACKUP, MOVED, RECOVERING, marked, unmarked_copy
    from provisioner.store.sqlite import SqliteStore

    taken_at = marked(file, BACKUP)
    if taken_at is None:
        raise StoreUnusable(f"{file} is no copy that `provisioner backup` made")
    recovers = marked(file, MOVED) is None
    with tempfile.TemporaryDirectory(prefix="provisioner-") as folder:
        readable = Path(folder) / "copy.db"
        unmarked_copy(file, readable)
        with (
            closing(SqliteStore(readable, lambda version: None)) as source,
            closing(bare_store(where)) as target,
        ):
            _refuse_served(target)
            _copy(source, target)
            if recovers:
                now = target.clock()
                mark = {"at": now, "taken_at": taken_at, "user": local_user()}
                target.write(lambda verbs: verbs.set_fact(RECOVERING, mark, now))
    return recovers


def _copy(source: Store, target: Store) -> list[Copied]:
    from provisioner.store.copy import copy_rows

    return copy_rows(source, target, time.time_ns() // 1_000_000, _telling())


def _telling() -> Callable[[str, int, int], None]:
    """Says how far it is, now and then, where no program reads it."""

    def tell(table: str, done: int, of: int) -> None:
        if done == of or done % TOLD_EVERY == 0:
            click.echo(f"{table}: {done} of {of}", err=True)

    return tell


def _refuse_served(*stores: Store) -> None:
    for one in stores:
        if one.is_served():
            raise StoreUnusable(f"{one.name} is served: end `provisioner serve` on every node first")


@contextmanager
def _leaving(source: Store, target: Store) -> Iterator[None]:
    """Nothing is accepted here any more, unless it is not accepted there either."""
    from provisioner.audit import LOCAL, Deed
    from provisioner.store.backup import MOVED

    now, to = source.clock(), target.name
    deed = Deed(
        at=now, actor="admin:admin", action="store.left", address=LOCAL, billing="", service_id="",
        operation="", vmid=None, reason="", detail={"to": to, "user": local_user()},
    )  # fmt: skip

    def leave(verbs: Verbs) -> None:
        verbs.set_fact(MOVED, {"to": to, "at": now}, now)
        verbs.add_audit(deed)

    source.write(leave)
    try:
        yield
    except BaseException:
        source.write(lambda verbs: verbs.drop_fact(MOVED))
        raise


def _unlink(partial: Path) -> None:
    """What a broken copy leaves; of a whole one only its lock file."""
    for ending in ("", "-wal", "-shm", ".lock"):
        partial.with_name(partial.name + ending).unlink(missing_ok=True)
