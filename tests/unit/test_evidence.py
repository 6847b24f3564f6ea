"""What follows from what was seen of a lost order: row by row, and in every order of events there can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import pytest

from provisioner.operations.evidence import TABLE, Decision, Row, Seen, decide

NOTHING = Seen(
    trusted=True, fitting_jobs=(), open_jobs=(), fitting_vms=(), others_in_flight=False, is_settled=True
)


@pytest.mark.parametrize(
    ("changes", "decision", "why"),
    [
        ({}, Decision.SEND_AGAIN, "it was never made"),
        ({"is_settled": False}, Decision.WAIT, "it may still show"),
        ({"fitting_jobs": (7,)}, Decision.TAKE, "a job made what was asked"),
        ({"fitting_jobs": (7,), "is_settled": False}, Decision.TAKE, "a job made what was asked"),
        ({"fitting_jobs": (7,), "open_jobs": (8,)}, Decision.TAKE, "a job made what was asked"),
        (
            {"fitting_jobs": (7,), "others_in_flight": True},
            Decision.WAIT,
            "an unclaimed job may be another's",
        ),
        ({"fitting_jobs": (7,), "trusted": False}, Decision.HOLD, "nothing may be inferred here"),
        ({"fitting_jobs": (7,), "was_accepted": True}, Decision.HOLD, "its job was accepted, then lost"),
        ({"open_jobs": (7,)}, Decision.WAIT, "a job has not told its VM yet"),
        ({"open_jobs": (7,), "is_overdue": True}, Decision.HOLD, "a job will not tell its VM"),
        ({"open_jobs": (7,), "fitting_vms": (4001,)}, Decision.WAIT, "a job has not told its VM yet"),
        ({"fitting_vms": (4001,)}, Decision.HOLD, "a VM without a job to show for it"),
        (
            {"fitting_vms": (4001,), "others_in_flight": True},
            Decision.WAIT,
            "an unclaimed job may be another's",
        ),
        ({"others_in_flight": True}, Decision.WAIT, "an unclaimed job may be another's"),
        ({"trusted": False, "is_settled": False}, Decision.HOLD, "nothing may be inferred here"),
        ({"was_accepted": True}, Decision.HOLD, "its job was accepted, then lost"),
        ({"was_accepted": True, "is_settled": False}, Decision.WAIT, "its job may show again"),
        (
            {"was_accepted": True, "is_settled": False, "trusted": False},
            Decision.WAIT,
            "its job may show again",
        ),
    ],
)
def test_rows_decide_in_their_order(changes: dict[str, object], decision: Decision, why: str) -> None:
    assert decide(replace(NOTHING, **changes)) == (decision, why)  # type: ignore[arg-type]


def every_sight() -> Iterator[Seen]:
    yes_no = (False, True)
    for trusted, flight, settled, overdue, accepted in product(yes_no, repeat=5):
        for jobs, opened, vms in product(((), (7,)), ((), (8,)), ((), (4001,))):
            yield Seen(trusted, jobs, opened, vms, flight, settled, overdue, accepted)


def test_sending_again_needs_every_proof() -> None:
    again = [seen for seen in every_sight() if decide(seen)[0] is Decision.SEND_AGAIN]
    assert {replace(seen, is_overdue=False) for seen in again} == {NOTHING}


def test_nothing_is_taken_on_a_shared_account() -> None:
    assert {decide(seen)[0] for seen in every_sight() if not seen.trusted} == {Decision.HOLD, Decision.WAIT}
    assert all(
        decide(seen)[0] is Decision.HOLD for seen in every_sight() if not seen.trusted and seen.is_settled
    )


def test_every_row_decides_something() -> None:
    assert {decide(seen)[1] for seen in every_sight()} == {why for why, _, _ in TABLE}


def test_table_without_an_end_is_a_mistake() -> None:
    with pytest.raises(LookupError):
        decide(NOTHING, TABLE[:-1])


# Explicit-state search: two orders of the same size whose jobs fail, leave VMs behind, and get lost.

ORDERS = range(2)
MOST_SENT = 2  # a third time shows nothing that a second does not
MOST_ACCIDENTS = 2  # lost answers, lost jobs, jobs that fail and leave a VM: three may leave one to a person


@dataclass(frozen=True)
class Job:
    """One of the upstream's: whose call made it, which it does not tell; `claimed` is who we think it was."""

    cause: int
    status: str = "open"  # finished, failed, or failed with its VM made
    vm: int | None = None
    claimed: int | None = None
    hidden: bool = False  # 0xc1 from now on; its work goes on


@dataclass(frozen=True)
class Order:
    """new → sent → (answering →) following → done, or lost, and from there as the table decides."""

    phase: str = "new"
    sends: int = 0
    above: int = 0
    listed: frozenset[int] = frozenset()
    late: bool = False  # its call has not arrived yet, though nobody waits for the answer any more
    settled: bool = False
    accepted: bool = False
    vm: int | None = None
    aside: frozenset[int] = frozenset()


@dataclass(frozen=True)
class World:
    orders: tuple[Order, ...] = (Order(),) * len(ORDERS)
    jobs: tuple[Job, ...] = ()
    listed: frozenset[int] = frozenset()  # a VM has the number of its job; it shows in the list later
    greatest: int = 0
    accidents: int = 0

    def with_order(self, number: int, **changes: object) -> World:
        order = replace(self.orders[number], **changes)  # type: ignore[arg-type]
        return replace(self, orders=(*self.orders[:number], order, *self.orders[number + 1 :]))

    def with_job(self, job_id: int, **changes: object) -> World:
        job = replace(self.jobs[job_id - 1], **changes)  # type: ignore[arg-type]
        return replace(self, jobs=(*self.jobs[: job_id - 1], job, *self.jobs[job_id:]))

    def with_new_job(self, cause: int) -> World:
        return replace(self, jobs=(*self.jobs, Job(cause)))

    def phases(self, but: int) -> set[str]:
        return {order.phase for number, order in enumerate(self.orders) if number != but}

    def taken(self, but: int) -> set[int]:
        """The VMs that are somebody's, or set aside for a person."""
        found: set[int] = set()
        for number, order in enumerate(self.orders):
            found |= {order.vm} if order.vm else set()
            found |= order.aside if number != but else set()
        return found


class Wrong(Exception):
    """Something that must never happen has happened."""


@dataclass(frozen=True)
class Rules:
    """What the search runs on: the real table and fence, or one that must fail."""

    table: tuple[Row, ...] = TABLE
    fence: bool = True


def moves(world: World, rules: Rules) -> Iterator[World]:
    """Everything that can happen next."""
    for number in ORDERS:
        yield from of_order(world, number, rules)
    for job_id, job in enumerate(world.jobs, 1):
        if job.status == "open":
            yield world.with_job(job_id, status="finished", vm=job_id)
            yield world.with_job(job_id, status="failed")
            yield accident(world.with_job(job_id, status="failed with a VM", vm=job_id))
        if job.vm and job.vm not in world.listed:
            yield replace(world, listed=world.listed | {job.vm})


def of_order(world: World, number: int, rules: Rules) -> Iterator[World]:
    order = world.orders[number]
    if (
        order.phase == "new"
        and order.sends < MOST_SENT
        and not (rules.fence and "lost" in world.phases(number))
    ):
        fresh = Order("sent", order.sends + 1, world.greatest, world.listed)
        yield world.with_order(number, **fresh.__dict__)
    if order.phase == "sent":
        yield world.with_new_job(number).with_order(number, phase="answering")
        yield lost(world, number)
        yield lost(world, number, late=True)
    if order.phase == "answering":
        job_id = max(one for one, job in enumerate(world.jobs, 1) if job.cause == number)
        yield answered(world, number, job_id)
        yield lost(world, number)
    if order.late:
        yield world.with_new_job(number).with_order(number, late=False)
    if order.phase == "following":
        yield from followed(world, number)
    if order.phase == "lost":
        if not order.settled and is_over(world, number):
            yield world.with_order(number, settled=True)
        if not any(world.orders[other].phase == "lost" for other in range(number)):
            yield looked(world, number, rules)


def lost(world: World, number: int, **changes: object) -> World:
    """From now on `settle` is watched, for whoever is unknown already too."""
    for other in ORDERS:
        world = world.with_order(other, settled=False)
    return accident(world.with_order(number, phase="lost", **changes))


def accident(world: World) -> World:
    return replace(world, accidents=world.accidents + 1)


def answered(world: World, number: int, job_id: int) -> World:
    if world.jobs[job_id - 1].claimed is not None:
        raise Wrong("two orders have the same job")
    known = replace(world, greatest=max(world.greatest, job_id))
    return known.with_job(job_id, claimed=number).with_order(number, phase="following")


def followed(world: World, number: int) -> Iterator[World]:
    job_id, job = next((one, job) for one, job in enumerate(world.jobs, 1) if job.claimed == number)
    if job.status == "finished":
        yield world.with_order(number, phase="done", vm=job.vm)
    elif job.status == "open":
        yield lost(world.with_job(job_id, hidden=True), number, accepted=True)
    else:  # what it may have left is looked for before it is sent again: not here
        yield world.with_order(number, phase="failed")


def is_over(world: World, number: int) -> bool:
    """Whether `settle` may be over: long enough for a call to arrive and for a VM to show in the list.

    It counts from the last order that became unknown, and from the last job seen open.
    """
    arrived = not any(order.late for order in world.orders)
    listed = all(not job.vm or job.vm in world.listed for job in world.jobs)
    return arrived and listed and not sight(world, number).open_jobs


def looked(world: World, number: int, rules: Rules) -> World:
    order, seen = world.orders[number], sight(world, number)
    match decide(seen, rules.table)[0]:
        case Decision.TAKE:
            return answered(world, number, seen.fitting_jobs[0])
        case Decision.SEND_AGAIN:
            return world.with_order(number, phase="new")
        case Decision.HOLD:
            owners = {world.jobs[vm - 1].claimed for vm in seen.fitting_vms}
            if any(owner is not None and world.orders[owner].phase == "following" for owner in owners):
                raise Wrong("a person is offered another order's VM")
            return world.with_order(number, phase="held", aside=frozenset(seen.fitting_vms))
        case Decision.WAIT:
            return world
    raise AssertionError(order)


def sight(world: World, number: int) -> Seen:
    """What `lost_create` would see."""
    order, taken = world.orders[number], world.taken(number)
    unclaimed = {
        job_id: job
        for job_id, job in enumerate(world.jobs, 1)
        if job_id > order.above and job.claimed is None and not job.hidden
    }
    fitting = [
        job_id
        for job_id, job in unclaimed.items()
        if job.status == "finished" and job.vm not in order.listed and job.vm not in taken
    ]
    named = {job.vm for job in unclaimed.values() if job.status == "finished"}
    vms = sorted(world.listed - order.listed - taken - named) if order.settled else []
    others = world.phases(number)
    return Seen(
        trusted=True,
        fitting_jobs=tuple(fitting),
        open_jobs=tuple(job_id for job_id, job in unclaimed.items() if job.status == "open"),
        fitting_vms=tuple(vms),
        others_in_flight=bool(others & {"sent", "answering"})
        or bool(vms and not fitting and "following" in others),
        is_settled=order.settled,
        was_accepted=order.accepted,
    )


def check(world: World) -> None:
    """Never more VMs than orders, but for those of another's call that a person is looking at already."""
    calls = sum(job.status != "failed" for job in world.jobs) + sum(order.late for order in world.orders)
    shown = {
        vm
        for number, order in enumerate(world.orders)
        for vm in order.aside
        if world.jobs[vm - 1].cause != number
    }
    if calls > len(ORDERS) + len(shown):
        raise Wrong("more VMs than orders")


def search(rules: Rules) -> int:
    """Every world that can come to be; returns how many.

    :raises Wrong: at the first one that must not.
    """
    seen, ahead = {World()}, [World()]
    while ahead:
        world = ahead.pop()
        for after in moves(world, rules):
            if after not in seen and after.accidents <= MOST_ACCIDENTS:
                check(after)
                seen.add(after)
                ahead.append(after)
    return len(seen)


def without(*whys: str) -> tuple[Row, ...]:
    rows = tuple(row for row in TABLE if row[0] not in whys)
    assert len(rows) == len(TABLE) - len(whys)
    return rows


def test_no_order_of_events_makes_two_vms() -> None:
    assert search(Rules()) > 1000


RETRY: Callable[[Seen], bool] = lambda _: True  # noqa: E731 - a row's condition


@pytest.mark.parametrize(
    ("rules", "wrong"),
    [
        (Rules((("retry on timeout", RETRY, Decision.SEND_AGAIN),)), "more VMs than orders"),
        (Rules(without("it may still show")), "more VMs than orders"),
        (Rules(without("a VM without a job to show for it")), "more VMs than orders"),
        (Rules(without("its job was accepted, then lost")), "more VMs than orders"),
        (Rules(without("an unclaimed job may be another's")), "another order's VM|the same job"),
    ],
    ids=[
        "retry on timeout",
        *(f"without {row}" for row in ("settle", "VMs", "0xc1", "in flight")),
    ],
)
def test_every_row_is_needed(rules: Rules, wrong: str) -> None:
    with pytest.raises(Wrong, match=wrong):
        search(rules)
