"""`init`: a config.toml to start from."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provisioner.cli.invocation import Command, Invocation, invoked

if TYPE_CHECKING:
    from provisioner.config import FreshSecrets

TOKEN = "VENOCIX_TOKEN"  # noqa: S105 - a variable's name, no token

_QUESTIONS: Mapping[str, tuple[str, str]] = {
    "public_url": ("How customers and billing systems reach this service", "http://127.0.0.1:8080"),
    "callback_url": ("Where the billing system takes deliveries", "https://shop.example.com/provisioning"),
    "upstream_token": ("The reseller account's token, or env:NAME, or file:PATH", f"env:{TOKEN}"),
}


@click.command(cls=Command)
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Ask nothing: take the safe answers.")
@invoked
def init(invocation: Invocation, path: Path | None, *, yes: bool) -> None:
    """Write a config.toml with fresh secrets.

    Never over an existing file. Asks what it cannot know; with --yes, or where no terminal is, it takes the
    safe answers.
    """
    from provisioner.config import fresh_secrets, starter

    path = path or invocation.path()
    _refuse_existing(path)
    fresh = fresh_secrets()
    asks = sys.stdin.isatty() and not yes
    answers = {
        key: _asked(key, question, default, fresh) if asks else default
        for key, (question, default) in _QUESTIONS.items()
    }
    _write(path, starter(fresh, **answers))
    click.echo(f"Wrote {path}, which only you can read; [billing.shop] and [plans.vps-s] in it are examples.")
    click.echo(_about_token(answers["upstream_token"]))
    click.echo(f"Then: provisioner check --config {path}, and provisioner serve --config {path}")


def _refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise click.ClickException(f"{path} exists and stays as it is: name another file, or move it away")


def _asked(key: str, question: str, default: str, fresh: FreshSecrets) -> str:
    """An answer that the settings take; a token that is typed in does not show."""
    while True:
        answer: str = click.prompt(question, default=default, hide_input=key == "upstream_token")
        problems = _problems(key, answer.strip(), fresh)
        if not problems:
            return answer.strip()
        for problem in problems:
            click.echo(f"That {problem.split(': ', 2)[2]}.", err=True)


def _problems(key: str, answer: str, fresh: FreshSecrets) -> list[str]:
    """What the settings would say of an answer."""
    from provisioner.config import parse, starter
    from provisioner.errors import SettingsError

    # Which variables will be set when the service starts is not known now.
    set_later = {answer.removeprefix("env:"): "set-later", TOKEN: "set-later"}
    try:
        tables = tomllib.loads(starter(fresh, **{key: answer}))
        parse(tables, name="answer", folder=Path(), environ={**os.environ, **set_later})
    except SettingsError as error:
        return error.problems
    return []


def _write(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        _refuse_existing(path)
        raise
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _about_token(answer: str) -> str:
    if answer.startswith("env:"):
        return f"Next: put the reseller account's token into the environment: export {answer[4:]}=…"
    return "Next: look whether the plan and the billing system in it are yours."
