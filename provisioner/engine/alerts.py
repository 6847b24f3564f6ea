"""Tells a person what is wrong: once when it begins, once when it is over, whatever restarts between.

What is on is kept as facts, one for each cause, with what each address was told of it. So a message is not an
entry of a queue, which an address that is away for a week would fill: it follows from the difference between
what is on and what was told. A kill between a message and its mark may tell it twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from provisioner.config import Settings
from provisioner.delivery import iso
from provisioner.engine import pauses
from provisioner.engine.causes import HOUR_MS, Cause, CauseName, Sight, find
from provisioner.engine.skew import Skew
from provisioner.errors import NotSent
from provisioner.logs import Log
from provisioner.machine import Machine
from provisioner.notify import Message, Notify, Urgency
from provisioner.store import Store
from provisioner.store.verbs import Verbs

log = Log(__name__)

PREFIX = "alert:"  # of the facts' names
OVER_AFTER_MS = 120_000  # so long a cause must be gone: what comes and goes is one cause
AGAIN_AFTER_MS = HOUR_MS  # so long a cause that has doubled says no more of it
MOST_AT_ONCE = 10  # messages in one turn, so that a service that ends does not wait for hundreds
FIRST_WAIT_S, LONGEST_WAIT_S = 30.0, 900.0  # after a message that was not sent
LONGEST_TITLE = 60  # characters of a lock screen's line


@dataclass(frozen=True, slots=True)
class Told:
    """What an address was told last of an alert: of which beginning, when, how many, whether it is over."""

    of: int
    at: int
    count: int
    over: bool


@dataclass(frozen=True, slots=True)
class Alert:
    """A cause that is on, or is over and not everybody knows. Times are milliseconds since the epoch.

    :param began_at: since when it is so.
    :param noticed_at: when it was noticed; tells one beginning from another.
    :param absent_at: since when it is not seen any more.
    :param told: what each address was told of it.
    """

    name: CauseName
    subject: str
    title: str
    what: str
    remedy: str
    severe: bool
    count: int
    began_at: int
    noticed_at: int
    absent_at: int | None = None
    over_at: int | None = None
    told: Mapping[str, Told] = field(default_factory=dict)

    @property
    def is_on(self) -> bool:
        return self.over_at is None

    def is_told(self, address: str) -> bool:
        """Whether the address knows all there is to know, a growth aside."""
        told = self.told.get(address)
        return told is not None and told.of == self.noticed_at and told.over is not self.is_on

    def has_grown(self, address: str, now: int) -> bool:
        """Whether there is twice as much of it as was told, and that is long enough ago."""
        told = self.told.get(address)
        return told is not None and self.count >= 2 * told.count and now - told.at >= AGAIN_AFTER_MS


@dataclass(slots=True)
class Backoff:
    """How often in a row an address has failed, and when it is tried again."""

    failures: int = 0
    next_at: int = 0
    error: str = ""


@dataclass(slots=True)
class Alerts:
    """Looks for causes and tells of them. `clock` gives milliseconds since the epoch.

    :param counted: is told of each message, `sent` or `failed`.
    """

    settings: Settings
    store: Store
    notify: Notify
    machine: Machine
    skew: Skew
    clock: Callable[[], int]
    counted: Callable[[str], None]
    looked_at: int | None = None
    _work_since: int | None = None
    _deliveries_since: int | None = None
    _first_seen: dict[str, int] = field(default_factory=dict)
    _backoff: dict[str, Backoff] = field(default_factory=dict)
    _looking: threading.Lock = field(default_factory=threading.Lock)

    def look(self) -> None:
        """Finds what is on now, and keeps what has begun, changed or ended.

        :raises StoreUnavailable: the store cannot be read, or what was found cannot be kept.
        """
        with self._looking:
            now, disk, skew_s = self.clock(), self.machine(), self.skew.seconds()

            def seen(verbs: Verbs) -> tuple[list[Cause], frozenset[CauseName], bool]:
                work, deliveries = self._watch(verbs, now)
                sight = Sight(verbs, self.settings, now, work, deliveries, disk, skew_s)
                found = self._lasting(find(sight), now)
                return found, sight.unknown, bool(self._revised(verbs, found, sight.unknown, now))

            found, unknown, has_changed = self.store.read(seen)
            if has_changed:
                self.store.write(lambda verbs: self._keep(verbs, found, unknown, now))
            self.looked_at = now

    def tell(self) -> None:
        """Sends what is to be told, a bounded number of messages; an address that fails waits, no other."""
        left = MOST_AT_ONCE
        for address in self.notify.addresses:
            backoff = self._backoff.setdefault(address, Backoff())
            if backoff.next_at > self.clock():
                continue
            for alert, message in self._due(address)[:left]:
                left -= 1
                if not self._send(address, alert, message, backoff):
                    break

    def on(self) -> list[Alert]:
        """What is on, the oldest first."""
        alerts = self.store.read(ledger)
        return sorted((alert for alert in alerts if alert.is_on), key=lambda alert: alert.began_at)

    def waiting(self) -> int:
        """How many messages are still to be sent."""
        return sum(len(self._due(address)) for address in self.notify.addresses)

    def troubles(self) -> dict[str, str]:
        """Each address that did not take the last message, and why."""
        return {address: one.error for address, one in self._backoff.items() if one.failures}

    def _watch(self, verbs: Verbs, now: int) -> tuple[int, int]:
        """Since when there was nothing that kept the work, or the deliveries, from going on."""
        paused = pauses.reasons(verbs)
        if self._work_since is None or paused:
            self._work_since = now
        if self._deliveries_since is None or pauses.RECOVERING in paused:
            self._deliveries_since = now
        return self._work_since, self._deliveries_since

    def _lasting(self, found: list[Cause], now: int) -> list[Cause]:
        """What is there long enough to begin; what is not only goes on where it has begun."""
        beginning = {cause.key for cause in found if cause.begins}
        self._first_seen = {key: self._first_seen.get(key, now) for key in beginning}
        return [
            cause
            if cause.begins and now - self._first_seen[cause.key] >= cause.after_s * 1000
            else replace(cause, begins=False)
            for cause in found
        ]

    def _keep(self, verbs: Verbs, found: list[Cause], unknown: frozenset[CauseName], now: int) -> None:
        for key, alert in self._revised(verbs, found, unknown, now).items():
            before = _alert(verbs, key)
            _save(verbs, key, alert, now)
            if alert is not None and (before is None or before.is_on is not alert.is_on):
                what = "alert_on" if alert.is_on else "alert_over"
                log.warning(what, cause=alert.name.value, subject=alert.subject, count=alert.count)

    def _revised(
        self, verbs: Verbs, found: list[Cause], unknown: frozenset[CauseName], now: int
    ) -> dict[str, Alert | None]:
        """What changes: each alert as it is to be kept, None where nobody needs it any more."""
        former = {PREFIX + key_of(alert): alert for alert in ledger(verbs)}
        revised: dict[str, Alert | None] = dict(former)
        seen = {PREFIX + cause.key: cause for cause in found}
        for key, cause in seen.items():
            alert = former.get(key)
            if alert is not None and alert.is_on:
                revised[key] = _going_on(alert, cause)
            elif cause.begins:
                revised[key] = _beginning(cause, alert, now)
        for key, alert in former.items():
            if alert.is_on and key not in seen and alert.name not in unknown:
                revised[key] = _absent(alert, now)
        for key, alert in revised.items():
            if alert is not None and not alert.is_on and all(map(alert.is_told, self.notify.addresses)):
                revised[key] = None
        return {key: alert for key, alert in revised.items() if alert != former.get(key)}

    def _due(self, address: str) -> list[tuple[Alert, Message]]:
        now = self.clock()
        alerts = sorted(self.store.read(ledger), key=lambda alert: alert.over_at or alert.noticed_at)
        return [
            (alert, message(alert, self.settings.server.public_url))
            for alert in alerts
            if not alert.is_told(address) or (alert.is_on and alert.has_grown(address, now))
        ]

    def _send(self, address: str, alert: Alert, message: Message, backoff: Backoff) -> bool:
        try:
            self.notify.send(address, message)
        except NotSent as error:
            self.counted("failed")
            backoff.failures, backoff.error = backoff.failures + 1, error.detail
            wait_s = min(FIRST_WAIT_S * 2.0 ** min(backoff.failures - 1, 20), LONGEST_WAIT_S)
            backoff.next_at = self.clock() + int(wait_s * 1000)
            log.error("alert_not_sent", address=address, error=error.detail, again_after_s=wait_s)
            return False
        self.counted("sent")
        backoff.failures, backoff.next_at, backoff.error = 0, 0, ""
        log.info("alert_sent", address=address, cause=alert.name.value, subject=alert.subject)
        self.store.write(lambda verbs: self._mark(verbs, address, alert))
        return True

    def _mark(self, verbs: Verbs, address: str, sent: Alert) -> None:
        key, now = PREFIX + key_of(sent), self.clock()
        alert = _alert(verbs, key)
        if alert is None:
            return
        told = Told(sent.noticed_at, now, sent.count, over=not sent.is_on)
        _save(verbs, key, replace(alert, told={**alert.told, address: told}), now)


def key_of(alert: Alert) -> str:
    """The key of the cause that an alert is of."""
    return f"{alert.name}:{alert.subject}" if alert.subject else alert.name.value


def ledger(verbs: Verbs) -> list[Alert]:
    """Every alert that is kept."""
    return [alert for value in verbs.facts_like(PREFIX).values() if (alert := _read(value)) is not None]


def message(alert: Alert, public_url: str) -> Message:
    """What a person is told of an alert, as it is now."""
    if alert.is_on:
        urgency = Urgency.SEVERE if alert.severe else Urgency.WARNING
        title = f"Urgent: {alert.title}" if alert.severe else alert.title
        lines = [alert.what, f"Since {_time(alert.began_at)}.", f"Do: {alert.remedy}"]
    else:
        urgency, title = Urgency.OVER, f"Over: {alert.title}"
        until = alert.absent_at or alert.over_at or alert.noticed_at
        lines = [f"It was: {alert.what}", f"From {_time(alert.began_at)} until {_time(until)}."]
    lines += [f"Runbook: docs/runbook.md, {_heading(alert)}", f"Service: {public_url}"]
    return Message(_cut(title), "\n".join(lines), urgency)


def _heading(alert: Alert) -> str:
    return f"held, {alert.subject}" if alert.name is CauseName.HELD else alert.name.value


def _beginning(cause: Cause, former: Alert | None, now: int) -> Alert:
    """An alert anew; what was told of the one before stays, and is of another beginning."""
    return Alert(
        name=cause.name,
        subject=cause.subject,
        title=cause.title,
        what=cause.what,
        remedy=cause.remedy,
        severe=cause.severe,
        count=cause.count,
        began_at=cause.began_at,
        noticed_at=now,
        told=former.told if former else {},
    )


def _going_on(alert: Alert, cause: Cause) -> Alert:
    """With today's words and number; of what became less, a later growth tells again."""
    told = {
        address: replace(one, count=max(min(one.count, cause.count), 1))
        for address, one in alert.told.items()
    }
    return replace(
        alert,
        title=cause.title, what=cause.what, remedy=cause.remedy, severe=cause.severe, count=cause.count,
        absent_at=None, told=told,
    )  # fmt: skip


def _absent(alert: Alert, now: int) -> Alert:
    if alert.absent_at is None:
        return replace(alert, absent_at=now)
    return replace(alert, over_at=now) if now - alert.absent_at >= OVER_AFTER_MS else alert


def _alert(verbs: Verbs, key: str) -> Alert | None:
    return _read(verbs.fact(key))


def _save(verbs: Verbs, key: str, alert: Alert | None, now: int) -> None:
    if alert is None:
        verbs.drop_fact(key)
    else:
        verbs.set_fact(key, asdict(alert), now)


def _read(value: Any) -> Alert | None:
    """A kept alert; None for one of a cause that another version knew."""
    if value is None or value["name"] not in set(CauseName):
        return None
    told = {address: Told(**one) for address, one in value["told"].items()}
    return Alert(**{**value, "name": CauseName(value["name"]), "told": told})


def _time(at_ms: int) -> str:
    return f"{iso(at_ms)[:16].replace('T', ' ')} UTC"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TITLE else f"{text[: LONGEST_TITLE - 1]}…"
