"""The audit's lines: what their digests are of, how they hang together, and what is kept out of them."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from provisioner.audit import (
    MOST_DETAIL,
    MOST_REASON,
    START,
    AuditLine,
    Deed,
    Place,
    broken,
    line_of,
)

DEED = Deed(
    at=1_795_000_000_000,
    actor="admin:anna",
    action="terminate.accepted",
    address="192.0.2.7",
    billing="shop",
    service_id="1001",
    operation="op_1",
    vmid=4711,
    reason="asked for by Änne",
    detail={"event": "", "a": 1},
)
FIRST = line_of(DEED, START)


def test_digest_is_of_the_content_alone() -> None:
    """As anybody can compute it, in any language."""
    content = (
        '[1795000000000,"admin:anna","192.0.2.7","terminate.accepted","shop","1001","op_1",4711,'
        '"asked for by \\u00c4nne","{\\"a\\":1,\\"event\\":\\"\\"}"]'
    )
    assert FIRST.digest == sha256(content.encode()).hexdigest()


def test_chain_is_of_the_chain_before_and_the_digest() -> None:
    second = line_of(DEED, FIRST.place)
    assert FIRST.chain == sha256(FIRST.digest.encode()).hexdigest()
    assert second.chain == sha256((FIRST.chain + second.digest).encode()).hexdigest()
    assert (FIRST.seq, second.seq) == (1, 2)
    assert second.digest == FIRST.digest


def test_detail_is_the_same_in_any_order() -> None:
    turned = DEED._replace(detail={"a": 1, "event": ""})
    assert line_of(turned, START) == FIRST
    assert FIRST.facts == {"a": 1, "event": ""}


def chained(count: int) -> list[AuditLine]:
    lines, place = [], START
    for number in range(count):
        lines.append(line_of(DEED._replace(at=number, reason=f"line {number}"), place))
        place = lines[-1].place
    return lines


def first_problem(lines: list[AuditLine], after: Place = START) -> str:
    for line in lines:
        problem = broken(line, after)
        if problem:
            return problem
        after = line.place
    return ""


def test_lines_follow_each_other() -> None:
    lines = chained(5)
    assert first_problem(lines) == ""
    assert first_problem(lines[3:], lines[2].place) == ""


@pytest.mark.parametrize(
    "change",
    [
        {"at": 7},
        {"actor": "admin:olga"},
        {"address": ""},
        {"action": "suspend.accepted"},
        {"billing": "other"},
        {"service_id": "1002"},
        {"operation": ""},
        {"vmid": 4712},
        {"vmid": None},
        {"reason": ""},
        {"detail": '{"a": 1,"event":""}'},
        {"digest": "0" * 64},
        {"chain": "0" * 64},
        {"erased_by": 5},
    ],
)
def test_altered_line_is_named(change: dict[str, Any]) -> None:
    lines = chained(5)
    lines[2] = lines[2]._replace(**change)
    assert first_problem(lines).startswith("line 3 was altered")


def test_line_altered_with_its_digest_and_chain_is_named_with_the_next() -> None:
    lines = chained(5)
    lines[2] = line_of(DEED._replace(reason="forged"), lines[1].place)
    problem = first_problem(lines)
    assert problem.startswith("line 4 was altered, or line 3 before it")


@pytest.mark.parametrize("gone", [0, 2, 3])
def test_removed_line_is_named(gone: int) -> None:
    lines = chained(5)
    del lines[gone]
    assert first_problem(lines) == f"line {gone + 1} was removed"


@pytest.mark.parametrize("place", [2, 2.5])
def test_added_line_is_named(place: Any) -> None:
    lines = chained(5)
    lines.insert(2, lines[1]._replace(seq=place))
    assert first_problem(lines) == f"line {place} was added"


def test_exchanged_lines_are_named() -> None:
    lines = chained(5)
    lines[1], lines[2] = lines[2]._replace(seq=2), lines[1]._replace(seq=3)
    assert first_problem(lines).startswith("line 2 was altered")


def emptied(line: AuditLine, by: int) -> AuditLine:
    return line._replace(
        at=0, actor="", address="", action="", billing="", service_id="", operation="", vmid=None,
        reason="", detail="", erased_by=by,
    )  # fmt: skip


def test_emptied_line_holds_its_place() -> None:
    lines = chained(5)
    lines[2] = emptied(lines[2], 5)
    assert first_problem(lines) == ""
    assert lines[2].facts == {}


@pytest.mark.parametrize("left", [{"at": 1}, {"actor": "admin:anna"}, {"vmid": 1}, {"detail": "{}"}])
def test_emptied_line_with_something_left_is_altered(left: dict[str, Any]) -> None:
    lines = chained(5)
    lines[2] = emptied(lines[2], 5)._replace(**left)
    assert first_problem(lines) == "line 3 was altered"


# What is kept out

SECRETS = [
    {"reason": "password: hunter2hunter2"},
    {"reason": "see Authorization: Bearer hunter2hunter2"},
    {"detail": {"password": "hunter2hunter2"}},
    {"detail": {"token": ["hunter2hunter2"]}},
    {"detail": {"message": "POST said token=hunter2hunter2"}},
    {"detail": {"url": "https://user:hunter2hunter2@example.com/"}},
    {"detail": {"said": "whsec_hunter2hunter2"}},
]


@pytest.mark.parametrize("change", SECRETS)
def test_no_secret_is_kept(change: dict[str, Any]) -> None:
    line = line_of(DEED._replace(**change), START)
    assert "hunter2" not in repr(line)
    assert "[redacted]" in line.reason + line.detail


def test_lines_are_bounded() -> None:
    long = "ü" * 100_000
    deed = Deed(
        at=1, actor=long, action=long, address=long, billing=long, service_id=long, operation=long,
        reason=long, detail={"one": long, **{f"name{number}": long for number in range(200)}},
    )  # fmt: skip
    line = line_of(deed, START)
    assert len(line.reason) == MOST_REASON
    assert len(line.detail) <= MOST_DETAIL
    assert json.loads(line.detail)["left_out"][0] == "one"
    assert all(len(str(value)) <= 4000 for value in line.content)
    assert line_of(deed._replace(detail={"one": long}), START).facts["one"].endswith("ü…")


def test_text_that_no_database_keeps_is_spelt_out() -> None:
    line = line_of(DEED._replace(actor="a\0b", reason="\ud800", detail={"x": "\ud800\0"}), START)
    assert (line.actor, line.reason) == ("a\\0b", "\\ud800")
    assert line.facts == {"x": "\\ud800\\0"}
