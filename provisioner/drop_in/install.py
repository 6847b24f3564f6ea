"""Puts a drop-in into a billing system's tree, and a later version over an earlier one.

What a person changed there stays. So that this is known, the SHA-256 of each file as it was installed is
noted in the drop-in's own folder.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from provisioner import __version__
from provisioner.drop_in import DropIn, File
from provisioner.drop_in.tree import UNSERVED, Tree
from provisioner.errors import InstallRefused


class Result(StrEnum):
    """What becomes of one file."""

    COPIED = "copied"  # it was not there
    UPDATED = "updated"  # it was as an earlier install had left it
    REMOVED = "removed"  # it was so too, and is no part of the drop-in any more
    UNCHANGED = "unchanged"  # it is ours already
    KEPT = "kept"  # somebody changed it there


# New files come before the changed ones that may need them, and what nothing needs any more goes last.
_WRITES = (Result.COPIED, Result.UPDATED, Result.REMOVED)

MOST_NOTE_BYTES = 1 << 20  # some thousands of files; a longer one is none of ours


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one file; `note` says of a kept one why, and how to see the difference."""

    path: str
    result: Result
    note: str = ""


def install(drop_in: DropIn, to: Path, *, dry_run: bool = False) -> list[Change]:
    """Installs a drop-in, or brings an installed one up to date.

    Each file is written beside its place and renamed; all are written before the first is renamed, so a full
    disk changes nothing.

    :param to: the platform's own tree.
    :param dry_run: only says what would be done.
    :returns: what became of each file, by their paths.
    :raises InstallRefused: it is not that platform's tree, a link leads out of it, or it is not writable.
    """
    tree = Tree(to)
    _check_platform(drop_in, tree)
    files, noted = drop_in.files(), _noted(drop_in, tree)
    judged = [_judged(tree, path, files.get(path), noted.get(path, "")) for path in sorted({*files, *noted})]
    changes = [change for change in judged if change is not None]
    writes = sorted((change for change in changes if change.result in _WRITES), key=_turn)
    for path in (*(change.path for change in writes), _note_path(drop_in)):
        tree.check_writable(path)
    if not dry_run:
        _carry_out(drop_in, tree, writes, {**files, _note_path(drop_in): _note(files, noted, changes)})
    return changes


def _check_platform(drop_in: DropIn, tree: Tree) -> None:
    home = drop_in.folder.parent
    if not tree.has_folder(home):
        raise InstallRefused(
            f"{tree.root} is not the tree of a {drop_in.platform}: there is no folder {home} in it; "
            f"--to names the folder that holds {home.parts[0]}"
        )


def _judged(tree: Tree, path: str, file: File | None, noted: str) -> Change | None:
    """What is to become of a file; None where it is gone here and there.

    :param noted: the SHA-256 of what an earlier install left there, or nothing.
    """
    there = tree.digest(path)
    if there is None:
        return Change(path, Result.COPIED) if file else None
    if file and there == file.sha256:
        return Change(path, Result.UNCHANGED)
    if there == noted:
        return Change(path, Result.UPDATED if file else Result.REMOVED)
    if file is None:
        return Change(path, Result.KEPT, "changed there, and no part of the drop-in any more")
    see = shlex.join(["diff", "-u", str(file.source), str(tree.root / path)])
    return Change(path, Result.KEPT, f"changed there, see: {see}")


def _turn(change: Change) -> tuple[int, int, str]:
    """In which order files change: inner ones first, for the outer ones load them."""
    return _WRITES.index(change.result), -change.path.count("/"), change.path


def _carry_out(drop_in: DropIn, tree: Tree, writes: Sequence[Change], files: Mapping[str, File]) -> None:
    removed = [change.path for change in writes if change.result is Result.REMOVED]
    written = [change.path for change in writes if change.result is not Result.REMOVED]
    note = _note_path(drop_in)
    if tree.digest(note) != files[note].sha256:
        written.append(note)
    with ExitStack() as stack:
        staged = {}
        for path in written:
            staged[path] = tree.stage(path, files[path].content, files[path].mode)
            stack.callback(tree.discard, staged[path], path)
        for path in written:
            tree.put(staged[path], path)
    for path in removed:
        tree.remove(path)
        _remove_emptied(drop_in, tree, path)


def _remove_emptied(drop_in: DropIn, tree: Tree, path: str) -> None:
    for folder in PurePosixPath(path).parents:
        if folder.is_relative_to(drop_in.folder):
            tree.remove_empty(folder)


# The note of what was installed


def _note_path(drop_in: DropIn) -> str:
    return (drop_in.folder / f"{UNSERVED}{drop_in.platform}.json").as_posix()


def _note(files: Mapping[str, File], noted: Mapping[str, str], changes: Sequence[Change]) -> File:
    """The note as it is to be: a kept file stays noted as it was installed, so that it may be put back."""
    left = {
        change.path: noted.get(change.path, "") if change.result is Result.KEPT else files[change.path].sha256
        for change in changes
        if change.result is not Result.REMOVED
    }
    facts = {"version": __version__, "sha256": {path: digest for path, digest in left.items() if digest}}
    return File(Path(), f"{json.dumps(facts, indent=2)}\n".encode(), 0o644)


def _noted(drop_in: DropIn, tree: Tree) -> dict[str, str]:
    """What an earlier install left there; a note that is none is no reason to overwrite or remove anything.

    Only what is in the drop-in's own folder is believed: whoever can write there could name any file.
    """
    try:
        digests = dict(json.loads(tree.read(_note_path(drop_in), MOST_NOTE_BYTES) or b"{}")["sha256"])
    except (ValueError, KeyError, TypeError):
        return {}
    return {
        path: digest
        for path, digest in digests.items()
        if isinstance(digest, str) and ".." not in path and PurePosixPath(path).is_relative_to(drop_in.folder)
    }
