"""What a person must know of: each cause is found anew from the store and the machine, at every look.

A cause is named by what is wrong, and by which of several where there may be several. Its words hold ids and
no secret. Where a value flutters, a cause begins at one mark (`begins`) and goes on to a lower one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from provisioner.config import Settings
from provisioner.engine import pauses
from provisioner.engine.reconcile import EMPTY, FACT
from provisioner.engine.recovery import HELD_CODE as RESTORED
from provisioner.machine import Disk
from provisioner.operation import State
from provisioner.operations import brakes
from provisioner.store.listed import ListedEvent
from provisioner.store.verbs import Verbs

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

STANDS_MS = 10 * MINUTE_MS  # something is due and nobody takes it
LATE_MS = 30 * MINUTE_MS  # a create, a delivery, or what waits to be fetched
PAUSED_MS = HOUR_MS  # somebody has forgotten to resume
FORGOTTEN_S = 600.0  # what a brake held, after the brake was reset: the approvals come a moment later
DISK_LOW, DISK_FINE = 0.10, 0.12
SKEW_S, SKEW_FINE_S, REFUSED_S = 60.0, 30.0, 300.0  # at REFUSED_S signatures are refused
MOST_LATE = 100  # creates looked at; beyond it the number is a lower bound
NEWEST_REJECTED = 500  # the same of events
MOST_CODES = 40  # held reasons told apart; the code has fewer, but one may come from the upstream
LONGEST_NAME = 64


class CauseName(StrEnum):
    """Every cause; `docs/runbook.md` has a heading for each."""

    TOKEN_REFUSED = "token_refused"  # noqa: S105 - a cause, not a token
    WORK_STANDS = "work_stands"
    CREATE_LATE = "create_late"
    DELIVERY_FAILING = "delivery_failing"
    DELIVERY_NOT_FETCHED = "delivery_not_fetched"
    DELIVERY_GIVEN_UP = "delivery_given_up"
    HELD = "held"
    EVENTS_REJECTED = "events_rejected"
    UNKNOWN_INSTALLATION = "unknown_installation"
    BRAKE = "brake"
    PAUSED = "paused"
    RECOVERING = "recovering"
    GHOSTS = "ghosts"
    ORPHANS = "orphans"
    DISK_LOW = "disk_low"
    CLOCK_SKEW = "clock_skew"


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that is wrong now. Times are milliseconds since the epoch.

    :param subject: which one, where a name may have several: a billing system, a held reason, a brake.
    :param title: short enough for a phone.
    :param remedy: the command, or what else to do.
    :param began_at: since when it is so.
    :param begins: false where it is too little to begin with, and enough to go on.
    :param severe: the work stands still or soon will: no heartbeat is sent meanwhile.
    :param after_s: so long it must have been seen before it counts.
    """

    name: CauseName
    title: str
    what: str
    remedy: str
    began_at: int
    subject: str = ""
    count: int = 1
    begins: bool = True
    severe: bool = False
    after_s: float = 0.0

    @property
    def key(self) -> str:
        return f"{self.name}:{self.subject}" if self.subject else self.name.value


@dataclass(frozen=True, slots=True)
class Sight:
    """All that one look can see; `now` and the times are milliseconds since the epoch.

    :param work_since: since when operations could be worked on: this process's start, or a pause's end.
    :param deliveries_since: since when deliveries could be sent.
    """

    verbs: Verbs
    settings: Settings
    now: int
    work_since: int
    deliveries_since: int
    disk: Disk | None
    skew_s: float | None

    @property
    def paused(self) -> dict[str, Any]:
        return pauses.reasons(self.verbs)

    @property
    def unknown(self) -> frozenset[CauseName]:
        """What cannot be seen just now: it neither begins nor ends."""
        hidden = {CauseName.DISK_LOW: self.disk, CauseName.CLOCK_SKEW: self.skew_s}
        return frozenset(name for name, seen in hidden.items() if seen is None)


def find(sight: Sight) -> list[Cause]:
    """Every cause there is at this moment."""
    return [cause for finder in _FINDERS for cause in finder(sight)]


def _token_refused(sight: Sight) -> Iterator[Cause]:
    refused = sight.paused.get(pauses.TOKEN_REFUSED)
    if refused is not None:
        yield Cause(
            CauseName.TOKEN_REFUSED,
            "The upstream refuses the token",
            "The list of VMs was refused, too, so it is the token. All work upstream stands still; nothing "
            "fails, and events are accepted.",
            "mend [upstream] token and restart; the work goes on by itself",
            _at(refused, sight.now),
            severe=True,
        )


def _work_stands(sight: Sight) -> Iterator[Cause]:
    now, paused, dues = sight.now, sight.paused, []
    if not paused:
        dues.append(("operation", sight.verbs.oldest_due_operation(now), sight.work_since))
    if pauses.RECOVERING not in paused:
        dues.append(("delivery", sight.verbs.oldest_due_delivery(now), sight.deliveries_since))
    for what, due_at, could_since in dues:
        if due_at is not None and now - due_at >= MINUTE_MS:
            yield Cause(
                CauseName.WORK_STANDS,
                f"The work stands: {what} due",
                f"One {what} or more is due, and nobody takes it.",
                "look at /healthz and the log, then restart the service: that loses nothing",
                due_at,
                subject=what,
                begins=now - max(due_at, could_since) >= STANDS_MS,
                severe=True,
            )


def _create_late(sight: Sight) -> Iterator[Cause]:
    late = sight.verbs.late_creates(sight.now - LATE_MS, MOST_LATE)
    if late and not sight.paused:
        first = late[0]
        yield Cause(
            CauseName.CREATE_LATE,
            f"{_many(len(late), 'create')} over {LATE_MS // MINUTE_MS} min",
            f"Paid, and not there yet: operation {first['id']} of service "
            f"{first['billing']}/{_short(first['service_id'])}{_and_others(len(late))}.",
            f"provisioner operations show {first['id']}",
            first["created_at"],
            count=len(late),
            begins=sight.now - max(first["created_at"], sight.work_since) >= LATE_MS,
        )


def _deliveries(sight: Sight) -> Iterator[Cause]:
    if pauses.RECOVERING in sight.paused:
        return
    rows = sight.verbs.waiting_deliveries_by_billing(sight.now - LATE_MS, sight.deliveries_since)
    for row in rows:
        if row["billing"] in sight.settings.fetching:
            yield from _not_fetched(sight, row)
        elif row["failing"]:
            yield _failing(row)
    for row in sight.verbs.given_up_deliveries_by_billing(sight.now - DAY_MS):
        yield Cause(
            CauseName.DELIVERY_GIVEN_UP,
            f"{row['billing']}: {_many(row['count'], 'message')} given up",
            f"Given up within a day: {_many(row['count'], 'delivery', 'deliveries')} to billing system "
            f"{row['billing']}. The work is done, the billing system does not know it.",
            "mend the billing system; provisioner operations retry --all --state failed "
            f"--billing {row['billing']} delivers again",
            row["since"],
            subject=row["billing"],
            count=row["count"],
        )


def _failing(row: Any) -> Cause:
    billing = row["billing"]
    return Cause(
        CauseName.DELIVERY_FAILING,
        f"{billing}: deliveries fail",
        f"Billing system {billing} does not take what it is told: failing {row['failing']}, "
        f"waiting {row['waiting']}. Each is tried again for [retry] deliveries_give_up_after.",
        f"provisioner check; provisioner operations list --state delivering --billing {billing}",
        row["failing_since"],
        subject=billing,
        count=row["failing"],
        begins=row["late"] > 0,
    )


def _not_fetched(sight: Sight, row: Any) -> Iterator[Cause]:
    waits_ms = sight.now - row["waiting_since"]
    could_ms = sight.now - max(row["waiting_since"], sight.deliveries_since)
    if waits_ms >= LATE_MS // 2:
        yield Cause(
            CauseName.DELIVERY_NOT_FETCHED,
            f"{row['billing']} fetches nothing",
            f"Billing system {row['billing']} has not fetched what waits for it: {row['waiting']}.",
            "look whether the cron of the billing system runs, and at the drop-in's log there",
            row["waiting_since"],
            subject=row["billing"],
            count=row["waiting"],
            begins=could_ms >= LATE_MS,
        )


def _held(sight: Sight) -> Iterator[Cause]:
    """A brake and a recovery tell of what they hold themselves, as long as they are on."""
    tripped = any(sight.verbs.fact(brakes.tripped_fact(kind)) is not None for kind in brakes.BRAKED)
    told = {brakes.CODE: tripped, RESTORED: pauses.RECOVERING in sight.paused}
    for row in sight.verbs.count_error_codes(State.HELD)[:MOST_CODES]:
        operation = sight.verbs.operation(row["example"])
        if operation is None or told.get(row["code"]):
            continue
        code = _short(row["code"])
        yield Cause(
            CauseName.HELD,
            f"{row['count']} held: {code}",
            f"{_many(row['count'], 'operation')} held for {code}, such as {operation.kind} {operation.id} of "
            f"service {operation.billing}/{_short(operation.service_id)}.",
            "provisioner operations list --state held; show ID, then approve or cancel",
            row["since"],
            subject=code,
            count=row["count"],
            after_s=FORGOTTEN_S if row["code"] == brakes.CODE else 0.0,
        )


def rejected(verbs: Verbs, now: int) -> list[ListedEvent]:
    """The events of the last day that are still rejected, newest first, a bounded number of them."""
    newest = verbs.events(NEWEST_REJECTED, None, state="rejected")
    return [event for event in newest if now - event.received_at <= DAY_MS]


def _rejected(sight: Sight) -> Iterator[Cause]:
    foreign = CauseName.UNKNOWN_INSTALLATION.value
    found = rejected(sight.verbs, sight.now)
    for billing in sorted({event.billing for event in found}):
        of_billing = [event for event in found if event.billing == billing]
        strangers = [event for event in of_billing if event.code == foreign]
        others = [event for event in of_billing if event.code != foreign]
        if strangers:
            yield Cause(
                CauseName.UNKNOWN_INSTALLATION,
                f"{billing}: another installation sends",
                f"Refused within a day: {_many(len(strangers), 'event')} of {billing}, from an installation "
                "that is not the one known. A copy must not terminate what the original sold.",
                f"stop the copy; if it has moved: provisioner billing trust {billing} INSTALLATION",
                strangers[-1].received_at,
                subject=billing,
                count=len(strangers),
            )
        if others:
            codes = Counter(event.code for event in others).most_common(3)
            yield Cause(
                CauseName.EVENTS_REJECTED,
                f"{billing}: {_many(len(others), 'event')} rejected",
                f"Within a day {_many(len(others), 'event')} of {billing} could not be carried out: "
                f"{', '.join(f'{code} {count}' for code, count in codes)}; one is {others[-1].id}.",
                "provisioner events list --state rejected; mend the cause, then events replay ID",
                others[-1].received_at,
                subject=billing,
                count=len(others),
            )


def _brakes(sight: Sight) -> Iterator[Cause]:
    held = {row["code"]: row["count"] for row in sight.verbs.count_error_codes(State.HELD)}
    for brake in brakes.overview(sight.verbs, sight.settings, sight.now):
        if brake["tripped_at"] is not None:
            yield Cause(
                CauseName.BRAKE,
                f"The brake on {brake['kind']} is on",
                f"More than {brake['limit']} of kind {brake['kind']} in an hour: each further one is held. "
                f"Held by brakes now: {held.get(brakes.CODE, 0)}.",
                f"find out why; provisioner brakes reset {brake['kind']}, then approve what is right",
                brake["tripped_at"],
                subject=brake["kind"],
            )


def _pauses(sight: Sight) -> Iterator[Cause]:
    paused = sight.paused
    if (value := paused.get(pauses.BY_PERSON)) is not None:
        at = _at(value, sight.now)
        yield Cause(
            CauseName.PAUSED,
            "The work is paused",
            f"A person has paused all work upstream for over {PAUSED_MS // HOUR_MS} h. Events are accepted.",
            "provisioner resume",
            at,
            begins=sight.now - at >= PAUSED_MS,
        )
    if (value := paused.get(pauses.RECOVERING)) is not None:
        at = _at(value, sight.now)
        yield Cause(
            CauseName.RECOVERING,
            "The store is still recovering",
            f"A copy was put back over {PAUSED_MS // HOUR_MS} h ago: nothing is sent upstream or out.",
            "provisioner restore shows both sides; provisioner restore --finish lets it go on",
            at,
            begins=sight.now - at >= PAUSED_MS,
        )


def _reconciled(sight: Sight) -> Iterator[Cause]:
    found = sight.verbs.fact(FACT) or EMPTY
    words = {
        CauseName.GHOSTS: (
            "service without its VM", "services without their VM",
            "Not on the account any more", "look with the provider; then terminate or link",
        ),
        CauseName.ORPHANS: (
            "VM without a service", "VMs without a service",
            "Made here, paid for, and nobody's", "provisioner reconcile; then link it, or delete it",
        ),
    }  # fmt: skip
    for name, (one, many, what, remedy) in words.items():
        vmids = [line["vmid"] for line in found[name.value]]
        if vmids:
            yield Cause(
                name,
                _many(len(vmids), one, many),
                f"{what}: VM {', '.join(map(str, vmids[:5]))}{_and_others(len(vmids), 5)}.",
                remedy,
                found["seen_at"],
                count=len(vmids),
            )


def _disk(sight: Sight) -> Iterator[Cause]:
    disk = sight.disk
    if disk is not None and disk.free_share < DISK_FINE:
        yield Cause(
            CauseName.DISK_LOW,
            f"Disk nearly full: {disk.free_share:.0%} free",
            f"The disk that the store lies on has {disk.free_share:.0%} free. When it is full, no event can "
            "be accepted.",
            "make room, or move the store to a larger disk",
            sight.now,
            begins=disk.free_share < DISK_LOW,
            severe=True,
        )


def _skew(sight: Sight) -> Iterator[Cause]:
    off_s = sight.skew_s
    if off_s is not None and abs(off_s) >= SKEW_FINE_S:
        way = "ahead of" if off_s > 0 else "behind"
        yield Cause(
            CauseName.CLOCK_SKEW,
            "The clock is wrong",
            f"This machine's clock is about {_rounded(abs(off_s))} s {way} the others'. From "
            f"{REFUSED_S:.0f} s on every signature is refused.",
            "set the clock by NTP: timedatectl; if it is right, look at the upstream's and the billing "
            "systems' clocks",
            sight.now,
            begins=abs(off_s) >= SKEW_S,
            severe=abs(off_s) >= REFUSED_S,
        )


_FINDERS: tuple[Callable[[Sight], Iterator[Cause]], ...] = (
    _token_refused,
    _work_stands,
    _create_late,
    _deliveries,
    _held,
    _rejected,
    _brakes,
    _pauses,
    _reconciled,
    _disk,
    _skew,
)


def _at(value: Any, now: int) -> int:
    return int(value["at"]) if isinstance(value, dict) and "at" in value else now


def _many(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def _and_others(count: int, shown: int = 1) -> str:
    return f" and {count - shown} more" if count > shown else ""


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _rounded(seconds: float) -> int:
    """To 10 s: words that change with every look would be written with every look."""
    return round(seconds / 10) * 10
