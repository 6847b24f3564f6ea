"""Places for calls are taken in the order in which they are asked for, and none is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from provisioner.line.places import Places

PATIENCE_S = 10.0


def wait_for(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / 0.001)):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it does not come")


def waiting(places: Places) -> int:
    return len(places._waiting)


def test_there_are_as_many_as_were_asked_for() -> None:
    places = Places(2)
    assert [places.take(0), places.take(0), places.take(0)] == [True, True, False]
    places.give_back()
    assert [places.take(0), places.take(0)] == [True, False]


def test_who_waits_longest_has_the_next_one() -> None:
    """Others ask all the time, and one of them gives its place back and asks again at once."""
    places, order = Places(1), []
    assert places.take(0)

    def call(number: int) -> None:
        assert places.take(PATIENCE_S)
        order.append(number)
        places.give_back()

    with ThreadPoolExecutor(5) as pool:
        for number in range(5):
            pool.submit(call, number)
            wait_for(lambda number=number: waiting(places) == number + 1)  # type: ignore[misc]
        places.give_back()
        assert places.take(PATIENCE_S)  # behind all of them
    assert order == [0, 1, 2, 3, 4]


def test_who_waits_no_more_takes_none_away() -> None:
    places = Places(1)
    assert places.take(0)
    assert not places.take(0.01)
    assert waiting(places) == 0
    places.give_back()
    assert places.take(0)


def test_place_that_comes_as_the_wait_ends_is_taken() -> None:
    places = Places(1)
    assert places.take(0)
    mine = threading.Lock()
    mine.acquire()
    places._waiting.append(mine)  # asked, and its time is over
    places.give_back()
    assert places._was_given(mine)
    assert not places.take(0)  # it has it


def test_no_place_is_lost_among_many() -> None:
    places, taken, most, lock = Places(3), 0, 0, threading.Lock()

    def call(_: int) -> None:
        nonlocal taken, most
        if not places.take(0.0005):
            return
        with lock:
            taken += 1
            most = max(most, taken)
        with lock:
            taken -= 1
        places.give_back()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(call, range(3_000)))
    assert most <= 3
    assert [places.take(0) for _ in range(4)] == [True, True, True, False]
