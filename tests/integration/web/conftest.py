"""A service with its HTTP surfaces on a store of its own; no worker runs, so nothing moves by itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import FileSystemBytecodeCache
from werkzeug.test import TestResponse

from provisioner import app as wiring
from provisioner.config import Settings, parse
from provisioner.delivery import DeliveryState
from provisioner.engine.record import Record
from provisioner.operation import Operation, State
from provisioner.service import ServiceStatus, Spec
from provisioner.signing import Signer
from provisioner.store.verbs import Verbs
from provisioner.web import Side, create_app

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS1zaG9wLWZvci10ZXN0cw=="
OTHER_SECRET = "whsec_" + "YW5vdGhlci1zZWNyZXQtZm9yLWFub3RoZXItc2hvcA=="
ADMIN_TOKEN = "admin-token-0123456789"
NOW = 1_800_000_000_000
COOKIE = "provisioner_console"

# One person of each role, by their tokens, and for whom something may be.
TOKENS = {
    "read": "rudi-token-0123456789",
    "support": "anna-token-0123456789",
    "admin": "olga-token-0123456789",
}
ALL = frozenset(TOKENS)
STAFF = frozenset({"support", "admin"})
ADMIN = frozenset({"admin"})

TABLES: dict[str, Any] = {
    "store": {"url": "sqlite:///store.db"},
    "security": {"admin_token": ADMIN_TOKEN},
    "admins": {
        "anna": {"token": "anna-token-0123456789", "role": "support"},
        "rudi": {"token": "rudi-token-0123456789", "role": "read"},
        "olga": {"token": "olga-token-0123456789", "role": "admin"},
    },
    "upstream": {"token": "upstream-token-never-used", "base_url": "http://127.0.0.1:9/api/v1"},
    "billing": {
        "shop": {
            "platform": "standard",
            "secrets": [SECRET],
            "callback_url": "http://127.0.0.1:9/provisioning",
        },
        "other": {
            "platform": "standard",
            "secrets": [OTHER_SECRET],
            "callback_url": "http://127.0.0.1:9/provisioning",
            "plans": ["vps-m"],
        },
    },
    "plans": {
        "vps-s": {
            "template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1,
            "label": "VPS S", "max": {"mem": 8192},
        },
        "vps-m": {
            "template": "Debian10.0", "cpu_cores": 2, "mem": 2048, "disk": "20G", "ip_count": 1,
            "templates": ["Debian10.0", "Ubuntu20.04"],
        },
    },
    "templates": {"Debian10.0": {"label": "Debian 10"}},
}  # fmt: skip
ORDER = {"service_id": "1001", "plan": "vps-s", "hostname": "web1.example.com", "client": {"id": "7"}}


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.ms = NOW

    def __call__(self) -> int:
        return self.ms


@dataclass
class Form:
    """One form of a page: how it is sent, where to, and what it holds before anybody fills it in."""

    method: str
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """A page as a person has it: its words, its links, its forms."""

    def __init__(self, html: str, at: str) -> None:
        super().__init__()
        self.title, self.links, self.forms, self.tags = "", [], [], []  # type: ignore[var-annotated]
        self._at, self._words, self._inside = at, [], []  # type: ignore[var-annotated]
        self.feed(html)
        self.text = " ".join(" ".join(self._words).split())

    def form(self, action: str) -> Form:
        """The form that is sent there."""
        found = [form for form in self.forms if form.action == action]
        assert len(found) == 1, (action, [form.action for form in self.forms])
        form: Form = found[0]
        return form

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.tags.append((tag, given))
        self._inside.append(tag)
        if tag == "a":
            self.links.append(given["href"])
        elif tag == "form":
            self.forms.append(Form(given.get("method", "get"), given.get("action", self._at)))
        elif tag in ("input", "select") and "name" in given and self.forms:
            self.forms[-1].fields.setdefault(given["name"], given.get("value", ""))
        elif tag == "button" and self.forms:
            self.forms[-1].buttons.append(given.get("value", ""))

    def handle_data(self, data: str) -> None:
        if self._inside[-1:] == ["title"] and not self.title:
            self.title = data.strip()
        self._words.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass


@dataclass
class Person:
    """Somebody at the console, with a browser of their own."""

    browser: FlaskClient

    def sign_in(self, token: str, **form: str) -> TestResponse:
        return self.browser.post("/admin/sign-in", data={"token": token, **form})

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.browser.get(path, **more)

    def page(self, path: str, status: int = 200) -> Page:
        answer = self.get(path)
        assert answer.status_code == status, (path, answer.status_code, Page(answer.text, path).text)
        return Page(answer.text, path)

    def post(self, path: str, form: dict[str, Any] | None = None, **more: Any) -> TestResponse:
        """A form of this session's own page."""
        data = {"csrf_token": self.token(), **(form or {})}
        return self.browser.post(path, data=data, **more)

    def done(self, path: str, form: dict[str, Any] | None = None) -> str:
        """Sends a form that is to be carried out; where it leads to."""
        answer = self.post(path, form)
        assert answer.status_code == 303, (path, answer.status_code, Page(answer.text, path).text)
        return answer.location

    def refused(self, path: str, form: dict[str, Any] | None = None) -> tuple[int, str]:
        """Sends a form that is to be refused; the status and the words of the page."""
        answer = self.post(path, form)
        assert answer.mimetype == "text/html"
        return answer.status_code, Page(answer.text, path).text

    def token(self) -> str:
        """What proves that a form is of this session."""
        found = re.search('name="csrf_token" value="([^"]+)"', self.get("/admin/brakes").text)
        assert found is not None
        return found[1]

    @property
    def cookie(self) -> str:
        found = self.browser.get_cookie(COOKIE, path="/admin")
        return found.value if found else ""

    def take(self, cookie: str) -> None:
        """Makes it this browser's cookie."""
        self.browser.set_cookie(COOKIE, cookie, path="/admin")


class Nobody(Executor):
    """Does nothing that is asked of it: no upstream is there to be looked at."""

    def submit(self, *asked: Any, **more: Any) -> Future[Any]:
        return Future()


class Stage:
    """The surfaces as their callers see them, and a way to put the store into a state."""

    def __init__(self, folder: Path, tables: dict[str, Any]) -> None:
        self.clock = Clock()
        self.folder, self.tables = folder, {**TABLES, **tables}
        self.app = wiring.build(self.settings(), self.clock)
        self.app.looks.pool = Nobody()
        self.surfaces = wiring.surfaces(self.app)
        self._sent = 0

    def settings(self, **tables: Any) -> Settings:
        """Its settings, with these tables in place of its own."""
        return parse({**self.tables, **tables}, name="config.toml", folder=self.folder, environ={})

    @cached_property
    def client(self) -> FlaskClient:
        return self.client_of(Side.ALL)

    def client_of(self, side: Side) -> FlaskClient:
        return create_app(self.surfaces, side).test_client()

    def close(self) -> None:
        self.app.close()

    # As an admin

    def get(self, path: str, token: str = ADMIN_TOKEN, **query: Any) -> TestResponse:
        return self.client.get(path, query_string=query, headers=bearer(token))

    def post(self, path: str, body: Any = None, token: str = ADMIN_TOKEN) -> TestResponse:
        raw = None if body is None else json.dumps(body)
        return self.client.post(path, data=raw, headers=bearer(token))

    # As a person at the console

    def person(self, token: str = ADMIN_TOKEN) -> Person:
        """Somebody with this token, signed in with a browser of their own."""
        person = Person(self.client.application.test_client())
        assert person.sign_in(token).status_code == 303
        return person

    def audit(self) -> list[Any]:
        """The audit, oldest first."""
        lines: list[Any] = self.app.store.read(lambda verbs: verbs.audit_after(0, 500))
        return lines

    # As a billing system

    def send(
        self,
        path: str,
        raw: bytes,
        *,
        webhook_id: str = "",
        secret: str = SECRET,
        at_s: int | None = None,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> TestResponse:
        """A signed message, with headers of one's own over the signature's."""
        self._sent += 1
        sent_at = self.clock.ms // 1000 if at_s is None else at_s
        signed = Signer([secret]).sign(webhook_id or f"msg-{self._sent}", sent_at, raw)
        return self.client.post(
            path, data=raw, headers={**signed, **(headers or {})}, content_type=content_type
        )

    def event(self, kind: str, data: dict[str, Any], *, webhook_id: str = "", **more: Any) -> TestResponse:
        raw = json.dumps({"type": kind, "data": data, **more}).encode()
        return self.send("/webhooks/shop", raw, webhook_id=webhook_id)

    def query(
        self, kind: str, data: dict[str, Any] | None = None, billing: str = "shop", **more: Any
    ) -> TestResponse:
        raw = json.dumps({"type": kind, "data": data or {}, **more}).encode()
        secret = OTHER_SECRET if billing == "other" else SECRET
        return self.send(f"/queries/{billing}", raw, secret=secret)

    # In the store

    def order(self, service_id: str = "1001", **more: Any) -> str:
        """A paid order; the operation's id."""
        answer = self.event("order.paid", {**ORDER, "service_id": service_id, **more})
        assert answer.status_code == 202, answer.text
        return str(answer.json["operation"])

    def operation(self, operation_id: str) -> Operation:
        found = self.app.store.read(lambda verbs: verbs.operation(operation_id))
        assert found is not None
        return found

    def record(self, change: Callable[[Record], Any]) -> Any:
        """Changes the store as the engine would."""

        def unit(verbs: Verbs) -> Any:
            return change(Record(verbs, self.clock.ms, wiring.new_id))

        return self.app.store.write(unit)

    def running(self, operation_id: str) -> Operation:
        """The operation, as if a worker had claimed it."""
        queued = self.operation(operation_id)
        moved: Operation = self.record(lambda record: record.move(queued, State.RUNNING, "claimed"))
        return moved

    def held(self, service_id: str = "1001", code: str = "brake") -> str:
        """An order whose create a person must look at."""
        running = self.running(self.order(service_id, hostname=None))
        self.record(lambda record: record.hold(running, code, "It is checked.", detail="too many of them"))
        return running.id

    def failed(self, service_id: str = "1001") -> str:
        """An order whose create has failed."""
        running = self.running(self.order(service_id, hostname=None))
        self.record(
            lambda record: record.fail(running, "0xb0", "It could not be made.", detail="over the limits")
        )
        return running.id

    def quiet(self, service_id: str, vmid: int | None = None) -> None:
        """A service for which nothing is under way or to be told; with a VM where one is named."""
        order = self.order(service_id, hostname=None)
        self.app.commands.cancel(order, "admin:test")

        def told(record: Record) -> None:
            for delivery in record.verbs.deliveries_of_operation(order):
                done = replace(delivery, state=DeliveryState.DONE)
                record.verbs.save_delivery(done, fence=delivery.claims)
            service = record.verbs.service("shop", service_id)
            assert service is not None
            status = ServiceStatus.TERMINATED if vmid is None else ServiceStatus.ACTIVE
            spec = Spec("Debian10.0", 1, 1024, "10G", 1)
            record.verbs.save_service(replace(service, vmid=vmid, status=status, spec=spec, config=spec))

        self.record(told)

    def count(self, table: str) -> int:
        """How many rows of a list there are."""
        read = {"events": Verbs.events, "operations": Verbs.operations, "services": Verbs.services}[table]
        return len(self.app.store.read(lambda verbs: read(verbs, 500, None)))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Templates are compiled once for all applications: each stage has one of its own."""
    cache = FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flask, "jinja_options", {"bytecode_cache": cache})
        yield


@pytest.fixture
def stages(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Makes stages with settings of their own, a folder each."""
    made: list[Stage] = []

    def make(**tables: Any) -> Stage:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Stage(folder, tables))
        return made[-1]

    yield make
    for stage in made:
        stage.close()


@pytest.fixture
def stage(stages: Callable[..., Stage]) -> Stage:
    return stages()


@pytest.fixture(scope="module")
def of_the_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("stage"), {})
    yield stage
    stage.close()


@pytest.fixture
def lasting(of_the_module: Stage) -> Stage:
    """One stage for the tests of a module that only look, or only try; much time passes between them."""
    of_the_module.clock.ms += 86_400_000
    return of_the_module
