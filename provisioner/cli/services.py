"""`services`: what was sold, and the VM that each has."""

from __future__ import annotations

import click

from provisioner.cli.client import connected
from provisioner.cli.invocation import Family, Invocation, invoked
from provisioner.cli.output import as_json, limited, print_facts, print_json, print_list, print_table
from provisioner.service import ServiceStatus

COLUMNS = ("billing", "service_id", "status", "plan", "vmid", "ips", "hostname")
OPERATIONS = ("id", "kind", "state", "created_at", "error")


@click.group(cls=Family)
def services() -> None:
    """What was sold, and the VM that each service has."""


@services.command("list")
@click.option("--status", type=click.Choice([*map(str, ServiceStatus)]), help="In this status alone.")
@click.option("--billing", help="Of this billing system alone.")
@click.option("--vmid", type=click.IntRange(1), help="The one with this VM.")
@click.option("--ip", help="The one with this address.")
@click.option("--q", help="What its id, hostname, plan, client or addresses contain.")
@limited
@as_json
@invoked
def list_(invocation: Invocation, /, *, limit: int, as_json: bool, **filters: str | int | None) -> None:
    """The services, newest first."""
    with connected(invocation.settings()) as client:
        page = client.listed("services", limit=limit, **filters)
    print_list(page, COLUMNS, as_json=as_json)


@services.command()
@click.argument("billing")
@click.argument("service_id")
@as_json
@invoked
def show(invocation: Invocation, billing: str, service_id: str, *, as_json: bool) -> None:
    """One service with its VM, IPs, spec and operations."""
    with connected(invocation.settings()) as client:
        shown = client.get("services", billing, service_id)
    if as_json:
        print_json(shown)
        return
    its_operations = shown.pop("operations", [])
    print_facts(shown)
    click.echo("\noperations, newest first")
    print_table(OPERATIONS, its_operations)


@services.command()
@click.argument("billing")
@click.argument("service_id")
@click.option("--dry-run", is_flag=True, help="Say what would be taken away, and take nothing.")
@click.option("--reason", help="Why, for the audit.")
@invoked
def erase(
    invocation: Invocation, billing: str, service_id: str, *, dry_run: bool, reason: str | None
) -> None:
    """Forget the customer of a service that is over.

    Hostname, addresses, client, what was said and done: gone. That the service was there, and the ids of its
    events, stay, so that an old message makes nothing anew. Copies of the store hold it until they are gone.
    """
    with connected(invocation.settings()) as client:
        erased = client.post("services", billing, service_id, "erase", dry_run=dry_run, reason=reason)
    done = "would be erased" if dry_run else "erased"
    words = ", ".join(f"{name}: {count}" for name, count in erased.items())
    click.echo(f"{done}: {billing}/{service_id} ({words})")
