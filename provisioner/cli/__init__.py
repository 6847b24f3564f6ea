"""The command line (contract, section 1), wired by hand.

The modules of this package import what is heavy inside their commands, so that `provisioner --help` and the
shell's completion answer at once.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

import click

from provisioner import __version__
from provisioner.cli.account import billing, brakes, pause, resume
from provisioner.cli.alerts import alerts
from provisioner.cli.audit import audit
from provisioner.cli.check import check
from provisioner.cli.demo import demo
from provisioner.cli.events import events
from provisioner.cli.hooks import hooks
from provisioner.cli.init import init
from provisioner.cli.invocation import Family, Invocation
from provisioner.cli.operations import operations
from provisioner.cli.reconcile import reconcile
from provisioner.cli.recovery import backup, keys, restore
from provisioner.cli.sandbox import sandbox
from provisioner.cli.send import send
from provisioner.cli.serve import serve
from provisioner.cli.services import services
from provisioner.cli.store import store
from provisioner.errors import ProvisionerError, SettingsError

DONE, FAILED, WRONG = 0, 1, 2

_EPILOG = """\b
First steps:     provisioner demo, then init, check and serve
Exit status:     0 done, 1 failed, 2 wrong use or wrong settings
Completion:      eval "$(_PROVISIONER_COMPLETE=bash_source provisioner)"
                 in ~/.bashrc; zsh_source and fish_source are there too
"""


def program() -> click.Group:
    """The whole command line; its commands in the order in which they are needed."""
    named = click.version_option(__version__, prog_name="provisioner")
    return named(
        Family(
            "provisioner",
            help="From a paid order in the billing system to a running VM, exactly once.",
            epilog=_EPILOG,
            commands=[
                *(demo, init, check, serve, sandbox, send),
                *(operations, services, events, audit),
                *(alerts, reconcile, brakes, pause, resume, hooks, billing),
                *(backup, restore, store, keys),
            ],
        )
    )


def main() -> None:
    """Runs the command that this process was started with, and ends the process with its status."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command.

    :returns: 0 done, 1 failed, 2 wrong use or wrong settings (contract, section 1); why is on stderr.
    """
    invocation = Invocation()
    try:
        status = program().main(
            list(arguments), prog_name="provisioner", standalone_mode=False, obj=invocation
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:
        if invocation.debug:
            traceback.print_exception(error)
        return _told(error)
    return status if isinstance(status, int) else DONE


def _told(error: Exception) -> int:
    """Says in a plain sentence what stopped a command; returns the exit status."""
    match error:
        case SettingsError():
            words, status = error.problems, WRONG
        case ProvisionerError():
            words, status = [error.detail], FAILED
        case click.Abort():
            words, status = ["aborted"], FAILED
        case OSError():
            place = f"{error.filename}: " if error.filename else ""
            words, status = [f"{place}{error.strerror or type(error).__name__}"], FAILED
        case _:  # its text may hold anything, a secret too
            words, status = [f"an internal error ({type(error).__name__}); --debug shows where"], FAILED
    for line in words:
        click.echo(f"Error: {line}", err=True)
    return status
