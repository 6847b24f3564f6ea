"""A billing system behind a wall: it fetches from a real process, which is killed in between."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime
from typing import Any

from standardwebhooks.webhooks import Webhook

from provisioner.config import load


def pull(site: Any, *ack: str) -> list[dict[str, Any]]:
    """Fetches as a drop-in does, signed by the PyPI library standardwebhooks."""
    settings = load(site.config, {})
    raw = json.dumps({"type": "deliveries.pull", "data": {"ack": ack}})
    now = datetime.now(UTC)
    headers = {
        "content-type": "application/json",
        "webhook-id": "pull",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(settings.billing["shop"].secrets[0].get_secret_value()).sign(
            "pull", now, raw
        ),
    }
    address = f"http://{settings.server.listen}/queries/shop"
    request = urllib.request.Request(address, raw.encode(), headers)
    with urllib.request.urlopen(request, timeout=90) as answer:
        items: list[dict[str, Any]] = json.load(answer)["items"]
        return items


def test_order_is_fetched_through_a_kill(site: Any, eventually: Any) -> None:
    site.replace_setting('platform = "standard"', 'platform = "whmcs"\ndeliver = "pull"')
    (callback,) = [line for line in site.config.read_text().splitlines() if line.startswith("callback_url")]
    site.replace_setting(f"{callback}\n", "")
    first = site.serve()
    status, answer = site.send("order.paid", "1001", "plan=vps-s")
    assert status == 202
    (item,) = eventually(lambda: pull(site))
    (vm,) = site.sandbox.state()["vms"]
    operation = json.loads(answer)["operation"]
    assert (item["data"]["operation"], item["data"]["password"]) == (operation, vm["password"])
    first.kill()
    first.wait()

    second = site.serve()
    assert pull(site) == [item]
    assert pull(site, item["id"]) == []
    shown = json.loads(site.run("operations", "show", operation, "--json").stdout)
    assert shown["state"] == "succeeded"
    second.terminate()
    assert second.wait(90) == 0
    assert site.shop.deliveries == []
    for file in site.config.parent.iterdir():  # the log among them
        assert vm["password"].encode() not in file.read_bytes(), file.name
