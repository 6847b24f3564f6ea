"""A line between a node and its PostgreSQL that a test can cut."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

SWALLOWED, RESET = "swallowed", "reset"
_WITH_A_RESET = struct.pack("ii", 1, 0)  # how a socket is closed: `SO_LINGER`, for no time


class Relay:
    """Passes what comes to a port of this machine on to a socket in the file system, and back.

    Cut, it swallows what is sent and leaves the connections open, or it resets them. What was connected then
    stays dead when the line is mended: whoever was between has forgotten it.
    """

    def __init__(self, to: Path) -> None:
        self._to = str(to)
        self._cut = ""
        self._cuts = 0
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def to(self, url: str) -> str:
        """The address of a database of that server over this line."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{conninfo_to_dict(url)['dbname']}"

    def cut(self, how: str) -> None:
        """From now on nothing passes: what is sent is swallowed, or whoever sends it is reset."""
        with self._lock:
            self._cut = how
            self._cuts += 1
            if how == RESET:
                self._drop(self._open)

    def mend(self) -> None:
        """New connections pass again."""
        with self._lock:
            self._cut = ""

    def close(self) -> None:
        self.cut(RESET)
        self._listener.close()

    def _drop(self, ends: list[socket.socket]) -> None:
        for end in list(ends):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _WITH_A_RESET)
                end.shutdown(socket.SHUT_RD)  # wakes whoever reads from it
            end.close()
            self._open.remove(end)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                with self._lock:
                    self._join(near, socket.socket(socket.AF_UNIX))

    def _join(self, near: socket.socket, far: socket.socket) -> None:
        self._open += [near, far]
        if self._cut == RESET or far.connect_ex(self._to):  # or the database is away
            self._drop([near, far])
            return
        for source, target in ((near, far), (far, near)):
            threading.Thread(target=self._pass, args=(source, target, self._cuts), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, cuts: int) -> None:
        """Carries bytes one way; `cuts` is how often the line had been cut when it was made."""
        with suppress(OSError):
            while sent := source.recv(1 << 16):
                if not self._cut and cuts == self._cuts:
                    target.sendall(sent)
            if not self._cut and cuts == self._cuts:
                target.shutdown(socket.SHUT_WR)
