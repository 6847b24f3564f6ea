"""What the tests start ends with them, and with the run that starts it, however that ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.processes import PATIENCE_S, Group

PARENT_OF_ANOTHER = ["sh", "-c", "sleep 600 & echo $!; sleep 600"]
RUNS = {
    "group": f"""
from tests.processes import Group
group = Group({PARENT_OF_ANOTHER}, stdout=-1)
print(group.pid, int(group.stdout.readline()), flush=True)
input()
""",
    "forked": """
from pathlib import Path
from time import sleep
from tests.acceptance.forked import Forked
Path("there.py").write_text("import time, pathlib; pathlib.Path('there').touch(); time.sleep(600)")
forked = Forked(["there.py"], Path("said"))
while not Path("there").exists():
    sleep(0.01)
print(forked.pid, flush=True)
input()
""",
    "postgres": """
from tests.postgres import Postgres
print(Postgres().server.get_pid(), flush=True)
input()
""",
}


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_group_ends_with_all_that_it_started(eventually: Callable[[Callable[[], Any]], Any]) -> None:
    with Group(PARENT_OF_ANOTHER, stdout=subprocess.PIPE) as group:
        started = int(group.stdout.readline())
        assert not is_gone(started)
    assert is_gone(group.pid)
    eventually(lambda: is_gone(started))  # killed, and nobody here may wait for it


@pytest.mark.parametrize("run", RUNS)
def test_nothing_outlives_a_run_that_is_killed(
    run: str, tmp_path: Path, eventually: Callable[[Callable[[], Any]], Any]
) -> None:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "PYTHONWARNINGS": "ignore"}
    with Group(
        [sys.executable, "-c", RUNS[run]],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path, env=environment,
    ) as running:  # fmt: skip
        started = [int(pid) for pid in running.stdout.readline().split()]
        assert started
        assert not any(map(is_gone, started))
        running.kill()
        running.wait(PATIENCE_S)
        eventually(lambda: all(map(is_gone, started)))
