"""A setting that was renamed is a warning for one minor version, and no mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner import __version__
from provisioner.cli import run
from provisioner.config import parse, renamed
from provisioner.config.renamed import ANY, RENAMED, Renamed, with_present_names
from provisioner.errors import SettingsError

PATIENCE = Renamed(("upstream",), "patience", "timeout", "0.2")
TOLD = Renamed(("billing", ANY), "told_at", "callback_url", "0.2")
NEEDED: dict[str, Any] = {"security": {"admin_token": "an-admin-token-of-tests"}}


def read(tables: dict[str, Any], warnings: list[str]) -> Any:
    return parse({**NEEDED, **tables}, name="config.toml", folder=Path("/"), environ={}, warn=warnings.append)


@pytest.fixture(autouse=True)
def renames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renamed, "RENAMED", (PATIENCE, TOLD))


def test_former_name_is_read_with_a_warning() -> None:
    warnings: list[str] = []
    settings = read({"upstream": {"token": "a-token-of-tests", "patience": 7}}, warnings)
    assert settings.upstream.timeout == 7
    assert warnings == [
        "config.toml: [upstream] patience: is called timeout since version 0.2; the next one knows only that"
    ]


def test_present_name_warns_of_nothing() -> None:
    warnings: list[str] = []
    assert read({"upstream": {"token": "a-token-of-tests", "timeout": 7}}, warnings).upstream.timeout == 7
    assert warnings == []


def test_both_names_are_a_mistake() -> None:
    with pytest.raises(SettingsError, match=r"\[upstream\] patience: is the former name of timeout"):
        read({"upstream": {"token": "a-token-of-tests", "patience": 7, "timeout": 8}}, [])


def test_every_table_of_a_kind_is_looked_at() -> None:
    tables = {"billing": {"a": {"told_at": "x"}, "b": {"callback_url": "y"}, "c": 3}}
    found, warnings, mistakes = with_present_names(tables, [TOLD])
    assert found["billing"] == {"a": {"callback_url": "x"}, "b": {"callback_url": "y"}, "c": 3}
    assert [loc for loc, _ in warnings] == [("billing", "a", "told_at")]
    assert mistakes == []


def test_what_was_read_stays_as_it_was() -> None:
    tables = {"upstream": {"patience": 7}}
    with_present_names(tables, [PATIENCE])
    assert tables == {"upstream": {"patience": 7}}


def test_commands_show_the_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        '[security]\nadmin_token = "an-admin-token-of-tests"\n'
        '[upstream]\ntoken = "a-token-of-tests"\npatience = 7\n'
    )
    run(["operations", "list", "--config", str(config)])
    assert "Warning: " in capsys.readouterr().err


def minor(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


def test_a_rename_is_forgotten_after_one_minor_version() -> None:
    assert [one.before for one in RENAMED if minor(one.since) < minor(__version__)] == []
