"""What concerns the whole account: pause and resume, the brakes, and whom to trust."""

from __future__ import annotations

import click

from provisioner.cli.client import connected
from provisioner.cli.invocation import Command, Family, Invocation, invoked
from provisioner.cli.output import as_json, in_words, print_json, print_table, reasoned

BRAKES = ("kind", "limit", "count", "tripped_at")
BRAKED = ("terminate", "suspend", "create")


@click.command(cls=Command)
@reasoned
@invoked
def pause(invocation: Invocation, reason: str | None) -> None:
    """Stop all work upstream; events are still accepted."""
    with connected(invocation) as client:
        client.post("pause", reason=reason)
    click.echo("Paused: events are accepted, nothing is sent upstream. `provisioner resume` ends it.")


@click.command(cls=Command)
@reasoned
@invoked
def resume(invocation: Invocation, reason: str | None) -> None:
    """Let the work upstream go on."""
    with connected(invocation) as client:
        left = client.post("resume", reason=reason)
    if left["paused"]:
        click.echo(f"Resumed, but the work still stands for another reason: {in_words(left['reasons'])}")
    else:
        click.echo("Resumed.")


@click.group(cls=Family)
def brakes() -> None:
    """The brakes of [safety]: what is too much in one hour."""


@brakes.command("list")
@as_json
@invoked
def list_(invocation: Invocation, *, as_json: bool) -> None:
    """Each brake: its limit, how many passed in the last hour, and since when it is on."""
    with connected(invocation) as client:
        found = client.get("brakes")
    if as_json:
        print_json(found)
    else:
        print_table(BRAKES, found["items"])


@brakes.command()
@click.argument("kind", type=click.Choice(BRAKED))
@reasoned
@invoked
def reset(invocation: Invocation, kind: str, reason: str | None) -> None:
    """Restart a brake's count. What is held stays held: approve what is right."""
    with connected(invocation) as client:
        client.post("brakes", kind, "reset", reason=reason)
    click.echo(f"The brake on {kind} is off. What it held waits for `provisioner operations approve`.")


@click.group(cls=Family)
def billing() -> None:
    """The billing systems."""


@billing.command()
@click.argument("name")
@click.argument("installation")
@reasoned
@invoked
def trust(invocation: Invocation, name: str, installation: str, reason: str | None) -> None:
    """Accept the events of another installation of a billing system: a moved or cloned one."""
    with connected(invocation) as client:
        client.post("billing", name, "trust", installation=installation, reason=reason)
    click.echo(f"Events of {installation} are accepted for {name} from now on, and of no other.")
