"""`provisioner init` writes settings to start from."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.cli import run
from provisioner.config import load


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PROVISIONER_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


def test_new_settings_load_and_are_private(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", "--yes"]) == 0
    written = tmp_path / "config.toml"
    settings = load(written, {"VENOCIX_TOKEN": "a-token"})
    assert written.stat().st_mode & 0o777 == 0o600
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 3
    assert settings.security.admin_token.get_secret_value() not in said
    assert "VENOCIX_TOKEN" in said


def test_secrets_are_fresh_each_time(tmp_path: Path) -> None:
    assert run(["init", "a.toml"]) == 0
    assert run(["init", "b.toml"]) == 0
    assert (tmp_path / "a.toml").read_text() != (tmp_path / "b.toml").read_text()


@pytest.mark.parametrize(
    "words", [["init", "new.toml"], ["init", "--config", "new.toml"], ["--config", "new.toml", "init"]]
)
def test_path_may_be_named(tmp_path: Path, words: list[str]) -> None:
    assert run(words) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["new.toml"]


def test_existing_file_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = tmp_path / "config.toml"
    there.write_text("mine")
    assert run(["init", "--yes"]) == 1
    assert there.read_text() == "mine"
    assert "config.toml exists" in capsys.readouterr().err


def test_file_that_comes_between_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: object, **__: object) -> str:
        (tmp_path / "config.toml").write_text("mine")
        return "ours"

    monkeypatch.setattr("provisioner.config.starter", late)
    assert run(["init", "--yes"]) == 1
    assert (tmp_path / "config.toml").read_text() == "mine"


def test_dangling_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "config.toml").symlink_to("elsewhere.toml")
    assert run(["init", "--yes"]) == 1
    assert not (tmp_path / "elsewhere.toml").exists()


def test_missing_folder_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", "no/such/config.toml"]) == 1
    assert capsys.readouterr().err == "Error: no/such/config.toml: No such file or directory\n"


def answered(*answers: str) -> Iterator[str]:
    """Runs `init` on a terminal of its own and answers its questions; yields what shows before each."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-m", "provisioner", "init"])
    shown = ""
    with open(terminal, "r+b", buffering=0) as screen:
        for answer in answers:
            while not shown.endswith("]: "):
                shown += screen.read(1024).decode()
            yield shown
            shown = ""
            screen.write(f"{answer}\n".encode())
        try:
            while more := screen.read(1024):
                shown += more.decode()
        except OSError:  # how Linux says that the other end was closed
            pass
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, shown
    yield shown


def test_terminal_is_asked_until_it_fits(tmp_path: Path) -> None:
    shown = list(answered("ftp://x", "https://p.example.com", "https://s.example.com/in", "a-secret-token"))
    assert "must be" in shown[1]
    settings = load(tmp_path / "config.toml", {})
    assert settings.server.public_url == "https://p.example.com"
    assert settings.billing["shop"].callback_url == "https://s.example.com/in"  # type: ignore[attr-defined]
    assert settings.upstream.token.get_secret_value() == "a-secret-token"
    assert "a-secret-token" not in "".join(shown)
