"""One address: events and health are answered before the rest is made, and nobody can tell by the answers."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from provisioner.signing import Signer
from provisioner.web import Side, application, create_app
from provisioner.web.application import Application

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS1zaG9wLWZvci10ZXN0cw=="
PATIENCE_S = 60.0
SOON = ["/readyz", "/webhooks/shop", "/webhooks/nobody", "/webhooks/", "/readyz/", "/healthz/x"]
LATER = ["/", "/nothing", "/webhooks", "//webhooks/shop", "/api/brakes", "/openapi.json", "/queries/shop"]
LATER += ["/admin/sign-in", "/panel/none", "/assets/console.js", "/assets/none", "/%72eady"]
TOLD = ("Content-Type", "Cache-Control", "X-Content-Type-Options", "Allow", "WWW-Authenticate", "Location")


def looks(answer: TestResponse) -> tuple[int, list[str | None], bytes]:
    return answer.status_code, [answer.headers.get(name) for name in TOLD], answer.get_data()


@pytest.fixture
def unmade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "create_app", lambda *_: pytest.fail("it makes what nobody asked for"))


@pytest.mark.usefixtures("unmade")
def test_event_is_accepted_before_the_rest_is_made(stage: Any) -> None:
    client = Client(Application(stage.surfaces))
    body = json.dumps({"type": "order.paid", "data": {"service_id": "1001", "plan": "vps-s"}}).encode()
    signed = Signer([SECRET]).sign("msg-1", stage.clock.ms // 1000, body)
    answer = client.post("/webhooks/shop", data=body, headers=signed, content_type="application/json")
    assert answer.status_code == 202
    assert [client.get(path).status_code for path in ("/readyz", "/healthz")] == [200, 200]


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("path", [*SOON, *LATER])
def test_answers_tell_nothing_of_what_is_made(stage: Any, side: Side, path: str) -> None:
    early, whole = Application(stage.surfaces, side), create_app(stage.surfaces, side)
    for method in ("GET", "POST"):
        assert looks(Client(early).open(path, method=method)) == looks(
            Client(whole).open(path, method=method)
        )
    assert (early._whole is None) == (path in SOON)


def test_whole_is_made_once_for_two_who_ask_at_once(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    begun, go = threading.Event(), threading.Event()

    def make(*given: Any) -> Any:
        begun.set()
        assert go.wait(PATIENCE_S)
        made.append(create_app(*given))
        return made[-1]

    monkeypatch.setattr(application, "create_app", make)
    client = Client(Application(stage.surfaces))
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(client.get, path) for path in ("/api/brakes", "/openapi.json")]
        assert begun.wait(PATIENCE_S)
        assert client.get("/readyz").status_code == 200  # and health waits for neither
        go.set()
        assert [each.result(PATIENCE_S).status_code for each in asked] == [401, 200]
    assert len(made) == 1


def test_whole_answers_everything_from_then_on(stage: Any) -> None:
    early = Application(stage.surfaces)
    whole = early.complete()
    asked: list[str] = []
    whole.before_request(lambda: asked.append("here"))
    assert Client(early).get("/readyz").status_code == 200
    assert (asked, early.complete()) == (["here"], whole)


def test_what_cannot_be_made_is_tried_anew(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = iter([RuntimeError("broken")])

    def make(*given: Any) -> Any:
        for error in tries:
            raise error
        return create_app(*given)

    monkeypatch.setattr(application, "create_app", make)
    early = Application(stage.surfaces)
    with pytest.raises(RuntimeError):
        early.complete()
    assert [Client(early).get(path).status_code for path in ("/readyz", "/api/brakes")] == [200, 401]
