"""/openapi.json says what the admin API does: every answer is as documented, whatever is asked."""

from __future__ import annotations

import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance

from provisioner import __version__
from provisioner.web import create_app
from provisioner.web.api import calls

NOT_ASKED = {"/api/reconcile", "/api/leave"}  # asks the upstream, and there is none here; ends the service
QUICK = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


# What billing systems call, and pages for people with their files.
OTHERS = ("/webhooks/", "/queries/", "/admin", "/panel/", "/assets/", "/bootstrap/")


def test_document_names_every_route(stage: Any) -> None:
    rules = create_app(stage.surfaces).url_map.iter_rules()
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in rules
        for method in rule.methods or ()
        if method != "HEAD" and not rule.rule.startswith(OTHERS)
    }
    paths = stage.get("/openapi.json").json["paths"]
    assert served == {(path, method) for path, methods in paths.items() for method in methods}


def test_document_needs_no_token(stage: Any) -> None:
    document = stage.get("/openapi.json", token="").json
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == __version__


def test_document_describes_every_action(stage: Any) -> None:
    document = stage.get("/openapi.json").json
    call = document["paths"]["/api/services/{billing}/{service_id}/actions"]["post"]
    forms = call["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    models = [document["components"]["schemas"][form["$ref"].rpartition("/")[2]] for form in forms]
    actions = {model["properties"]["action"]["enum"][0]: model for model in models}
    assert set(actions["suspend"]["properties"]) == {"action", "reason", "force", "lock"}
    assert set(actions["change"]["properties"]) == {"action", "reason", "plan", "options", "template"}
    assert actions["set_rdns"]["required"] == ["ip", "hostname", "action"]
    assert len(actions) == 16


@pytest.mark.parametrize("examples", [2, pytest.param(40, marks=pytest.mark.long)])
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_documented(stage: Any, mode: GenerationMode, examples: int) -> None:
    known = _known_places(stage) if mode is GenerationMode.POSITIVE else {}
    document = schemathesis.openapi.from_wsgi("/openapi.json", create_app(stage.surfaces))
    token = stage.get("/api/brakes").request.headers["Authorization"]
    asked = [
        _ask(found.ok(), mode, known, token, examples)
        for found in document.get_all_operations()
        if found.ok().path.startswith("/api/") and found.ok().path not in NOT_ASKED
    ]
    assert len(asked) == len(calls(stage.surfaces)) - len(NOT_ASKED)
    assert all(asked)


def _known_places(stage: Any) -> dict[str, dict[str, str]]:
    """Places that exist, so that not every answer is 404."""
    stage.failed("1")
    stage.held("2")
    rejected = stage.event("order.paid", {"service_id": "3", "plan": "nosuch"}).json["event"]
    return {
        "/api/operations/{operation}": {"operation": stage.order("4", hostname=None)},
        "/api/operations/{operation}/retry": {"operation": stage.failed("5")},
        "/api/operations/{operation}/cancel": {"operation": stage.order("6", hostname=None)},
        "/api/operations/{operation}/approve": {"operation": stage.held("7")},
        "/api/services/{billing}/{service_id}": {"billing": "shop", "service_id": "1"},
        "/api/services/{billing}/{service_id}/actions": {"billing": "shop", "service_id": "1"},
        "/api/services/{billing}/{service_id}/unlink": {"billing": "shop", "service_id": "1"},
        "/api/services/{billing}/{service_id}/move": {"billing": "shop", "service_id": "1"},
        "/api/events/{event}": {"event": rejected},
        "/api/events/{event}/replay": {"event": rejected},
        "/api/brakes/{kind}/reset": {"kind": "terminate"},
        "/api/billing/{name}/trust": {"name": "shop"},
    }


def _ask(
    operation: Any, mode: GenerationMode, known: dict[str, dict[str, str]], token: str, examples: int
) -> list[int]:
    """Calls one operation in many ways; the statuses that it answered."""
    statuses = []

    @settings(QUICK, max_examples=examples)
    @given(case=operation.as_strategy(mode))
    def ask(case: Any) -> None:
        case.path_parameters = {**case.path_parameters, **known.get(operation.path, {})}
        # What the schema cannot say, such as whether a cursor is one of ours, may be refused: 422.
        answer = case.call_and_validate(
            headers={"Authorization": token}, excluded_checks=[positive_data_acceptance]
        )
        statuses.append(answer.status_code)

    ask()
    return statuses
