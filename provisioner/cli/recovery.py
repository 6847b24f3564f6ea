"""A copy of the store, its way back, and new keys."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provisioner.cli.client import connected
from provisioner.cli.invocation import Command, Family, Invocation, invoked, local_user
from provisioner.cli.output import as_json, in_words, print_json, print_table, reasoned
from provisioner.errors import StoreUnusable, WrongState

if TYPE_CHECKING:
    from provisioner.cli.client import AdminClient
    from provisioner.config import StoreSettings

LEAVING_S = 90.0  # beyond the upstream's timeout: deliveries that are under way are finished too
ASKING_S = 90.0  # the upstream and each billing system are asked meanwhile
MOVED = "store_moved"
HELD = ("id", "kind", "billing", "service_id", "created_at")


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--move", is_flag=True, help="End the service here for good first: the copy goes on elsewhere.")
@invoked
def backup(invocation: Invocation, file: Path, *, move: bool) -> None:
    """Copy the store to FILE, while the service runs or not.

    The key file is not in the copy: keep that too, and elsewhere.
    """
    from provisioner.store.backup import copy_store

    where = invocation.settings().store
    if where.path is None:
        _copy_database(where, file, move=move)
        return
    store = where.path
    if move:
        _leave(invocation)
    copy_store(store, file, time.time_ns() // 1_000_000)
    in_settings = invocation.settings().security.encryption_keys
    keys = "[security] encryption_keys" if in_settings else f"the keys in {store.name}.keys"
    click.echo(f"{store} is copied to {file}. It cannot be read without {keys}.")
    if move:
        along = (
            f"{file.name} and the settings"
            if in_settings
            else f"{file.name}, {store.name}.keys and the settings"
        )
        click.echo(
            "The service here has ended for good: what it is sent is answered 503, for its sender to keep. "
            f"Take {along} along, then on the other machine: "
            f"provisioner restore {file.name}, provisioner serve. Put the copy back on one machine only."
        )


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
@click.option("--lost", is_flag=True, help="The key is lost: forget what no key opens.")
@reasoned
@as_json
@invoked
def rotate(invocation: Invocation, *, lost: bool, reason: str | None, as_json: bool) -> None:
    """Take a new key and seal everything anew with it; the former ones stay, to read old copies.

    Where the settings have encryption_keys, put a new one first there before, and restart each `serve`.

    With --lost, and where the key file is gone, a new one is made; passwords that were not delivered yet are
    gone with the old key, and their services are named: reset those.
    """
    if lost:
        _go_on_without_key(invocation, reason, as_json=as_json)
        return
    with connected(invocation) as client:
        configured = _configured(invocation)
        _refuse_another_first(client, configured)
        rotated = client.post("keys", "rotate", reason=reason)
    if as_json:
        print_json(rotated)
        return
    click.echo(_rotated(rotated["resealed"], configured))


def _configured(invocation: Invocation) -> list[str]:
    """`encryption_keys` of the settings, newest first; none where those are another machine's."""
    if invocation.token() and invocation.place():
        return []
    return [key.get_secret_value() for key in invocation.settings().security.encryption_keys]


def _refuse_another_first(client: AdminClient, configured: list[str]) -> None:
    """What is sealed with a key that the settings have not first would be lost when the others are removed.

    :raises WrongState: the service that runs has not read these settings; nothing is sealed anew.
    """
    from provisioner.vault import Vault, mark_of

    if configured and client.get("keys")["first"] != mark_of(Vault(configured)):
        raise WrongState(
            "the service that runs has another key first than encryption_keys: nothing was sealed anew; "
            "restart it, so that it reads the settings, then rotate"
        )


def _rotated(resealed: int, configured: list[str]) -> str:
    if not configured:
        return f"A new key is first; {resealed} secrets are sealed anew with it."
    words = f"{resealed} secrets are sealed anew with the first of encryption_keys."
    if len(configured) == 1:
        words += " There is no other: for a new key put that one first, restart, then rotate."
    return words


def _copy_database(where: StoreSettings, file: Path, *, move: bool) -> None:
    from provisioner.cli.store import to_file

    if move:
        raise click.UsageError(
            "--move is for SQLite: with PostgreSQL start a node on the new machine, then end the one here"
        )
    to_file(where, file)
    click.echo(f"The database is copied to {file}. It cannot be read without [security] encryption_keys.")


def _leave(invocation: Invocation) -> None:
    """Ends the service here; one that has left already is only copied again."""
    settings = invocation.settings()
    patience_s = settings.upstream.timeout + LEAVING_S
    try:
        with connected(invocation, patience_s) as client:
            client.post("leave")
    except StoreUnusable as error:
        if error.code != MOVED:
            raise


def _go_on_without_key(invocation: Invocation, reason: str | None, *, as_json: bool) -> None:
    from provisioner.store.sqlite import locked
    from provisioner.vault import key_file, make_key_file

    settings = invocation.settings()
    if settings.store.path is not None and not settings.security.encryption_keys:
        path = key_file(settings.store.path)
        if not path.exists():
            with locked(settings.store.path):
                make_key_file(path)
            click.echo(f"A new key is in {path}: keep a copy of it elsewhere.", err=True)
    with connected(invocation) as client:
        services = client.post("keys", "forget", reason=reason)["services"]
    if as_json:
        print_json({"services": services})
        return
    for service in services:
        click.echo(f"lost: the password of {service['billing']} {service['service_id']}; reset it")
    click.echo(f"Services whose password was lost before it was delivered: {len(services)}.")


def _put_back(invocation: Invocation, file: Path) -> None:
    from provisioner.store.backup import put_back
    from provisioner.store.sqlite import locked

    where = invocation.settings().store
    if where.path is None:
        _put_into_database(where, file)
        return
    store = where.path
    with locked(store):
        back = put_back(file, store, time.time_ns() // 1_000_000, local_user())
    if back.kept is not None:
        click.echo(f"The store that was there is kept as {back.kept}.")
    if back.recovers:
        click.echo(
            f"{file} is put back as {store}. Start `provisioner serve`: it accepts events and sends nothing. "
            "Look with `provisioner restore`, then `provisioner restore --finish`."
        )
    else:
        click.echo(
            f"{store} has moved here whole. Start `provisioner serve`: it goes on where the other one ended."
        )


def _put_into_database(where: StoreSettings, file: Path) -> None:
    from provisioner.cli.store import from_file

    if from_file(where, file):
        click.echo(
            f"{file} is put into the database. Start `provisioner serve`: it accepts events and sends "
            "nothing. Look with `provisioner restore`, then `provisioner restore --finish`."
        )
    else:
        click.echo(f"{file} had moved, and is put into the database whole. Start `provisioner serve`.")


def _show(invocation: Invocation, *, as_json: bool) -> None:
    with connected(invocation, ASKING_S) as client:
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
    sides = {**found["reconciliation"], "billing systems": found["elsewhere"]}
    for name in ("orphans", "ghosts", "drift", "foreign", "billing systems"):
        lines = sides[name]
        click.echo(f"{name}: {len(lines)}")
        for line in lines:
            click.echo(f"  {', '.join(f'{key} {value}' for key, value in line.items() if value is not None)}")
    for name, why in found["unasked"].items():
        click.echo(f"not asked: {name}: {in_words(why)}")
