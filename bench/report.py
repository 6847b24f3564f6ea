"""What a part found, and how it is written down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from textwrap import fill

WIDTH = 120


@dataclass(frozen=True, slots=True)
class Goal:
    """What was to be reached, and what was.

    :param words: the goal as a person reads it, such as `at least 0.80 of verifying alone`.
    :param found: the figure that was measured, with its unit.
    """

    words: str
    found: str
    met: bool


@dataclass(frozen=True, slots=True)
class Table:
    """What one part measured.

    :param title: the section's heading.
    :param against: in a sentence or a few: what was measured, how, and against what.
    :param columns: headings; the first column names the row.
    :param rows: as many cells each as there are columns, with the figures as they are to be read.
    :param notes: what a reader must know in order not to be misled.
    """

    title: str
    against: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    goals: tuple[Goal, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: {len(row)} cells in {row[0]}, {len(self.columns)} columns")

    def markdown(self) -> str:
        """A section of `docs/performance.md`."""
        parts = [f"## {self.title}", fill(self.against, WIDTH), grid(self.columns, self.rows)]
        if self.goals:
            told = [(goal.words, goal.found, "yes" if goal.met else "**no**") for goal in self.goals]
            parts.append(grid(("goal", "found", "met"), told))
        if self.notes:
            parts.append("\n".join(fill(f"- {note}", WIDTH, subsequent_indent="  ") for note in self.notes))
        return "\n\n".join(parts) + "\n"


def grid(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    headings = tuple(columns)
    lines = [headings, ("---",) * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
