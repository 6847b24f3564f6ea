"""A copy of the store, its way back, and new keys."""

from __future__ import annotations

import time
from pathlib import Path

import click

from provisioner.cli.client import connected
from provisioner.cli.invocation import Command, Family, Invocation, invoked, local_user
from provisioner.cli.output import as_json, print_json, print_table, reasoned

HELD = ("id", "kind", "billing", "service_id", "created_at")


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@invoked
def backup(invocation: Invocation, file: Path) -> None:
    """Copy the store to FILE, while the service runs or not.

    The key file is not in the copy: keep that too, and elsewhere.
    """
    from provisioner.store.backup import copy_store

    store = _store_path(invocation)
    copy_store(store, file, time.time_ns() // 1_000_000)
    click.echo(f"{store} is copied to {file}. It cannot be read without the keys in {store.name}.keys.")


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False)
@click.option("--finish", is_flag=True, help="End the recovery: what is held goes on.")
@reasoned
@as_json
@invoked
def restore(
    invocation: Invocation, file: Path | None, *, finish: bool, reason: str | None, as_json: bool
) -> None:
    """Put a copy back as the store, or look at its recovery.

    A store that was put back accepts events and sends nothing until --finish. Without FILE: what is held, and
    what store and upstream disagree on.
    """
    if file is not None and finish:
        raise click.UsageError("FILE and --finish are two steps: put it back, start, look, then finish")
    if file is not None:
        _put_back(invocation, file)
    elif finish:
        with connected(invocation) as client:
            released = client.post("recovery", "finish", reason=reason)["released"]
        click.echo(f"Recovered: {released} held operations go on, and so does everything else.")
    else:
        _show(invocation, as_json=as_json)


@click.group(cls=Family)
def keys() -> None:
    """The keys that seal what is secret in the store."""


@keys.command()
@reasoned
@invoked
def rotate(invocation: Invocation, reason: str | None) -> None:
    """Take a new key and seal everything anew with it; the former ones stay, to read old copies."""
    with connected(invocation) as client:
        resealed = client.post("keys", "rotate", reason=reason)["resealed"]
    click.echo(f"A new key is first; {resealed} secrets are sealed anew with it.")


def _put_back(invocation: Invocation, file: Path) -> None:
    from provisioner.store.backup import put_back
    from provisioner.store.sqlite import locked

    store = _store_path(invocation)
    with locked(store):
        kept = put_back(file, store, time.time_ns() // 1_000_000, local_user())
    if kept is not None:
        click.echo(f"The store that was there is kept as {kept}.")
    click.echo(
        f"{file} is put back as {store}. Start `provisioner serve`: it accepts events and sends nothing. "
        "Look with `provisioner restore`, then `provisioner restore --finish`."
    )


def _show(invocation: Invocation, *, as_json: bool) -> None:
    with connected(invocation) as client:
        found = client.get("recovery")
        if found["recovering"]:
            found["reconciliation"] = client.post("reconcile")
    if as_json:
        print_json(found)
        return
    if not found["recovering"]:
        click.echo("The store is not recovering.")
        return
    click.echo(f"Recovering from a copy taken at {found['taken_at']}; {found['deliveries']} deliveries wait.")
    print_table(HELD, found["held"])
    for name in ("orphans", "ghosts", "drift", "foreign"):
        lines = found["reconciliation"][name]
        click.echo(f"{name}: {len(lines)}")
        for line in lines:
            click.echo(f"  {', '.join(f'{key} {value}' for key, value in line.items() if value is not None)}")


def _store_path(invocation: Invocation) -> Path:
    from provisioner.errors import SettingsError

    path = invocation.settings().store.path
    if path is None:
        raise SettingsError(["[store] url: with PostgreSQL use pg_dump and its kin for copies"])
    return path
