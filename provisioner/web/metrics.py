"""`GET /metrics`: numbers for Prometheus, without service ids and secrets (contract, section 5).

`docs/metrics.md` names each of them; a test holds the two together.
"""

from __future__ import annotations

import platform
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from math import inf
from typing import Any

from flask import Blueprint, Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from provisioner import __version__
from provisioner.config import Settings, host_and_port
from provisioner.delivery import DeliveryState
from provisioner.engine import pauses
from provisioner.engine.causes import (
    LATE_MS,
    MOST_LATE,
    NEWEST_REJECTED,
    CauseName,
    rejected,
)
from provisioner.engine.fetch import fetched_at
from provisioner.engine.reconcile import EMPTY, FACT
from provisioner.operation import State
from provisioner.operations import brakes
from provisioner.service import ServiceStatus
from provisioner.store.verbs import Verbs
from provisioner.web.auth import Guard
from provisioner.web.surfaces import Side, Surfaces

MOST_CODES = 30  # error codes told apart, the most frequent ones: one may come from the upstream
LONGEST_CODE = 64  # characters
OTHER = "other"


class Metrics(Collector):
    """The numbers of one service, in a registry of its own; most are read when they are asked for."""

    def __init__(self, surfaces: Surfaces) -> None:
        self._surfaces = surfaces
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """Everything, as Prometheus reads it.

        :raises StoreUnavailable: the store cannot be read.
        """
        return generate_latest(self._registry)

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: or else registering would read the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        surfaces = self._surfaces
        yield _build()
        words = "Since the scheduler last ticked."
        yield _gauge("provisioner_tick_age_seconds", words, surfaces.tick_age_s())
        yield from surfaces.store.read(self._of_store)
        yield from self._of_machine()
        yield from self._of_alerts()
        yield from surfaces.counts.families()

    def _of_store(self, verbs: Verbs) -> list[GaugeMetricFamily]:
        now = self._surfaces.clock()
        return [
            *_of_operations(verbs, now),
            *_of_deliveries(verbs, self._surfaces.settings, now),
            *_of_account(verbs, self._surfaces.settings, now),
            _of_events(verbs, now),
            self._fetches(verbs, now),
        ]

    def _fetches(self, verbs: Verbs, now: int) -> GaugeMetricFamily:
        """Endless where nothing was fetched yet: a rule that waits for a great age must see it."""
        words = "Since a billing system that fetches its deliveries did so, to the minute; +Inf: never."
        family = GaugeMetricFamily("provisioner_fetch_age_seconds", words, labels=["billing"])
        for billing in self._surfaces.settings.fetching:
            at = fetched_at(verbs, billing)
            family.add_metric([billing], inf if at is None else _age_s(at, now))
        return family

    def _of_machine(self) -> Iterator[GaugeMetricFamily]:
        disk, skew_s = self._surfaces.alerts.machine(), self._surfaces.alerts.skew.seconds()
        bytes_of = (disk.store, disk.free, disk.size) if disk else (None, None, None)
        yield _known("provisioner_store_bytes", "The store's files.", bytes_of[0])
        yield _known("provisioner_disk_free_bytes", "Room on the store's disk.", bytes_of[1])
        yield _known("provisioner_disk_size_bytes", "The store's disk.", bytes_of[2])
        words = "How far ahead of the others this machine's clock is; missing while too few have spoken."
        yield _known("provisioner_clock_skew_seconds", words, skew_s)

    def _of_alerts(self) -> Iterator[GaugeMetricFamily]:
        alerts = self._surfaces.alerts
        counted = Counter(alert.name for alert in alerts.on())
        by_cause = {name.value: counted[name] for name in CauseName}
        yield _by("cause", "provisioner_alerts", "Alerts that are on.", by_cause)
        words = "Messages to people that are still to be sent."
        yield _gauge("provisioner_alert_messages_waiting", words, alerts.waiting())


def metrics(settings: Settings, side: Side, guard: Guard, numbers: Metrics) -> Blueprint:
    """The blueprint of `/metrics`; it asks for a token where strangers could come by."""
    blueprint = Blueprint("metrics", __name__)
    is_public = side is Side.ALL and not _is_loopback(settings.server.listen)

    @blueprint.get("/metrics")
    def answer() -> Response:
        if is_public:
            guard.admitted(request.headers.get("Authorization", ""))
        return Response(numbers.text(), content_type=CONTENT_TYPE_LATEST)

    return blueprint


def _is_loopback(address: str) -> bool:
    host, _ = host_and_port(address)
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _build() -> GaugeMetricFamily:
    labels = {
        "version": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    family = GaugeMetricFamily(
        "provisioner_build_info", "1, with what this service is made of.", labels=list(labels)
    )
    family.add_metric(list(labels.values()), 1)
    return family


def _of_operations(verbs: Verbs, now: int) -> Iterator[GaugeMetricFamily]:
    yield _by_known("state", "provisioner_operations", "Operations.", verbs.count_operations(), State)
    for state, words in ((State.HELD, "wait for a person"), (State.FAILED, "failed")):
        name = f"provisioner_operations_{state.value}"
        codes = _most_frequent(verbs.count_error_codes(state))
        yield _by("code", name, f"Operations that {words}, by their code.", codes)
    words = "Operations that could run now."
    yield _gauge("provisioner_due_operations", words, verbs.count_due_operations(now))
    yield _gauge(
        "provisioner_oldest_due_operation_seconds",
        "How long the operation has been due that has been due longest and could run.",
        _age_s(verbs.oldest_due_operation(now), now),
    )
    yield _gauge(
        "provisioner_late_creates",
        f"Creates that go on for over {LATE_MS // 60_000} min; at most {MOST_LATE} are counted.",
        len(verbs.late_creates(now - LATE_MS, MOST_LATE)),
    )


def _of_deliveries(verbs: Verbs, settings: Settings, now: int) -> Iterator[GaugeMetricFamily]:
    known = (DeliveryState.WAITING, DeliveryState.GIVEN_UP)
    counted = verbs.count_deliveries()
    yield _by_known("state", "provisioner_deliveries", "Deliveries that are not done.", counted, known)
    words = "Deliveries that could be sent now."
    yield _gauge("provisioner_due_deliveries", words, verbs.count_due_deliveries(now))
    yield _gauge(
        "provisioner_oldest_due_delivery_seconds",
        "How long the delivery has been due that has been due longest and could be sent.",
        _age_s(verbs.oldest_due_delivery(now), now),
    )
    rows = verbs.waiting_deliveries_by_billing(now, 0)
    sent = [row for row in rows if row["billing"] not in settings.fetching]
    yield _by(
        "billing",
        "provisioner_deliveries_failing",
        "Deliveries whose last try failed.",
        {row["billing"]: row["failing"] for row in sent},
    )
    yield _by(
        "billing",
        "provisioner_oldest_failing_delivery_seconds",
        "How long the oldest of them has failed.",
        {row["billing"]: _age_s(row["failing_since"], now) for row in sent},
    )
    yield _by_two(
        ("billing", "way"),
        "provisioner_oldest_waiting_delivery_seconds",
        "How long the delivery has waited that waits longest, to be sent or fetched.",
        {
            (row["billing"], "fetched" if row["billing"] in settings.fetching else "sent"): _age_s(
                row["waiting_since"], now
            )
            for row in rows
        },
    )


def _of_account(verbs: Verbs, settings: Settings, now: int) -> Iterator[GaugeMetricFamily]:
    counted = verbs.count_services()
    yield _by_known("status", "provisioner_services", "Services.", counted, ServiceStatus)
    paused = pauses.reasons(verbs)
    yield _gauge("provisioner_upstream_paused", "1 while all work upstream stands still.", bool(paused))
    by_reason = {reason: int(reason in paused) for reason in pauses.REASONS}
    yield _by("reason", "provisioner_pause", "1 for each reason why it does.", by_reason)
    yield from _of_brakes(brakes.overview(verbs, settings, now))
    found = verbs.fact(FACT) or EMPTY
    seen_at = found["seen_at"]
    yield _known(
        "provisioner_reconciliation_timestamp_seconds",
        "When store and upstream were last compared; missing before the first time.",
        None if seen_at is None else seen_at / 1000,
    )
    counts = {what: len(found[what]) for what in ("orphans", "ghosts", "drift", "foreign")}
    yield _by("what", "provisioner_reconciliation", "What was found then.", counts)


def _of_brakes(overview: Sequence[Mapping[str, Any]]) -> Iterator[GaugeMetricFamily]:
    passed = {brake["kind"]: brake["count"] for brake in overview}
    limits = {brake["kind"]: brake["limit"] for brake in overview}
    tripped = {brake["kind"]: int(brake["tripped_at"] is not None) for brake in overview}
    words = "Operations that passed a brake within an hour."
    yield _by("kind", "provisioner_brake_passages", words, passed)
    yield _by("kind", "provisioner_brake_limit", "How many may; 0 is no limit.", limits)
    yield _by("kind", "provisioner_brake_tripped", "1 while a brake holds all of its kind.", tripped)


def _of_events(verbs: Verbs, now: int) -> GaugeMetricFamily:
    words = f"Events of the last 24 hours that are still rejected, of the newest {NEWEST_REJECTED}."
    counted = Counter((event.billing, event.code) for event in rejected(verbs, now))
    return _by_two(("billing", "code"), "provisioner_events_rejected", words, counted)


def _most_frequent(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The most frequent codes, and all others together."""
    frequent = sorted(rows, key=lambda row: -row["count"])
    counted = {str(row["code"])[:LONGEST_CODE]: float(row["count"]) for row in frequent[:MOST_CODES]}
    rest = sum(row["count"] for row in frequent[MOST_CODES:])
    return {**counted, OTHER: float(rest)} if rest else counted


def _age_s(since: int | None, now: int) -> float:
    return 0.0 if since is None else max(now - since, 0) / 1000


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value=value)


def _known(name: str, words: str, value: float | None) -> GaugeMetricFamily:
    """One sample, or none where nobody knows: a 0 would be believed."""
    return GaugeMetricFamily(name, words, value=value)


def _by(label: str, name: str, words: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, words, labels=[label])
    for word, value in values.items():
        family.add_metric([word], value)
    return family


def _by_two(
    labels: tuple[str, str], name: str, words: str, values: Mapping[tuple[str, str], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, words, labels=labels)
    for of_labels, value in values.items():
        family.add_metric(of_labels, value)
    return family


def _by_known(
    label: str,
    name: str,
    words: str,
    counts: Mapping[str, int],
    known: Iterable[State | DeliveryState | ServiceStatus],
) -> GaugeMetricFamily:
    """One sample for each known word, also where it counts none: a gap is no zero."""
    return _by(label, name, words, {word.value: counts.get(word.value, 0) for word in known})
