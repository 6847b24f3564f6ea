"""From a paid order to delivered credentials, with somebody else's signer on both ends."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime
from typing import Any

from standardwebhooks.webhooks import Webhook

from provisioner.config import load


def secret_of(site: Any) -> str:
    return str(load(site.config, {}).billing["shop"].secrets[0].get_secret_value())


def post_signed(site: Any, webhook_id: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Posts an event that the PyPI library standardwebhooks signed."""
    raw = json.dumps(body)
    now = datetime.now(UTC)
    headers = {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret_of(site)).sign(webhook_id, now, raw),
    }
    address = f"http://{load(site.config, {}).server.listen}/webhooks/shop"
    request = urllib.request.Request(address, raw.encode(), headers)
    with urllib.request.urlopen(request, timeout=90) as answer:
        return answer.status, json.load(answer)


def paid(service_id: str) -> dict[str, Any]:
    return {"type": "order.paid", "data": {"service_id": service_id, "plan": "vps-s"}}


def test_order_comes_back_as_credentials(site: Any, eventually: Any) -> None:
    service = site.serve()
    status, first = post_signed(site, "paid-1", paid("1001"))
    assert status == 202
    assert set(first) == {"event", "operation", "status_url"}
    (delivery,) = eventually(lambda: site.deliver_all("service.provisioned"))
    data = Webhook(secret_of(site)).verify(delivery.body, delivery.headers)["data"]
    (vm,) = site.sandbox.state()["vms"]
    assert data == {
        "service_id": "1001",
        "operation": first["operation"],
        "status": "active",
        "vmid": vm["vmid"],
        "ips": vm["ips"],
        "username": "root",
        "password": vm["password"],
        "hostname": None,
        "warnings": [],
    }

    assert post_signed(site, "paid-1", paid("1001")) == (200, first)
    status, second = post_signed(site, "paid-2", paid("1001"))
    assert status == 202
    assert second["operation"] != first["operation"]
    again = eventually(lambda: site.deliver_all("service.provisioned")[1:])
    assert "password" not in again[0].data
    assert len(site.sandbox.state()["vms"]) == 1

    service.terminate()
    assert service.wait(90) == 0
    assert vm["password"] not in site.said.read_text()
    for file in site.config.parent.iterdir():
        assert vm["password"].encode() not in file.read_bytes(), file.name


def test_order_sent_twice_at_once_is_one_operation(site: Any, eventually: Any) -> None:
    site.sandbox.settings(hang_jobs=True)
    site.serve()
    _, first = post_signed(site, "paid-1", paid("1001"))
    _, second = post_signed(site, "paid-2", paid("1001"))
    assert second["operation"] == first["operation"]
    assert second["event"] != first["event"]
    site.sandbox.settings(hang_jobs=False)
    eventually(lambda: site.deliver_all("service.provisioned"))
    assert len(site.sandbox.state()["vms"]) == 1


def test_delivery_waits_for_the_billing_system(site: Any, eventually: Any) -> None:
    site.replace_setting("[upstream]\n", "[retry]\nfirst = 0.2\nmax = 0.5\n\n[upstream]\n")
    site.serve()
    site.shop.answer_with(503, times=2)
    post_signed(site, "paid-1", paid("1001"))
    (delivered,) = eventually(lambda: site.deliver_all("service.provisioned"))
    tries = [one for one in site.shop.deliveries if one.type == "service.provisioned"]
    assert len(tries) == 3
    assert {(one.webhook_id, one.body) for one in tries} == {(delivered.webhook_id, delivered.body)}


def test_refused_token_pauses_and_nothing_fails(site: Any, eventually: Any) -> None:
    site.replace_setting("[upstream]\n", "[upstream]\njob_poll = 0.5\n")
    site.sandbox.settings(token_refused=True)
    site.serve()
    _, answer = post_signed(site, "paid-1", paid("1001"))
    address = f"http://{load(site.config, {}).server.listen}"

    def ready() -> Any:
        with urllib.request.urlopen(f"{address}/readyz", timeout=90) as got:
            return json.load(got)["warnings"]

    (warning,) = eventually(ready)
    assert "token" in warning
    assert "token" in site.said.read_text()
    shown = json.loads(site.run("operations", "show", answer["operation"], "--json").stdout)
    assert shown["state"] == "waiting"
    site.sandbox.settings(token_refused=False)
    eventually(lambda: site.deliver_all("service.provisioned"))
    assert not site.deliver_all("operation.failed")
    assert not eventually(lambda: [ready()])[0]


def test_failed_job_goes_on_by_retry(site: Any, eventually: Any) -> None:
    site.sandbox.settings(max_mem=512)
    site.serve()
    _, answer = post_signed(site, "paid-1", paid("1001"))
    (failed,) = eventually(lambda: site.deliver_all("operation.failed"))
    assert failed.data["error"]["code"] == "0xb0"
    assert failed.data["retryable"] is True
    assert failed.data["status"] == "failed"
    site.sandbox.settings(max_mem=4096)
    assert site.run("operations", "retry", answer["operation"]).returncode == 0
    (done,) = eventually(lambda: site.deliver_all("service.provisioned"))
    assert done.data["operation"] == answer["operation"]
    assert len(site.sandbox.state()["vms"]) == 1
