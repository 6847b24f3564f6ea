"""One service between a sandbox upstream and a stub billing system, driven by hand on a clock of its own."""

from __future__ import annotations

import base64
import gc
import json
import logging
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as chance
from werkzeug.routing import Rule

from provisioner import app as wiring
from provisioner.app import App
from provisioner.config import parse
from provisioner.operation import Operation, State
from provisioner.sandbox import BillingStub, Delivery, Sandbox, SandboxServer
from provisioner.service import Service
from tests.postgres import Postgres
from tests.short_line import shorten

STARTS_AT = 1_795_000_000_000
BILLING_SECRET = "whsec_" + base64.b64encode(b"b" * 32).decode()
MOST_ROUNDS = 10_000  # more work than any test has: a circle, not progress


class Clock:
    """The time of everything in a test, milliseconds since the epoch; it moves when it is told to."""

    def __init__(self) -> None:
        self.now = STARTS_AT

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


@dataclass
class World:
    """A wired service without threads of its own: what is due is done when a test says so."""

    folder: Path
    clock: Clock
    upstream: SandboxServer
    billing: BillingStub
    tables: dict[str, Any]
    app: App = field(init=False)
    sent: int = 0

    def __post_init__(self) -> None:
        self.open()

    @property
    def sandbox(self) -> Sandbox:
        return self.upstream.sandbox

    def open(self) -> None:
        """Wires the service, over the store that an earlier one left."""
        settings = parse(self.tables, name="config.toml", folder=self.folder, environ={})
        self.app = wiring.build(settings, self.clock)
        self.app.advance.rng = self.app.deliver.rng = random.Random(7)

    def reopen(self) -> None:
        """What a restart does: the leases of the process before end."""
        self.app.close()
        self.open()
        self.app.store.write(lambda verbs: verbs.release_leases(self.clock()))
        self.app.deliver.begin()

    def event(self, kind: str, service_id: str = "1001", **data: Any) -> str:
        """Has an event accepted; returns its operation's id."""
        self.sent += 1
        body = json.dumps({"type": kind, "data": {"service_id": service_id, **data}})
        answer = self.app.accept.webhook("shop", f"evt-{self.sent}", body.encode())
        assert answer.status == 202, answer
        operation: str = json.loads(answer.body)["operation"]
        return operation

    def order(self, service_id: str = "1001", **data: Any) -> str:
        return self.event("order.paid", service_id, **{"plan": "vps-s", **data})

    def step(self) -> bool:
        """Claims and advances one operation; whether there was one."""
        claimed = self.app.advance.claim()
        if claimed is not None:
            self.app.advance.advance(claimed)
        return claimed is not None

    def post(self) -> bool:
        """Claims and posts one delivery; whether there was one."""
        delivery = self.app.deliver.claim()
        if delivery is not None:
            self.app.deliver.deliver(delivery)
        return delivery is not None

    def idle(self) -> None:
        """Does everything that is due now."""
        for _ in range(MOST_ROUNDS):
            worked, posted = self.step(), self.post()
            if not (worked or posted):
                return
        raise AssertionError("there is always more to do at the same moment")

    def run(self, seconds: float = 60.0, *, until: Callable[[], bool] = lambda: False) -> None:
        """Lets so much time pass, doing what falls due in it; ends at once where `until` comes true."""
        ends_at = self.clock.now + round(seconds * 1000)
        self.idle()
        while not until() and (due := self._next_at()) is not None and due <= ends_at:
            self.clock.now = due
            self.idle()
        if not until():
            self.clock.now = ends_at

    def done(self, operation_id: str, seconds: float = 600.0) -> Operation:
        """Runs until an operation has ended or is held, and everything is told that can be."""
        self.run(seconds, until=lambda: self.operation(operation_id).state in ENDS)
        return self.operation(operation_id)

    def operation(self, operation_id: str) -> Operation:
        operation = self.app.store.read(lambda verbs: verbs.operation(operation_id))
        assert operation is not None
        return operation

    def service(self, service_id: str = "1001") -> Service:
        service = self.app.store.read(lambda verbs: verbs.service("shop", service_id))
        assert service is not None
        return service

    def timeline(self, operation_id: str) -> list[str]:
        entries = self.app.store.read(lambda verbs: verbs.timeline(operation_id))
        return [f"{entry.what} {json.dumps(entry.detail)}" for entry in entries]

    def told(self, service_id: str = "1001") -> list[Delivery]:
        """What the billing system accepted for a service, oldest first."""
        return [
            one for one in self.billing.deliveries if one.accepted and one.data["service_id"] == service_id
        ]

    def vmids(self) -> list[int]:
        """The VMs that are really there, listed or not."""
        return [vm["vmid"] for vm in self.sandbox.state()["vms"]]

    def calls(self, endpoint: str) -> int:
        """How many calls of an endpoint, such as `POST /datacenter/server`, reached the upstream."""
        counted: dict[str, int] = self.sandbox.state()["calls"]
        return counted.get(endpoint, 0)

    def _next_at(self) -> int | None:
        now = self.clock()
        reads = self.app.store.read
        dues = (reads(lambda v: v.next_operation_at(now)), reads(lambda v: v.next_delivery_at(now)))
        return min((due for due in dues if due is not None), default=None)


ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.HELD})


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all the tests of a process that ask for it."""
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(autouse=True, scope="session")
def _addresses_compiled_once() -> Iterator[None]:
    """Every application of a test has the same addresses, and werkzeug compiles each one anew for each.

    What it compiles depends on the address and its defaults alone.
    """
    compiled: dict[Any, Rule] = {}
    compile_rule = Rule.compile

    def once(rule: Rule) -> None:
        address = (rule.rule, rule.subdomain, *sorted((rule.defaults or {}).items()))
        if address not in compiled:
            compile_rule(rule)
            compiled[address] = rule
        same = vars(compiled[address])
        for name in ("_parts", "_trace", "_converters", "arguments"):
            setattr(rule, name, same[name])
        for name in ("_build", "_build_unknown"):
            setattr(rule, name, same[name].__func__.__get__(rule))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "compile", once)
        yield


# Fewer examples than Hypothesis's hundred; `make test-long` takes more of them. A slow machine fails no test.
chance.register_profile("quick", deadline=None, max_examples=40)
chance.register_profile("thorough", deadline=None, max_examples=500)
chance.load_profile("quick")

IN_MEMORY = Path("/dev/shm")
ROOM = 4 << 30  # bytes; a whole run leaves less


def pytest_configure() -> None:
    """Where there is room, the folders of tests are in memory: thousands of new stores wait for no disk."""
    if IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """No collection of garbage looks at ten thousand tests again: a tenth of the processor's time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store_tables() -> dict[str, Any]:
    """What [store] says; `tests/integration/on_postgres` says something else."""
    return {}


@pytest.fixture
def worlds(
    tmp_path: Path, clock: Clock, store_tables: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., World]]:
    """Makes a world; keyword arguments are tables of the settings, laid over those that suit a test."""
    made: list[World] = []
    servers: list[SandboxServer | BillingStub] = []
    shorten(monkeypatch, servers)

    def make(**over: dict[str, Any]) -> World:
        upstream = SandboxServer(Sandbox(clock))
        billing = BillingStub([BILLING_SECRET], clock=clock)
        servers.extend((upstream, billing))
        settings = {"store": store_tables, **tables(upstream.base_url, billing.callback_url)}
        for name, values in over.items():
            settings[name] = {**settings.get(name, {}), **values}
        made.append(World(tmp_path, clock, upstream, billing, settings))
        return made[-1]

    yield make
    for world in made:
        world.app.close()
        world.upstream.close()
        world.billing.close()


@pytest.fixture
def world(worlds: Callable[..., World]) -> World:
    return worlds()


def tables(base_url: str, callback_url: str) -> dict[str, Any]:
    """Settings that suit a test, as config.toml has them."""
    size = {"template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1}
    return {
        "security": {
            "admin_token": "an-admin-token-of-tests",
            "encryption_keys": [base64.urlsafe_b64encode(b"k" * 32).decode()],
        },
        "upstream": {
            "base_url": base_url, "token": "sandbox-token", "exclusive": True, "timeout": 5, "settle": 30,
        },
        "billing": {
            "shop": {"platform": "standard", "secrets": [BILLING_SECRET], "callback_url": callback_url}
        },
        "plans": {"vps-s": size, "vps-l": {**size, "cpu_cores": 4, "mem": 8192, "disk": "80G"}},
    }  # fmt: skip


@pytest.fixture
def logs_as_before() -> Iterator[None]:
    """For whoever has a command set the logs up: what it added is gone again afterwards."""
    yield
    root = logging.getLogger()
    for handler in [each for each in root.handlers if type(each.formatter).__module__ == "provisioner.logs"]:
        root.removeHandler(handler)
