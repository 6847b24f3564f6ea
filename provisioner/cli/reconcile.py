"""`reconcile`: what store and upstream disagree on, looked at now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from provisioner.cli.client import connected
from provisioner.cli.invocation import Command, Invocation, invoked
from provisioner.cli.output import as_json, print_json, print_table, reasoned

PATIENCE_S = 900.0  # two calls for each VM on the account, one after the other
KINDS = {"orphans": "orphan", "ghosts": "ghost", "drift": "drift", "foreign": "foreign"}
COLUMNS = ("found", "vmid", "service", "what", "remedy")


@click.command(cls=Command)
@click.option(
    "--fix", is_flag=True, help="Stop suspended VMs that run, and refresh what is known of each VM."
)
@reasoned
@as_json
@invoked
def reconcile(invocation: Invocation, *, fix: bool, reason: str | None, as_json: bool) -> None:
    """Compare the store with the upstream.

    Finds orphans (made here, and no service has them), ghosts (services whose VM is gone), drift (VMs that
    are not as they were asked for, or run although their service is suspended) and foreign VMs. By itself it
    only looks; the running service looks each hour, and stops suspended VMs that run. Nothing is ever
    deleted, started, resized or reinstalled.
    """
    with connected(invocation, patience_s=PATIENCE_S) as client:
        found = client.post("reconcile", fix=fix, reason=reason)
    if as_json:
        print_json(found)
        return
    rows = list(_rows(found))
    if rows:
        print_table(COLUMNS, rows)
    else:
        click.echo("Store and upstream agree.")


def _rows(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, kind in KINDS.items():
        for line in found[name]:
            what = line.get("means") or f"{line['what']}: asked {line['asked']}, there {line['there']}"
            yield {**line, "found": kind, "what": what}
