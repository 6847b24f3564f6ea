"""A billing system that fetches what it is to be told, and says what it has written (`deliver = "pull"`)."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from cryptography.fernet import Fernet
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

from provisioner import app as wiring
from provisioner.app import App
from provisioner.delivery import Delivery, DeliveryState, iso
from provisioner.engine import fetch, pauses
from provisioner.errors import BillingUnavailable, Fenced
from provisioner.operation import State
from provisioner.sandbox import upstream as sandbox_upstream
from provisioner.signing import Signer
from provisioner.store.verbs import Verbs
from provisioner.web import create_app
from tests.conftest import BILLING_SECRET, World
from tests.heard import capture_logs

OTHER_SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()
PULLS = {"platform": "whmcs", "secrets": [BILLING_SECRET], "deliver": "pull", "welcome_email": "New VPS"}
WEEK_S = 7 * 86400
PRODUCTION = {"installation": "https://billing.example.com/#4f2a"}


class DropIn:
    """What a drop-in does over the signed query endpoint."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._served: tuple[App, Flask] | None = None

    def ask(self, ack: list[str] | None = None, *, billing: str = "shop", **more: Any) -> TestResponse:
        data = {} if ack is None else {"ack": ack}
        raw = json.dumps({"type": "deliveries.pull", "data": data, **more}).encode()
        secret = BILLING_SECRET if billing == "shop" else OTHER_SECRET
        headers = Signer([secret]).sign("pull", self.world.clock() // 1000, raw)
        client = self._web().test_client()
        return client.post(f"/queries/{billing}", data=raw, headers=headers, content_type="application/json")

    def _web(self) -> Flask:
        """One application for each service that is opened, as `serve` has it."""
        if self._served is None or self._served[0] is not self.world.app:
            self._served = self.world.app, create_app(wiring.surfaces(self.world.app))
        return self._served[1]

    def pull(self, *ack: str, billing: str = "shop") -> list[dict[str, Any]]:
        answer = self.ask([*ack], billing=billing)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json["items"]
        return items

    def write_all(self, billing: str = "shop") -> list[dict[str, Any]]:
        """Fetches and acknowledges until nothing waits; returns everything in the order in which it came."""
        written: list[dict[str, Any]] = []
        items = self.pull(billing=billing)
        while items:
            written += items
            items = self.pull(*(item["id"] for item in items), billing=billing)
        return written


@pytest.fixture
def pulling(worlds: Callable[..., World]) -> World:
    """A world whose shop fetches; `posted` is another one, to which is posted."""
    world = worlds()
    tables = world.tables["billing"]
    tables["posted"] = {**tables["shop"], "secrets": [OTHER_SECRET]}
    tables["shop"] = PULLS
    world.reopen()
    return world


@pytest.fixture
def drop_in(pulling: World) -> DropIn:
    return DropIn(pulling)


@pytest.fixture
def active(pulling: World, drop_in: DropIn) -> World:
    pulling.order()
    pulling.run(60)
    drop_in.write_all()
    return pulling


def deliveries(world: World, operation: str) -> list[Delivery]:
    return world.app.store.read(lambda verbs: verbs.deliveries_of_operation(operation))


def delivery(world: World, operation: str) -> Delivery:
    (only,) = deliveries(world, operation)
    return only


def lines(world: World, operation: str) -> list[str]:
    return [line.split()[0] for line in world.timeline(operation)]


def password(world: World) -> str:
    present: str = world.sandbox.state()["vms"][0]["password"]
    return present


def slot(world: World) -> Any:
    return world.app.store.read(lambda verbs: verbs.credentials("shop", "1001"))


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items]


# Fetched, acknowledged, done


def test_order_is_fetched_and_acknowledged(pulling: World, drop_in: DropIn) -> None:
    order = pulling.order(hostname="web1.example.com")
    pulling.run(60)
    assert pulling.operation(order).state is State.DELIVERING
    (vm,) = pulling.sandbox.state()["vms"]
    answer = drop_in.ask()
    made = delivery(pulling, order)
    first = answer.json["items"][0]
    assert first == {
        "id": made.id,
        "type": "service.provisioned",
        "timestamp": iso(made.created_at),
        "data": {
            "service_id": "1001", "operation": order, "status": "active", "vmid": vm["vmid"],
            "ips": vm["ips"], "hostname": "web1.example.com", "warnings": [], "username": "root",
            "password": vm["password"],
        },
        "latest": True,
    }  # fmt: skip
    assert {key: answer.json[key] for key in answer.json if key != "items"} == {
        "deliver": "pull",
        "settings": {"welcome_email": "New VPS", "on_failure": "notify", "ticket_department": 0},
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert drop_in.pull()[0] == first  # nothing was acknowledged
    assert pulling.operation(order).state is State.DELIVERING
    drop_in.pull(made.id)
    assert pulling.operation(order).state is State.SUCCEEDED
    assert lines(pulling, order).count("fetched") == lines(pulling, order).count("delivered") == 1
    assert lines(pulling, order)[-1] == "succeeded"


def test_life_of_a_service_is_fetched_in_order(active: World, drop_in: DropIn) -> None:
    kinds = ["service.suspend", "service.unsuspend", "service.reset_password", "service.upgrade"]
    more = {"service.upgrade": {"options": {"mem": 2048}}}
    operations = [active.event(kind, **more.get(kind, {})) for kind in kinds]
    active.run(600)
    assert [active.operation(one).state for one in operations] == [State.DELIVERING] * 4
    items = drop_in.write_all()
    assert [item["data"]["operation"] for item in items] == operations
    assert [item["type"] for item in items] == [
        "service.suspended", "service.unsuspended", "service.credentials", "service.upgraded",
    ]  # fmt: skip
    assert [item["latest"] for item in items] == [False, True, True, True]
    assert items[2]["data"]["password"] == password(active)
    assert [active.operation(one).state for one in operations] == [State.SUCCEEDED] * 4


def test_failure_and_hold_are_fetched_too(active: World, drop_in: DropIn) -> None:
    active.sandbox.fault(path="*/reinstall", kind="error", error="0xb0: no", status=400)
    failed = active.event("service.reinstall")
    active.run(60)
    (item,) = drop_in.write_all()
    assert (item["type"], item["data"]["operation"]) == ("operation.failed", failed)
    assert item["data"]["error"]["code"] == "0xb0"
    assert delivery(active, failed).state is DeliveryState.DONE


def test_one_that_is_posted_to_fetches_nothing(pulling: World, drop_in: DropIn) -> None:
    body = {"type": "order.paid", "data": {"service_id": "7", "plan": "vps-s"}}
    pulling.billing.go_down()
    pulling.app.accept.webhook("posted", "evt-1", json.dumps(body).encode())
    pulling.run(60)
    answer = drop_in.ask(billing="posted").json
    assert answer == {"items": [], "settings": {}, "deliver": "push"}
    assert drop_in.pull() == []


# Nothing is posted, nothing is looked at again and again


def test_what_waits_is_parked(active: World) -> None:
    made_at = active.clock.now
    operations = [active.event(kind) for kind in ("service.stop", "service.start")]
    active.run(60)
    parked = [delivery(active, one) for one in operations]
    before = [lines(active, one) for one in operations]
    assert [one.next_run_at for one in parked] == [one.created_at + WEEK_S * 1000 for one in parked]
    assert [(one.attempts, one.claims) for one in parked] == [(0, 0)] * 2
    assert [one[-1] for one in before] == ["done"] * 2  # no line about the delivery
    active.run(3 * 86400)
    assert [delivery(active, one) for one in operations] == parked
    assert [lines(active, one) for one in operations] == before
    assert active.app.store.read(lambda verbs: verbs.oldest_due_delivery(active.clock())) is None
    assert active.app.store.read(lambda verbs: verbs.next_delivery_at(made_at)) == parked[0].next_run_at
    assert active.billing.deliveries == []


def test_adapter_that_is_called_all_the_same_says_why(pulling: World) -> None:
    with pytest.raises(BillingUnavailable, match="it fetches its deliveries itself"):
        pulling.app.billings["shop"].deliver(None)  # type: ignore[arg-type]


# Order within a service


def test_rest_of_a_service_comes_with_the_next_pull(
    active: World, drop_in: DropIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "MOST_OFFERED", 2)
    kinds = ["service.stop", "service.start", "service.suspend", "service.unsuspend"]
    operations = [active.event(kind) for kind in kinds]
    active.run(600)
    first = drop_in.pull()
    assert [item["data"]["operation"] for item in first] == operations[:2]
    second = drop_in.pull(first[1]["id"])  # the first could not be written
    assert [item["data"]["operation"] for item in second] == [operations[0], operations[2]]
    third = drop_in.pull(*ids(second))
    assert [item["data"]["operation"] for item in third] == operations[3:]


def test_answer_is_bounded_in_bytes(active: World, drop_in: DropIn, monkeypatch: pytest.MonkeyPatch) -> None:
    active.event("service.suspend", reason="r" * 900)
    active.run(600)
    active.order("2")
    active.order("3")
    active.run(60)
    monkeypatch.setattr(fetch, "MOST_BYTES", 800)
    (large,) = drop_in.pull()  # larger than that by itself: it must get through
    assert large["type"] == "service.suspended"
    assert [item["data"]["service_id"] for item in drop_in.pull(large["id"])] == ["2", "3"]


def test_what_is_fetched_in_vain_holds_up_no_other(
    active: World, drop_in: DropIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted over there, for example: what is never acknowledged must not fill every answer."""
    monkeypatch.setattr(fetch, "MOST_OFFERED", 2)
    stuck = [active.event(kind) for kind in ("service.stop", "service.start", "service.suspend")]
    active.run(600)
    assert [item["data"]["operation"] for item in drop_in.pull()] == stuck[:2]
    active.order("2")
    active.order("3")
    active.run(60)
    assert [item["data"]["service_id"] for item in drop_in.pull()] == ["2", "3"]
    assert [item["data"]["operation"] for item in drop_in.pull()] == stuck[:2]
    assert [item["data"]["service_id"] for item in drop_in.pull()] == ["2", "3"]


# Acknowledgements


def test_older_password_is_not_told_after_the_newer_one_was_written(pulling: World, drop_in: DropIn) -> None:
    order = pulling.order()
    pulling.run(60)
    (first,) = drop_in.pull()
    reset = pulling.event("service.reset_password")
    pulling.run(60)
    both = drop_in.pull()
    assert [item["data"]["password"] for item in both] == [first["data"]["password"], password(pulling)]
    (again,) = drop_in.pull(both[1]["id"])
    told = {name: value for name, value in first["data"].items() if name not in ("username", "password")}
    assert {name: value for name, value in again["data"].items() if name != "username"} == told
    assert slot(pulling) is None
    assert delivery(pulling, order).sealed == ""
    assert pulling.operation(reset).state is State.SUCCEEDED
    drop_in.pull(again["id"])
    assert pulling.operation(order).state is State.SUCCEEDED


def test_newer_password_is_told_after_the_older_one_was_written(pulling: World, drop_in: DropIn) -> None:
    pulling.order()
    pulling.run(60)
    drop_in.pull()
    pulling.event("service.reset_password")
    pulling.run(60)
    first, _ = drop_in.pull()
    (last,) = drop_in.pull(first["id"])
    assert last["data"]["password"] == password(pulling)


def test_acknowledgement_that_was_lost_is_made_again(active: World, drop_in: DropIn) -> None:
    """The service took it in, its answer did not come back: the same once more changes nothing."""
    reset = active.event("service.reset_password")
    active.run(60)
    (item,) = drop_in.pull()
    drop_in.pull(item["id"])
    done, operation = delivery(active, reset), active.operation(reset)
    active.event("service.stop")
    active.run(60)
    assert [one["type"] for one in drop_in.pull(item["id"], item["id"])] == ["service.action"]
    assert (delivery(active, reset), active.operation(reset)) == (done, operation)
    assert lines(active, reset).count("delivered") == 1


def test_acknowledgement_that_never_came_has_it_fetched_again(active: World, drop_in: DropIn) -> None:
    active.event("service.reset_password")
    active.run(60)
    first = drop_in.pull()
    active.reopen()
    active.run(3600)
    assert drop_in.pull() == first


def test_acknowledgement_ends_its_own_alone(active: World, drop_in: DropIn) -> None:
    """Ids that nobody has, of others and of what is done are ignored; those beside them count."""
    body = {"type": "order.paid", "data": {"service_id": "7", "plan": "vps-s"}}
    active.billing.go_down()
    posted = active.app.accept.webhook("posted", "evt-1", json.dumps(body).encode())
    theirs = json.loads(posted.body)["operation"]
    mine = active.event("service.stop")
    active.run(60)
    foreign = delivery(active, theirs)
    (item,) = drop_in.pull()
    assert drop_in.pull("msg_nobody", foreign.id, item["id"]) == []
    assert active.operation(mine).state is State.SUCCEEDED
    assert active.operation(theirs).state is State.DELIVERING
    assert delivery(active, theirs) == foreign


def test_other_system_that_fetches_gets_its_own(pulling: World, drop_in: DropIn) -> None:
    pulling.tables["billing"]["posted"] = {**PULLS, "secrets": [OTHER_SECRET]}
    pulling.reopen()
    order = pulling.order()
    pulling.run(60)
    assert drop_in.pull(billing="posted") == []
    (item,) = drop_in.pull()
    assert drop_in.pull(item["id"], billing="posted") == []
    assert pulling.operation(order).state is State.DELIVERING
    assert drop_in.pull() == [item]


def test_two_pulls_at_once_harm_nothing(active: World, drop_in: DropIn) -> None:
    operations = [active.event("service.reset_password"), active.event("service.stop")]
    active.run(600)

    def pull(_: int) -> list[dict[str, Any]]:
        return drop_in.pull()

    with ThreadPoolExecutor(4) as pool:
        (first, *others) = pool.map(pull, range(4))
        assert [item["data"]["operation"] for item in first] == operations
        assert first[0]["data"]["password"] == password(active)
        assert others == [first] * 3
        assert list(pool.map(lambda _: drop_in.pull(*ids(first)), range(4))) == [[]] * 4
    for operation in operations:
        assert active.operation(operation).state is State.SUCCEEDED
        assert lines(active, operation).count("delivered") == 1
        assert lines(active, operation).count("fetched") == 1


def test_acknowledgement_wins_over_a_post_under_way(active: World, drop_in: DropIn) -> None:
    """It may be posted by now: who holds it must not write it back as failed."""
    reset = active.event("service.reset_password")
    active.run(60)
    (item,) = drop_in.pull()
    active.tables["billing"]["shop"] = {**active.tables["billing"]["posted"], "secrets": [BILLING_SECRET]}
    active.reopen()
    claimed = active.app.deliver.claim()
    assert claimed is not None
    assert drop_in.pull(item["id"]) == []
    active.billing.answer_with(500)
    active.app.deliver.deliver(claimed)
    assert delivery(active, reset).state is DeliveryState.DONE
    assert active.operation(reset).state is State.SUCCEEDED


def test_taken_over_by_another_worker_is_asked_again(
    active: World, drop_in: DropIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    active.event("service.stop")
    active.run(60)
    (item,) = drop_in.pull()

    def fenced(self: Verbs, delivery: Delivery, fence: int) -> None:
        raise Fenced("another has it")

    with monkeypatch.context() as patched:
        patched.setattr(Verbs, "save_delivery", fenced)
        for answer in (drop_in.ask(), drop_in.ask([item["id"]])):
            assert (answer.status_code, answer.json["error"]["code"]) == (503, "store_unavailable")
            assert "Retry-After" in answer.headers
    assert drop_in.pull() == [item]


# Given up


@pytest.fixture
def given_up(pulling: World, drop_in: DropIn) -> str:
    """An order that nobody fetched for an hour."""
    pulling.tables["retry"] = {"deliveries_give_up_after": 3600}
    pulling.reopen()
    order = pulling.order()
    pulling.run(60)
    made_at = delivery(pulling, order).created_at
    ended = pulling.done(order, 2 * 3600)
    assert (ended.state, ended.error_code) == (State.FAILED, "delivery_failed")
    assert pulling.clock.now == made_at + 3600 * 1000
    return order


def test_unfetched_one_is_given_up(pulling: World, drop_in: DropIn, given_up: str) -> None:
    assert delivery(pulling, given_up).state is DeliveryState.GIVEN_UP
    assert (pulling.service().status, pulling.service().vmid) == ("active", 4001)
    assert "never fetched" in pulling.operation(given_up).error_detail
    assert drop_in.pull() == []
    assert delivery(pulling, given_up).attempts == 0
    assert slot(pulling) is not None  # for a retry


def test_fetched_one_that_nobody_acknowledged_is_given_up(pulling: World, drop_in: DropIn) -> None:
    order = pulling.order()
    pulling.run(60)
    drop_in.pull()
    assert pulling.done(order, WEEK_S).error_code == "delivery_failed"
    assert "fetched and never acknowledged" in pulling.operation(order).error_detail
    assert delivery(pulling, order).sealed


def test_retried_one_waits_to_be_fetched_again(pulling: World, drop_in: DropIn, given_up: str) -> None:
    pulling.app.commands.retry(given_up, "anna")
    pulling.run(3599)
    assert pulling.operation(given_up).state is State.DELIVERING
    (item,) = drop_in.pull()
    assert item["data"]["password"] == password(pulling)
    drop_in.pull(item["id"])
    assert pulling.operation(given_up).state is State.SUCCEEDED
    assert slot(pulling) is None
    assert pulling.calls("POST /datacenter/server") == 1


def test_retried_one_has_its_time_again(pulling: World, given_up: str) -> None:
    pulling.app.commands.retry(given_up, "anna")
    retried_at = pulling.clock.now
    assert pulling.done(given_up, 2 * 3600).error_code == "delivery_failed"
    assert pulling.clock.now == retried_at + 3600 * 1000


def test_given_up_one_that_was_written_after_all_succeeds(pulling: World, drop_in: DropIn) -> None:
    """Its acknowledgement was late: nobody has to retry what is there."""
    order = pulling.order()
    pulling.run(60)
    (item,) = drop_in.pull()
    assert pulling.done(order, WEEK_S).error_code == "delivery_failed"
    drop_in.pull(item["id"])
    operation = pulling.operation(order)
    assert (operation.state, operation.error_code) == (State.SUCCEEDED, "")
    assert (delivery(pulling, order).state, delivery(pulling, order).sealed) == (DeliveryState.DONE, "")
    assert slot(pulling) is None
    assert lines(pulling, order)[-3:] == ["acknowledged_late", "delivered", "succeeded"]


def test_late_word_of_a_failure_changes_no_end(active: World, drop_in: DropIn) -> None:
    active.sandbox.fault(path="*/reinstall", kind="error", error="0xb0: no", status=400)
    failed = active.event("service.reinstall")
    active.run(60)
    (item,) = drop_in.pull()
    active.run(WEEK_S)
    assert delivery(active, failed).state is DeliveryState.GIVEN_UP
    drop_in.pull(item["id"])
    assert delivery(active, failed).state is DeliveryState.DONE
    assert (active.operation(failed).state, active.operation(failed).error_code) == (State.FAILED, "0xb0")


def test_many_are_given_up_in_more_than_one_transaction(
    active: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioner.engine.deliver.GIVEN_UP_AT_ONCE", 2)
    operations = [active.event(kind) for kind in ("service.stop", "service.start") * 2]
    active.run(600)
    active.clock.advance(WEEK_S)
    given_up = []
    for _ in range(3):
        assert active.app.deliver.claim() is None
        given_up.append(sum(active.operation(one).state is State.FAILED for one in operations))
    assert given_up == [2, 4, 4]


# Another way to be told


def test_what_was_parked_is_posted_after_the_setting(pulling: World, drop_in: DropIn) -> None:
    order = pulling.order()
    pulling.run(60)
    (item,) = drop_in.pull()
    posted = {**pulling.tables["billing"]["posted"], "secrets": [BILLING_SECRET]}
    pulling.tables["billing"]["shop"] = posted
    pulling.reopen()
    assert pulling.done(order, 5).state is State.SUCCEEDED
    (told,) = pulling.told()
    assert (told.webhook_id, told.data) == (item["id"], item["data"])


def test_what_was_posted_in_vain_waits_to_be_fetched(pulling: World, drop_in: DropIn) -> None:
    """Also shortly before its time is over: that it could not be posted gives nothing up at once."""
    pulling.tables["retry"] = {"deliveries_give_up_after": 3600}
    posted = {**pulling.tables["billing"]["posted"], "secrets": [BILLING_SECRET]}
    pulling.tables["billing"]["shop"] = posted
    pulling.reopen()
    pulling.billing.go_down()
    order = pulling.order()
    pulling.run(3000)
    pulling.tables["billing"]["shop"] = PULLS
    pulling.reopen()
    pulling.run(3000)
    tries = len(pulling.billing.deliveries)
    assert pulling.operation(order).state is State.DELIVERING
    (item,) = drop_in.pull()
    drop_in.pull(item["id"])
    assert pulling.operation(order).state is State.SUCCEEDED
    assert "fetched" in lines(pulling, order)
    assert len(pulling.billing.deliveries) == tries


def test_restart_with_the_same_setting_changes_nothing(active: World, drop_in: DropIn) -> None:
    reset = active.event("service.reset_password")
    active.run(60)
    drop_in.pull()
    before = delivery(active, reset)
    active.run(3600)
    active.reopen()
    active.run(60)
    assert delivery(active, reset) == before


# Credentials


def test_credentials_are_taken_at_the_first_offer(active: World, drop_in: DropIn) -> None:
    reset = active.event("service.reset_password")
    active.run(60)
    assert delivery(active, reset).sealed == ""
    drop_in.pull()
    taken = delivery(active, reset)
    assert taken.sealed
    assert password(active) not in taken.sealed + json.dumps(taken.data)
    drop_in.pull(taken.id)
    assert (delivery(active, reset).sealed, slot(active)) == ("", None)


def test_newest_password_is_fetched_last(active: World, drop_in: DropIn) -> None:
    """The first was given already and keeps its body; the slot has the newer one."""
    active.event("service.reset_password")
    active.run(60)
    (first,) = drop_in.pull()
    old = password(active)
    active.event("service.reset_password")
    active.run(60)
    items = drop_in.write_all()
    assert items[0] == first
    assert [item["data"]["password"] for item in items] == [old, password(active)]
    assert old != password(active)
    assert slot(active) is None


def test_password_that_nobody_fetched_is_skipped(active: World, drop_in: DropIn) -> None:
    for _ in range(2):
        active.event("service.reset_password")
        active.run(60)
    items = drop_in.write_all()
    assert [item["data"]["password"] for item in items] == [password(active)] * 2
    assert slot(active) is None


def test_password_that_does_not_open_holds_up_its_service_alone(active: World, drop_in: DropIn) -> None:
    """It is said once, and nothing is told without it; the right key brings all of it."""
    key = active.tables["security"]["encryption_keys"]
    reset, stop = active.event("service.reset_password"), active.event("service.stop")
    active.run(60)
    active.tables["security"]["encryption_keys"] = [Fernet.generate_key().decode()]
    active.reopen()
    active.order("2")
    active.run(60)
    for _ in range(3):
        assert [item["data"]["service_id"] for item in drop_in.pull()] == ["2"]
    assert "no encryption key opens what is stored" in delivery(active, reset).last_error
    assert lines(active, reset).count("delivery_failed") == 1
    assert "fetched" not in lines(active, reset)
    drop_in.write_all()
    active.tables["security"]["encryption_keys"] = key
    active.reopen()
    items = drop_in.write_all()
    assert [item["data"]["operation"] for item in items] == [reset, stop]
    assert items[0]["data"]["password"] == password(active)
    assert lines(active, reset).count("fetched") == 1


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


def in_files(world: World, words: bytes) -> list[str]:
    return [file.name for file in world.folder.iterdir() if words in file.read_bytes()]


def test_password_is_in_nothing_but_the_answer(
    pulling: World,
    drop_in: DropIn,
    canaries: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No timeline, error, metric or log line at any level, and no file; sealed in the store until the ack."""
    caplog.set_level(logging.DEBUG)
    said = []
    with capture_logs() as logs:
        pulling.order()
        pulling.run(60)
        pulling.event("service.reset_password")
        pulling.run(60)
        items = drop_in.pull()
        offers = pulling.app.fetch.offer("shop")
        sealed = [one.sealed for one in pulling.app.store.read(lambda verbs: verbs.sealed_deliveries())]
        with monkeypatch.context() as patched:
            patched.setattr("provisioner.web.queries.iso", lambda at: 1 / 0)  # breaks with them in its hands
            said.append(drop_in.ask().text)
        assert not [canary for canary in canaries if in_files(pulling, canary.encode())]
        drop_in.pull(*ids(items))
        client = create_app(wiring.surfaces(pulling.app)).test_client()
        said += [client.get("/metrics").text, client.get("/readyz").text]
    assert [item["data"]["password"] for item in items] == [canaries[-1]] * 2 == [password(pulling)] * 2
    assert "internal error" in said[0]
    logged = "\n".join([*map(repr, logs), caplog.text, *map(repr, caplog.records)])
    assert "request_broke" in logged
    operations = pulling.app.store.read(lambda verbs: verbs.operations(100, None))
    told = "".join([repr(operations), *(line for one in operations for line in pulling.timeline(one.id))])
    assert re.findall(r"canary\d", logged + told + "".join(said) + repr(offers)) == []
    pulling.app.store.close()
    assert len(sealed) == 2
    for trace in (*sealed, *canaries):
        assert in_files(pulling, trace.encode()) == []
    pulling.open()


# Who may fetch


def test_staging_copy_fetches_no_password(pulling: World, drop_in: DropIn) -> None:
    order = pulling.order()
    pulling.run(60)
    assert len(drop_in.ask(source=PRODUCTION).json["items"]) == 1
    (before,) = deliveries(pulling, order)
    staging = {"installation": "https://staging.example.com/#4f2a"}
    answer = drop_in.ask([before.id], source=staging)
    assert (answer.status_code, answer.json["error"]["code"]) == (403, "unknown_installation")
    assert password(pulling) not in answer.text
    assert deliveries(pulling, order) == [before]
    assert pulling.operation(order).state is State.DELIVERING


def test_other_secret_fetches_nothing(pulling: World) -> None:
    pulling.order()
    pulling.run(60)
    raw = b'{"type": "deliveries.pull", "data": {}}'
    headers = Signer([OTHER_SECRET]).sign("pull", pulling.clock() // 1000, raw)
    client = create_app(wiring.surfaces(pulling.app)).test_client()
    answer = client.post("/queries/shop", data=raw, headers=headers, content_type="application/json")
    assert answer.status_code == 401


# A restored store


def test_recovering_store_gives_nothing_and_takes_acknowledgements(active: World, drop_in: DropIn) -> None:
    """It tells nobody what may be old; what the other side says that it has is true all the same."""
    reset = active.event("service.reset_password")
    active.run(60)
    (item,) = drop_in.pull()
    stop = active.event("service.stop")
    active.run(60)
    write = active.app.store.write
    write(lambda verbs: pauses.begin(verbs, pauses.RECOVERING, {"taken_at": ""}, active.clock()))
    assert drop_in.pull() == []
    assert drop_in.pull(item["id"]) == []
    assert active.operation(reset).state is State.SUCCEEDED
    assert slot(active) is None
    assert active.operation(stop).state is State.DELIVERING
    write(lambda verbs: pauses.end(verbs, pauses.RECOVERING, active.clock()))
    assert [one["data"]["operation"] for one in drop_in.write_all()] == [stop]


def test_acknowledgement_of_what_the_copy_never_gave_erases_its_password(
    active: World, drop_in: DropIn
) -> None:
    reset = active.event("service.reset_password")
    active.run(60)
    (untaken,) = deliveries(active, reset)
    assert (untaken.sealed, slot(active) is None) == ("", False)
    drop_in.pull(untaken.id)
    assert (delivery(active, reset).sealed, slot(active)) == ("", None)


# Whether anybody fetches


def samples(world: World) -> dict[str, float]:
    text = create_app(wiring.surfaces(world.app)).test_client().get("/metrics").text
    return {
        sample.labels["billing"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "provisioner_fetch_age_seconds"
    }


def warnings(world: World) -> list[str]:
    answer = create_app(wiring.surfaces(world.app)).test_client().get("/readyz")
    found: list[str] = answer.json["warnings"]
    return found


def test_age_of_the_last_fetch_is_measured(pulling: World, drop_in: DropIn) -> None:
    assert samples(pulling) == {"shop": float("inf")}
    drop_in.pull()
    pulling.clock.advance(42)
    assert samples(pulling) == {"shop": 42.0}
    drop_in.pull()  # noted once a minute
    assert samples(pulling) == {"shop": 42.0}
    pulling.clock.advance(18)
    drop_in.pull()
    assert samples(pulling) == {"shop": 0.0}


def test_ready_warns_of_what_nobody_fetches(pulling: World, drop_in: DropIn) -> None:
    order = pulling.order()
    pulling.run(60)
    waits_since = delivery(pulling, order).created_at
    pulling.clock.now = waits_since + 30 * 60_000
    assert warnings(pulling) == []
    pulling.clock.advance(1)
    (warning,) = warnings(pulling)
    assert warning.startswith(f"not_fetched: deliveries wait for shop since {iso(waits_since)}, and it has ")
    drop_in.pull()
    fetched_at = pulling.clock()
    pulling.clock.advance(30 * 60)
    assert warnings(pulling) == []  # it fetches; what it does not write is said elsewhere
    pulling.clock.advance(1)
    (warning,) = warnings(pulling)
    assert f"it last fetched at {iso(fetched_at)} (look whether" in warning
    drop_in.write_all()
    pulling.clock.advance(86400)
    assert warnings(pulling) == []  # nothing waits


def test_billing_systems_are_listed(pulling: World, drop_in: DropIn) -> None:
    drop_in.ask(source=PRODUCTION)
    headers = {"Authorization": "Bearer an-admin-token-of-tests"}
    client = create_app(wiring.surfaces(pulling.app)).test_client()
    assert client.get("/api/billing", headers=headers).json["items"] == [
        {
            "name": "shop",
            "platform": "whmcs",
            "deliver": "pull",
            "installation": PRODUCTION["installation"],
            "fetched_at": iso(pulling.clock()),
        },
        {
            "name": "posted",
            "platform": "standard",
            "deliver": "push",
            "installation": None,
            "fetched_at": None,
        },
    ]


def test_adapter_tells_when_it_was_fetched_from(pulling: World, drop_in: DropIn) -> None:
    check = pulling.app.billings["shop"].check
    with pytest.raises(BillingUnavailable) as never:
        check()
    assert "copy the drop-in" in never.value.detail
    drop_in.pull()
    at = iso(pulling.clock())
    assert check() == f"last fetched its deliveries at {at}"
    pulling.clock.advance(30 * 60 + 1)
    with pytest.raises(BillingUnavailable) as late:
        check()
    assert f"last fetched its deliveries at {at}: look at its cron" in late.value.detail


def test_after_hooks_follow_the_acknowledgement(pulling: World, drop_in: DropIn) -> None:
    folder = pulling.folder / "hooks"
    folder.mkdir()
    (folder / "own.py").write_text("def after_create(service):\n    pass\n")
    pulling.tables["hooks"] = {"directory": str(folder)}
    pulling.reopen()
    order = pulling.order()
    pulling.run(60)
    (item,) = drop_in.pull()
    assert pulling.app.deliver.claim_hooks() is None
    drop_in.pull(item["id"])
    claimed = pulling.app.deliver.claim_hooks()
    assert claimed is not None
    assert claimed.operation == order


def test_late_acknowledgement_moves_no_operation_that_has_gone_on(active: World, drop_in: DropIn) -> None:
    stop = active.event("service.stop")
    active.run(60)
    (item,) = drop_in.pull()
    drop_in.pull(item["id"])

    def give_up(verbs: Verbs) -> None:
        done = verbs.delivery(item["id"])
        assert done is not None
        verbs.save_delivery(replace(done, state=DeliveryState.GIVEN_UP), fence=done.claims)

    active.app.store.write(give_up)
    drop_in.pull(item["id"])
    assert active.operation(stop).state is State.SUCCEEDED
    assert delivery(active, stop).state is DeliveryState.DONE
