"""The console's services: the list, one with all that is known of it, and what a person has done for it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from provisioner.engine.looks import Look, Sample
from provisioner.engine.ticks import TEMPLATES
from provisioner.operation import Kind
from provisioner.service import ServiceStatus
from provisioner.upstream import VmConfig
from provisioner.web import create_app
from provisioner.web.console.deeds import DEEDS

NOW = 1_800_000_000_000
ANNA = "anna-token-0123456789"
ODD_IDS = ["a b", "100%", "%2e", "ünï✓", "x" * 255, "a+b", "a?b#c", "a&b=c", "-", "'\"<script>", "😀", "many"]
IPS = ("192.0.2.1", "2001:db8::1")


def change(stage: Any, service_id: str = "1", **fields: Any) -> None:
    stage.record(
        lambda record: record.verbs.save_service(replace(record.verbs.service("shop", service_id), **fields))
    )


@pytest.fixture
def vm(stage: Any) -> Any:
    """The stage with service 1, which has a VM."""
    stage.quiet("1", vmid=4001)
    change(stage, hostname="web1.example.com", ips=IPS)
    return stage


def listed(person: Any, query: str = "") -> list[str]:
    links = person.page(f"/admin/services{query}").links
    return [link.rpartition("/")[2] for link in links if link.startswith("/admin/services/")]


# The list


def test_list_without_any_says_what_comes(stage: Any) -> None:
    assert "No service yet." in stage.person().page("/admin/services").text
    assert "No service is like that." in stage.person().page("/admin/services?q=x").text


def test_list_is_newest_first_and_found_by_what_people_know(stage: Any) -> None:
    for service_id in ("1", "2", "3"):
        stage.order(service_id, hostname=f"web{service_id}.example.com", client={"id": f"c{service_id}"})
    change(stage, "1", vmid=4001, ips=("192.0.2.1",), status=ServiceStatus.ACTIVE)
    person = stage.person()
    assert listed(person) == ["3", "2", "1"]
    for query, found in {
        "q=web2.example": ["2"], "q=c3": ["3"], "q=192.0.2": ["1"], "vmid=4001": ["1"], "ip=192.0.2.1": ["1"],
        "status=active": ["1"], "billing=shop": ["3", "2", "1"], "billing=other": [], "q=%25": [], "q=_": [],
        "q=&status=&billing=&vmid=&ip=": ["3", "2", "1"],
    }.items():  # fmt: skip
        assert listed(person, f"?{query}") == found, query
    page = person.page("/admin/services?limit=2&billing=shop")
    (older,) = [link for link in page.links if "cursor=" in link]
    assert "billing=shop" in older
    assert listed(person, older.removeprefix("/admin/services")) == ["1"]


@pytest.mark.parametrize("query", ["ip=x", "status=gone", "vmid=-1", "q=%00", "limit=501", "client=7"])
def test_wrong_filter_is_told_on_a_page(lasting: Any, query: str) -> None:
    assert "Not understood" in lasting.person().page(f"/admin/services?{query}", 422).text


def test_odd_ids_are_reached_and_come_out_as_words(stage: Any) -> None:
    person = stage.person()
    for service_id in ODD_IDS:
        stage.order(service_id, hostname=None)
    page = person.page("/admin/services")
    links = [link for link in page.links if link.startswith("/admin/services/")]
    for service_id, link in zip(reversed(ODD_IDS), links, strict=True):
        assert f"shop/{service_id}" in person.page(link).text
        assert "<script>" not in person.get(link).text.replace("<script src", "")
        assert person.done(f"{link}/start", {}).startswith("/admin/operations/op_")
    assert f"/admin/services/shop/{quote('a?b#c')}" in links


@pytest.mark.parametrize(
    "path", ["shop/nosuch", "nosuch/1", "shop/a%2Fb", "shop/%ED%A0%80", "shop/" + "x" * 255]
)
def test_unknown_service_is_told_on_a_page(lasting: Any, path: str) -> None:
    person = lasting.person()
    assert "Nothing there" in person.page(f"/admin/services/{path}", 404).text
    assert person.refused(f"/admin/services/{path}/start")[0] == 404


# One


def test_one_shows_what_it_has(vm: Any) -> None:
    page = vm.person().page("/admin/services/shop/1")
    for words in ("web1.example.com", "active", "VM 4001", *IPS, "Plan vps-s",
                  "1 core, 1024 MB, 10G, 1 IP, Debian10.0", "Client 7", "cancelled"):  # fmt: skip
        assert words in page.text, words


def test_one_without_anything_says_so(stage: Any) -> None:
    stage.order("1", hostname=None, client=None)
    text = stage.person().page("/admin/services/shop/1").text
    assert all(words in text for words in ("VM none", "none known", "not told", "pending"))


def test_one_says_why_it_is_suspended(vm: Any) -> None:
    change(vm, status=ServiceStatus.SUSPENDED, suspend_reason="<b>unpaid</b>", locked=True)
    text = vm.person().page("/admin/services/shop/1").text
    assert "Locked: <b>unpaid</b>. Only an admin lifts it." in text


@pytest.mark.parametrize(
    ("status", "vmid", "offered"),
    [
        (ServiceStatus.PENDING, None, {"create", "link", "terminate"}),
        (ServiceStatus.FAILED, None, {"create", "link", "terminate"}),
        (ServiceStatus.TERMINATED, None, {"create", "link", "erase"}),
        (ServiceStatus.TERMINATING, 4001, {"unsuspend", "terminate", "unlink", "move"}),
        (
            ServiceStatus.SUSPENDED, 4001,
            {"unsuspend", "terminate", "suspend", "change", "backup", "set_rdns", "unlink", "move"},
        ),
        (ServiceStatus.ACTIVE, 4001, set(DEEDS) - {"create", "link", "erase", "unsuspend"}),
    ],
)  # fmt: skip
def test_one_offers_what_makes_sense(
    vm: Any, status: ServiceStatus, vmid: int | None, offered: set[str]
) -> None:
    change(vm, status=status, vmid=vmid)
    at = "/admin/services/shop/1/"
    page = vm.person().page("/admin/services/shop/1")
    assert {link.removeprefix(at) for link in page.links if link.startswith(at)} == offered


def seen(stage: Any, look: Look) -> Any:
    """The stage, whose VMs were looked at and seen so."""

    class Seen:
        def look(self, billing: str, service_id: str) -> Look:
            return look

    stage.client = create_app(replace(stage.surfaces, looks=Seen())).test_client()
    return stage


def test_vm_that_was_not_seen_yet_is_being_looked_at(vm: Any) -> None:
    assert "Being looked at" in vm.person().page("/admin/services/shop/1").text


def test_vm_is_shown_as_it_was_seen(vm: Any) -> None:
    of = (1 << 29, 1 << 30, 2048.0, 1024.0)
    samples = (Sample(NOW - 5000, 0.1, *of), Sample(NOW, 0.25, *of))
    size = VmConfig(4, 2048, "10G", 1)
    look = Look(4001, NOW, "running", 7200, samples, size, NOW, (1_700_000_000,), NOW)
    page = seen(vm, look).person().page("/admin/services/shop/1")
    for words in ("running", "seen now", "Up for 2 h", "CPU 25.0 %", "512 of 1024 MB", "2.0 kB/s in",
                  "not as asked for", "2023-11-14 22:13:20 UTC"):  # fmt: skip
        assert words in page.text, words
    assert "CPU load of the last minutes" in [given.get("aria-label") for _, given in page.tags]
    asked = vm.person().page("/admin/services/shop/1/restore")
    assert [given["value"] for tag, given in asked.tags if tag == "option"] == ["1700000000"]


@pytest.mark.parametrize(
    ("look", "words"),
    [
        (Look(4001, problem="GET status: <b>no</b> answer"), "not seen GET status: <b>no</b> answer"),
        (Look(4001, stands_still=("paused",)), "work upstream stands still: paused"),
    ],
)
def test_vm_that_was_not_seen_says_why(vm: Any, look: Look, words: str) -> None:
    assert words in seen(vm, look).person().page("/admin/services/shop/1").text


# What a person has done for it

FORMS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "start": ({}, {}),
    "shutdown": ({}, {}),
    "stop": ({}, {}),
    "reboot": ({}, {}),
    "force_reboot": ({}, {}),
    "reset_password": ({}, {}),
    "backup": ({}, {}),
    "set_rdns": ({"ip": IPS[1], "hostname": "a.example.com"}, {"ip": IPS[1], "hostname": "a.example.com"}),
    "change": ({"plan": "", "mem": "2048", "disk": "20G", "cpu_cores": "", "ip_count": ""}, {}),
    "suspend": ({"force": "yes"}, {"force": True, "lock": False, "reason": "a reason"}),
    "unsuspend": ({}, {}),
    "reinstall": ({"template": "Debian10.0"}, {"template": "Debian10.0"}),
    "restore": ({"backup": "1700000000"}, {"backup": 1_700_000_000}),
    "terminate": ({"immediate": "yes"}, {"immediate": True}),
    "create": ({"plan": "vps-m", "template": "", "hostname": "", "recreate": ""}, {"plan": "vps-m"}),
    "link": ({"vmid": "77", "plan": "vps-s", "status": "suspended"}, {"vmid": 77, "status": "suspended"}),
}


def test_each_kind_has_a_form_here() -> None:
    assert set(FORMS) == set(Kind)


@pytest.mark.parametrize("deed", FORMS)
def test_each_form_asks_for_what_the_api_would(vm: Any, deed: str) -> None:
    form, args = FORMS[deed]
    person, at = vm.person(), f"/admin/services/shop/1/{deed}"
    page = person.page(at)
    assert DEEDS[deed].told in page.text
    assert set(form) <= set(page.form(at).fields)
    led = person.done(at, {**form, "reason": "a reason"})
    assert "It was accepted." in person.page(led).text
    operation = vm.operation(led.split("/")[3].partition("?")[0])
    assert (operation.kind, operation.actor) == (deed, "admin:admin")
    assert args.items() <= operation.args.items()
    line = vm.audit()[-1]
    assert (line.action, line.operation) == (f"{deed}.accepted", operation.id)
    assert (line.actor, line.address, line.reason) == ("admin:admin", "127.0.0.1", "a reason")
    asked = vm.post(
        "/api/services/shop/1/actions", {"action": deed, "reason": "a reason", **by_api(form, deed)}
    )
    assert vm.operation(asked.json["operation"]).args == operation.args


def by_api(form: dict[str, str], deed: str) -> dict[str, Any]:
    """The same, as the API takes it."""
    numbers, flags = ("mem", "vmid", "backup"), ("force", "immediate")
    data: dict[str, Any] = {
        name: int(value) if name in numbers else True if name in flags else value
        for name, value in form.items()
        if value
    }
    if deed == "change":
        data = {"options": data}
    return data


def test_change_asks_for_what_was_filled_in(vm: Any) -> None:
    person = vm.person()
    person.done("/admin/services/shop/1/change", FORMS["change"][0])
    (changed,) = [line for line in vm.audit() if line.action == "change.accepted"]
    assert vm.operation(changed.operation).args["spec"]["mem"] == 2048
    assert 'placeholder="1024"' in person.get("/admin/services/shop/1/change").text


@pytest.mark.parametrize(
    ("deed", "form"),
    [
        ("set_rdns", {"ip": "x", "hostname": "a.example.com"}),
        ("set_rdns", {"ip": "192.0.2.1"}),
        ("change", {}),
        ("change", {"mem": "-1"}),
        ("change", {"mem": "8193"}),
        ("change", {"mem": "1e3"}),
        ("change", {"mem": "9" * 5000}),
        ("change", {"disk": "<b>"}),
        ("change", {"plan": "nosuch"}),
        ("reinstall", {"template": "nosuch"}),
        ("restore", {}),
        ("restore", {"backup": "x"}),
        ("link", {"vmid": "0", "plan": "vps-s"}),
        ("suspend", {"reason": "\0"}),
        ("start", {"reason": "x" * 1001}),
        ("move", {"to": ""}),
        ("move", {"to": "a/b"}),
    ],
)
def test_form_that_is_wrong_is_told_on_a_page(vm: Any, deed: str, form: dict[str, str]) -> None:
    vm.app.store.write(lambda verbs: verbs.set_fact(TEMPLATES, {"items": ["Debian10.0"], "at": 1}, 1))
    before = vm.count("operations")
    status, text = vm.person().refused(f"/admin/services/shop/1/{deed}", form)
    assert (status, "Not understood" in text) == (422, True), text
    assert vm.count("operations") == before


@pytest.mark.parametrize("deed", ["stop", "force_reboot", "reinstall", "restore", "terminate"])
def test_what_is_destroyed_is_named_first(vm: Any, deed: str) -> None:
    page = vm.person().page(f"/admin/services/shop/1/{deed}")
    named = f"This destroys {DEEDS[deed].destroys}: VM 4001, web1.example.com, {', '.join(IPS)}."
    assert named in page.text


def test_customers_choose_from_what_there_is(vm: Any) -> None:
    vm.app.store.write(
        lambda verbs: verbs.set_fact(TEMPLATES, {"items": ["Debian10.0", "Alpine<3>"], "at": 1}, 1)
    )
    person = vm.person()
    options = [
        given.get("value")
        for tag, given in person.page("/admin/services/shop/1/reinstall").tags
        if tag == "option"
    ]
    assert options == ["", "Debian10.0", "Alpine<3>"]
    assert "vps-m" in person.page("/admin/services/shop/1/create").text
    addresses = person.page("/admin/services/shop/1/set_rdns").text
    assert all(ip in addresses for ip in IPS)


def test_service_of_a_system_that_is_gone_can_be_looked_at(stages: Any) -> None:
    stage = stages()
    stage.quiet("1", vmid=4001)
    rest = {"other": stage.tables["billing"]["other"]}
    surfaces = replace(stage.surfaces, settings=stage.settings(billing=rest))
    person = stage.person()
    cookie = person.cookie
    person.browser = create_app(surfaces).test_client()
    person.take(cookie)
    assert "VM 4001" in person.page("/admin/services/shop/1").text
    assert person.page("/admin/services/shop/1/create").title.startswith("Order again")
    assert person.refused("/admin/services/shop/1/start")[0] == 404


# What is no operation


def test_unlinked_service_has_no_vm(vm: Any) -> None:
    person = vm.person()
    assert "the VM stays as it is" in person.page("/admin/services/shop/1/unlink").text
    led = person.done("/admin/services/shop/1/unlink", {"reason": "a reason"})
    assert "It was unlinked." in person.page(led).text
    assert vm.audit()[-1].action == "service.unlinked"
    assert vm.audit()[-1].reason == "a reason"


def test_moved_vm_is_the_other_services(vm: Any) -> None:
    vm.quiet("2")
    led = vm.person().done("/admin/services/shop/1/move", {"to": "2 ", "reason": "a reason"})
    assert led == "/admin/services/shop/2?done=moved"
    assert "VM 4001" in vm.person().page(led).text
    moved = [line for line in vm.audit() if line.action == "service.moved"]
    assert json.loads(moved[0].detail) == {"to": "shop/2"}


def test_erased_service_is_empty(stage: Any) -> None:
    stage.quiet("1")
    person = stage.person()
    assert (
        "This destroys the customer's data of this service."
        in person.page("/admin/services/shop/1/erase").text
    )
    led = person.done("/admin/services/shop/1/erase", {})
    assert "Client not told" in person.page(led).text
    assert "service.erased" in [line.action for line in stage.audit()]


def test_living_service_is_not_erased(vm: Any) -> None:
    status, text = vm.person().refused("/admin/services/shop/1/erase")
    assert (status, "Not possible now" in text) == (409, True)


def test_unknown_deed_is_told_on_a_page(vm: Any) -> None:
    person = vm.person()
    assert person.page("/admin/services/shop/1/set_fire", 404)
    assert person.refused("/admin/services/shop/1/set_fire")[0] == 404


def test_reason_that_a_customer_is_told_is_said_to_be(vm: Any) -> None:
    """A suspension's reason goes to the billing system; others stay here."""
    person = vm.person(ANNA)
    assert "the customer may be told it" in person.page("/admin/services/shop/1/suspend").text
    assert "the customer may be told it" not in person.page("/admin/services/shop/1/stop").text
