"""What somebody would otherwise put behind a webhook, each as its documentation has it.

Each keeps an event so that no power cut loses it once it was answered, as ours does; none of them does what
ours does beyond that: judge the event, know its service, put the operation into its order.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Place:
    """Where a contestant keeps what it keeps; `threads` are those that answer requests."""

    folder: Path
    redis_url: str
    postgres_url: str
    threads: int


class Rival(Protocol):
    """Made of a `Place`; used by all the threads of a server."""

    def keep(self, webhook_id: str, body: bytes) -> None:
        """Returns once the event would survive a power cut."""

    def kept(self) -> int:
        """How many events there are."""

    def is_durable(self) -> bool:
        """Whether its database says that it syncs before it answers."""
