"""`/api/services`: lists, one with its operations, and an admin's actions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from provisioner.operation import State
from provisioner.service import ServiceStatus, Spec

ODD_IDS = ["a b", "100%", "%2e", "ünï✓", "x" * 255, "a+b", "a?b#c", "a&b=c", "-", "'\"<>", "😀"]


def listed(stage: Any, **query: Any) -> list[str]:
    answer = stage.get("/api/services", **query)
    assert answer.status_code == 200, answer.text
    return [item["service_id"] for item in answer.json["items"]]


def change(stage: Any, service_id: str, **fields: Any) -> None:
    stage.record(
        lambda record: record.verbs.save_service(replace(record.verbs.service("shop", service_id), **fields))
    )


def act(stage: Any, body: Any, service_id: str = "1001", billing: str = "shop") -> Any:
    return stage.post(f"/api/services/{billing}/{quote(service_id, safe='')}/actions", body)


def test_service_shows_all_that_is_known(stage: Any) -> None:
    operation = stage.order("1001", hostname=None)
    change(
        stage,
        "1001",
        status=ServiceStatus.SUSPENDED,
        vmid=4001,
        ips=("192.0.2.10", "2001:db8::1"),
        ips_complete=True,
        spec=Spec("Debian10.0", 1, 1024, "10G", 2),
        suspend_reason="unpaid",
        locked=True,
    )
    answer = stage.get("/api/services/shop/1001").json
    operations = answer.pop("operations")
    assert answer == {
        "billing": "shop",
        "service_id": "1001",
        "status": "suspended",
        "plan": "vps-s",
        "vmid": 4001,
        "ips": ["192.0.2.10", "2001:db8::1"],
        "ips_complete": True,
        "hostname": None,
        "client_id": "7",
        "spec": {"template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 2},
        "suspend_reason": "unpaid",
        "locked": True,
        "created_at": "2027-01-15T08:00:00.000Z",
        "updated_at": "2027-01-15T08:00:00.000Z",
    }
    assert [shown["id"] for shown in operations] == [operation]
    assert stage.get("/api/services").json["items"] == [answer]


def test_operations_are_newest_first_and_bounded(stage: Any) -> None:
    first = stage.operation(stage.order("1001", hostname=None))

    def many(record: Any) -> None:
        for number in range(120):
            record.verbs.add_operation(replace(first, id=f"op_{number}"))

    stage.record(many)
    shown = stage.get("/api/services/shop/1001").json["operations"]
    assert [operation["id"] for operation in shown] == [f"op_{number}" for number in range(119, 19, -1)]


@pytest.mark.parametrize("service_id", ODD_IDS)
def test_odd_ids_are_reached(stage: Any, service_id: str) -> None:
    stage.order(service_id)
    shown = stage.get(f"/api/services/shop/{quote(service_id, safe='')}")
    assert shown.json["service_id"] == service_id
    assert act(stage, {"action": "start"}, service_id).status_code == 202
    assert listed(stage, q=service_id) == [service_id]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("shop/nosuch", 404),
        ("nosuch/1001", 404),
        ("other/1001", 404),
        ("shop/a%2Fb", 404),
        ("shop/%00", 422),
        ("%00/1001", 422),
        ("shop/%ED%A0%80", 404),
        ("shop/" + "x" * 16384, 404),
        ("shop/", 404),
        ("shop", 404),
    ],
)
def test_unknown_service_is_not_found(stage: Any, path: str, status: int) -> None:
    stage.order("1001")
    answer = stage.get(f"/api/services/{path}")
    assert answer.status_code == status
    assert "error" in answer.json


def test_filters_narrow_the_list(stage: Any) -> None:
    for service_id in ("1", "2", "3"):
        stage.order(service_id, hostname=f"web{service_id}.example.com")
    change(stage, "1", vmid=4001, ips=("192.0.2.1",), status=ServiceStatus.ACTIVE)
    change(stage, "2", ips=("192.0.2.11", "2001:db8::1"))
    assert listed(stage, status="active") == ["1"]
    assert listed(stage, vmid=4001) == ["1"]
    assert listed(stage, ip="192.0.2.1") == ["1"]
    assert listed(stage, ip="2001:DB8:0::1") == ["2"]
    assert listed(stage, q="192.0.2.1") == ["2", "1"]
    assert listed(stage, q="WEB3.example") == ["3"]
    assert listed(stage, q="%") == []
    assert listed(stage, q="vps-s", status="pending") == ["3", "2"]
    assert listed(stage, billing="shop", limit=2) == ["3", "2"]
    assert listed(stage, billing="nosuch") == []


@pytest.mark.parametrize(
    "query", ["ip=nosuch", "ip=192.0.2", "status=gone", "vmid=-1", "q=%00", "client=7", "limit=501"]
)
def test_wrong_query_is_refused(stage: Any, query: str) -> None:
    headers = {"Authorization": "Bearer admin-token-0123456789"}
    assert stage.client.get(f"/api/services?{query}", headers=headers).status_code == 422


def test_pages_are_stable_under_writes(stage: Any) -> None:
    for number in range(3):
        stage.order(str(number))
    first = stage.get("/api/services", limit=2).json
    stage.order("late")
    second = stage.get("/api/services", limit=2, cursor=first["next"]).json
    assert [item["service_id"] for item in first["items"] + second["items"]] == ["2", "1", "0"]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"action": "suspend", "reason": "unpaid", "lock": True}, "suspend"),
        ({"action": "unsuspend"}, "unsuspend"),
        ({"action": "terminate", "immediate": True}, "terminate"),
        ({"action": "change", "options": {"mem": 2048}}, "change"),
        ({"action": "reboot"}, "reboot"),
        ({"action": "reinstall", "template": None}, "reinstall"),
        ({"action": "set_rdns", "ip": "192.0.2.1", "hostname": "a.example.com"}, "set_rdns"),
        ({"action": "restore", "backup": 1_700_000_000}, "restore"),
        ({"action": "create", "plan": "vps-m"}, "create"),
    ],
)
def test_action_queues_an_operation(stage: Any, body: dict[str, Any], kind: str) -> None:
    stage.order("1001", hostname=None)
    answer = act(stage, body)
    assert answer.status_code == 202
    assert set(answer.json) == {"operation"}
    assert stage.operation(answer.json["operation"]).kind == kind


def test_create_makes_a_new_service(stage: Any) -> None:
    assert act(stage, {"action": "create", "plan": "vps-s"}, "new").status_code == 202
    assert stage.get("/api/services/shop/new").json["status"] == "pending"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (None, 422, "invalid_field"),
        ({}, 422, "invalid_field"),
        ({"action": "order.paid"}, 422, "invalid_field"),
        ({"action": ""}, 422, "invalid_field"),
        ({"action": 7}, 422, "invalid_field"),
        ({"action": ["start"]}, 422, "invalid_field"),
        ({"action": "start", "force": True}, 422, "invalid_field"),
        ({"action": "suspend", "force": "true"}, 422, "invalid_field"),
        ({"action": "suspend", "reason": "\0"}, 422, "invalid_field"),
        ({"action": "suspend", "reason": "\ud800"}, 422, "invalid_field"),
        ({"action": "suspend", "\ud800": 1}, 422, "invalid_field"),
        ({"action": "change"}, 422, "invalid_field"),
        ({"action": "change", "options": {"memory": 1}}, 422, "invalid_field"),
        ({"action": "change", "options": {"mem": 8193}}, 422, "over_max"),
        ({"action": "change", "plan": "nosuch"}, 422, "unknown_plan"),
        ({"action": "set_rdns", "ip": "nosuch", "hostname": "a.example.com"}, 422, "invalid_field"),
    ],
)
def test_wrong_action_is_refused(stage: Any, body: Any, status: int, code: str) -> None:
    stage.order("1001", hostname=None)
    answer = act(stage, body)
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert stage.count("operations") == 1


@pytest.mark.parametrize(
    ("billing", "service_id", "body", "status", "code"),
    [
        ("nosuch", "1001", {"action": "start"}, 404, "not_found"),
        ("shop", "nosuch", {"action": "start"}, 404, "unknown_service"),
        ("shop", "x" * 256, {"action": "create", "plan": "vps-s"}, 422, "invalid_field"),
        ("shop", "\u200b", {"action": "create", "plan": "vps-s"}, 422, "invalid_field"),
        ("shop", "\0", {"action": "create", "plan": "vps-s"}, 422, "invalid_field"),
    ],
)
def test_action_needs_a_service(
    stage: Any, billing: str, service_id: str, body: dict[str, Any], status: int, code: str
) -> None:
    answer = act(stage, body, service_id, billing)
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert stage.count("services") == 0


def test_admin_lifts_a_lock(stage: Any) -> None:
    """By the same door as an event, but not as a billing system: its unsuspend would fail as `locked`."""
    stage.order("1001", hostname=None)
    change(stage, "1001", locked=True, status=ServiceStatus.SUSPENDED, vmid=4001)
    stage.event("service.terminate", {"service_id": "1001"})
    answer = act(stage, {"action": "unsuspend"})
    assert stage.get(f"/api/operations/{answer.json['operation']}").json["state"] == "queued"


HEADER = "billing,service_id,vmid,plan"


def linked_service(stage: Any, service_id: str = "1001") -> None:
    """A service that has a VM, and nothing under way."""
    running = stage.running(stage.order(service_id, hostname=None))
    spec = Spec("Debian10.0", 1, 1024, "10G", 1)
    change(stage, service_id, status=ServiceStatus.ACTIVE, vmid=4001, spec=spec)
    delivering = stage.record(lambda record: record.move(running, State.DELIVERING, "done"))
    stage.record(lambda record: record.move(delivering, State.SUCCEEDED, "succeeded"))


def test_unlink_answers_what_is_left(stage: Any) -> None:
    linked_service(stage)
    dry = stage.post("/api/services/shop/1001/unlink", {"dry_run": True})
    assert (dry.status_code, dry.json["vmid"], dry.json["service"]["vmid"]) == (200, 4001, None)
    assert stage.get("/api/services/shop/1001").json["vmid"] == 4001
    done = stage.post("/api/services/shop/1001/unlink", {"reason": "sold"}).json
    assert done == {**dry.json, "service": {**done["service"]}}
    assert stage.get("/api/services/shop/1001").json["status"] == "pending"
    assert stage.post("/api/services/shop/1001/unlink").status_code == 409
    assert stage.post("/api/services/shop/9/unlink").status_code == 404


def test_move_answers_both_sides(stage: Any) -> None:
    linked_service(stage)
    dry = stage.post("/api/services/shop/1001/move", {"service_id": "7", "dry_run": True}).json
    assert (dry["service"]["service_id"], dry["service"]["vmid"], dry["operation"]) == ("7", 4001, None)
    assert stage.get("/api/services/shop/7").status_code == 404
    done = stage.post("/api/services/shop/1001/move", {"service_id": 7, "billing": "other"}).json
    left, service = done["left"], done["service"]
    assert (left["vmid"], service["billing"], service["vmid"]) == (None, "other", 4001)
    told = stage.get(f"/api/operations/{done['operation']}").json
    assert (told["kind"], told["state"], told["actor"]) == ("link", "delivering", "admin:admin")
    assert [one["type"] for one in told["deliveries"]] == ["service.provisioned"]


MOVES: list[tuple[dict[str, Any], int]] = [
    ({}, 422),
    ({"service_id": ""}, 422),
    ({"service_id": "a/b"}, 422),
    ({"service_id": "1001"}, 422),
    ({"service_id": "7", "billing": "elsewhere"}, 404),
    ({"service_id": "8"}, 409),
]


@pytest.mark.parametrize(("body", "status"), MOVES)
def test_wrong_move_is_refused(stage: Any, body: dict[str, Any], status: int) -> None:
    linked_service(stage)
    stage.order("8")
    assert stage.post("/api/services/shop/1001/move", body).status_code == status
    assert stage.get("/api/services/shop/1001").json["vmid"] == 4001


FILES: list[tuple[Any, str]] = [
    (None, "file is missing"),
    (7, "file must be a CSV"),
    ("", "the file is empty"),
    ("plan\n", "missing: billing"),
    (HEADER, "nothing below it"),
    (f"{HEADER}\nshop,1,1,\0", "file must be a CSV"),
    ("x" * 500_001, "more than 500000 characters"),
]


@pytest.mark.parametrize(("file", "words"), FILES, ids=[words for _, words in FILES])
def test_what_is_no_file_is_refused(stage: Any, file: Any, words: str) -> None:
    answer = stage.post("/api/services/import", {"file": file})
    assert (answer.status_code, answer.json["error"]["code"]) == (422, "invalid_field")
    assert words in answer.json["error"]["message"]


def test_absent_upstream_is_502(stage: Any) -> None:
    answer = stage.post("/api/services/import", {"file": f"{HEADER}\nshop,1,1,vps-s\n"})
    assert answer.status_code == 502
    assert stage.count("services") == 0


def test_import_body_is_bounded(stage: Any) -> None:
    assert stage.post("/api/services/import", {"file": "x" * (1 << 20)}).status_code == 413
    assert stage.post("/api/services/shop/1/move", {"reason": "x" * (1 << 17)}).status_code == 413
