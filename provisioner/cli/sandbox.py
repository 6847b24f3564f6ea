"""`sandbox`: the reseller API as documented, in memory."""

from __future__ import annotations

import click

from provisioner.cli.invocation import Command
from provisioner.cli.stopping import interrupted_by_term

PORT = 8081


@click.command(cls=Command)
@click.option(
    "--port", default=PORT, show_default=True, type=click.IntRange(0, 65535), help="0: any free one."
)
def sandbox(port: int) -> None:
    """The reseller API as documented, in memory.

    For tests, and for whoever has no token yet: put what it prints into [upstream] of config.toml. Its
    control API has faults on request, and shows every call that it has seen.
    """
    from provisioner.sandbox import run

    interrupted_by_term()
    run(port, click.echo)
