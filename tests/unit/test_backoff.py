"""How long a failed step waits: doubling, with jitter, never beyond the limit."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.engine.advance import backoff_s

FIRST_S, MOST_S = 2.0, 300.0


@pytest.mark.parametrize(
    ("failures", "middle_s"),
    [(1, 2), (2, 4), (3, 8), (7, 128), (8, 256), (9, 300), (10, 300), (1_000_000, 300)],
)
def test_waits_double_up_to_the_limit(failures: int, middle_s: float) -> None:
    waits = [backoff_s(failures, FIRST_S, MOST_S, random.Random(seed)) for seed in range(200)]
    assert min(waits) >= middle_s * 0.75
    assert max(waits) <= min(middle_s * 1.25, MOST_S)
    assert len(set(waits)) > 50  # what failed together is not tried together


@given(
    failures=st.integers(1, 10_000),
    first_s=st.floats(0.01, 86_400),
    most_s=st.floats(0.01, 86_400),
    seed=st.integers(0, 2**32),
)
def test_wait_is_never_beyond_the_limit(failures: int, first_s: float, most_s: float, seed: int) -> None:
    wait_s = backoff_s(failures, first_s, most_s, random.Random(seed))
    assert min(first_s, most_s) * 0.75 <= wait_s <= most_s


def test_same_seed_waits_the_same() -> None:
    first, second = (backoff_s(3, FIRST_S, MOST_S, random.Random(7)) for _ in range(2))
    assert first == second
