"""When a job is worth a look, by when such jobs ended before."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner.operation import Kind
from provisioner.operations.estimates import CLOSE_S, EXPLORING, KEPT_ENDS, look_after_s, note

FACT = "ends:create:vps-s"


@dataclass
class Facts:
    """What a unit of work knows, without a store."""

    known: dict[str, Any] = field(default_factory=dict)

    def fact(self, name: str) -> Any:
        return self.known.get(name)

    def set_fact(self, name: str, value: Any, now: int) -> None:
        self.known[name] = value


def a_create(seq: int = 0, **memo: Any) -> Any:
    return SimpleNamespace(
        seq=seq,
        kind=Kind.CREATE,
        args={"plan": "vps-s"},
        memo={"begun_at": 0, **memo},
        sent=True,
        approvals=(),
    )


def after_s(ends: list[list[float]], waited_s: float, seq: int = 0) -> float | None:
    return look_after_s(Facts({FACT: ends}), a_create(seq), waited_s)  # type: ignore[arg-type]


@pytest.mark.parametrize("ends", [[], [[59.0, 60.0]], [[59.0, 60.0]] * 2])
def test_too_few_teach_nothing(ends: list[list[float]]) -> None:
    assert after_s(ends, 0.0) is None


def test_jobs_that_end_alike_are_looked_at_once_when_they_had_ended() -> None:
    ends = [[59.5, 60.4], [0.0, 60.3], [0.0, 60.4]]
    assert after_s(ends, 0.0) == pytest.approx(60.3)
    assert after_s(ends, 20.0) == pytest.approx(40.3)


def test_where_the_end_lies_far_between_two_looks_it_is_looked_for_in_the_middle() -> None:
    ends = [[2.0, 3.6]] * 3
    assert after_s(ends, 0.0) == pytest.approx(2.8)
    assert after_s(ends, 2.8) == pytest.approx(0.8)


def test_jobs_that_had_always_ended_are_looked_at_a_second_earlier() -> None:
    assert after_s([[0.0, 60.0]] * 3, 0.0) == pytest.approx(59.0)


def test_of_many_jobs_only_some_are_looked_at_earlier() -> None:
    firsts = [after_s([[0.0, 60.0]] * 3, 0.0, seq) for seq in range(2 * EXPLORING)]
    assert [first for first in firsts if first != pytest.approx(60.0)] == pytest.approx([59.0, 59.0])


def test_faster_upstream_is_caught_up_with_in_doubling_steps() -> None:
    ends, firsts = [[0.0, 60.0]] * 3, []
    for _ in range(4):
        first = after_s(ends, 0.0)
        assert first is not None
        firsts.append(first)
        ends.append([0.0, first])
    assert firsts == pytest.approx([59.0, 57.0, 53.0, 45.0])


def test_jobs_that_end_differently_are_looked_at_from_the_first_end_on() -> None:
    ends = [[19.0, 20.0], [29.0, 30.0], [59.0, 60.0], [89.0, 90.0]]
    assert after_s(ends, 10.0) == pytest.approx(10.0)
    assert after_s(ends, 45.0) == CLOSE_S


def test_jobs_that_end_within_a_second_are_looked_at_behind_the_last() -> None:
    assert after_s([[59.0, 59.2], [59.2, 59.4], [59.8, 60.0]], 0.0) == pytest.approx(59.9)


def test_job_that_takes_longer_than_they_did_is_looked_at_as_an_unknown_one() -> None:
    ends = [[29.0, 30.0], [59.0, 60.0], [89.0, 90.0]]
    assert after_s(ends, 90.0) == CLOSE_S
    assert after_s(ends, 91.5) is None


def test_one_that_ended_at_once_does_not_make_the_others_looked_at_early() -> None:
    ends = [[59.5, 60.0], [59.5, 60.0], [0.0, 1.0], [59.5, 60.0]]
    assert after_s(ends, 0.0) == pytest.approx(60.0)


def test_end_is_noted_between_two_looks() -> None:
    facts = Facts()
    note(facts, a_create(job_ended_s=[58.0, 60.004]), 70_000)  # type: ignore[arg-type]
    assert facts.known[FACT] == [[58.0, 60.0]]


def test_only_the_last_ones_are_kept() -> None:
    facts = Facts({FACT: [[0.0, 1.0]] * KEPT_ENDS})
    note(facts, a_create(job_ended_s=[58.0, 60.0]), 70_000)  # type: ignore[arg-type]
    assert facts.known[FACT] == [[0.0, 1.0]] * (KEPT_ENDS - 1) + [[58.0, 60.0]]


def test_what_was_looked_at_by_no_job_notes_no_end() -> None:
    facts = Facts()
    note(facts, a_create(), 70_000)  # type: ignore[arg-type]
    assert FACT not in facts.known
