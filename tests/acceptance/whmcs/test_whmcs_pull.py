"""A WHMCS that nobody reaches from outside: its cron fetches what happened, writes it, and says so."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.conftest import PATIENCE_S
from tests.acceptance.whmcs.conftest import SYSTEM_URL

DIES = "add_hook('EmailPreLog', 9, function () { posix_kill(getmypid(), SIGKILL); });"


@pytest.fixture(scope="module")
def shared(make_shared: Any) -> Any:
    shop = make_shared("pull")
    shop.whmcs.front.go_down()
    return shop


@pytest.fixture
def shop(shared: Any) -> Iterator[Any]:
    yield shared
    shared.gate.faults.clear()
    shared.gate.come_up()
    shared.a_minute_later()
    assert shared.whmcs.complaints() == ""


def no_mail_to(service: int) -> str:
    """A hook of the shop's that lets no mail about this service out."""
    return f"add_hook('EmailPreSend', 9, fn ($vars) => ['abortsend' => $vars['relid'] == {service}]);"


def ready(shop: Any) -> int:
    """A service whose server is there, and of which WHMCS was not told yet."""
    service = int(shop.order())
    shop.stands(service, "active")
    shop.settled(service)
    return service


def waits(shop: Any, service: int) -> bool:
    return any(one["state"] == "delivering" for one in shop.operations(service))


def test_one_run_of_the_cron_brings_everything(shop: Any) -> None:
    services = [ready(shop) for _ in range(3)]
    shop.whmcs.cron()
    for service in services:
        shop.right_credentials(service)
        assert len(shop.whmcs.mails(service)) == 1
        assert not waits(shop, service)
    pulls = shop.gate.count("deliveries.pull")
    shop.whmcs.cron()
    assert shop.gate.count("deliveries.pull") == pulls + 1
    assert shop.whmcs.front.calls == []


@pytest.mark.parametrize("lost", ["drop_before", "drop_after", "page", "garbage"])
def test_lost_word_of_it_sends_no_second_mail(shop: Any, lost: str) -> None:
    service = ready(shop)
    shop.gate.faults.add(
        {"path": "deliveries.pull", "kind": lost, "after": 1, "times": 1}
    )  # the one with the ack
    shop.whmcs.cron()
    assert len(shop.whmcs.mails(service)) == 1
    shop.a_minute_later()
    shop.whmcs.cron()
    shop.whmcs.cron()
    assert len(shop.whmcs.mails(service)) == 1
    assert not waits(shop, service)
    shop.right_credentials(service)


def test_two_crons_at_once_send_one_mail(shop: Any) -> None:
    service = ready(shop)
    runs = [shop.whmcs.begin("cron") for _ in range(3)]
    for run in runs:
        shop.whmcs.ended(run)
    shop.whmcs.cron()
    assert len(shop.whmcs.mails(service)) == 1
    shop.right_credentials(service)


def test_process_that_dies_after_the_mail_sends_no_second(shop: Any) -> None:
    service = ready(shop)
    with shop.whmcs.hook(DIES):
        run = shop.whmcs.begin("cron")
        run.communicate(timeout=PATIENCE_S)
        assert run.returncode == -signal.SIGKILL
    assert len(shop.whmcs.mails(service)) == 1
    told = len(shop.whmcs.rows("standin_notifications"))
    for _ in range(2):
        shop.whmcs.cron()
    assert len(shop.whmcs.mails(service)) == 1
    assert any("Resend Welcome Email" in words for words in shop.whmcs.activity())
    assert len(shop.whmcs.rows("standin_notifications")) == told + 1
    assert not waits(shop, service)
    shop.right_credentials(service)


def test_mail_that_is_refused_is_sent_when_it_is_mended(shop: Any) -> None:
    service, other = ready(shop), ready(shop)
    with shop.whmcs.hook(no_mail_to(service)):
        for _ in range(3):
            shop.whmcs.cron()
        assert shop.whmcs.mails(service) == []
        assert len(shop.whmcs.mails(other)) == 1
        assert waits(shop, service)
    said = [
        words for words in shop.whmcs.activity() if f"ervice {service}" in words and "Sending Failed" in words
    ]
    assert len(said) == 1
    shop.whmcs.cron()
    assert len(shop.whmcs.mails(service)) == 1
    assert not waits(shop, service)


def test_later_ones_of_a_service_wait_behind_the_first(shop: Any) -> None:
    service, other = ready(shop), ready(shop)
    shop.done(service, "suspend", suspendreason="Abuse")
    shop.stands(service, "suspended")
    with shop.whmcs.hook(no_mail_to(service)):
        shop.whmcs.cron()
        shop.right_credentials(service)
        assert not any(
            re.search(rf"service {service}\b.*suspended", words) for words in shop.whmcs.activity()
        )
        shop.right_credentials(other)
    shop.whmcs.cron()
    assert any(re.search(rf"service {service}\b.*suspended", words) for words in shop.whmcs.activity())
    assert shop.whmcs.status(service) == "Suspended"


def test_newest_status_is_not_undone_by_an_old_delivery(shop: Any) -> None:
    service = ready(shop)
    shop.done(service, "suspend", suspendreason="Abuse")
    shop.stands(service, "suspended")
    shop.done(service, "unsuspend")
    shop.stands(service, "active")
    shop.whmcs.cron()
    assert shop.whmcs.status(service) == "Active"
    written = [row["params"] for row in shop.whmcs.rows("standin_calls", action="UpdateClientProduct")]
    assert not [params for params in written if f'"{service}"' in params and '"Suspended"' in params]


def test_deleted_service_is_said_once(shop: Any) -> None:
    service = ready(shop)
    shop.whmcs.click("update", table="tblhosting", where={"id": service}, values={"id": service + 100_000})
    other = ready(shop)
    for _ in range(3):
        shop.whmcs.cron()
    said = [words for words in shop.whmcs.activity() if f"ervice {service} is not in WHMCS" in words]
    assert len(said) == 1
    shop.right_credentials(other)
    shop.whmcs.click("update", table="tblhosting", where={"id": service + 100_000}, values={"id": service})
    shop.whmcs.cron()
    shop.right_credentials(service)


def test_garbage_is_not_written(shop: Any) -> None:
    service = ready(shop)
    for kind in ("page", "garbage", "truncate", "huge", "redirect", "drop_before"):
        shop.gate.faults.add({"path": "deliveries.pull", "kind": kind})
        shop.whmcs.cron()
        shop.a_minute_later()
        assert shop.whmcs.mails(service) == []
    shop.whmcs.cron()
    shop.right_credentials(service)
    assert len(shop.whmcs.mails(service)) == 1


def test_copy_of_the_shop_fetches_nothing(shop: Any) -> None:
    service = ready(shop)
    shop.whmcs.set(SystemURL="https://staging.example.com/")
    shop.whmcs.cron()
    shop.whmcs.cron()
    assert shop.whmcs.mails(service) == []
    assert len([words for words in shop.whmcs.activity() if "billing trust" in words]) == 1
    shop.whmcs.set(SystemURL=SYSTEM_URL)
    shop.whmcs.cron()
    assert len(shop.whmcs.mails(service)) == 1


def test_more_than_a_page_is_fetched_at_once(make: Any) -> None:
    shop = make("pull")
    services = [shop.order(domain="") for _ in range(4)]
    for service in services:
        shop.stands(service, "active")
    for _ in range(26):
        for service in services:
            shop.api("POST", f"services/whmcs/{service}/actions", action="start")
    for service in services:
        shop.settled(service)
    shop.whmcs.cron()
    for service in services:
        shop.right_credentials(service)
        assert not waits(shop, service)
