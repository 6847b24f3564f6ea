"""What staff and customers see of the module: set-up, the service, the customer's page and its buttons."""

from __future__ import annotations

import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.utils import formatdate
from typing import Any

import pytest
import requests

from provisioner.sandbox.wire import Answer, Exchange, Listener
from tests.acceptance.whmcs.conftest import WELCOME

UPSTREAM_WORDS = ("venocix", "reseller", "hosterapi")
CLIENT_BUTTONS = {
    "Reboot": ["service.reboot"],
    "Start": ["service.start"],
    "Shut down": ["service.shutdown"],
    "Backup": ["service.backup"],
    "Reset root password": ["service.reset_password"],
    "Reinstall": ["service.reinstall"],
}


@pytest.fixture(scope="module")
def shared(make_shared: Any) -> Any:
    shop = make_shared("push")
    shop.whmcs.cron()  # makes the tables
    return shop


@pytest.fixture
def shop(shared: Any) -> Iterator[Any]:
    yield shared
    shared.gate.faults.clear()
    shared.gate.come_up()
    shared.a_minute_later()
    assert shared.whmcs.complaints() == ""


@pytest.fixture
def service(shop: Any) -> int:
    made = int(shop.order())
    shop.settled(made)
    return made


# The server record.


def connection(shop: Any, **record: Any) -> str:
    """What Test Connection says of a new server record; empty where all is well."""
    given = {"username": "whmcs", "password": shop.secret, **record}
    answer = shop.whmcs.click("test_connection", server=shop.record(**given))
    assert answer["success"] is (answer["error"] == "")
    return str(answer["error"])


@contextmanager
def on_sale(shop: Any, plan: str, template: str = "", **fields: Any) -> Iterator[int]:
    """A product for a while: Test Connection names all that are wrong, whichever test sells them."""
    product = shop.sell(plan, template, **fields)
    try:
        yield product
    finally:
        shop.whmcs.click("save_product", pid=product, fields={"servertype": ""})


def test_good_server_record_passes(shop: Any) -> None:
    assert connection(shop) == ""
    assert connection(shop, username="") == ""
    assert connection(shop, hostname="", ipaddress="127.0.0.1") == ""


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"password": "whsec_" + "A" * 43 + "="}, "secret"),
        ({"password": "hello"}, "whsec_"),
        ({"password": ""}, "whsec_"),
        ({"username": "other"}, "[billing."),
        ({"username": "Not A Name"}, "username"),
        ({"hostname": "a host", "ipaddress": ""}, "host name"),
        ({"port": 1}, "did not answer"),
        ({"hostname": "nowhere.invalid"}, "did not answer"),
        ({"secure": "on"}, "did not answer"),
    ],
)
def test_wrong_server_record_is_named(shop: Any, record: dict[str, Any], words: str) -> None:
    error = connection(shop, **record)
    assert words in error
    assert shop.secret not in error


def test_wrong_clock_is_named(shop: Any) -> None:
    def refuses(exchange: Exchange) -> None:
        said = {"error": {"code": "signature_invalid", "message": "the timestamp is too far off"}}
        exchange.send(Answer.json(401, said, {"Date": formatdate(time.time() + 900, usegmt=True)}))

    listener = Listener(refuses)
    listener.come_up()
    with closing(listener):
        error = connection(shop, port=listener.port)
    assert "clock" in error
    assert "behind" in error


def test_other_programs_are_told_apart(shop: Any) -> None:
    shop.gate.faults.add({"kind": "page", "status": 200, "times": 0})
    assert "SSL" in connection(shop)
    shop.gate.faults.clear()
    shop.gate.faults.add({"kind": "page", "status": 404, "times": 0})
    assert "404" in connection(shop)


def test_hooks_that_were_never_read_are_named(shop: Any) -> None:
    """WHMCS finds a module's hooks.php when a product with the module is saved."""
    shop.whmcs.set(ModuleHooks="")
    try:
        assert "Save Changes" in connection(shop)
    finally:
        shop.whmcs.click("save_product", pid=shop.product)
    assert connection(shop) == ""


def test_product_without_a_known_plan_is_named(shop: Any) -> None:
    with on_sale(shop, "vps-xxl"):
        assert "vps-xxl" in connection(shop, id=shop.server)
    assert connection(shop, id=shop.server) == ""


# The product.


def test_product_offers_plans_and_templates(shop: Any) -> None:
    fields = shop.whmcs.click("product_page", pid=shop.product)["fields"]
    plan, template, _ = fields.values()
    assert list(plan["loaded"]["choices"]) == ["vps-s", "vps-m"]
    assert "Small" in plan["loaded"]["choices"]["vps-s"]
    assert {"Debian10.0", "Ubuntu20.04"} <= set(template["loaded"]["choices"])
    assert all(field["SimpleMode"] for field in fields.values())


def test_product_page_says_why_there_is_nothing_to_choose(shop: Any) -> None:
    shop.gate.faults.add({"kind": "page", "status": 404, "times": 0})
    shop.whmcs.click(
        "update", table="mod_provisioner_facts", where=[["name", "like", "%.list:%"]], values={"value": ""}
    )
    plan, _, _ = shop.whmcs.click("product_page", pid=shop.product)["fields"].values()
    assert "404" in plan["loaded"]["error"]


def checked(shop: Any, product: int) -> str:
    """What the product's page says of it; the activity log says the same when it is saved."""
    page = " ".join(shop.whmcs.click("product_page", pid=product)["other"].values())
    said = len(shop.whmcs.activity())
    shop.whmcs.click("save_product", pid=product)
    logged = " ".join(shop.whmcs.activity()[said:])
    assert ("Everything fits" in page) is (logged == "")
    return f"{page} {logged}"


def test_right_product_fits(shop: Any) -> None:
    product = shop.sell("vps-m", "Debian10.0")
    shop.option(product, "cpu_cores|Cores", ("2|Two", "4|Four"))
    shop.option(product, "disk|Disk", ("20|20 GB", "1T|1 TB"))
    shop.option(product, "mem+|More memory", kind="quantity")
    shop.option(product, "Backups", ("None", "Daily"))
    assert "Everything fits" in checked(shop, product)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("mem|Memory", ("2 GB", "4 GB")), "mem"),
        (("mem|Memory", ("16|16 MB",)), "64"),
        (("mem|Memory", ("16384|16 GB",)), "8192"),  # the plan's max
        (("disk|Disk", ("big|Big",)), "disk"),
        (("template|System", ("Windows|Windows",)), "Windows"),
        (("memory|Memory", ("2048|2 GB",)), "mem"),
        (("RAM", ("2048|2 GB",)), "mem"),
        (("cpu_core|Cores", ("2|2",)), "cpu_cores"),
    ],
)
def test_wrong_option_is_found_before_the_first_order(shop: Any, option: Any, words: str) -> None:
    product = shop.sell("vps-s")
    shop.option(product, *option)
    found = checked(shop, product)
    assert "Everything fits" not in found
    assert words in found


def test_wrong_product_is_found_before_the_first_order(shop: Any) -> None:
    with on_sale(shop, "vps-xxl") as product:
        assert "vps-xxl" in checked(shop, product)
    with on_sale(shop, "") as product:
        assert "plan" in checked(shop, product)
    with on_sale(shop, "vps-m", "CentOS8") as product:
        assert "CentOS8" in checked(shop, product)
    with on_sale(shop, "vps-s", allowqty=1) as product:
        assert "Quantities" in checked(shop, product)


def test_product_of_another_module_is_left_alone(shop: Any) -> None:
    other = shop.whmcs.click("product", name="A domain", servertype="")
    assert shop.whmcs.click("hook", point="AdminProductConfigFields", vars={"pid": other}) == []


# Orders that cannot be.


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"qty": 2}, "quantity 2"),
        ({"domain": "no host name"}, "domain"),
        ({"domain": "192.0.2.1"}, "domain"),
    ],
)
def test_order_that_cannot_be_is_a_sentence(shop: Any, order: dict[str, Any], words: str) -> None:
    service, _, answer = shop.ordered(**order)
    assert words in answer
    assert shop.sent(service) == []
    assert shop.whmcs.status(service) == "Pending"
    (queued,) = shop.whmcs.rows("tblmodulequeue", service_id=service)
    assert queued["last_attempt_error"] == answer


def test_order_of_a_product_without_a_plan_is_a_sentence(shop: Any) -> None:
    product = shop.sell("")
    service, _, answer = shop.ordered(product)
    shop.whmcs.click("save_product", pid=product, fields={"servertype": ""})
    assert "Module Settings" in answer
    assert shop.sent(service) == []


def test_command_for_an_unknown_service_is_a_sentence(shop: Any) -> None:
    service = shop.whmcs.click("hosting", packageid=shop.product, server=shop.server)
    for verb in ("suspend", "unsuspend", "terminate", "changepackage"):
        answer = shop.act(service, verb)
        assert "Create" in answer, answer
    assert shop.whmcs.status(service) == "Active"


def test_text_that_is_no_utf8_does_no_harm(shop: Any, service: int) -> None:
    with shop.whmcs.hook('add_hook("PreModuleSuspend", 1, fn () => ["suspendreason" => "caf\\xe9"]);'):
        assert shop.act(service, "suspend") == "success"
    assert shop.last(service).word == "service.suspend"


def test_server_that_is_not_set_up_is_a_sentence(shop: Any) -> None:
    service = shop.whmcs.click("hosting", packageid=shop.product, server=0)

    def all_servers(**values: Any) -> None:
        shop.whmcs.click("update", table="tblservers", where=[["id", ">", 0]], values=values)

    all_servers(type="another")
    try:
        assert "add one" in shop.act(service, "suspend")
        assert "add one" in repr(shop.whmcs.click("admin_page", service=service)["fields"])
        assert "provisioner" not in page(shop, service).replace("provisioner-overview", "")
    finally:
        all_servers(type="provisioner")


def test_service_that_was_terminated_elsewhere_is_not_ordered_again_by_itself(
    shop: Any, service: int
) -> None:
    """It was ended from provisioner's console; that a new one is wanted must be said on purpose."""
    shop.api("POST", f"services/whmcs/{service}/actions", action="terminate")
    shop.stands(service, "terminated")
    shop.told(lambda: shop.whmcs.status(service) == "Terminated")
    shop.whmcs.click("update", table="tblhosting", where={"id": service}, values={"domainstatus": "Active"})
    assert "set the status of this service to Terminated" in shop.act(service, "create")
    assert shop.sent(service) == ["order.paid"]


@pytest.mark.parametrize(
    ("option", "kind", "chosen", "words"),
    [
        ("mem|Memory", "dropdown", "2 GB", "MB"),
        ("mem|Memory", "dropdown", "1", "64"),
        ("disk|Disk", "dropdown", "big", "GB"),
        ("cpu_cores+|Cores", "quantity", 5000, "1024"),
        ("template|System", "dropdown", "Windows", "Windows"),
        ("mem|Memory", "dropdown", "16384", "8192"),
    ],
)
def test_option_that_cannot_be_is_a_sentence(
    shop: Any, option: str, kind: str, chosen: Any, words: str
) -> None:
    product = shop.sell("vps-s")
    made, choices = shop.option(product, option, (chosen,) if kind == "dropdown" else (), kind)
    service, _, answer = shop.ordered(product, options={made: choices[chosen] if choices else chosen})
    assert words in answer
    assert shop.whmcs.status(service) == "Pending"


def test_vm_field_that_is_no_number_is_a_sentence(shop: Any) -> None:
    product = shop.sell("vps-s")
    given = shop.whmcs.click("field", relid=product, fieldname="vmid|VM")
    service, _, answer = shop.ordered(product, fields={given: "web1"})
    assert "number of its VM" in answer
    assert shop.sent(service) == []


# The service's page.


def test_staff_see_how_a_service_stands(shop: Any, service: int) -> None:
    page = shop.whmcs.click("admin_page", service=service)
    shown = repr(page["fields"])
    vm = shop.vm(service)
    assert str(vm["vmid"]) in shown
    assert vm["ips"][0] in shown
    assert "1024 MB" in shown
    assert vm["password"] not in shown
    assert {"Reboot", "Reset root password", "Link existing VM"} <= set(page["buttons"])


def test_staff_see_what_went_wrong(shop: Any) -> None:
    shop.sandbox.settings(fail_next_job={"error": "0xb1: out of stock"})
    service = shop.order()
    shop.stands(service, "failed")
    shown = shop.whmcs.click("admin_page", service=service)["fields"]
    assert "failed" in repr(shown)
    assert shown.get("Last error")


def test_staff_see_a_page_while_nothing_answers(shop: Any, service: int) -> None:
    shop.gate.go_down()
    assert "did not answer" in repr(shop.whmcs.click("admin_page", service=service)["fields"])


def test_what_is_shown_cannot_be_html(shop: Any) -> None:
    shop.sandbox.settings(fail_next_job={"error": "0xb1: <script>alert(1)</script>"})
    service = shop.order()
    shop.stands(service, "failed")
    assert "<script" not in repr(shop.whmcs.click("admin_page", service=service))
    assert "<script" not in shop.whmcs.client("client_page", service=service)["html"]


# The customer's page.


def page(shop: Any, service: int) -> str:
    html = str(shop.whmcs.client("client_page", service=service)["html"])
    assert not any(word in html.lower() for word in UPSTREAM_WORDS)
    return html


def test_customer_sees_progress_then_the_server(shop: Any) -> None:
    shop.sandbox.settings(hang_jobs=True)
    service = shop.order()
    building = page(shop, service)
    assert "Being set up" in building
    assert "<progress" in building
    assert 'name="a"' not in building  # nothing to press yet
    shop.sandbox.settings(hang_jobs=False)
    shop.stands(service, "active")
    shop.settled(service)
    there = page(shop, service)
    assert shop.vm(service)["ips"][0] in there
    assert 'value="clientReboot"' in there
    assert shop.vm(service)["password"] not in there


def test_customer_sees_a_suspension(shop: Any, service: int) -> None:
    shop.done(service, "suspend", suspendreason="Overdue on Payment")
    shop.stands(service, "suspended")
    suspended = page(shop, service)
    assert "suspended" in suspended
    assert 'name="a"' not in suspended


def test_customer_of_a_failed_order_is_told_that_staff_know(shop: Any) -> None:
    shop.sandbox.settings(fail_next_job={"error": "0xb1: out of stock"})
    service = shop.order()
    shop.stands(service, "failed")
    shop.told(lambda: shop.whmcs.status(service) == "Pending")
    failed = page(shop, service)
    assert "staff" in failed
    assert "0xb1" not in failed


def pressed(shop: Any, service: int, function: str, **request: Any) -> Any:
    return shop.whmcs.client("client_page", service=service, button=function, **request)


@pytest.mark.parametrize("label", CLIENT_BUTTONS)
def test_button_of_a_customer_is_one_event(shop: Any, service: int, label: str) -> None:
    function = shop.whmcs.client("client_page", service=service)["buttons"][label]
    if label == "Start":
        pressed(shop, service, "clientShutdown", method="POST", post={"confirmed": "yes"}, with_token=True)
        shop.settled(service)
    before = shop.sent(service)
    asked = pressed(shop, service, function)  # WHMCS's own buttons are links
    assert asked["done"] == "page"
    assert 'name="token"' in asked["html"]
    assert shop.sent(service) == before
    done = pressed(shop, service, function, method="POST", post={"confirmed": "yes"}, with_token=True)
    assert done["done"] == "success"
    assert shop.sent(service) == before + CLIENT_BUTTONS[label]
    assert shop.last(service).source["actor"] == {"type": "client", "name": "1"}


def test_button_without_a_token_does_nothing(shop: Any, service: int) -> None:
    """A link or a form on another page, opened by a customer who is signed in."""
    for request in (
        {"method": "POST", "post": {"confirmed": "yes"}},
        {"method": "POST", "post": {"confirmed": "yes", "token": "guessed"}},
    ):
        ended = shop.whmcs.ended_page(
            "client_page", service=service, button="clientReinstall", **{"as": "client"}, **request
        )
        assert "token" in ended
    pressed(shop, service, "clientReinstall", get={"confirmed": "yes"})
    assert shop.sent(service) == ["order.paid"]


def test_customer_cannot_run_what_is_for_staff(shop: Any, service: int) -> None:
    for function in ("stop", "reinstall", "link", "sendAndFetch", "CreateAccount"):
        answer = pressed(shop, service, function, method="POST", post={"confirmed": "yes"}, with_token=True)
        assert answer["done"] == "Function Not Allowed"
    assert shop.sent(service) == ["order.paid"]


def test_customer_of_a_suspended_service_cannot_act(shop: Any, service: int) -> None:
    shop.done(service, "suspend", suspendreason="Overdue on Payment")
    answer = pressed(shop, service, "clientStart", method="POST", post={"confirmed": "yes"}, with_token=True)
    assert "active" in answer["done"]
    assert shop.sent(service) == ["order.paid", "service.suspend"]


def test_customer_is_told_nothing_technical(shop: Any, service: int) -> None:
    shop.gate.go_down()
    answer = pressed(shop, service, "clientReboot", method="POST", post={"confirmed": "yes"}, with_token=True)
    assert "127.0.0.1" not in repr(answer)
    assert "provisioner" not in str(answer["done"]).lower()


# The panel.


def opened(shop: Any, link: str) -> tuple[requests.Session, requests.Response]:
    """What a browser gets that follows a link."""
    browser = requests.Session()
    browser.trust_env = False
    return browser, browser.get(link, timeout=10)


def test_customer_is_signed_on_to_the_panel(shop: Any, service: int) -> None:
    assert f"id={service}&amp;dosinglesignon=1" in page(shop, service)
    answer = shop.whmcs.client("single_sign_on", service=service)
    assert answer["success"] is True
    browser, there = opened(shop, answer["redirectTo"])
    assert (there.status_code, "/panel/at/" in there.url) == (200, True)
    assert shop.vm(service)["ips"][0] in there.text
    token = re.search(r'name="csrf_token" value="(\w+)"', there.text)
    assert token is not None
    browser.post(f"{there.url}backups", data={"csrf_token": token[1]}, timeout=10)
    shop.settled(service)
    (backup,) = [one for one in shop.operations(service) if one["kind"] == "backup"]
    assert backup["actor"] == "panel:whmcs:client:1"
    browser.close()


def test_staff_are_signed_on_as_themselves(shop: Any, service: int) -> None:
    answer = shop.whmcs.click("single_sign_on", service=service)
    assert answer["success"] is True
    assert "admin" in str(b64(answer["redirectTo"]))


def b64(link: str) -> bytes:
    """What a link says; it is signed, not secret."""
    payload = link.rpartition("/")[2].partition(".")[0]
    return urlsafe_b64decode(payload + "=" * (-len(payload) % 4))


def test_link_is_in_no_log(shop: Any, service: int) -> None:
    link = shop.whmcs.client("single_sign_on", service=service)["redirectTo"]
    assert link.rpartition("/")[2] not in repr(shop.whmcs.everything())


def test_panel_that_cannot_be_reached_is_said_to_the_customer(shop: Any, service: int) -> None:
    shop.gate.go_down()
    answer = shop.whmcs.client("single_sign_on", service=service)
    assert answer["success"] is False
    assert "try again" in answer["errorMsg"]
    assert "127.0.0.1" not in answer["errorMsg"]


def test_service_without_an_order_has_no_panel(shop: Any) -> None:
    unordered = shop.whmcs.click("hosting", packageid=shop.product)
    answer = shop.whmcs.client("single_sign_on", service=unordered)
    assert answer["success"] is False
    assert answer["errorMsg"]


# Mails.


def test_blank_welcome_mail_is_held_back(shop: Any) -> None:
    shop.sandbox.settings(hang_jobs=True)
    service = shop.order()
    assert shop.whmcs.mails(service) == []
    shop.sandbox.settings(hang_jobs=False)
    other = shop.whmcs.click(
        "local_api", action="SendEmail", values={"messagename": "Client Signup Email", "id": 1}
    )
    assert other == {"result": "success"}


def test_mail_of_another_product_is_let_through(shop: Any) -> None:
    domain = shop.whmcs.click("product", name="A domain", servertype="", welcomeemail=1)
    foreign = shop.whmcs.click("hosting", packageid=domain)
    sent = shop.whmcs.click("local_api", action="SendEmail", values={"messagename": WELCOME, "id": foreign})
    assert sent == {"result": "success"}


def test_hooks_return_arrays(shop: Any, service: int) -> None:
    """Whatever they are given: WHMCS breaks on anything else, and with it the page."""
    points = (
        "EmailPreSend",
        "EmailPreLog",
        "PreModuleChangePackage",
        "ShoppingCartValidateUpgrade",
        "ServiceDelete",
        "FraudOrder",
        "CancelOrder",
        "AdminProductConfigFields",
        "ProductEdit",
        "AfterCronJob",
    )
    for point in points:
        for given in (
            {},
            {"relid": "x", "serviceid": "", "params": None, "pid": [], "orderid": -1, "message": 7},
        ):
            assert isinstance(shop.whmcs.click("hook", point=point, vars=given), list), point
