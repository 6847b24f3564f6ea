"""The time of `line/wire.py`: a deadline that is near by it is far away for a machine that is slow."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.line import wire


class LineClock:
    """Stands in for the module `time` in `line/wire.py`. It stands still, but for what the following take.

    :ivar look_s: each look at it, so that what comes in pieces takes time.
    :ivar answer_s: the wait for each answer, when all is sent: what is left is waited for in earnest.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self.look_s = 0.0
        self.answer_s = 0.0

    def monotonic(self) -> float:
        self.now_s += self.look_s
        return self.now_s


def on_a_clock(monkeypatch: pytest.MonkeyPatch) -> LineClock:
    """All lines go by a clock of their own until the test ends."""
    clock, answer_to = LineClock(), wire._Connection.getresponse

    def late(connection: Any) -> Any:
        clock.now_s += clock.answer_s
        return answer_to(connection)

    monkeypatch.setattr(wire, "time", clock)
    monkeypatch.setattr(wire._Connection, "getresponse", late)
    return clock
