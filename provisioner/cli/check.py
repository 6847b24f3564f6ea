"""`check`: whether all that the service needs is there, one line each (contract, section 1)."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from provisioner.cli.client import connected_as_admin
from provisioner.cli.invocation import Command, Invocation, invoked
from provisioner.cli.output import as_json, in_words, print_json
from provisioner.delivery import in_ms
from provisioner.errors import BillingError, ProvisionerError, SettingsError, UpstreamError

if TYPE_CHECKING:
    from provisioner.cli.client import AdminClient
    from provisioner.config import Settings
    from provisioner.upstream import Upstream

MOST_AUDIT_S = 60.0  # a million lines are read in less
LEAST_TOKEN = 16  # characters, of which `init` takes many more: short ones are words that people make up
MOST_SKEW_S = 60.0  # signatures are refused at 300 s: a person should hear of it long before

Result = Literal["ok", "warning", "failed"]
COLOURS: dict[Result, str] = {"ok": "green", "warning": "yellow", "failed": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; a warning fails nothing."""

    check: str
    result: Result
    message: str


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store knows: its services' VMs, and when each billing system last fetched."""

    vmids: frozenset[int] = frozenset()
    fetched: Mapping[str, int] = field(default_factory=dict)


@click.command(cls=Command)
@click.option("--offline", is_flag=True, help="Only what needs no network.")
@as_json
@invoked
def check(invocation: Invocation, *, offline: bool, as_json: bool) -> None:
    """Look whether all that is needed is there, line by line.

    Warnings do not fail it. It may be used while the service runs, and then asks that for the store.
    """
    settings = invocation.settings()
    found = []
    for finding in findings(invocation.path(), settings, offline=offline):
        found.append(finding)
        if not as_json:
            result = click.style(f"{finding.result:<8}", COLOURS[finding.result])
            click.echo(f"{result} {finding.check:<10} {in_words(finding.message)}")
    if as_json:
        print_json({"items": [asdict(finding) for finding in found]})
    if any(finding.result == "failed" for finding in found):
        click.get_current_context().exit(1)


def findings(path: Path, settings: Settings, *, offline: bool) -> Iterator[Finding]:
    """Every check in turn.

    :param path: the settings' file, which was read.
    :param offline: leaves out what asks the upstream and the billing systems.
    """
    yield _file(path, settings)
    yield _tokens(settings)
    yield _keys(settings)
    stored = yield from _store(settings)
    if settings.store.path is not None:
        yield _sqlite()
    yield from _hooks(settings)
    yield from _logos(settings)
    yield _alerts(settings)
    if not offline:
        yield _clock(settings)
        listed = yield from _upstream(settings)
        yield from _billing(settings, stored)
        if stored is not None and listed is not None:
            yield _foreign(listed - stored.vmids)


def _file(path: Path, settings: Settings) -> Finding:
    missing = [table for table in ("billing", "plans") if not getattr(settings, table)]
    if missing:
        words = " and ".join(f"[{table}.…]" for table in missing)
        return Finding("settings", "warning", f"{path}: no order can come without {words}")
    if path.stat().st_mode & 0o077:
        return Finding("settings", "warning", f"{path}: others may read the secrets in it: chmod 600 {path}")
    return Finding("settings", "ok", str(path))


def _tokens(settings: Settings) -> Finding:
    """Whether what people sign in with is long enough that nobody guesses it."""
    tokens = {"[security] admin_token": settings.security.admin_token}
    tokens |= {f"[admins.{name}] token": admin.token for name, admin in settings.admins.items()}
    short = [key for key, token in tokens.items() if len(token.get_secret_value()) < LEAST_TOKEN]
    if short:
        words = (
            f"shorter than {LEAST_TOKEN} characters, so it may be guessed: make one with openssl rand -hex 32"
        )
        return Finding("tokens", "warning", f"{' and '.join(short)}: {words}")
    return Finding("tokens", "ok", f"{len(tokens)}, each of at least {LEAST_TOKEN} characters")


def _keys(settings: Settings) -> Finding:
    from provisioner.vault import key_file

    store = settings.store.path
    if settings.security.encryption_keys or store is None:  # which PostgreSQL's settings always have
        return Finding("keys", "ok", "in the settings")
    path = key_file(store)
    if not path.exists():
        if store.exists():
            words = (
                f"{path} is missing, and nothing else opens the stored credentials: put it back from a backup"
            )
            return Finding("keys", "failed", words)
        return Finding("keys", "ok", f"{path} is made at the first start")
    if path.stat().st_mode & 0o077:
        return Finding("keys", "failed", f"{path} is open to group or others: chmod 600 {path}")
    return Finding("keys", "ok", str(path))


def _store(settings: Settings) -> Generator[Finding, None, Stored | None]:
    """Whether the store opens; returns what it knows, None where it does not."""
    path = settings.store.path
    if path is not None and not path.exists():
        if path.parent.is_dir():
            yield Finding("store", "ok", f"{path} is made at the first start")
            return Stored()
        yield Finding("store", "failed", f"{path.parent} is no folder: make it, or change [store] url")
        return None
    older = _older(path)
    if older is not None:
        yield older
    try:
        with connected_as_admin(settings) as client:
            services = client.listed("services")["items"]
            audit = _audit(client)
            billing = client.get("billing")["items"]
            sealed = client.get("keys")
    except ProvisionerError as error:
        if error.code == "store_older":
            return None
        yield Finding("store", "failed", error.detail)
        return None
    yield Finding("store", "ok", f"{path or _database(settings)}: services: {len(services)}; {client.where}")
    yield audit
    if sealed["unreadable"]:
        yield Finding("keys", "failed", _unreadable(sealed))
    return Stored(
        frozenset(service["vmid"] for service in services if service["vmid"] is not None),
        {one["name"]: in_ms(one["fetched_at"]) for one in billing if one["fetched_at"]},
    )


def _unreadable(sealed: dict[str, int]) -> str:
    return (
        f"no key opens {sealed['unreadable']} of the {sealed['sealed']} passwords that are still to be "
        "delivered: put the key back that sealed them, behind the first one, and restart `serve` "
        "(lost for good: `provisioner keys rotate --lost`)"
    )


def _database(settings: Settings) -> str:
    from provisioner.store.postgres import name_of

    return name_of(settings.store.url.get_secret_value())


def _older(path: Path | None) -> Finding | None:
    """What this version would do at its start with a store that an older one still serves, or has left."""
    from provisioner.store.migrate import SCHEMA_VERSION, version_of

    version = version_of(path) if path is not None else SCHEMA_VERSION
    if not 0 < version < SCHEMA_VERSION:
        return None
    words = (
        f"{path} is of schema {version}: the `serve` of this version copies it beside itself and brings it "
        f"to schema {SCHEMA_VERSION} at its start; the copy is the way back to the version before"
    )
    return Finding("store", "warning", words)


def _audit(client: AdminClient) -> Finding:
    """Follows the audit's chain; a very long one as far as time allows."""
    read, cursor, until = 0, None, time.monotonic() + MOST_AUDIT_S
    while True:
        piece = client.get("audit", "verification", cursor=cursor)
        read += piece["read"]
        cursor = piece["next"]
        if piece["problem"]:
            words = f"lines read: {read}; {piece['problem']}; what is before it is as it was written"
            return Finding("audit", "failed", words)
        if cursor is None:
            end = f", the last is {piece['seq']} with chain {piece['chain']}" if piece["seq"] else ""
            return Finding("audit", "ok", f"lines read: {read}, all as they were written{end}")
        if time.monotonic() > until:
            words = f"lines read in {MOST_AUDIT_S:.0f} s: {read}, all as they were written; there are more"
            return Finding("audit", "warning", words)


def _sqlite() -> Finding:
    from provisioner.store.sqlite import LEAST_SQLITE, is_affected

    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < LEAST_SQLITE:
        return Finding("sqlite", "failed", f"{version} is too old: 3.35 or newer is needed")
    if is_affected(sqlite3.sqlite_version_info):
        words = (
            "has the WAL-reset bug, which corrupts a store that two processes write; this service never "
            "does, so let no other program write to it; fixed in 3.51.3, 3.50.7 and 3.44.6"
        )
        return Finding("sqlite", "warning", f"{version} {words}")
    return Finding("sqlite", "ok", version)


def _hooks(settings: Settings) -> Iterator[Finding]:
    """Loads the hook files as `serve` does; nothing in them is called."""
    from provisioner.lifecycle import load

    folder = settings.hooks.directory
    if folder is None:
        return
    try:
        hooks = load(folder)
    except SettingsError as error:
        yield from (Finding("hooks", "failed", problem) for problem in error.problems)
        return
    for problem in hooks.problems:
        yield Finding("hooks", "failed", problem)
    if not hooks.problems:
        yield Finding("hooks", "ok", f"{folder}: files: {len(hooks.files)}")


def _logos(settings: Settings) -> Iterator[Finding]:
    for name, billing in settings.billing.items():
        logo = billing.panel.logo_file
        if logo is not None and not (logo.is_file() and os.access(logo, os.R_OK)):
            words = (
                f"[billing.{name}.panel] logo: {logo} is no file that can be read: its name is shown instead"
            )
            yield Finding("panel", "warning", words)


def _alerts(settings: Settings) -> Finding:
    """Whether Apprise can read the addresses: secrets, so they are named by their place and scheme."""
    from provisioner.app import notifier

    urls = settings.alerts.urls
    if not urls:
        words = "nobody is told when work stands still: name an address in [alerts] urls"
        return Finding("alerts", "warning", words)
    unknown = notifier(settings).unknown()
    if unknown:
        words = f"[alerts] urls: Apprise cannot read address {', '.join(unknown)}"
        return Finding("alerts", "failed", words)
    return Finding("alerts", "ok", f"addresses: {len(urls)}; `provisioner alerts test` writes to each")


def _clock(settings: Settings) -> Finding:
    """Compares with the Date of an answer; no token is sent for it, any answer will do."""
    import requests

    place, timeout = settings.upstream.base_url, settings.upstream.timeout
    try:
        with requests.Session() as session:
            session.trust_env = False
            with session.get(place, timeout=timeout, allow_redirects=False, stream=True) as answer:
                theirs = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
    except requests.RequestException:
        return Finding("clock", "warning", "cannot be compared: the upstream does not answer")
    except ValueError:
        return Finding("clock", "warning", "cannot be compared: the upstream's answer has no date")
    skew_s = time.time() - theirs
    if abs(skew_s) > MOST_SKEW_S:
        way = "ahead of" if skew_s > 0 else "behind"
        words = f"{abs(skew_s):.0f} s {way} the upstream's; beyond 300 s every signature is refused"
        return Finding("clock", "warning", f"this machine's clock is {words}: set it by NTP")
    return Finding("clock", "ok", "agrees with the upstream's")


def _upstream(settings: Settings) -> Generator[Finding, None, frozenset[int] | None]:
    """Asks with the token; returns the vmids on the account, None where they are not known."""
    from provisioner.app import upstream_client

    client = upstream_client(settings)
    try:
        listed = client.servers()
        yield Finding("upstream", "ok", f"{settings.upstream.base_url}: VMs: {len(listed)}")
        yield from _templates(settings, client)
    except UpstreamError as error:
        yield Finding("upstream", "failed", error.detail)
        return None
    finally:
        client.close()
    return listed


def _templates(settings: Settings, client: Upstream) -> Iterator[Finding]:
    offered = client.templates()
    if not offered:
        yield Finding("plans", "warning", "the upstream lists no templates, so none can be compared")
        return
    for name, plan in settings.plans.items():
        unknown = sorted({plan.template, *plan.templates} - {*offered})
        if unknown:
            words = f"the upstream has no template {', '.join(unknown)}; it has {', '.join(offered)}"
            yield Finding("plans", "failed", f"{name}: {words}")
        else:
            yield Finding("plans", "ok", f"{name}: {plan.template}")


def _billing(settings: Settings, stored: Stored | None) -> Iterator[Finding]:
    from provisioner.app import billing_systems

    fetched = stored.fetched if stored is not None else {}
    for name, billing in billing_systems(settings, fetched.get).items():
        if stored is not None or name not in settings.fetching:
            # While the service does not run, nothing can fetch: that is no failure of the billing system's.
            otherwise: Result = "warning" if name in settings.fetching else "failed"
            yield from _tried("billing", name, billing.check, otherwise)
        billing.close()


def _tried(check: str, name: str, ask: Callable[[], str], otherwise: Result) -> Iterator[Finding]:
    try:
        yield Finding(check, "ok", f"{name}: {ask()}")
    except BillingError as error:
        for problem in error.detail.splitlines():
            yield Finding(check, otherwise, f"{name}: {problem}")


def _foreign(vmids: frozenset[int]) -> Finding:
    if not vmids:
        return Finding("foreign", "ok", "every VM on the account belongs to a service")
    return Finding(
        "foreign", "warning", f"VMs that no service here has: {len(vmids)}; they are never touched"
    )
