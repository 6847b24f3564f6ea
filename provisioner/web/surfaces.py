"""What the HTTP surfaces stand on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from provisioner.config import Settings
from provisioner.engine.accept import Accept
from provisioner.engine.alerts import Alerts
from provisioner.engine.bindings import Bindings
from provisioner.engine.commands import Commands
from provisioner.engine.erasure import Erasure
from provisioner.engine.fetch import Fetch
from provisioner.engine.imports import Import
from provisioner.engine.looks import Looks
from provisioner.engine.reconcile import Reconcile
from provisioner.engine.recovery import Recovery
from provisioner.engine.relocation import Relocation
from provisioner.engine.rotation import Rotation
from provisioner.engine.shown_once import ShownOnce
from provisioner.lifecycle import Lifecycle
from provisioner.store import Store
from provisioner.store.verbs import Verbs
from provisioner.web.counts import Counts


@dataclass(frozen=True, slots=True)
class Surfaces:
    """What the surfaces may use. `clock` gives milliseconds since the epoch; `tick_age_s` seconds; `keys` the
    keys of a purpose, newest first; `unopened` how many deliveries wait that this process has no key for."""

    settings: Settings
    store: Store
    accept: Accept
    commands: Commands
    bindings: Bindings
    imports: Import
    fetch: Fetch
    reconcile: Reconcile
    recovery: Recovery
    erasure: Erasure
    relocation: Relocation
    rotation: Rotation
    looks: Looks
    shown_once: ShownOnce
    alerts: Alerts
    hooks: Lifecycle
    counts: Counts
    keys: Callable[[str], Sequence[bytes]]
    unopened: Callable[[Verbs], int]
    clock: Callable[[], int]
    tick_age_s: Callable[[], float]


class Side(StrEnum):
    """Which surfaces an address serves (contract, section 2: `admin_listen`)."""

    ALL = "all"
    PUBLIC = "public"  # what billing systems call
    ADMIN = "admin"  # what people and monitoring call
