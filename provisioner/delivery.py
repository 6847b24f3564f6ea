"""A delivery: one message to be posted back to the billing system (contract, section 4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any


class DeliveryState(StrEnum):
    """Where a delivery stands; it leaves `waiting` once."""

    WAITING = "waiting"
    DONE = "done"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery as the store has it. Times are milliseconds since the epoch, UTC.

    `concludes` says that its end is the end of its operation. `credentials_version` and `sealed` are what
    it took from the service's slot at its first try; it keeps that body for all further tries. What is
    fetched counts an offer as a try. `failing_since` is from when its time to be given up counts, None: not
    yet. `hooks_due` says that the users' after-hooks are still to be called.
    """

    id: str
    seq: int
    billing: str
    service_id: str
    operation: str
    concludes: bool
    type: str
    data: dict[str, Any]
    with_credentials: bool
    credentials_version: str
    sealed: str
    state: DeliveryState
    attempts: int
    claims: int
    next_run_at: int
    failing_since: int | None
    last_error: str
    hooks_due: bool
    created_at: int
    updated_at: int


def iso(at_ms: int) -> str:
    """A time in milliseconds since the epoch as people and wire formats read it."""
    minute, ms = divmod(at_ms, 60_000)
    return _minute(minute) + _SECONDS[ms // 1000] + _MILLISECONDS[ms % 1000]


_SECONDS = tuple(f"{second:02}" for second in range(60))
_MILLISECONDS = tuple(f".{ms:03}Z" for ms in range(1000))


@lru_cache(maxsize=1024)
def _minute(minute: int) -> str:
    """The beginning of every time in it; those of a page's rows are near each other."""
    return datetime.fromtimestamp(minute * 60, UTC).isoformat()[: len("2026-11-26T12:00:")]


def in_ms(text: str) -> int:
    """The time that `iso` wrote, in milliseconds since the epoch."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def render(delivery: Delivery, credentials: Mapping[str, str]) -> bytes:
    """The body to post: the same bytes at every try of the same delivery.

    :param credentials: `username` and `password`, or nothing.
    """
    body = {
        "type": delivery.type,
        "timestamp": iso(delivery.created_at),
        "data": {**delivery.data, **credentials},
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
