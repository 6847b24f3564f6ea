"""`serve` as a process of its own, and the other commands beside it."""

from __future__ import annotations

import json
import signal
import socket
from typing import Any

import pytest

from provisioner.config import host_and_port, load
from provisioner.sandbox import Delivery

PATIENCE_S = 90.0


def provisioned(delivery: Delivery) -> bool:
    return delivery.type == "service.provisioned"


def test_paid_order_becomes_a_delivered_vm(site: Any) -> None:
    service = site.serve()
    sent = site.run("send", "order.paid", "1001", "plan=vps-s", "hostname=web1.example.com")
    assert sent.returncode == 0, sent.stderr
    assert set(json.loads(sent.stdout)) == {"event", "operation", "status_url"}
    (delivery,) = site.shop.wait_for(provisioned, PATIENCE_S)
    (vm,) = site.sandbox.state()["vms"]
    assert (delivery.data["vmid"], delivery.data["password"]) == (vm["vmid"], vm["password"])

    shown = json.loads(site.run("services", "show", "shop", "1001", "--json").stdout)
    assert (shown["status"], shown["vmid"], shown["ips"]) == ("active", vm["vmid"], vm["ips"])
    assert vm["password"] not in site.said.read_text()
    assert service.poll() is None


def test_start_is_logged_once_all_is_there(site: Any) -> None:
    site.serve()
    lines = [json.loads(line) for line in site.said.read_text().splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line["event"] == "serving"]
    settings = load(site.config, {})
    assert (line["at"], line["level"]) == ([f"http://{settings.server.listen}"], "info")


def test_second_serve_is_wrong_use(site: Any) -> None:
    service = site.serve()
    second = site.run("serve")
    assert second.returncode == 2
    assert "in use by another process" in second.stderr
    assert "Traceback" not in second.stderr
    assert service.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_in_order(site: Any, number: signal.Signals) -> None:
    service = site.serve()
    service.send_signal(number)
    assert service.wait(PATIENCE_S) == 0
    assert "Traceback" not in site.said.read_text()
    assert not site.config.with_name("provisioner.db-wal").exists()


def test_call_under_way_is_finished_first(site: Any, eventually: Any) -> None:
    site.sandbox.settings(hang_jobs=True)
    site.sandbox.fault(kind="slow_before", method="POST", seconds=1.0)
    service = site.serve()
    site.send("order.paid", "1001", "plan=vps-s")
    eventually(lambda: "POST" in [call["method"] for call in site.sandbox.calls()])
    service.send_signal(signal.SIGTERM)
    assert service.wait(PATIENCE_S) == 0

    site.sandbox.settings(hang_jobs=False)
    site.serve()  # an order whose answer was lost would now wait for a person
    site.shop.wait_for(provisioned, PATIENCE_S)
    assert len(site.sandbox.state()["vms"]) == 1


def test_second_signal_ends_at_once(site: Any, eventually: Any) -> None:
    site.replace_setting("[upstream]\n", "[upstream]\ntimeout = 90\n")
    service = site.serve()
    site.sandbox.fault(kind="slow_before", seconds=80.0)  # which the first signal waits for
    site.send("order.paid", "1001", "plan=vps-s")
    eventually(site.sandbox.calls)
    service.send_signal(signal.SIGTERM)
    eventually(lambda: refuses(site))
    assert service.poll() is None
    service.send_signal(signal.SIGTERM)
    assert service.wait(40.0) == -signal.SIGTERM


def refuses(site: Any) -> bool:
    address = host_and_port(load(site.config, {}).server.listen)
    try:
        socket.create_connection(address, timeout=PATIENCE_S).close()
    except OSError:
        return True
    return False


def test_commands_reach_the_running_service(site: Any) -> None:
    site.serve()
    assert site.run("pause", "--reason", "maintenance").returncode == 0
    site.send("order.paid", "1001", "plan=vps-s")
    listed = json.loads(site.run("operations", "list", "--json").stdout)["items"]
    assert [(each["kind"], each["state"]) for each in listed] == [("create", "queued")]
    assert not [call for call in site.sandbox.calls() if call["method"] == "POST"]
    assert site.run("resume").returncode == 0
    site.shop.wait_for(provisioned, PATIENCE_S)


def test_stopped_service_is_said_to_be_so(site: Any) -> None:
    ran = site.run("send", "service.start", "1001")
    assert ran.returncode == 1
    assert "does `provisioner serve` run?" in ran.stderr
