"""What a start waits for and what not, by the names of what was imported when events are accepted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.config import fresh_secrets, starter
from tests.ports import free_port

# `serve` in a process of its own, until its work would begin: events are accepted from just before that. What
# it was asked for, and what it has imported before and after it answered, go to stdout.
SERVED = """
import json, socket, sys
from provisioner.cli import run
from provisioner.worker import Worker

def begins(worker):
    before = sorted(sys.modules)
    with socket.create_connection(("127.0.0.1", int(sys.argv[2])), 60) as line:
        line.sendall(b"GET /readyz HTTP/1.1\\r\\nHost: here\\r\\nConnection: close\\r\\n\\r\\n")
        status = line.makefile("rb").readline().split()[1].decode()
    print(json.dumps([status, before, sorted(sys.modules)]), flush=True)
    raise SystemExit

Worker.start = begins
run(["serve", "--config", sys.argv[1]])
"""

LIBRARIES = {
    *("structlog", "rich", "asyncio"),  # structlog brings the others: with the first line of the log
    *("requests", "urllib3", "charset_normalizer"),  # with the heartbeat
    "apscheduler",  # with the work
    *("flask_bootstrap", "wtforms", "babel"),  # with the pages
    *("psycopg", "apprise", "pluggy"),  # with a store, an address or hooks that need them
}
OURS = {
    *("logs.lines", "line.wire", "notify.heartbeat", "billing.whmcs", "billing.whmcs_api"),
    *("web.whole", "web.models", "web.asked", "web.openapi", "web.metrics", "web.queries", "web.api"),
    *("web.console", "web.panel", "sandbox"),
    *("cli.check", "cli.demo", "cli.operations", "cli.services"),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, set[str], set[str]]:
    port, config = free_port(), tmp_path_factory.mktemp("served") / "config.toml"
    upstream = {"upstream_base_url": "http://127.0.0.1:1/api/v1", "upstream_token": "a-token"}
    config.write_text(starter(fresh_secrets(), listen=f"127.0.0.1:{port}", **upstream))
    words = [sys.executable, "-c", SERVED, str(config), str(port)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    status, before, after = json.loads(ran.stdout)
    return status, set(before), set(after)


def test_start_waits_for_nothing_that_no_event_needs(served: tuple[str, set[str], set[str]]) -> None:
    status, before, _ = served
    assert status == "200"
    assert before & {*LIBRARIES, *(f"provisioner.{name}" for name in OURS)} == set()


def test_every_name_that_a_start_does_without_is_one() -> None:
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    names = [*LIBRARIES, *(f"provisioner.{name}" for name in OURS)]
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *names], capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_first_answer_imports_next_to_nothing(served: tuple[str, set[str], set[str]]) -> None:
    _, before, after = served
    assert len(after - before) <= len(before) // 50, after - before


@pytest.mark.parametrize("command", ["serve", "check", "operations"])
def test_command_brings_no_other_command(command: str) -> None:
    code = (
        "import sys; from provisioner.cli import run, program; "
        f"status = run([{command!r}, '--help']); "
        "print(*sorted(name for name in program().commands if f'provisioner.cli.{name}' in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout.splitlines()[-1].split() == [command], ran.stderr


def test_no_plugin_of_pydantic_judges_our_events(tmp_path: Path) -> None:
    """One is loaded by what it says in its package's metadata, whoever brought that package along."""
    info = tmp_path / "somebody-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pydantic]\nsomebody = somebodys_plugin:plugin\n")
    (tmp_path / "somebodys_plugin.py").write_text("import sys\nsys.exit('a plugin was loaded')\n")
    config = tmp_path / "config.toml"
    config.write_text("nonsense = 1\n")
    words = [sys.executable, "-m", "provisioner", "--config", str(config), "serve"]
    ran = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert (ran.returncode, "nonsense" in ran.stderr, "was loaded" in ran.stderr) == (2, True, False)
