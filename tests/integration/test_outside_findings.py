"""What somebody found who tried the service against the contract alone."""

from __future__ import annotations

import json
from typing import Any

from provisioner.operations import brakes


def test_brake_without_limit_holds_nothing(worlds: Any) -> None:
    world = worlds(safety={"max_creates_per_hour": 1})
    world.done(world.order("1"))
    world.done(world.order("2"))

    def tripped() -> list[str]:
        settings = world.app.settings
        found = world.app.store.read(lambda verbs: brakes.overview(verbs, settings, world.clock()))
        return [brake["kind"] for brake in found if brake["tripped_at"] is not None]

    assert tripped() == ["create"]
    world.tables["safety"]["max_creates_per_hour"] = 0
    world.reopen()
    assert tripped() == []


def test_rejected_event_keeps_its_time(world: Any) -> None:
    body = json.dumps({"type": "order.paid", "data": {"service_id": "1", "plan": "vps-xl"}}).encode()
    rejected = json.loads(world.app.accept.webhook("shop", "later", body).body)["event"]
    received_at = world.app.store.read(lambda verbs: verbs.event(rejected)).received_at
    world.clock.advance(600)
    assert world.app.accept.replay(rejected, "admin:admin").status == 422
    assert world.app.accept.webhook("shop", "later", body).status == 422
    assert world.app.store.read(lambda verbs: verbs.event(rejected)).received_at == received_at
