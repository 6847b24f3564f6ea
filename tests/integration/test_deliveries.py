"""What is told to the billing system: in order, at least once, and no secret stays behind (promise 4)."""

from __future__ import annotations

import json
import logging
import random
import re
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from typing import Any

import pytest
from cryptography.fernet import Fernet

from provisioner.billing import Errand
from provisioner.delivery import Delivery, DeliveryState
from provisioner.engine import pauses
from provisioner.engine.advance import backoff_s
from provisioner.operation import State
from provisioner.sandbox import BillingStub
from provisioner.sandbox import upstream as sandbox_upstream
from tests.conftest import BILLING_SECRET, World
from tests.heard import capture_logs

CREDENTIALS = ("service.provisioned", "service.credentials")


@pytest.fixture
def active(world: World) -> World:
    world.done(world.order())
    world.run(60)
    return world


def deliveries(world: World, operation: str) -> list[Delivery]:
    return world.app.store.read(lambda verbs: verbs.deliveries_of_operation(operation))


def delivery(world: World, operation: str) -> Delivery:
    (only,) = deliveries(world, operation)
    return only


def until_delivering(world: World, operation: str) -> None:
    """Does the work, and tells nobody."""
    while world.operation(operation).state is not State.DELIVERING:
        if not world.step():
            world.clock.advance(1)


def passwords(world: World, service_id: str = "1001") -> list[str | None]:
    return [one.data.get("password") for one in world.told(service_id) if one.type in CREDENTIALS]


def password(world: World) -> str:
    present: str = world.sandbox.state()["vms"][0]["password"]
    return present


# Order, identity, signature


def test_deliveries_of_a_service_keep_their_order(active: World) -> None:
    active.billing.go_down()
    kinds = ["service.stop", "service.start", "service.suspend", "service.unsuspend"]
    operations = [active.event(kind) for kind in kinds]
    active.run(600)
    assert [active.operation(one).state for one in operations] == [State.DELIVERING] * 4
    active.billing.come_up()
    active.run(600)
    assert [active.operation(one).state for one in operations] == [State.SUCCEEDED] * 4
    assert [one.data["operation"] for one in active.told()[1:]] == operations


def test_work_goes_on_while_it_is_told(active: World) -> None:
    """Only deliveries wait for deliveries (promise 3)."""
    active.billing.answer_with(500)
    active.event("service.upgrade", options={"mem": 2048})
    active.event("service.suspend")
    active.run(120)
    (vm,) = active.sandbox.state()["vms"]
    assert (vm["config"]["mem"], vm["power"]) == (2048, "stopped")
    assert [one.type for one in active.billing.deliveries[1:]] == ["service.upgraded"] * (
        len(active.billing.deliveries) - 1
    )


def test_each_try_is_the_same_message_signed_anew(active: World) -> None:
    """The stub checks every signature; a body with a password is repeated with that password."""
    active.billing.answer_with(500, times=4)
    reset = active.event("service.reset_password")
    assert active.done(reset).state is State.SUCCEEDED
    tries = active.billing.deliveries[1:]
    assert [one.status for one in tries] == [500] * 4 + [204]
    assert len({(one.webhook_id, one.body) for one in tries}) == 1
    assert len({one.headers["webhook-signature"] for one in tries}) == 5
    stamps = [int(one.headers["webhook-timestamp"]) for one in tries]
    assert stamps == [one.received_at // 1000 for one in tries]
    assert stamps == sorted(set(stamps))
    assert tries[-1].webhook_id == delivery(active, reset).id
    assert json.loads(tries[-1].body)["data"]["password"] == password(active)


def test_waits_grow_with_each_try(active: World) -> None:
    active.app.deliver.rng = random.Random(3)
    expected = random.Random(3)
    active.billing.answer_with(500)
    change = active.event("service.upgrade", options={"mem": 2048})
    for tries in range(1, 6):
        active.idle()
        wait_ms = delivery(active, change).next_run_at - active.clock.now
        assert wait_ms == int(backoff_s(tries, 2, 300, expected) * 1000)
        active.clock.advance(wait_ms / 1000)


# What accepts it


@pytest.mark.parametrize(
    ("status", "accepts"),
    [
        (200, True),
        (201, True),
        (202, True),
        (204, True),
        (299, True),
        (301, False),
        (304, False),
        (400, False),
        (401, False),
        (404, False),
        (410, False),
        (422, False),
        (429, False),
        (500, False),
        (503, False),
    ],
)
def test_any_2xx_accepts(active: World, status: int, accepts: bool) -> None:
    active.billing.answer_with(status, times=1)
    change = active.event("service.upgrade", options={"mem": 2048})
    active.idle()
    assert active.operation(change).state is (State.SUCCEEDED if accepts else State.DELIVERING)
    assert active.done(change).state is State.SUCCEEDED
    assert len(active.billing.deliveries) == 1 + (1 if accepts else 2)


def test_lost_answer_is_told_again(active: World) -> None:
    active.billing.drop(times=2)
    change = active.event("service.upgrade", options={"mem": 2048})
    assert active.done(change).state is State.SUCCEEDED
    assert [one.status for one in active.billing.deliveries[1:]] == [None, None, 204]


class Redirecting(BaseHTTPRequestHandler):
    """A proxy that sends every caller elsewhere."""

    server: Elsewhere

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        self.send_header("Location", self.server.elsewhere)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


class Elsewhere(HTTPServer):
    def __init__(self, elsewhere: str, status: int) -> None:
        super().__init__(("127.0.0.1", 0), Redirecting)
        self.elsewhere, self.status = elsewhere, status
        self.asked: list[str] = []


@pytest.fixture
def redirecting() -> Iterator[Callable[[str, int], Elsewhere]]:
    servers: list[tuple[Elsewhere, threading.Thread]] = []

    def make(elsewhere: str, status: int) -> Elsewhere:
        server = Elsewhere(elsewhere, status)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return server

    yield make
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(
    active: World, redirecting: Callable[[str, int], Elsewhere], status: int
) -> None:
    """A password must not go where nobody said that it may."""
    proxy = redirecting(active.billing.callback_url, status)
    active.tables["billing"]["shop"]["callback_url"] = f"http://127.0.0.1:{proxy.server_port}/hook"
    active.reopen()
    reset = active.event("service.reset_password")
    active.run(10)
    assert active.operation(reset).state is State.DELIVERING
    assert len(proxy.asked) >= 2
    assert len(active.billing.deliveries) == 1


@pytest.mark.parametrize(
    ("status", "named", "least_s"),
    [(503, 120, 120), (429, 77, 77), (500, 9999, 3600), (503, "date", 60), (503, "soon", 0), (503, -5, 0)],
)
def test_retry_after_is_honoured(active: World, status: int, named: Any, least_s: float) -> None:
    """Seconds or a date, an hour at most; words are no time."""
    if named == "date":
        named = formatdate(active.clock.now / 1000 + 60, usegmt=True)
    active.billing.answer_with(status, times=1, retry_after=named)
    change = active.event("service.upgrade", options={"mem": 2048})
    active.idle()
    wait_s = (delivery(active, change).next_run_at - active.clock.now) / 1000
    assert wait_s == pytest.approx(max(least_s, wait_s if least_s < 3 else least_s), abs=1)
    assert active.done(change, 2 * 3600).state is State.SUCCEEDED


# Others are not held back


def test_down_billing_system_holds_back_its_own(worlds: Callable[..., World], world: World) -> None:
    with BillingStub([BILLING_SECRET], clock=world.clock) as other:
        settings = {**world.tables["billing"]["shop"], "callback_url": other.callback_url}
        world.tables["billing"]["other"] = settings
        world.reopen()
        world.billing.go_down()
        mine = world.order("1")
        body = {"type": "order.paid", "data": {"service_id": "1", "plan": "vps-s"}}
        answer = world.app.accept.webhook("other", "evt-1", json.dumps(body).encode())
        theirs = json.loads(answer.body)["operation"]
        assert world.done(theirs).state is State.SUCCEEDED
        assert [one.type for one in other.deliveries] == ["service.provisioned"]
        assert world.operation(mine).state is State.DELIVERING
        world.billing.come_up()
        assert world.done(mine).state is State.SUCCEEDED


def test_refused_message_holds_back_its_service_alone(active: World) -> None:
    active.billing.answer_with(429, times=1, retry_after=500)
    refused = active.event("service.stop")
    active.idle()
    assert active.done(active.order("2"), 10).state is State.SUCCEEDED
    assert active.operation(refused).state is State.DELIVERING


def test_unknown_billing_system_is_waited_for(active: World) -> None:
    """Its table is gone from the settings: a mistake, and no reason to lose what is to be told."""
    change = active.event("service.upgrade", options={"mem": 2048})
    until_delivering(active, change)
    shop = active.tables["billing"].pop("shop")
    active.tables["billing"]["another"] = shop
    active.reopen()
    active.run(60)
    assert "[billing.shop] is missing" in delivery(active, change).last_error
    active.tables["billing"]["shop"] = shop
    active.reopen()
    assert active.done(change).state is State.SUCCEEDED


def test_nothing_goes_out_while_recovering(active: World) -> None:
    """A restored store tells nobody what may have been told already (promise 8)."""
    change = active.event("service.upgrade", options={"mem": 2048})
    until_delivering(active, change)
    write = active.app.store.write
    write(lambda verbs: pauses.begin(verbs, pauses.RECOVERING, {}, active.clock()))
    assert not active.post()
    write(lambda verbs: pauses.end(verbs, pauses.RECOVERING, active.clock()))
    assert active.done(change).state is State.SUCCEEDED


# Given up


@pytest.fixture
def given_up(worlds: Callable[..., World]) -> tuple[World, str]:
    """An order whose delivery was given up after an hour."""
    world = worlds(retry={"deliveries_give_up_after": 3600})
    world.billing.answer_with(500)
    order = world.order()
    began_at = world.clock.now
    ended = world.done(order, 2 * 3600)
    assert (ended.state, ended.error_code) == (State.FAILED, "delivery_failed")
    assert 3600 <= (world.clock.now - began_at) / 1000 <= 3600 + 310
    return world, order


def test_given_up_delivery_leaves_the_work_done(given_up: tuple[World, str]) -> None:
    world, order = given_up
    assert delivery(world, order).state is DeliveryState.GIVEN_UP
    assert (world.service().status, world.service().vmid) == ("active", 4001)
    assert {one.type for one in world.billing.deliveries} == {"service.provisioned"}  # not told as a failure
    world.billing.answer_with(204)
    assert world.done(world.event("service.stop")).state is State.SUCCEEDED  # nothing is held back


def test_retry_of_a_given_up_one_only_tells_it_again(given_up: tuple[World, str]) -> None:
    world, order = given_up
    world.billing.answer_with(204)
    world.app.commands.retry(order, "anna")
    assert world.operation(order).state is State.DELIVERING
    assert world.done(order).state is State.SUCCEEDED
    first, last = world.billing.deliveries[0], world.billing.deliveries[-1]
    assert (first.webhook_id, first.body) == (last.webhook_id, last.body)
    assert passwords(world) == [password(world)]
    assert world.calls("POST /datacenter/server") == 1


def test_retried_one_has_its_time_again(given_up: tuple[World, str]) -> None:
    world, order = given_up
    world.app.commands.retry(order, "anna")
    world.run(3000)
    assert world.operation(order).state is State.DELIVERING
    assert world.done(order, 2000).error_code == "delivery_failed"


def test_given_up_message_lets_the_next_one_pass(given_up: tuple[World, str]) -> None:
    world, _ = given_up
    failing = world.event("service.reinstall", template="Ubuntu20.04")
    world.sandbox.fault(path="*/reinstall", kind="error", error="0xb0: no", status=400)
    world.run(2 * 3600)
    assert [one.state for one in deliveries(world, failing)] == [DeliveryState.GIVEN_UP]
    assert world.operation(failing).error_code == "0xb0"  # what failed stays why it failed
    world.billing.answer_with(204)
    assert world.done(world.event("service.stop")).state is State.SUCCEEDED


def test_password_that_was_replaced_before_it_was_given_up_is_not_told_after_the_newer(
    worlds: Callable[..., World],
) -> None:
    world = worlds(retry={"deliveries_give_up_after": 3600})
    world.billing.answer_with(500)
    order = world.order()
    world.run(1800)
    reset = world.event("service.reset_password")
    world.run(3600, until=lambda: delivery(world, order).state is DeliveryState.GIVEN_UP)
    assert delivery(world, reset).state is DeliveryState.WAITING
    world.billing.answer_with(204)
    assert world.done(reset).state is State.SUCCEEDED
    world.app.commands.retry(order, "anna")
    assert world.done(order).state is State.SUCCEEDED
    assert world.billing.deliveries[-1].type == "service.provisioned"
    assert passwords(world) == [password(world), None]


def test_given_up_password_is_not_told_after_a_newer(given_up: tuple[World, str]) -> None:
    """The last ones delivered are the ones that work."""
    world, order = given_up
    world.billing.answer_with(204)
    assert world.done(world.event("service.reset_password")).state is State.SUCCEEDED
    world.app.commands.retry(order, "anna")
    assert world.done(order).state is State.SUCCEEDED
    assert passwords(world) == [password(world), None]
    assert [one.data["vmid"] for one in world.told()] == [4001, 4001]


# Credentials


def test_credentials_are_taken_at_the_first_try(active: World) -> None:
    active.billing.answer_with(500)
    reset = active.event("service.reset_password")
    until_delivering(active, reset)
    assert delivery(active, reset).sealed == ""
    assert active.app.store.read(lambda verbs: verbs.credentials("shop", "1001")) is not None
    active.post()
    taken = delivery(active, reset)
    assert taken.sealed
    assert taken.credentials_version
    active.billing.answer_with(204)
    active.done(reset)
    done = delivery(active, reset)
    assert (done.sealed, done.credentials_version) == ("", taken.credentials_version)
    assert active.app.store.read(lambda verbs: verbs.credentials("shop", "1001")) is None


def test_newest_password_is_told_last(active: World) -> None:
    """The first was tried already and keeps its body; the slot has the newer one."""
    active.billing.answer_with(500)
    active.event("service.reset_password")
    active.run(5)
    old = password(active)
    active.event("service.reset_password")
    active.run(5)
    active.billing.answer_with(204)
    active.run(600)
    assert passwords(active)[1:] == [old, password(active)]
    assert old != password(active)


def test_password_that_nobody_was_told_is_skipped(active: World) -> None:
    """Both wait behind another message: when their turn comes there is only the newest."""
    active.billing.answer_with(500)
    active.event("service.stop")
    active.event("service.start")
    active.event("service.reset_password")
    active.event("service.reset_password")
    active.run(30)
    active.billing.answer_with(204)
    active.run(600)
    assert passwords(active)[1:] == [password(active)] * 2
    assert active.app.store.read(lambda verbs: verbs.credentials("shop", "1001")) is None


def test_password_of_a_dead_vm_is_forgotten(worlds: Callable[..., World]) -> None:
    world = worlds(safety={"terminate_grace": 0, "suspend_grace": 1})
    world.billing.go_down()
    world.done(world.order(), 1)
    world.run(30)
    world.event("service.terminate")
    world.run(30)
    assert world.vmids() == []
    assert world.app.store.read(lambda verbs: verbs.credentials("shop", "1001")) is None
    world.order(recreate=True)
    world.run(30)
    world.billing.come_up()
    world.run(600)
    assert passwords(world)[-1] == password(world)
    assert world.app.store.read(lambda verbs: verbs.credentials("shop", "1001")) is None


def test_password_that_does_not_open_is_not_left_out(active: World) -> None:
    """Another key: tried again and said, until the right one is back; nothing is told without it."""
    key = active.tables["security"]["encryption_keys"]
    reset = active.event("service.reset_password")
    until_delivering(active, reset)
    active.tables["security"]["encryption_keys"] = [Fernet.generate_key().decode()]
    active.reopen()
    active.run(60)
    assert "no encryption key opens what is stored" in delivery(active, reset).last_error
    assert "no encryption key opens" in "".join(active.timeline(reset))
    assert len(active.billing.deliveries) == 1
    active.tables["security"]["encryption_keys"] = key
    active.reopen()
    assert active.done(reset).state is State.SUCCEEDED
    assert passwords(active)[-1] == password(active)


def test_password_that_never_opens_is_given_up(worlds: Callable[..., World]) -> None:
    world = worlds(retry={"deliveries_give_up_after": 3600})
    order = world.order()
    until_delivering(world, order)
    world.tables["security"]["encryption_keys"] = [Fernet.generate_key().decode()]
    world.reopen()
    assert world.done(order, 2 * 3600).error_code == "delivery_failed"
    assert world.billing.deliveries == []


# No secret stays behind


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every password that the upstream gives, as it gives it."""
    given: list[str] = []
    numbers = count(1)

    def new_password() -> str:
        given.append(f"canary{next(numbers)}\\x/ü")
        return given[-1]

    monkeypatch.setattr(sandbox_upstream, "new_password", new_password)
    return given


def spelled(canary: str) -> list[bytes]:
    """As it is, and as JSON may write it."""
    return [canary.encode(), json.dumps(canary)[1:-1].encode(), canary[: len("canary1")].encode()]


def in_files(world: World, words: bytes) -> list[str]:
    return [file.name for file in world.folder.iterdir() if words in file.read_bytes()]


def test_sealed_password_is_erased_once_told(active: World, canaries: list[str]) -> None:
    """From the slot, the delivery and the file's free pages; from its log with the next checkpoint."""
    active.billing.answer_with(500, times=1)
    reset = active.event("service.reset_password")
    active.idle()
    sealed = delivery(active, reset).sealed.encode()
    assert in_files(active, sealed)
    active.done(reset)
    active.app.store.close()
    assert in_files(active, sealed) == []
    assert not [one for one in canaries if in_files(active, one.encode())]
    active.open()


ODD_ANSWERS: list[dict[str, Any]] = [
    {"path": "/job/*", "kind": "garbage"},
    {"path": "/job/*", "kind": "truncate"},
    {"path": "*/password/reset", "kind": "truncate"},
    {"path": "*/password/reset", "kind": "error_after", "error": "0xa1: {password}"},
    {"path": "*/reinstall", "kind": "drop_after"},
]


@pytest.mark.parametrize("fault", [{}, *ODD_ANSWERS], ids=lambda fault: " ".join(map(str, fault.values())))
def test_password_is_in_nothing_but_the_message(
    world: World, canaries: list[str], caplog: pytest.LogCaptureFixture, fault: dict[str, Any]
) -> None:
    """No timeline, no error, no log line at any level, no file: whatever goes wrong on the way."""
    caplog.set_level(logging.DEBUG)
    world.billing.answer_with(500, times=2)
    seen: list[str] = []
    with capture_logs() as logs:
        world.done(world.order())
        if fault:
            world.sandbox.fault(**fault)
        for kind in ("service.reset_password", "service.reinstall", "service.reset_password"):
            operation = world.event(kind)
            world.run(5)
            seen += [canary for canary in canaries for text in spelled(canary) if in_files(world, text)]
            assert world.done(operation).state is State.SUCCEEDED
    assert len(canaries) >= 4
    assert passwords(world)[-1] == canaries[-1] == password(world)
    assert seen == []
    logged = "\n".join([*map(repr, logs), caplog.text, *map(repr, caplog.records)])
    timelines = "".join(
        line
        for operation in world.app.store.read(lambda verbs: verbs.operations(100, None))
        for line in [repr(operation), *world.timeline(operation.id)]
    )
    assert re.findall(r"canary\d+", logged + timelines) == []
    assert "reset_password" in timelines


def test_password_shows_in_no_repr(active: World) -> None:
    reset = active.event("service.reset_password")
    until_delivering(active, reset)
    claimed = active.app.deliver.claim()
    assert claimed is not None
    assert password(active) not in repr(claimed) + repr(active.app.vault)


def test_whether_a_status_is_the_latest_is_asked_when_it_is_written(world: World) -> None:
    """An adapter looks at the billing system first, which takes time; what is asked meanwhile counts."""
    told = []

    class Slow:
        def deliver(self, errand: Errand) -> None:
            before = errand.is_latest()
            world.event("service.suspend")
            told.append((before, errand.is_latest()))

    world.order()
    world.app.deliver.billings = {"shop": Slow()}  # type: ignore[dict-item]
    world.run(60, until=lambda: bool(told))
    assert told == [(True, False)]
