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
TOKEN_VARIABLE = "PROVISIONER_TOKEN"  # noqa: S105 - a variable's name
PLACE_VARIABLE = "PROVISIONER_URL"
MAY_BE_EMPTY = frozenset({"reason", "options", "ips", "hostname"})  # what says nothing, and harms nobody
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(slots=True)
class Invocation:
    """One start of the command line; `config` and `token_file` are None where they were not given."""

    config: Path | None = None
    token_file: Path | None = None
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

    def token(self) -> str:
        """The own token of the person who types: --token-file, $PROVISIONER_TOKEN; '' where neither is given.

        :raises SettingsError: the file cannot be read, or others may read it.
        """
        from provisioner.errors import SettingsError

        path = self.token_file
        if path is None:
            return os.environ.get(TOKEN_VARIABLE, "").strip()
        try:
            if path.stat().st_mode & 0o077:
                raise SettingsError([f"--token-file {path}: others may read it: chmod 600 {path}"])
            token = path.read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise SettingsError([f"--token-file {path} cannot be read: {error}"]) from error
        if not token:
            raise SettingsError([f"--token-file {path} is empty"])
        return token

    def place(self) -> str:
        """Where a service runs that the settings do not tell of: $PROVISIONER_URL, '' where it is not set.

        :raises SettingsError: it is no URL to which a token may be sent.
        """
        from urllib.parse import urlsplit

        from provisioner.errors import SettingsError

        text = os.environ.get(PLACE_VARIABLE, "").rstrip("/")
        if not text:
            return ""
        try:
            parts = urlsplit(text)
            is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        except ValueError:
            is_safe = False
        if not is_safe or not parts.hostname:
            words = "must be https://…, or http:// on this machine: a token is sent there"
            raise SettingsError([f"${PLACE_VARIABLE} {words}"])
        return text

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
            ["--token-file"],
            type=click.Path(path_type=Path),
            expose_value=False,
            callback=_keep,
            help=f"Your own token, else ${TOKEN_VARIABLE}: acts as you, on the running service.",
        ),
        click.Option(
            ["--debug"], is_flag=True, expose_value=False, callback=_keep, help="Show traces and debug logs."
        ),
    ]


def local_user() -> str:
    """Who runs this process, as the operating system knows them: `anna`, or `anna as root` through sudo."""
    import pwd

    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    return f"{before} as {user}" if (before := os.environ.get("SUDO_USER")) else user


class Command(click.Command):
    """A command that takes the program's own options too: people type them before it and after it."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params += _options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; then refuses what is empty and must not be.

        A script whose variable is unset would mean all (`--billing ""`), or another than it thinks.
        """
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            if ctx.params.get(parameter.name or "") == "" and parameter.name not in MAY_BE_EMPTY:
                raise click.BadParameter("must not be empty: is a variable unset?", ctx, parameter)
        return rest


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
