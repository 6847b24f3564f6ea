"""What every command knows: which settings are meant, and whether traces are wanted."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from provisioner.config import Settings

CONFIG_VARIABLE = "PROVISIONER_CONFIG"


@dataclass(slots=True)
class Invocation:
    """One start of the command line. `config` is None where no --config was given."""

    config: Path | None = None
    debug: bool = False

    def path(self) -> Path:
        """The settings' file: --config, $PROVISIONER_CONFIG or ./config.toml (contract, section 1)."""
        return self.config or Path(os.environ.get(CONFIG_VARIABLE) or "config.toml")

    def settings(self, log_level: str = "critical") -> Settings:
        """The settings; from here on logs go to stderr, without a secret of theirs.

        :param log_level: the least that is logged. A command says itself what is wrong; --debug logs all.
        :raises SettingsError: if they are missing or wrong.
        """
        from provisioner.config import load

        settings = load(self.path(), os.environ, warn=lambda line: click.echo(f"Warning: {line}", err=True))
        self.log(settings, log_level)
        return settings

    def log(self, settings: Settings, level: str) -> None:
        """Sends logs to stderr: lines for people where that is a terminal, else JSON."""
        from provisioner.logs import configure, secret_values

        level = "debug" if self.debug else level
        configure(level, not sys.stderr.isatty(), secrets=secret_values(settings))


invoked = click.make_pass_decorator(Invocation, ensure=True)


def _keep(context: click.Context, option: click.Parameter, value: Any) -> None:
    if value and option.name:
        setattr(context.ensure_object(Invocation), option.name, value)


def _options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path),
            expose_value=False,
            callback=_keep,
            help=f"The settings' file; else ${CONFIG_VARIABLE}, else ./config.toml.",
        ),
        click.Option(
            ["--debug"], is_flag=True, expose_value=False, callback=_keep, help="Show traces and debug logs."
        ),
    ]


class Command(click.Command):
    """A command that takes the program's own options too: people type them before it and after it."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params += _options()


class Family(click.Group):
    """Commands under one name, with the same options at every level."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params += _options()

    def list_commands(self, context: click.Context) -> list[str]:
        """In the order in which they are needed, not in the alphabet's."""
        return list(self.commands)
