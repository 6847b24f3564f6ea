"""A whole life driven by hand: the engine as it is wired, a sandbox upstream and a billing stub, one clock.

No worker runs. What is due now is claimed, advanced and delivered until nothing is; then the clock moves to
the next moment at which something will be. So a grace of a day costs nothing, and every order is the same.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from provisioner import app as wiring
from provisioner.config import parse
from provisioner.engine.accept import Request
from provisioner.engine.advance import Claimed
from provisioner.event import judge_action
from provisioner.operation import OPEN, Kind, Operation, State, TimelineEntry
from provisioner.operations.jobs import SHORTEST_LOOK_S
from provisioner.sandbox import BillingStub, Delivery, Sandbox, SandboxServer
from provisioner.service import Service
from tests.short_line import shorten

BILLING = "shop"
SERVICE = "1001"
SECRET = "whsec_" + base64.b64encode(b"a secret of the shop, for tests").decode()
KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
BEGIN_MS = 1_800_000_000_000
DAY_S = 86_400.0
MOST_ROUNDS = 20_000  # far more than any test needs: a loop that never ends is a mistake
ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
PLANS = {
    "vps-s": {"template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1},
    "vps-m": {"template": "Debian10.0", "cpu_cores": 2, "mem": 4096, "disk": "40G", "ip_count": 1},
    "vps-keep": {
        "template": "Debian10.0",
        "cpu_cores": 1,
        "mem": 2048,
        "disk": "5G",
        "ip_count": 1,
        "disk_shrink": "keep",
        "max": {"mem": 8192},
    },
}


class Clock:
    """Milliseconds since the epoch, moved by hand."""

    def __init__(self) -> None:
        self.now_ms = BEGIN_MS

    def __call__(self) -> int:
        return self.now_ms


@dataclass(frozen=True, slots=True)
class Answer:
    """What an event was answered."""

    status: int
    body: Mapping[str, Any]

    @property
    def operation(self) -> str:
        return str(self.body["operation"])

    @property
    def code(self) -> str:
        return str(self.body["error"]["code"])


class Life:
    """One service provider's whole system, and the hands that move it."""

    def __init__(self, folder: Path, **tables: Mapping[str, Any]) -> None:
        self.clock = Clock()
        self.sandbox = Sandbox(self.clock, job_queued=0.5, job_executing=1.5)
        self._open = ExitStack()
        self.upstream = self._open.enter_context(SandboxServer(self.sandbox))
        self.billing = self._open.enter_context(BillingStub([SECRET], clock=self.clock))
        self.app = wiring.build(
            parse(_tables(self, tables), name="test", folder=folder, environ={}), self.clock
        )
        self._open.callback(self.app.close)
        self._open.callback(self.app.worker.stop)
        self.app.advance.rng = self.app.deliver.rng = random.Random(7)
        self.begun: list[str] = []  # operations in the order in which they were first claimed
        self._numbers = count(1)

    def close(self) -> None:
        """Ends everything; a second time does nothing."""
        self._open.close()

    # What is asked.

    def send(self, kind: str, service_id: str = SERVICE, *, webhook_id: str = "", **data: Any) -> Answer:
        """An event, as the receiver has it once its signature was verified."""
        raw = json.dumps({"type": kind, "data": {"service_id": service_id, **data}}).encode()
        answer = self.app.accept.webhook(BILLING, webhook_id or f"evt-{next(self._numbers)}", raw)
        return Answer(answer.status, json.loads(answer.body))

    def ask(self, kind: str, service_id: str = SERVICE, **data: Any) -> str:
        """An event that is accepted; returns its operation's id."""
        answer = self.send(kind, service_id, **data)
        assert answer.status == 202, answer
        return answer.operation

    def order(self, service_id: str = SERVICE, plan: str = "vps-s", **data: Any) -> str:
        return self.ask("order.paid", service_id, plan=plan, **data)

    def act(self, kind: Kind, service_id: str = SERVICE, **data: Any) -> str:
        """The same, asked by an admin."""
        request = Request(BILLING, service_id, kind, judge_action(kind, data), "admin:anna", is_admin=True)
        return self.app.accept.action(request).id

    def is_refused(self, kind: str, service_id: str = SERVICE, **data: Any) -> str:
        """An event that is rejected; returns the code."""
        answer = self.send(kind, service_id, **data)
        assert answer.status == 422, answer
        return answer.code

    # What happens.

    def step(self) -> bool:
        """Does one thing that is due; returns whether there was one."""
        claimed = self.take()
        if claimed is not None:
            self.app.advance.advance(claimed)
            return True
        delivery = self.app.deliver.claim()
        if delivery is not None:
            self.app.deliver.deliver(delivery)
            return True
        return False

    def take(self) -> Claimed | None:
        """Claims what is due, as a worker does."""
        claimed = self.app.advance.claim()
        if claimed is not None and claimed.operation.id not in self.begun:
            self.begun.append(claimed.operation.id)
        return claimed

    def idle(self) -> None:
        """Does all that is due at this moment."""
        self.app.ticks.expire()
        self.app.ticks.probe_token()
        for _ in range(MOST_ROUNDS):
            if not self.step():
                return
        raise AssertionError("there is always something to do")

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Lets so much time pass, from one due moment to the next; no more once `until` holds."""
        if until():
            return
        end = self.clock.now_ms + round(seconds * 1000)
        self.idle()
        for _ in range(MOST_ROUNDS):
            if until() or self.clock.now_ms >= end:
                return
            self.clock.now_ms = min(self._next_at() or end, end)
            self.idle()
        raise AssertionError("there is always something to wait for")

    def end(self, operation: str, within_s: float = 1200) -> Operation:
        """Lets time pass until an operation has ended or is held."""
        self.wait(within_s, lambda: self.operation(operation).state in ENDS | {State.HELD})
        found = self.operation(operation)
        assert found.state in ENDS | {State.HELD}, found
        return found

    def reach(self, operation: str, step: str, within_s: float = 600) -> Operation:
        """Lets time pass until an operation stands at a step."""
        self.wait(within_s, lambda: self.operation(operation).step == step)
        found = self.operation(operation)
        assert found.step == step, found
        return found

    def make(self, service_id: str = SERVICE, **data: Any) -> int:
        """A service with a VM, its delivery accepted; returns the vmid."""
        assert self.end(self.order(service_id, **data)).state is State.SUCCEEDED
        self.idle()
        vmid = self.service(service_id).vmid
        assert vmid is not None
        return vmid

    def do(self, kind: str, service_id: str = SERVICE, **data: Any) -> Operation:
        """An event, carried out to its end."""
        return self.end(self.ask(kind, service_id, **data))

    # What is there.

    def operation(self, operation: str) -> Operation:
        found = self.app.store.read(lambda verbs: verbs.operation(operation))
        assert found is not None
        return found

    def operations(self, service_id: str = SERVICE) -> list[Operation]:
        return self.app.store.read(lambda verbs: verbs.operations_of_service(BILLING, service_id))

    def timeline(self, operation: str) -> list[TimelineEntry]:
        return self.app.store.read(lambda verbs: verbs.timeline(operation))

    def ended(self, *operations: str) -> list[tuple[State, str]]:
        """The state and the code of each."""
        return [(op.state, op.error_code) for op in map(self.operation, operations)]

    def service(self, service_id: str = SERVICE) -> Service:
        found = self.app.store.read(lambda verbs: verbs.service(BILLING, service_id))
        assert found is not None
        return found

    def vms(self) -> dict[int, dict[str, Any]]:
        """The VMs that really are on the account."""
        return {vm["vmid"]: vm for vm in self.sandbox.state()["vms"]}

    def power(self, service_id: str = SERVICE) -> str:
        """Whether the service's VM really runs."""
        vmid = self.service(service_id).vmid
        assert vmid is not None
        return str(self.vms()[vmid]["power"])

    def calls(self, method: str, end: str) -> int:
        """How many calls of a method went to a path that ends so."""
        return sum(call["method"] == method and call["path"].endswith(end) for call in self.sandbox.calls())

    def told(self, service_id: str = SERVICE) -> list[Delivery]:
        """What the billing system has taken about a service, oldest first."""
        return [
            delivery
            for delivery in self.billing.deliveries
            if delivery.accepted and delivery.data["service_id"] == service_id
        ]

    def last(self, service_id: str = SERVICE) -> Delivery:
        return self.told(service_id)[-1]

    def types(self, service_id: str = SERVICE) -> list[str]:
        return [delivery.type for delivery in self.told(service_id)]

    def _next_at(self) -> int | None:
        now = self.clock.now_ms
        moments = [
            self.app.store.read(lambda verbs: verbs.next_operation_at(now)),
            self.app.store.read(lambda verbs: verbs.next_delivery_at(now)),
            *(op.expires_at for op in self._expiring()),
        ]
        return min((moment for moment in moments if moment is not None), default=None)

    def _expiring(self) -> list[Operation]:
        now = self.clock.now_ms
        found = self.app.store.read(lambda verbs: verbs.operations(500, None))
        return [op for op in found if op.state in OPEN and op.expires_at is not None and op.expires_at > now]


def _tables(life: Life, tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    upstream = {"base_url": life.upstream.base_url, "token": "sandbox-token", "exclusive": True}
    return {
        "store": {**tables.get("store", {})},
        "security": {"admin_token": "0123456789abcdefghij", "encryption_keys": [KEY]},
        "upstream": {**upstream, "job_poll": SHORTEST_LOOK_S, **tables.get("upstream", {})},
        "retry": {**tables.get("retry", {})},
        "safety": {**tables.get("safety", {})},
        "billing": {
            BILLING: {
                "platform": "standard",
                "secrets": [SECRET],
                "callback_url": life.billing.callback_url,
                **tables.get("shop", {}),
            }
        },
        "plans": {**PLANS, **tables.get("plans", {})},
    }


@pytest.fixture
def make_life(
    tmp_path: Path, store_tables: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Life]]:
    """Lives with settings of their own, by table."""
    lives: list[Life] = []
    servers: list[SandboxServer | BillingStub] = []
    shorten(monkeypatch, servers)

    def make(**tables: Mapping[str, Any]) -> Life:
        folder = tmp_path / str(len(lives))
        folder.mkdir()
        lives.append(Life(folder, **{"store": store_tables, **tables}))
        servers.extend((lives[-1].upstream, lives[-1].billing))
        return lives[-1]

    yield make
    for life in lives:
        life.close()


@pytest.fixture
def life(make_life: Callable[..., Life]) -> Life:
    """A life with the contract's defaults, on an account of its own."""
    return make_life()
