"""The runbook has a heading for whatever a tired operator may look up, and for nothing else."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.engine.causes import CauseName
from provisioner.upstream.answers import CODES

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text("utf-8")
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text("utf-8"))
ENGINE = [
    *(ROOT / "provisioner").glob("*.py"),
    *(ROOT / "provisioner" / "engine").glob("*.py"),
    *(ROOT / "provisioner" / "operations").glob("*.py"),
]
HOLDS = {"OperationHeld", "hold", "_hold", "need_approval"}
FAILS = {"OperationFailed", "fail", "cancel", "UpstreamUnavailable", "UpstreamOutcomeUnknown"}

# What a code is where it is no word in the source: with every other expression the tests fail.
SAID_ELSEWHERE = {"verdict.code", "code"}
OF_UPSTREAM = {"error.code", "refusal.code", "job.error_code or 'job_failed'"}
TOKEN_WORKS_ELSEWHERE = "0x03"


def section(name: str) -> str:
    found = re.search(rf"^## {name}$(.*?)(?=^## |\Z)", RUNBOOK, re.DOTALL | re.MULTILINE)
    assert found is not None, name
    return found[1]


def headings(name: str) -> list[str]:
    lines = re.findall(r"^### (.*)$", section(name), re.MULTILINE)
    return [code for line in lines for code in re.findall(r"`([^`]+)`", line)]


def calls(names: set[str]) -> Iterator[tuple[Any, ast.expr]]:
    """Every call by one of these names that gives a code: its module, and the code as it is written."""
    for path in ENGINE:
        parts = [part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__"]
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and name_of(node.func) in names:
                given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
                by_place = name_of(node.func) in {"hold", "_hold", "fail", "cancel"} and len(node.args) > 1
                for code in given or (node.args[1:2] if by_place else []):
                    yield importlib.import_module(".".join(parts)), code


def name_of(function: ast.expr) -> str:
    return getattr(function, "id", getattr(function, "attr", ""))


def codes(names: set[str]) -> set[str]:
    found: set[str] = set()
    for module, code in calls(names):
        match code:
            case ast.Constant(value=str(word)):
                found.add(word)
            case ast.IfExp(body=ast.Constant(value=str(one)), orelse=ast.Constant(value=str(other))):
                found |= {one, other}
            case ast.Name(id=name) if name.isupper():
                found.add(getattr(module, name))
            case _:
                written = ast.unparse(code)
                assert written in SAID_ELSEWHERE | OF_UPSTREAM, f"{module.__name__}: {written}"
    return found


def test_every_cause_has_a_heading() -> None:
    found = headings("Alerts")
    assert set(found) == {name.value for name in CauseName}
    assert len(found) == len(set(found))


def test_every_held_reason_has_a_heading() -> None:
    held = codes(HOLDS) | {TOKEN_WORKS_ELSEWHERE}
    told = {*headings("Held"), "brake"}  # its paragraph is the alert's
    assert told == held


def test_every_failure_has_a_heading() -> None:
    upstream = {*CODES, "job_failed", "unavailable", "outcome_unknown", "refused"} - {TOKEN_WORKS_ELSEWHERE}
    found = headings("Failed")
    assert {*found, "vmid_taken"} == codes(FAILS) | upstream  # its paragraph is the held reason's
    assert len(found) == len(set(found))


def test_every_rule_has_a_heading() -> None:
    inside, outside = ({rule["alert"] for rule in group["rules"]} for group in RULES["groups"])
    assert inside == {name.value for name in CauseName}
    assert outside == set(headings("From outside"))


@pytest.mark.parametrize("name", ["Alerts", "From outside", "Held"])
def test_each_paragraph_says_the_four_things(name: str) -> None:
    for paragraph in re.split(r"^### ", section(name), flags=re.MULTILINE)[1:]:
        words = re.findall(r"^(Means|Look|Do|Never): ", paragraph, re.MULTILINE)
        assert words == ["Means", "Look", "Do", "Never"], paragraph


def test_commands_in_the_runbook_exist() -> None:
    from provisioner.cli import program

    for words in re.findall(r"`provisioner ([a-z][^`]*)`", RUNBOOK):
        command: Any = program()
        for word in words.split():
            inner = getattr(command, "commands", {})
            if word.startswith("-") or word.isupper() or not inner:
                break
            assert word in inner, words
            command = inner[word]
