"""How long a thousand paid orders take, against what `max_concurrency` and the calls made allow at best."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.installation import Installation, installed
from bench.report import Goal, Table

ORDERS = 1000
CALL_S = 0.05  # of every call of the upstream
BUILD_S = 2.0  # of every job
IN_FLIGHT = 8  # `max_concurrency`, its default
LEARNING = 6  # orders before, one by one: how long a build takes is known then
FLOOR = 2  # calls: it must be asked for, and looked at


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took: seconds, but `calls` and `lists` are counts for each order."""

    took_s: float
    calls: float
    lists: float
    late_s: list[float]
    told_s: list[float]
    processor_s: float

    def over(self, calls: float) -> float:
        """The time over the best for so many calls an order."""
        chain_s = 3 * CALL_S + BUILD_S  # of the last one: list, POST, its build, a look
        return self.took_s / (ORDERS * calls * CALL_S / IN_FLIGHT + chain_s)


def measure(seconds: float, rounds: int) -> Table:
    """:param seconds: how long one round's orders may take at most; there are always as many of them."""
    runs = [_run(seconds) for _ in range(rounds)]
    late_s = [late for run in runs for late in run.late_s]
    over_made = median(run.over(run.calls) for run in runs)
    calls = median(run.calls for run in runs)
    return Table(
        title="Working off",
        against=f"{ORDERS} paid orders wait, then work is resumed: the time until the billing system has the "
        "last one's credentials. The sandbox and the service are processes of their own; every call of the "
        f"upstream takes {CALL_S * 1000:.0f} ms, a build {BUILD_S:g} s, `max_concurrency` is {IN_FLIGHT}.",
        columns=("", "found"),
        rows=(
            ("time", f"{median(run.took_s for run in runs):.1f} s"),
            ("over the best for the calls made", f"{over_made:.2f}"),
            (
                f"over the best for {FLOOR} calls an order",
                f"{median(run.over(FLOOR) for run in runs):.2f}",
            ),
            ("upstream calls an order", f"{calls:.2f}, of which lists {median(r.lists for r in runs):.2f}"),
            ("a job's end noticed after it, median", f"{median(late_s):.2f} s"),
            ("… of nine in ten", f"{_tenth(late_s):.2f} s"),
            (
                "then told, median",
                f"{median(told for run in runs for told in run.told_s) * 1000:.0f} ms",
            ),
            (
                "the service's processor time an order",
                f"{median(run.processor_s for run in runs) / ORDERS * 1000:.1f} ms",
            ),
        ),
        goals=(
            Goal("at most 1.10 of the best for the calls made", f"{over_made:.2f}", over_made <= 1.10),
            Goal("at most 3.0 calls an order", f"{calls:.2f}", calls <= 3.0),
            Goal(
                "an end noticed at most 1 s after it (median)", f"{median(late_s):.2f} s", median(late_s) <= 1
            ),
        ),
        notes=(
            f"The best is: calls an order × {ORDERS} × {CALL_S * 1000:.0f} ms / {IN_FLIGHT}, as if all "
            "places for calls were always taken, and then one order's own chain: three calls and its build.",
            "Calls and times of the upstream are the sandbox's own count. Noticed is an end when the look "
            "that sees it is answered, which itself takes a call.",
            "One core is the service's and one the sandbox's and the shop's: on a machine that does other "
            "things besides, processor time is what there is too little of.",
        ),
    )


def _run(seconds: float) -> Run:
    sandbox = {"latency": CALL_S, "job_queued": 0.0, "job_executing": BUILD_S}
    with installed(settings=f"exclusive = true\nmax_concurrency = {IN_FLIGHT}", **sandbox) as site:
        for number in range(LEARNING):
            site.order(f"learning-{number}")
            site.shop.wait_for(number + 1, seconds)
        site.pause()
        site.orders([str(number) for number in range(ORDERS)])
        before, seen, worked_s = site.sandbox.state()["calls"], len(site.sandbox.calls()), site.processor_s()
        began_s = time.monotonic()
        site.resume()
        site.shop.wait_for(ORDERS + LEARNING, seconds)
        took_s, worked_s = time.monotonic() - began_s, site.processor_s() - worked_s
        return _found(site, took_s, worked_s, before, seen)


def _found(site: Installation, took_s: float, worked_s: float, before: dict[str, int], seen: int) -> Run:
    state, noticed_at = site.sandbox.state(), noticed(site.sandbox.calls()[seen:])
    made = {name: count - before.get(name, 0) for name, count in state["calls"].items()}
    ends_at = {job["vmid"]: (job["ends_at"], noticed_at.get(job["jobId"])) for job in state["jobs"]}
    told_at = {each.data["vmid"]: each.received_at for each in site.shop.deliveries}
    times = [(end, look, told_at[vmid]) for vmid, (end, look) in ends_at.items() if look is not None]
    return Run(
        took_s,
        calls=sum(made.values()) / ORDERS,
        lists=made["GET /datacenter/server"] / ORDERS,
        late_s=[(look - end) / 1000 for end, look, _ in times],
        told_s=[(told - look) / 1000 for _, look, told in times],
        processor_s=worked_s,
    )


def noticed(calls: list[dict[str, Any]]) -> dict[int, int]:
    """When the last look at each job was answered, milliseconds since the epoch."""
    looks = [call for call in calls if call["path"].startswith("/job/")]
    return {int(call["path"].removeprefix("/job/")): call["answered_at"] for call in looks}


def _tenth(values: list[float]) -> float:
    return sorted(values)[len(values) * 9 // 10]
