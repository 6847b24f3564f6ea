"""Strands: each goes on until it waits for its commit, and from there once it is answered."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from provisioner.store.writer import Pending, waiting
from provisioner.web.strands import Strands
from tests.heard import capture_logs

whose: ContextVar[str] = ContextVar("whose", default="nobody's")


class Stage:
    """Strands that say what they do, and the writer that they wait for."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.woken = 0
        self.pending: dict[str, Pending] = {}
        self.strands = Strands(self._wake)

    def begin(self, name: str, timeout: float = 60.0) -> None:
        self.strands.begin(lambda: self._work(name, timeout))

    def run(self) -> list[str]:
        """What is said until all wait again."""
        self.strands.run()
        said, self.said = self.said, []
        return said

    def _wake(self) -> None:
        self.woken += 1

    def _work(self, name: str, timeout: float) -> None:
        whose.set(name)
        self.said.append(f"{name} begins")
        self.pending[name] = waiting.get().pending()
        in_time = self.pending[name].acquire(timeout=timeout)
        self.said.append(f"{name} is {'answered' if in_time else 'lost'}, and {whose.get()}")


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_nothing_runs_before_its_turn(stage: Stage) -> None:
    stage.begin("one")
    assert (stage.said, stage.woken) == ([], 1)
    assert stage.run() == ["one begins"]


def test_one_waits_while_another_goes_on(stage: Stage) -> None:
    for name in ("one", "two", "three"):
        stage.begin(name)
    assert stage.run() == ["one begins", "two begins", "three begins"]
    assert stage.run() == []
    stage.pending["two"].release()
    stage.pending["one"].release()
    assert stage.run() == ["two is answered, and two", "one is answered, and one"]
    stage.pending["three"].release()
    assert stage.run() == ["three is answered, and three"]


def test_answer_wakes_the_loop(stage: Stage) -> None:
    stage.begin("one")
    stage.run()
    stage.woken = 0
    stage.pending["one"].release()
    assert (stage.woken, stage.said) == (1, [])


def test_context_is_each_ones_own(stage: Stage) -> None:
    before = waiting.get()
    stage.begin("one")
    stage.run()
    assert (whose.get(), waiting.get()) == ("nobody's", before)


def test_patience_ends(stage: Stage) -> None:
    stage.begin("patient")
    stage.begin("hasty", timeout=0.0)
    assert stage.run() == ["patient begins", "hasty begins"]
    stage.pending["patient"].release()
    assert stage.run() == ["patient is answered, and patient", "hasty is lost, and hasty"]


def test_answer_that_comes_too_late_is_nobodys(stage: Stage) -> None:
    pending: list[Pending] = []

    def twice() -> None:
        for timeout in (0.0, 60.0):
            pending.append(waiting.get().pending())
            in_time = pending[-1].acquire(timeout=timeout)
            stage.said.append("in time" if in_time else "too late")

    stage.strands.begin(twice)
    assert stage.run() == ["too late"]
    pending[0].release()  # while it waits for another one
    assert stage.run() == []
    pending[1].release()
    assert stage.run() == ["in time"]


def test_strand_never_waits_for_room(stage: Stage) -> None:
    """The writer's queue is full for seconds at times: the loop would serve nobody meanwhile."""
    room: list[bool] = []
    stage.strands.begin(lambda: room.append(waiting.get().for_room))
    stage.run()
    assert room == [False]


def test_what_a_strand_begins_runs_as_well(stage: Stage) -> None:
    stage.strands.begin(lambda: stage.begin("next"))
    assert stage.run() == ["next begins"]


def test_one_that_breaks_ends_alone(stage: Stage) -> None:
    def breaks() -> None:
        raise SystemExit("out of here")

    stage.strands.begin(breaks)
    stage.begin("next")
    with capture_logs() as lines:
        assert stage.run() == ["next begins"]
    assert [line["event"] for line in lines] == ["request_broke"]


def test_strand_that_has_ended_is_let_go(stage: Stage) -> None:
    class Request:
        def serve(self) -> None:
            waiting.get().pending().acquire(timeout=0.0)

    def begun() -> weakref.ref[Any]:
        request = Request()
        work: Callable[[], None] = request.serve
        stage.strands.begin(work)
        return weakref.ref(request)

    request = begun()
    stage.run()
    stage.run()
    gc.collect()
    assert request() is None
