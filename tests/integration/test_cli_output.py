"""How values, lists and facts look."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from provisioner.cli import output
from provisioner.cli.output import in_words, print_facts, print_list

WORDS: list[tuple[Any, str]] = [
    (None, "–"),
    ("", ""),
    (True, "true"),
    (4001, "4001"),
    (0.5, "0.5"),
    ([], "–"),
    (["192.0.2.1", "192.0.2.2"], "192.0.2.1, 192.0.2.2"),
    ({"code": "0xb1", "message": "no such template"}, "0xb1: no such template"),
    ({"mem": 2048}, '{"mem": 2048}'),
    ([{"kind": "create"}], '[{"kind": "create"}]'),
    ("Žižkov", "Žižkov"),
    ("[red]x[/]", "[red]x[/]"),
    ("a\x1b[31mb\nc\u202e", "a\\x1b[31mb\\nc\\u202e"),
]


@pytest.mark.parametrize(("value", "words"), WORDS)
def test_values_are_one_harmless_line(value: Any, words: str) -> None:
    assert in_words(value) == words


def test_pipe_gets_one_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    items = [{"id": "op_" + "1" * 200, "hostname": "[b]web[/b]"}, {"id": "op_2", "hostname": None}]
    print_list({"items": items, "next": None}, ("id", "hostname"), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["id", "hostname"],
        ["op_" + "1" * 200, "[b]web[/b]"],
        ["op_2", "–"],
    ]


def test_terminal_shows_ids_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paper = Console(width=40, force_terminal=True, color_system=None)
    monkeypatch.setattr(output, "console", lambda: paper)
    item = {"id": "op_" + "1" * 20, "error": {"code": "0xb1", "message": "no such template " * 5}}
    print_list({"items": [item], "next": None}, ("id", "error"), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert item["id"] in lines[1]
    assert sum("template" in line for line in lines) > 1


ROW = {"billing": "shop", "service_id": "1001", "seen_at": "2026-11-23T12:00:00.123Z", "left_at": None}


def test_cells_are_made_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    print_list({"items": [ROW]}, ("service", "seen_at", "left_at"), as_json=False)
    assert capsys.readouterr().out.splitlines()[1].split() == ["shop/1001", "2026-11-23", "12:00:00", "–"]


def test_longer_list_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_list({"items": [], "next": "c1"}, ("id",), as_json=False)
    assert "--limit 0" in capsys.readouterr().err


def test_facts_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts({"id": "op_1", "service_id": "1001"})
    assert capsys.readouterr().out == "id          op_1\nservice_id  1001\n"
