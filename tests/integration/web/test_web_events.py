"""`/api/events`: what came in, and judging a rejected one again."""

from __future__ import annotations

import json
from typing import Any

import pytest

ORDER = {"service_id": "1001", "plan": "vps-s"}


def rejected(stage: Any, **data: Any) -> str:
    answer = stage.event("service.suspend", {"service_id": "1001", **data})
    assert answer.status_code == 422
    return str(answer.json["event"])


def test_event_has_these_fields(stage: Any) -> None:
    event = stage.event("order.paid", {"service_id": 7, "plan": "nosuch"}, webhook_id="m-1").json["event"]
    assert stage.get("/api/events").json["items"] == [
        {
            "id": event,
            "billing": "shop",
            "webhook_id": "m-1",
            "type": "order.paid",
            "state": "rejected",
            "service_id": "7",
            "operation": None,
            "code": "unknown_plan",
            "message": "plan 'nosuch' is not in the settings, or not in `plans` of [billing.shop]",
            "received_at": "2027-01-15T08:00:00.000Z",
        }
    ]


def test_one_shows_what_it_said(stage: Any) -> None:
    body = {
        "type": "order.paid",
        "data": {**ORDER, "password": "canary-password", "note": "token: canary-token"},
        "source": {"installation": "here", "actor": {"type": "cron"}},
    }
    answer = stage.send("/webhooks/shop", json.dumps(body).encode())
    shown = stage.get(f"/api/events/{answer.json['event']}")
    assert (shown.json["installation"], shown.json["actor"]) == ("here", "cron")
    assert shown.json["answer"] == answer.json
    assert shown.json["body"]["data"]["plan"] == "vps-s"
    assert "canary" not in shown.text


@pytest.mark.parametrize(
    "raw",
    [
        b'{"type": "\\u0000\\ud800", "data": {"service_id": "\\ud800"}}',
        b'{"type": "order.paid", "data": {"x": 1e400, "y": ' + b"9" * 5000 + b"}}",
        b'{"type": "order.paid", "data": {"\\ud800": ' + b"[" * 30 + b"]" * 30 + b"}}",
    ],
)
def test_odd_event_can_be_shown(stage: Any, raw: bytes) -> None:
    event = stage.send("/webhooks/shop", raw).json["event"]
    shown = stage.get(f"/api/events/{event}")
    assert (shown.status_code, shown.json["state"]) == (200, "rejected")
    assert stage.get("/api/events").json["items"][0]["id"] == event


def test_filters_narrow_the_list(stage: Any) -> None:
    refused = rejected(stage)
    accepted = stage.event("order.paid", ORDER).json["event"]

    def listed(**query: Any) -> list[str]:
        return [item["id"] for item in stage.get("/api/events", **query).json["items"]]

    assert listed() == [accepted, refused]
    assert listed(state="rejected") == [refused]
    assert listed(state="accepted", billing="shop") == [accepted]
    assert listed(billing="other") == []
    assert listed(limit=1) == [accepted]


@pytest.mark.parametrize("query", ["state=nosuch", "type=order.paid", "limit=x", "cursor=x"])
def test_wrong_query_is_refused(stage: Any, query: str) -> None:
    headers = {"Authorization": "Bearer admin-token-0123456789"}
    assert stage.client.get(f"/api/events?{query}", headers=headers).status_code == 422


def test_pages_are_stable_under_writes(stage: Any) -> None:
    made = [rejected(stage, force=bool(number)) for number in range(3)]
    first = stage.get("/api/events", limit=2).json
    rejected(stage)
    second = stage.get("/api/events", limit=2, cursor=first["next"]).json
    assert [item["id"] for item in first["items"] + second["items"]] == made[::-1]


def test_replay_accepts_what_fits_now(stage: Any) -> None:
    event = rejected(stage)
    stage.order("1001", hostname=None)
    answer = stage.post(f"/api/events/{event}/replay")
    assert (answer.status_code, answer.json["event"]) == (202, event)
    assert stage.operation(answer.json["operation"]).kind == "suspend"
    again = stage.post(f"/api/events/{event}/replay")
    assert (again.status_code, again.json["error"]["code"]) == (409, "wrong_state")


def test_replay_refuses_what_does_not(stage: Any) -> None:
    event = rejected(stage)
    answer = stage.post(f"/api/events/{event}/replay")
    assert (answer.status_code, answer.json["error"]["code"]) == (422, "unknown_service")
    assert answer.json["event"] == event


def test_replay_needs_a_trusted_installation(stage: Any) -> None:
    stage.event("order.paid", ORDER, source={"installation": "old"})
    event = stage.event("service.suspend", {"service_id": "1001"}, source={"installation": "new"})
    path = f"/api/events/{event.json['event']}/replay"
    assert stage.post(path).status_code == 403
    stage.post("/api/billing/shop/trust", {"installation": "new"})
    assert stage.post(path).status_code == 202


@pytest.mark.parametrize("name", ["", "/replay"])
def test_unknown_event_is_not_found(stage: Any, name: str) -> None:
    path = f"/api/events/evt_nosuch{name}"
    answer = stage.post(path) if name else stage.get(path)
    assert (answer.status_code, answer.json["error"]["code"]) == (404, "not_found")
