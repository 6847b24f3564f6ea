"""How a process is asked to end: SIGTERM and SIGINT."""

from __future__ import annotations

import signal
from queue import SimpleQueue

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
        self._asked.get()
        for number in STOPS:
            signal.signal(number, signal.SIG_DFL)
