"""The first page: what needs a person now, then how the work goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from flask import Blueprint, Response

from provisioner.engine import pauses
from provisioner.engine.reconcile import EMPTY, FACT
from provisioner.operation import OPEN, Kind, Operation, State
from provisioner.operations import brakes
from provisioner.store.listed import ListedEvent
from provisioner.store.verbs import Row, Verbs
from provisioner.web.browser import plot
from provisioner.web.browser.pages import span
from provisioner.web.console import runbook
from provisioner.web.console.desk import Desk

HOUR_MS, HOURS = 3_600_000, 24
SHOWN = 8  # of each kind of thing that needs a person; the lists have them all
MOST_PLOTTED = 5_000  # operations: one page must stay quick however much was done


@dataclass(frozen=True, slots=True)
class Needs:
    """What waits for a person."""

    held: list[Operation]
    failed: list[Operation]
    rejected: list[ListedEvent]
    orphans: list[dict[str, Any]]

    @property
    def count(self) -> int:
        return len(self.held) + len(self.failed) + len(self.rejected) + len(self.orphans)


@dataclass(frozen=True, slots=True)
class Work:
    """How the work goes: how many wait, since when (ms), what was done in the last hours."""

    states: dict[str, int]
    due: int
    oldest_due_at: int | None
    ended: plot.Bars
    ended_in_all: int
    delivered: plot.Bars
    delivered_s: float | None
    is_cut: bool

    @property
    def open(self) -> int:
        return sum(self.states.get(state.value, 0) for state in OPEN)


@dataclass(frozen=True, slots=True)
class Overview:
    """`/admin`."""

    desk: Desk

    def add_to(self, blueprint: Blueprint) -> None:
        blueprint.add_url_rule("", "overview", self.show, strict_slashes=False)

    def show(self) -> Response:
        surfaces, now = self.desk.surfaces, self.desk.surfaces.clock()
        needs, work, account = surfaces.store.read(
            lambda verbs: (_needs(verbs, now), _work(verbs, now), self._account(verbs, now))
        )
        alerts = [(alert, runbook.alert(alert.name)) for alert in surfaces.alerts.on()]
        return self.desk.page(
            "overview", needs=needs, work=work, alerts=alerts, health=surfaces.counts.health(),
            tick_age_s=surfaces.tick_age_s(), **account,
        )  # fmt: skip

    def _account(self, verbs: Verbs, now: int) -> dict[str, Any]:
        settings = self.desk.surfaces.settings
        tripped = [brake for brake in brakes.overview(verbs, settings, now) if brake["tripped_at"]]
        errors = {row["billing"]: row for row in verbs.last_delivery_errors()}
        return {
            "paused": pauses.reasons(verbs),
            "tripped": tripped,
            "billing": [(name, errors.get(name)) for name in settings.billing],
            "services": verbs.count_services(),
        }


def _needs(verbs: Verbs, now: int) -> Needs:
    failed = verbs.operations(SHOWN, None, state=State.FAILED)
    rejected = verbs.events(SHOWN, None, state="rejected")
    return Needs(
        held=verbs.operations(SHOWN, None, state=State.HELD),
        failed=[one for one in failed if one.updated_at > now - HOURS * HOUR_MS],
        rejected=[one for one in rejected if one.received_at > now - HOURS * HOUR_MS],
        orphans=(verbs.fact(FACT) or EMPTY)["orphans"][:SHOWN],
    )


def _work(verbs: Verbs, now: int) -> Work:
    first_hour = now // HOUR_MS - HOURS + 1
    rows = verbs.recent_operations(first_hour * HOUR_MS, MOST_PLOTTED)
    ended = [row for row in rows if row["state"] in (State.SUCCEEDED, State.FAILED, State.CANCELLED)]
    orders = [row for row in ended if _is_delivered_order(row)]
    taken_s = [_took_s(row) for row in orders]
    return Work(
        states=verbs.count_open_operations(),
        due=verbs.count_due_operations(now),
        oldest_due_at=verbs.oldest_due_operation(now),
        ended=plot.bars([(_hour(hour), len(of), str(len(of))) for hour, of in _by_hour(ended, first_hour)]),
        ended_in_all=len(ended),
        delivered=plot.bars(
            [_median_bar(hour, of) for hour, of in _by_hour(orders, first_hour)],
            top_words=span(max(_medians(orders, first_hour), default=0)),
        ),
        delivered_s=median(taken_s) if taken_s else None,
        is_cut=len(rows) == MOST_PLOTTED,
    )


def _is_delivered_order(row: Row) -> bool:
    return bool(row["kind"] == Kind.CREATE and row["state"] == State.SUCCEEDED and row["sent"])


def _took_s(row: Row) -> float:
    return float(row["updated_at"] - row["created_at"]) / 1000


def _by_hour(rows: Sequence[Row], first_hour: int) -> list[tuple[int, list[Row]]]:
    hours: dict[int, list[Row]] = {first_hour + place: [] for place in range(HOURS)}
    for row in rows:
        hours.setdefault(row["updated_at"] // HOUR_MS, []).append(row)
    return list(hours.items())[:HOURS]


def _medians(orders: Sequence[Row], first_hour: int) -> list[float]:
    return [median(map(_took_s, of)) for _, of in _by_hour(orders, first_hour) if of]


def _median_bar(hour: int, orders: list[Row]) -> tuple[str, float | None, str]:
    if not orders:
        return _hour(hour), None, "none"
    taken_s = median(map(_took_s, orders))
    return _hour(hour), taken_s, f"{span(taken_s)} (median of {len(orders)})"


def _hour(hour: int) -> str:
    return datetime.fromtimestamp(hour * 3600, UTC).strftime("%H:00")
