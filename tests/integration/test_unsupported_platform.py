"""A platform that this version cannot deliver to: events are accepted, the work is done, deliveries wait."""

from __future__ import annotations

import base64
import json
from typing import Any

from provisioner.operation import State


def test_its_orders_are_made_and_its_deliveries_wait(worlds: Any) -> None:
    whmcs = {
        "platform": "whmcs",
        "secrets": ["whsec_" + base64.b64encode(b"w" * 32).decode()],
        "deliver": "pull",
    }
    world = worlds(billing={"whmcs": whmcs})
    body = json.dumps({"type": "order.paid", "data": {"service_id": "7", "plan": "vps-s"}}).encode()
    answer = json.loads(world.app.accept.webhook("whmcs", "evt-whmcs", body).body)
    world.run(120)
    assert len(world.vmids()) == 1
    assert world.operation(answer["operation"]).state is State.DELIVERING
    assert any("cannot deliver to platform 'whmcs'" in line for line in world.timeline(answer["operation"]))
    assert world.done(world.order()).state is State.SUCCEEDED
