"""`demo`: the whole system on this machine with nothing configured (contract, section 1)."""

from __future__ import annotations

import json
import socket
import time
import tomllib
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from provisioner.cli.invocation import Command, Invocation, invoked
from provisioner.cli.output import console
from provisioner.cli.stopping import interrupted_by_term, wait_for_interrupt
from provisioner.cli.story import Line, Story

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from provisioner.cli.client import AdminClient
    from provisioner.config import FreshSecrets, Settings
    from provisioner.sandbox import BillingStub

PATIENCE_S = 60.0
BUILD_S = 4.0  # long enough to be seen, short enough to be waited for
LOOK_S = 0.1

SHOP, ORDER, HOSTNAME = "shop", "1001", "web1.example.com"
ENDS = {"succeeded", "failed", "cancelled", "held"}


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that plays in a demo; it runs, and ends with the context that made it."""

    settings: Settings
    url: str
    upstream_url: str
    shop: BillingStub
    admin: AdminClient


@click.command(cls=Command)
@click.option("--exit", "ends", is_flag=True, help="End after the order, with status 0.")
@invoked
def demo(invocation: Invocation, /, *, ends: bool) -> None:
    """The whole system on this machine, with nothing configured.

    A sandbox upstream, a stub billing system and the service; one paid order is driven to delivered
    credentials before your eyes. Nothing leaves this machine, and nothing is left behind.
    """
    interrupted_by_term()
    paper = console()
    with _stage(invocation) as stage:
        _introduce(paper, stage)
        _drive(paper, stage)
        _conclude(paper, stage)
        if not ends:
            paper.print("\n  Ctrl-C ends the demo.", style="dim")
            wait_for_interrupt()


@contextmanager
def _stage(invocation: Invocation) -> Iterator[Stage]:
    from provisioner.cli.client import admin_address, over_http, url
    from provisioner.cli.serve import serving
    from provisioner.config import fresh_secrets
    from provisioner.sandbox import BillingStub, Sandbox, SandboxServer

    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="provisioner-demo-")))
        upstream = stack.enter_context(SandboxServer(Sandbox(job_executing=BUILD_S)))
        fresh = fresh_secrets()
        shop = stack.enter_context(BillingStub([fresh.webhook_secret]))
        settings = _settings(fresh, folder, upstream.base_url, upstream.sandbox.settings()["token"], shop)
        invocation.log(settings, "critical")
        stack.enter_context(serving(settings))
        place = url(admin_address(settings))
        admin = stack.enter_context(over_http(place, fresh.admin_token))
        yield Stage(settings, place, upstream.base_url, shop, admin)


def _settings(
    fresh: FreshSecrets, folder: Path, upstream_url: str, token: str, shop: BillingStub
) -> Settings:
    from provisioner.config import parse, starter

    listen = f"127.0.0.1:{_free_port()}"
    text = starter(
        fresh,
        listen=listen,
        public_url=f"http://{listen}",
        callback_url=shop.callback_url,
        upstream_base_url=upstream_url,
        upstream_token=token,
    )
    tables = tomllib.loads(text)
    tables["upstream"]["job_poll"] = 2 * LOOK_S  # so that its progress moves
    return parse(tables, name="demo", folder=folder, environ={})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _introduce(paper: Console, stage: Stage) -> None:
    paper.print()
    paper.print("  provisioner: from a paid order to a running VM, exactly once", style="bold")
    paper.print("  All of this is on this machine, and gone afterwards.\n", style="dim")
    for name, place in (
        ("provisioner", stage.url),
        ("shop", stage.shop.callback_url),
        ("upstream", stage.upstream_url),
    ):
        paper.print(f"  {name:<12} {place}")
    paper.print()


def _drive(paper: Console, stage: Stage) -> None:
    """Sends the order, then tells what becomes of it until it has ended.

    :raises click.ClickException: it was refused, did not succeed, or took longer than it ever should.
    """
    from rich.progress import BarColumn, Progress, TextColumn

    story = Story(datetime.now(UTC))
    _tell(paper, _sent(stage.settings))
    with Progress(
        TextColumn("           {task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        console=paper,
        transient=True,
        disable=not paper.is_terminal,
    ) as progress:
        found = _followed(paper, stage.admin, story, progress)
    if any(operation["state"] != "succeeded" for operation in found):
        raise click.ClickException("the order did not succeed; the lines above say why")


def _sent(settings: Settings) -> Line:
    from provisioner.cli.send import event, post

    order = event("order.paid", ORDER, ["plan=vps-s", f"hostname={HOSTNAME}"], time.time())
    status, answer = post(settings, SHOP, str(uuid.uuid4()), json.dumps(order).encode())
    if status != 202:
        raise click.ClickException(f"the order was answered {status}: {answer}")
    return Line(0.0, "shop → provisioner", f"order.paid for service {ORDER}, signed: {status}")


def _followed(paper: Console, admin: AdminClient, story: Story, progress: Progress) -> list[dict[str, Any]]:
    """The order's operations, once they all have ended."""
    bar = progress.add_task("the VM is being made", total=1.0)
    until, quarters = time.monotonic() + PATIENCE_S, 0
    while time.monotonic() < until:
        listed = admin.listed("operations", service_id=ORDER)["items"]
        found = [admin.get("operations", operation["id"]) for operation in reversed(listed)]
        for line in story.more(found):
            _tell(paper, line)
        share = found[0]["progress"] or 0.0
        progress.update(bar, completed=share)
        if progress.disable and quarters < int(share * 4) < 4:  # no bar, so a line now and then
            quarters = int(share * 4)
            _tell(paper, Line(PATIENCE_S - until + time.monotonic(), "upstream", f"at {share:.0%} of the VM"))
        if all(operation["state"] in ENDS for operation in found):
            return found
        time.sleep(LOOK_S)
    raise click.ClickException(f"the order has not ended within {PATIENCE_S:.0f} s")


def _tell(paper: Console, line: Line) -> None:
    from rich.text import Text

    mark = ("✓", "green") if line.good else ("✗", "red")
    when, who = f" {line.at_s:4.1f} s", f"  {line.who:<23} "
    paper.print(Text.assemble("  ", mark, (when, "dim"), (who, "cyan"), line.what))


def _conclude(paper: Console, stage: Stage) -> None:
    from rich.panel import Panel

    told = next(each.data for each in stage.shop.deliveries if each.type == "service.provisioned")
    facts = {
        "service": told["service_id"],
        "hostname": told["hostname"],
        "VM": told["vmid"],
        "IPs": ", ".join(told["ips"]),
        "user": told["username"],
        "password": "••••••••••••  (the shop has it, and nobody else)",
    }
    body = "\n".join(f"{name:<10} {value}" for name, value in facts.items())
    paper.print()
    paper.print(
        Panel(body, title="what the shop was told", expand=False, padding=(1, 2), border_style="green")
    )
    token = stage.settings.security.admin_token.get_secret_value()
    paper.print(f"\n  The console is at {stage.url}/admin; sign in with this token:\n")
    paper.print(f"  {token}", soft_wrap=True)
    paper.print(f"\n  The admin API is at {stage.url}/api, described by {stage.url}/openapi.json:\n")
    paper.print(f'  curl -H "Authorization: Bearer {token}" {stage.url}/api/operations', soft_wrap=True)
