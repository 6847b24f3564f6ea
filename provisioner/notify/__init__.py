"""The notify port: how a person is told, wherever that person is. `by_apprise.py` is its one adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Urgency(StrEnum):
    """How a message wants to be read."""

    SEVERE = "severe"  # the work stands still, or soon will
    WARNING = "warning"
    OVER = "over"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Message:
    """What one person is told: a title that fits a phone's lock screen, and lines of plain text."""

    title: str
    body: str
    urgency: Urgency


class Notify(Protocol):
    """Where people are told. An address is known by its place in the settings and its scheme, no more."""

    @property
    def addresses(self) -> Sequence[str]:
        """The names of the addresses, such as `1 (mailto)`; none where nobody is to be told."""

    def send(self, address: str, message: Message) -> None:
        """Sends a message to one address; returns within half a minute.

        :raises NotSent: nobody took it, as far as is known.
        """
