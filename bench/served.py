"""A contestant in a process of its own, and what it has cost."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

from bench.load import Run, Webhooks, post
from bench.rivals import Place
from bench.wsgi import environment
from tests.ports import free_port

PATIENCE_S = 30.0
ENDS_WITHIN_S = 15.0
WARM_S = 0.5
WAITRESS = (sys.executable, "-m", "bench.wsgi", "{port}")


class Served:
    """One contestant on one WSGI server, listening.

    :param command: the words that start the server; `{port}` stands for where it is to listen.
    :raises RuntimeError: it does not listen in time.
    """

    def __init__(self, name: str, place: Place, command: tuple[str, ...] = WAITRESS) -> None:
        self.accepted = 0
        self._address = ("127.0.0.1", free_port())
        self._said = place.folder / "said"
        words = [word.format(port=self._address[1]) for word in command]
        with self._said.open("ab") as said:
            self._process = psutil.Popen(words, env=environment(name, place), stdout=said, stderr=said)
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def warm(self, webhooks: Webhooks, connections: int) -> float:
        """Posts for a moment what is not counted; returns how many it answers in a second."""
        return self.post(webhooks.take(int(6_000 * WARM_S)), connections, WARM_S).per_s

    def post(self, requests: list[bytes], connections: int, seconds: float) -> Run:
        """See `load.post`."""
        try:
            run = post(self._address, requests, connections, seconds)
        except (RuntimeError, OSError) as error:
            raise RuntimeError(f"{error}; it said: {self._said.read_text('utf-8')[-2000:]}") from error
        self.accepted += run.accepted
        return run

    def refuses(self, request: bytes) -> bool:
        """Whether a request with a byte changed is answered 401."""
        forged = request[:-2] + b" }"
        with socket.create_connection(self._address, timeout=PATIENCE_S) as line:
            line.sendall(forged)
            answer = http.client.HTTPResponse(line)
            answer.begin()
            return answer.status == http.HTTPStatus.UNAUTHORIZED

    def processor_s(self) -> float:
        """The processor time that its processes have taken so far."""
        processes = [self._process, *self._process.children(recursive=True)]
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(ENDS_WITHIN_S)
        except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait(ENDS_WITHIN_S)

    def _wait(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                socket.create_connection(self._address, timeout=PATIENCE_S).close()
            except ConnectionRefusedError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"it does not listen; it said: {self._said.read_text('utf-8')[-2000:]}")


def folder_in(folder: Path, name: str) -> Path:
    """A new folder for one contestant."""
    made = folder / name
    made.mkdir()
    return made
