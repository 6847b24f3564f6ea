"""A contestant in a process of its own, and what it has cost."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.load import Run, Webhooks, post
from bench.rivals import Place
from bench.wsgi import environment
from tests.ports import free_port

PATIENCE_S = 30.0
ENDS_WITHIN_S = 15.0
WARM_S = 0.5
MOST_PER_S = 6_000.0  # before anything is known of it
WAITRESS = (sys.executable, "-m", "bench.wsgi", "{port}")


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of the load, and the processor time that its server took for each webhook."""

    run: Run
    processor_ms: float


class Served:
    """One contestant on one WSGI server, listening.

    :param command: the words that start the server; `{port}` stands for where it is to listen.
    :raises RuntimeError: it does not listen in time.
    """

    def __init__(self, name: str, place: Place, command: tuple[str, ...] = WAITRESS) -> None:
        self.accepted = 0
        self._per_s = MOST_PER_S
        self._address = ("127.0.0.1", free_port())
        self._said = place.folder / "said"
        words = [word.format(port=self._address[1]) for word in command]
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(words, env=environment(name, place), stdout=said, stderr=said)
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def warm(self, webhooks: Webhooks, connections: int) -> None:
        """Posts for a moment what is not counted."""
        run = self._post(webhooks.take(int(MOST_PER_S * WARM_S)), connections, WARM_S)
        self._per_s = run.per_s

    def cell(self, webhooks: Webhooks, connections: int, seconds: float) -> Cell:
        """Posts for so long, once it was warmed.

        :raises RuntimeError: as `load.post`.
        """
        requests = webhooks.take(int(self._per_s * seconds * 2) + connections)
        before_s = self._processor_s()
        run = self._post(requests, connections, seconds)
        return Cell(run, (self._processor_s() - before_s) / run.accepted * 1000)

    def refuses(self, request: bytes) -> bool:
        """Whether a request with a byte changed is answered 401."""
        forged = request[:-2] + b" }"
        with socket.create_connection(self._address, timeout=PATIENCE_S) as line:
            line.sendall(forged)
            answer = http.client.HTTPResponse(line)
            answer.begin()
            return answer.status == http.HTTPStatus.UNAUTHORIZED

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(ENDS_WITHIN_S)

    def _post(self, requests: list[bytes], connections: int, seconds: float) -> Run:
        try:
            run = post(self._address, requests, connections, seconds)
        except (RuntimeError, OSError) as error:
            raise RuntimeError(f"{error}; it said: {self._said.read_text('utf-8')[-2000:]}") from error
        self.accepted += run.accepted
        return run

    def _processor_s(self) -> float:
        """The processor time that its processes have taken so far."""
        server = psutil.Process(self._process.pid)
        return sum(sum(one.cpu_times()[:2]) for one in (server, *server.children(recursive=True)))

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
