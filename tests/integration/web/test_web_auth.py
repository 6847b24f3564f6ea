"""Who may call the admin API, and how far each role reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provisioner.web.api import calls
from provisioner.web.auth import REACH, Guard, Need, Role

TOKENS = {
    "read": "rudi-token-0123456789",
    "support": "anna-token-0123456789",
    "admin": "olga-token-0123456789",
}
GOOD = "admin-token-0123456789"

NO_GOOD: list[tuple[str, str | None]] = [
    ("none", None),
    ("empty", ""),
    ("scheme alone", "Bearer"),
    ("empty token", "Bearer "),
    ("wrong token", "Bearer wrong-token-0123456789"),
    ("beginning of a token", f"Bearer {GOOD[:-1]}"),
    ("longer than a token", f"Bearer {GOOD}x"),
    ("another scheme", f"Basic {GOOD}"),
    ("no scheme", GOOD),
    ("beyond ASCII", "Bearer \xff\xfe"),
    ("16 KB", "Bearer " + "x" * 16384),
]

# What a role is for: a call, its body, and the roles that it is not for.
BEYOND: list[tuple[str, Any, set[str]]] = [
    ("/api/operations/{failed}/retry", None, {"read"}),
    ("/api/operations/{queued}/cancel", None, {"read"}),
    ("/api/operations/{held}/approve", None, {"read", "support"}),
    ("/api/services/shop/1/actions", {"action": "suspend"}, {"read"}),
    ("/api/services/shop/1/actions", {"action": "terminate"}, {"read", "support"}),
    (
        "/api/services/shop/9/actions",
        {"action": "link", "vmid": 7, "plan": "vps-s"},
        {"read", "support"},
    ),
    ("/api/services/import", {"file": "billing,service_id,vmid,plan"}, {"read", "support"}),
    ("/api/services/shop/1/unlink", None, {"read", "support"}),
    ("/api/services/shop/1/move", {"service_id": "7"}, {"read", "support"}),
    ("/api/operations/{terminate}/retry", None, {"read", "support"}),
    ("/api/operations/{terminate}/cancel", None, {"read"}),
    ("/api/events/{rejected}/replay", None, {"read"}),
    ("/api/events/{rejected_terminate}/replay", None, {"read", "support"}),
    ("/api/reconcile", {}, {"read"}),
    ("/api/pause", {}, {"read", "support"}),
    ("/api/resume", {}, {"read", "support"}),
    ("/api/brakes/terminate/reset", None, {"read", "support"}),
    ("/api/billing/shop/trust", {"installation": "x"}, {"read", "support"}),
]


@pytest.fixture
def places(stage: Any) -> dict[str, str]:
    """Something for every call to be about."""
    stage.failed("1")
    terminate = stage.event("service.terminate", {"service_id": "1"}).json["operation"]
    return {
        "failed": stage.failed("2"),
        "queued": stage.order("3", hostname=None),
        "held": stage.held("4"),
        "terminate": terminate,
        "rejected": stage.event("order.paid", {"service_id": "5", "plan": "nosuch"}).json["event"],
        "rejected_terminate": stage.event("service.terminate", {"service_id": "6"}).json["event"],
    }


@pytest.mark.parametrize("authorization", [pytest.param(value, id=name) for name, value in NO_GOOD])
def test_no_good_token_is_refused(stage: Any, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = stage.client.get("/api/operations", headers=headers)
    assert (answer.status_code, answer.json["error"]["code"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="provisioner"'


def test_every_call_needs_a_token(stage: Any) -> None:
    for call in calls(stage.surfaces):
        path = call.path.replace("{", "").replace("}", "")
        assert stage.client.open(path, method=call.method).status_code == 401, call.path


@pytest.mark.parametrize("token", [GOOD, *TOKENS.values()])
def test_every_admin_may_look(stage: Any, token: str) -> None:
    for path in ("/api/operations", "/api/services", "/api/events", "/api/brakes"):
        assert stage.get(path, token=token).status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_scheme_has_any_case(stage: Any, scheme: str) -> None:
    answer = stage.client.get("/api/brakes", headers={"Authorization": f"{scheme} {GOOD}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("role", TOKENS)
@pytest.mark.parametrize(("path", "body", "beyond"), BEYOND)
def test_role_reaches_so_far(
    stage: Any, places: dict[str, str], role: str, path: str, body: Any, beyond: set[str]
) -> None:
    answer = stage.post(path.format(**places), body, token=TOKENS[role])
    if role in beyond:
        assert (answer.status_code, answer.json["error"]["code"]) == (403, "forbidden")
        assert role in answer.json["error"]["message"]
    else:
        assert answer.status_code != 403, answer.text


def test_refused_role_changes_nothing(stage: Any, places: dict[str, str]) -> None:
    before = stage.operation(places["held"])
    stage.post(f"/api/operations/{places['held']}/approve", token=TOKENS["support"])
    stage.post("/api/services/shop/1/actions", {"action": "suspend"}, token=TOKENS["read"])
    assert stage.operation(places["held"]) == before
    assert stage.get("/api/operations", kind="suspend").json["items"] == []


def test_roles_reach_further_and_further() -> None:
    assert REACH[Role.READ] < REACH[Role.SUPPORT] < REACH[Role.ADMIN] == frozenset(Need)


@pytest.mark.parametrize(("token", "actor"), [(GOOD, "admin:admin"), (TOKENS["support"], "admin:anna")])
def test_actor_is_the_admins_name(stage: Any, token: str, actor: str) -> None:
    stage.order("1", hostname=None)
    done = stage.post("/api/services/shop/1/actions", {"action": "suspend"}, token=token).json["operation"]
    shown = stage.get(f"/api/operations/{done}").json
    assert (shown["actor"], shown["timeline"][0]["actor"]) == (actor, actor)


def test_guard_shows_no_token(stages: Callable[..., Any]) -> None:
    guard = Guard(stages().surfaces.settings)
    assert GOOD not in repr(guard)
    assert GOOD not in str(vars(guard))
