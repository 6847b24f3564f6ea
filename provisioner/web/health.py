"""Whether the service works, for load balancers and monitoring; no token is needed (contract, section 5)."""

from __future__ import annotations

import json
import threading
import time

from flask import Blueprint, Response

from provisioner.delivery import iso
from provisioner.engine import pauses
from provisioner.engine.fetch import Unfetched, unfetched
from provisioner.errors import StoreUnavailable
from provisioner.operations import brakes
from provisioner.store import Store
from provisioner.store.verbs import Verbs
from provisioner.web.errors import RETRY_AFTER_S, as_json, error
from provisioner.web.surfaces import Surfaces

OLDEST_TICK_S = 60.0
PROBE_FACT = "store_probe"
PROBE_EVERY_S = 5.0  # a write costs an fsync, and anybody may ask

_PAUSED = {
    pauses.BY_PERSON: "upstream_paused: a person has paused all work upstream (provisioner resume)",
    pauses.TOKEN_REFUSED: "upstream_token_refused: the upstream refuses the token; work goes on by itself "
    "once it is accepted again",
    pauses.RECOVERING: "recovering: a restored store sends nothing yet (provisioner restore --finish)",
}
_UNOPENED = (
    "secrets_unreadable: no key here opens the passwords of {} deliveries that wait: "
    "give this service the key that sealed them (provisioner check)"
)


class StoreProbe:
    """Finds a store that cannot be written, by writing: only that notices a full or read-only disk.

    :param every_s: so long an outcome holds, in seconds.
    """

    def __init__(self, surfaces: Surfaces, every_s: float = PROBE_EVERY_S) -> None:
        self._store: Store = surfaces.store
        self._clock = surfaces.clock
        self._every_s = every_s
        self._lock = threading.Lock()
        self._seen: tuple[float, StoreUnavailable | None] | None = None

    def problem(self) -> StoreUnavailable | None:
        """Why the store cannot be written, or None while it can."""
        # While one caller waits for a slow store, the others get what was last seen.
        if self._lock.acquire(blocking=self._seen is None):
            try:
                self._look()
            finally:
                self._lock.release()
        return self._seen[1] if self._seen else None

    def _look(self) -> None:
        if self._seen is None or time.monotonic() - self._seen[0] >= self._every_s:
            outcome = self._write()
            self._seen = (time.monotonic(), outcome)

    def _write(self) -> StoreUnavailable | None:
        now = self._clock()
        try:
            self._store.write(lambda verbs: verbs.set_fact(PROBE_FACT, now, now))
        except StoreUnavailable as problem:
            return problem
        return None


def health(surfaces: Surfaces) -> Blueprint:
    """The blueprint of `/healthz` and `/readyz`."""
    blueprint = Blueprint("health", __name__)
    probe = StoreProbe(surfaces)

    @blueprint.get("/healthz")
    def healthz() -> Response:
        age_s = surfaces.tick_age_s()
        ok = age_s <= OLDEST_TICK_S
        return as_json(json.dumps({"ok": ok, "tick_age_s": round(age_s, 3)}), 200 if ok else 503)

    @blueprint.get("/readyz")
    def readyz() -> Response:
        problem = probe.problem()
        if problem is not None:
            return error(503, problem.code, problem.detail, {"Retry-After": str(RETRY_AFTER_S)})
        warnings = surfaces.store.read(lambda verbs: _warnings(verbs, surfaces))
        return as_json(json.dumps({"ready": True, "warnings": warnings}))

    return blueprint


def _warnings(verbs: Verbs, surfaces: Surfaces) -> list[str]:
    paused = [_PAUSED[reason] for reason in pauses.reasons(verbs)]
    settings, now = surfaces.settings, surfaces.clock()
    braked = [
        f"brake_tripped: {brake['kind']} is held since {iso(brake['tripped_at'])} "
        f"(provisioner brakes reset {brake['kind']})"
        for brake in brakes.overview(verbs, settings, now)
        if brake["tripped_at"] is not None
    ]
    untold = [
        f"alerts_not_sent: address {address} of [alerts] urls takes no message: {error}"
        for address, error in surfaces.alerts.troubles().items()
    ]
    vetoless = [
        f"hook_not_loaded: {file} of [hooks] directory is left out, and objects to nothing "
        "(the log and provisioner check say why)"
        for file in surfaces.hooks.left_out
    ]
    waiting = [_unfetched(found) for found in unfetched(verbs, settings, now)]
    sealed = surfaces.unopened(verbs)
    unopened = [_UNOPENED.format(sealed)] if sealed else []
    return paused + braked + waiting + unopened + untold + vetoless


def _unfetched(found: Unfetched) -> str:
    waits, last = iso(found.waits_since), found.fetched_at
    so_far = "it has fetched nothing yet" if last is None else f"it last fetched at {iso(last)}"
    return (
        f"not_fetched: deliveries wait for {found.billing} since {waits}, and {so_far} "
        "(look whether the drop-in is there and its cron runs)"
    )
