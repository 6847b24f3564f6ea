"""Cursors: opaque, of one list, and refused when they are not as they were given."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import RequestInvalid
from provisioner.web.pages import cursor_of, page, place_of

MOST = 2**63 - 1


@dataclass(frozen=True)
class Row:
    seq: int


def encoded(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


@given(st.integers(1, MOST))
def test_cursor_names_its_place(seq: int) -> None:
    cursor = cursor_of("events", seq)
    assert place_of("events", cursor) == seq
    assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor)


@given(st.text(max_size=40))
def test_junk_is_no_cursor(text: str) -> None:
    with pytest.raises(RequestInvalid):
        place_of("events", text)


@pytest.mark.parametrize(
    "cursor",
    [
        cursor_of("operations", 7),
        encoded("7"),
        encoded("events:0"),
        encoded("events:-7"),
        encoded("events:+7"),
        encoded("events:07"),
        encoded("events: 7"),
        encoded("events:7_0"),
        encoded("events:7.0"),
        encoded(f"events:{MOST + 1}"),
        encoded("events:" + "9" * 5000),
        encoded("events:7") + "=",
        encoded("events:7") + "\n",
        "",
    ],
)
def test_other_spellings_are_refused(cursor: str) -> None:
    with pytest.raises(RequestInvalid, match="cursor"):
        place_of("events", cursor)


@pytest.mark.parametrize(
    ("rows", "limit", "sizes"), [(0, 2, [0]), (1, 2, [1]), (2, 2, [2]), (3, 2, [2, 1]), (5, 1, [1] * 5)]
)
def test_pages_hold_every_row_once(rows: int, limit: int, sizes: list[int]) -> None:
    stored = [Row(seq) for seq in range(rows, 0, -1)]

    def read(most: int, place: int | None) -> list[Row]:
        return [row for row in stored if place is None or row.seq < place][:most]

    cursor, seen, found = "", [], []
    while True:
        one = page("events", cursor, limit, read)
        seen += one.rows
        found.append(len(one.rows))
        if one.next is None:
            break
        cursor = one.next
    assert (seen, found) == (stored, sizes)
