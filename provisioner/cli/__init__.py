"""The command line (contract, section 1), wired by hand.

The modules of this package import what is heavy inside their commands, so that `provisioner --help` and the
shell's completion answer at once; a command's module is imported when that command is asked for.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import cast

import click

from provisioner import __version__
from provisioner.cli.invocation import Family, Invocation
from provisioner.errors import ProvisionerError, RequestInvalid, SettingsError

DONE, FAILED, WRONG = 0, 1, 2

_EPILOG = """\b
First steps:     provisioner demo, then init, check and serve
Exit status:     0 done, 1 failed, 2 wrong use or wrong settings
Completion:      eval "$(_PROVISIONER_COMPLETE=bash_source provisioner)"
                 in ~/.bashrc; zsh_source and fish_source are there too
"""


class _Commands(Mapping[str, click.Command]):
    """The commands in the order in which they are needed, each with its module."""

    modules: Mapping[str, str] = {
        **{name: name for name in ("demo", "init", "check", "serve", "sandbox", "send")},
        **{name: name for name in ("operations", "services", "events", "audit", "alerts", "reconcile")},
        "brakes": "account",
        "pause": "account",
        "resume": "account",
        "hooks": "hooks",
        "billing": "account",
        "backup": "recovery",
        "restore": "recovery",
        "store": "store",
        "keys": "recovery",
    }

    def __getitem__(self, name: str) -> click.Command:
        command: click.Command = getattr(import_module(f"{__name__}.{self.modules[name]}"), name)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(self.modules)

    def __len__(self) -> int:
        return len(self.modules)


def program() -> click.Group:
    """The whole command line."""
    named = click.version_option(__version__, prog_name="provisioner")
    return named(
        Family(
            "provisioner",
            help="From a paid order in the billing system to a running VM, exactly once.",
            epilog=_EPILOG,
            commands=cast("dict[str, click.Command]", _Commands()),  # none is ever added
        )
    )


def main() -> None:
    """Runs the command that this process was started with, and ends the process with its status."""
    # What else is installed has no say in how events are judged; and no start searches all of it for that.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
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
        return _told(error, invocation.path())
    return status if isinstance(status, int) else DONE


def _told(error: Exception, settings: Path) -> int:
    """Says in a plain sentence what stopped a command; returns the exit status.

    :param settings: the file, which whoever uses a setting that it cannot use does not know of.
    """
    match error:
        case SettingsError():
            keys = (f"{settings}: {line}" if line.startswith("[") else line for line in error.problems)
            words, status = [*keys], WRONG
        case RequestInvalid():  # what the command's own words made of the call
            words, status = [error.detail], WRONG
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
