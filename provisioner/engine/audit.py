"""Whether the audit is as it was written: its chain is followed, piece by piece, from the first line on."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.audit import ERASED, AuditLine, Place, broken
from provisioner.store.verbs import Verbs

PIECE = 20_000  # lines in one transaction: a fraction of a second


@dataclass(frozen=True, slots=True)
class Verified:
    """How far the chain was followed.

    :param read: how many lines were read in this piece.
    :param place: the last of them that is right.
    :param is_end: nothing is left to be read.
    :param problem: what is wrong with the first line that is not as it was written; '' where all are.
    """

    read: int
    place: Place
    is_end: bool
    problem: str = ""


def verify(verbs: Verbs, after: int = 0, most: int = PIECE) -> Verified:
    """Follows the chain over at most so many lines.

    :param after: the line that the piece before ended with, 0 for the first piece.
    """
    begin, end = verbs.audit_ends()
    place = begin if after <= begin.seq else _place_of(verbs, after)
    if place is None:
        return Verified(0, begin, is_end=True, problem=f"line {after} was removed")
    lines = verbs.audit_after(place.seq, most)
    for read, line in enumerate(lines, 1):
        problem = broken(line, place) or _erasure_problem(verbs, line, begin)
        if problem:
            return Verified(read, place, is_end=True, problem=problem)
        place = line.place
    is_end = len(lines) < most
    return Verified(len(lines), place, is_end, _end_problem(place, end) if is_end else "")


def _place_of(verbs: Verbs, seq: int) -> Place | None:
    line = verbs.audit_line(seq)
    return line.place if line else None


def _erasure_problem(verbs: Verbs, line: AuditLine, begin: Place) -> str:
    """An empty line must have been emptied by a later one that says so, and that one says how many."""
    if line.erased_by is not None:
        by = verbs.audit_line(line.erased_by)
        rightly = by is not None and by.action == ERASED and by.seq > line.seq
        return "" if rightly else f"line {line.seq} was altered, or {_not_on_record(line)}"
    if line.action != ERASED:
        return ""
    told, first_told = int(line.facts.get("lines", 0)), int(line.facts.get("first", 0))
    found, first = verbs.count_erased(line.seq)
    pruned = 0 < first_told <= begin.seq
    if found == told or (pruned and found < told):
        return ""
    return (
        f"line {first or line.seq} was altered, or one after it: {found} lines are empty for the erasure in "
        f"line {line.seq}, which says {told}"
    )


def _not_on_record(line: AuditLine) -> str:
    return f"line {line.erased_by} was: it is empty, and that one tells no erasure"


def _end_problem(place: Place, end: Place) -> str:
    """The last line must be the one on record: what is removed from the end breaks no chain."""
    if place == end:
        return ""
    if place.seq < end.seq:
        return f"line {place.seq + 1} was removed"
    if place.seq > end.seq:
        return f"line {end.seq + 1} was added"
    return f"line {place.seq} was altered"
