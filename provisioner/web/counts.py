"""What is counted as it happens. It is this process's alone: a restart begins at 0, as Prometheus expects.

Whoever is counted does not know Prometheus: the upstream's client, the store and the alerts are given plain
functions to call. No label holds an id, and what the outside chooses is sorted into words that are known.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric

from provisioner.operation import Kind, Operation, State
from provisioner.upstream import Call

_CALLS = (
    "status", "config", "delete", "rdns", "change", "start", "shutdown", "stop", "reboot", "reboot/force",
    "reinstall", "password/reset", "backups/list", "backups/status", "backups/create", "backups/restore",
)  # fmt: skip
ENDPOINTS = frozenset({"job/{id}", "server", "templates", *(f"server/{{id}}/{call}" for call in _CALLS)})
CODES = frozenset({"0x01", "0x03", "0xa1", "0xa3", "0xa5", "0xb0", "0xb1", "0xc1"})
OUTCOMES = frozenset({"ok", "unavailable", "outcome_unknown", "refused", *CODES})
OTHER = "other"
_TROUBLES = frozenset({"unavailable", "outcome_unknown", "0x03", "0xa1"})  # it, not what was asked

CALL_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
DELIVERED_S = (15, 30, 45, 60, 90, 120, 180, 300, 600, 1800, 3600, 14400, 86400)


@dataclass(frozen=True, slots=True)
class Health:
    """How the upstream's last call went (None before the first), and its last error, when it was (ms)."""

    is_good: bool | None = None
    error: str = ""
    error_at: int | None = None


class Counts:
    """The numbers of one service's process; safe for many threads."""

    def __init__(self) -> None:
        self._answers = Counter(
            "provisioner_webhook_answers", "Answers to webhooks.", ["billing", "status"], registry=None
        )
        self._calls = Counter(
            "provisioner_upstream_calls", "Calls of the upstream.", ["endpoint", "outcome"], registry=None
        )
        self._call_s = Histogram(
            "provisioner_upstream_call_seconds", "How long a call of the upstream took.", ["endpoint"],
            buckets=CALL_S, registry=None,
        )  # fmt: skip
        self._ended = Counter(
            "provisioner_operations_ended", "Operations that ended.", ["kind", "outcome"], registry=None
        )
        self._delivered_s = Histogram(
            "provisioner_paid_to_delivered_seconds",
            "From the acceptance of a paid order until the billing system had its credentials.",
            buckets=DELIVERED_S, registry=None,
        )  # fmt: skip
        self._messages = Counter(
            "provisioner_alert_messages", "Messages to people, tried.", ["outcome"], registry=None
        )
        self._beats = Counter("provisioner_heartbeats", "Heartbeats, tried.", ["outcome"], registry=None)
        self._health = Health()
        self._beat_at = Gauge(
            "provisioner_heartbeat_timestamp_seconds", "When the last heartbeat was taken.", registry=None
        )

    def answered(self, billing: str, status: int) -> None:
        """A webhook of this billing system ('' where there is none of its name) was answered."""
        self._answers.labels(billing, str(status)).inc()

    def called(self, call: Call) -> None:
        """The upstream was called."""
        endpoint = endpoint_of(call)
        outcome = call.outcome if call.outcome in OUTCOMES else OTHER
        self._calls.labels(endpoint, outcome).inc()
        self._call_s.labels(endpoint).observe(call.duration_ms / 1000)
        if outcome in _TROUBLES:
            words = f"{endpoint}: {call.status or 'no answer'}, {outcome}"
            self._health = Health(False, words, time.time_ns() // 1_000_000)
        else:
            self._health = replace(self._health, is_good=True)

    def health(self) -> Health:
        """How the upstream does, as its answers show."""
        return self._health

    def ended(self, operation: Operation) -> None:
        """An operation came to its end, durably."""
        self._ended.labels(operation.kind.value, operation.state.value).inc()
        # A create that found its VM there already sent nothing, and took no time worth knowing.
        if operation.kind is Kind.CREATE and operation.state is State.SUCCEEDED and operation.sent:
            self._delivered_s.observe((operation.updated_at - operation.created_at) / 1000)

    def messaged(self, outcome: str) -> None:
        """A person was told, or was not: `sent` or `failed`."""
        self._messages.labels(outcome).inc()

    def beat(self, outcome: str) -> None:
        """The heartbeat was `sent`, `failed` or `withheld`."""
        self._beats.labels(outcome).inc()
        if outcome == "sent":
            self._beat_at.set_to_current_time()

    def families(self) -> Iterator[Metric]:
        """Everything, as Prometheus reads it; without the times at which each series was made."""
        for counted in (
            *(self._answers, self._calls, self._call_s, self._ended, self._delivered_s),
            *(self._messages, self._beats, self._beat_at),
        ):
            for family in counted.collect():
                family.samples = [one for one in family.samples if not one.name.endswith("_created")]
                yield family


def endpoint_of(call: Call) -> str:
    """The endpoint that a call was of, without its ids, such as `GET server/{id}/status`."""
    path = re.sub(r"^(server|job)/[^/]+", r"\1/{id}", call.path.removeprefix("datacenter/"))
    return f"{call.method} {path}" if path in ENDPOINTS else OTHER
