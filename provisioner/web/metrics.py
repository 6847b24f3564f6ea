"""`GET /metrics`: numbers for Prometheus, without service ids and secrets (contract, section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from math import inf

from flask import Blueprint, Response, request
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from provisioner.config import Settings, host_and_port
from provisioner.delivery import DeliveryState
from provisioner.engine import pauses
from provisioner.engine.fetch import fetched_at
from provisioner.operation import State
from provisioner.service import ServiceStatus
from provisioner.store.verbs import Verbs
from provisioner.web.auth import Guard
from provisioner.web.surfaces import Side, Surfaces


class Metrics(Collector):
    """The numbers of one application, in a registry of its own; most are read when they are asked for."""

    def __init__(self, surfaces: Surfaces) -> None:
        self._surfaces = surfaces
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._answers = Counter(
            "provisioner_webhook_answers",
            "Answers to webhooks since this process started.",
            ["billing", "status"],
            registry=self._registry,
        )

    def answered(self, billing: str, status: int) -> None:
        """A webhook of this billing system ('' where there is none of its name) was answered."""
        self._answers.labels(billing, str(status)).inc()

    def text(self) -> bytes:
        """Everything, as Prometheus reads it.

        :raises StoreUnavailable: the store cannot be read.
        """
        return generate_latest(self._registry)

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: or else registering would read the store."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See `prometheus_client.registry.Collector`."""
        yield _gauge(
            "provisioner_tick_age_seconds", "Since the scheduler last ticked.", self._surfaces.tick_age_s()
        )
        yield from self._surfaces.store.read(self._of_store)

    def _of_store(self, verbs: Verbs) -> list[GaugeMetricFamily]:
        now = self._surfaces.clock()
        paused = pauses.reasons(verbs)
        return [
            _by("state", "provisioner_operations", "Operations.", verbs.count_operations(), State),
            _by(
                "state",
                "provisioner_deliveries",
                "Deliveries that are not done.",
                verbs.count_deliveries(),
                (DeliveryState.WAITING, DeliveryState.GIVEN_UP),
            ),
            _by("status", "provisioner_services", "Services.", verbs.count_services(), ServiceStatus),
            _gauge(
                "provisioner_oldest_due_operation_seconds",
                "How long the operation has been due that has been due longest and could run.",
                _age_s(verbs.oldest_due_operation(now), now),
            ),
            _gauge(
                "provisioner_oldest_due_delivery_seconds",
                "How long the delivery has been due that has been due longest and could be sent.",
                _age_s(verbs.oldest_due_delivery(now), now),
            ),
            _gauge("provisioner_upstream_paused", "1 while all work upstream stands still.", bool(paused)),
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


def _age_s(since: int | None, now: int) -> float:
    return 0.0 if since is None else max(now - since, 0) / 1000


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value=value)


def _by(
    label: str,
    name: str,
    words: str,
    counts: Mapping[str, int],
    known: Iterable[State | DeliveryState | ServiceStatus],
) -> GaugeMetricFamily:
    """One sample for each known word, also where it counts none: a gap is no zero."""
    family = GaugeMetricFamily(name, words, labels=[label])
    for word in known:
        family.add_metric([word.value], counts.get(word.value, 0))
    return family
