"""The paragraphs of `docs/runbook.md` by their names, so that a page says what the runbook says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2]
SHIPPED = "_docs"  # in the wheel, see pyproject.toml
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_ENTRY = re.compile(r"^### (.+)$", re.MULTILINE)
_NAME = re.compile(r"`([^`]+)`")
_PART = re.compile(r"^(Means|Look|Do|Never): ", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")


@dataclass(frozen=True, slots=True)
class Paragraph:
    """What one name means and what a person does; each may be empty, or a text with `words` in backticks."""

    means: str = ""
    look: str = ""
    do: str = ""
    never: str = ""


NOTHING = Paragraph()


def held(code: str) -> Paragraph:
    """For an operation that is held for this reason; one that alerts too, the brake, has one for both."""
    return _paragraphs()["Held"].get(code) or alert(code)


def failed(code: str) -> Paragraph:
    """For an operation that failed with this code."""
    return _paragraphs()["Failed"].get(code, NOTHING)


def alert(name: str) -> Paragraph:
    """For an alert of this name."""
    return _paragraphs()["Alerts"].get(name, NOTHING)


@cache
def _paragraphs() -> dict[str, dict[str, Paragraph]]:
    parts = _SECTION.split(page_of().read_text("utf-8"))
    return {title: dict(_entries(body)) for title, body in zip(parts[1::2], parts[2::2], strict=True)}


def _entries(section: str) -> list[tuple[str, Paragraph]]:
    parts = _ENTRY.split(section)
    return [
        (name, _paragraph(body))
        for heading, body in zip(parts[1::2], parts[2::2], strict=True)
        for name in _NAME.findall(heading)
    ]


def _paragraph(body: str) -> Paragraph:
    parts = _PART.split(_LINK.sub(r"\1", body))
    told = {word.lower(): " ".join(text.split()) for word, text in zip(parts[1::2], parts[2::2], strict=True)}
    return Paragraph(**told) if told else Paragraph(means=" ".join(body.split()))


def page_of(package: Path = PACKAGE) -> Path:
    """Where the runbook lies: in the package as it is built, beside it in a clone."""
    packed = package / SHIPPED / "runbook.md"
    return packed if packed.is_file() else package.parent / "docs" / "runbook.md"
