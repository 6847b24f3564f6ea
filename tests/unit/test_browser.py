"""What pages are made of: signed texts, limits, plots, and times as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from provisioner.web.browser import plot
from provisioner.web.browser.limits import Limit
from provisioner.web.browser.pages import ago, moment, span
from provisioner.web.browser.signed import AHEAD_S, LinkExpired, Signed

NOW = 1_800_000_000_000
KEYS = {"old": b"o" * 32, "new": b"n" * 32}


class Clock:
    """Milliseconds since the epoch; moves when it is told to."""

    def __init__(self) -> None:
        self.ms = NOW

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


def signed(clock: Clock, *keys: str, purpose: str = "a link") -> Signed:
    def derived(of: str) -> Sequence[bytes]:
        return [KEYS[key] + of.encode() for key in keys or ("new",)]

    return Signed(derived, purpose, clock)


# Signed texts


@pytest.mark.parametrize("payload", [{"id": "ü✓", "n": [1, None]}, "", 0, None, "x" * 9000])
def test_what_was_signed_comes_back(clock: Clock, payload: Any) -> None:
    one = signed(clock)
    text = one.sign(payload)
    assert one.read(text, 60) == payload
    assert text.isascii()
    assert not set(text) & set("/?#&%+ =")


def test_signed_text_has_its_time(clock: Clock) -> None:
    one = signed(clock)
    text = one.sign({"service": "1"})
    clock.ms += 60_000
    assert one.read(text, 60) == {"service": "1"}
    clock.ms += 1000
    with pytest.raises(LinkExpired) as expired:
        one.read(text, 60)
    assert expired.value.payload == {"service": "1"}


@pytest.mark.parametrize(("ahead_s", "is_good"), [(1, True), (AHEAD_S, True), (AHEAD_S + 1, False)])
def test_another_nodes_clock_may_be_a_little_ahead(clock: Clock, ahead_s: int, *, is_good: bool) -> None:
    one = signed(clock)
    clock.ms += ahead_s * 1000
    text = one.sign("x")
    clock.ms = NOW
    if is_good:
        assert one.read(text, 60) == "x"
    else:
        with pytest.raises(LinkExpired):
            one.read(text, 60)


def test_altered_text_is_nobodys(clock: Clock) -> None:
    one = signed(clock)
    text = one.sign({"service": "1"})
    for place in range(len(text) - 1):  # the last character has bits that mean nothing
        other = "A" if text[place] != "A" else "B"
        assert one.read(text[:place] + other + text[place + 1 :], 60) is None, place


@pytest.mark.parametrize("text", ["", ".", "..", "x", "a.b.c", "\0", "ü", "\ud800", "." * 9000, "=" * 9])
def test_junk_is_nobodys(clock: Clock, text: str) -> None:
    assert signed(clock).read(text, 60) is None


def test_altered_and_expired_text_says_nothing(clock: Clock) -> None:
    one = signed(clock)
    text = one.sign("x")
    clock.ms += 3_600_000
    assert one.read(text[:-5] + "AAAAA", 60) is None


def test_each_purpose_has_texts_of_its_own(clock: Clock) -> None:
    text = signed(clock, purpose="a link").sign("x")
    assert signed(clock, purpose="a session").read(text, 60) is None


def test_purpose_counts_although_the_key_is_the_same(clock: Clock) -> None:
    link, session = (Signed(lambda of: [KEYS["new"]], purpose, clock) for purpose in ("a link", "a session"))
    assert link.read(link.sign("x"), 60) == "x"
    assert session.read(link.sign("x"), 60) is None


def test_newest_key_signs_and_each_verifies(clock: Clock) -> None:
    before = signed(clock, "old").sign("x")
    after = signed(clock, "new", "old").sign("x")
    assert signed(clock, "new", "old").read(before, 60) == "x"
    assert signed(clock, "new").read(after, 60) == "x"
    assert signed(clock, "old").read(after, 60) is None
    assert signed(clock, "new").read(before, 60) is None


# Limits


def test_limit_lets_so_many_through_and_says_how_long_to_wait(clock: Clock) -> None:
    limit = Limit(2, 60, clock)
    assert limit.take("a") == 0
    clock.ms += 10_000
    assert [limit.take("a"), limit.take("a"), limit.take("a")] == [0, 50, 50]
    clock.ms += 49_001
    assert limit.take("a") == 1
    clock.ms += 999
    assert [limit.take("a"), limit.take("a")] == [0, 10]


def test_looking_at_a_limit_counts_nothing(clock: Clock) -> None:
    limit = Limit(1, 60, clock)
    assert [limit.wait_s("a"), limit.wait_s("a"), limit.take("a"), limit.wait_s("a")] == [0, 0, 0, 60]


def test_each_key_has_a_limit_of_its_own(clock: Clock) -> None:
    limit = Limit(1, 60, clock)
    assert [limit.take("a"), limit.take("b"), limit.take("a")] == [0, 0, 60]
    limit.forget("a")
    limit.forget("never seen")
    assert [limit.take("a"), limit.take("b")] == [0, 60]


def test_limit_remembers_so_many_keys(clock: Clock) -> None:
    limit = Limit(1, 60, clock, keys=3)
    for key in ("a", "b", "c"):
        limit.count(key)
    limit.count("a")  # b is the one that was used longest ago
    limit.count("d")
    assert [limit.wait_s(key) for key in ("a", "b", "c", "d")] == [60, 0, 60, 60]
    for number in range(1000):
        limit.count(str(number))
    assert len(limit._times) == 3


def test_counting_beyond_a_limit_keeps_no_more_than_it_needs(clock: Clock) -> None:
    limit = Limit(2, 60, clock)
    for _ in range(1000):
        limit.count("a")
        clock.ms += 1
    assert len(limit._times["a"]) == 2
    assert limit.wait_s("a") == 60


# Plots


def test_bars_reach_from_the_ground_to_the_top() -> None:
    drawn = plot.bars([("a", 10.0, "ten"), ("b", 5.0, "five"), ("c", 0.0, "nothing"), ("d", None, "unknown")])
    assert drawn.top == "10"
    assert [(bar.y, bar.height) for bar in drawn.bars] == [
        (0.0, 120.0),
        (60.0, 60.0),
        (120.0, 0.0),
        (120.0, 0.0),
    ]
    assert [(bar.label, bar.value) for bar in drawn.bars][1] == ("b", "five")
    assert [bar.x for bar in drawn.bars] == [15.0, 165.0, 315.0, 465.0]
    assert {bar.width for bar in drawn.bars} == {120.0}


def test_little_is_seen_beside_much() -> None:
    drawn = plot.bars([("a", 1_000_000.0, ""), ("b", 1.0, "")])
    assert drawn.bars[1].height == 2.0


@pytest.mark.parametrize("values", [[], [("a", None, "")], [("a", 0.0, "")]])
def test_plot_of_nothing_has_no_top(values: Any) -> None:
    drawn = plot.bars(values, top_words="0 s")
    assert drawn.top == ""
    assert all(bar.height == 0 for bar in drawn.bars)


def test_top_can_have_words() -> None:
    assert plot.bars([("a", 90.0, "")], top_words="1 min").top == "1 min"


def test_line_runs_over_the_whole_width_and_no_higher_than_the_top() -> None:
    drawn = plot.line([(100, 0.0), (150, 50.0), (200, 200.0)], top=100.0, top_words="100 %")
    assert drawn.path == "M0.0,120.0 L300.0,60.0 L600.0,0.0"
    assert drawn.area == f"{drawn.path} L600,120 L0,120 Z"
    assert drawn.top == "100 %"


@pytest.mark.parametrize("points", [[], [(1, 2.0)]])
def test_line_needs_two_points(points: list[tuple[float, float]]) -> None:
    drawn = plot.line(points)
    assert (drawn.path, drawn.area) == ("", "")


@pytest.mark.parametrize("points", [[(5, 0.0), (5, 0.0)], [(1, 0.0), (2, 0.0)]])
def test_flat_line_and_still_time_can_be_drawn(points: list[tuple[float, float]]) -> None:
    assert plot.line(points).path.startswith("M0.0,120.0 L")


# Times


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 ms"), (0.0004, "0 ms"), (0.25, "250 ms"), (1, "1 s"), (59.9, "59 s"), (60, "1 min"),
        (3599, "59 min"), (3600, "1 h"), (86_399, "23 h"), (86_400, "1 d"), (400 * 86_400, "400 d"),
    ],
)  # fmt: skip
def test_length_of_time_has_one_unit(seconds: float, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (NOW, "now"), (NOW + 999, "now"), (NOW - 999, "now"), (NOW - 180_000, "3 min ago"),
        (NOW + 7_200_000, "in 2 h"), (None, ""), ("2027-01-15T07:59:00.000Z", "1 min ago"),
    ],
)  # fmt: skip
def test_moment_is_so_long_ago(at: int | str | None, words: str) -> None:
    assert ago(at, NOW) == words


@pytest.mark.parametrize(
    ("at", "words"),
    [(NOW, "2027-01-15 08:00:00"), ("2027-01-15T08:00:00.123Z", "2027-01-15 08:00:00"),
     (0, "1970-01-01 00:00:00"), (None, "")],
)  # fmt: skip
def test_moment_is_in_utc(at: int | str | None, words: str) -> None:
    assert moment(at) == words
