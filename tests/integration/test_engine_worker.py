"""The dispatchers: woken at once, as many at once as they have places, and not killed by a mistake."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from provisioner import app as wiring
from provisioner import worker
from provisioner.errors import StoreUnavailable
from provisioner.operation import State
from provisioner.sandbox import BillingStub, Sandbox, SandboxServer
from provisioner.store import writer
from provisioner.store.verbs import Verbs
from provisioner.worker import Dispatcher, Tick, Worker
from tests.conftest import BILLING_SECRET, Clock, World, tables
from tests.heard import capture_logs

LONG_S = 60.0


def wait_for(condition: Callable[[], object]) -> None:
    ends_at = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < ends_at, "it never came true"
        time.sleep(0.001)


class Work:
    """A queue in memory; what is done is seen, and may be kept from ending."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []
        self.errors: list[Exception] = []
        self.done: list[Any] = []
        self.running = 0
        self.most = 0
        self.asked = 0
        self.reckoned = 0
        self.followed: list[None] = []
        self.next_at: int | None = None
        self.brings: list[Any] = []  # what is claimed with a result, one for each
        self.claims_with_results = True
        self.go_on = threading.Event()
        self.go_on.set()
        self._lock = threading.Lock()

    def claim(self) -> Any:
        self.asked += 1
        if self.errors:
            raise self.errors.pop()
        return self.waiting.pop(0) if self.waiting else None

    def do(self, piece: Any, may_claim: Callable[[], bool]) -> Any:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.go_on.wait(LONG_S)
        with self._lock:
            self.running -= 1
        if isinstance(piece, Exception):
            raise piece
        self.done.append(piece)
        if not self.claims_with_results or not may_claim():
            return None
        return self.brings.pop(0) if self.brings else None

    def when(self, _: int) -> int | None:
        if self.errors:
            raise self.errors.pop()
        self.reckoned += 1
        return self.next_at


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def dispatcher(work: Work, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dispatcher[Any]]:
    """With three places, and no floor under its waiting that would hide that nobody woke it."""
    monkeypatch.setattr(worker, "LONGEST_WAIT_S", LONG_S)
    dispatcher: Dispatcher[Any] = Dispatcher(
        "work", claim=work.claim, work=work.do, next_at=work.when, clock=wiring.wall_clock, threads=3,
        after=lambda: work.followed.append(None),
    )  # fmt: skip
    dispatcher.start()
    yield dispatcher
    work.go_on.set()
    dispatcher.stop()


def test_woken_one_looks_at_once(work: Work, dispatcher: Dispatcher[Any]) -> None:
    wait_for(lambda: work.asked)
    work.waiting += [1, 2]
    began = time.monotonic()
    dispatcher.wake()
    wait_for(lambda: sorted(work.done) == [1, 2])
    assert time.monotonic() - began < LONG_S / 2


def test_places_bound_the_work(work: Work, dispatcher: Dispatcher[Any]) -> None:
    work.go_on.clear()
    work.waiting += range(9)
    dispatcher.wake()
    wait_for(lambda: work.running == 3)
    assert len(work.waiting) == 6
    work.go_on.set()
    wait_for(lambda: len(work.done) == 9)
    assert work.most == 3


def test_due_moment_is_kept(work: Work, dispatcher: Dispatcher[Any]) -> None:
    """Nobody wakes it: what falls due in 100 ms is asked for then."""
    wait_for(lambda: work.asked)
    work.next_at = wiring.wall_clock() + 100
    dispatcher.wake()
    wait_for(lambda: work.asked > 1)
    began = time.monotonic()
    work.waiting.append(1)
    wait_for(lambda: work.done == [1])
    assert time.monotonic() - began < LONG_S / 2


@pytest.mark.parametrize(
    ("error", "event"),
    [(StoreUnavailable("full"), "claim_failed"), (ValueError("a broken row"), "claim_broke")],
)
def test_claim_that_raises_ends_nothing(
    work: Work, dispatcher: Dispatcher[Any], error: Exception, event: str
) -> None:
    wait_for(lambda: work.asked)
    with capture_logs() as logs:
        work.errors += [error, error]  # at the claim, and at the question for the next moment
        dispatcher.wake()
        wait_for(lambda: not work.errors)
    assert [entry["event"] for entry in logs] == [event]
    work.waiting += range(9)
    dispatcher.wake()
    wait_for(lambda: len(work.done) == 9)


@pytest.mark.parametrize("stuck", [1, 2], ids=["a claim", "a result and the next claim"])
def test_what_the_store_keeps_late_is_nobodys_loss(
    work: Work, monkeypatch: pytest.MonkeyPatch, stuck: int
) -> None:
    """Others are told that nobody knows; whoever leases work waits until it is known."""
    monkeypatch.setattr(writer, "PATIENCE_S", 0.05)
    commits, go_on = itertools.count(1), threading.Event()
    begun = threading.Event()

    def commit(batch: list[writer.Unit]) -> None:
        for unit in batch:
            unit.result = unit.work(cast(Verbs, None))
        if next(commits) == stuck:
            begun.set()
            go_on.wait(LONG_S)

    store = writer.Writer(commit)
    work.waiting, work.brings = [1], [2]
    dispatcher: Dispatcher[Any] = Dispatcher(
        "work", claim=lambda: store.write(lambda _: work.claim()), next_at=work.when, threads=1,
        work=lambda piece, may_claim: store.write(lambda _: work.do(piece, may_claim)),
        clock=wiring.wall_clock, after=lambda: None,
    )  # fmt: skip
    dispatcher.start()
    assert begun.wait(LONG_S)
    with pytest.raises(StoreUnavailable, match="may or may not"):
        store.write(lambda _: None)
    go_on.set()
    wait_for(lambda: work.done == [1, 2])
    dispatcher.stop()
    store.close()


def test_work_that_raises_frees_its_place(work: Work, dispatcher: Dispatcher[Any]) -> None:
    work.waiting += [ValueError("a mistake")] * 5
    work.waiting += [1, 2]
    with capture_logs() as logs:
        dispatcher.wake()
        wait_for(lambda: sorted(work.done) == [1, 2] and len(logs) == 5)
    assert {entry["event"] for entry in logs} == {"work_broke"}


def test_result_brings_the_next_piece(work: Work, dispatcher: Dispatcher[Any]) -> None:
    work.brings += [2, 3, ValueError("a mistake")]
    wait_for(lambda: work.asked)
    with capture_logs() as logs:
        work.waiting += [1]
        dispatcher.wake()
        wait_for(lambda: work.done == [1, 2, 3] and logs)
    work.go_on.clear()
    work.waiting += range(9)
    dispatcher.wake()
    wait_for(lambda: work.running == 3)  # they had one place, and gave it back


def test_result_that_brings_nothing_asks_for_no_more(work: Work, dispatcher: Dispatcher[Any]) -> None:
    """It has just been looked: only when the next piece is due is asked for anew."""
    wait_for(lambda: work.reckoned == 1)
    work.go_on.clear()
    work.waiting += [1]
    dispatcher.wake()
    wait_for(lambda: work.reckoned == 2)  # it was claimed, and nothing behind it
    assert work.asked == 3
    work.go_on.set()
    wait_for(lambda: work.reckoned == 3)
    assert (work.asked, work.done, work.followed) == (3, [1], [None])


def test_end_of_a_piece_asks_for_its_next_moment(work: Work, dispatcher: Dispatcher[Any]) -> None:
    work.go_on.clear()
    work.waiting += [1]
    dispatcher.wake()
    wait_for(lambda: work.running == 1)
    work.next_at = wiring.wall_clock() + 100
    work.waiting += [2]
    work.go_on.set()
    began = time.monotonic()
    wait_for(lambda: sorted(work.done) == [1, 2])  # or side by side
    assert time.monotonic() - began < LONG_S / 2


def test_no_moment_is_passed_over_between_a_vain_claim_and_the_next_look() -> None:
    """The next moment is asked for from when it was last looked, not from when that is asked."""
    asked_from: list[int] = []
    now, pieces = [0], ["one"]

    def work(piece: str, may_claim: Callable[[], bool]) -> None:
        wait_for(lambda: asked_from)
        now[0] = 999
        assert may_claim()  # in vain, and what is due at 1,000 is not there for it
        now[0] = 1001

    dispatcher = Dispatcher(
        "moments",
        claim=lambda: pieces.pop() if pieces else None,
        work=work,
        next_at=asked_from.append,  # type: ignore[func-returns-value]
        clock=lambda: now[0],
        threads=2,
        after=lambda: None,
    )
    dispatcher.start()
    wait_for(lambda: len(asked_from) == 2)
    dispatcher.stop()
    assert asked_from[:2] == [0, 999]


def test_result_without_a_claim_has_it_looked(work: Work, dispatcher: Dispatcher[Any]) -> None:
    wait_for(lambda: work.asked)
    work.claims_with_results = False
    work.go_on.clear()
    work.waiting += [1]
    dispatcher.wake()
    wait_for(lambda: work.running == 1)
    work.waiting += [2]
    work.go_on.set()
    began = time.monotonic()
    wait_for(lambda: sorted(work.done) == [1, 2])  # or side by side
    assert time.monotonic() - began < LONG_S / 2


def test_stopping_one_claims_nothing_with_a_result(work: Work, dispatcher: Dispatcher[Any]) -> None:
    work.go_on.clear()
    work.waiting += [1]
    work.brings += [2]
    dispatcher.wake()
    wait_for(lambda: work.running == 1)
    stopping = threading.Thread(target=dispatcher.stop)
    stopping.start()
    wait_for(dispatcher._stopping.is_set)
    work.go_on.set()
    stopping.join(LONG_S / 2)
    assert work.done == [1]
    assert work.brings == [2]


@pytest.mark.parametrize(("pieces", "run"), [(1, 1), (9, 3)])
def test_stop_waits_for_what_runs(work: Work, dispatcher: Dispatcher[Any], pieces: int, run: int) -> None:
    work.go_on.clear()
    work.waiting += range(pieces)
    dispatcher.wake()
    wait_for(lambda: work.running == run)
    stopping = threading.Thread(target=dispatcher.stop)
    stopping.start()
    stopping.join(0.05)
    assert stopping.is_alive()
    work.go_on.set()
    stopping.join(LONG_S / 2)
    assert not stopping.is_alive()
    assert sorted(work.done) == list(range(run))
    assert len(work.waiting) == pieces - run


def test_tick_that_raises_comes_again() -> None:
    ticks: list[float] = []

    def tick() -> None:
        ticks.append(time.monotonic())
        raise ValueError("a mistake")

    running = Worker([], [Tick("broken", 0.02, tick), Tick("later", 60.0, tick, first_s=60.0)])
    with capture_logs() as logs:
        running.start()
        wait_for(lambda: len(ticks) >= 3)
        running.stop()
    assert {(entry["event"], entry["tick"]) for entry in logs if "tick" in entry} == {
        ("tick_broke", "broken")
    }


def test_tick_keeps_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "BEAT_S", 0.01)
    running = Worker([], [], _last_tick=time.monotonic() - 500)
    assert running.tick_age_s() >= 500
    running.start()
    wait_for(lambda: running.tick_age_s() < 400)
    running.stop()


def test_ticks_apart_hold_no_other_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail server that hangs must not end the expiry and the probes, nor make the service look dead."""
    monkeypatch.setattr(worker, "BEAT_S", 0.01)
    go, hanging, ticks = threading.Event(), threading.Semaphore(0), [0]

    def hang() -> None:
        hanging.release()
        go.wait(LONG_S)

    def tick() -> None:
        ticks[0] += 1

    slow = [Tick(f"slow-{number}", 0.01, hang, apart=True) for number in range(8)]
    running = Worker([], [*slow, Tick("quick", 0.01, tick)], _last_tick=time.monotonic() - 500)
    running.start()
    try:
        assert hanging.acquire(timeout=LONG_S)
        before = ticks[0]
        wait_for(lambda: ticks[0] >= before + 20)
        assert running.tick_age_s() < 400
    finally:
        go.set()
        running.stop()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[World]:
    """The whole service with its own threads, on the real clock."""
    with (
        SandboxServer(Sandbox(job_queued=0.05, job_executing=0.1)) as upstream,
        BillingStub([BILLING_SECRET]) as billing,
    ):
        settings = tables(upstream.base_url, billing.callback_url)
        settings["upstream"]["job_poll"] = 0.1
        settings["retry"] = {"action_ttl": 0.5}
        world = World(tmp_path, cast("Clock", wiring.wall_clock), upstream, billing, settings)
        wiring.begin(world.app)
        world.app.worker.start()
        yield world
        world.app.worker.stop()
        world.app.close()


def test_orders_become_vms_by_themselves(live: World) -> None:
    orders = [live.order(str(number)) for number in range(5)]
    wait_for(lambda: all(live.operation(order).state is State.SUCCEEDED for order in orders))
    assert len(live.vmids()) == 5
    assert len(live.billing.deliveries) == 5


def test_refused_token_is_probed_by_itself(live: World) -> None:
    live.sandbox.settings(token_refused=True)
    order = live.order()
    wait_for(lambda: live.app.store.read(lambda verbs: verbs.fact("token_refused")))
    live.sandbox.settings(token_refused=False)
    wait_for(lambda: live.operation(order).state is State.SUCCEEDED)


def test_action_expires_by_itself(live: World) -> None:
    live.order()
    wait_for(live.told)
    live.app.commands.pause("anna", "")
    start = live.event("service.start")
    wait_for(lambda: live.operation(start).error_code == "expired")


def test_worker_that_was_stopped_is_not_started() -> None:
    """Who moves away may say so as soon as events are answered, which is before the work begins."""
    ticked = threading.Event()
    running = Worker([], [Tick("tick", 0.01, ticked.set)])
    running.stop()
    running.start()
    assert not ticked.wait(0.2)
