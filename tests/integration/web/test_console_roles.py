"""Every page and form of the console for every role: what it answers, and what it does not even offer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urldefrag, urlsplit

import pytest

from provisioner.engine import pauses
from provisioner.engine.reconcile import Reconcile
from provisioner.operation import Kind
from provisioner.web import create_app
from provisioner.web.console.deeds import DEEDS
from tests.integration.web.conftest import ADMIN, ALL, STAFF, TOKENS

DECIDED = {"terminate", "link", "unlink", "move", "erase"}
FILLED_IN: dict[str, dict[str, str]] = {
    "create": {"plan": "vps-s"},
    "link": {"plan": "vps-s", "vmid": "7"},
    "change": {"mem": "2048"},
    "set_rdns": {"ip": "192.0.2.1", "hostname": "a.example.com"},
    "restore": {"backup": "1"},
    "move": {"to": "23"},
}
ONE, MANY = "/admin/operations/<operation>/<verb>", "/admin/operations/many"
SERVICES = {"unlink": "21", "move": "24", "erase": "22"}

# A route, an example of it, its form (None: a page), for whom it is, and what it answers them. A route that
# is not here fails a test: whoever adds one decides for whom it is.
ROLES: list[tuple[str, str, dict[str, Any] | None, frozenset[str], int]] = [
    ("GET /admin", "/admin", None, ALL, 200),
    ("GET /admin/sign-in", "/admin/sign-in", None, ALL, 200),
    ("POST /admin/sign-in", "/admin/sign-in", {"token": TOKENS["read"]}, ALL, 303),
    ("POST /admin/sign-out", "/admin/sign-out", {}, ALL, 303),
    ("GET /admin/operations", "/admin/operations", None, ALL, 200),
    ("GET /admin/operations/<operation>", "/admin/operations/{queued}", None, ALL, 200),
    (f"GET {ONE}", "/admin/operations/{failed}/retry", None, STAFF, 200),
    (f"GET {ONE}", "/admin/operations/{failed_terminate}/retry", None, ADMIN, 200),
    (f"GET {ONE}", "/admin/operations/{queued}/cancel", None, STAFF, 200),
    (f"GET {ONE}", "/admin/operations/{held}/approve", None, ADMIN, 200),
    (f"POST {ONE}", "/admin/operations/{failed}/retry", {}, STAFF, 303),
    (f"POST {ONE}", "/admin/operations/{failed_terminate}/retry", {}, ADMIN, 303),
    (f"POST {ONE}", "/admin/operations/{queued}/cancel", {}, STAFF, 303),
    (f"POST {ONE}", "/admin/operations/{held}/approve", {}, ADMIN, 303),
    (f"POST {MANY}", MANY, {"verb": "retry", "operation": "x"}, STAFF, 200),
    (f"POST {MANY}", MANY, {"verb": "cancel", "operation": "x"}, STAFF, 200),
    (f"POST {MANY}", MANY, {"verb": "approve", "operation": "x"}, ADMIN, 200),
    ("GET /admin/services", "/admin/services", None, ALL, 200),
    ("GET /admin/services/<billing>/<service_id>", "/admin/services/shop/1", None, ALL, 200),
    *(
        (
            f"{method} /admin/services/<billing>/<service_id>/<deed>",
            f"/admin/services/shop/{SERVICES.get(deed, '1')}/{deed}",
            FILLED_IN.get(deed, {}) if method == "POST" else None,
            ADMIN if deed in DECIDED else STAFF,
            303 if method == "POST" else 200,
        )
        for deed in DEEDS
        for method in ("GET", "POST")
    ),
    ("GET /admin/events", "/admin/events", None, ALL, 200),
    ("GET /admin/events/<event>", "/admin/events/{rejected}", None, ALL, 200),
    ("POST /admin/events/<event>/replay", "/admin/events/{rejected}/replay", {}, STAFF, 422),
    ("POST /admin/events/<event>/replay", "/admin/events/{rejected_terminate}/replay", {}, ADMIN, 422),
    ("GET /admin/reconciliation", "/admin/reconciliation", None, ALL, 200),
    ("POST /admin/reconciliation", "/admin/reconciliation", {"fix": "yes"}, STAFF, 303),
    ("GET /admin/brakes", "/admin/brakes", None, ALL, 200),
    ("POST /admin/brakes/<kind>/reset", "/admin/brakes/terminate/reset", {}, ADMIN, 303),
    ("POST /admin/pause", "/admin/pause", {}, ADMIN, 303),
    ("POST /admin/resume", "/admin/resume", {}, ADMIN, 303),
    ("GET /admin/plans", "/admin/plans", None, ALL, 200),
    ("GET /admin/settings", "/admin/settings", None, ALL, 200),
    ("POST /admin/settings/trust/<name>", "/admin/settings/trust/shop", {"installation": "x"}, ADMIN, 303),
    ("GET /admin/audit", "/admin/audit", None, ALL, 200),
]  # fmt: skip


class Account:
    """An upstream account without a VM."""

    def servers(self) -> frozenset[int]:
        return frozenset()


@pytest.fixture
def reconciling(stage: Any) -> Any:
    """The stage, with an upstream that answers."""
    reconcile = Reconcile(stage.app.store, Account(), stage.clock)
    stage.client = create_app(replace(stage.surfaces, reconcile=reconcile)).test_client()
    return stage


def failed(stage: Any, service_id: str, kind: str, data: dict[str, Any]) -> str:
    operation = stage.running(stage.event(kind, {"service_id": service_id, **data}).json["operation"])
    stage.record(lambda record: record.fail(operation, "0xb0", "It could not be done."))
    return str(operation.id)


def rejected(stage: Any, kind: str, **data: Any) -> str:
    return str(stage.event(kind, {"service_id": "99", **data}).json["event"])


@pytest.fixture
def places(reconciling: Any) -> dict[str, str]:
    """Something for every route to be about."""
    stage = reconciling
    stage.order("1", hostname=None)
    stage.order("2", hostname=None)
    stage.quiet("21", vmid=21)
    stage.quiet("22")
    stage.quiet("24", vmid=24)
    return {
        "failed": stage.failed("3"),
        "failed_terminate": failed(stage, "2", "service.terminate", {}),
        "queued": stage.order("5", hostname=None),
        "held": stage.held("7"),
        "rejected": rejected(stage, "order.paid", plan="nosuch"),
        "rejected_terminate": rejected(stage, "service.terminate"),
    }


def routes(stage: Any) -> set[str]:
    """Every route of the console but the one for what is no page."""
    rules = stage.client.application.url_map.iter_rules()
    return {
        f"{method} {rule.rule}"
        for rule in rules
        if rule.endpoint.startswith("console.") and rule.endpoint != "console.nothing"
        for method in rule.methods - {"HEAD"}
    }


def test_every_route_is_for_somebody(stage: Any) -> None:
    assert routes(stage) == {name for name, *_ in ROLES}


@pytest.mark.parametrize("role", TOKENS)
def test_role_reaches_so_far(reconciling: Any, places: dict[str, str], role: str) -> None:
    """What is refused is tried first, so that it finds everything as it was; it leaves no trace."""
    stage = reconciling
    refused = [each for each in ROLES if role not in each[3]]
    person = stage.person(TOKENS[role])
    before = stage.count("operations"), len(stage.audit())
    for name, path, form, _, _ in refused:
        at = path.format(**places)
        answer = person.get(at) if form is None else person.post(at, form)
        assert answer.status_code == 403, (name, at)
        assert "Not for your role" in answer.text
        assert f"this is not for the role {role}" in answer.text
    assert (stage.count("operations"), len(stage.audit())) == before


def test_who_may_does(reconciling: Any, places: dict[str, str]) -> None:
    """Each form, sent by the least role that reaches it."""
    for name, path, form, roles, status in ROLES:
        if form is not None:
            role = next(role for role in TOKENS if role in roles)
            answer = reconciling.person(TOKENS[role]).post(path.format(**places), form)
            assert answer.status_code == status, (name, path, answer.text)


@pytest.mark.parametrize("role", TOKENS)
def test_who_may_sees(reconciling: Any, places: dict[str, str], role: str) -> None:
    person = reconciling.person(TOKENS[role])
    for _, path, form, roles, status in ROLES:
        if form is None and role in roles:
            assert person.get(path.format(**places)).status_code == status, path


@pytest.mark.parametrize("role", TOKENS)
def test_no_page_offers_what_the_role_may_not(reconciling: Any, places: dict[str, str], role: str) -> None:
    """Every link from the overview on, and every form on the way: each is there, and for this role."""
    stage = reconciling
    adapter = stage.client.application.url_map.bind("localhost")
    value = {"at": 1, "actor": "admin:olga", "reason": "a fire"}
    stage.record(lambda record: pauses.begin(record.verbs, pauses.BY_PERSON, value, record.now))
    person, seen, to_see = stage.person(TOKENS[role]), set(), ["/admin"]
    forms = set()
    while to_see:
        at = to_see.pop()
        page = person.page(at)
        seen.add(at)
        forms |= {form.action for form in page.forms if form.method == "post"}
        links = {urldefrag(link)[0] for link in page.links} - seen - set(to_see) - {""}
        to_see += [link for link in links if len(seen) < 400 and link.startswith("/admin")]
    assert len(seen) > 20
    mine = {name for name, _, form, roles, _ in ROLES if form is not None and role in roles}
    for action in forms:
        endpoint, values = adapter.match(urlsplit(action).path, method="POST")
        rule = next(rule for rule in stage.client.application.url_map.iter_rules(endpoint))
        assert f"POST {rule.rule}" in mine, (action, values)


def test_table_of_deeds_is_the_apis(stage: Any) -> None:
    assert set(Kind) <= set(DEEDS)
    assert {name for name, deed in DEEDS.items() if deed.needs == "decide"} == DECIDED
