"""How a demo tells timelines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from provisioner.cli.story import Line, Story

BEGAN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def entry(second: float, what: str, **detail: Any) -> dict[str, Any]:
    return {"at": f"2026-11-23T12:00:{second:06.3f}Z", "what": what, "detail": detail, "actor": "service"}


def operation(kind: str, *timeline: dict[str, Any]) -> dict[str, Any]:
    return {"id": f"op_{kind}", "kind": kind, "timeline": list(timeline)}


def test_lines_are_told_once() -> None:
    story = Story(BEGAN)
    first = operation("create", entry(1, "accepted"))
    assert story.more([first]) == [Line(1.0, "provisioner", "create: accepted, and durable from here on")]
    later = operation("create", entry(1, "accepted"), entry(5, "succeeded"))
    assert story.more([later]) == [Line(5.0, "provisioner", "create: succeeded")]
    assert story.more([later]) == []


def test_operations_are_told_in_order_of_time() -> None:
    create = operation("create", entry(1, "accepted"), entry(5, "succeeded"))
    rdns = operation("set_rdns", entry(2, "accepted"), entry(6, "succeeded"))
    assert [line.at_s for line in Story(BEGAN).more([rdns, create])] == [1.0, 2.0, 5.0, 6.0]


@pytest.mark.parametrize("what", ["failed", "cancelled", "held"])
def test_a_bad_end_shows_as_bad(what: str) -> None:
    (line,) = Story(BEGAN).more([operation("create", entry(1, what))])
    assert (line.what, line.good) == (f"create: {what}", False)


def test_looks_and_intents_are_left_out() -> None:
    quiet = [
        entry(1, "running", step="begin"),
        entry(1, "intent", then="lost"),
        entry(1, "upstream", call="GET job/1", status=200),
    ]
    assert Story(BEGAN).more([operation("create", *quiet)]) == []


@pytest.mark.parametrize(("status", "good"), [(200, True), (500, False), (0, False)])
def test_calls_that_change_something_are_told(status: int, good: bool) -> None:
    call = entry(1, "upstream", call="POST datacenter/server", status=status)
    (line,) = Story(BEGAN).more([operation("create", call)])
    words = f"POST datacenter/server: {status or 'no answer'}"
    assert line == Line(1.0, "provisioner → upstream", words, good)
