"""A consistent copy of the SQLite store while the service runs, and its way back (contract, promise 8).

A copy is marked as one, so that it is never served by mistake: a store that comes back re-runs history. The
copy of a store that has moved is the exception: nothing happens after it, so it goes on where it is put.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provisioner.errors import StoreUnusable

BACKUP = "is_backup"  # the fact that marks a copy
RECOVERING = "recovering"  # the fact that marks a store that was put back
MOVED = "moved"  # the fact that marks a store that goes on elsewhere, and every copy of it
BESIDE = ("-wal", "-shm", "-journal")  # the endings of what SQLite keeps beside a store
ROOM = 1.2  # times the store's size: a copy, and what the update itself adds


@dataclass(frozen=True, slots=True)
class PutBack:
    """A copy that is the store again: where the one before is kept, and whether it must recover first."""

    kept: Path | None
    recovers: bool


def copy_store(store: Path, to: Path, now: int) -> None:
    """Copies the store, served or not, to a new file of mode 0600, and marks the copy.

    :param now: milliseconds since the epoch, UTC.
    :raises StoreUnusable: the target exists, or one of the two cannot be used.
    """
    if not store.exists():
        raise StoreUnusable(f"there is no store {store} to copy")
    partial = to.with_name(to.name + ".partial")
    try:
        _create(to)
    except FileExistsError:
        raise StoreUnusable(f"{to} exists already: name a new file") from None
    except OSError as error:
        raise StoreUnusable(f"{to} cannot be written: {error.strerror}") from error
    try:
        with _gone_if_it_fails(to), _filling(partial):
            _copy(store, partial)
            _mark(partial, BACKUP, now)
            partial.replace(to)
    except (sqlite3.Error, OSError) as error:
        raise StoreUnusable(f"the store {store} could not be copied to {to}: {error}") from error


def copy_aside(store: Path, version: int, now: int) -> Path:
    """Copies a store beside itself before it is brought up to date; with its version this is the way back.

    :param version: of its schema.
    :raises StoreUnusable: there is no room, or it cannot be copied.
    """
    aside = store.with_name(f"{store.name}.schema-{version}-{now}")
    needed, free = int(store.stat().st_size * ROOM), shutil.disk_usage(store.parent).free
    if free < needed:
        raise StoreUnusable(
            f"the store {store} must be copied before it is brought up to date, which takes "
            f"{needed >> 20} MB; {store.parent} has {free >> 20} MB free: make room"
        )
    copy_store(store, aside, now)
    return aside


def put_back(backup: Path, store: Path, now: int, user: str = "") -> PutBack:
    """Puts a copy where the store is; the store that was there is kept beside it, and nothing serves it.

    :param user: who does it, for the audit.
    :raises StoreUnusable: the file is no marked copy, or cannot be put there.
    """
    partial = store.with_name(store.name + ".restored")
    try:
        with _filling(partial):
            recovers = _readied(backup, partial, now, user)
            kept = _set_aside(store, now)
            partial.replace(store)
    except (sqlite3.Error, OSError) as error:
        raise StoreUnusable(f"{backup} could not be put back as {store}: {error}") from error
    return PutBack(kept, recovers)


def _readied(backup: Path, partial: Path, now: int, user: str) -> bool:
    """Fills a file with what can be served of a copy; returns whether it must recover first."""
    _copy(backup, partial)
    taken_at = marked(partial, BACKUP)
    if taken_at is None:
        raise StoreUnusable(f"{backup} is no copy that `provisioner backup` made")
    recovers = marked(partial, MOVED) is None
    if recovers:
        _mark(partial, RECOVERING, now, {"at": now, "taken_at": taken_at, "user": user})
    _unmark(partial, MOVED)
    _unmark(partial, BACKUP)
    return recovers


def _set_aside(store: Path, now: int) -> Path | None:
    """Keeps the store that is there under another name; None where there is none."""
    if not store.exists():
        return None
    kept = store.with_name(f"{store.name}.before-restore-{now}")
    for ending in ("", *BESIDE):
        beside = store.with_name(store.name + ending)
        if beside.exists():
            beside.rename(kept.with_name(kept.name + ending))
    return kept


def marked_as(path: Path, name: str, now: int) -> None:
    """Marks a store that nobody has open, and leaves it as one file."""
    _mark(path, name, now)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=delete").fetchall()
    path.chmod(0o600)


def unmarked_copy(backup: Path, to: Path) -> None:
    """A copy's own copy, which can be worked with; for its owner alone.

    :raises StoreUnusable: it cannot be read, or not be written there.
    """
    try:
        _create(to)
        _copy(backup, to)
        _unmark(to, BACKUP)
        _unmark(to, MOVED)
    except (sqlite3.Error, OSError) as error:
        raise StoreUnusable(f"{backup} cannot be read: {error}") from error


def _create(path: Path) -> None:
    """A new file for its owner alone, before anything is in it; what SQLite keeps beside it has its mode."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


@contextmanager
def _filling(partial: Path) -> Iterator[None]:
    """A file that is to replace another when it is whole: made anew, and gone again if that fails."""
    _unlink(partial)
    with _gone_if_it_fails(partial):
        _create(partial)
        yield


@contextmanager
def _gone_if_it_fails(path: Path) -> Iterator[None]:
    """Whatever it is that fails: of a copy that was broken off nothing stays, either."""
    try:
        yield
    except BaseException:
        _unlink(path)
        raise


def _unlink(path: Path) -> None:
    for ending in ("", *BESIDE):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    # Read-only: a second connection that could write or checkpoint is what SQLite's WAL-reset bug needs.
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as read,
        closing(sqlite3.connect(target)) as written,
    ):
        read.backup(written)
        written.execute("PRAGMA journal_mode=delete").fetchall()


def _mark(path: Path, name: str, now: int, value: object = None) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO facts (name, value, updated_at) VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
            (name, json.dumps(now if value is None else value), now),
        )


def _unmark(path: Path, name: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM facts WHERE name = ?", (name,))


def marked(path: Path, name: str) -> Any:
    """The value of a mark; None where there is none.

    :raises StoreUnusable: the file is no store.
    """
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    except sqlite3.Error as error:
        raise StoreUnusable(f"{path} is no store: {error}") from error
    return None if row is None else json.loads(row[0])
