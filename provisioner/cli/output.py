"""How lists and facts look: for people on a terminal, in plain columns for a pipe, and as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 4096  # of what is no terminal: a line is a row there, never wrapped

as_json = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
reasoned = click.option("--reason", help="Why, for the audit.")
limited = click.option("--limit", default=100, show_default=True, type=click.IntRange(0), help="0: all.")


def console() -> Console:
    """What prints to stdout; where that is no terminal, without colours and without wrapping."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDE, highlight=False, markup=False, emoji=False)


def print_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """One row for each item, with these of its fields; the first, which names it, is never wrapped.

    `service` is an item's billing system and service id; times, which end in `_at`, are in UTC and to the
    second.
    """
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == columns[0])
    for row in rows:
        table.add_row(*(_cell(row, column) for column in columns))
    console().print(table)


def _cell(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if column == "service" and row.get("billing"):
        value = f"{row['billing']}/{row['service_id']}"
    if value and column.endswith("_at"):
        value = value[:19].replace("T", " ")
    return in_words(value)


def print_facts(facts: Mapping[str, Any]) -> None:
    """One line for each fact, its name before it."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        click.echo(f"{name:<{width}}  {in_words(value)}")


def in_words(value: Any) -> str:
    """A value of an answer as one line that no terminal takes for a command."""
    match value:
        case None:
            text = "–"
        case str():
            text = value
        case bool() | int() | float():
            text = json.dumps(value)
        case {"code": code, "message": message}:
            text = f"{code}: {message}"
        case [*items] if not any(isinstance(item, dict | list) for item in items):
            text = ", ".join(map(str, items)) or "–"
        case _:
            text = json.dumps(value, ensure_ascii=False)
    return "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in text)


def print_list(page: Mapping[str, Any], columns: Sequence[str], *, as_json: bool) -> None:
    """A list as `AdminClient.listed` has it; says so where there is more of it."""
    if as_json:
        print_json(page)
        return
    print_table(columns, page["items"])
    if page.get("next"):
        click.echo("There are more: --limit 0 shows all.", err=True)
