"""Pauses, brakes, trust and the last reconciliation: what concerns the whole account."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provisioner.engine import pauses
from provisioner.engine.accept import installation_fact
from provisioner.engine.reconcile import Reconcile
from provisioner.errors import UpstreamUnavailable
from provisioner.operation import Kind
from provisioner.operations import brakes
from provisioner.web import create_app


def fact(stage: Any, name: str) -> Any:
    return stage.app.store.read(lambda verbs: verbs.fact(name))


class Unreachable:
    """An upstream that cannot be asked."""

    def servers(self) -> frozenset[int]:
        raise UpstreamUnavailable("It is not possible now.", detail="GET server: connection refused")


def test_pause_stops_the_work(stage: Any) -> None:
    stage.order()
    answer = stage.post("/api/pause", {"reason": "maintenance"})
    assert answer.json == {"paused": True, "reasons": ["paused"]}
    assert fact(stage, pauses.BY_PERSON)["actor"] == "admin:admin"
    assert fact(stage, pauses.BY_PERSON)["reason"] == "maintenance"
    assert stage.app.advance.claim() is None
    assert stage.post("/api/resume").json == {"paused": False, "reasons": []}
    assert stage.app.advance.claim() is not None


def test_resume_lifts_only_a_persons_pause(stage: Any) -> None:
    stage.record(lambda record: pauses.begin(record.verbs, pauses.TOKEN_REFUSED, {"at": 1}, record.now))
    stage.post("/api/pause")
    assert stage.post("/api/resume").json == {"paused": True, "reasons": ["token_refused"]}


def test_brakes_are_shown_and_reset(stage: Any) -> None:
    def trip(record: Any) -> None:
        record.verbs.set_fact(brakes.tripped_fact(Kind.TERMINATE), record.now, record.now)
        record.verbs.add_passage(Kind.TERMINATE, "op_1", record.now)

    stage.record(trip)
    shown = {brake["kind"]: brake for brake in stage.get("/api/brakes").json["items"]}
    assert set(shown) == {"terminate", "suspend", "create"}
    assert shown["terminate"] == {
        "kind": "terminate",
        "limit": 20,
        "count": 1,
        "tripped_at": "2027-01-15T08:00:00.000Z",
    }
    assert shown["suspend"] == {"kind": "suspend", "limit": 200, "count": 0, "tripped_at": None}
    reset = {"kind": "terminate", "limit": 20, "count": 0, "tripped_at": None}
    assert stage.post("/api/brakes/terminate/reset").json == reset


@pytest.mark.parametrize(("kind", "status"), [("start", 404), ("nosuch", 404), ("%00", 422)])
def test_unknown_brake_is_not_found(stage: Any, kind: str, status: int) -> None:
    assert stage.post(f"/api/brakes/{kind}/reset").status_code == status


def test_trust_pins_another_installation(stage: Any) -> None:
    answer = stage.post("/api/billing/shop/trust", {"installation": "new"})
    assert answer.json == {"billing": "shop", "installation": "new"}
    assert fact(stage, installation_fact("shop")) == "new"


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("nosuch", {"installation": "x"}, 404),
        ("shop", None, 422),
        ("shop", {"installation": ""}, 422),
        ("shop", {"installation": None}, 422),
        ("shop", {"installation": "x" * 513}, 422),
        ("shop", {"installation": "\n"}, 422),
        ("shop", {"installation": "x", "force": True}, 422),
    ],
)
def test_wrong_trust_is_refused(stage: Any, name: str, body: Any, status: int) -> None:
    assert stage.post(f"/api/billing/{name}/trust", body).status_code == status
    assert fact(stage, installation_fact("shop")) is None


def test_reconciliation_is_empty_at_first(stage: Any) -> None:
    nothing = {"seen_at": None, "orphans": [], "ghosts": [], "drift": [], "foreign": []}
    assert stage.get("/api/upstream/reconciliation").json == nothing


def test_reconciliation_is_the_last_one(stage: Any) -> None:
    foreign = [{"vmid": 8, "means": "not ours"}]
    seen = {"seen_at": stage.clock.ms, "orphans": [], "ghosts": [], "drift": [], "foreign": foreign}
    stage.record(lambda record: record.verbs.set_fact("reconciliation", seen, record.now))
    answer = stage.get("/api/upstream/reconciliation").json
    assert answer == {**seen, "seen_at": "2027-01-15T08:00:00.000Z"}


class Account(Unreachable):
    """An upstream account with one VM that nobody here knows."""

    def servers(self) -> frozenset[int]:
        return frozenset({8})


@pytest.mark.parametrize("body", [None, {}, {"fix": True}])
def test_reconcile_looks_now(stage: Any, body: Any) -> None:
    reconcile = Reconcile(stage.app.store, Account(), stage.clock)
    client = create_app(replace(stage.surfaces, reconcile=reconcile)).test_client()
    headers = {"Authorization": "Bearer anna-token-0123456789"}
    answer = client.post("/api/reconcile", json=body or {}, headers=headers)
    assert (answer.status_code, answer.json["seen_at"]) == (200, "2027-01-15T08:00:00.000Z")
    assert [vm["vmid"] for vm in answer.json["foreign"]] == [8]
    assert stage.get("/api/upstream/reconciliation").json == answer.json


def test_unreachable_account_is_said(stage: Any) -> None:
    reconcile = Reconcile(stage.app.store, Unreachable(), stage.clock)
    client = create_app(replace(stage.surfaces, reconcile=reconcile)).test_client()
    headers = {"Authorization": "Bearer admin-token-0123456789"}
    answer = client.post("/api/reconcile", headers=headers)
    assert (answer.status_code, answer.json["error"]) == (
        502,
        {"code": "unavailable", "message": "GET server: connection refused"},
    )
    assert stage.get("/api/upstream/reconciliation").json["seen_at"] is None


@pytest.mark.parametrize("body", [{"fix": "true"}, {"fix": 1}, {"fixed": True}])
def test_wrong_reconcile_is_refused(stage: Any, body: Any) -> None:
    assert stage.post("/api/reconcile", body).status_code == 422
