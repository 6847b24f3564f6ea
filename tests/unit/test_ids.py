"""Ids of one time lie side by side, so that what comes together is written to few pages."""

from __future__ import annotations

import re

import pytest

from provisioner import app


def test_ids_sort_by_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    for second in (1_799_999_999, 1_800_000_000, 1_800_000_001):
        monkeypatch.setattr(app.time, "time", lambda second=second: second + 0.9)
        made += sorted(app.new_id("op") for _ in range(5))
    assert made == sorted(set(made))


def test_id_is_a_word_for_urls_and_logs() -> None:
    assert re.fullmatch(r"evt_[0-9a-f]{24}", app.new_id("evt"))
