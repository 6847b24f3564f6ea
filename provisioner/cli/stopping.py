"""How a process is asked to end: SIGTERM and SIGINT."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from queue import Empty, SimpleQueue

LOOK_S = 0.5  # a signal that reaches another thread, or this one just before it sleeps, wakes nobody
STOPS = (signal.SIGTERM, signal.SIGINT)


def interrupted_by_term() -> None:
    """Makes SIGTERM what Ctrl-C is: a KeyboardInterrupt."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


class Stop:
    """Remembers from now on that the process was asked to end. For the main thread."""

    def __init__(self) -> None:
        # A signal may come in the middle of any call of this thread: this queue's put() allows for that.
        self._asked: SimpleQueue[int] = SimpleQueue()
        for number in STOPS:
            signal.signal(number, lambda caught, _: self._asked.put(caught))

    def wait(self) -> None:
        """Returns once it was asked; a second signal then ends the process at once."""
        while not self._was_asked():
            pass
        for number in STOPS:
            signal.signal(number, signal.SIG_DFL)

    def _was_asked(self) -> bool:
        with suppress(Empty):
            self._asked.get(timeout=LOOK_S)
            return True
        return False


def wait_for_interrupt() -> None:
    """Returns when a KeyboardInterrupt comes. For the main thread."""
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(LOOK_S)
