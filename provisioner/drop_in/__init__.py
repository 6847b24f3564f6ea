"""Drop-ins: what is put into a billing system's own tree, one folder per platform in `hooks/billing/`.

A platform's folder is laid out as that platform's tree. Its `drop-in.toml` says what the installer must
know; that file and the pages (`.md`) are for us and stay here.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from provisioner.errors import InstallRefused

DESCRIPTION = "drop-in.toml"
SHIPPED = "_hooks"  # where pyproject.toml puts hooks/ into a wheel
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class File:
    """One file of a drop-in as it is installed; `mode` is 0644, or 0755 for a program."""

    source: Path
    content: bytes
    mode: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class DropIn:
    """One platform's drop-in.

    :param source: its folder here.
    :param folder: its own folder in the platform's tree, which holds all its files; the one that this is in
        is the platform's, and has to be there.
    :param next_step: what a person does once it is installed.
    """

    platform: str
    source: Path
    folder: PurePosixPath
    next_step: str

    def files(self) -> dict[str, File]:
        """Every file that is installed, by its path in the platform's tree."""
        return {
            file.relative_to(self.source).as_posix(): File(file, file.read_bytes(), _mode(file))
            for file in sorted(self.source.rglob("*"))
            if file.is_file() and _is_installed(file)
        }


def hooks_folder(package: Path = _PACKAGE) -> Path:
    """`hooks/`: inside the package where a wheel was installed, beside it in a clone."""
    shipped = package / SHIPPED
    return shipped if shipped.is_dir() else package.parent / "hooks"


def drop_ins(hooks: Path | None = None) -> dict[str, DropIn]:
    """The drop-in of each platform that has one."""
    described = sorted(((hooks or hooks_folder()) / "billing").glob(f"*/{DESCRIPTION}"))
    return {file.parent.name: _read(file) for file in described}


def _read(description: Path) -> DropIn:
    try:
        table = tomllib.loads(description.read_text("utf-8"))
        folder = PurePosixPath(table["folder"])
        return DropIn(description.parent.name, description.parent, folder, table["next_step"])
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise InstallRefused(f"{description} is no description of a drop-in: {error}") from error


def _is_installed(file: Path) -> bool:
    return file.name != DESCRIPTION and file.suffix not in {".md", ".pyc"}


def _mode(file: Path) -> int:
    return 0o755 if file.stat().st_mode & 0o100 else 0o644
