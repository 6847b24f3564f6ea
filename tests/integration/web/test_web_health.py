"""/healthz, /readyz and /metrics, and which address serves what."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from prometheus_client.parser import text_string_to_metric_families

from provisioner.app import surfaces
from provisioner.delivery import DeliveryState
from provisioner.engine import pauses
from provisioner.errors import NotSent, StoreUnavailable
from provisioner.operation import Kind
from provisioner.operations import brakes
from provisioner.store.verbs import Verbs
from provisioner.web import Side, create_app
from provisioner.web.health import StoreProbe

PUBLIC = {("POST", "/webhooks/shop"), ("POST", "/queries/shop")}
OF_ADMINS = {("GET", "/api/operations"), ("GET", "/openapi.json"), ("GET", "/metrics")}
OF_BOTH = {("GET", "/healthz"), ("GET", "/readyz")}


def samples(stage: Any) -> dict[tuple[str, str], float]:
    text = stage.get("/metrics").text
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("side", "served"),
    [
        (Side.ALL, PUBLIC | OF_ADMINS | OF_BOTH),
        (Side.PUBLIC, PUBLIC | OF_BOTH),
        (Side.ADMIN, OF_ADMINS | OF_BOTH),
    ],
)
def test_address_serves_its_side(stage: Any, side: Side, served: set[tuple[str, str]]) -> None:
    client = stage.client_of(side)
    found = {
        (method, path)
        for method, path in PUBLIC | OF_ADMINS | OF_BOTH
        if client.open(path, method=method).status_code != 404
    }
    assert found == served


@pytest.mark.parametrize(("age_s", "status"), [(0.0, 200), (60.0, 200), (60.1, 503)])
def test_late_tick_is_unhealthy(stage: Any, age_s: float, status: int) -> None:
    surfaces = replace(stage.surfaces, tick_age_s=lambda: age_s)
    answer = create_app(surfaces).test_client().get("/healthz")
    assert (answer.status_code, answer.json) == (status, {"ok": status == 200, "tick_age_s": age_s})


def test_ready_without_warnings(stage: Any) -> None:
    answer = stage.client.get("/readyz")
    assert (answer.status_code, answer.json) == (200, {"ready": True, "warnings": []})


def test_warnings_say_what_stands_still(stage: Any) -> None:
    def stop(record: Any) -> None:
        for name in (pauses.BY_PERSON, pauses.TOKEN_REFUSED, pauses.RECOVERING):
            pauses.begin(record.verbs, name, {"reason": "canary"}, record.now)
        record.verbs.set_fact(brakes.tripped_fact(Kind.TERMINATE), record.now, record.now)

    stage.record(stop)
    answer = stage.client.get("/readyz")
    assert answer.status_code == 200
    assert [warning.partition(":")[0] for warning in answer.json["warnings"]] == [
        "upstream_paused",
        "upstream_token_refused",
        "recovering",
        "brake_tripped",
    ]
    assert "terminate" in answer.json["warnings"][3]
    assert "canary" not in answer.text


class Disk:
    """A store whose disk may be full; counts what was tried."""

    def __init__(self) -> None:
        self.full = False
        self.tries = 0

    def write(self, unit: object) -> None:
        self.tries += 1
        if self.full:
            raise StoreUnavailable("the store cannot be written: the disk is full")


def test_unwritable_store_is_not_ready(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk()
    disk.full = True
    monkeypatch.setattr(stage.app.store, "write", disk.write)
    answer = stage.client.get("/readyz")
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "store_unavailable")
    assert "disk is full" in answer.json["error"]["message"]


@pytest.mark.parametrize(("every_s", "tries"), [(60.0, 1), (0.0, 3)])
def test_probe_writes_now_and_then(stage: Any, every_s: float, tries: int) -> None:
    disk = Disk()
    probe = StoreProbe(replace(stage.surfaces, store=disk), every_s)
    problems = [probe.problem() for _ in range(2)]
    disk.full = True
    assert problems == [None, None]
    assert (probe.problem() is None) == (tries == 1)
    assert disk.tries == tries


def test_slow_store_holds_up_one_caller(stage: Any) -> None:
    """Anybody may ask: a store that hangs must not take every thread with it."""
    asked, go = threading.Event(), threading.Event()

    class Hanging:
        hangs = False

        def write(self, unit: object) -> None:
            if self.hangs:
                asked.set()
                assert go.wait(60)

    store = Hanging()
    probe = StoreProbe(replace(stage.surfaces, store=store), every_s=0)
    assert probe.problem() is None
    store.hangs = True
    held_up = threading.Thread(target=probe.problem)
    held_up.start()
    assert asked.wait(60)
    assert probe.problem() is None
    go.set()
    held_up.join()


def test_metrics_count_by_state(stage: Any) -> None:
    stage.failed("1")
    stage.order("2", hostname=None)
    stage.event("service.suspend", {"service_id": "nosuch"})
    stage.client.post("/webhooks/nosuch")
    counted = samples(stage)
    assert counted["provisioner_operations", "failed"] == 1
    assert counted["provisioner_operations", "queued"] == 1
    assert counted["provisioner_operations", "held"] == 0
    assert counted["provisioner_services", "pending"] == 1
    assert counted["provisioner_services", "failed"] == 1
    assert counted["provisioner_deliveries", "waiting"] == 1
    assert counted["provisioner_webhook_answers_total", "shop,202"] == 2
    assert counted["provisioner_webhook_answers_total", "shop,422"] == 1
    assert counted["provisioner_webhook_answers_total", ",404"] == 1


def test_metrics_tell_what_is_late(stage: Any) -> None:
    stage.failed("1")  # holds back what follows it, so that this is not late
    stage.event("service.suspend", {"service_id": "1"})
    stage.clock.ms += 7000
    assert samples(stage)["provisioner_oldest_due_operation_seconds", ""] == 0
    stage.order("2", hostname=None)
    stage.clock.ms += 5000
    late = samples(stage)
    assert late["provisioner_oldest_due_operation_seconds", ""] == 5
    assert late["provisioner_oldest_due_delivery_seconds", ""] == 12
    assert late["provisioner_tick_age_seconds", ""] < 60


def test_metrics_tell_a_pause(stage: Any) -> None:
    assert samples(stage)["provisioner_upstream_paused", ""] == 0
    stage.post("/api/pause")
    assert samples(stage)["provisioner_upstream_paused", ""] == 1


def test_metrics_hold_no_ids(stage: Any) -> None:
    stage.order("canary-service")
    text = stage.get("/metrics").text
    assert "canary" not in text
    assert "op_" not in text


def test_what_the_public_side_counts_is_shown_on_the_other(stage: Any) -> None:
    stage.client = stage.client_of(Side.PUBLIC)
    stage.order("1")
    shown = stage.client_of(Side.ADMIN).get("/metrics").text
    assert 'webhook_answers_total{billing="shop",status="202"} 1.0' in shown


def test_two_services_share_no_metrics(stages: Any) -> None:
    stages().order("1")
    assert "webhook_answers_total{" not in stages().get("/metrics").text


def test_address_that_takes_no_message_is_a_warning(stage: Any) -> None:
    class Away:
        addresses = ("1 (mailto)",)

        def send(self, address: str, message: object) -> None:
            raise NotSent("it could not be reached")

    stage.app.alerts.notify = Away()
    stage.held(code="config_differs")
    stage.app.alerts.look()
    stage.app.alerts.tell()
    [warning] = stage.client.get("/readyz").json["warnings"]
    assert warning.startswith("alerts_not_sent: address 1 (mailto)")
    assert samples(stage)["provisioner_alert_messages_waiting", ""] == 1
    assert samples(stage)["provisioner_alert_messages_total", "failed"] == 1
    assert samples(stage)["provisioner_alerts", "held"] == 1


def test_password_that_no_key_opens_is_a_warning_until_it_is_delivered(world: Any) -> None:
    """Each node says it of its own keys: another may have delivered it meanwhile."""
    (key,) = world.tables["security"]["encryption_keys"]
    client = create_app(surfaces(world.app)).test_client()
    world.billing.answer_with(503)
    orders = [world.order(service_id) for service_id in ("1001", "1002")]
    world.run(30)
    assert client.get("/readyz").json["warnings"] == []
    world.app.vault.take([Fernet.generate_key().decode()])
    world.run(600)
    [warning] = client.get("/readyz").json["warnings"]
    assert warning.startswith("secrets_unreadable: no key here opens the passwords of 2 deliveries")

    world.app.store.write(lambda verbs: give_up(verbs, orders[0]))
    [warning] = client.get("/readyz").json["warnings"]
    assert " of 1 deliveries" in warning
    world.app.vault.take([key])
    world.billing.answer_with(503)
    world.run(600)
    assert client.get("/readyz").json["warnings"] == []


def give_up(verbs: Verbs, operation: str) -> None:
    """As another node does when its time is over."""
    (delivery,) = verbs.deliveries_of_operation(operation)
    verbs.save_delivery(replace(delivery, state=DeliveryState.GIVEN_UP), fence=delivery.claims)


@pytest.mark.parametrize(
    ("server", "side", "status"),
    [
        ({"listen": "127.0.0.1:0"}, Side.ALL, 200),
        ({"listen": "[::1]:0"}, Side.ALL, 200),
        ({"listen": "localhost:0"}, Side.ALL, 200),
        ({"listen": "0.0.0.0:0"}, Side.ALL, 401),
        ({"listen": "[::]:0"}, Side.ALL, 401),
        ({"listen": "provision.example.com:0"}, Side.ALL, 401),
        ({"listen": "0.0.0.0:0", "admin_listen": "0.0.0.0:1"}, Side.ADMIN, 200),
    ],
)
def test_metrics_in_public_need_a_token(stages: Any, server: dict[str, str], side: Side, status: int) -> None:
    stage = stages(server=server)
    client = stage.client_of(side)
    assert client.get("/metrics").status_code == status
    headers = {"Authorization": "Bearer rudi-token-0123456789"}
    assert client.get("/metrics", headers=headers).status_code == 200


def test_unreadable_store_is_said(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(unit: object) -> None:
        raise StoreUnavailable("the store cannot be read")

    monkeypatch.setattr(stage.app.store, "read", broken)
    assert stage.get("/metrics").status_code == 503
