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
    with connected(invocation) as client:
        page = client.listed("services", limit=limit, **filters)
    print_list(page, COLUMNS, as_json=as_json)


@services.command()
@click.argument("billing")
@click.argument("service_id")
@as_json
@invoked
def show(invocation: Invocation, billing: str, service_id: str, *, as_json: bool) -> None:
    """One service with its VM, IPs, spec and operations."""
    with connected(invocation) as client:
        shown = client.get("services", billing, service_id)
    if as_json:
        print_json(shown)
        return
    its_operations = shown.pop("operations", [])
    print_facts(shown)
    click.echo("\noperations, newest first")
    print_table(OPERATIONS, its_operations)
