"""Processes of Python that need not import provisioner first, which takes a second of every start.

One server a test run has imported it all and forks; what is forked is a process like any other: with a pid, a
death and files of its own. That a start from nothing works is for `test_cli_demo.py`, and for each test that
calls `subprocess` itself.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
from pathlib import Path
from typing import Any

BORN = Path(__file__).with_name("born.py")
_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(
    [
        "provisioner.app",
        "provisioner.cli",
        "provisioner.cli.client",
        "provisioner.line.wire",
        "provisioner.logs.lines",
        "provisioner.web.server",
        "provisioner.web.whole",
        "apscheduler.schedulers.background",
        "provisioner.sandbox",
        "rich.live",
        "rich.table",
        "sqlite3",
    ]
)


class Forked:
    """A process, to be used as one of `subprocess.Popen` is.

    :param words: what would follow `python` on a command line: `-m provisioner …`, or a script and its words.
    :param out: the file to which its output is added; `err` is the one for its errors, by default the same.
    """

    def __init__(self, words: list[str], out: Path, err: Path | None = None) -> None:
        self.args = words
        given: dict[str, Any] = {
            "words": words,
            "out": str(out),
            "err": str(err or out),
            "folder": os.getcwd(),
            "environment": dict(os.environ),
        }
        self._process = _FORKING.Process(
            target=runpy.run_path, args=(str(BORN), {"given": given}), daemon=True
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its status, or the negative number of the signal that ended it.

        :raises subprocess.TimeoutExpired: if it goes on for so many seconds.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def ran(words: list[str], folder: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """Runs one to its end; what it writes passes through two files in the folder."""
    out, err = folder / "ran.out", folder / "ran.err"
    for file in (out, err):
        file.write_bytes(b"")
    process = Forked(words, out, err)
    try:
        status = process.wait(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(words, status, out.read_text(), err.read_text())
