"""While provisioner cannot be reached nothing is lost, nothing overtakes, and WHMCS does not stand still."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.whmcs.conftest import SYSTEM_URL

PAGES = ("client_page", "admin_page", "create", "suspend", "test_connection", "cron", "product_page")
BROKEN = {
    "an error page": {"kind": "page", "status": 502},
    "a page that says 200": {"kind": "page", "status": 200},
    "garbage": {"kind": "garbage"},
    "a garbled refusal": {"kind": "garbage", "status": 422},
    "half an answer": {"kind": "truncate"},
    "no answer": {"kind": "drop_before"},
    "an answer without an end": {"kind": "huge"},
    "an error of another program": {"kind": "error", "status": 500, "error": "oops"},
    "a redirect": {"kind": "redirect"},
}


@pytest.fixture(scope="module")
def shared(make_shared: Any) -> Any:
    return make_shared("push")


@pytest.fixture
def shop(shared: Any) -> Iterator[Any]:
    """The set-up of all tests here, as if nothing had ever failed."""
    yield shared
    shared.whmcs.set(SystemURL=SYSTEM_URL)
    shared.record(id=shared.server, username="whmcs", password=shared.secret)
    shared.comes_back()
    assert shared.whmcs.complaints() == ""


@pytest.fixture
def service(shop: Any) -> int:
    """A service whose server is there."""
    made = int(shop.order())
    shop.settled(made)
    return made


def test_order_is_kept_until_the_service_is_back(shop: Any) -> None:
    shop.gate.go_down()
    service, _, answer = shop.ordered()
    assert answer == "success"
    assert shop.whmcs.status(service) == "Active"
    assert shop.whmcs.mails(service) == []
    assert "order.paid" in repr(shop.whmcs.click("admin_page", service=service))
    shop.whmcs.cron()
    shop.comes_back()
    assert shop.sent(service) == ["order.paid"]
    shop.stands(service, "active")
    shop.whmcs.cron()
    assert shop.sent(service) == ["order.paid"]


def test_kept_events_arrive_in_order(shop: Any, service: int) -> None:
    """The VM is not touched after it is unsuspended: a suspend that was kept may not overtake."""
    shop.gate.go_down()
    shop.done(service, "suspend", suspendreason="Abuse")
    shop.gate.come_up()
    shop.a_minute_later()
    shop.done(service, "unsuspend")
    assert shop.sent(service) == ["order.paid"]  # it queues behind the suspend
    shop.whmcs.cron()
    assert shop.sent(service) == ["order.paid", "service.suspend", "service.unsuspend"]
    shop.stands(service, "active")
    shop.settled(service)
    assert shop.vm(service)["power"] == "running"


def test_kept_events_keep_their_ids(shop: Any) -> None:
    """An answer that was lost on its way may mean that the event was accepted."""
    shop.gate.faults.add({"kind": "drop_after", "path": "order.paid"})
    service, _, answer = shop.ordered()
    assert answer == "success"
    shop.comes_back()
    first, again = shop.gate.events(service)
    assert first.webhook_id == again.webhook_id
    assert shop.kinds(service) == ["create", "set_rdns"]


def test_repeated_command_is_kept_once(shop: Any, service: int) -> None:
    shop.gate.go_down()
    for _ in range(3):
        shop.done(service, "suspend", suspendreason="Abuse")
    shop.comes_back()
    assert shop.sent(service) == ["order.paid", "service.suspend"]


def test_cron_over_many_services_does_not_stall(shop: Any) -> None:
    """The worst that a service can do is to take connections and never answer."""
    services = [shop.whmcs.click("hosting", packageid=shop.product, server=shop.server) for _ in range(50)]
    shop.gate.faults.add({"kind": "slow_before", "seconds": 60, "times": 0})
    before = len(shop.gate.calls)
    began = time.monotonic()
    answers = shop.whmcs.cron(suspend=services)
    assert time.monotonic() - began < 100  # one call may take 5 s; 50 of them would take 250
    assert set(answers.values()) == {"success"}
    assert len(shop.gate.calls) == before + 1
    shop.whmcs.cron()
    assert len(shop.gate.calls) == before + 1
    shop.gate.faults.clear()
    shop.a_minute_later()
    shop.whmcs.cron()
    sent = [call.data["service_id"] for call in shop.gate.calls[before:] if call.word == "service.suspend"]
    assert set(sent) == set(map(str, services))
    assert len(sent) == 51  # the first was tried before


def test_refusal_is_a_sentence_and_is_not_kept(shop: Any) -> None:
    product = shop.sell("vps-xxl")
    service, _, answer = shop.ordered(product)
    assert "vps-xxl" in answer
    assert shop.whmcs.status(service) == "Pending"
    sent = len(shop.gate.calls)
    shop.whmcs.cron()
    assert "order.paid" not in [call.word for call in shop.gate.calls[sent:]]


def test_retry_from_the_module_queue_is_the_same_event(shop: Any, service: int) -> None:
    shop.whmcs.set(SystemURL="https://moved.example.com/")
    answer = shop.whmcs.cron(terminate=[service])[str(service)]
    assert "provisioner billing trust whmcs" in answer
    (queued,) = shop.whmcs.rows("tblmodulequeue", completed=0, service_id=service)
    assert queued["module_action"] == "TerminateAccount"
    before, moved = shop.gate.calls[0].source["installation"], shop.gate.calls[-1].source["installation"]
    assert moved in answer
    shop.api("POST", "billing/whmcs/trust", installation=moved)
    assert shop.whmcs.click("retry_queued", id=queued["id"]) == "success"
    refused, accepted = (call for call in shop.gate.events(service) if call.word == "service.terminate")
    assert refused.webhook_id == accepted.webhook_id
    assert shop.whmcs.rows("tblmodulequeue", completed=0, service_id=service) == []
    shop.api("POST", "billing/whmcs/trust", installation=before)
    shop.whmcs.set(SystemURL=SYSTEM_URL)
    shop.stands(service, "terminated")


def test_kept_event_that_is_refused_is_told_and_lets_others_go_on(shop: Any) -> None:
    service = shop.whmcs.click("hosting", packageid=shop.product, server=shop.server)
    shop.gate.go_down()
    shop.done(service, "suspend", suspendreason="Abuse")
    shop.done(service, "unsuspend")
    shop.comes_back()
    assert shop.sent(service) == ["service.suspend", "service.unsuspend"]
    said = [words for words in shop.whmcs.activity() if f"Service {service}" in words and "refused" in words]
    assert len(said) == 2
    told = [row for row in shop.whmcs.rows("standin_notifications") if f"Service {service}" in row["message"]]
    assert len(told) == 2
    shop.whmcs.cron()
    assert shop.sent(service) == ["service.suspend", "service.unsuspend"]


def test_event_that_was_not_read_is_kept(shop: Any) -> None:
    """A wrong secret is the set-up's fault, not the event's."""
    shop.gate.go_down()
    service, _, _ = shop.ordered()
    shop.gate.come_up()
    shop.record(id=shop.server, username="whmcs", password="whsec_" + "A" * 43 + "=")
    shop.a_minute_later()
    shop.whmcs.cron()
    shop.whmcs.cron()
    said = [words for words in shop.whmcs.activity() if "secret" in words and f"ervice {service}" in words]
    assert len(said) == 1, shop.whmcs.activity()
    shop.record(id=shop.server, username="whmcs", password=shop.secret)
    shop.a_minute_later()
    shop.whmcs.cron()
    shop.stands(service, "active")


def test_admin_may_try_at_once(shop: Any) -> None:
    shop.gate.go_down()
    service, _, _ = shop.ordered()
    button = shop.whmcs.click("admin_page", service=service)["buttons"]["Send and fetch now"]
    assert "order.paid" in shop.whmcs.click("admin_button", service=service, function=button)
    shop.gate.come_up()
    assert shop.whmcs.click("admin_button", service=service, function=button) == "success"
    assert shop.sent(service) == ["order.paid"]


def test_copy_of_the_shop_touches_nothing(shop: Any, service: int) -> None:
    """A staging copy has the same database, at another address, and a cron that runs."""
    calls = len(shop.sandbox.calls())
    shop.whmcs.set(SystemURL="https://staging.example.com/")
    for answer in (
        *shop.whmcs.cron(suspend=[service], terminate=[service]).values(),
        shop.act(service, "unsuspend"),
        shop.order(),
    ):
        assert answer != "success"
    assert shop.shown(service)["status"] == "active"
    assert len(shop.operations(service)) == 2
    assert [call for call in shop.sandbox.calls()[calls:] if call["method"] != "GET"] == []
    tested = shop.whmcs.click("test_connection", server=shop.server)
    assert tested["success"] is False
    assert "billing trust" in tested["error"]


@pytest.mark.parametrize("name", BROKEN)
def test_broken_service_breaks_no_page(shop: Any, service: int, name: str) -> None:
    """Whatever comes, each page gets its answer in time, and staff a sentence."""
    for page in PAGES:
        shop.gate.faults.clear()
        shop.gate.faults.add({"times": 0, "seconds": 1, **BROKEN[name]})
        if page != "cron":
            shop.a_minute_later()
        began = time.monotonic()
        match page:
            case "client_page":
                html = shop.whmcs.client("client_page", service=service)["html"]
                assert "provisioner-overview" in html
                assert "try again" in html or "contact support" in html, html
            case "admin_page":
                assert shop.whmcs.click("admin_page", service=service)["fields"]
            case "create":
                placed = shop.whmcs.client("order", pid=shop.product, pay=True, domain="a.example.com")
                assert placed["answer"] == "success" or len(placed["answer"]) > 40, placed
            case "suspend":
                answer = shop.act(service, "suspend", suspendreason="Abuse")
                assert answer == "success" or len(answer) > 40, answer
            case "test_connection":
                tested = shop.whmcs.click("test_connection", server=shop.server)
                assert tested["success"] is False
                assert len(tested["error"]) > 20
            case "cron":
                shop.whmcs.cron()
            case "product_page":
                assert shop.whmcs.click("product_page", pid=shop.product)["fields"]
        assert time.monotonic() - began < 45, page
