"""`services`: what was sold, and the VM that each has."""

from __future__ import annotations

from typing import IO, Any

import click

from provisioner.cli.client import AdminClient, connected
from provisioner.cli.imports import (
    PATIENCE_S,
    followed,
    is_well,
    looking,
    named,
    one_line,
    print_line,
    print_notes,
    text_of,
    with_progress,
)
from provisioner.cli.invocation import Family, Invocation, invoked
from provisioner.cli.output import (
    as_json,
    in_words,
    limited,
    print_facts,
    print_json,
    print_list,
    print_table,
    reasoned,
)
from provisioner.errors import RequestInvalid
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


WORDS = frozenset({"invalid_field", "unknown_billing", "unknown_plan"})  # what is wrong with a line by itself
LATER = "The service does not run: it is carried out once `provisioner serve` does."
no_wait = click.option("--no-wait", is_flag=True, help="Do not wait for the end.")
dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")


@services.command()
@click.argument("billing")
@click.argument("service_id")
@click.argument("vmid", type=click.IntRange(1))
@click.option("--plan", required=True, help="What is sold.")
@click.option("--options", help="What differs from the plan: 'cpu_cores=2 mem=2048 disk=20G ip_count=2'.")
@click.option("--ips", help="The VM's addresses, separated by spaces; the upstream does not tell them.")
@click.option("--hostname", help="The VM's host name.")
@click.option("--status", type=click.Choice(["active", "suspended"]), help="active by default.")
@click.option("--quiet", is_flag=True, help="Do not tell the billing system.")
@no_wait
@invoked
def link(
    invocation: Invocation, /, billing: str, service_id: str, *, quiet: bool, no_wait: bool, **cells: Any
) -> None:
    """Bind a VM that exists already to a service.

    It is looked at first, and must be what the plan with the options says. Nothing is changed there, and no
    password is touched; the billing system is told the VM and its addresses.
    """
    tell = "no" if quiet else None
    file = one_line(billing=billing, service_id=service_id, tell=tell, **cells)
    with connected(invocation, patience_s=PATIENCE_S) as client:
        (item,) = _imported(client, file, wait=not no_wait)["items"]
        works = client.works
    if not is_well(item):
        print_line(item, numbered=False)
        said = f"{named(item)}: not linked"
        if WORDS & {problem["code"] for problem in item["problems"]}:
            raise RequestInvalid(said)
        raise click.ClickException(said)
    words = {"there_already": "linked already", "under_way": "being linked already"}
    done = "accepted" if no_wait or not works else "linked"
    click.echo(f"{words.get(item['outcome'], done)}: {named(item)}")
    for note in item["notes"]:
        click.echo(f"note: {note}")
    if item["operation"] and not works:
        click.echo(LATER)


@services.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--partial", is_flag=True, help="Link the lines that fit although others do not.")
@dry_run
@no_wait
@as_json
@invoked
def import_(
    invocation: Invocation, file: IO[bytes], *, partial: bool, dry_run: bool, no_wait: bool, as_json: bool
) -> None:
    """Bind the living VMs of a CSV file to their services.

    Its first line names the columns, in any order: billing, service_id, vmid, plan, and where wanted options
    (cpu_cores=2 mem=2048 disk=20G ip_count=2, or JSON), ips, hostname, status (active or suspended) and tell
    (no: the billing system is not told). UTF-8, comma or semicolon.

    Every line is judged before any is linked, and where one does not fit none is. Nothing is changed
    upstream; the file may be imported again.
    """
    text = text_of(file)
    with connected(invocation, patience_s=PATIENCE_S) as client:
        found = _imported(client, text, partial=partial, dry_run=dry_run, wait=not no_wait)
        works = client.works
    if as_json:
        print_json(found)
    else:
        _print_import(found, dry_run=dry_run, later=not works)
    if not all(map(is_well, found["items"])):
        click.get_current_context().exit(1)


def _imported(client: AdminClient, file: str, *, wait: bool, **flags: bool) -> dict[str, Any]:
    """The judged file; of each link that was waited for `state` and `error`, too."""
    with looking("looking at every VM in the file …"):
        found: dict[str, Any] = client.post("services", "import", file=file, **flags)
    linked = [item for item in found["items"] if item["operation"]]
    if wait and client.works:
        ended = with_progress(followed(client, [item["operation"] for item in linked]), len(linked))
        for item, operation in zip(linked, ended, strict=True):
            item |= {"state": operation["state"], "error": operation["error"]}
    return found


def _print_import(found: dict[str, Any], *, dry_run: bool, later: bool) -> None:
    items, counts = found["items"], found["counts"]
    wrong = [item for item in items if not is_well(item)]
    for item in wrong:
        print_line(item)
    print_notes(item for item in items if is_well(item))
    good = [item for item in items if item["outcome"] == "link" and is_well(item)]
    waited = all("state" in item for item in good)
    fit = "would be linked" if not found["linked"] else "are linked" if waited else "are accepted"
    click.echo(
        f"{len(items)} lines: {len(good)} {fit}, {counts['there_already']} are there already, "
        f"{counts['under_way']} are under way, {len(wrong)} do not fit"
    )
    if wrong and not found["linked"] and not dry_run:
        click.echo("Nothing was linked: mend the file, or link what fits with --partial.")
    if good and found["linked"] and later:
        click.echo(LATER)


@services.command()
@click.argument("billing")
@click.argument("service_id")
@dry_run
@reasoned
@invoked
def unlink(
    invocation: Invocation, billing: str, service_id: str, *, dry_run: bool, reason: str | None
) -> None:
    """Forget which VM a service has.

    The VM goes on as it is and is foreign from then on: shown by `reconcile`, and never touched. Nobody is
    told. The service is pending again, and may be ordered or linked anew.
    """
    with connected(invocation) as client:
        done = client.post("services", billing, service_id, "unlink", dry_run=dry_run, reason=reason)
    verb = "would be unlinked" if dry_run else "unlinked"
    service = f"{done['service']['billing']}/{in_words(done['service']['service_id'])}"
    click.echo(f"{verb}: VM {done['vmid']} of {service}; it stays as it is, and is foreign from now on")
    if done["forgets_password"]:
        click.echo("A password whose delivery was given up is forgotten with it.")


@services.command()
@click.argument("billing")
@click.argument("service_id")
@click.argument("new_service_id")
@click.option("--to-billing", help="Where the new service is another billing system's.")
@dry_run
@reasoned
@invoked
def move(
    invocation: Invocation,
    billing: str,
    service_id: str,
    new_service_id: str,
    *,
    to_billing: str | None,
    dry_run: bool,
    reason: str | None,
) -> None:
    """Give a service's VM to another service.

    Plan, spec, addresses, host name, suspension and lock go along, and a password that is still to be
    delivered; the new service is told the VM and its addresses. The former one is pending, without a VM.
    """
    body = {"service_id": new_service_id, "billing": to_billing, "dry_run": dry_run, "reason": reason}
    with connected(invocation) as client:
        done = client.post("services", billing, service_id, "move", **body)
    verb = "would be moved" if dry_run else "moved"
    old, new = (f"{one['billing']}/{in_words(one['service_id'])}" for one in (done["left"], done["service"]))
    click.echo(f"{verb}: VM {done['vmid']} from {old} to {new}, {done['service']['status']}")
    if done["password_goes_along"]:
        click.echo(f"A password that was still to be delivered goes along, and is told to {new}.")


@services.command()
@click.argument("billing")
@click.argument("service_id")
@dry_run
@reasoned
@invoked
def erase(
    invocation: Invocation, billing: str, service_id: str, *, dry_run: bool, reason: str | None
) -> None:
    """Forget the customer of a service that is over.

    Hostname, addresses, client, what was said and done: gone. That the service was there, and the ids of its
    events, stay, so that an old message makes nothing anew. Copies of the store hold it until they are gone.
    """
    with connected(invocation) as client:
        erased = client.post("services", billing, service_id, "erase", dry_run=dry_run, reason=reason)
    done = "would be erased" if dry_run else "erased"
    words = ", ".join(f"{name}: {count}" for name, count in erased.items())
    click.echo(f"{done}: {billing}/{service_id} ({words})")
