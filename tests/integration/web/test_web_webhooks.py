"""`POST /webhooks/<billing>`: every row of the contract's table of answers, in its order."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.errors import StoreUnavailable
from provisioner.signing import Signer

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS1zaG9wLWZvci10ZXN0cw=="
FOREIGN_SECRET = "whsec_" + b64encode(b"x" * 32).decode()
WEBHOOK = "/webhooks/shop"
ORDER = json.dumps({"type": "order.paid", "data": {"service_id": "1", "plan": "vps-s"}}).encode()
OTHER_ORDER = json.dumps({"type": "order.paid", "data": {"service_id": "2", "plan": "vps-s"}}).encode()
NO_PLAN = json.dumps({"type": "order.paid", "data": {"service_id": "1", "plan": "nosuch"}}).encode()
STAGING = json.dumps({**json.loads(OTHER_ORDER), "source": {"installation": "staging"}}).encode()
PINNING = json.dumps({**json.loads(ORDER), "source": {"installation": "production"}}).encode()
LARGE = b'{"type": "order.paid", "data": {"x": "' + b"x" * (256 * 1024) + b'"}}'
NOT_JSON = b'{"type": "order.paid", "data": {"x": NaN}}'

# Each row is wrong in its own way and in all the ways that are judged after it.
ROWS: list[tuple[str, dict[str, Any], int, str]] = [
    ("/webhooks/nosuch", {"raw": LARGE, "content_type": "text/plain"}, 404, "not_found"),
    (WEBHOOK, {"raw": LARGE, "content_type": "text/plain", "secret": FOREIGN_SECRET}, 413, "too_large"),
    (
        WEBHOOK,
        {"raw": NOT_JSON, "content_type": "text/plain", "secret": FOREIGN_SECRET},
        415,
        "unsupported_media_type",
    ),
    (WEBHOOK, {"raw": NOT_JSON, "secret": FOREIGN_SECRET, "webhook_id": "first"}, 401, "unauthorized"),
    (WEBHOOK, {"raw": NOT_JSON, "webhook_id": "first"}, 400, "malformed"),
    (WEBHOOK, {"raw": STAGING, "webhook_id": "first"}, 409, "id_reused"),
    (WEBHOOK, {"raw": STAGING}, 403, "unknown_installation"),
    (WEBHOOK, {"raw": NO_PLAN}, 422, "unknown_plan"),
]

MALFORMED: list[tuple[str, bytes]] = [
    ("no JSON", b"{"),
    ("nothing", b""),
    ("NaN", NOT_JSON),
    ("Infinity", b'{"type": "x", "data": {"x": -Infinity}}'),
    ("no UTF-8", b'{"type": "\xff", "data": {}}'),
    ("a list", b"[]"),
    ("no type", b'{"data": {}}'),
    ("type no string", b'{"type": 1, "data": {}}'),
    ("data no object", b'{"type": "order.paid", "data": []}'),
    ("too deep", b'{"type": "x", "data": {"x": ' + b"[" * 31 + b"]" * 31 + b"}}"),
    ("256 KiB of brackets", b"[" * (256 * 1024)),
]

UNSIGNED: list[tuple[str, dict[str, str]]] = [
    ("no id", {"webhook-id": ""}),
    ("id of 16 KB", {"webhook-id": "x" * 16384}),
    ("id with a space at its end", {"webhook-id": "x "}),
    ("id beyond ASCII", {"webhook-id": "\xe9"}),
    ("no time", {"webhook-timestamp": ""}),
    ("time no number", {"webhook-timestamp": "1e9"}),
    ("time of 4301 digits", {"webhook-timestamp": "1" * 4301}),
    ("time too late", {"webhook-timestamp": "1800000301"}),
    ("time too early", {"webhook-timestamp": "1799999699"}),
    ("no signature", {"webhook-signature": ""}),
    ("signature no base64", {"webhook-signature": "v1,****"}),
    ("signature of another version", {"webhook-signature": "v2,AAAA"}),
    ("signature of 16 KB", {"webhook-signature": "v1," + "A" * 16384}),
]

UNFIT: list[tuple[str, dict[str, Any], str]] = [
    ("order.payed", {"service_id": "1"}, "unknown_type"),
    ("order.paid", {"plan": "vps-s"}, "invalid_field"),
    ("order.paid", {"service_id": "a/b", "plan": "vps-s"}, "invalid_field"),
    ("order.paid", {"service_id": "1\0", "plan": "vps-s"}, "invalid_field"),
    ("order.paid", {"service_id": "1\ud800", "plan": "vps-s"}, "invalid_field"),
    ("order.paid", {"service_id": "x" * 16384, "plan": "vps-s"}, "invalid_field"),
    ("order.paid", {"service_id": "1", "plan": "vps-s", "options": {"mem": 8193}}, "over_max"),
    ("service.suspend", {"service_id": "never seen"}, "unknown_service"),
]


@pytest.fixture
def busy(stage: Any) -> Any:
    """A stage whose shop has an installation and one accepted event."""
    assert stage.send(WEBHOOK, PINNING, webhook_id="first").status_code == 202
    return stage


@pytest.mark.parametrize(("path", "message", "status", "code"), ROWS)
def test_refusals_come_in_order(
    busy: Any, path: str, message: dict[str, Any], status: int, code: str
) -> None:
    answer = busy.send(path, **message)
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert answer.json["error"]["message"]
    assert answer.mimetype == "application/json"


@pytest.mark.parametrize(("path", "message", "status", "code"), ROWS)
def test_only_authentic_events_are_kept(
    busy: Any, path: str, message: dict[str, Any], status: int, code: str
) -> None:
    answer = busy.send(path, **message)
    assert busy.count("events") == (2 if status in (403, 422) else 1)
    assert busy.count("operations") == 1
    assert ("event" in answer.json) == (status in (403, 422))


def test_new_event_is_accepted(stage: Any) -> None:
    answer = stage.send(WEBHOOK, ORDER, webhook_id="first")
    operation = stage.operation(answer.json["operation"])
    assert answer.status_code == 202
    assert answer.json["status_url"].endswith(f"/api/operations/{operation.id}")
    assert stage.get(f"/api/events/{answer.json['event']}").json["operation"] == operation.id


def test_same_event_again_changes_nothing(stage: Any) -> None:
    first = stage.send(WEBHOOK, ORDER, webhook_id="first")
    again = stage.send(WEBHOOK, ORDER, webhook_id="first")
    assert (again.status_code, again.data) == (200, first.data)
    assert (stage.count("events"), stage.count("operations")) == (1, 1)


def test_rejected_id_is_judged_anew(stage: Any) -> None:
    rejected = stage.send(WEBHOOK, NO_PLAN, webhook_id="first")
    accepted = stage.send(WEBHOOK, ORDER, webhook_id="first")
    assert (rejected.status_code, accepted.status_code) == (422, 202)
    assert accepted.json["event"] == rejected.json["event"]


def test_unavailable_store_asks_for_repetition(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(unit: object) -> None:
        raise StoreUnavailable("the store cannot be written: the disk is full")

    monkeypatch.setattr(stage.app.store, "write", full)
    answer = stage.send(WEBHOOK, ORDER)
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "store_unavailable")
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(("raw"), [pytest.param(raw, id=name) for name, raw in MALFORMED])
def test_what_is_no_event_is_malformed(stage: Any, raw: bytes) -> None:
    answer = stage.send(WEBHOOK, raw)
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "malformed")
    assert stage.count("events") == 0


@pytest.mark.parametrize("headers", [pytest.param(headers, id=name) for name, headers in UNSIGNED])
def test_unproven_message_is_unauthorized(stage: Any, headers: dict[str, str]) -> None:
    answer = stage.send(WEBHOOK, ORDER, headers=headers)
    assert (answer.status_code, answer.json["error"]["code"]) == (401, "unauthorized")
    assert stage.count("events") == 0


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_missing_header_is_unauthorized(stage: Any, header: str) -> None:
    signed = Signer([SECRET]).sign("first", stage.clock.ms // 1000, ORDER)
    del signed[header]
    answer = stage.client.post(WEBHOOK, data=ORDER, headers=signed, content_type="application/json")
    assert (answer.status_code, answer.json["error"]["code"]) == (401, "unauthorized")


@pytest.mark.parametrize(("kind", "data", "code"), UNFIT)
def test_unfit_event_is_kept_rejected(stage: Any, kind: str, data: dict[str, Any], code: str) -> None:
    answer = stage.event(kind, data)
    assert (answer.status_code, answer.json["error"]["code"]) == (422, code)
    kept = stage.get(f"/api/events/{answer.json['event']}").json
    assert (kept["state"], kept["code"]) == ("rejected", code)


@pytest.mark.parametrize(
    "source",
    [7, {"installation": "\ud800"}, {"\ud800": 1}, {"actor": {"type": "cron", "\0": 1}}, {"actor": []}],
)
def test_odd_source_breaks_nothing(stage: Any, source: object) -> None:
    answer = stage.event("order.paid", {"service_id": "1", "plan": "vps-s"}, source=source)
    assert (answer.status_code, answer.json["error"]["code"]) == (422, "invalid_field")


def test_largest_body_is_taken(stage: Any) -> None:
    filled = ORDER[:-1] + b', "x": "'
    raw = filled + b"x" * (256 * 1024 - len(filled) - 2) + b'"}'
    assert len(raw) == 256 * 1024
    assert stage.send(WEBHOOK, raw).status_code == 202
    assert stage.send(WEBHOOK, raw + b" ").status_code == 413


def test_length_is_judged_unread(stage: Any) -> None:
    """What announces more than is taken is refused, whatever comes of it."""
    answer = stage.client.post(
        WEBHOOK,
        data=b"{}",
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": str(1 << 40)},
    )
    assert answer.status_code == 413


def test_charset_parameter_is_harmless(stage: Any) -> None:
    assert stage.send(WEBHOOK, ORDER, content_type="application/json; charset=utf-8").status_code == 202


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(stage: Any, method: str) -> None:
    answer = stage.client.open(WEBHOOK, method=method)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert answer.json["error"]["code"] == "method_not_allowed"


def test_broken_code_shows_no_trace(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(unit: object) -> None:
        raise LookupError("an internal detail")

    monkeypatch.setattr(stage.app.store, "write", broken)
    answer = stage.send(WEBHOOK, ORDER)
    assert answer.status_code == 500
    assert answer.json["error"] == {
        "code": "internal_error",
        "message": "an internal error; it is in the log",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800\0"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(["service_id", "plan", "template", "options", "hostname", "client", "ips", "reason"])
KINDS = st.sampled_from(
    ["order.paid", "service.link", "service.upgrade", "service.suspend", "service.restore"]
)
MESSAGES = st.builds(
    lambda kind, data, source: json.dumps({"type": kind, "data": data, "source": source}).encode(),
    KINDS | st.text(),
    st.dictionaries(FIELDS | st.text(max_size=5), JSON | st.sampled_from(["1001", "vps-s", 7, True])),
    JSON,
)
BODIES = st.binary(max_size=200) | MESSAGES
HEADERS = st.dictionaries(
    st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "x"]),
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=300),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=BODIES)
def test_signed_junk_never_breaks_it(stage: Any, raw: bytes) -> None:
    answer = stage.send(WEBHOOK, raw)
    assert answer.status_code in (202, 400, 403, 422)
    assert answer.mimetype == "application/json"
    if answer.status_code == 400:
        assert set(answer.json) == {"error"}
    else:
        kept = stage.get(f"/api/events/{answer.json['event']}")
        assert kept.json["state"] == ("accepted" if answer.status_code == 202 else "rejected")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=BODIES, headers=HEADERS)
def test_unsigned_junk_leaves_nothing(stage: Any, raw: bytes, headers: dict[str, str]) -> None:
    answer = stage.client.post(WEBHOOK, data=raw, headers=headers)
    assert answer.status_code in (401, 415)
    assert stage.count("events") == 0
