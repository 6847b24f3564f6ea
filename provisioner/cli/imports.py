"""What `services link` and `services import` say: each line that does not fit, and how the links ended."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import click

from provisioner.cli.client import AdminClient
from provisioner.cli.output import in_words
from provisioner.errors import RequestInvalid
from provisioner.operation import State

if TYPE_CHECKING:
    from rich.console import Console

Item = Mapping[str, Any]

PATIENCE_S = 900.0  # for the look at every VM in the file
STILL_S = 60.0  # without any link ending: the work upstream is paused, perhaps
LOOK_S = 0.1
MOST_NOTES = 10
ENDED_WELL = (State.DELIVERING, State.SUCCEEDED)
ENDED = (*ENDED_WELL, State.FAILED, State.CANCELLED, State.HELD)


def text_of(file: IO[bytes]) -> str:
    """The text of a file in UTF-8.

    :raises RequestInvalid: it is no UTF-8, or larger than any that is taken.
    """
    from provisioner.engine.import_file import MOST_CHARACTERS

    raw = file.read(4 * MOST_CHARACTERS + 1)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        words = f"{file.name}: line {line} is not UTF-8: save it as CSV in UTF-8"
        raise RequestInvalid(words) from None
    if len(text) > MOST_CHARACTERS:
        raise RequestInvalid(f"{file.name}: has more than {MOST_CHARACTERS} characters: split it")
    return text


def one_line(**cells: str | int | None) -> str:
    """A file of one line with these cells."""
    text = io.StringIO()
    given = {name: cell for name, cell in cells.items() if cell is not None}
    writer = csv.writer(text)
    writer.writerow(given)
    writer.writerow(given.values())
    return text.getvalue()


def followed(client: AdminClient, operations: Iterable[str]) -> Iterator[Item]:
    """Each operation once its work is done or stopped, or as it is when nothing has moved for too long."""
    until = time.monotonic() + STILL_S
    for operation in operations:
        shown = client.get("operations", operation)
        while shown["state"] not in ENDED and time.monotonic() < until:
            time.sleep(LOOK_S)
            shown = client.get("operations", operation)
        if shown["state"] in ENDED:
            until = time.monotonic() + STILL_S
        yield shown


@contextmanager
def looking(words: str) -> Iterator[None]:
    """Says on a terminal that something is looked at."""
    console = _terminal()
    if console is None:
        yield
        return
    with console.status(words):
        yield


def with_progress(shown: Iterable[Item], count: int) -> list[Item]:
    """All of them; on a terminal with a bar that says how far it is."""
    console = _terminal()
    if console is None:
        return list(shown)
    from rich.progress import track

    return list(track(shown, "linking", total=count, console=console, transient=True))


def _terminal() -> Console | None:
    """What prints beside the answer, which may go into a file; None where nobody watches."""
    if not sys.stderr.isatty():
        return None
    from rich.console import Console

    return Console(stderr=True)


def is_well(item: Item) -> bool:
    """Whether a line fits, and its link has not ended badly or stood still."""
    return item["outcome"] != "wrong" and item.get("state", State.SUCCEEDED) in ENDED_WELL


def print_line(item: Item, *, numbered: bool = True) -> None:
    """What is wrong with one line, the asked beside what is there."""
    place = f"line {item['line']}: " if numbered else ""
    click.echo(f"{place}{named(item)}")
    for problem in item["problems"]:
        click.echo(f"  {in_words(problem)}")
    for difference in item["differences"]:
        asked, there = in_words(difference["asked"]), in_words(difference["there"])
        click.echo(f"    {difference['what']:<9}  asked {asked:<8}  there {there}")
    if item["differences"]:
        options = in_words(item["options"]) or "nothing"
        click.echo(f"    to accept what is there, write into options: {options}")
    if not is_well(item) and item["outcome"] != "wrong":
        error = f": {in_words(item['error'])}" if item["error"] else ""
        click.echo(f"  the link {item['operation']} is {item['state']}{error}")


def print_notes(items: Iterable[Item]) -> None:
    """What fits and is still good to know; a few of it."""
    notes = [f"line {item['line']}: {named(item)}: {note}" for item in items for note in item["notes"]]
    for note in notes[:MOST_NOTES]:
        click.echo(f"note: {in_words(note)}")
    if len(notes) > MOST_NOTES:
        click.echo(f"note: {len(notes) - MOST_NOTES} more such: --json shows all")


def named(item: Item) -> str:
    """Whose line it is, as far as it is legible."""
    service = f"{in_words(item['billing'] or '?')}/{in_words(item['service_id'] or '?')}"
    return f"{service}, VM {item['vmid'] or '?'}"
