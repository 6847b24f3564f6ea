"""One installation in real processes: a served service between a sandbox upstream and a stub shop."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from provisioner.cli.send import event, post
from provisioner.config import fresh_secrets, load, starter
from provisioner.sandbox import BillingStub, Sandbox, SandboxServer
from tests.acceptance.forked import Forked, ran
from tests.ports import free_port

PATIENCE_S = 90.0
MORTAL = Path(__file__).with_name("mortal.py")


def wait_until(condition: Callable[[], Any]) -> Any:
    """What the condition gives, as soon as it is something."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE_S} s")


class Site:
    """Its settings, a shop, an upstream, and the processes that work on it."""

    def __init__(self, folder: Path, upstream: SandboxServer, shop: BillingStub, settings: str) -> None:
        self.upstream = upstream
        self.shop = shop
        self.config = folder / "config.toml"
        self.config.write_text(settings)
        self.config.chmod(0o600)
        self.said = folder / "said"
        self.said.touch()
        self.program: tuple[str, ...] = ("-m", "provisioner")
        self._started: list[Forked] = []
        self._sent = 0

    @property
    def sandbox(self) -> Sandbox:
        return self.upstream.sandbox

    def add_settings(self, toml: str) -> None:
        self.config.write_text(self.config.read_text() + toml)

    def replace_setting(self, before: str, after: str) -> None:
        text = self.config.read_text()
        assert before in text
        self.config.write_text(text.replace(before, after))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end."""
        command = ["-m", "provisioner", *words, "--config", str(self.config)]
        return ran(command, self.said.parent, PATIENCE_S)

    def serve(self, *program: str) -> Forked:
        """Starts the service, or another program that is one; returns when it says that it is ready."""
        ready = self._times_ready()
        words = [*(program or self.program), "--config", str(self.config), "serve"]
        process = self._start(words)
        wait_until(lambda: self._times_ready() > ready or ended(process))
        assert process.poll() is None, self.said.read_text()
        return process

    def serve_mortally(self, point: str, way: str, nth: int) -> Forked:
        """Starts a service that dies at a named point (`mortal.py`); returns at once."""
        words = [point, way, str(nth), "--config", str(self.config), "serve"]
        return self._start([str(MORTAL), *words])

    def send(self, kind: str, service_id: str, *words: str, webhook_id: str = "") -> tuple[int, Any]:
        """Posts an event as `send` does, without a process of its own; (0, None) where nobody answers."""
        self._sent += 1
        body = json.dumps(event(kind, service_id, list(words), time.time())).encode()
        return self.post(body, webhook_id or f"event-{self._sent}")

    def post(self, body: bytes, webhook_id: str) -> tuple[int, Any]:
        try:
            return post(load(self.config, {}), "shop", webhook_id, body)
        except Exception:
            return 0, None

    def deliver_all(self, kind: str, service_id: str = "1001") -> list[Any]:
        """The accepted deliveries of a type."""
        return [
            one
            for one in self.shop.deliveries
            if one.accepted and one.type == kind and one.data["service_id"] == service_id
        ]

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait(PATIENCE_S)

    def _times_ready(self) -> int:
        return self.said.read_text().count("is ready")

    def _start(self, words: list[str]) -> Forked:
        self._started.append(Forked(words, self.said))
        return self._started[-1]


def ended(process: Forked) -> bool:
    return process.poll() is not None


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Waits for a condition, bounded."""
    return wait_until


@pytest.fixture
def free_ports() -> Callable[[int], tuple[int, ...]]:
    """So many different free ports."""

    def find(count: int) -> tuple[int, ...]:
        return tuple(free_port() for _ in range(count))

    return find


@contextmanager
def a_site(folder: Path, sandbox: Sandbox) -> Iterator[Site]:
    """An installation in this folder, with this upstream; nothing is served yet."""
    fresh = fresh_secrets()
    listen = f"127.0.0.1:{free_port()}"
    with SandboxServer(sandbox) as upstream, BillingStub([fresh.webhook_secret]) as shop:
        settings = starter(
            fresh,
            listen=listen,
            public_url=f"http://{listen}",
            callback_url=shop.callback_url,
            upstream_base_url=upstream.base_url,
            upstream_token=sandbox.settings()["token"],
        )
        with closing(Site(folder, upstream, shop, settings)) as made:
            yield made


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with a_site(tmp_path, Sandbox(job_queued=0.1, job_executing=0.4)) as made:
        yield made


@pytest.fixture(scope="session")
def site_in() -> Callable[..., Any]:
    """Makes a site where and for as long as a test's own fixture wants it."""
    return a_site
