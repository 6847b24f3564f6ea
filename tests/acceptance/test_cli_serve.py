"""`serve` as a process of its own, and the other commands beside it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from provisioner.cli.send import event, post
from provisioner.config import fresh_secrets, host_and_port, load, starter
from provisioner.sandbox import BillingStub, Delivery, Sandbox, SandboxServer

PATIENCE_S = 20.0


def eventually(condition: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE_S} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Site:
    """One installation: its settings, a shop, an upstream, and the processes that work on it."""

    def __init__(self, folder: Path, upstream: SandboxServer, shop: BillingStub, settings: str) -> None:
        self.upstream = upstream
        self.shop = shop
        self.config = folder / "config.toml"
        self.config.write_text(settings)
        self.config.chmod(0o600)
        self.said = folder / "said"
        self._started: list[subprocess.Popen[bytes]] = []

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "provisioner", *words, "--config", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    def serve(self) -> subprocess.Popen[bytes]:
        """Starts the service; returns when it says that it is ready."""
        command = [sys.executable, "-m", "provisioner", "--config", str(self.config), "serve"]
        with self.said.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        self._started.append(process)
        eventually(lambda: "is ready" in self.said.read_text() or process.poll() is not None)
        assert process.poll() is None, self.said.read_text()
        return process

    def order(self) -> None:
        """Posts an order as `send` does, without a process of its own."""
        settings = load(self.config, {})
        body = json.dumps(event("order.paid", "1001", ["plan=vps-s"], time.time())).encode()
        status, answer = post(settings, "shop", "order-1", body)
        assert status == 202, answer

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait(PATIENCE_S)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    fresh = fresh_secrets()
    sandbox = Sandbox(job_queued=0.1, job_executing=0.4)
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
        with closing(Site(tmp_path, upstream, shop, settings)) as made:
            yield made


def provisioned(delivery: Delivery) -> bool:
    return delivery.type == "service.provisioned"


def test_paid_order_becomes_a_delivered_vm(site: Site) -> None:
    service = site.serve()
    sent = site.run("send", "order.paid", "1001", "plan=vps-s", "hostname=web1.example.com")
    assert sent.returncode == 0, sent.stderr
    assert set(json.loads(sent.stdout)) == {"event", "operation", "status_url"}
    (delivery,) = site.shop.wait_for(provisioned, PATIENCE_S)
    (vm,) = site.upstream.sandbox.state()["vms"]
    assert (delivery.data["vmid"], delivery.data["password"]) == (vm["vmid"], vm["password"])

    shown = json.loads(site.run("services", "show", "shop", "1001", "--json").stdout)
    assert (shown["status"], shown["vmid"], shown["ips"]) == ("active", vm["vmid"], vm["ips"])
    assert vm["password"] not in site.said.read_text()
    assert service.poll() is None


def test_second_serve_is_wrong_use(site: Site) -> None:
    service = site.serve()
    second = site.run("serve")
    assert second.returncode == 2
    assert "in use by another process" in second.stderr
    assert "Traceback" not in second.stderr
    assert service.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_in_order(site: Site, number: signal.Signals) -> None:
    service = site.serve()
    service.send_signal(number)
    assert service.wait(PATIENCE_S) == 0
    assert "Traceback" not in site.said.read_text()
    assert not site.config.with_name("provisioner.db-wal").exists()


def test_call_under_way_is_finished_first(site: Site) -> None:
    site.upstream.sandbox.settings(hang_jobs=True)
    site.upstream.sandbox.fault(kind="slow_before", method="POST", seconds=1.0)
    service = site.serve()
    site.order()
    eventually(lambda: "POST" in [call["method"] for call in site.upstream.sandbox.calls()])
    service.send_signal(signal.SIGTERM)
    assert service.wait(PATIENCE_S) == 0

    site.upstream.sandbox.settings(hang_jobs=False)
    site.serve()  # an order whose answer was lost would now wait for a person
    site.shop.wait_for(provisioned, PATIENCE_S)
    assert len(site.upstream.sandbox.state()["vms"]) == 1


def test_second_signal_ends_at_once(site: Site) -> None:
    service = site.serve()
    site.upstream.sandbox.fault(kind="slow_before", seconds=20.0)
    site.order()
    eventually(site.upstream.sandbox.calls)
    service.send_signal(signal.SIGTERM)
    eventually(lambda: refuses(site))
    assert service.poll() is None
    service.send_signal(signal.SIGTERM)
    assert service.wait(2.0) == -signal.SIGTERM


def refuses(site: Site) -> bool:
    address = host_and_port(load(site.config, {}).server.listen)
    try:
        socket.create_connection(address, timeout=1.0).close()
    except OSError:
        return True
    return False


def test_commands_reach_the_running_service(site: Site) -> None:
    site.serve()
    assert site.run("pause", "--reason", "maintenance").returncode == 0
    site.order()
    listed = json.loads(site.run("operations", "list", "--json").stdout)["items"]
    assert [(each["kind"], each["state"]) for each in listed] == [("create", "queued")]
    assert not [call for call in site.upstream.sandbox.calls() if call["method"] == "POST"]
    assert site.run("resume").returncode == 0
    site.shop.wait_for(provisioned, PATIENCE_S)


def test_stopped_service_is_said_to_be_so(site: Site) -> None:
    ran = site.run("send", "service.start", "1001")
    assert ran.returncode == 1
    assert "does `provisioner serve` run?" in ran.stderr
