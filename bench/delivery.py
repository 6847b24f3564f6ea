"""From a paid order to its credentials in the shop: everything that is not the upstream's own time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import mean, median

from bench.installation import Installation, installed
from bench.report import Goal, Table
from bench.working_off import noticed

BUILD_S = 0.7
CALL_S = 0.02
LEARNING = 6  # orders before: how long a build takes is known then
GOAL_MS = 150


@dataclass(frozen=True, slots=True)
class Way:
    """One order's way, in milliseconds: `whole` is from its sending to the delivery's arrival.

    :param asked: how many calls of the upstream it took.
    :param calls: what the upstream took for its calls.
    :param build: what it took for the job.
    :param late: how long the job's end was not looked at.
    :param sent: from the order to the first call's begin; `between`: from one call's end to the next's begin.
    :param told: from the answer that said it had ended to the delivery's arrival.
    """

    asked: int
    whole: float
    calls: float
    build: float
    late: float
    sent: float
    between: float
    told: float

    @property
    def ours(self) -> float:
        return self.sent + self.between + self.told


def measure(seconds: float, rounds: int) -> Table:
    """:param seconds: for how long orders are sent in each round, one at a time."""
    ways = [way for _ in range(rounds) for way in _round(seconds)]
    ours = median(way.ours for way in ways)

    def of(name: str) -> str:
        return f"{median(getattr(way, name) for way in ways):.0f} ms"

    return Table(
        title="From paid to delivered",
        against=f"{len(ways)} paid orders, one at a time on an idle system, from the webhook's first byte to "
        f"the arrival of `service.provisioned`. The upstream takes {CALL_S * 1000:.0f} ms for each call and "
        f"{BUILD_S * 1000:.0f} ms for each build. Medians.",
        columns=("", "found"),
        rows=(
            ("from the order to the delivery", of("whole")),
            ("the upstream's calls", of("calls")),
            ("its build", of("build")),
            ("its end, until it was looked at", of("late")),
            ("the order, until the first call: verified, stored, claimed, its intent stored", of("sent")),
            ("between two calls", of("between")),
            ("the last answer, until it is delivered: stored, claimed, sealed, signed, sent", of("told")),
            ("everything that is neither the upstream's nor the look's", f"{ours:.0f} ms"),
            ("upstream calls an order (mean)", f"{mean(way.asked for way in ways):.2f}"),
        ),
        goals=(Goal(f"under {GOAL_MS} ms (median)", f"{ours:.0f} ms", ours < GOAL_MS),),
        notes=(
            "How late the end is looked at is a choice between calls and time: see Working off.",
            "The medians of parts need not sum up to the median of the whole.",
        ),
    )


def _round(seconds: float) -> list[Way]:
    sandbox = {"latency": CALL_S, "job_queued": 0.0, "job_executing": BUILD_S}
    with installed(settings="exclusive = true", **sandbox) as site:
        for number in range(LEARNING):
            _ordered(site, f"learning-{number}")
        ways: list[Way] = []
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            ways.append(_ordered(site, str(len(ways))))
        return ways


def _ordered(site: Installation, service_id: str) -> Way:
    """Sends one order and waits until its delivery is there."""
    seen = len(site.sandbox.calls())
    sent_at = site.order(service_id) * 1000
    (told,) = site.shop.wait_for(lambda one: one.data["service_id"] == service_id, 30)
    calls = [call for call in site.sandbox.calls()[seen:] if "templates" not in call["path"]]
    job = site.sandbox.state()["jobs"][-1]
    post = next(call for call in calls if call["method"] == "POST")
    looked_at = noticed(calls)[job["jobId"]]
    return Way(
        asked=len(calls),
        whole=told.received_at - sent_at,
        calls=sum(call["answered_at"] - call["at"] for call in calls),
        build=job["ends_at"] - post["answered_at"],
        late=looked_at - job["ends_at"],
        sent=calls[0]["at"] - sent_at,
        between=post["at"] - calls[0]["answered_at"],
        told=told.received_at - looked_at,
    )
