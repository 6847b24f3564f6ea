"""Says every minute that all is well, to whoever raises the alarm when that stays away.

It is the one alarm that a dead machine still raises, so it is withheld whenever this service could not tell
by itself: its ticks are late, the store cannot be written, nobody looks for causes, or a severe alert is on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from provisioner.engine.alerts import Alerts
from provisioner.errors import NotSent, StoreUnavailable
from provisioner.logs import Log
from provisioner.store import Store

log = Log(__name__)

EVERY_S = 60.0
FACT = "heartbeat"  # written before each: only a write shows that the store can be written
OLDEST_TICK_S = 60.0
OLDEST_LOOK_MS = 120_000

SENT, FAILED, WITHHELD = "sent", "failed", "withheld"


@dataclass(slots=True)
class Heartbeat:
    """Beats while all is well. `clock` gives milliseconds since the epoch, `tick_age_s` seconds.

    :param call: calls the address, or raises NotSent.
    :param counted: is told how each beat went: `sent`, `failed` or `withheld`.
    """

    store: Store
    alerts: Alerts
    call: Callable[[], None]
    tick_age_s: Callable[[], float]
    clock: Callable[[], int]
    counted: Callable[[str], None]
    trouble: str = ""

    def beat(self) -> None:
        """Calls the address, unless something is wrong; `trouble` says afterwards what."""
        outcome, self.trouble = self._beat()
        self.counted(outcome)
        if self.trouble:
            log.warning("heartbeat_not_sent", outcome=outcome, reason=self.trouble)

    def _beat(self) -> tuple[str, str]:
        wrong = next(self._wrong(), "")
        if wrong:
            return WITHHELD, wrong
        try:
            self.call()
        except NotSent as error:
            return FAILED, error.detail
        return SENT, ""

    def _wrong(self) -> Iterator[str]:
        now = self.clock()
        if self.tick_age_s() > OLDEST_TICK_S:
            yield "the last tick is old"
        looked_at = self.alerts.looked_at
        if looked_at is None or now - looked_at > OLDEST_LOOK_MS:
            yield "nobody has looked for causes of late"
        try:
            self.store.write(lambda verbs: verbs.set_fact(FACT, now, now))
            severe = [alert.name.value for alert in self.alerts.on() if alert.severe]
        except StoreUnavailable as error:
            yield error.detail
        else:
            if severe:
                yield f"on: {', '.join(severe)}"
