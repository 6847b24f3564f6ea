"""The file of `services import`: a CSV as spreadsheets write it, read line by line.

Nothing here is judged against the store or the upstream. A line that does not fit keeps what is legible in
it, so that all mistakes of a file are told at once.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from provisioner.errors import RequestInvalid
from provisioner.event_fields import MOST_INTEGER
from provisioner.event_models import Link, Subject, problems

NEEDED = ("billing", "service_id", "vmid", "plan")
COLUMNS = (*NEEDED, "options", "ips", "hostname", "status", "tell")
MOST_CHARACTERS = 500_000  # some two thousand lines: each costs the upstream a call
MOST_LINES = 2_000
_NUMBER = re.compile("[1-9][0-9]{0,18}")
_TOLD = {"": True, "yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file.

    :param number: as an editor counts it, from 1.
    :param billing: and `service_id`, `vmid`: as far as they are legible, also where the line does not fit.
    :param link: what is asked; None where the line does not fit.
    :param tell: whether the billing system is told.
    :param problems: what is wrong with which column, and what would be right.
    """

    number: int
    billing: str
    service_id: str
    vmid: int | None
    link: Link | None
    tell: bool = True
    problems: tuple[str, ...] = ()


def read(text: str) -> list[Line]:
    """The file's lines, empty ones left out.

    :raises RequestInvalid: it is too large, has no header row with the right columns, or no lines.
    """
    if len(text) > MOST_CHARACTERS:
        raise RequestInvalid(f"the file has more than {MOST_CHARACTERS} characters: split it")
    if not text.strip("\ufeff \t\r\n"):
        raise RequestInvalid("the file is empty")
    rows = _rows(text.removeprefix("\ufeff"))
    columns = _columns(next(rows, (1, []))[1])
    lines: list[Line] = []
    for number, cells in rows:
        if any(cells):
            lines.append(_line(number, columns, cells))
        if len(lines) > MOST_LINES:
            raise RequestInvalid(f"the file has more than {MOST_LINES} lines: split it")
    if not lines:
        raise RequestInvalid("the file has a header row and nothing below it")
    return lines


def options_of(cell: str) -> dict[str, Any]:
    """What a cell with options asks for: `cpu_cores=2 mem=2048 disk=20G`, or a JSON object.

    :raises ValueError: it is neither; the words say what is wrong.
    """
    if cell.startswith("{"):
        try:
            found = json.loads(cell)
        except (ValueError, RecursionError):
            raise ValueError("options must be key=value words or a JSON object") from None
        return dict(found)
    pairs = [word.partition("=") for word in re.split(r"[\s,;]+", cell) if word]
    names = [name for name, _, _ in pairs]
    if not all(name and equals for name, equals, _ in pairs) or len(set(names)) < len(names):
        raise ValueError("options must be key=value words, each key once, such as cpu_cores=2 disk=20G")
    return {name: _number(value) for name, _, value in pairs}


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each row's first line and its cells, stripped of the spaces around them.

    :raises RequestInvalid: a quote stands where none can, or is never closed.
    """
    first = text.lstrip("\r\n").splitlines()[:1]
    delimiter = ";" if first and first[0].count(";") > first[0].count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 1
    try:
        for cells in reader:
            if cells:
                yield number, [cell.strip() for cell in cells]
            number = reader.line_num + 1
    except csv.Error as error:
        raise RequestInvalid(f"line {number}: it is no CSV ({error})") from None


def _columns(header: Sequence[str]) -> list[str]:
    columns = [name.lower() for name in header]
    unknown = [name for name in columns if name and name not in COLUMNS]
    missing = [name for name in NEEDED if name not in columns]
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    for names, words in ((unknown, "unknown"), (missing, "missing"), (twice, "there twice")):
        if names:
            shown = ", ".join(ascii(name)[1:-1][:64] for name in names[:5])
            raise RequestInvalid(
                f"the first line must name the columns; {words}: {shown}; there are {', '.join(COLUMNS)}, "
                f"of which {', '.join(NEEDED)} are needed"
            )
    return columns


def _line(number: int, columns: Sequence[str], cells: Sequence[str]) -> Line:
    given = {name: cell for name, cell in zip(columns, cells, strict=False) if name and cell}
    wrong = [] if len(cells) <= len(columns) else ["it has more cells than the first line has columns"]
    wrong += [
        f"a cell stands in column {place}, which has no name"
        for place, (name, cell) in enumerate(zip(columns, cells, strict=False), 1)
        if cell and not name
    ]
    tell = _TOLD.get(given.get("tell", "").lower())
    if tell is None:
        wrong.append("tell must be yes or no")
    if "billing" not in given:
        wrong.append("billing is missing")
    fields, misread = _fields(given)
    wrong += misread
    subject = _judged(Subject, {"service_id": given.get("service_id")}, wrong)
    link = _judged(Link, fields, wrong)
    vmid = fields.get("vmid")
    return Line(
        number=number,
        billing=given.get("billing", ""),
        service_id=subject.service_id if subject else "",
        vmid=vmid if isinstance(vmid, int) and vmid <= MOST_INTEGER else None,
        link=None if wrong else link,
        tell=tell is not False,
        problems=tuple(wrong),
    )


def _fields(given: dict[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The cells as `Link` takes them, and what is no value at all."""
    fields: dict[str, Any] = {name: given[name] for name in ("plan", "hostname") if name in given}
    wrong = []
    if "vmid" in given:
        fields["vmid"] = _number(given["vmid"])
    if "ips" in given:
        fields["ips"] = [ip for ip in re.split(r"[\s;,]+", given["ips"]) if ip]
    if "status" in given:
        fields["status"] = given["status"].lower()
    try:
        fields["options"] = options_of(given.get("options", ""))
    except ValueError as error:
        wrong.append(str(error))
    return fields, wrong


def _judged(model: type[Any], fields: dict[str, Any], wrong: list[str]) -> Any:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        wrong.append(problems(error))
        return None


def _number(text: str) -> int | str:
    return int(text) if _NUMBER.fullmatch(text) else text
