"""Processes that end with their test, and with the test run where that is killed before it can end them."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any

PATIENCE_S = 60.0


class Heir:
    """Runs a line of shell once this process is gone, unless it was let off: who is killed cannot tidy up.

    :param words: the line's $1, $2 and so on.
    """

    def __init__(self, line: str, *words: str) -> None:
        self._process = subprocess.Popen(
            ["sh", "-c", f"read -r _ || {{ {line}; }}", "sh", *words],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip

    def let_off(self) -> None:
        self._process.communicate(b"\n", PATIENCE_S)


class Group(subprocess.Popen[Any]):
    """A program and all that it starts: `end`, a `with` and the end of this process kill them all."""

    def __init__(self, words: list[str], **options: Any) -> None:
        super().__init__(words, start_new_session=True, **options)
        self._heir = Heir('kill -s KILL -- "-$1"', str(self.pid))

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait(PATIENCE_S)
        self._heir.let_off()

    def __exit__(self, *error: Any) -> None:
        self.end()
        super().__exit__(*error)
