"""`audit`: who did what, when, from where and why."""

from __future__ import annotations

from typing import Any

import click

from provisioner.cli.client import connected
from provisioner.cli.invocation import Family, Invocation, invoked
from provisioner.cli.output import as_json, limited, print_list

COLUMNS = ("seq", "when", "actor", "address", "action", "vmid", "service", "reason")


@click.group(cls=Family)
def audit() -> None:
    """Who did what, when, from where and why."""


@audit.command("list")
@click.option("--vmid", type=click.IntRange(1), help="About this VM alone.")
@click.option("--actor", help="Of this one alone, as the list has them: admin:anna.")
@click.option("--billing", help="About this billing system's services alone.")
@click.option("--service-id", help="About this service alone.")
@click.option("--since", help="From this time or day on, in UTC: 2026-11-23, 2026-11-23T12:00:00Z.")
@click.option("--until", help="Before this time or day.")
@limited
@as_json
@invoked
def list_(invocation: Invocation, /, *, limit: int, as_json: bool, **filters: str | int | None) -> None:
    """The lines, newest first."""
    with connected(invocation) as client:
        page = client.listed("audit", limit=limit, **filters)
    print_list(page if as_json else {**page, "items": map(_row, page["items"])}, COLUMNS, as_json=as_json)


def _row(line: dict[str, Any]) -> dict[str, Any]:
    when = line["at"][:19].replace("T", " ") if line["at"] else None
    return {**line, "when": when, "action": "(erased)" if line["erased"] else line["action"]}
