"""What WHMCS does to a service becomes one signed event, or a sentence that says what to mend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

ADMIN_BUTTONS = {
    "Reboot": "service.reboot",
    "Start": "service.start",
    "Shutdown": "service.shutdown",
    "Reinstall": "service.reinstall",
    "Reset root password": "service.reset_password",
    "Backup": "service.backup",
}


@pytest.fixture(scope="module")
def shared(make_shared: Any) -> Any:
    return make_shared("push")


@pytest.fixture(scope="module")
def patient(make_shared: Any) -> Any:
    """A set-up in which terminated servers wait for a day."""
    return make_shared("push", grace=86_400)


@pytest.fixture
def shop(shared: Any) -> Iterator[Any]:
    yield shared
    assert shared.whmcs.complaints() == ""


@pytest.fixture
def service(shop: Any) -> int:
    """A service whose server is there."""
    made = int(shop.order())
    shop.settled(made)
    return made


def button(shop: Any, service: int, label: str) -> str:
    """The answer to an admin's button."""
    function = shop.whmcs.click("admin_page", service=service)["buttons"][label]
    return str(shop.whmcs.click("admin_button", service=service, function=function))


def test_order_is_one_event(shop: Any) -> None:
    service, _, answer = shop.ordered()
    assert answer == "success"
    (event,) = shop.gate.events(service)
    assert event.word == "order.paid"
    assert event.data == {
        "service_id": str(service),
        "plan": "vps-s",
        "hostname": "web1.example.com",
        "client": {"id": "1"},
    }
    shop.settled(service)
    assert shop.vm(service)["rdns"] == {shop.vm(service)["ips"][0]: "web1.example.com"}


def test_event_says_where_it_comes_from(shop: Any, service: int) -> None:
    shop.done(service, "suspend", suspendreason="Abuse")
    assert shop.last(service).source["actor"] == {"type": "admin", "name": "anna"}
    shop.whmcs.cron(unsuspend=[service])
    assert shop.last(service).source["actor"] == {"type": "cron", "name": ""}
    bought, _, _ = shop.ordered()
    assert shop.last(bought).source["actor"] == {"type": "client", "name": "1"}
    installations = {call.source["installation"] for call in shop.gate.calls}
    assert len(installations) == 1
    assert installations.pop().startswith("https://billing.example.com/#")


def test_reason_of_a_suspension_is_told(shop: Any, service: int) -> None:
    shop.done(service, "suspend", suspendreason="Abuse &amp; spam, &quot;again&quot;")
    assert shop.last(service).data == {"service_id": str(service), "reason": 'Abuse & spam, "again"'}
    shop.settled(service)
    assert shop.shown(service)["suspend_reason"] == 'Abuse & spam, "again"'
    shop.done(service, "unsuspend")
    shop.settled(service)  # a late Active could meet WHMCS's own Terminated, which is not what is asked here
    shop.done(service, "terminate")
    shop.settled(service)
    assert shop.sent(service) == ["order.paid", "service.suspend", "service.unsuspend", "service.terminate"]
    assert shop.last(service).data == {"service_id": str(service)}
    assert shop.whmcs.status(service) == "Terminated"


def test_overdue_service_is_suspended_by_the_cron(shop: Any, service: int) -> None:
    assert shop.whmcs.cron(suspend=[service]) == {str(service): "success"}
    assert shop.last(service).data["reason"] == "Overdue on Payment"


def test_options_are_what_the_customer_chose(shop: Any) -> None:
    product = shop.sell("vps-m", "Ubuntu20.04")
    cores, core = shop.option(product, "cpu_cores|Cores", ("2|Two", "4|Four"))
    more, _ = shop.option(product, "mem+|More memory (MB)", kind="quantity")
    disk, _ = shop.option(product, "disk+|More disk (GB)", kind="quantity")
    ips, _ = shop.option(product, "ip_count+|More addresses", kind="quantity")
    system, choice = shop.option(
        product, "template|Operating system", ("Debian10.0|Debian 10", "Ubuntu20.04|Ubuntu")
    )
    support, care = shop.option(product, "Support level", ("Gold", "Silver"))
    chosen = {
        cores: core["4"],
        more: 512,
        disk: 10,
        ips: 0,
        system: choice["Debian10.0"],
        support: care["Gold"],
    }
    service, _, answer = shop.ordered(product, options=chosen)
    assert answer == "success"
    data = shop.last(service).data
    assert data["plan"] == "vps-m"
    assert data["template"] == "Debian10.0"
    assert data["options"] == {"cpu_cores": 4, "mem": 2560, "disk": "30G"}
    shop.settled(service)
    vm = shop.vm(service)
    assert (vm["cpu_cores"], vm["mem"], vm["disk"], len(vm["ips"])) == (4, 2560, "30G", 2)


def test_upgrade_asks_for_the_whole_set_of_options(shop: Any) -> None:
    product = shop.sell("vps-s")
    mem, size = shop.option(product, "mem|Memory", ("1024|1 GB", "2048|2 GB", "4096|4 GB"))
    cores, _ = shop.option(product, "cpu_cores+|More cores", kind="quantity")
    service = shop.order(product, options={mem: size["4096"], cores: 1})

    def upgraded(options: Any) -> Any:
        assert shop.whmcs.client("upgrade", service=service, options=options)["answer"] == "success"
        shop.settled(service)
        assert shop.last(service).word == "service.upgrade"
        assert shop.last(service).data["plan"] == "vps-s"
        vm = shop.vm(service)
        return vm["mem"], vm["cpu_cores"], shop.last(service).data.get("options")

    assert upgraded({cores: 3}) == (4096, 4, {"mem": 4096, "cpu_cores": 4})
    assert upgraded({mem: size["2048"]}) == (2048, 4, {"mem": 2048, "cpu_cores": 4})
    assert upgraded({cores: 0}) == (2048, 1, {"mem": 2048})
    assert upgraded({mem: None}) == (1024, 1, None)


def test_change_of_the_product_changes_the_plan(shop: Any, service: int) -> None:
    other = shop.sell("vps-m")
    assert shop.whmcs.client("validate_upgrade", service=service, pid=other) == []
    assert shop.whmcs.client("upgrade", service=service, pid=other)["answer"] == "success"
    shop.settled(service)
    assert shop.last(service).data == {"service_id": str(service), "plan": "vps-m"}
    vm = shop.vm(service)
    assert (vm["cpu_cores"], vm["mem"], vm["disk"]) == (2, 2048, "20G")


def test_smaller_disk_is_refused_before_money_moves(shop: Any) -> None:
    service = shop.order(shop.sell("vps-m"))
    shop.settled(service)
    smaller = shop.sell("vps-s")
    (sentence,) = shop.whmcs.client("validate_upgrade", service=service, pid=smaller)
    assert "20G" in sentence
    assert "10G" in sentence
    assert shop.whmcs.client("upgrade", service=service, pid=smaller)["answer"] != "success"
    assert shop.sent(service) == ["order.paid"]
    assert shop.vm(service)["disk"] == "20G"


def test_hook_of_an_upgrade_leaves_other_products_alone(shop: Any, service: int) -> None:
    other = shop.whmcs.click("product", name="A domain", servertype="")
    assert shop.whmcs.client("validate_upgrade", service=service, pid=other) == []
    foreign = shop.whmcs.click("hosting", packageid=other)
    assert shop.whmcs.client("validate_upgrade", service=foreign, pid=shop.product) == []
    assert (
        shop.whmcs.click("act", service=foreign, verb="changepackage") == "Service not assigned to a module"
    )


@pytest.mark.parametrize("label", ADMIN_BUTTONS)
def test_button_of_an_admin_is_one_event(shop: Any, service: int, label: str) -> None:
    if label == "Start":
        assert button(shop, service, "Shutdown") == "success"
        shop.settled(service)
    assert button(shop, service, label) == "success"
    assert shop.last(service).word == ADMIN_BUTTONS[label]
    shop.settled(service)
    assert shop.operations(service)[-1]["state"] in ("delivering", "succeeded")


def test_order_again_makes_no_second_event(shop: Any) -> None:
    shop.sandbox.settings(hang_jobs=True)
    service, _, _ = shop.ordered()
    assert shop.act(service, "create") == "success"
    shop.sandbox.settings(hang_jobs=False)
    shop.settled(service)
    assert shop.act(service, "create") == "success"
    assert shop.sent(service) == ["order.paid"]


def test_failed_order_is_sent_again(shop: Any) -> None:
    shop.sandbox.settings(fail_next_job={"error": "0xb1: out of stock"})
    service, _, _ = shop.ordered()
    shop.stands(service, "failed")
    assert shop.act(service, "create") == "success"
    first, second = shop.gate.events(service)
    assert (first.word, second.word) == ("order.paid", "order.paid")
    assert first.webhook_id != second.webhook_id
    shop.stands(service, "active")


def test_terminated_service_is_ordered_anew(shop: Any, service: int) -> None:
    before = shop.vm(service)["vmid"]
    shop.done(service, "terminate")
    shop.stands(service, "terminated")
    shop.done(service, "create")
    assert shop.last(service).data["recreate"] is True
    shop.stands(service, "active")
    assert shop.vm(service)["vmid"] != before
    assert shop.whmcs.status(service) == "Active"


def test_order_within_the_grace_brings_the_server_back(patient: Any) -> None:
    shop = patient
    service = shop.order()
    shop.settled(service)
    before = shop.vm(service)
    shop.done(service, "terminate")
    shop.stands(service, "terminating")
    shop.done(service, "create")
    shop.stands(service, "active")
    assert shop.vm(service)["vmid"] == before["vmid"]
    shop.done(service, "terminate")
    shop.done(service, "unsuspend")
    shop.stands(service, "active")


@pytest.mark.parametrize("status", ["Fraud", "Cancelled"])
def test_ended_order_locks_and_terminates(shop: Any, status: str) -> None:
    service, order, _ = shop.ordered()
    shop.settled(service)
    ended = shop.whmcs.click("end_order", order=order, status=status)
    assert ended["answers"] == {str(service): "success"}
    assert shop.sent(service) == ["order.paid", "service.suspend", "service.terminate"]
    locked, terminated = shop.gate.events(service)[1:]
    assert locked.data["lock"] is True
    assert terminated.data == {"service_id": str(service)}  # without immediate: there is time to think again
    assert shop.whmcs.status(service) == status
    shop.stands(service, "terminated")
    assert shop.whmcs.status(service) == status


def test_ended_order_that_was_never_set_up_is_no_event(shop: Any) -> None:
    placed = shop.whmcs.client("order", pid=shop.product, domain="web1.example.com")
    shop.whmcs.click("end_order", order=placed["orderid"], status="Fraud")
    assert shop.sent(placed["serviceid"]) == []


def test_terminate_alone_locks_nothing(shop: Any, service: int) -> None:
    shop.whmcs.cron(terminate=[service])
    assert shop.sent(service) == ["order.paid", "service.terminate"]


def test_double_click_is_one_event(shop: Any) -> None:
    placed = shop.whmcs.client("order", pid=shop.product, domain="web1.example.com")
    service = placed["serviceid"]
    shop.gate.faults.add({"kind": "slow", "path": "order.paid", "times": 0, "seconds": 0.5})
    clicks = [shop.whmcs.begin("act", service=service, verb="create") for _ in range(2)]
    answers = [shop.whmcs.ended(click) for click in clicks]
    shop.gate.faults.clear()
    assert answers == ["success", "success"]
    assert (
        len(set(shop.gate.ids("order.paid")) & {call.webhook_id for call in shop.gate.events(service)}) == 1
    )
    shop.settled(service)
    assert shop.kinds(service) == ["create", "set_rdns"]


def test_double_click_on_a_button_is_one_event(shop: Any, service: int) -> None:
    shop.gate.faults.add({"kind": "slow", "path": "service.reboot", "times": 0, "seconds": 0.5})
    clicks = [shop.whmcs.begin("admin_button", service=service, function="reboot") for _ in range(2)]
    answers = [shop.whmcs.ended(click) for click in clicks]
    shop.gate.faults.clear()
    assert answers == ["success", "success"]
    assert len({call.webhook_id for call in shop.gate.events(service) if call.word == "service.reboot"}) == 1
    shop.settled(service)
    assert shop.kinds(service).count("reboot") == 1
    assert button(shop, service, "Reboot") == "success"  # a click of its own, later
    assert shop.kinds(service).count("reboot") == 2


def test_click_on_two_services_is_two_events(shop: Any) -> None:
    services = [shop.order(), shop.order()]
    assert len({shop.last(service).webhook_id for service in services}) == 2


@pytest.mark.parametrize("field", ["vmid|VM", "Their VM id"])
def test_server_of_another_module_is_linked(shop: Any, field: str) -> None:
    vm = shop.sandbox.add_vm(mem=2048)
    product = shop.sell("vps-s", **({"configoption3": field} if "|" not in field else {}))
    given = shop.whmcs.click("field", relid=product, fieldname=field)
    service, _, answer = shop.ordered(product, domain="old.example.com", fields={given: str(vm["vmid"])})
    assert answer == "success"
    assert shop.sent(service) == ["service.link"]
    data = shop.last(service).data
    assert (data["vmid"], data["plan"], data["hostname"]) == (vm["vmid"], "vps-s", "old.example.com")
    shop.settled(service)
    assert shop.shown(service)["vmid"] == vm["vmid"]
    assert shop.whmcs.mails(service) == []  # with the password that WHMCS made up
    assert not [call for call in shop.sandbox.calls() if call["path"].endswith(f"{vm['vmid']}/reinstall")]


def test_server_is_linked_by_a_button(shop: Any) -> None:
    vm = shop.sandbox.add_vm()
    product = shop.sell("vps-s")
    given = shop.whmcs.click("field", relid=product, fieldname="vmid")
    service = shop.whmcs.click("hosting", packageid=product, dedicatedip=vm["ips"][0], username="root")
    assert "vmid" in button(shop, service, "Link existing VM")
    shop.whmcs.click(
        "row", table="tblcustomfieldsvalues", values={"fieldid": given, "relid": service, "value": vm["vmid"]}
    )
    assert button(shop, service, "Link existing VM") == "success"
    assert shop.last(service).data["ips"] == vm["ips"]
    shop.settled(service)
    assert shop.shown(service)["status"] == "active"


def test_secret_may_stand_in_the_access_hash(shop: Any) -> None:
    other = shop.record(username="", accesshash=shop.secret, password="")
    assert shop.whmcs.click("test_connection", server=other) == {"success": True, "error": ""}
    service = shop.whmcs.click("hosting", packageid=shop.product, server=other, domainstatus="Pending")
    assert shop.act(service, "create") == "success"


def told_of_deletion(shop: Any, service: int) -> list[str]:
    """What staff were told of this service's deletion; a word of another's may still be on its way."""
    notes = [row["message"] for row in shop.whmcs.rows("standin_notifications")]
    return [note for note in notes if f"Service {service} was deleted" in note]


def test_service_that_is_deleted_is_reported(shop: Any, service: int) -> None:
    vmid = shop.vm(service)["vmid"]
    shop.whmcs.click("delete_service", service=service)
    said = [words for words in shop.whmcs.activity() if f"Service {service} was deleted" in words]
    assert len(said) == 1
    assert str(vmid) in said[0]
    assert len(told_of_deletion(shop, service)) == 1
    assert [vm for vm in shop.sandbox.state()["vms"] if vm["vmid"] == vmid]


def test_terminated_service_is_deleted_quietly(shop: Any, service: int) -> None:
    shop.done(service, "terminate")
    shop.stands(service, "terminated")
    shop.whmcs.click("delete_service", service=service)
    foreign = shop.whmcs.click("hosting", packageid=shop.whmcs.click("product", name="A domain"))
    shop.whmcs.click("delete_service", service=foreign)
    assert told_of_deletion(shop, service) + told_of_deletion(shop, foreign) == []


def test_server_sync_finds_services_again(patient: Any) -> None:
    shop = patient
    services = [shop.order(), shop.order(domain="")]
    for service in services:
        shop.stands(service, "active")
    found = shop.whmcs.click("server_sync", server=shop.server)
    assert found["success"] is True
    needed = {"email", "username", "domain", "uniqueIdentifier", "product", "primaryip", "created", "status"}
    for account in found["accounts"]:
        assert needed <= set(account), account
        assert account["status"] in ("Active", "Suspended")
        assert account["product"] == "vps-s"
    assert {account["primaryip"] for account in found["accounts"]} >= {
        shop.vm(one)["ips"][0] for one in services
    }


def test_no_event_names_more_of_the_client_than_his_number(shop: Any, service: int) -> None:
    told = repr([call.data for call in shop.gate.events(service)])
    assert "ada@example.com" not in told
    assert "Byron" not in told
