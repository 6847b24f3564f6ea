"""Who may call the admin API, and how far each role reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provisioner.web.api import calls
from provisioner.web.auth import REACH, Guard, Need, Role
from tests.integration.web.conftest import TOKENS

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
