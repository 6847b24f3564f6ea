"""What a process of `forked.py` does first, with what it was given there."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
import threading


def end_with_the_tests() -> None:
    """Ends when the process that asked for this one is gone: where that is killed, nobody else does."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)


def begin(words: list[str], out: str, err: str, folder: str, environment: dict[str, str]) -> None:
    """Runs `-m provisioner …` or a script, as the interpreter would, in a folder and an environment."""
    threading.Thread(target=end_with_the_tests, daemon=True).start()
    for descriptor, file in ((1, out), (2, err)):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(words)
        runpy.run_path(words[0], run_name="__main__")


begin(**given)  # type: ignore[name-defined]  # noqa: F821 - by `runpy` in `forked.py`
