"""What can be seen of the machine: the disk that the store lies on, and how large the store is."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ENDINGS = ("", "-wal", "-shm")  # the files of one SQLite store


@dataclass(frozen=True, slots=True)
class Disk:
    """The store and the room around it, in bytes; `free` is what this user may still fill."""

    free: int
    size: int
    store: int

    @property
    def free_share(self) -> float:
        """From 0 to 1, as `df` counts it: what root keeps for itself is no room."""
        return self.free / self.size if self.size else 0.0


Machine = Callable[[], Disk | None]


def machine(store: Path | None) -> Machine:
    """What looks at the disk of this store; it finds None where there is no file, or it cannot be seen."""

    def look() -> Disk | None:
        if store is None:
            return None
        try:
            found = os.statvfs(store.parent)
        except OSError:
            return None
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        free = found.f_bavail * found.f_frsize
        return Disk(free, used + free, sum(map(_bytes, _files(store))))

    return look


def _files(store: Path) -> list[Path]:
    return [store.with_name(store.name + ending) for ending in ENDINGS]


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
