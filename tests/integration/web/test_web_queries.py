"""`POST /queries/<billing>`: signed like events, answered at once, nothing changes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from provisioner import __version__
from provisioner.errors import StoreUnavailable
from provisioner.event_models import QUERIES
from provisioner.operation import State
from provisioner.service import ServiceStatus, Spec

QUERY = "/queries/shop"
PING = json.dumps({"type": "ping", "data": {}}).encode()
LARGE = b'{"type": "ping", "data": {"x": "' + b"x" * (256 * 1024) + b'"}}'
FOREIGN_SECRET = "whsec_" + "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg="
SPEC = Spec("Debian10.0", 1, 1024, "10G", 1)

# Each row is wrong in its own way and in all the ways that are judged after it.
ROWS: list[tuple[str, dict[str, Any], int, str]] = [
    ("/queries/nosuch", {"raw": LARGE}, 404, "not_found"),
    (QUERY, {"raw": LARGE, "content_type": "text/plain"}, 413, "too_large"),
    (QUERY, {"raw": b"[", "content_type": "text/plain"}, 415, "unsupported_media_type"),
    (QUERY, {"raw": b"[", "secret": FOREIGN_SECRET}, 401, "unauthorized"),
    (QUERY, {"raw": b"["}, 400, "malformed"),
    (
        QUERY,
        {"raw": b'{"type": "x", "data": {}, "source": {"installation": "staging"}}'},
        403,
        "unknown_installation",
    ),
    (QUERY, {"raw": b'{"type": "x", "data": {}}'}, 422, "unknown_type"),
]


@pytest.mark.parametrize(("path", "message", "status", "code"), ROWS)
def test_refusals_come_in_order(
    stage: Any, path: str, message: dict[str, Any], status: int, code: str
) -> None:
    stage.query("ping", source={"installation": "production"})
    answer = stage.send(path, **message)
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert stage.count("events") == 0


def test_every_query_that_is_documented_is_answered(stage: Any) -> None:
    stage.order("1001")
    for kind in QUERIES:
        answer = stage.query(kind, {"service_id": "1001"})
        assert answer.status_code == 200, (kind, answer.text)


def test_link_to_the_panel_is_for_services_that_are_known(stage: Any) -> None:
    stage.order("1001")
    answer = stage.query("panel.link", {"service_id": "1001"})
    assert answer.json["url"].startswith("http://127.0.0.1:8080/panel/")
    assert answer.json["expires_at"] == "2027-01-15T08:02:00.000Z"
    for billing, service_id in (("shop", "1002"), ("other", "1001")):
        refused = stage.query("panel.link", {"service_id": service_id}, billing=billing)
        assert (refused.status_code, refused.json["error"]["code"]) == (422, "unknown_service")


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("service.show", {}),
        ("service.show", {"service_id": "a/b"}),
        ("service.show", {"service_id": "\0"}),
        ("services.list", {"cursor": "not a cursor"}),
        ("services.list", {"cursor": 7}),
        ("deliveries.pull", {"ack": "msg_1"}),
        ("deliveries.pull", {"ack": [1]}),
        ("deliveries.pull", {"ack": ["msg_1"] * 1001}),
    ],
)
def test_wrong_fields_are_refused(stage: Any, kind: str, data: dict[str, Any]) -> None:
    answer = stage.query(kind, data)
    assert (answer.status_code, answer.json["error"]["code"]) == (422, "invalid_field")


def test_same_query_may_come_again(stage: Any) -> None:
    answers = [stage.send(QUERY, PING, webhook_id="same") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.parametrize("sent_at_s", [1_800_000_000 - 120, 1_800_000_000, 1_800_000_000 + 7])
def test_ping_tells_the_clock_skew(stage: Any, sent_at_s: int) -> None:
    stage.clock.ms += 250
    answer = stage.send(QUERY, PING, at_s=sent_at_s)
    assert answer.json == {
        "ok": True,
        "version": __version__,
        "clock_skew": 1_800_000_000.25 - sent_at_s,
        "drop_in": {"minimum": "0.1.0", "newest": "0.2.0"},
    }


def test_plans_are_those_for_sale(stage: Any) -> None:
    every, own = stage.query("plans.list").json, stage.query("plans.list", billing="other").json
    assert [plan["name"] for plan in every["items"]] == ["vps-s", "vps-m"]
    assert own["items"] == [
        {
            "name": "vps-m", "label": "vps-m", "template": "Debian10.0", "cpu_cores": 2, "mem": 2048,
            "disk": "20G", "ip_count": 1, "templates": ["Debian10.0", "Ubuntu20.04"], "max": {},
            "disk_shrink": "refuse",
        }
    ]  # fmt: skip
    assert every["items"][0]["max"] == {"mem": 8192}


def test_templates_are_those_last_seen(stage: Any) -> None:
    assert stage.query("templates.list").json == {"items": []}
    seen = {"items": ["Debian10.0", "Ubuntu20.04"], "at": stage.clock.ms}
    stage.record(lambda record: record.verbs.set_fact("templates", seen, record.now))
    assert stage.query("templates.list").json == {
        "items": [
            {"name": "Debian10.0", "label": "Debian 10"},
            {"name": "Ubuntu20.04", "label": "Ubuntu20.04"},
        ]
    }


def test_service_shows_what_is_done(stage: Any) -> None:
    running = stage.running(stage.order("1001"))
    stage.record(
        lambda record: record.verbs.save_operation(
            replace(running, memo={"progress": 0.25, "internal": "x"}), running.claims
        )
    )
    answer = stage.query("service.show", {"service_id": "1001"})
    assert answer.json == {
        "service_id": "1001",
        "status": "pending",
        "vmid": None,
        "ips": [],
        "hostname": "web1.example.com",
        "plan": "vps-s",
        "spec": None,
        "operation": {
            "kind": "create",
            "state": "running",
            "progress": 0.25,
            "message": "Your server is being set up.",
        },
    }


def test_service_shows_its_server(stage: Any) -> None:
    operation = stage.running(stage.order("1001"))

    def made(record: Any) -> None:
        service = record.verbs.service("shop", "1001")
        record.verbs.save_service(
            replace(service, status=ServiceStatus.ACTIVE, vmid=4001, ips=("192.0.2.10",), spec=SPEC)
        )
        record.cancel(record.verbs.operations_of_service("shop", "1001")[1], "cancelled", "Not wanted.")
        record.move(operation, State.DELIVERING, "done")

    stage.record(made)
    answer = stage.query("service.show", {"service_id": "1001"}).json
    assert (answer["status"], answer["vmid"], answer["ips"]) == ("active", 4001, ["192.0.2.10"])
    assert answer["spec"] == {
        "template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1,
    }  # fmt: skip
    assert answer["operation"]["message"] == "Not wanted."


def test_failure_is_told_in_public_words(stage: Any) -> None:
    stage.failed("1001")
    shown = stage.query("service.show", {"service_id": "1001"}).json["operation"]
    assert (shown["state"], shown["message"]) == ("failed", "It could not be made.")


def test_other_systems_services_are_unknown(stage: Any) -> None:
    stage.order("1001")
    answer = stage.query("service.show", {"service_id": "1001"}, billing="other")
    assert (answer.status_code, answer.json["error"]["code"]) == (422, "unknown_service")
    assert stage.query("services.list", billing="other").json == {"items": [], "next": None}


def test_services_come_in_pages(stage: Any) -> None:
    def many(record: Any) -> None:
        first = record.verbs.service("shop", "0")
        for number in range(1, 205):
            record.verbs.add_service(replace(first, service_id=str(number)))

    stage.order("0")
    stage.record(many)
    seen: list[str] = []
    cursor: str | None = None
    sizes = []
    for _ in range(3):
        page = stage.query("services.list", {"cursor": cursor}).json
        seen += [item["service_id"] for item in page["items"]]
        sizes.append(len(page["items"]))
        cursor = page["next"]
    assert (sizes, cursor) == ([100, 100, 5], None)
    assert seen == [str(number) for number in range(204, -1, -1)]


def test_line_has_what_is_documented(stage: Any) -> None:
    stage.order("1001")
    assert stage.query("services.list").json["items"] == [
        {
            "service_id": "1001", "vmid": None, "ips": [], "hostname": "web1.example.com", "plan": "vps-s",
            "status": "pending", "created_at": "2027-01-15T08:00:00.000Z",
        }
    ]  # fmt: skip


def test_unavailable_store_is_said(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(unit: object) -> None:
        raise StoreUnavailable("the store cannot be read")

    monkeypatch.setattr(stage.app.store, "read", broken)
    answer = stage.query("templates.list")
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
