"""Wires everything by hand: settings in, a running service out."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import structlog

from provisioner import lifecycle
from provisioner.billing import Billing
from provisioner.billing.standard import StandardBilling
from provisioner.billing.unsupported import UnsupportedBilling
from provisioner.billing.whmcs import WhmcsBilling, Wishes
from provisioner.billing.whmcs_api import WhmcsApi
from provisioner.config import Settings
from provisioner.config import StandardBilling as StandardSettings
from provisioner.config import WhmcsBilling as WhmcsSettings
from provisioner.engine import relocation
from provisioner.engine.accept import Accept
from provisioner.engine.advance import Advance
from provisioner.engine.commands import Commands
from provisioner.engine.deliver import Deliver
from provisioner.engine.erasure import Erasure
from provisioner.engine.reconcile import Reconcile
from provisioner.engine.recovery import Recovery
from provisioner.engine.relocation import Relocation
from provisioner.engine.retention import Retention
from provisioner.engine.rotation import Rotation
from provisioner.engine.ticks import Ticks
from provisioner.errors import SettingsError, StoreUnusable
from provisioner.store import Store
from provisioner.store.backup import BACKUP, MOVED, copy_aside
from provisioner.store.sqlite import SqliteStore
from provisioner.upstream import Upstream
from provisioner.upstream.client import UpstreamClient
from provisioner.vault import Vault, key_file, load_keys
from provisioner.web.surfaces import Surfaces
from provisioner.worker import Dispatcher, Tick, Worker

log = structlog.get_logger(__name__)

DELIVERY_THREADS = 8
TEMPLATES_EVERY_S = 300.0
RECONCILE_EVERY_S = 3600.0
RETENTION_EVERY_S = 3600.0


def wall_clock() -> int:
    """Milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


def new_id(prefix: str) -> str:
    """A new id such as `op_3f…`: 80 random bits, for URLs and logs."""
    return f"{prefix}_{secrets.token_hex(10)}"


@dataclass(frozen=True, slots=True)
class App:
    """One service, wired and not yet started."""

    settings: Settings
    store: Store
    upstream: Upstream
    billings: Mapping[str, Billing]
    vault: Vault
    accept: Accept
    commands: Commands
    advance: Advance
    deliver: Deliver
    ticks: Ticks
    reconcile: Reconcile
    recovery: Recovery
    erasure: Erasure
    relocation: Relocation
    rotation: Rotation
    worker: Worker
    clock: Callable[[], int]

    def close(self) -> None:
        """Closes what was opened; the worker must have been stopped."""
        self.store.close()
        cast("UpstreamClient", self.upstream).close()
        for billing in self.billings.values():
            billing.close()


def open_store(settings: Settings, *, updates: bool = False) -> SqliteStore:
    """The store that the settings name.

    :param updates: whether an older one is copied and brought up to date; else it is refused.
    :raises SettingsError: PostgreSQL is asked for, which this version has no engine for.
    :raises StoreUnusable: it is locked, older, newer, damaged, has moved, or may not be written.
    """
    path = settings.store.path
    if path is None:
        raise SettingsError(
            ["[store] url: PostgreSQL is not supported by this version; use sqlite:///provisioner.db"]
        )
    store = SqliteStore(path, partial(_copy_aside, path) if updates else None)
    copied, moved = store.read(lambda verbs: (verbs.fact(BACKUP), verbs.fact(MOVED)))
    if copied is None and moved is None:
        return store
    store.close()
    if copied is not None:
        raise StoreUnusable(
            f"the store {path} is a copy that `provisioner backup` made, and a copy re-runs history: "
            "put it back with `provisioner restore FILE`"
        )
    raise StoreUnusable(f"the store {path}: {relocation.WORDS}", code=relocation.CODE)


def _copy_aside(path: Path, version: int) -> None:
    aside = copy_aside(path, version, wall_clock())
    log.warning("store_copied", of_schema=version, to=str(aside), reason="it is brought up to date")


def upstream_client(settings: Settings) -> UpstreamClient:
    """The upstream that the settings name; nothing is sent yet.

    :raises SettingsError: its address or token cannot be sent as they are.
    """
    return UpstreamClient(
        settings.upstream.base_url,
        settings.upstream.token.get_secret_value(),
        timeout_s=settings.upstream.timeout,
        max_concurrency=settings.upstream.max_concurrency,
    )


def billing_systems(settings: Settings, clock: Callable[[], int] = wall_clock) -> dict[str, Billing]:
    """The billing systems that the settings name, by their names; nothing is sent yet."""
    return {name: _billing(billing, clock) for name, billing in settings.billing.items()}


def build(settings: Settings, clock: Callable[[], int] = wall_clock, *, updates: bool = False) -> App:
    """Wires a service; opens its store, starts nothing.

    :param updates: whether a store of an older version is copied and brought up to date; else it is refused.
    :raises SettingsError: the settings cannot be used.
    :raises StoreUnusable: the store cannot be opened.
    """
    upstream = upstream_client(settings)
    billings = billing_systems(settings, clock)
    path = settings.store.path
    existed = path is not None and path.exists() and path.stat().st_size > 0
    configured = [key.get_secret_value() for key in settings.security.encryption_keys]
    # The keys come first: a process killed between the two must not leave a store whose keys are missing.
    vault = Vault(load_keys(configured, path, store_exists=existed))
    store = open_store(settings, updates=updates)
    worker = Worker([], [])
    rng = random.Random()  # noqa: S311 - jitter, not a secret
    accept = Accept(settings, store, clock, new_id, worker.wake)
    hooks = lifecycle.load(settings.hooks.directory)
    for problem in hooks.problems:
        log.error("hook_not_loaded", problem=problem)
    advance = Advance(settings, store, upstream, vault, hooks, clock, new_id, rng)
    deliver = Deliver(settings, store, billings, vault, hooks, clock, new_id, rng)
    reconcile = Reconcile(store, upstream, clock, settings.upstream.max_concurrency)
    ticks = Ticks(store, upstream, clock, new_id, worker.wake)
    worker.dispatchers += _dispatchers(settings, store, advance, deliver, clock, worker.wake)
    worker.ticks += [
        Tick("expire", 1.0, ticks.expire),
        Tick("probe_token", min(5.0, float(settings.upstream.job_poll)), ticks.probe_token),
        Tick("templates", TEMPLATES_EVERY_S, ticks.refresh_templates),
        Tick("reconcile", RECONCILE_EVERY_S, reconcile.tick, at_once=False),
        Tick("retention", RETENTION_EVERY_S, Retention(settings, store, clock).prune, at_once=False),
    ]
    commands = Commands(settings, store, accept, clock, new_id, worker.wake)
    return App(
        settings=settings,
        store=store,
        upstream=upstream,
        billings=billings,
        vault=vault,
        accept=accept,
        commands=commands,
        advance=advance,
        deliver=deliver,
        ticks=ticks,
        reconcile=reconcile,
        recovery=Recovery(store, clock, new_id, worker.wake),
        erasure=Erasure(store, clock),
        relocation=Relocation(store, clock, worker.stop),
        rotation=Rotation(
            store, vault, key_file(path) if path is not None and not configured else None, clock, new_id
        ),
        worker=worker,
        clock=clock,
    )


def surfaces(app: App) -> Surfaces:
    """What `web.create_app` and `web.server.servings` are given."""
    return Surfaces(
        settings=app.settings,
        store=app.store,
        accept=app.accept,
        commands=app.commands,
        reconcile=app.reconcile,
        recovery=app.recovery,
        erasure=app.erasure,
        relocation=app.relocation,
        rotation=app.rotation,
        clock=app.clock,
        tick_age_s=app.worker.tick_age_s,
    )


def _dispatchers(
    settings: Settings,
    store: Store,
    advance: Advance,
    deliver: Deliver,
    clock: Callable[[], int],
    after: Callable[[], None],
) -> list[Dispatcher[Any]]:
    operations = Dispatcher(
        "operations",
        claim=advance.claim,
        work=advance.advance,
        next_at=lambda now: store.read(lambda verbs: verbs.next_operation_at(now)),
        clock=clock,
        threads=settings.upstream.max_concurrency,
        after=after,
    )
    deliveries = Dispatcher(
        "deliveries",
        claim=deliver.claim,
        work=deliver.deliver,
        next_at=lambda now: store.read(lambda verbs: verbs.next_delivery_at(now)),
        clock=clock,
        threads=DELIVERY_THREADS,
        after=after,
    )
    hooks = Dispatcher(
        "hooks",
        claim=deliver.claim_hooks,
        work=deliver.call_hooks,
        next_at=lambda _now: None,
        clock=clock,
        threads=1,
        after=after,
    )
    return [operations, deliveries, hooks] if deliver.lifecycle.has_any() else [operations, deliveries]


def _billing(settings: Any, clock: Callable[[], int]) -> Billing:
    if isinstance(settings, StandardSettings):
        keys = [secret.get_secret_value() for secret in settings.secrets]
        return StandardBilling(settings.callback_url, keys, clock)
    if isinstance(settings, WhmcsSettings) and settings.deliver == "push":
        return _whmcs(settings, clock)
    return UnsupportedBilling(settings.platform)


def _whmcs(settings: WhmcsSettings, clock: Callable[[], int]) -> WhmcsBilling:
    api = WhmcsApi(
        settings.api_url,
        settings.identifier.get_secret_value(),
        settings.secret.get_secret_value(),
        settings.access_key.get_secret_value(),
        clock,
    )
    return WhmcsBilling(api, Wishes(settings.welcome_email, settings.on_failure, settings.ticket_department))


def start(app: App) -> None:
    """Starts the work. Leases that a dead process of this store left behind end here."""
    app.store.write(lambda verbs: verbs.release_leases(app.clock()))
    app.recovery.begin()
    app.worker.start()
