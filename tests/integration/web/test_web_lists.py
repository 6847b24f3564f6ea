"""Lists tell of each what it tells of itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from provisioner.audit import Deed
from provisioner.operation import Kind, State
from provisioner.web.models import AuditLine, Event, Operation, Service

# Each list, and where one of its items is shown whole.
LISTS = (
    ("/api/operations", "/api/operations/{id}", Operation),
    ("/api/services", "/api/services/{billing}/{service_id}", Service),
    ("/api/events", "/api/events/{id}", Event),
)


@pytest.fixture
def varied(stage: Any) -> Any:
    """Operations, services and events with and without what may be missing."""
    stage.failed("1")
    stage.order("2", client={"id": "7"})
    stage.quiet("3", vmid=4711)
    stage.event("order.paid", {"service_id": "4", "plan": "nosuch"})
    return stage


@pytest.mark.parametrize(("many", "one", "model"), LISTS)
def test_list_says_of_each_what_its_own_page_says(varied: Any, many: str, one: str, model: Any) -> None:
    items = varied.get(many).json["items"]
    assert len(items) >= 3
    for item in items:
        whole = varied.get(one.format(**item)).json
        assert item == {name: whole[name] for name in model.model_fields}


@pytest.mark.parametrize(
    ("many", "model"), [*((many, model) for many, _, model in LISTS), ("/api/audit", AuditLine)]
)
def test_list_is_told_in_the_order_of_its_model(varied: Any, many: str, model: Any) -> None:
    items = varied.get(many, limit=2).json["items"]
    assert len(items) == 2
    assert all(list(item) == list(model.model_fields) for item in items)


def test_operations_of_a_service_are_told_as_in_the_list(varied: Any) -> None:
    listed = varied.get("/api/operations", service_id="2").json["items"]
    assert {item["kind"] for item in listed} == {Kind.CREATE, Kind.SET_RDNS}
    assert {item["state"] for item in listed} == {State.QUEUED}
    assert varied.get("/api/services/shop/2").json["operations"] == listed


def test_text_that_is_no_utf_8_is_told_escaped(stage: Any) -> None:
    """JSON may write half a character; whoever reads the list gets the rest of it all the same."""
    detail = {"said": ["\ud800", "ü"]}
    stage.app.store.write(lambda verbs: verbs.add_audit(Deed(1, "service", "test.done", detail=detail)))
    answer = stage.get("/api/audit")
    assert answer.status_code == 200
    assert json.loads(answer.data)["items"][0]["detail"] == detail


EMPTY = [
    *(("/api/operations", name) for name in ("state", "kind", "billing", "service_id", "vmid", "q")),
    *(("/api/services", name) for name in ("status", "billing", "vmid", "ip", "q")),
    *(("/api/events", name) for name in ("state", "billing")),
    *(("/api/audit", name) for name in ("vmid", "actor", "billing", "service_id", "since", "until")),
]


@pytest.mark.parametrize(("many", "name"), EMPTY)
def test_empty_filter_is_refused_and_never_means_all(varied: Any, many: str, name: str) -> None:
    answer = varied.get(many, **{name: ""})
    assert (answer.status_code, answer.json["error"]["code"]) == (422, "invalid_field")
    assert answer.json["error"]["message"].startswith(f"{name} must be ")


@pytest.mark.parametrize("page", ["operations", "services", "events", "audit"])
def test_console_leaves_out_what_is_not_filled_in(varied: Any, page: str) -> None:
    """A browser sends every field of a form."""
    names = sorted({name for many, name in EMPTY if many == f"/api/{page}"})
    text = varied.person().page(f"/admin/{page}?{'=&'.join(names)}=").text
    assert "shop" in text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("0x1", "'0x1'"),
        ("501", "'501'"),
        ("\x1b[2J", "'\\x1b[2J'"),
        ("x" * 41, f"'{'x' * 40}'…"),
    ],
)
def test_wrong_value_of_a_query_is_said_as_it_is(stage: Any, given: str, said: str) -> None:
    answer = stage.get("/api/operations", limit=given)
    assert answer.json["error"]["message"] == f"limit must be an integer from 1 to 500, not {said}"
