"""How the program is spoken to: options, exit status, errors, help."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from provisioner.cli import invocation, program, run
from provisioner.cli.check import check
from provisioner.config import fresh_secrets, starter
from provisioner.errors import UpstreamUnavailable

COMMANDS = ["demo", "init", "check", "serve", "sandbox", "send", "operations", "services", "events"]
COMMANDS += ["audit", "alerts", "reconcile", "brakes", "pause", "resume", "hooks", "billing"]

pytestmark = pytest.mark.usefixtures("logs_as_before")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(invocation.CONFIG_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "here" / "config.toml"
    path.parent.mkdir()
    path.write_text(starter(fresh_secrets(), upstream_token="a-token"))
    path.chmod(0o600)
    return path


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    lines = capsys.readouterr().out.partition("Commands:\n")[2].splitlines()[: len(COMMANDS)]
    assert [line.split()[0] for line in lines] == COMMANDS
    assert not any(line.endswith("...") for line in lines)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from provisioner.cli import run; status = run(['--help']); "
        "heavy = {'flask', 'requests', 'pydantic', 'rich', 'sqlite_utils', 'structlog'} & set(sys.modules); "
        "print(heavy, file=sys.stderr); sys.exit(status or bool(heavy))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_every_command_explains_itself() -> None:
    def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
        yield path, command
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, f"{path} {name}")

    for path, command in walk(program(), "provisioner"):
        assert command.help, path
        options = {name for parameter in command.params for name in parameter.opts}
        assert {"--config", "--debug"} <= options, path
        if path.split()[-1] in {"list", "show", "check"}:
            assert "--json" in options, path


@pytest.mark.parametrize(
    "words",
    [
        ["check", "--offline", "--config", "here/config.toml"],
        ["--config", "here/config.toml", "check", "--offline"],
        ["--config", "missing.toml", "check", "--offline", "--config", "here/config.toml"],
    ],
)
def test_config_stands_before_or_after(
    config: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 0
    assert "here/config.toml" in capsys.readouterr().out


def test_variable_names_the_config(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["check", "--offline"]) == 2
    monkeypatch.setenv(invocation.CONFIG_VARIABLE, str(config))
    assert run(["check", "--offline"]) == 0
    assert run(["--config", "missing.toml", "check", "--offline"]) == 2


def test_config_is_config_toml_here(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    assert run(["check", "--offline"]) == 0


def test_every_wrong_setting_is_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = config.read_text().replace('disk = "10G"', "disk = 10").replace("mem = 1024", "mem = 1")
    config.write_text(text)
    assert run(["--config", str(config), "operations", "list"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert [line.split(": ")[:3] for line in told.err.splitlines()] == [
        ["Error", str(config), "[plans.vps-s] mem"],
        ["Error", str(config), "[plans.vps-s] disk"],
    ]


ERRORS = [
    (UpstreamUnavailable("Sorry.", detail="the upstream is away"), 1, "Error: the upstream is away\n"),
    (FileNotFoundError(2, "No such file", "a.toml"), 1, "Error: a.toml: No such file\n"),
    (click.ClickException("no"), 1, "Error: no\n"),
    (KeyboardInterrupt(), 1, "\nError: aborted\n"),
    (ValueError("whsec_secret"), 1, "Error: an internal error (ValueError); --debug shows where\n"),
]


@pytest.mark.parametrize(("error", "status", "words"), ERRORS)
def test_errors_are_one_plain_sentence(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    words: str,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(sys.modules[check.callback.__module__], "findings", broken)  # type: ignore[union-attr]
    assert run(["--config", str(config), "check"]) == status
    assert capsys.readouterr() == ("", words)


def test_debug_shows_the_trace(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("here")

    monkeypatch.setattr(sys.modules[check.callback.__module__], "findings", broken)  # type: ignore[union-attr]
    for words in (
        ["--debug", "--config", str(config), "check"],
        ["check", "--debug", "--config", str(config)],
    ):
        assert run(words) == 1
        assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--no-such-option"], ["no-such-command"], ["init", "--port"], ["send"]])
def test_wrong_words_are_status_two(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    assert "Usage: provisioner" in capsys.readouterr().err
