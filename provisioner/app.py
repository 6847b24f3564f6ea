"""Wires everything by hand: settings in, a running service out."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from provisioner import lifecycle
from provisioner.billing import Billing
from provisioner.billing.fetched import FetchedBilling
from provisioner.billing.standard import StandardBilling
from provisioner.config import AnyBilling, Settings, StoreSettings
from provisioner.config import StandardBilling as StandardSettings
from provisioner.config import WhmcsBilling as WhmcsSettings
from provisioner.engine import relocation
from provisioner.engine.accept import Accept
from provisioner.engine.advance import Advance
from provisioner.engine.alerts import Alerts
from provisioner.engine.bindings import Bindings
from provisioner.engine.commands import Commands
from provisioner.engine.deliver import Deliver
from provisioner.engine.erasure import Erasure
from provisioner.engine.fetch import Fetch, fetched_at
from provisioner.engine.heartbeat import EVERY_S as HEARTBEAT_EVERY_S
from provisioner.engine.heartbeat import Heartbeat
from provisioner.engine.imports import Import
from provisioner.engine.looks import Looks
from provisioner.engine.reconcile import Reconcile
from provisioner.engine.recovery import Recovery
from provisioner.engine.relocation import Relocation
from provisioner.engine.retention import Retention
from provisioner.engine.rotation import Rotation
from provisioner.engine.shown_once import ShownOnce
from provisioner.engine.skew import UPSTREAM, Skew
from provisioner.engine.ticks import Ticks
from provisioner.engine.turns import Turns
from provisioner.errors import SettingsError, StoreUnusable
from provisioner.logs import Log
from provisioner.machine import machine
from provisioner.notify.by_apprise import AppriseNotify
from provisioner.store import Store
from provisioner.store.backup import BACKUP, MOVED, copy_aside
from provisioner.store.copy import UNFINISHED
from provisioner.store.observed import ObservedStore
from provisioner.store.sqlite import SqliteStore, wall_clock
from provisioner.upstream import Call, Upstream
from provisioner.upstream.client import UpstreamClient
from provisioner.vault import Vault, badges_of, key_file, load_keys
from provisioner.web.counts import Counts
from provisioner.web.surfaces import Surfaces
from provisioner.worker import Dispatcher, Tick, Worker

log = Log(__name__)

DELIVERY_THREADS = 8
PER_PLACE = 3  # operations at work for each call in flight: some wait for the store or a list, others call
TEMPLATES_EVERY_S = 300.0
RECONCILE_EVERY_S = 3600.0
RETENTION_EVERY_S = 3600.0
SETTLED_S = 300.0  # after a start, before what looks at everything; also where nobody lets it run for an hour
LOOK_EVERY_S = 15.0  # for what a person must know of; the shortest wait that counts is ten minutes
TELL_EVERY_S = 5.0
ERASE_EVERY_S = 5.0  # what is kept for fifteen minutes at most
ONCE = frozenset({"probe_token", "templates", "reconcile", "retention", "tell"})  # whoever's turn it is


def new_id(prefix: str) -> str:
    """A new id such as `op_6926…`, for URLs and logs: the second, then 64 random bits.

    Ids of one time lie side by side in every index, so that a batch of them writes to a few pages.
    """
    return f"{prefix}_{int(time.time()):08x}{os.urandom(8).hex()}"


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
    bindings: Bindings
    imports: Import
    advance: Advance
    deliver: Deliver
    fetch: Fetch
    ticks: Ticks
    reconcile: Reconcile
    recovery: Recovery
    erasure: Erasure
    relocation: Relocation
    rotation: Rotation
    looks: Looks
    shown_once: ShownOnce
    alerts: Alerts
    heartbeat: Heartbeat | None
    counts: Counts
    worker: Worker
    clock: Callable[[], int]

    def close(self) -> None:
        """Closes what was opened; the worker must have been stopped."""
        self.looks.close()
        self.store.close()
        cast("UpstreamClient", self.upstream).close()
        for billing in self.billings.values():
            billing.close()


def open_store(where: StoreSettings, *, updates: bool = False) -> Store:
    """The store that the settings name, for whoever works with it.

    :param updates: whether an older one is brought up to date (SQLite: copied before); else it is refused.
    :raises SettingsError: PostgreSQL is asked for, and what it needs is not installed.
    :raises StoreUnusable: as `bare_store`; it has moved, or is a copy that nobody may work with.
    """
    store = bare_store(where, updates=updates)
    found = store.read(lambda verbs: {name for name in _UNSERVED if verbs.fact(name) is not None})
    if not found:
        return store
    store.close()
    name, words, code = store.name, *_UNSERVED[sorted(found)[0]]
    raise StoreUnusable(f"the store {name} {words}", code=code)


_UNSERVED: Mapping[str, tuple[str, str]] = {  # the facts that nobody works beside, and why
    UNFINISHED: (
        "is a copy that was not finished: drop it, make it anew empty, and copy again",
        "copy_unfinished",
    ),
    BACKUP: (
        "is a copy that `provisioner backup` made, and a copy re-runs history: put it back with "
        "`provisioner restore FILE`",
        "",
    ),
    MOVED: (f"is not the one that goes on: {relocation.WORDS}", relocation.CODE),
}


def bare_store(where: StoreSettings, *, updates: bool = False) -> Store:
    """The store that the settings name, whatever it is a copy of.

    :raises SettingsError: as `open_store`.
    :raises StoreUnusable: it is locked, away, older, newer, damaged, or may not be written.
    """
    return _postgres(where, updates) if where.path is None else _sqlite(where.path, updates)


def _sqlite(path: Path, updates: bool) -> Store:
    return SqliteStore(path, partial(_copy_aside, path) if updates else None)


def _copy_aside(path: Path, version: int) -> None:
    aside = copy_aside(path, version, wall_clock())
    log.warning("store_copied", of_schema=version, to=str(aside), reason="it is brought up to date")


def _postgres(where: StoreSettings, updates: bool) -> Store:
    try:
        from provisioner.store.postgres import PostgresStore  # noqa: PLC0415 - an extra, for those who ask for it
    except ImportError as error:
        raise SettingsError(
            ["[store] url: PostgreSQL needs psycopg; install it with: pip install 'provisioner[postgres]'"]
        ) from error
    return PostgresStore(where.url.get_secret_value(), _say_update if updates else None)


def _say_update(version: int) -> None:
    log.warning("store_updated", of_schema=version, reason="this version needs a newer one")


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


def notifier(settings: Settings) -> AppriseNotify:
    """Where the settings say that people are told; nothing is sent yet."""
    return AppriseNotify(url.get_secret_value() for url in settings.alerts.urls)


def billing_systems(
    settings: Settings, fetched: Callable[[str], int | None], clock: Callable[[], int] = wall_clock
) -> dict[str, Billing]:
    """The billing systems that the settings name, by their names; nothing is sent yet.

    :param fetched: when one of them last fetched its deliveries, in milliseconds since the epoch.
    """
    return {
        name: FetchedBilling(partial(fetched, name), clock) if billing.fetches else _billing(billing, clock)
        for name, billing in settings.billing.items()
    }


def build(settings: Settings, clock: Callable[[], int] | None = None, *, updates: bool = False) -> App:
    """Wires a service; opens its store, starts nothing.

    :param clock: milliseconds since the epoch; without one, the store's.
    :param updates: whether a store of an older version is copied and brought up to date; else it is refused.
    :raises SettingsError: the settings cannot be used.
    :raises StoreUnusable: the store cannot be opened.
    """
    counts = Counts()
    path = settings.store.path
    existed = path is not None and path.exists() and path.stat().st_size > 0
    configured = [key.get_secret_value() for key in settings.security.encryption_keys]
    # The keys come first: a process killed between the two must not leave a store whose keys are missing.
    vault = Vault(load_keys(configured, path, store_exists=existed))
    store = ObservedStore(open_store(settings.store, updates=updates), counts.ended)
    hooks = _hooks(settings, store)
    clock = clock or store.clock
    skew = Skew(clock)
    upstream = upstream_client(settings).recording(_observer(counts, skew))
    billings = billing_systems(
        settings, lambda name: store.read(lambda verbs: fetched_at(verbs, name)), clock
    )
    worker = Worker([], [])
    rng = random.Random()  # noqa: S311 - jitter, not a secret
    accept = Accept(settings, store, clock, new_id, worker.wake)
    advance = Advance(settings, store, upstream, vault, hooks, clock, new_id, rng)
    deliver = Deliver(settings, store, billings, vault, hooks, clock, new_id, rng)
    at_once, exclusive = settings.upstream.max_concurrency, settings.upstream.exclusive
    reconcile = Reconcile(store, upstream, clock, at_once, exclusive)
    ticks = Ticks(store, upstream, clock, new_id, worker.wake)
    shown_once = ShownOnce(store, vault, clock)
    worker.dispatchers += _dispatchers(settings, store, advance, deliver, clock)
    worker.ticks += [
        Tick("expire", 1.0, ticks.expire),
        Tick("probe_token", min(5.0, float(settings.upstream.job_poll)), ticks.probe_token),
        Tick("erase_unseen", ERASE_EVERY_S, shown_once.erase_old),
        Tick("templates", TEMPLATES_EVERY_S, ticks.refresh_templates),
        Tick("reconcile", RECONCILE_EVERY_S, reconcile.tick, first_s=SETTLED_S),
        Tick("retention", RETENTION_EVERY_S, Retention(settings, store, clock).prune, first_s=SETTLED_S),
    ]
    alerts = Alerts(settings, store, notifier(settings), machine(path), skew, clock, counts.messaged)
    heartbeat = _heartbeat(settings, store, alerts, worker, clock, counts)
    worker.ticks += _watch(alerts, heartbeat)
    if path is None:
        worker.ticks[:] = [_taken_in_turns(tick, Turns(store, clock)) for tick in worker.ticks]
    commands = Commands(settings, store, accept, clock, new_id, worker.wake)
    return App(
        settings=settings,
        store=store,
        upstream=upstream,
        billings=billings,
        vault=vault,
        accept=accept,
        commands=commands,
        bindings=Bindings(settings, store, vault, accept, clock, new_id, worker.wake),
        imports=Import(settings, store, upstream, accept, settings.upstream.max_concurrency),
        advance=advance,
        deliver=deliver,
        fetch=Fetch(settings, store, deliver, clock, new_id, worker.wake),
        ticks=ticks,
        reconcile=reconcile,
        recovery=Recovery(store, billings, clock, new_id, worker.wake),
        erasure=Erasure(store, clock, new_id),
        relocation=Relocation(store, clock, new_id, worker.stop, is_shared=path is None),
        rotation=Rotation(
            store, vault, key_file(path) if path is not None and not configured else None, clock, new_id
        ),
        looks=Looks(store, upstream, clock),
        shown_once=shown_once,
        alerts=alerts,
        heartbeat=heartbeat,
        counts=counts,
        worker=worker,
        clock=clock,
    )


def _hooks(settings: Settings, store: Store) -> lifecycle.Lifecycle:
    """After the store: where a service has it, a command is that one's client and loads none."""
    try:
        hooks = lifecycle.load(settings.hooks.directory)
    except SettingsError:
        store.close()
        raise
    for problem in hooks.problems:
        log.error("hook_not_loaded", problem=problem)
    return hooks


def surfaces(app: App) -> Surfaces:
    """What `web.create_app` and `web.server.servings` are given."""
    return Surfaces(
        settings=app.settings,
        store=app.store,
        accept=app.accept,
        commands=app.commands,
        bindings=app.bindings,
        imports=app.imports,
        fetch=app.fetch,
        reconcile=app.reconcile,
        recovery=app.recovery,
        erasure=app.erasure,
        relocation=app.relocation,
        rotation=app.rotation,
        looks=app.looks,
        shown_once=app.shown_once,
        alerts=app.alerts,
        hooks=app.deliver.lifecycle,
        counts=app.counts,
        keys=app.vault.derive_all,
        unopened=app.deliver.unopened,
        clock=app.clock,
        tick_age_s=app.worker.tick_age_s,
    )


def _dispatchers(
    settings: Settings,
    store: Store,
    advance: Advance,
    deliver: Deliver,
    clock: Callable[[], int],
) -> list[Dispatcher[Any]]:
    hooks = Dispatcher(
        "hooks",
        claim=deliver.claim_hooks,
        work=lambda delivery, _: deliver.call_hooks(delivery),
        next_at=lambda _now: None,
        clock=clock,
        threads=1,
        after=_nobody,
    )
    deliveries = Dispatcher(
        "deliveries",
        claim=deliver.claim,
        work=deliver.deliver,
        next_at=lambda now: store.read(lambda verbs: verbs.next_delivery_at(now)),
        clock=clock,
        threads=DELIVERY_THREADS,
        after=hooks.wake,
    )
    operations = Dispatcher(
        "operations",
        claim=advance.claim,
        work=advance.advance,
        next_at=lambda now: store.read(lambda verbs: verbs.next_operation_at(now)),
        clock=clock,
        threads=settings.upstream.max_concurrency * PER_PLACE,
        after=deliveries.wake,
    )
    return [operations, deliveries, hooks] if deliver.lifecycle.has_any() else [operations, deliveries]


def _nobody() -> None:
    """Nothing follows from a hook that was called."""


def _observer(counts: Counts, skew: Skew) -> Callable[[Call], None]:
    """Counts each call of the upstream, and hears what time it says it is."""

    def observe(call: Call) -> None:
        if call.shared:
            return
        counts.called(call)
        if call.date_s is not None:
            skew.heard(UPSTREAM, call.date_s)

    return observe


def _taken_in_turns(tick: Tick, turns: Turns) -> Tick:
    """A tick of several processes: what one of them does is done for all."""
    if tick.name not in ONCE:
        return tick
    return replace(tick, do=turns.taking(tick.name, tick.every_s, tick.do))


def _watch(alerts: Alerts, heartbeat: Heartbeat | None) -> list[Tick]:
    """On threads of their own: a disk or an address that hangs holds nothing up."""
    ticks = [
        Tick("look", LOOK_EVERY_S, alerts.look, apart=True),
        Tick("tell", TELL_EVERY_S, alerts.tell, apart=True),
    ]
    if heartbeat is not None:
        every_s = HEARTBEAT_EVERY_S
        ticks.append(Tick("heartbeat", every_s, heartbeat.beat, first_s=every_s, apart=True))
    return ticks


def _heartbeat(
    settings: Settings,
    store: Store,
    alerts: Alerts,
    worker: Worker,
    clock: Callable[[], int],
    counts: Counts,
) -> Heartbeat | None:
    url = settings.alerts.heartbeat_url.get_secret_value()
    if not url:
        return None
    from provisioner.notify.heartbeat import HttpHeartbeat  # noqa: PLC0415 - with requests, which no start needs

    return Heartbeat(store, alerts, HttpHeartbeat(url), worker.tick_age_s, clock, counts.beat)


def _billing(settings: AnyBilling, clock: Callable[[], int]) -> Billing:
    if isinstance(settings, StandardSettings):
        keys = [secret.get_secret_value() for secret in settings.secrets]
        return StandardBilling(settings.callback_url, keys, clock)
    return _whmcs(settings, clock)


def _whmcs(settings: WhmcsSettings, clock: Callable[[], int]) -> Billing:
    from provisioner.billing.whmcs import WhmcsBilling, Wishes  # noqa: PLC0415 - for those who have it
    from provisioner.billing.whmcs_api import WhmcsApi  # noqa: PLC0415 - likewise

    api = WhmcsApi(
        settings.api_url,
        settings.identifier.get_secret_value(),
        settings.secret.get_secret_value(),
        settings.access_key.get_secret_value(),
        clock,
    )
    return WhmcsBilling(api, Wishes(settings.welcome_email, settings.on_failure, settings.ticket_department))


def begin(app: App) -> None:
    """What comes before the first event and the work, `app.worker.start()`.

    Leases that a dead process left behind end here, where no other process serves.
    """
    app.store.begin(
        app.worker.wake,
        lambda: app.store.write(lambda verbs: verbs.release_leases(app.clock())),
        badges_of(app.vault),
    )
    app.deliver.begin()
    app.recovery.begin()
