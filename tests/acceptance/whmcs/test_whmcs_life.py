"""A service's whole life between WHMCS and its server, by both ways back: pushed, and fetched by the cron."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape, unescape
from typing import Any

import pytest

WAYS = ("push", "pull")


@pytest.fixture(scope="module", params=WAYS)
def shared(request: pytest.FixtureRequest, make_shared: Any) -> Any:
    shop = make_shared(request.param)
    if request.param == "pull":
        shop.whmcs.front.go_down()  # nothing from outside reaches this WHMCS
    return shop


@pytest.fixture
def shop(shared: Any) -> Iterator[Any]:
    yield shared
    if shared.deliver == "push":
        shared.whmcs.front.come_up()
    assert shared.whmcs.complaints() == ""


def shows(shop: Any, service: int, **fields: str) -> None:
    """Waits until WHMCS shows so of a service."""

    def as_it_is() -> dict[str, Any]:
        row = shop.whmcs.service(service)
        return {name: row[name] for name in fields}

    shop.told(lambda: as_it_is() == fields)


def admin_does(shop: Any, service: int, action: str, **data: Any) -> None:
    """Something done from provisioner's console."""
    shop.api("POST", f"services/whmcs/{service}/actions", action=action, **data)


def test_whole_life(shop: Any) -> None:
    service, _, answer = shop.ordered(shop.sell("vps-m"))
    assert answer == "success"
    assert shop.whmcs.mails(service) == []  # the blank one was held back
    (mail,) = shop.told(lambda: shop.whmcs.mails(service))
    shop.right_credentials(service)
    vm = shop.vm(service)
    assert vm["password"] in mail
    assert all(ip in mail for ip in vm["ips"])
    row = shop.whmcs.service(service)
    assert (row["domain"], row["domainstatus"]) == ("web1.example.com", "Active")

    shop.done(service, "suspend", suspendreason="Abuse")
    shop.stands(service, "suspended")
    shows(shop, service, domainstatus="Suspended", suspendreason="Abuse")
    assert shop.vm(service)["power"] == "stopped"

    shop.done(service, "unsuspend")
    shop.stands(service, "active")
    shows(shop, service, domainstatus="Active", suspendreason="")

    before = shop.vm(service)["password"]
    assert shop.whmcs.click("admin_button", service=service, function="resetPassword") == "success"
    shop.told(lambda: len(shop.whmcs.mails(service)) == 2)
    assert shop.vm(service)["password"] != before
    shop.right_credentials(service)

    assert shop.whmcs.click("admin_button", service=service, function="reinstall") == "success"
    shop.told(lambda: len(shop.whmcs.mails(service)) == 3)
    shop.right_credentials(service)

    assert shop.whmcs.click("admin_button", service=service, function="backup") == "success"
    shop.told(lambda: any("backup" in words for words in shop.whmcs.activity()))

    shop.done(service, "terminate")
    addresses = shop.vm(service)["ips"]
    shows(shop, service, username="", password="", dedicatedip="", assignedips="", domainstatus="Terminated")
    assert any(all(ip in words for ip in addresses) for words in shop.whmcs.activity())
    shop.stands(service, "terminated")
    assert len(shop.whmcs.mails(service)) == 3
    notes = shop.whmcs.rows("standin_notifications")
    assert [note for note in notes if note["title"].startswith(f"Service {service}:")] == []


def test_upgrades_are_written(shop: Any) -> None:
    product = shop.sell("vps-s")
    ips, _ = shop.option(product, "ip_count+|More addresses", kind="quantity")
    mem, size = shop.option(product, "mem|Memory", ("2048|2 GB", "4096|4 GB"))
    service = shop.created(product, options={mem: size["4096"]})
    for options, expected in (
        ({mem: size["2048"]}, "2048 MB"),
        ({ips: 1}, "IPs: 2"),
        ({mem: None}, "1024 MB"),
    ):
        assert shop.whmcs.client("upgrade", service=service, options=options)["answer"] == "success"
        shop.told(lambda expected=expected: any(expected in words for words in shop.whmcs.activity()))
    assert len(shop.whmcs.mails(service)) == 1
    shop.settled(service)
    assert shop.vm(service)["mem"] == 1024


def test_what_an_admin_does_shows_in_whmcs(shop: Any) -> None:
    service = shop.created()
    admin_does(shop, service, "suspend", reason="Spam & more")
    shows(shop, service, domainstatus="Suspended", suspendreason="Spam & more")
    admin_does(shop, service, "unsuspend")
    shows(shop, service, domainstatus="Active", suspendreason="")
    admin_does(shop, service, "reset_password")
    shop.told(lambda: len(shop.whmcs.mails(service)) == 2)
    shop.right_credentials(service)
    admin_does(shop, service, "terminate")
    shows(shop, service, domainstatus="Terminated", password="", dedicatedip="")


def test_failed_order_is_pending_and_told_once(shop: Any) -> None:
    shop.sandbox.settings(fail_next_job={"error": "0xb1: out of stock"})
    told = len(shop.whmcs.rows("standin_notifications"))
    service, _, answer = shop.ordered()
    assert answer == "success"
    shows(shop, service, domainstatus="Pending")
    shop.told(lambda: len(shop.whmcs.rows("standin_notifications")) > told)
    assert shop.whmcs.mails(service) == []
    notification = shop.whmcs.rows("standin_notifications")[-1]
    said = f"{notification['title']} {notification['message']}"
    operation = shop.operations(service)[0]
    assert f"ervice {service}" in said
    assert operation["id"] in said
    assert operation["error"]["code"] in said
    shop.api("POST", f"operations/{operation['id']}/retry")
    shop.told(lambda: shop.whmcs.mails(service))
    shows(shop, service, domainstatus="Active")
    shop.right_credentials(service)
    mine = [
        row
        for row in shop.whmcs.rows("standin_notifications")
        if f"ervice {service}" in row["title"] + row["message"]
    ]
    assert [row for row in mine if "create" in row["title"] + row["message"]] == [notification]


def test_fraud_is_terminated_and_stays_fraud(shop: Any) -> None:
    service, order, _ = shop.ordered()
    shop.told(lambda: shop.whmcs.mails(service))
    shop.whmcs.click("end_order", order=order, status="Fraud")
    shop.stands(service, "terminated")
    shows(shop, service, domainstatus="Fraud", username="", password="", dedicatedip="")


def test_terminated_service_gets_a_new_server(shop: Any) -> None:
    service = shop.created()
    shop.done(service, "terminate")
    shows(shop, service, domainstatus="Terminated", password="")
    shop.done(service, "create")
    shop.told(lambda: len(shop.whmcs.mails(service)) == 2)
    shop.right_credentials(service)
    shows(shop, service, domainstatus="Active")


def test_new_server_is_ordered_before_whmcs_was_told_of_the_end(shop: Any) -> None:
    """The old credentials are still in WHMCS then; they must not be mailed once more."""
    service = shop.created()
    if shop.deliver == "push":
        shop.whmcs.front.go_down()
    shop.done(service, "terminate")
    shop.stands(service, "terminated")
    shop.done(service, "create")
    assert len(shop.whmcs.mails(service)) == 1
    if shop.deliver == "push":
        shop.whmcs.front.come_up()
    shop.told(lambda: len(shop.whmcs.mails(service)) == 2)
    shop.right_credentials(service)
    assert shop.vm(service)["password"] in shop.whmcs.mails(service)[-1]


def test_linked_server_keeps_its_password(shop: Any) -> None:
    vm = shop.sandbox.add_vm()
    product = shop.sell("vps-s")
    given = shop.whmcs.click("field", relid=product, fieldname="vmid|VM")
    service = shop.whmcs.click(
        "hosting",
        packageid=product,
        server=shop.server,
        domainstatus="Pending",
        username="root",
        password="old & gold",
        dedicatedip=vm["ips"][0],
    )
    shop.whmcs.click(
        "row",
        table="tblcustomfieldsvalues",
        values={"fieldid": given, "relid": service, "value": str(vm["vmid"])},
    )
    shop.done(service, "create")
    shop.told(lambda: shop.shown(service)["status"] == "active" and shop.over(service))
    shop.told(lambda: any(str(vm["vmid"]) in words for words in shop.whmcs.activity()))
    shows(
        shop, service, username="root", password="old & gold", domainstatus="Active", dedicatedip=vm["ips"][0]
    )
    assert all("old & gold" in mail for mail in shop.whmcs.mails(service))


def test_no_secret_is_kept_anywhere_else(shop: Any) -> None:
    """The module log is on; only the client's own mail and the encrypted fields have the password."""
    service = shop.created()
    password = shop.vm(service)["password"]
    shop.whmcs.click("admin_button", service=service, function="resetPassword")
    shop.told(lambda: len(shop.whmcs.mails(service)) == 2)
    mailed = shop.whmcs.rows("tblemails")
    assert mailed
    for secret in (password, shop.vm(service)["password"], shop.secret, shop.secret.removeprefix("whsec_")):
        for form in {secret, escape(secret), secret.replace("'", "\\'"), repr(secret)[1:-1]}:
            for table, text in shop.whmcs.everything().items():
                assert form not in text, (table, form)
            assert form not in shop.said.read_text()


def test_special_characters_survive_a_shop_that_encodes(shop: Any) -> None:
    """Some WHMCS versions store what comes in by HTTP with its special characters as entities."""
    shop.whmcs.set(StandInEncodesInput="on")
    try:
        service = shop.created()
        shop.right_credentials(service, unescape if shop.deliver == "push" else str)
    finally:
        shop.whmcs.set(StandInEncodesInput="")


def test_masked_password_is_passed_over(shop: Any) -> None:
    """The read-back of a WHMCS that shows no passwords cannot tell more."""
    shop.whmcs.set(StandInMasksPasswords="on")
    try:
        service = shop.created()
    finally:
        shop.whmcs.set(StandInMasksPasswords="")
    shop.right_credentials(service)


def test_deleted_service_blocks_no_other(shop: Any) -> None:
    service = shop.created()
    admin_does(shop, service, "suspend", reason="Abuse")
    shop.whmcs.click("update", table="tblhosting", where={"id": service}, values={"id": service + 100_000})
    other = shop.created()
    shop.right_credentials(other)
    if shop.deliver == "pull":
        said = [
            words
            for words in shop.whmcs.activity()
            if f"ervice {service}" in words and "not in WHMCS" in words
        ]
        assert len(said) <= 1


def test_long_words_fit_into_the_log(shop: Any) -> None:
    """What is too long is cut between characters: MySQL takes no half of one."""
    service = shop.created()
    for reason in ("ü" * 999, "x" + "ü" * 999):
        admin_does(shop, service, "suspend", reason=reason)
        shows(shop, service, domainstatus="Suspended", suspendreason=reason)
        admin_does(shop, service, "unsuspend")
        shows(shop, service, domainstatus="Active", suspendreason="")


def test_later_mail_goes_out_once(shop: Any) -> None:
    """The product's own welcome mail is let through once it says something true."""
    service = shop.created()
    assert shop.whmcs.click(
        "local_api", action="SendEmail", values={"messagename": "New VPS Information", "id": service}
    ) == {"result": "success"}
    assert len(shop.whmcs.mails(service)) == 2
    blank, _, _ = shop.ordered()
    held = shop.whmcs.click(
        "local_api", action="SendEmail", values={"messagename": "New VPS Information", "id": blank}
    )
    assert held["result"] == "error" or shop.whmcs.mails(blank)
    other = shop.whmcs.click(
        "local_api", action="SendEmail", values={"messagename": "Client Signup Email", "id": 1}
    )
    assert other == {"result": "success"}


@pytest.mark.parametrize("way", WAYS)
def test_failure_opens_one_ticket(make: Any, way: str) -> None:
    shop = make(way, on_failure="ticket")
    shop.sandbox.settings(fail_next_job={"error": "0xb1: out of stock"})
    service, _, _ = shop.ordered()
    (ticket,) = shop.told(lambda: shop.whmcs.rows("tbltickets"))
    assert (ticket["did"], ticket["userid"], ticket["service"]) == (1, 1, f"S{service}")
    shop.sandbox.settings(fail_next_job={"error": "0xb1: out of stock"})
    shop.api("POST", f"operations/{shop.operations(service)[0]['id']}/retry")
    shop.told(lambda: shop.whmcs.rows("tblticketnotes"))
    assert len(shop.whmcs.rows("tbltickets")) == 1
    assert shop.whmcs.rows("standin_notifications") == []
    shows(shop, service, domainstatus="Pending")


def test_order_that_was_kept_is_delivered(make: Any) -> None:
    """Service down while the customer pays: the cron brings the order, the rest is as always."""
    shop = make("pull", serve=False)
    service, _, answer = shop.ordered()
    assert answer == "success"
    assert shop.whmcs.mails(service) == []
    shop.start()
    assert shop.whmcs.click("admin_button", service=service, function="sendAndFetch") == "success"
    shop.told(lambda: shop.whmcs.mails(service))
    shop.right_credentials(service)
