"""One installation in real processes: a served service between a sandbox in a process of its own and a shop.

The shop is in this process; it answers at once.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, Any

import psutil

from provisioner.config import fresh_secrets, starter
from provisioner.sandbox import BillingStub, SandboxClient
from provisioner.signing import sign
from tests.ports import free_port

PATIENCE_S = 30.0
SENDERS = 16  # keep-alive connections over which orders are sent


class Installation:
    """Sends orders to a running service and says what became of them.

    :param address: where the service listens, host:port.
    """

    def __init__(
        self, address: str, shop: BillingStub, sandbox: SandboxClient, secret: str, token: str
    ) -> None:
        self.shop = shop
        self.sandbox = sandbox
        self._address = address
        self._secret = secret
        self._token = token
        self.processes: dict[str, psutil.Process] = {}

    def order(self, service_id: str, connection: http.client.HTTPConnection | None = None) -> float:
        """Sends one paid order; returns when it was sent, seconds since the epoch."""
        event = {"type": "order.paid", "data": {"service_id": service_id, "plan": "vps-s"}}
        body, sent_at = json.dumps(event).encode(), time.time()
        headers = sign([self._secret], f"order-{service_id}", int(sent_at), body)
        self._post("/webhooks/shop", body, dict(headers), connection)
        return sent_at

    def orders(self, service_ids: list[str]) -> None:
        """Sends many, over some connections side by side."""

        def send(mine: list[str]) -> None:
            with closing(self.connection()) as connection:
                for service_id in mine:
                    self.order(service_id, connection)

        threads = [threading.Thread(target=send, args=(service_ids[n::SENDERS],)) for n in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def pause(self) -> None:
        self._admin("/api/pause")

    def resume(self) -> None:
        self._admin("/api/resume")

    def processor_s(self) -> float:
        """The processor time that the service has taken so far, in seconds."""
        times = self.processes["service"].cpu_times()
        return float(times.user + times.system)

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._address, timeout=PATIENCE_S)

    def _admin(self, path: str) -> None:
        self._post(path, b"{}", {"Authorization": f"Bearer {self._token}"})

    def _post(
        self,
        path: str,
        body: bytes,
        headers: dict[str, str],
        connection: http.client.HTTPConnection | None = None,
    ) -> None:
        with ExitStack() as stack:
            line = connection or stack.enter_context(closing(self.connection()))
            line.request("POST", path, body, {"Content-Type": "application/json", **headers})
            answer = line.getresponse()
            said = answer.read()
            assert answer.status < 300, said


@contextmanager
def installed(*, settings: str = "", **sandbox: Any) -> Iterator[Installation]:
    """A running installation with a new store.

    :param settings: TOML that is added to [upstream].
    :param sandbox: the sandbox's settings.
    """
    fresh, address = fresh_secrets(), f"127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        shop = stack.enter_context(BillingStub([fresh.webhook_secret]))
        upstream, said = _started(stack, folder / "sandbox.log", "sandbox", "--port", "0")
        control = SandboxClient(said(r"control API: (\S+)/state"))
        token = control.settings(**sandbox)["token"]
        text = starter(
            fresh, listen=address, public_url=f"http://{address}", callback_url=shop.callback_url,
            upstream_base_url=said(r"reseller API: (\S+)"), upstream_token=token,
        )  # fmt: skip
        config = folder / "config.toml"
        text = text.replace("[upstream]\n", f"[upstream]\n{settings}\n")
        config.write_text(f"{text}\n[safety]\nmax_creates_per_hour = 0\n")
        config.chmod(0o600)
        service, ready = _started(stack, folder / "serve.log", "--config", str(config), "serve")
        ready("is ready")
        made = Installation(address, shop, control, fresh.webhook_secret, fresh.admin_token)
        made.processes = {"service": service, "sandbox": upstream}
        yield made


def _started(stack: ExitStack, log: Path, *words: str) -> tuple[psutil.Process, Callable[[str], str]]:
    """Starts a command, which ends with the stack; beside it comes what waits for words that it says."""
    out: IO[bytes] = stack.enter_context(log.open("wb"))
    process = subprocess.Popen([sys.executable, "-m", "provisioner", *words], stdout=out, stderr=out)
    stack.callback(process.wait, PATIENCE_S)
    stack.callback(process.terminate)

    def said(pattern: str) -> str:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if found := re.search(pattern, log.read_text()):
                return found[found.lastindex or 0]
            time.sleep(0.02)
        raise AssertionError(f"{words} did not say {pattern!r}: {log.read_text()[-2000:]}")

    return psutil.Process(process.pid), said
