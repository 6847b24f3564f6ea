"""The sandbox's time: integer milliseconds since the epoch, UTC."""

from __future__ import annotations

import time


def wall_clock() -> int:
    """Milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


def milliseconds(seconds: float) -> int:
    """A setting's seconds as whole milliseconds."""
    return round(seconds * 1000)
