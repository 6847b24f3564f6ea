"""Who did what, when, from where and why: every call that changes something leaves its line."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from provisioner.engine import pauses
from provisioner.engine.reconcile import Reconcile
from provisioner.operation import Kind
from provisioner.signing import Signer
from provisioner.web import create_app
from provisioner.web.api import calls
from provisioner.web.origin import LOCAL_USER, address_of
from provisioner.web.server import Serving

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS1zaG9wLWZvci10ZXN0cw=="
ANNA, OLGA = "anna-token-0123456789", "olga-token-0123456789"
AT = "2027-01-15T08:00:00.000Z"

# Every call that changes something: an example, its body, and the line that it leaves.
LINES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "/api/operations/{operation}/retry": (
        "/api/operations/{failed}/retry",
        {},
        {"action": "create.retried", "service_id": "3", "operation": "{failed}", "detail": {"code": "0xb0"}},
    ),
    "/api/operations/{operation}/cancel": (
        "/api/operations/{queued}/cancel",
        {},
        {"action": "create.cancelled", "service_id": "5", "detail": {"code": "cancelled"}},
    ),
    "/api/operations/{operation}/approve": (
        "/api/operations/{lost}/approve",
        {"choice": "adopt", "vmid": 77},
        {
            "action": "create.approved",
            "service_id": "7",
            "detail": {"code": "create_lost", "choice": "adopt", "adopted": 77},
        },
    ),
    "/api/services/{billing}/{service_id}/actions": (
        "/api/services/shop/1/actions",
        {"action": "terminate"},
        {"action": "terminate.accepted", "service_id": "1", "vmid": 4711},
    ),
    "/api/services/{billing}/{service_id}/unlink": (
        "/api/services/shop/21/unlink",
        {},
        {"action": "service.unlinked", "service_id": "21", "vmid": 21},
    ),
    "/api/services/{billing}/{service_id}/move": (
        "/api/services/shop/21/move",
        {"service_id": "23"},
        {"action": "service.moved", "service_id": "21", "vmid": 21, "detail": {"to": "shop/23"}},
    ),
    "/api/services/{billing}/{service_id}/erase": (
        "/api/services/shop/22/erase",
        {},
        {"action": "service.erased", "service_id": "22"},
    ),
    "/api/events/{event}/replay": (
        "/api/events/{rejected}/replay",
        {},
        {"action": "event.replayed", "service_id": "99", "detail": {"code": "unknown_plan"}},
    ),
    "/api/reconcile": (
        "/api/reconcile",
        {"fix": True},
        {"action": "upstream.fixed", "detail": {"foreign": 1, "ghosts": 2}},
    ),
    "/api/brakes/{kind}/reset": (
        "/api/brakes/suspend/reset",
        {},
        {"action": "brake.reset", "detail": {"kind": "suspend"}},
    ),
    "/api/pause": ("/api/pause", {}, {"action": "work.paused"}),
    "/api/resume": ("/api/resume", {}, {"action": "work.resumed"}),
    "/api/billing/{name}/trust": (
        "/api/billing/shop/trust",
        {"installation": "new"},
        {
            "action": "installation.trusted",
            "billing": "shop",
            "detail": {"installation": "new", "before": None},
        },
    ),
    "/api/recovery/finish": ("/api/recovery/finish", {}, {"action": "recovery.finished"}),
    "/api/leave": ("/api/leave", {}, {"action": "store.left"}),
    "/api/keys/forget": ("/api/keys/forget", {}, {"action": "keys.forgotten", "detail": {"services": 0}}),
    "/api/keys/rotate": ("/api/keys/rotate", {}, {"action": "keys.rotated", "detail": {"resealed": 0}}),
}

BY_ITS_LINKS = "/api/services/import"  # each link that it has accepted leaves its line


class Account:
    """An upstream account with one VM that nobody here knows."""

    def servers(self) -> frozenset[int]:
        return frozenset({8})


@pytest.fixture
def stage(stage: Any) -> Any:
    """With an upstream that answers; service 1 has VM 4711."""
    reconcile = Reconcile(stage.app.store, Account(), stage.clock)
    stage.client = create_app(replace(stage.surfaces, reconcile=reconcile)).test_client()
    return stage


@pytest.fixture
def places(stage: Any) -> dict[str, str]:
    stage.order("1", hostname=None)
    stage.quiet("21", vmid=21)
    stage.quiet("22")

    def has_vm(record: Any) -> None:
        record.verbs.save_service(replace(record.verbs.service("shop", "1"), vmid=4711))

    stage.record(has_vm)
    value = {"at": 1, "taken_at": 1}
    found = {
        "failed": stage.failed("3"),
        "queued": stage.order("5", hostname=None),
        "lost": stage.held("7", "create_lost"),
        "rejected": stage.event("order.paid", {"service_id": "99", "plan": "nosuch"}).json["event"],
    }
    stage.record(lambda record: pauses.begin(record.verbs, pauses.RECOVERING, value, record.now))
    stage.app.recovery.begin()
    stage.record(lambda record: pauses.begin(record.verbs, pauses.BY_PERSON, {}, record.now))
    return found


def audit(stage: Any, **query: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = stage.get("/api/audit", **query).json["items"]
    return items


def test_every_call_that_changes_something_has_its_line(stage: Any) -> None:
    posts = {call.path for call in calls(stage.surfaces) if call.method == "POST"}
    assert posts - {BY_ITS_LINKS} == set(LINES)


@pytest.mark.parametrize("call", LINES)
def test_command_leaves_its_line(stage: Any, places: dict[str, str], call: str) -> None:
    path, body, expected = LINES[call]
    before = len(audit(stage, limit=500))
    stage.client.environ_base["REMOTE_ADDR"] = "192.0.2.7"
    answer = stage.post(path.format(**places), {**body, "reason": "ticket 12"}, token=OLGA)
    assert answer.status_code in (200, 202, 422), answer.text
    written = audit(stage, limit=500)[: -before or None]
    whence = {(line["actor"], line["address"], line["at"]) for line in written}
    assert whence == {("admin:olga", "192.0.2.7", AT)}
    (line,) = [line for line in written if line["action"] == expected["action"]]
    assert line["reason"] == "ticket 12"
    for name, value in expected.items():
        if name == "detail":
            assert value.items() <= line["detail"].items(), line
        else:
            assert line[name] == (value.format(**places) if isinstance(value, str) else value), line


def test_refused_command_leaves_no_line(stage: Any, places: dict[str, str]) -> None:
    before = audit(stage, limit=500)
    assert stage.post(f"/api/operations/{places['queued']}/retry").status_code == 409
    assert stage.post("/api/billing/nosuch/trust", {"installation": "x"}).status_code == 404
    assert stage.post("/api/services/shop/1/actions", {"action": "change"}).status_code == 422
    assert audit(stage, limit=500) == before


def test_line_is_in_the_same_transaction(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its line a change is not made."""
    from provisioner.store.verbs import Verbs

    def broken(verbs: Verbs, deed: Any) -> None:
        raise ValueError("no line")

    monkeypatch.setattr(Verbs, "add_audit", broken)
    assert stage.post("/api/pause").status_code == 500
    assert stage.app.store.read(lambda verbs: verbs.fact(pauses.BY_PERSON)) is None


def test_who_deleted_a_vm_is_answered(stage: Any, places: dict[str, str]) -> None:
    source = {"actor": {"type": "admin", "name": "bob"}}
    stage.client.environ_base["REMOTE_ADDR"] = "198.51.100.4"
    asked = stage.event("service.terminate", {"service_id": "1"}, source=source).json["operation"]
    lines = audit(stage, vmid=4711)
    assert [(line["action"], line["actor"], line["address"]) for line in lines] == [
        ("create.cancelled", "billing:shop:admin:bob", "198.51.100.4"),
        ("terminate.accepted", "billing:shop:admin:bob", "198.51.100.4"),
    ][::-1]
    assert lines[0]["operation"] == asked


ACTORS = [
    (None, "billing:shop"),
    ({"actor": {"type": "cron", "name": ""}}, "billing:shop:cron"),
    ({"actor": {"type": "client", "name": "Jane Doe"}}, "billing:shop:client:Jane Doe"),
    ({"actor": {"type": "API", "name": "k7"}}, "billing:shop:API:k7"),
    ({"actor": {"type": "admin", "name": "anna"}}, "billing:shop:admin:anna"),
    ({"actor": {"name": "admin:anna"}}, "billing:shop"),
]


@pytest.mark.parametrize(("source", "actor"), ACTORS)
def test_actor_of_an_event_is_never_taken_for_ours(stage: Any, source: Any, actor: str) -> None:
    event = {"service_id": "1", "plan": "vps-s"}
    operation = stage.event("order.paid", event, source=source).json["operation"]
    (line,) = audit(stage)
    assert line["actor"] == actor
    assert stage.get(f"/api/operations/{operation}").json["actor"] == actor
    assert audit(stage, actor="admin:anna") == []


def test_unknown_installation_is_in_the_audit_once(stage: Any) -> None:
    stage.event("order.paid", {"service_id": "1", "plan": "vps-s"}, source={"installation": "old"})
    for _ in range(2):
        stage.event(
            "service.terminate",
            {"service_id": "1"},
            webhook_id="again",
            source={"installation": "new", "actor": {"type": "cron"}},
        )
    refused, _, pinned = audit(stage)
    assert (refused["action"], refused["actor"]) == ("event.refused", "billing:shop:cron")
    assert refused["detail"]["installation"] == "new"
    assert refused["detail"]["type"] == "service.terminate"
    assert (pinned["action"], pinned["detail"]) == ("installation.pinned", {"installation": "old"})


def test_line_of_the_pinning_names_no_customer(stage: Any) -> None:
    """It belongs to no service, so no erasure of one would find it."""
    stage.query("ping", source={"installation": "here", "actor": {"type": "client", "name": "Jane"}})
    (line,) = audit(stage)
    assert (line["action"], line["actor"]) == ("installation.pinned", "billing:shop")


def test_query_pins_an_installation_with_a_line(stage: Any) -> None:
    stage.query("ping", source={"installation": "here"})
    stage.query("ping", source={"installation": "here"})
    (line,) = audit(stage)
    assert (line["action"], line["actor"], line["address"]) == (
        "installation.pinned",
        "billing:shop",
        "127.0.0.1",
    )


def test_replayed_event_stays_its_senders(stage: Any) -> None:
    """What it asks for is the billing system's; that it was judged again is the person's."""
    source = {"actor": {"type": "client", "name": "Jane"}}
    event = stage.event("service.suspend", {"service_id": "1", "reason": "overdue"}, source=source).json[
        "event"
    ]
    stage.order("1", hostname=None)
    stage.post(f"/api/events/{event}/replay", {"reason": "it was late"}, token=ANNA)
    replayed, accepted, _ = audit(stage)
    assert (replayed["action"], replayed["actor"]) == ("event.replayed", "admin:anna")
    assert replayed["operation"] == accepted["operation"]
    assert (accepted["action"], accepted["actor"], accepted["reason"]) == (
        "suspend.accepted",
        "billing:shop:client:Jane",
        "overdue",
    )
    assert accepted["address"] == ""


def test_reason_of_a_suspension_is_told_too(stage: Any) -> None:
    stage.order("1", hostname=None)
    body = {"action": "suspend", "reason": "abuse"}
    operation = stage.post("/api/services/shop/1/actions", body).json["operation"]
    assert stage.operation(operation).args["reason"] == "abuse"
    assert audit(stage)[0]["reason"] == "abuse"


def test_resuming_what_nobody_paused_leaves_no_line(stage: Any) -> None:
    stage.post("/api/resume")
    assert audit(stage) == []


# Addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unknown", ""),
        ("admin:anna", ""),
        ("local", ""),
        ("<script>", ""),
        ("", ""),
    ],
)
def test_address_is_an_address_or_nothing(text: str, address: str) -> None:
    assert address_of(text) == address


@pytest.fixture
def serve(stage: Any) -> Iterator[Callable[[int], Serving]]:
    made: list[Serving] = []

    def start(trusted_proxies: int) -> Serving:
        app = create_app(stage.surfaces)
        made.append(Serving(app, "127.0.0.1:0", threads=2, trusted_proxies=trusted_proxies))
        made[-1].start()
        return made[-1]

    yield start
    for serving in made:
        serving.stop()


def post(serving: Serving, path: str, body: bytes, headers: dict[str, str]) -> int:
    given = {"Host": "here", "Content-Length": str(len(body)), "Connection": "close", **headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", ""]
    with closing(socket.create_connection(("127.0.0.1", serving.port), 10)) as connection:
        connection.sendall("\r\n".join(lines).encode() + body)
        with connection.makefile("rb") as file:
            return int(file.readline().split()[1])


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, {}, "127.0.0.1"),
        (0, {"X-Forwarded-For": "203.0.113.9"}, "127.0.0.1"),
        (0, {"Forwarded": "for=203.0.113.9"}, "127.0.0.1"),
        (1, {"X-Forwarded-For": "203.0.113.9"}, "203.0.113.9"),
        (1, {"X-Forwarded-For": "198.51.100.66, 203.0.113.9"}, "203.0.113.9"),
        (1, {"Forwarded": "for=198.51.100.66"}, "127.0.0.1"),
        (1, {"X-Real-IP": "198.51.100.66"}, "127.0.0.1"),
        (2, {"X-Forwarded-For": "198.51.100.66, 203.0.113.9, 10.0.0.1"}, "203.0.113.9"),
        (2, {"X-Forwarded-For": "198.51.100.66"}, "127.0.0.1"),
        (1, {"X-Forwarded-For": "local"}, "127.0.0.1"),
        (1, {"X-Forwarded-For": "203.0.113.9, evil<script>"}, "127.0.0.1"),
        (1, {"Provisioner.Local-User": "root", "X-Forwarded-For": "203.0.113.9"}, "203.0.113.9"),
    ],
)
def test_address_is_the_callers_through_trusted_proxies(
    stage: Any,
    serve: Callable[[int], Serving],
    proxies: int,
    forwarded: dict[str, str],
    address: str,
) -> None:
    serving = serve(proxies)
    assert post(serving, "/api/pause", b"", {"Authorization": f"Bearer {OLGA}", **forwarded}) == 200
    body = json.dumps({"type": "order.paid", "data": {"service_id": "1", "plan": "vps-s"}}).encode()
    signed = Signer([SECRET]).sign("msg-1", stage.clock.ms // 1000, body)
    headers = {**signed, "Content-Type": "application/json", **forwarded}
    assert post(serving, "/webhooks/shop", body, headers) == 202
    assert [line["address"] for line in audit(stage)] == [address, address]


def test_command_beside_the_store_is_local(stage: Any) -> None:
    stage.client.environ_base[LOCAL_USER] = "anna as root"
    stage.post("/api/pause")
    (line,) = audit(stage)
    assert (line["actor"], line["address"], line["detail"]) == (
        "admin:admin",
        "local",
        {"user": "anna as root"},
    )


# The list


@pytest.fixture
def filled(stage: Any) -> Any:
    stage.order("1", hostname=None)
    stage.clock.ms += 60_000
    stage.post("/api/services/shop/1/actions", {"action": "suspend"}, token=ANNA)
    stage.clock.ms += 86_400_000
    stage.post("/api/pause", token=OLGA)
    return stage


QUERIES = [
    ({}, ["work.paused", "suspend.accepted", "create.accepted"]),
    ({"actor": "admin:anna"}, ["suspend.accepted"]),
    ({"actor": "anna"}, []),
    ({"billing": "shop"}, ["suspend.accepted", "create.accepted"]),
    ({"billing": "shop", "service_id": "1", "actor": "billing:shop"}, ["create.accepted"]),
    ({"service_id": "2"}, []),
    ({"vmid": "4711"}, []),
    ({"since": "2027-01-15T08:01:00Z"}, ["work.paused", "suspend.accepted"]),
    ({"since": "2027-01-16"}, ["work.paused"]),
    ({"until": "2027-01-15T09:01:00+01:00"}, ["create.accepted"]),
    ({"since": "2027-01-15", "until": "2027-01-16"}, ["suspend.accepted", "create.accepted"]),
    ({"limit": 1}, ["work.paused"]),
]


@pytest.mark.parametrize(("query", "found"), QUERIES)
def test_list_is_filtered(filled: Any, query: dict[str, Any], found: list[str]) -> None:
    assert [line["action"] for line in audit(filled, **query)] == found


@pytest.mark.parametrize(
    "query",
    [
        "vmid=0", "vmid=x", "vmid=1&vmid=2", "actor=%00", "limit=0", "limit=501", "cursor=x",
        "since=yesterday", "since=1", "until=2027-13-01", "until=2027-01-15T25:00:00Z", "action=x",
        "actor=" + "x" * 513,
    ],
)  # fmt: skip
def test_wrong_query_is_refused(stage: Any, query: str) -> None:
    headers = {"Authorization": f"Bearer {ANNA}"}
    answer = stage.client.get(f"/api/audit?{query}", headers=headers)
    assert (answer.status_code, answer.json["error"]["code"]) == (422, "invalid_field")


def test_pages_follow_each_other(filled: Any) -> None:
    first = filled.get("/api/audit", limit=2).json
    filled.post("/api/resume")
    second = filled.get("/api/audit", limit=2, cursor=first["next"]).json
    assert [line["seq"] for line in first["items"] + second["items"]] == [3, 2, 1]
    assert second["next"] is None


def test_verification_goes_on_by_its_cursor(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from provisioner.engine import audit as engine
    from provisioner.web.api import audit as module

    monkeypatch.setattr(module, "verify", lambda verbs, after: engine.verify(verbs, after, 2))
    first = filled.get("/api/audit/verification").json
    second = filled.get("/api/audit/verification", cursor=first["next"]).json
    assert (first["read"], first["seq"], first["problem"]) == (2, 2, "")
    assert (second["read"], second["seq"], second["next"]) == (1, 3, None)
    newest = audit(filled)[0]
    assert second["chain"] == newest["chain"]


def test_erased_line_shows_nothing(filled: Any) -> None:
    from provisioner.audit import Deed

    deed = Deed(filled.clock.ms, "admin:olga", "", billing="shop", service_id="1")
    filled.app.store.write(lambda verbs: verbs.erase_audit("shop", "1", deed))
    erased, first = audit(filled)[2:]
    assert erased["erased"]
    assert first["erased"]
    empty = {
        "at": None,
        "actor": "",
        "address": "",
        "action": "",
        "service_id": "",
        "vmid": None,
        "detail": {},
    }
    assert empty.items() <= first.items()
    assert len(first["digest"]) == 64


def test_line_about_a_brake_names_its_kind(stage: Any) -> None:
    stage.post(f"/api/brakes/{Kind.CREATE}/reset")
    assert audit(stage)[0]["detail"] == {"kind": "create"}
