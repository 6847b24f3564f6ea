"""Every history of a few orders whose answers get lost, searched with the real decision table.

The model: each order commits its intent once it may, then notes a list, then posts; one list serves any of
those whose intent was committed when it was asked for. A post is answered, lost after it made a job, lost
before, or arrives late; a job ends some time after it was made, and its VM shows in the list some time after
that; the process may be killed at any moment. A VM that is listed may be let go by a person before another
order begins: it is foreign from then on. `settle` means what the design says: when it is over, whatever was
sent before it began has arrived or never will, and what ended is listed. All orders ask for the same size,
the worst case for telling them apart.

Bad is: two orders with one VM, an order that takes what one whose answer is out has made (theft), a foreign
VM that an order sets aside as its own (foreign), and, once nothing moves any more, a VM that nobody has and
no held order has set aside (double), or more of those that nobody has than there are held orders (spare).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import pytest

from provisioner.operations.evidence import TABLE, Decision, Row, Seen, decide

MOST_STATES = 400_000
MOST_RESENDS = 1  # a lost answer to the second call as well is history enough


class Order(NamedTuple):
    """`phase`: new, intended, flying, made, unknown, following, done, let_go or held.

    `late`: its post is still on its way.

    `sent` is its place among all posts, `job` the one it has, `aside` what it was held with.
    """

    phase: str = "new"
    sent: int = 0
    above: int = 0
    listed: frozenset[int] = frozenset()
    settled: bool = False
    late: bool = False
    posted: int = 0
    job: int = 0
    resent: int = 0
    aside: frozenset[int] = frozenset()


class Job(NamedTuple):
    """A job makes the VM of its own number. `by` posted it; `shows`: the list has its VM."""

    by: int
    ended: bool = False
    shows: bool = False


@dataclass(frozen=True)
class World:
    orders: tuple[Order, ...]
    jobs: tuple[Job, ...] = ()
    greatest: int = 0
    posts: int = 0
    kills: int = 1
    last_list: frozenset[int] = frozenset()  # what the list before said, where somebody still takes it

    def with_order(self, index: int, **changes: object) -> World:
        orders = list(self.orders)
        orders[index] = orders[index]._replace(**changes)
        return replace(self, orders=tuple(orders))

    def with_job(self, by: int) -> World:
        return replace(self, jobs=(*self.jobs, Job(by)))

    def changed_job(self, number: int, **changes: bool) -> World:
        jobs = list(self.jobs)
        jobs[number - 1] = jobs[number - 1]._replace(**changes)
        return replace(self, jobs=tuple(jobs))

    @property
    def claimed(self) -> set[int]:
        return {order.job for order in self.orders if order.job}

    @property
    def living(self) -> set[int]:
        return {order.job for order in self.orders if order.job and order.phase != "let_go"}

    @property
    def listed(self) -> frozenset[int]:
        return frozenset(n for n, job in enumerate(self.jobs, 1) if job.shows)


Look = Callable[[World, int], Seen]
Settle = Callable[[World, int], bool]
Lists = Callable[[World, int], Iterator[World]]
FLYING = ("flying", "made")


def honest_look(world: World, index: int) -> Seen:
    """What `lost_create` sees: see its `_look`."""
    order = world.orders[index]
    asides = [other.aside for other in world.orders if other.phase == "held"]
    aside = {vm for each in asides for vm in each}
    free = [n for n in range(order.above + 1, len(world.jobs) + 1) if n not in world.claimed | aside]
    new = world.listed - order.listed - world.living
    theirs = new & aside
    if len(theirs) <= sum(bool(each & theirs) for each in asides):
        new -= theirs
    return Seen(
        trusted=True,
        fitting_jobs=tuple(n for n in free if world.jobs[n - 1].ended and n not in order.listed),
        open_jobs=tuple(n for n in free if not world.jobs[n - 1].ended),
        fitting_vms=tuple(sorted(new)) if order.settled else (),
        others_in_flight=any(
            other.phase in ("intended", *FLYING) for place, other in enumerate(world.orders) if place != index
        ),
        is_settled=order.settled,
    )


def hasty_look(world: World, index: int) -> Seen:
    """One look at the list, no matter how early, and whoever else is under way."""
    order = world.orders[index]
    new = world.listed - order.listed - world.living
    return replace(honest_look(world, index), fitting_jobs=tuple(sorted(new)), others_in_flight=False)


def forgetful_look(world: World, index: int) -> Seen:
    """The VMs that were there before it was sent are not on record, and taken for none."""
    return honest_look(world.with_order(index, listed=frozenset()), index)


def moves(world: World, table: tuple[Row, ...], look: Look, settle: Settle, lists: Lists) -> Iterator[World]:
    for index, order in enumerate(world.orders):
        match order.phase:
            case "new":
                if all(other.phase != "unknown" for other in world.orders):
                    yield world.with_order(index, phase="intended", above=world.greatest, settled=False)
            case "intended":
                yield from lists(world, index)
            case "flying":
                made = world.with_job(index)
                yield made.with_order(index, phase="made", job=0, posted=len(made.jobs))
                yield unknown(world, index)
                yield unknown(world.with_order(index, late=True), index)
            case "made":
                answered = world.with_order(index, phase="following", job=order.posted)
                yield replace(answered, greatest=max(world.greatest, order.posted))
                yield unknown(world, index)
            case "unknown":
                yield from looks(world, index, table, look)
                listed = all(not job.ended or job.shows for job in world.jobs)
                if not order.settled and listed and settle(world, index):
                    yield world.with_order(index, settled=True)
            case "following":
                if world.jobs[order.job - 1].ended:
                    yield world.with_order(index, phase="done")
            case "done":
                if world.jobs[order.job - 1].shows and any(other.phase == "new" for other in world.orders):
                    yield world.with_order(index, phase="let_go")
        if order.late:
            yield world.with_job(index).with_order(index, late=False)
    for number, job in enumerate(world.jobs, 1):
        if not job.ended:
            yield world.changed_job(number, ended=True)
        elif not job.shows:
            yield world.changed_job(number, shows=True)
    if world.kills:
        yield killed(world)


def listed_for_all(world: World, index: int) -> Iterator[World]:
    """A list is asked for, which serves some of those whose intent is committed: others may come too late."""
    for other, order in enumerate(world.orders):
        if order.phase == "intended" and other != index:
            yield posted(posted(world, index, world.listed), other, world.listed)
    yield posted(world, index, world.listed)


def listed_before(world: World, index: int) -> Iterator[World]:
    """The list of another is taken, too, that was asked for before the intent."""
    for after in listed_for_all(world, index):
        yield replace(after, last_list=world.listed)
    yield posted(world, index, world.last_list)


def posted(world: World, index: int, listed: frozenset[int]) -> World:
    flying = world.with_order(index, phase="flying", sent=world.posts + 1, listed=listed)
    return replace(flying, posts=world.posts + 1)


def unknown(world: World, *indices: int) -> World:
    """`settle` begins anew for all: what one that became unknown has sent may still arrive."""
    orders = tuple(order._replace(settled=False) for order in world.orders)
    for index in indices:
        orders = (*orders[:index], orders[index]._replace(phase="unknown"), *orders[index + 1 :])
    return replace(world, orders=orders)


def settle_of_all(world: World, index: int) -> bool:
    """`settle` counts from when any of them became unknown."""
    return not any(other.late for other in world.orders)


def settle_of_its_own(world: World, index: int) -> bool:
    """`settle` counts from its own call: a later one may still be on its way."""
    mine = world.orders[index]
    return not any(other.late and other.sent <= mine.sent for other in world.orders)


def looks(world: World, index: int, table: tuple[Row, ...], look: Look) -> Iterator[World]:
    if any(other.phase == "unknown" for other in world.orders[:index]):
        return  # one search at a time, the oldest first
    seen = look(world, index)
    decision, _ = decide(seen, table)
    order = world.orders[index]
    if decision is Decision.TAKE:
        number = seen.fitting_jobs[0]
        taken = world.with_order(index, phase="following", job=number)
        yield replace(taken, greatest=max(world.greatest, number))
    elif decision is Decision.HOLD:
        yield world.with_order(index, phase="held", aside=frozenset(seen.fitting_vms))
    elif decision is Decision.SEND_AGAIN and order.resent < MOST_RESENDS:
        yield world.with_order(index, phase="new", resent=order.resent + 1)


def killed(world: World) -> World:
    """Whatever was being sent is unknown: it may have been made, or not. What had no list was never sent."""
    for index, order in enumerate(world.orders):
        if order.phase == "intended":
            world = world.with_order(index, phase="new")
    flying = [index for index, order in enumerate(world.orders) if order.phase in FLYING]
    return replace(unknown(world, *flying), kills=world.kills - 1)


def fault(before: World, after: World) -> str:
    jobs = [order.job for order in after.orders if order.job]
    if len(jobs) != len(set(jobs)):
        return "two orders have one VM"
    for index, order in enumerate(after.orders):
        if order.job and order.job != before.orders[index].job:
            maker = after.jobs[order.job - 1].by
            if maker != index and before.orders[maker].phase in FLYING:
                return "theft"
        if order.aside & {other.job for other in after.orders if other.phase == "let_go"}:
            return "foreign"
    return ""


def left_over(world: World) -> str:
    if any(order.phase not in ("done", "let_go", "held") for order in world.orders):
        return ""  # the bound on resends cut this history short
    aside = {vm for order in world.orders for vm in order.aside}
    nobodys = set(range(1, len(world.jobs) + 1)) - world.claimed
    if nobodys - aside:
        return "double"
    return "spare" if len(nobodys) > sum(order.phase == "held" for order in world.orders) else ""


def search(
    orders: int,
    table: tuple[Row, ...] = TABLE,
    look: Look = honest_look,
    settle: Settle = settle_of_all,
    lists: Lists = listed_for_all,
    until: str = "",
) -> tuple[set[str], int]:
    """The faults that any history leads to (up to the fault `until`), and how many states there are."""
    start = World((Order(),) * orders)
    seen, ahead, faults = {start}, [start], set()
    while ahead:
        if until in faults:
            break
        world = ahead.pop()
        onwards = list(moves(world, table, look, settle, lists))
        if not onwards and (left := left_over(world)):
            faults.add(left)
        for after in onwards:
            if problem := fault(world, after):
                faults.add(problem)
            elif after not in seen:
                seen.add(after)
                ahead.append(after)
        assert len(seen) < MOST_STATES, "the search is too large: bound the model"
    return faults, len(seen)


@pytest.mark.parametrize("orders", [1, 2])
def test_no_history_makes_a_double_or_a_theft(orders: int) -> None:
    faults, states = search(orders)
    assert faults == set()
    assert states > 20


RETRY_ON_TIMEOUT: tuple[Row, ...] = (("it timed out", lambda _: True, Decision.SEND_AGAIN),)
WITHOUT_SETTLE = tuple(row for row in TABLE if row[2] is not Decision.WAIT or row[0] != "it may still show")
WITHOUT_OTHERS = tuple(row for row in TABLE if row[0] != "an unclaimed job may be another's")
WITHOUT_OPEN_JOBS = tuple(row for row in TABLE if row[0] != "a job has not told its VM yet")


@pytest.mark.parametrize(
    ("table", "look", "settle", "lists", "expected"),
    [
        (RETRY_ON_TIMEOUT, honest_look, settle_of_all, listed_for_all, "double"),
        (TABLE, hasty_look, settle_of_all, listed_for_all, "theft"),
        (TABLE, forgetful_look, settle_of_all, listed_for_all, "foreign"),
        (WITHOUT_SETTLE, honest_look, settle_of_all, listed_for_all, "double"),
        (WITHOUT_OTHERS, honest_look, settle_of_all, listed_for_all, "theft"),
        (WITHOUT_OPEN_JOBS, honest_look, settle_of_all, listed_for_all, "double"),
        (TABLE, honest_look, settle_of_its_own, listed_for_all, "double"),
        (TABLE, honest_look, settle_of_all, listed_before, "foreign"),
    ],
    ids=[
        "retry on timeout",
        "adopt from one look at the list",
        "without the list of before",
        "without the settle window",
        "without the wait for answers",
        "without the wait for running jobs",
        "with a settle of its own call only",
        "with a list that was asked for before the intent",
    ],
)
def test_each_part_is_needed(
    table: tuple[Row, ...], look: Look, settle: Settle, lists: Lists, expected: str
) -> None:
    faults, _ = search(2, table, look, settle, lists, until=expected)
    assert expected in faults
