"""`send`: an event, as a billing system would send it."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from provisioner.cli.invocation import Command, Invocation, invoked

if TYPE_CHECKING:
    from provisioner.config import Settings

TIMEOUT_S = 30.0


@click.command(cls=Command)
@click.argument("type")
@click.argument("service_id")
@click.argument("data", nargs=-1, metavar="[KEY=VALUE]…")
@click.option("--billing", help="As which billing system; needed where there are several.")
@click.option("--id", "webhook_id", help="The webhook-id; a fresh one by default.")
@invoked
def send(
    invocation: Invocation,
    type: str,
    service_id: str,
    data: tuple[str, ...],
    billing: str | None,
    webhook_id: str | None,
) -> None:
    """Post a signed event, as a billing system would.

    It goes to the running service of these settings.

    \b
    provisioner send order.paid 1001 plan=vps-s hostname=web1.example.com options.mem=2048
    provisioner send service.suspend 1001 reason="unpaid" force=true
    provisioner send service.terminate 1001

    A dot in a key leads into an object; values are numbers, true, false or JSON where the key takes such,
    else text.
    """
    settings = invocation.settings()
    body = json.dumps(event(type, service_id, data, time.time()), ensure_ascii=False).encode()
    status, answer = post(settings, _billing(settings, billing), webhook_id or str(uuid.uuid4()), body)
    click.echo(answer)
    if not 200 <= status < 300:
        raise click.ClickException(f"answered {status}")


def event(type_: str, service_id: str, pairs: Iterable[str], now_s: float) -> dict[str, Any]:
    """The event that the words of a command line mean (contract, section 3).

    :param pairs: `key=value` each, such as `options.mem=2048`.
    :param now_s: seconds since the epoch.
    :raises click.UsageError: a word is no pair, or a key has a value already or is inside what is no object.
    """
    data: dict[str, Any] = {"service_id": service_id}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not all(key.split(".")):
            raise click.UsageError(f"{pair!r} must be key=value")
        _put(data, key.split("."), _value(type_, key.split("."), text))
    timestamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s))
    return {"type": type_, "timestamp": timestamp, "data": data}


def _put(data: dict[str, Any], path: list[str], value: object) -> None:
    for step in path[:-1]:
        data = data.setdefault(step, {})
        if not isinstance(data, dict):
            raise click.UsageError(f"{'.'.join(path)}: {step} has a value already, so nothing goes into it")
    if path[-1] in data:
        raise click.UsageError(f"{'.'.join(path)} has a value already")
    data[path[-1]] = value


def _value(type_: str, path: list[str], text: str) -> object:
    """What a text means: itself where the key takes a text, else what it is as JSON, if it is any."""
    if _fits(type_, path, text):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _fits(type_: str, path: list[str], value: object) -> bool:
    from pydantic import ValidationError

    from provisioner.event import TYPES
    from provisioner.event_models import MODELS

    if type_ not in TYPES:
        return False
    data: dict[str, Any] = {}
    _put(data, path, value)
    try:
        MODELS[TYPES[type_]].model_validate(data)
    except ValidationError as error:
        return not any(list(fault["loc"][: len(path)]) == path for fault in error.errors())
    return True


def _billing(settings: Settings, name: str | None) -> str:
    names = ", ".join(settings.billing) or "none"
    if name is None and len(settings.billing) == 1:
        return next(iter(settings.billing))
    if name is None:
        raise click.UsageError(f"--billing is needed: the settings have {names}")
    if name not in settings.billing:
        raise click.UsageError(f"there is no billing system {name}: the settings have {names}")
    return name


def post(settings: Settings, billing: str, webhook_id: str, body: bytes) -> tuple[int, str]:
    """Signs a body with the billing system's first secret and posts it; returns status and answer.

    :raises click.ClickException: nobody answers.
    :raises click.UsageError: no receiver could accept this webhook-id.
    """
    import requests

    from provisioner.cli.client import reachable, url

    place = f"{url(reachable(settings.server.listen))}/webhooks/{billing}"
    headers = {**_signed(settings, billing, webhook_id, body), "Content-Type": "application/json"}
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.post(place, data=body, headers=headers, timeout=TIMEOUT_S, allow_redirects=False)
        except requests.ConnectionError:
            raise click.ClickException(f"nothing answers at {place}: does `provisioner serve` run?") from None
        except requests.RequestException as error:
            words = f"{place} gave no answer ({type(error).__name__}): send it again with --id {webhook_id}"
            raise click.ClickException(words) from None
        return answer.status_code, answer.text


def _signed(settings: Settings, billing: str, webhook_id: str, body: bytes) -> Mapping[str, str]:
    from provisioner.signing import sign

    secrets = [secret.get_secret_value() for secret in settings.billing[billing].secrets]
    try:
        return sign(secrets, webhook_id, int(time.time()), body)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
