"""`events`: the webhooks received, the rejected ones above all."""

from __future__ import annotations

import click

from provisioner.cli.client import connected
from provisioner.cli.invocation import Family, Invocation, invoked
from provisioner.cli.output import as_json, limited, print_facts, print_json, print_list, reasoned
from provisioner.errors import RequestInvalid

COLUMNS = ("id", "received_at", "type", "service", "state", "code")


@click.group(cls=Family)
def events() -> None:
    """The webhooks received, the rejected ones above all."""


@events.command("list")
@click.option("--state", type=click.Choice(["accepted", "rejected"]), help="In this state alone.")
@click.option("--billing", help="Of this billing system alone.")
@limited
@as_json
@invoked
def list_(invocation: Invocation, /, *, limit: int, as_json: bool, **filters: str | None) -> None:
    """The events, newest first."""
    with connected(invocation) as client:
        page = client.listed("events", limit=limit, **filters)
    print_list(page, COLUMNS, as_json=as_json)


@events.command()
@click.argument("event")
@as_json
@invoked
def show(invocation: Invocation, event: str, *, as_json: bool) -> None:
    """One event: what was received, how it was judged and what was answered."""
    with connected(invocation) as client:
        shown = client.get("events", event)
    (print_json if as_json else print_facts)(shown)


@events.command()
@click.argument("event")
@reasoned
@invoked
def replay(invocation: Invocation, event: str, reason: str | None) -> None:
    """Judge a rejected event again."""
    with connected(invocation) as client:
        try:
            answer = client.post("events", event, "replay", reason=reason)
        except RequestInvalid as refusal:  # its sender's fields are wrong, not this command's words
            raise click.ClickException(f"rejected again: {refusal.detail}") from None
    click.echo(f"accepted: operation {answer['operation']}")
