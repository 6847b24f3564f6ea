"""`backup` and `restore` on a machine where no service runs between: what was open in the copy stays held."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from provisioner import app as wiring
from provisioner.cli import run
from provisioner.config import fresh_secrets, load, starter
from provisioner.operation import Kind
from provisioner.sandbox import SandboxServer
from tests.integration.store_conformance import an_operation, keep
from tests.ports import free_port

pytestmark = pytest.mark.usefixtures("logs_as_before")


class Site:
    """One installation, with one terminate that waits."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], upstream: SandboxServer) -> None:
        self.folder = folder
        self.config = folder / "config.toml"
        self._capsys = capsys
        self.config.write_text(
            starter(
                fresh_secrets(),
                listen=f"127.0.0.1:{free_port()}",
                callback_url="http://127.0.0.1:9/",
                upstream_base_url=upstream.base_url,
                upstream_token=upstream.sandbox.settings()["token"],
            )
        )
        self.config.chmod(0o600)
        with closing(wiring.build(load(self.config, {}))) as app:
            keep(app.store, an_operation(kind=Kind.TERMINATE))

    def run(self, *words: str) -> tuple[int, str, str]:
        """Status, stdout and stderr of a command."""
        self._capsys.readouterr()
        status = run([*words, "--config", str(self.config)])
        return (status, *self._capsys.readouterr())


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Site]:
    with SandboxServer() as upstream:
        yield Site(tmp_path, capsys, upstream)


@pytest.fixture
def copied(site: Site) -> Site:
    """Its copy is put back, and no service has started on it."""
    assert site.run("backup", str(site.folder / "copy.db"))[0] == 0
    assert site.run("restore", str(site.folder / "copy.db"))[0] == 0
    return site


def test_look_before_the_first_start_shows_what_is_held(copied: Site) -> None:
    shown = json.loads(copied.run("restore", "--json")[1])
    assert [(one["id"], one["state"]) for one in shown["held"]] == [("op_1", "held")]
    status, out, _ = copied.run("restore", "--finish")
    assert (status, out) == (0, "Recovered: 1 held operations go on, and so does everything else.\n")


def test_recovery_that_nobody_has_looked_at_is_not_ended(copied: Site) -> None:
    status, out, err = copied.run("restore", "--finish")
    assert (status, out) == (1, "")
    assert "look with `provisioner restore`" in err
    assert json.loads(copied.run("restore", "--json")[1])["recovering"]
    assert copied.run("restore", "--finish")[0] == 0
