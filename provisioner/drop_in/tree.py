"""A billing system's tree: read and changed file by file, never through a link that leads out of it.

Often by root, in folders that a web server's user may write to: each folder is opened from the one above
it, so a link that appears between the look and the write is an error and no way out.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path, PurePosixPath

from provisioner.errors import InstallRefused

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe must not make it wait
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
# Apache's own settings and most others refuse to serve what begins so, and no billing system loads it.
UNSERVED = ".ht-provisioner-"


class Tree:
    """The tree below one folder. Its methods take paths relative to that.

    :raises InstallRefused: here and in each method: in words, which file, and what to do.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        if not self.root.is_dir():
            raise InstallRefused(f"{root} is no folder: --to names the billing system's own")

    def has_folder(self, path: PurePosixPath) -> bool:
        return (self.root / self._place(path)).is_dir()

    def read(self, path: str, most_bytes: int) -> bytes | None:
        """The beginning of a file, None where there is none."""
        with self._in_words(path), self._file(path) as file:
            return None if file is None else file.read(most_bytes)

    def digest(self, path: str) -> str | None:
        """The SHA-256 of a file, None where there is none."""
        with self._in_words(path), self._file(path) as file:
            return None if file is None else hashlib.file_digest(file, "sha256").hexdigest()

    def check_writable(self, path: str) -> None:
        """That a file can be made, replaced or removed there, as far as can be known before."""
        folder = self.root / self._place(path).parent
        while not folder.exists():
            folder = folder.parent
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            raise InstallRefused(f"{folder} is not writable: run this as its owner, or as root")

    def stage(self, path: str, content: bytes, mode: int) -> str:
        """Writes a file beside the one that it is to become, its folders before it.

        Folders and file get the owner of the folder that they are in, where root does this.

        :returns: its name there, for `put` and `discard`.
        """
        place, name = self._place(path), f"{UNSERVED}{secrets.token_hex(8)}"
        with self._in_words(path), self._opened(place.parent, make=True) as folder:
            descriptor = os.open(name, _NEW, 0o600, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    _settle(descriptor, mode, folder)
            except BaseException:
                os.unlink(name, dir_fd=folder)
                raise
        return name

    def put(self, staged: str, path: str) -> None:
        """Makes a staged file the real one, in one step."""
        place = self._place(path)
        with self._in_words(path), self._opened(place.parent) as folder:
            os.rename(staged, place.name, src_dir_fd=folder, dst_dir_fd=folder)

    def discard(self, staged: str, path: str) -> None:
        """Removes a staged file, if it is still there."""
        with suppress(FileNotFoundError), self._opened(self._place(path).parent) as folder:
            os.unlink(staged, dir_fd=folder)

    def remove(self, path: str) -> None:
        """Removes a file."""
        place = self._place(path)
        with self._in_words(path), self._opened(place.parent) as folder:
            os.unlink(place.name, dir_fd=folder)

    def remove_empty(self, path: PurePosixPath) -> None:
        """Removes a folder in which nothing is left."""
        place = self._place(path)
        with suppress(OSError), self._opened(place.parent) as folder:
            os.rmdir(place.name, dir_fd=folder)

    def _place(self, path: str | PurePosixPath) -> PurePosixPath:
        """Where a path leads once its links are followed, relative to the root."""
        real = Path(os.path.realpath(self.root / path))
        if not real.is_relative_to(self.root):
            raise InstallRefused(
                f"{self.root / path} leads out of {self.root}, to {real}: put a real folder there, "
                "or name the tree that it leads to"
            )
        return PurePosixPath(real.relative_to(self.root))

    @contextmanager
    def _opened(self, folder: PurePosixPath, *, make: bool = False) -> Iterator[int]:
        """The descriptor of a folder, reached step by step; `make` makes those that are missing."""
        with ExitStack() as stack:
            above = os.open(self.root, _FOLDER)
            stack.callback(os.close, above)
            for name in folder.parts:
                is_new = make and _made(name, above)
                inner = os.open(name, _FOLDER, dir_fd=above)
                stack.callback(os.close, inner)
                if is_new:
                    _settle(inner, 0o755, above)
                above = inner
            yield above

    @contextmanager
    def _file(self, path: str) -> Iterator[BufferedReader | None]:
        place = self._place(path)
        try:
            with self._opened(place.parent) as folder:
                descriptor = os.open(place.name, _READ, dir_fd=folder)
        except FileNotFoundError:
            yield None
            return
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InstallRefused(f"{self.root / path} is no ordinary file: move it away")
        with os.fdopen(descriptor, "rb") as file:
            yield file

    @contextmanager
    def _in_words(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InstallRefused(f"{self.root / path}: {reason}") from error


def _made(name: str, above: int) -> bool:
    """Makes a folder; whether it was missing."""
    try:
        os.mkdir(name, 0o700, dir_fd=above)
    except FileExistsError:
        return False
    return True


def _settle(descriptor: int, mode: int, above: int) -> None:
    """Gives what is new its mode, and as root its folder's owner, and has it on the disk."""
    if os.geteuid() == 0:
        owner = os.fstat(above)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    os.fchmod(descriptor, mode)
    os.fsync(descriptor)
