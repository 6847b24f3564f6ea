"""`operations`: what this service does for its services, and what a person may do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from provisioner.cli.client import AdminClient, connected
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
from provisioner.errors import NotFound, RequestInvalid, WrongState
from provisioner.operation import Kind, State

DELIVERIES = ("id", "type", "state", "attempts", "last_error")
TIMELINE = ("at", "what", "actor", "detail")
COLUMNS = ("id", "kind", "state", "service", "created_at", "error")

Item = Mapping[str, Any]
Decorated = Callable[..., Any]


@click.group(cls=Family)
def operations() -> None:
    """What is done for the services: look, retry, cancel, approve."""


def _filters(command: Decorated) -> Decorated:
    for option in (
        click.option("--service-id", help="Of this service alone."),
        click.option("--billing", help="Of this billing system alone."),
        click.option("--kind", type=click.Choice([*map(str, Kind)]), help="Of this kind alone."),
        click.option("--state", type=click.Choice([*map(str, State)]), help="In this state alone."),
    ):
        command = option(command)
    return command


@operations.command("list")
@_filters
@click.option("--vmid", type=click.IntRange(1), help="What was done with this VM, whosever it was.")
@limited
@as_json
@invoked
def list_(invocation: Invocation, /, *, limit: int, as_json: bool, **filters: str | int | None) -> None:
    """The operations, newest first."""
    with connected(invocation) as client:
        page = client.listed("operations", limit=limit, **filters)
    print_list(page, COLUMNS, as_json=as_json)


@operations.command()
@click.argument("operation")
@as_json
@invoked
def show(invocation: Invocation, operation: str, *, as_json: bool) -> None:
    """One operation with its timeline: every state, try, upstream call and delivery."""
    with connected(invocation) as client:
        shown = client.get("operations", operation)
    if as_json:
        print_json(shown)
        return
    timeline, deliveries = shown.pop("timeline"), shown.pop("deliveries")
    print_facts(shown)
    click.echo("\ndeliveries")
    print_table(DELIVERIES, deliveries)
    click.echo("\ntimeline")
    print_table(TIMELINE, [{**line, "detail": _brief(line["detail"])} for line in timeline])


def _brief(detail: Mapping[str, Any]) -> str:
    return "  ".join(f"{name}={in_words(value)}" for name, value in detail.items())


@dataclass(frozen=True, slots=True)
class Act:
    """Something a person does to an operation: the call's name, its past tense, and in which states."""

    call: str
    done: str
    states: tuple[State, ...]


RETRY = Act("retry", "retried", (State.FAILED,))
CANCEL = Act("cancel", "cancelled", (State.QUEUED, State.RUNNING, State.WAITING, State.HELD))
APPROVE = Act("approve", "approved", (State.HELD,))


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which operations are meant: one by its id, or every one that the list's filters find."""

    operation: str | None
    every: bool
    filters: Mapping[str, Any]

    def check(self) -> None:
        """:raises click.UsageError: neither or both are given."""
        if (self.operation is None) != self.every:
            raise click.UsageError("name one operation, or --all with the list's filters")
        if self.operation is not None and any(value is not None for value in self.filters.values()):
            raise click.UsageError("the list's filters go with --all, not with one operation")

    def find(self, client: AdminClient, act: Act) -> list[Item]:
        """Those of them that the act is possible for, oldest first."""
        if self.operation is not None:
            found = client.get("operations", self.operation)
            if found["state"] not in act.states:
                raise WrongState(f"operation {found['id']} is {found['state']}: it cannot be {act.done}")
            return [found]
        states = [self.filters["state"]] if self.filters["state"] else act.states
        listed = [
            item
            for state in states
            for item in reversed(client.listed("operations", **{**self.filters, "state": state})["items"])
        ]
        return sorted(listed, key=lambda item: str(item["created_at"]))


def _chosen(command: Decorated) -> Decorated:
    for option in (
        click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing."),
        click.option("--all", "every", is_flag=True, help="Every one that these filters find."),
    ):
        command = option(command)
    return click.argument("operation", required=False)(_filters(command))


@operations.command()
@_chosen
@reasoned
@invoked
def retry(
    invocation: Invocation,
    /,
    operation: str | None,
    *,
    every: bool,
    dry_run: bool,
    reason: str | None,
    **filters: Any,
) -> None:
    """A failed one goes on from where it failed."""
    _do(invocation, RETRY, Chosen(operation, every, filters), {"reason": reason}, dry_run=dry_run)


@operations.command()
@_chosen
@reasoned
@invoked
def cancel(
    invocation: Invocation,
    /,
    operation: str | None,
    *,
    every: bool,
    dry_run: bool,
    reason: str | None,
    **filters: Any,
) -> None:
    """End one that has sent nothing upstream, or any held one.

    A terminate in its grace is undone. A create that was sent cannot be cancelled: terminate the service.
    """
    _do(invocation, CANCEL, Chosen(operation, every, filters), {"reason": reason}, dry_run=dry_run)


@operations.command()
@_chosen
@click.option(
    "--choice",
    type=click.Choice(["adopt", "not_mine", "send_again"]),
    help="What became of a lost create: adopt (--vmid) it, none of the VMs is ours, or send it again.",
)
@click.option("--vmid", type=click.IntRange(1), help="The VM to adopt; it is reinstalled.")
@reasoned
@invoked
def approve(
    invocation: Invocation,
    /,
    operation: str | None,
    *,
    every: bool,
    dry_run: bool,
    choice: str | None,
    vmid: int | None,
    reason: str | None,
    **filters: Any,
) -> None:
    """Lift the reason that one is held for; all other checks run again."""
    if vmid is not None and (choice != "adopt" or every):
        raise click.UsageError("--vmid goes with one operation and --choice adopt")
    body = {"choice": choice, "vmid": vmid, "reason": reason}
    _do(invocation, APPROVE, Chosen(operation, every, filters), body, dry_run=dry_run)


def _do(invocation: Invocation, act: Act, chosen: Chosen, body: Mapping[str, Any], *, dry_run: bool) -> None:
    chosen.check()
    with connected(invocation) as client:
        found = chosen.find(client, act)
        refused = sum(not _done(client, act, chosen, item, {**body, "dry_run": dry_run}) for item in found)
    if not found:
        click.echo("There is none.")
    if refused:
        raise click.ClickException(f"{refused} of {len(found)} could not be {act.done}")


def _done(client: AdminClient, act: Act, chosen: Chosen, item: Item, body: Mapping[str, Any]) -> bool:
    """Whether it was done, or needed no more to be; for one named operation a refusal is raised.

    A dry run is the same call, judged by the same code: what it promises is what would be done now.
    """
    would = "would be " if body["dry_run"] else ""
    try:
        client.post("operations", item["id"], act.call, **body)
    except (WrongState, RequestInvalid, NotFound) as refusal:
        if not chosen.every:
            raise
        now = client.get("operations", item["id"])
        if now["state"] in act.states:
            refused = "would not be" if would else "not"
            click.echo(f"{refused} {act.done}: {_named(now)}: {refusal.detail}", err=True)
            return False
        click.echo(f"went on meanwhile: {_named(now)}")  # by itself, or together with another one
        return True
    click.echo(f"{would}{act.done}: {_named(item)}")
    return True


def _named(item: Item) -> str:
    service = f"{item['billing']}/{in_words(item['service_id'])}"
    words = f"{item['id']}  {item['kind']} of {service}, {item['state']}"
    return f"{words} ({in_words(item['error'])})" if item["error"] else words
