"""Live looks: taken only while somebody looks, by another thread, and never while work stands still."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from provisioner.engine import looks as module
from provisioner.engine.looks import Looks


class AtOnce(Executor):
    """Samples in the thread of the one who looks, so that a test need not wait."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


class Later(AtOnce):
    """Keeps what it is given until a test runs it."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], Any]] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.waiting.append(lambda: fn(*args, **kwargs))
        return Future()


@pytest.fixture
def active(world: Any) -> Any:
    world.done(world.order())
    return world


def looking(world: Any, pool: Executor) -> Looks:
    return Looks(world.app.store, world.app.upstream, world.clock, pool)


STATUS = "GET /datacenter/server/{sid}/status"


def test_nobody_looking_costs_no_call(active: Any) -> None:
    before = active.calls(STATUS)
    active.run(600)
    assert active.calls(STATUS) == before


def test_first_look_begins_a_sampling_and_the_next_sees_it(active: Any) -> None:
    pool = Later()
    looks = looking(active, pool)
    first = looks.look("shop", "1001")
    assert (first.vmid, first.at, first.state, first.samples) == (active.service().vmid, None, "", ())
    pool.waiting.pop()()
    seen = looks.look("shop", "1001")
    assert (seen.state, seen.is_running, seen.problem) == ("running", True, "")
    assert seen.at == active.clock.now
    assert seen.size is not None
    assert (seen.size.cpu_cores, seen.size.mem) == (1, 1024)
    assert seen.backups == ()


def test_what_was_done_meanwhile_is_seen_at_once(active: Any) -> None:
    """Whoever has made a backup, or has had the size changed, looks for it now."""
    looks = looking(active, AtOnce())
    looks.look("shop", "1001")
    assert looks.look("shop", "1001").backups == ()
    active.done(active.event("service.backup"))
    active.done(active.event("service.upgrade", options={"mem": 2048}))
    active.clock.advance(module.STATUS_EVERY_MS / 1000)
    looks.look("shop", "1001")
    seen = looks.look("shop", "1001")
    assert len(seen.backups or ()) == 1
    assert seen.size is not None
    assert seen.size.mem == 2048


def test_one_sampling_is_under_way_at_most(active: Any) -> None:
    pool = Later()
    looks = looking(active, pool)
    for _ in range(5):
        looks.look("shop", "1001")
        active.clock.advance(10)
    assert len(pool.waiting) == 1


def test_status_is_sampled_every_three_seconds_and_the_rest_less_often(active: Any) -> None:
    looks = looking(active, AtOnce())
    calls = "GET /datacenter/server/{sid}/config", "GET /datacenter/server/{sid}/backups/list", STATUS
    before = [active.calls(call) for call in calls]
    for _ in range(60):
        looks.look("shop", "1001")
        active.clock.advance(1)
    counted = [active.calls(call) - was for call, was in zip(calls, before, strict=True)]
    assert counted == [1, 3, 20]


def test_rates_are_what_went_through_between_two_looks(active: Any) -> None:
    looks = looking(active, AtOnce())
    for _ in range(3):
        looks.look("shop", "1001")
        active.clock.advance(4)
    samples = looks.look("shop", "1001").samples
    assert samples[0].net_in is None
    assert [(sample.net_in, sample.net_out) for sample in samples[1:]] == [(45.0, 41.0)] * 3
    assert samples[-1].mem_total == 1024 * 1024 * 1024
    assert samples[-1].cpu == 0.02


def test_look_of_long_ago_tells_no_rate(active: Any) -> None:
    looks = looking(active, AtOnce())
    looks.look("shop", "1001")
    active.clock.advance(31)
    assert looks.look("shop", "1001").samples[-1].net_in is None


def test_restart_of_the_vm_tells_no_rate(active: Any) -> None:
    looks = looking(active, AtOnce())
    active.clock.advance(100)
    looks.look("shop", "1001")
    active.done(active.event("service.reboot"))
    active.clock.advance(4)
    looks.look("shop", "1001")
    assert looks.look("shop", "1001").samples[-1].net_in is None


def test_samples_are_kept_for_five_minutes(active: Any) -> None:
    looks = looking(active, AtOnce())
    for _ in range(300):
        looks.look("shop", "1001")
        active.clock.advance(3)
    samples = looks.look("shop", "1001").samples
    assert len(samples) <= 101
    assert samples[-1].at - samples[0].at <= module.KEPT_MS


@pytest.mark.parametrize("fact", ["paused", "token_refused", "recovering"])
def test_nothing_is_sampled_while_the_work_stands_still(active: Any, fact: str) -> None:
    active.app.store.write(lambda verbs: verbs.set_fact(fact, {"at": active.clock.now}, active.clock.now))
    before = active.calls(STATUS)
    look = looking(active, AtOnce()).look("shop", "1001")
    assert active.calls(STATUS) == before
    assert (look.at, look.stands_still) == (None, (fact,))


def test_outage_is_told_and_what_was_seen_stays(active: Any) -> None:
    looks = looking(active, AtOnce())
    looks.look("shop", "1001")
    active.sandbox.fault(path="*/status", kind="page", times=0)
    active.clock.advance(4)
    looks.look("shop", "1001")
    look = looks.look("shop", "1001")
    assert look.problem
    assert (look.state, len(look.samples)) == ("running", 1)


def test_another_vm_has_no_past(active: Any) -> None:
    looks = looking(active, AtOnce())
    looks.look("shop", "1001")
    active.done(active.event("service.terminate", immediate=True))
    assert looks.look("shop", "1001").vmid is None
    active.clock.advance(4)
    active.done(active.order(recreate=True))
    first = looks.look("shop", "1001")
    assert first.vmid == active.service().vmid
    assert [sample.at for sample in first.samples] == [active.clock.now]


def test_what_was_seen_long_ago_is_not_what_is(active: Any) -> None:
    """Whoever comes back after an hour sees nothing of then, but for the size, until there is a new look."""
    looks = looking(active, AtOnce())
    looks.look("shop", "1001")
    looks.pool = Later()
    active.clock.advance(30)
    assert looks.look("shop", "1001").is_running is True
    active.clock.advance(1)
    late = looks.look("shop", "1001")
    assert (late.at, late.is_running, late.uptime_s) == (None, None, None)
    assert (len(late.samples), late.backups) == (1, ())
    active.clock.advance(3600)
    later = looks.look("shop", "1001")
    assert (later.samples, later.backups) == ((), None)
    assert later.size is not None


def test_services_remembered_are_bounded(active: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SERVICES", 2)
    for number in range(1002, 1005):
        active.done(active.order(str(number)))
    pool = AtOnce()
    looks = looking(active, pool)
    for number in (1001, 1002, 1003):
        looks.look("shop", str(number))
    assert list(looks._watched) == [("shop", "1002"), ("shop", "1003")]


def test_who_looks_does_not_wait(active: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    looks = active.app.looks
    asked = active.app.upstream.status

    def slow(vmid: int) -> Any:
        assert answered.wait(30)
        return asked(vmid)

    monkeypatch.setattr(active.app.upstream, "status", slow)
    assert looks.look("shop", "1001").at is None
    answered.set()
    looks.close()
    seen = looks.look("shop", "1001")
    assert (seen.state, seen.size) == ("running", None)  # what was asked is answered, nothing more is asked
