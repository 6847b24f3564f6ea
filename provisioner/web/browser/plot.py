"""Plots as numbers for an SVG that the server draws: no script, nothing inline, readable as text too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600, 120  # of the drawing; the page scales it


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `label` and `value` are its text."""

    x: float
    y: float
    width: float
    height: float
    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Bars:
    """A row of bars; `top` is the value that reaches the upper edge, '' where all are nothing."""

    bars: tuple[Bar, ...]
    top: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line as an SVG path, and the area under it; both are empty where there are less than two points."""

    path: str
    area: str
    top: str


def bars(values: Sequence[tuple[str, float | None, str]], *, top_words: str = "") -> Bars:
    """A bar for each (label, value, the value in words); None has no bar, only its place."""
    greatest = max([value for _, value, _ in values if value is not None], default=0.0)
    top = greatest or 1.0
    step = WIDTH / max(len(values), 1)
    return Bars(
        tuple(
            Bar(
                round(place * step + step * 0.1, 2),
                round(HEIGHT - _height(value, top), 2),
                round(step * 0.8, 2),
                round(_height(value, top), 2),
                label,
                words,
            )
            for place, (label, value, words) in enumerate(values)
        ),
        (top_words or f"{top:g}") if greatest else "",
    )


def line(points: Sequence[tuple[float, float]], top: float | None = None, *, top_words: str = "") -> Line:
    """A line through (time, value), oldest first; `top` reaches the upper edge, else the greatest value."""
    top = top or max((value for _, value in points), default=0.0) or 1.0
    words = top_words or f"{top:g}"
    if len(points) < 2:
        return Line("", "", words)
    first, last = points[0][0], points[-1][0]
    span = (last - first) or 1.0
    placed = [((at - first) / span * WIDTH, HEIGHT - min(value / top, 1.0) * HEIGHT) for at, value in points]
    path = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    return Line(path, f"{path} L{WIDTH},{HEIGHT} L0,{HEIGHT} Z", words)


def _height(value: float | None, top: float) -> float:
    """What is not nothing is seen."""
    return 0.0 if not value else max(value / top * HEIGHT, 2.0)
