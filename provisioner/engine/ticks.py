"""What is done by the clock, not for one operation: expiry, the refused token's probe, the templates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from provisioner.engine import pauses
from provisioner.engine.record import NewId, Record
from provisioner.errors import Fenced, UpstreamError
from provisioner.logs import Log
from provisioner.store import Store
from provisioner.store.verbs import Verbs
from provisioner.upstream import Upstream

log = Log(__name__)

EXPIRIES_AT_ONCE = 100
TEMPLATES = "templates"


def templates_seen(verbs: Verbs) -> dict[str, Any]:
    """The upstream's list as last seen (`items`), and when (`at`, ms); empty, and None, before that."""
    return verbs.fact(TEMPLATES) or {"items": [], "at": None}


@dataclass(slots=True)
class Ticks:
    """The recurring work. `clock` gives milliseconds since the epoch; `wake` rouses the dispatchers."""

    store: Store
    upstream: Upstream
    clock: Callable[[], int]
    new_id: NewId
    wake: Callable[[], None]

    def expire(self) -> None:
        """Fails what had to begin within `action_ttl` and has not, pauses counted."""
        now = self.clock()
        for operation in self.store.read(lambda verbs: verbs.expired_operations(now, EXPIRIES_AT_ONCE)):

            def unit(verbs: Verbs, operation_id: str = operation.id) -> None:
                current = verbs.operation(operation_id)
                if current is None or current.sent or current.expires_at is None or current.expires_at > now:
                    return
                public = "This could not be begun in time, so it was not done."
                Record(verbs, now, self.new_id).fail(current, "expired", public)

            try:
                self.store.write(unit)
            except Fenced:
                continue
            self.wake()

    def probe_token(self) -> None:
        """Looks whether a token that was refused works again; then the work goes on by itself."""
        if self.store.read(lambda verbs: verbs.fact(pauses.TOKEN_REFUSED)) is None:
            return
        try:
            self.upstream.servers()
        except UpstreamError:
            return
        self.store.write(lambda verbs: pauses.end(verbs, pauses.TOKEN_REFUSED, self.clock()))
        log.info("upstream_token_accepted")
        self.wake()

    def refresh_templates(self) -> None:
        """Keeps the upstream's template list; an outage or an empty list leaves the last one standing."""
        try:
            templates = self.upstream.templates()
        except UpstreamError as error:
            log.warning("templates_not_read", error=error.detail)
            return
        if templates:
            now = self.clock()
            value = {"items": list(templates), "at": now}
            self.store.write(lambda verbs: verbs.set_fact(TEMPLATES, value, now))
