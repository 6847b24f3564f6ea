"""WHMCS's API goes wrong in every way, and the credentials and one mail arrive all the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.whmcs.conftest import ACTIONS, API_SECRET

HARMLESS = {
    "a page that says 200": {"kind": "page", "status": 200},
    "a page of a firewall": {"kind": "page", "status": 403},
    "a maintenance page": {"kind": "page", "status": 503},
    "no answer": {"kind": "drop_before"},
    "half an answer": {"kind": "truncate"},
    "garbage": {"kind": "garbage"},
}
UNCLEAR = {
    "the connection broke": {"kind": "drop_after"},
    "half an answer came": {"kind": "truncate"},
}


@pytest.fixture(scope="module")
def shared(make_shared: Any) -> Any:
    return make_shared("push")


@pytest.fixture
def shop(shared: Any) -> Iterator[Any]:
    yield shared
    shared.whmcs.front.faults.clear()
    shared.whmcs.front.come_up()
    shared.whmcs.set(APIAllowedIPs="127.0.0.1")
    assert shared.whmcs.complaints() == ""


def allow(shop: Any, *actions: str) -> None:
    """The API role allows these actions."""
    shop.whmcs.click("credential", identifier="provisioner", secret=API_SECRET, actions=list(actions))


def said_by_check(shop: Any) -> str:
    run = shop.run("check")
    assert run.returncode == 1
    return str(run.stdout + run.stderr)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_is_tried_again(shop: Any, name: str) -> None:
    for action in ("UpdateClientProduct", "GetClientsProducts", "LogActivity"):
        shop.whmcs.front.faults.add({"path": action, **HARMLESS[name]})
    service = shop.created()
    shop.told(lambda: {one["state"] for one in shop.operations(service)} == {"succeeded"})
    shop.right_credentials(service)
    assert len(shop.whmcs.mails(service)) == 1
    assert [fault["met"] for fault in shop.whmcs.front.faults.facts()] == [1, 1, 1]


@pytest.mark.parametrize("name", UNCLEAR)
def test_mail_that_may_have_gone_out_is_not_sent_again(shop: Any, name: str) -> None:
    sent, told = shop.whmcs.front.count("SendEmail"), len(shop.whmcs.rows("standin_notifications"))
    shop.whmcs.front.faults.add({"path": "SendEmail", **UNCLEAR[name]})
    service = shop.created()
    shop.told(
        lambda: any(
            "Resend Welcome Email" in words and f"ervice {service}" in words
            for words in shop.whmcs.activity()
        )
    )
    shop.told(lambda: {one["state"] for one in shop.operations(service)} == {"succeeded"})
    assert len(shop.whmcs.mails(service)) == 1
    assert shop.whmcs.front.count("SendEmail") == sent + 1
    assert len(shop.whmcs.rows("standin_notifications")) == told + 1
    shop.right_credentials(service)


def test_notification_that_may_have_gone_out_is_not_sent_again(shop: Any) -> None:
    before = shop.whmcs.front.count("TriggerNotificationEvent")
    shop.whmcs.front.faults.add({"path": "TriggerNotificationEvent", "kind": "drop_after"})
    shop.sandbox.settings(fail_next_job={"error": "0xb1: out of stock"})
    service, _, _ = shop.ordered()
    shop.told(
        lambda: any(
            "may not have gone out" in words and f"ervice {service}" in words
            for words in shop.whmcs.activity()
        )
    )
    assert shop.whmcs.status(service) == "Pending"
    assert shop.whmcs.front.count("TriggerNotificationEvent") == before + 1


def test_mail_before_a_page_is_sent_when_the_page_is_gone(shop: Any) -> None:
    """Where a maintenance page answers, nothing ran."""
    shop.whmcs.front.faults.add({"path": "SendEmail", "kind": "page", "status": 503, "times": 2})
    service = shop.created()
    assert len(shop.whmcs.mails(service)) == 1


def test_mail_that_is_refused_is_sent_when_it_is_mended(shop: Any) -> None:
    def template(**values: int) -> None:
        shop.whmcs.click(
            "update", table="tblemailtemplates", where={"name": "New VPS Information"}, values=values
        )

    template(disabled=1)
    try:
        service, _, _ = shop.ordered()
        operation = shop.operations(service)[0]["id"]
        timeline = shop.told(
            lambda: [
                entry
                for entry in shop.api("GET", f"operations/{operation}")["timeline"]
                if "Email Template is disabled" in str(entry)
            ]
        )
        assert "welcome_email" in str(timeline)
        shop.right_credentials(service)
        assert shop.whmcs.mails(service) == []
    finally:
        template(disabled=0)
    shop.told(lambda: shop.whmcs.mails(service))
    shop.told(lambda: {one["state"] for one in shop.operations(service)} == {"succeeded"})
    assert len(shop.whmcs.mails(service)) == 1


def test_unreachable_whmcs_gets_everything_later_in_order(shop: Any) -> None:
    service = shop.created()
    shop.whmcs.front.go_down()
    shop.done(service, "suspend", suspendreason="Abuse")
    shop.settled(service)
    shop.done(service, "unsuspend")
    shop.settled(service)
    shop.api("POST", f"services/whmcs/{service}/actions", action="reset_password")
    shop.settled(service)
    shop.whmcs.front.come_up()
    shop.told(lambda: len(shop.whmcs.mails(service)) == 2)
    shop.right_credentials(service)
    assert shop.whmcs.status(service) == "Active"


def test_wrong_address_is_named(shop: Any) -> None:
    shop.whmcs.set(APIAllowedIPs="192.0.2.1")
    said = said_by_check(shop)
    assert "127.0.0.1" in said
    assert "access_key" in said
    service, _, _ = shop.ordered()
    operation = shop.operations(service)[0]["id"]
    shop.told(lambda: "Invalid IP" in str(shop.api("GET", f"operations/{operation}")["timeline"]))
    shop.whmcs.set(APIAllowedIPs="127.0.0.1")
    shop.told(lambda: shop.whmcs.mails(service))


def test_action_that_is_not_allowed_is_named(shop: Any) -> None:
    try:
        allow(shop, "UpdateClientProduct", "GetClientsProducts", "LogActivity")
        said = said_by_check(shop)
        assert "SendEmail" in said
        assert "TriggerNotificationEvent" in said
        service, _, _ = shop.ordered()
        operation = shop.operations(service)[0]["id"]
        shop.told(lambda: "SendEmail" in str(shop.api("GET", f"operations/{operation}")["timeline"]))
    finally:
        allow(shop, *ACTIONS)
    shop.told(lambda: len(shop.whmcs.mails(service)) == 1)


def test_wrong_credentials_are_named(shop: Any) -> None:
    shop.whmcs.click("credential", identifier="provisioner", secret="another", actions=ACTIONS)
    try:
        assert "secret" in said_by_check(shop)
        service, _, _ = shop.ordered()
        shop.settled(service)
    finally:
        allow(shop, *ACTIONS)
    shop.told(lambda: shop.whmcs.mails(service))
    assert shop.secret not in shop.said.read_text()


def test_check_says_that_all_is_well(shop: Any) -> None:
    run = shop.run("check")
    assert run.returncode == 0, run.stdout + run.stderr


def test_slow_mail_is_waited_for(shop: Any) -> None:
    """WHMCS sends by SMTP within the call."""
    shop.whmcs.front.faults.add({"path": "SendEmail", "kind": "slow", "seconds": 3})
    service = shop.created()
    shop.told(lambda: {one["state"] for one in shop.operations(service)} == {"succeeded"})
    assert len(shop.whmcs.mails(service)) == 1


def test_access_key_stands_in_for_the_address(make: Any) -> None:
    shop = make("push", serve=False)
    key = "a-key!@#$%.()*[]-_"
    configuration = shop.whmcs.root / "configuration.php"
    configuration.write_text(configuration.read_text() + f"$api_access_key = '{key}';\n")
    shop.whmcs.set(APIAllowedIPs="192.0.2.1")
    shop.replace_setting(
        'identifier = "provisioner"\n', f'identifier = "provisioner"\naccess_key = "{key}"\n'
    )
    shop.start()
    shop.right_credentials(shop.created())
