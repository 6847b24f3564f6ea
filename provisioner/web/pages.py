"""Pages of lists that stay right while rows are added: a cursor names a place, not a count."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from provisioner.errors import RequestInvalid
from provisioner.event_fields import MOST_INTEGER


class Placed(Protocol):
    """A row of a list; newer ones have a greater `seq`."""

    @property
    def seq(self) -> int: ...


R = TypeVar("R", bound=Placed)


@dataclass(frozen=True, slots=True)
class Paged(Generic[R]):
    """The rows of one page, and the cursor of the next; None on the last one."""

    rows: list[R]
    next: str | None


def page(name: str, cursor: str, limit: int, read: Callable[[int, int | None], list[R]]) -> Paged[R]:
    """One page of a list.

    :param name: the list's; a cursor of another list is refused.
    :param cursor: as the last page gave it, or empty for the first one.
    :param read: gives so many rows older than a place, newest first.
    :raises RequestInvalid: the cursor is none of this list.
    """
    rows = read(limit + 1, place_of(name, cursor) if cursor else None)
    more = len(rows) > limit
    return Paged(rows[:limit], cursor_of(name, rows[limit - 1].seq) if more else None)


def cursor_of(name: str, seq: int) -> str:
    """The cursor of what is older than this place."""
    return urlsafe_b64encode(f"{name}:{seq}".encode()).decode().rstrip("=")


def place_of(name: str, cursor: str) -> int:
    """The place that a cursor names.

    :raises RequestInvalid: it is none of this list, or not as it was given.
    """
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        seq = int(text.removeprefix(f"{name}:"))
    except ValueError:
        seq = 0
    if not 0 < seq <= MOST_INTEGER or cursor_of(name, seq) != cursor:
        raise RequestInvalid("cursor must be a cursor as the last answer gave it")
    return seq
