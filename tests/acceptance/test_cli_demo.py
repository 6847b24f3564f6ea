"""`demo` and `sandbox` as processes of their own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.processes import PATIENCE_S, Group


def eventually(condition: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE_S} s")


@contextmanager
def started(folder: Path, *words: str) -> Iterator[tuple[Group, Path]]:
    """A command that runs, in a folder with nothing in it, and the file with what it says."""
    said = folder / "said"
    empty = folder / "empty"
    empty.mkdir()
    environment = {"PATH": "", "TMPDIR": str(empty)}
    command = [sys.executable, "-m", "provisioner", *words]
    with (
        said.open("wb") as out,
        Group(command, stdout=out, stderr=subprocess.STDOUT, cwd=empty, env=environment) as process,
    ):
        yield process, said


def test_demo_drives_an_order_and_ends(tmp_path: Path) -> None:
    with started(tmp_path, "demo", "--exit") as (process, said):
        assert process.wait(PATIENCE_S) == 0, said.read_text()
    text = said.read_text()
    story = [
        "order.paid for service 1001, signed: 202",
        "create: accepted",
        "POST datacenter/server: 200",
        "service.provisioned: delivered",
        "create: succeeded",
        "set_rdns: succeeded",
        "user       root",
        "curl -H",
    ]
    places = [text.find(words) for words in story]
    assert -1 not in places, text
    assert "\x1b" not in text
    assert re.search(r"password   •+ ", text)
    assert not list((tmp_path / "empty").iterdir())


def test_demo_stays_until_it_is_ended(tmp_path: Path) -> None:
    with started(tmp_path, "demo") as (process, said):
        eventually(lambda: "Ctrl-C ends the demo" in said.read_text() or process.poll() is not None)
        found = re.search(r'-H "(Authorization): (Bearer \S+)" (\S+)', said.read_text())
        assert found, said.read_text()
        answer = requests.get(found[3], headers={found[1]: found[2]}, timeout=PATIENCE_S)
        assert [item["state"] for item in answer.json()["items"]] == ["succeeded", "succeeded"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, said.read_text()
    assert not list((tmp_path / "empty").iterdir())


def test_sandbox_serves_until_it_is_ended(tmp_path: Path) -> None:
    with started(tmp_path, "sandbox", "--port", "0") as (process, said):
        place = eventually(lambda: re.search(r"reseller API: (\S+)\ntoken: (\S+)\n", said.read_text()))
        answer = requests.get(
            f"{place[1]}/datacenter/templates",
            headers={"Authorization": f"Bearer {place[2]}"},
            timeout=PATIENCE_S,
        )
        assert "Debian10.0" in answer.json()["result"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, said.read_text()
