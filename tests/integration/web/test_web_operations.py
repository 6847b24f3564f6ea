"""`/api/operations`: lists, one with its timeline, and what a person does with one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from provisioner.operation import State

WRONG_QUERIES = [
    "limit=0",
    "limit=501",
    "limit=-1",
    "limit=%2B5",
    "limit=1.0",
    "limit=",
    "limit=x",
    "limit=" + "9" * 5000,
    "limit=5&limit=5",
    "cursor=x",
    "cursor=%00",
    "cursor=c2VydmljZXM6MQ",  # of another list
    "cursor=b3BlcmF0aW9uczow",
    "cursor=b3BlcmF0aW9uczoxMA%3D%3D",
    "state=nosuch",
    "kind=order.paid",
    "vmid=x",
    "vmid=0",
    "vmid=9223372036854775808",
    "billing=%00",
    "service_id=" + "x" * 256,
    "unknown=1",
    "%00=1",
]


def listed(stage: Any, **query: Any) -> list[str]:
    answer = stage.get("/api/operations", **query)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json["items"]]


def test_operation_has_these_fields(stage: Any) -> None:
    operation_id = stage.order("1001", hostname=None)
    assert stage.get("/api/operations").json == {
        "items": [
            {
                "id": operation_id,
                "kind": "create",
                "state": "queued",
                "billing": "shop",
                "service_id": "1001",
                "attempts": 0,
                "error": None,
                "job_id": None,
                "vmid": None,
                "actor": "billing:shop",
                "created_at": "2027-01-15T08:00:00.000Z",
                "updated_at": "2027-01-15T08:00:00.000Z",
                "next_run_at": "2027-01-15T08:00:00.000Z",
            }
        ],
        "next": None,
    }


def test_error_is_the_operators(stage: Any) -> None:
    answer = stage.get(f"/api/operations/{stage.failed()}").json
    assert answer["error"] == {"code": "0xb0", "message": "over the limits"}
    assert answer["next_run_at"] is None


@pytest.mark.parametrize(
    ("job_id", "shown"),
    [("", None), ("42", 42), ("042", "042"), ("a-1", "a-1"), ("9" * 30, "9" * 30), ("\u0664", "\u0664")],
)
def test_job_id_is_a_number_where_it_is(stage: Any, job_id: str, shown: object) -> None:
    running = stage.running(stage.order("1001"))
    stage.record(
        lambda record: record.verbs.save_operation(replace(running, job_id=job_id, vmid=4001), running.claims)
    )
    answer = stage.get(f"/api/operations/{running.id}").json
    assert (answer["job_id"], answer["vmid"]) == (shown, 4001)
    assert answer["next_run_at"] is None


def test_one_has_its_history(stage: Any) -> None:
    failed = stage.failed("1001")
    answer = stage.get(f"/api/operations/{failed}").json
    assert [(entry["what"], entry["actor"]) for entry in answer["timeline"]] == [
        ("accepted", "billing:shop"),
        ("claimed", "service"),
        ("failed", "service"),
    ]
    assert answer["timeline"][2]["detail"]["code"] == "0xb0"
    assert [delivery["type"] for delivery in answer["deliveries"]] == ["operation.failed"]
    assert stage.get(f"/api/events/{answer['event']}").json["operation"] == failed


def test_memory_of_steps_stays_inside(stage: Any) -> None:
    running = stage.running(stage.order("1001"))
    changed = replace(
        running,
        memo={"progress": 7, "secret": "canary-memo"},
        args={**running.args, "undo": {"was": "canary-args"}, "replaces": ["canary-args"]},
    )
    stage.record(lambda record: record.verbs.save_operation(changed, running.claims))
    answer = stage.get(f"/api/operations/{running.id}")
    assert "canary" not in answer.text
    assert answer.json["progress"] == 1.0
    assert set(answer.json["args"]) == {"plan", "spec", "hostname", "client_id", "recreate"}


def test_list_is_newest_first(stage: Any) -> None:
    made = [stage.order(str(number), hostname=None) for number in range(3)]
    assert listed(stage) == made[::-1]


def test_pages_are_stable_under_writes(stage: Any) -> None:
    made = [stage.order(str(number), hostname=None) for number in range(5)]
    first = stage.get("/api/operations", limit=2).json
    stage.order("late", hostname=None)
    second = stage.get("/api/operations", limit=2, cursor=first["next"]).json
    last = stage.get("/api/operations", limit=2, cursor=second["next"]).json
    pages = [[item["id"] for item in page["items"]] for page in (first, second, last)]
    assert pages == [made[4:2:-1], made[2:0:-1], [made[0]]]
    assert last["next"] is None


def test_full_last_page_ends_the_list(stage: Any) -> None:
    for number in range(2):
        stage.order(str(number), hostname=None)
    assert stage.get("/api/operations", limit=2).json["next"] is None


def test_hundred_is_the_default(stage: Any) -> None:
    first = stage.operation(stage.order("1", hostname=None))

    def many(record: Any) -> None:
        for number in range(101):
            record.verbs.add_operation(replace(first, id=f"op_{number}"))

    stage.record(many)
    assert len(listed(stage)) == 100
    assert len(listed(stage, limit=500)) == 102


def test_filters_narrow_the_list(stage: Any) -> None:
    failed, held = stage.failed("1"), stage.held("2")
    terminate = stage.event("service.terminate", {"service_id": "2"}).json["operation"]
    known = stage.operation(held)
    stage.record(lambda record: record.verbs.save_operation(replace(known, vmid=4001), known.claims))
    assert listed(stage, state="failed") == [failed]
    assert listed(stage, kind="terminate") == [terminate]
    assert listed(stage, service_id="2", kind="create") == [held]
    assert listed(stage, vmid=4001) == [held]
    assert listed(stage, billing="other") == []
    assert listed(stage, cursor="") == [terminate, held, failed]


@pytest.mark.parametrize("query", WRONG_QUERIES)
def test_wrong_query_is_refused(stage: Any, query: str) -> None:
    headers = {"Authorization": "Bearer admin-token-0123456789"}
    answer = stage.client.get(f"/api/operations?{query}", headers=headers)
    assert (answer.status_code, answer.json["error"]["code"]) == (422, "invalid_field")
    assert len(answer.text) < 400


@pytest.mark.parametrize("name", ["retry", "cancel", "approve", ""])
@pytest.mark.parametrize(("place", "status"), [("op_nosuch", 404), ("%00", 422), ("%FF%FE", 404)])
def test_unknown_operation_is_not_found(stage: Any, name: str, place: str, status: int) -> None:
    path = f"/api/operations/{place}" + (f"/{name}" if name else "")
    answer = stage.post(path) if name else stage.get(path)
    assert answer.status_code == status
    assert answer.json["error"]["message"]


def test_failed_one_is_retried(stage: Any) -> None:
    failed = stage.failed()
    answer = stage.post(f"/api/operations/{failed}/retry")
    assert (answer.status_code, answer.json["state"], answer.json["error"]) == (200, "queued", None)
    assert stage.get(f"/api/operations/{failed}").json["timeline"][-1]["actor"] == "admin:admin"
    again = stage.post(f"/api/operations/{failed}/retry")
    assert (again.status_code, again.json["error"]["code"]) == (409, "wrong_state")


def test_unsent_one_is_cancelled(stage: Any) -> None:
    queued = stage.order("1", hostname=None)
    answer = stage.post(f"/api/operations/{queued}/cancel", {"reason": "by mistake"})
    assert (answer.status_code, answer.json["state"]) == (200, "cancelled")
    assert answer.json["error"]["message"] == "by mistake"
    assert stage.post(f"/api/operations/{queued}/cancel").status_code == 409


def test_sent_create_cannot_be_cancelled(stage: Any) -> None:
    running = stage.running(stage.order("1"))
    stage.record(lambda record: record.move(replace(running, sent=True), State.WAITING, "sent", sent=True))
    answer = stage.post(f"/api/operations/{running.id}/cancel")
    assert (answer.status_code, answer.json["error"]["code"]) == (409, "create_sent")


def test_held_one_is_approved(stage: Any) -> None:
    held = stage.held()
    answer = stage.post(f"/api/operations/{held}/approve", {"reason": "looked at"})
    assert (answer.status_code, answer.json["state"]) == (200, "waiting")
    shown = stage.get(f"/api/operations/{held}").json
    assert shown["approvals"] == ["brake"]
    assert stage.post(f"/api/operations/{held}/approve").status_code == 409


@pytest.mark.parametrize(
    ("code", "body", "status"),
    [
        ("brake", {"choice": "adopt", "vmid": 7}, 422),
        ("brake", {"choice": "send_again"}, 422),
        ("brake", {"vmid": 7}, 422),
        ("brake", {"choice": "nosuch"}, 422),
        ("brake", {"choice": ""}, 422),
        ("brake", {"vmid": "7"}, 422),
        ("brake", {"vmid": True}, 422),
        ("brake", {"choice": None, "vmid": None, "reason": None}, 200),
        ("create_lost", {}, 422),
        ("create_lost", {"choice": "adopt"}, 422),
        ("create_lost", {"choice": "send_again", "vmid": 7}, 422),
        ("create_lost", {"choice": "adopt", "vmid": 7}, 200),
        ("create_lost", {"choice": "not_mine"}, 200),
        ("create_lost", {"choice": "send_again", "reason": "looked at"}, 200),
    ],
)
def test_choice_fits_the_hold(stage: Any, code: str, body: dict[str, Any], status: int) -> None:
    held = stage.held(code=code)
    answer = stage.post(f"/api/operations/{held}/approve", body)
    assert answer.status_code == status, answer.text
    assert (stage.operation(held).state is State.HELD) == (status == 422)


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"{", 400, "malformed"),
        (b"\xff", 400, "malformed"),
        (b'{"reason": NaN}', 400, "malformed"),
        (b"[" * 60_000, 400, "malformed"),
        (b'{"reason": ' + b"9" * 5000 + b"}", 400, "malformed"),
        (b"[]", 422, "invalid_field"),
        (b'"reason"', 422, "invalid_field"),
        (b"null", 422, "invalid_field"),
        (b'{"reason": 7}', 422, "invalid_field"),
        (b'{"reason": 1e400}', 422, "invalid_field"),
        (b'{"reason": "\\u0000"}', 422, "invalid_field"),
        (b'{"reason": "\\ud800"}', 422, "invalid_field"),
        (b'{"\\ud800": "x"}', 422, "invalid_field"),
        (b'{"reason": "' + b"x" * 1001 + b'"}', 422, "invalid_field"),
        (b'{"reasons": "x"}', 422, "invalid_field"),
        (b" " * (64 * 1024 + 1), 413, "too_large"),
        (b" " * ((1 << 20) + 1), 413, "too_large"),
    ],
)
def test_wrong_body_is_refused(stage: Any, raw: bytes, status: int, code: str) -> None:
    held = stage.held()
    headers = {"Authorization": "Bearer admin-token-0123456789"}
    answer = stage.client.post(f"/api/operations/{held}/cancel", data=raw, headers=headers)
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert stage.operation(held).state is State.HELD
    assert len(answer.text) < 400


def test_unknown_field_is_named(stage: Any) -> None:
    answer = stage.post(f"/api/operations/{stage.held()}/cancel", {"reasons": "x"})
    assert answer.json["error"]["message"] == "reasons: no such field; there are reason, dry_run"


@pytest.mark.parametrize("raw", [b"", b"{}", b" {} ", json.dumps({"reason": None}).encode()])
def test_empty_body_is_enough(stage: Any, raw: bytes) -> None:
    headers = {"Authorization": "Bearer admin-token-0123456789"}
    path = f"/api/operations/{stage.held()}/cancel"
    assert stage.client.post(path, data=raw, headers=headers).status_code == 200


def test_post_takes_no_query(stage: Any) -> None:
    held = stage.held()
    headers = {"Authorization": "Bearer admin-token-0123456789"}
    answer = stage.client.post(f"/api/operations/{held}/cancel?reason=x", headers=headers)
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/nosuch", "/api//operations", "/api/operations/", "/api/audit/1"]
)
def test_unknown_path_answers_in_json(stage: Any, path: str) -> None:
    answer = stage.get(path)
    assert (answer.status_code, answer.json["error"]["code"]) == (404, "not_found")


def test_answers_are_kept_nowhere(stage: Any) -> None:
    for path in ("/api/operations", "/api/nosuch"):
        assert stage.get(path).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("verb", "state"), [("retry", "queued"), ("cancel", "cancelled"), ("approve", "waiting")]
)
def test_dry_run_answers_what_would_be_and_keeps_nothing(stage: Any, verb: str, state: str) -> None:
    operation = stage.failed("1") if verb == "retry" else stage.held("1")
    seen = lambda: (stage.get(f"/api/operations/{operation}").json, stage.audit())  # noqa: E731
    before = seen()
    asked = {"dry_run": True, "reason": "to see"}
    answer = stage.post(f"/api/operations/{operation}/{verb}", asked)
    assert (answer.status_code, answer.json["state"]) == (200, state)
    assert seen() == before
    assert stage.post(f"/api/operations/{operation}/{verb}", {"reason": "now"}).json["state"] == state
    refused = stage.post(f"/api/operations/{operation}/approve", asked)
    assert (refused.status_code, refused.json["error"]["code"]) == (409, "wrong_state")
