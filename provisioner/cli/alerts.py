"""`alerts`: what a person must know of, and whether the messages about it arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from provisioner.cli.client import connected
from provisioner.cli.invocation import Family, Invocation, invoked
from provisioner.cli.output import as_json, in_words, print_json, print_table

if TYPE_CHECKING:
    from provisioner.config import Settings
    from provisioner.notify import Message

COLUMNS = ("cause", "subject", "severe", "count", "began_at", "remedy")


@click.group(cls=Family)
def alerts() -> None:
    """What a person must know of, and whether the messages arrive."""


@alerts.command("list")
@as_json
@invoked
def list_(invocation: Invocation, *, as_json: bool) -> None:
    """What is on now, and since when; docs/runbook.md has each cause by its name."""
    with connected(invocation) as client:
        found = client.get("alerts")
    if as_json:
        print_json(found)
        return
    print_table(COLUMNS, found["items"])
    for address, error in found["not_sent"].items():
        click.echo(f"Address {address} takes no message: {in_words(error)}", err=True)
    if found["seen_at"] is None:
        click.echo("The service does not run, or has just begun: this is what it saw last.", err=True)


@alerts.command()
@as_json
@invoked
def test(invocation: Invocation, *, as_json: bool) -> None:
    """Send one test message to each address of [alerts] urls, and say which took it.

    Nothing else is asked or changed. Fails where an address did not take it, or where there is none.
    """
    outcomes = sent(invocation.settings())
    if as_json:
        print_json({"items": outcomes})
    for outcome in [] if as_json else outcomes:
        word = click.style("sent    ", "green") if outcome["sent"] else click.style("not sent", "red")
        click.echo(f"{word} {outcome['address']}  {in_words(outcome['error'] or '')}".rstrip())
    if not outcomes:
        click.echo("There is nobody to tell: name an address in [alerts] urls.", err=True)
    if not all(outcome["sent"] for outcome in outcomes) or not outcomes:
        click.get_current_context().exit(1)


def sent(settings: Settings) -> list[dict[str, Any]]:
    """Tells each address; returns its name, whether it took the message, and why not."""
    from provisioner.app import notifier
    from provisioner.errors import NotSent

    notify, outcomes = notifier(settings), []
    for address in notify.addresses:
        try:
            notify.send(address, _message(settings))
        except NotSent as error:
            outcomes.append({"address": address, "sent": False, "error": error.detail})
        else:
            outcomes.append({"address": address, "sent": True, "error": None})
    return outcomes


def _message(settings: Settings) -> Message:
    from provisioner.notify import Message, Urgency

    body = "Alerts of provisioner arrive here. Nothing is wrong: a person asked for this message."
    return Message("Test message", f"{body}\nService: {settings.server.public_url}", Urgency.TEST)
