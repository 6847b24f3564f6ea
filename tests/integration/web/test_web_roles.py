"""Every call of the admin API for every role: what it answers, and that a refused one changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.engine import pauses
from provisioner.engine.reconcile import Reconcile
from provisioner.web import create_app
from provisioner.web.api import calls
from tests.integration.web.conftest import ADMIN, ALL, STAFF, TOKENS, Stage

# A call, an example of it, its body, for whom it is, and what it answers them. Support works on one
# customer's service, but does not terminate, approve, link, nor anything that is the whole account's. A call
# that is not here fails a test: whoever adds one decides for whom it is.
ROLES: list[tuple[str, str, Any, frozenset[str], int]] = [
    ("GET /api/operations", "", None, ALL, 200),
    ("GET /api/operations/{operation}", "/api/operations/{queued}", None, ALL, 200),
    ("POST /api/operations/{operation}/retry", "/api/operations/{failed}/retry", None, STAFF, 200),
    ("POST /api/operations/{operation}/retry", "/api/operations/{failed_link}/retry", None, ADMIN, 200),
    ("POST /api/operations/{operation}/retry", "/api/operations/{failed_terminate}/retry", None, ADMIN, 200),
    ("POST /api/operations/{operation}/cancel", "/api/operations/{queued}/cancel", None, STAFF, 200),
    ("POST /api/operations/{operation}/cancel", "/api/operations/{terminate}/cancel", None, STAFF, 200),
    ("POST /api/operations/{operation}/approve", "/api/operations/{held}/approve", None, ADMIN, 200),
    ("GET /api/services", "", None, ALL, 200),
    ("GET /api/services/{billing}/{service_id}", "/api/services/shop/1", None, ALL, 200),
    *(
        (
            "POST /api/services/{billing}/{service_id}/actions",
            f"/api/services/shop/{service}/actions",
            {"action": action, **data},
            ADMIN if action in ("terminate", "link") else STAFF,
            202,
        )
        for action, service, data in [
            ("create", "9", {"plan": "vps-s"}),
            ("link", "9", {"plan": "vps-s", "vmid": 7}),
            ("change", "1", {"options": {"mem": 2048}}),
            ("suspend", "1", {"lock": True}),
            ("unsuspend", "1", {}),
            ("terminate", "1", {"immediate": True}),
            ("start", "1", {}),
            ("shutdown", "1", {}),
            ("stop", "1", {}),
            ("reboot", "1", {}),
            ("force_reboot", "1", {}),
            ("reinstall", "1", {}),
            ("reset_password", "1", {}),
            ("set_rdns", "1", {"ip": "192.0.2.1", "hostname": "a.example.com"}),
            ("backup", "1", {}),
            ("restore", "1", {"backup": 1}),
        ]
    ),
    ("POST /api/services/import", "", {"file": "billing,service_id,vmid,plan"}, ADMIN, 422),
    ("POST /api/services/{billing}/{service_id}/unlink", "/api/services/shop/21/unlink", None, ADMIN, 200),
    (
        "POST /api/services/{billing}/{service_id}/move",
        "/api/services/shop/21/move",
        {"service_id": "23"},
        ADMIN,
        200,
    ),
    ("POST /api/services/{billing}/{service_id}/erase", "/api/services/shop/22/erase", None, ADMIN, 200),
    ("GET /api/events", "", None, ALL, 200),
    ("GET /api/events/{event}", "/api/events/{rejected}", None, ALL, 200),
    ("POST /api/events/{event}/replay", "/api/events/{rejected}/replay", None, STAFF, 422),
    ("POST /api/events/{event}/replay", "/api/events/{rejected_terminate}/replay", None, ADMIN, 422),
    ("POST /api/events/{event}/replay", "/api/events/{rejected_link}/replay", None, ADMIN, 422),
    ("GET /api/upstream/reconciliation", "", None, ALL, 200),
    ("POST /api/reconcile", "", {"fix": True}, STAFF, 200),
    ("GET /api/brakes", "", None, ALL, 200),
    ("POST /api/brakes/{kind}/reset", "/api/brakes/terminate/reset", None, ADMIN, 200),
    ("POST /api/pause", "", None, ADMIN, 200),
    ("POST /api/resume", "", None, ADMIN, 200),
    ("POST /api/billing/{name}/trust", "/api/billing/shop/trust", {"installation": "x"}, ADMIN, 200),
    ("GET /api/recovery", "", None, ALL, 200),
    ("POST /api/recovery/finish", "", None, ADMIN, 200),
    ("GET /api/keys", "", None, ALL, 200),
    ("POST /api/keys/rotate", "", None, ADMIN, 200),
    ("POST /api/keys/forget", "", None, ADMIN, 200),
    ("POST /api/leave", "", None, ADMIN, 200),
    ("GET /api/billing", "", None, ALL, 200),
    ("GET /api/alerts", "", None, ALL, 200),
    ("GET /api/audit", "", None, ALL, 200),
    ("GET /api/audit/verification", "", None, ALL, 200),
]


class Account:
    """An upstream account without a VM."""

    def servers(self) -> frozenset[int]:
        return frozenset()


def reconciling(stage: Any) -> Any:
    """The stage, with an upstream that answers."""
    reconcile = Reconcile(stage.app.store, Account(), stage.clock)
    stage.client = create_app(replace(stage.surfaces, reconcile=reconcile)).test_client()
    return stage


def failed(stage: Any, service_id: str, kind: str, data: dict[str, Any]) -> str:
    """An operation of this kind that has failed."""
    event = {"service_id": service_id, **data}
    operation = stage.running(stage.event(kind, event).json["operation"])
    stage.record(lambda record: record.fail(operation, "0xb0", "It could not be done."))
    return str(operation.id)


def rejected(stage: Any, kind: str, **data: Any) -> str:
    return str(stage.event(kind, {"service_id": "99", **data}).json["event"])


def places(stage: Any) -> dict[str, str]:
    """Something for every call to be about; service 1 is there, 9 is not."""
    stage.order("1", hostname=None)
    stage.order("2", hostname=None)
    stage.order("6", hostname=None)
    stage.quiet("21", vmid=21)
    stage.quiet("22")
    found = {
        "failed": stage.failed("3"),
        "failed_link": failed(stage, "4", "service.link", {"vmid": 5, "plan": "vps-s"}),
        "failed_terminate": failed(stage, "2", "service.terminate", {}),
        "queued": stage.order("5", hostname=None),
        "terminate": stage.event("service.terminate", {"service_id": "6"}).json["operation"],
        "held": stage.held("7"),
        "rejected": rejected(stage, "order.paid", plan="nosuch"),
        "rejected_terminate": rejected(stage, "service.terminate"),
        "rejected_link": rejected(stage, "service.link", vmid=1, plan="nosuch"),
    }
    value = {"at": 1, "taken_at": 1}
    stage.record(lambda record: pauses.begin(record.verbs, pauses.RECOVERING, value, record.now))
    stage.app.recovery.begin()
    return found


@dataclass
class Asked:
    """A stage and the places on it."""

    stage: Any
    places: dict[str, str]

    def __call__(self, name: str, path: str, body: Any, role: str) -> Any:
        method, _, pattern = name.partition(" ")
        ask = self.stage.get if method == "GET" else self.stage.post
        where = (path or pattern).format(**self.places)
        return ask(where, token=TOKENS[role]) if body is None else ask(where, body, token=TOKENS[role])

    def state(self) -> tuple[int, int]:
        audit = self.stage.app.store.read(lambda verbs: verbs.audit_after(0, 500))
        return self.stage.count("operations"), len(audit)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """What calls that change nothing share."""
    with closing(Stage(tmp_path_factory.mktemp("still"), {})) as stage:
        reconciling(stage)
        yield Asked(stage, places(stage))


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with a store and its key, and the places in it."""
    folder = tmp_path_factory.mktemp("furnished")
    with closing(Stage(folder, {})) as stage:
        return folder, places(stage)


@pytest.fixture
def moved(furnished: tuple[Path, dict[str, str]], tmp_path: Path) -> Iterator[Asked]:
    """What one call may change: a copy of its own, which is made sooner than the places."""
    folder, found = furnished
    with closing(Stage(Path(shutil.copytree(folder, tmp_path / "moved")), {})) as stage:
        yield Asked(reconciling(stage), found)


def test_every_call_is_for_somebody(stage: Any) -> None:
    served = {f"{call.method} {call.path}" for call in calls(stage.surfaces)}
    assert served == {name for name, *_ in ROLES}


READS = [(*row[:3], role, row[4]) for row in ROLES for role in sorted(row[3]) if row[0].startswith("GET ")]
CHANGES = [(*row[:3], role, row[4]) for row in ROLES for role in sorted(row[3]) if row[0].startswith("POST ")]
REFUSED = [(*row[:3], role) for row in ROLES for role in sorted(ALL - row[3])]


def test_every_call_is_tried_by_every_role() -> None:
    assert len(READS) + len(CHANGES) + len(REFUSED) == len(ROLES) * len(TOKENS)


@pytest.mark.parametrize(("name", "path", "body", "role", "status"), READS)
def test_role_may_read(still: Asked, name: str, path: str, body: Any, role: str, status: int) -> None:
    before = still.state()
    answer = still(name, path, body, role)
    assert answer.status_code == status, answer.text
    assert still.state() == before


@pytest.mark.parametrize(("name", "path", "body", "role", "status"), CHANGES)
def test_role_may_change(moved: Asked, name: str, path: str, body: Any, role: str, status: int) -> None:
    answer = moved(name, path, body, role)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(("name", "path", "body", "role"), REFUSED)
def test_role_reaches_no_further(still: Asked, name: str, path: str, body: Any, role: str) -> None:
    before = still.state()
    answer = still(name, path, body, role)
    assert (answer.status_code, answer.json["error"]["code"]) == (403, "forbidden")
    assert role in answer.json["error"]["message"]
    assert still.state() == before
