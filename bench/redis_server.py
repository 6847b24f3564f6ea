"""A Redis of our own that syncs each command to the disk before it answers."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError as NotYet

from tests.ports import free_port

PATIENCE_S = 10.0


class RedisServer:
    """Runs until it is closed.

    :param folder: for its files.
    :raises SystemExit: it is not installed; says how it is.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise SystemExit(
                "Celery and RQ are measured on a Redis, which is missing: apt install redis-server"
            )
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        settings = {
            "--bind": "127.0.0.1", "--port": str(port), "--dir": str(folder), "--save": "",
            "--appendonly": "yes", "--appendfsync": "always",
        }  # fmt: skip
        words = [program, *(word for setting in settings.items() for word in setting)]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        self._wait()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_S)

    def _wait(self) -> None:
        until = time.monotonic() + PATIENCE_S
        with Redis.from_url(self.url) as redis:
            while time.monotonic() < until:
                try:
                    redis.ping()
                except NotYet:
                    time.sleep(0.02)
                else:
                    return
        self.close()
        raise RuntimeError("Redis does not listen")
