"""When a job is worth a look, by when such jobs ended before."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner.operation import Kind
from provisioner.operations.estimates import CLOSE_S, KEPT_ENDS, look_after_s, note

FACT = "job:create:vps-s"


@dataclass
class Facts:
    """What a unit of work knows, without a store."""

    known: dict[str, Any] = field(default_factory=dict)

    def fact(self, name: str) -> Any:
        return self.known.get(name)

    def set_fact(self, name: str, value: Any, now: int) -> None:
        self.known[name] = value


def a_create(**memo: Any) -> Any:
    return SimpleNamespace(
        kind=Kind.CREATE, args={"plan": "vps-s"}, memo={"begun_at": 0, **memo}, sent=True, approvals=()
    )


def after_s(ends: list[float], waited_s: float) -> float | None:
    return look_after_s(Facts({FACT: ends}), a_create(), waited_s)  # type: ignore[arg-type]


@pytest.mark.parametrize("ends", [[], [60.0], [60.0, 61.0]])
def test_too_few_teach_nothing(ends: list[float]) -> None:
    assert after_s(ends, 0.0) is None


def test_jobs_that_end_alike_are_looked_at_once_just_behind_their_end() -> None:
    assert after_s([2.0, 2.1, 2.2, 2.0], 0.0) == pytest.approx(2.3)
    assert after_s([60.0, 60.5, 60.2], 20.0) == pytest.approx(40.6)


def test_jobs_that_end_differently_are_looked_at_from_the_first_end_on() -> None:
    ends = [20.0, 30.0, 60.0, 90.0]
    assert after_s(ends, 10.0) == pytest.approx(20.0)
    assert after_s(ends, 45.0) == CLOSE_S


def test_job_that_takes_longer_than_they_did_is_looked_at_as_an_unknown_one() -> None:
    assert after_s([30.0, 60.0, 90.0], 91.5) is None


def test_one_that_ended_at_once_does_not_make_the_others_looked_at_early() -> None:
    assert after_s([60.0, 60.0, 1.0, 60.0, 60.0], 0.0) == pytest.approx(60.1)


@pytest.mark.parametrize(("looked", "noted"), [([58.0, 60.0], 59.0), ([0.0, 4.0], 2.8)])
def test_end_lies_between_two_looks_or_before_the_first(looked: list[float], noted: float) -> None:
    facts = Facts()
    note(facts, a_create(job_ended_s=looked), 70_000)  # type: ignore[arg-type]
    assert facts.known[FACT] == [noted]


def test_only_the_last_ones_are_kept() -> None:
    facts = Facts({FACT: [1.0] * KEPT_ENDS})
    note(facts, a_create(job_ended_s=[58.0, 60.0]), 70_000)  # type: ignore[arg-type]
    assert facts.known[FACT] == [1.0] * (KEPT_ENDS - 1) + [59.0]


def test_what_was_looked_at_by_no_job_notes_no_end() -> None:
    facts = Facts()
    note(facts, a_create(), 70_000)  # type: ignore[arg-type]
    assert FACT not in facts.known
