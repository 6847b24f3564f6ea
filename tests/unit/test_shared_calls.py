"""Who asks before a call begins shares it; who asks later waits for the next one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from provisioner.upstream.shared import Shared

PATIENCE_S = 10.0


class Calls:
    """Calls that end when a test says so; each answers with its number, from 1."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self.begun = 0
        self._let_end = 0
        self.error: BaseException | None = None

    def __call__(self) -> int:
        with self._change:
            self.begun += 1
            mine = self.begun
            self._change.notify_all()
            assert self._change.wait_for(lambda: self._let_end >= mine, PATIENCE_S)
            if self.error is not None:
                raise self.error
            return mine

    def end(self) -> None:
        """Lets one more call end."""
        with self._change:
            self._let_end += 1
            self._change.notify_all()

    def wait_for(self, begun: int) -> None:
        with self._change:
            assert self._change.wait_for(lambda: self.begun == begun, PATIENCE_S)


@pytest.fixture
def calls() -> Calls:
    return Calls()


class Door:
    """A lock that counts who has left it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._change = threading.Condition()
        self.left = 0

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        with self._change:
            self.left += 1
            self._change.notify_all()

    def wait_for_another(self, left: int) -> None:
        with self._change:
            assert self._change.wait_for(lambda: self.left > left, PATIENCE_S)


@pytest.fixture
def shared() -> Shared[int]:
    made: Shared[int] = Shared(PATIENCE_S)
    made._lock = Door()  # type: ignore[assignment]
    return made


@pytest.fixture
def asked(shared: Any, calls: Calls) -> Iterator[Callable[[], Future[tuple[int, bool]]]]:
    """Asks in a thread of its own; returns when that has been noted."""
    with ThreadPoolExecutor(8) as pool:

        def ask() -> Future[tuple[int, bool]]:
            left = shared._lock.left
            future = pool.submit(shared.answer, calls)
            shared._lock.wait_for_another(left)
            return future

        yield ask


def test_one_alone_makes_its_own_call(shared: Shared[int]) -> None:
    assert shared.answer(lambda: 7) == (7, False)
    assert shared.answer(lambda: 8) == (8, False)


def test_call_that_had_begun_is_not_taken(asked: Any, calls: Calls) -> None:
    first = asked()
    calls.wait_for(1)
    late = asked()
    calls.end()
    assert first.result(PATIENCE_S) == (1, False)
    calls.wait_for(2)
    calls.end()
    assert late.result(PATIENCE_S) == (2, False)


def test_two_that_ask_while_one_is_under_way_share_the_next(asked: Any, calls: Calls) -> None:
    first = asked()
    calls.wait_for(1)
    others = [asked(), asked()]
    calls.end()
    first.result(PATIENCE_S)
    calls.wait_for(2)
    calls.end()
    assert sorted(other.result(PATIENCE_S) for other in others) == [(2, False), (2, True)]
    assert calls.begun == 2


def test_failure_is_everybodys_whom_the_call_served_and_nobody_elses(
    shared: Shared[int], asked: Any, calls: Calls
) -> None:
    first = asked()
    calls.wait_for(1)
    others = [asked(), asked()]
    calls.end()
    assert first.result(PATIENCE_S) == (1, False)
    calls.error = ConnectionResetError("cut")
    calls.wait_for(2)
    calls.end()
    for other in others:
        with pytest.raises(ConnectionResetError):
            other.result(PATIENCE_S)
    calls.error = None
    calls.end()
    calls.end()
    assert shared.answer(calls) in [(3, False), (4, False)]


def test_call_that_does_not_end_stops_nobody_for_ever(calls: Calls) -> None:
    impatient: Shared[int] = Shared(0.05)
    with ThreadPoolExecutor(1) as pool:
        hung = pool.submit(impatient.answer, calls)
        calls.wait_for(1)
        for _ in range(2):  # the second one finds no remains of the first
            with pytest.raises(TimeoutError):
                impatient.answer(calls)
        calls.end()
        assert hung.result(PATIENCE_S) == (1, False)
    calls.end()
    assert impatient.answer(calls) == (2, False)


def test_nobody_among_many_gets_an_answer_from_before_it_asked() -> None:
    shared: Shared[int] = Shared(PATIENCE_S)
    moment = threading.Lock()
    now, made = [0], []

    def tick() -> int:
        with moment:
            now[0] += 1
            return now[0]

    def call() -> int:
        began = tick()
        made.append(began)
        threading.Event().wait(0.001)
        return began

    def ask(_: int) -> bool:
        asked_at = tick()
        return shared.answer(call)[0] > asked_at

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(ask, range(2000)))
    assert len(made) < 1000
