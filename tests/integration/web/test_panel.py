"""The client panel, as a customer's browser meets it: a world behind it, no script before it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from html import unescape
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from flask import request
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from provisioner import app as wiring
from provisioner.operation import State
from provisioner.service import ServiceStatus
from provisioner.signing import Signer
from provisioner.web import Side, create_app
from provisioner.web.panel.links import Guest, Links

from ...conftest import BILLING_SECRET

HOSTNAME = "web1.example.com"


class AtOnce(Executor):
    """Looks at the VM in the thread of the page, so that a test need not wait."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


@dataclass
class Customer:
    """A browser without scripts, and the service that it is for."""

    world: Any
    service_id: str = "1001"
    client: FlaskClient = field(init=False)
    last: TestResponse = field(init=False)

    def __post_init__(self) -> None:
        self.client = create_app(wiring.surfaces(self.world.app)).test_client()

    @property
    def ref(self) -> str:
        return Guest("shop", self.service_id).ref

    @property
    def home(self) -> str:
        return f"/panel/at/{self.ref}/"

    def link(self, who: str = "client:7") -> str:
        links = Links.of(wiring.surfaces(self.world.app))
        url: str = links.make(Guest("shop", self.service_id, who))["url"]
        return url.partition("8080")[2]

    def enters(self) -> Customer:
        answer = self.client.get(self.link())
        assert (answer.status_code, answer.location) == (303, self.home)
        return self

    def get(self, path: str = "") -> TestResponse:
        """A page, some seconds after the last one: it is time for another look at the VM."""
        self.world.clock.advance(4)
        self.last = self.client.get(self.home + path)
        return self.last

    def sees(self, path: str = "") -> str:
        """What can be read on a page."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return text(answer)

    def post(self, path: str, page: str = "", **fields: str) -> TestResponse:
        """Sends a form as the page has it."""
        token = re.search(r'name="csrf_token" value="([0-9a-f]+)"', self.get(page).text)
        assert token is not None
        return self.client.post(self.home + path, data={"csrf_token": token[1], **fields})

    def does(self, path: str, page: str = "", **fields: str) -> Any:
        """Has something done and waits until it has ended; its operation."""
        answer = self.post(path, page, **fields)
        assert answer.status_code == 303, text(answer)
        return self.world.done(self.newest().id)

    def newest(self) -> Any:
        return self.world.app.store.read(
            lambda verbs: verbs.last_operation_of_service("shop", self.service_id)
        )


def text(answer: TestResponse) -> str:
    """The words of a page, as one line."""
    body = re.sub(r"<(head|script|svg)\b.*?</\1>", " ", answer.text, flags=re.DOTALL)
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)))


@pytest.fixture
def make(worlds: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a world with a service of a customer, and this panel."""

    def made(panel: dict[str, Any] | None = None, **over: Any) -> Any:
        world = worlds(server={"listen": "127.0.0.1:8080"}, **over)
        world.tables["billing"]["shop"]["panel"] = panel or {}
        world.tables["templates"] = {"Ubuntu20.04": {"label": "Ubuntu 20.04 LTS"}}
        world.app.close()
        world.open()
        world.app.looks.pool = AtOnce()
        world.app.ticks.refresh_templates()
        return world

    return made


@pytest.fixture
def world(make: Callable[..., Any]) -> Any:
    world = make()
    world.done(world.order(hostname=HOSTNAME))
    world.idle()
    return world


@pytest.fixture
def customer(world: Any) -> Customer:
    return Customer(world).enters()


# Coming in


def test_link_that_a_billing_system_asks_for_leads_to_the_panel(world: Any) -> None:
    customer = Customer(world)
    body = json.dumps(
        {"type": "panel.link", "data": {"service_id": "1001"},
         "source": {"actor": {"type": "client", "name": "7"}}}
    ).encode()  # fmt: skip
    signed = Signer([BILLING_SECRET]).sign("q-1", world.clock.now // 1000, body)
    answer = customer.client.post(
        "/queries/shop", data=body, headers=signed, content_type="application/json"
    ).json
    assert answer["url"].startswith("http://127.0.0.1:8080/panel/")
    assert customer.client.get(answer["url"].partition("8080")[2]).location == customer.home
    assert HOSTNAME in customer.sees()
    reboot = customer.does("power/reboot")
    assert (reboot.actor, reboot.state) == ("panel:shop:client:7", State.SUCCEEDED)
    (line,) = world.app.store.read(lambda verbs: verbs.audit(10, None, actor="panel:shop:client:7"))
    assert (line.action, line.address) == ("reboot.accepted", "127.0.0.1")


def test_token_leaves_the_address_bar_and_the_referrer(world: Any) -> None:
    customer = Customer(world)
    answer = customer.client.get(customer.link())
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    (cookie,) = answer.headers.getlist("Set-Cookie")
    for word in ("HttpOnly", "SameSite=Lax", f"Path=/panel/at/{customer.ref};"):
        assert word in cookie
    assert "Secure" not in cookie


def test_a_hundred_services_in_one_browser_send_no_hundred_cookies(customer: Customer) -> None:
    """Staff open one after the other, and a reverse proxy takes eight kilobytes of headers."""
    other = Customer(customer.world, "1002")
    customer.world.done(customer.world.order("1002"))
    customer.client.get(other.link())
    with customer.client as client:
        client.get(other.home)
        assert list(request.cookies) == [f"panel_{other.ref}"]


def test_cookie_is_for_https_where_the_address_is(make: Callable[..., Any]) -> None:
    world = make()
    world.tables["server"]["public_url"] = "https://servers.example.com"
    world.reopen()
    world.done(world.order())
    url = Links.of(wiring.surfaces(world.app)).make(Guest("shop", "1001"))["url"]
    assert url.startswith("https://servers.example.com/panel/")
    answer = Customer(world).client.get(url.removeprefix("https://servers.example.com"))
    assert "Secure" in answer.headers["Set-Cookie"]


def test_link_is_good_for_two_minutes(world: Any) -> None:
    customer = Customer(world)
    link = customer.link()
    world.clock.advance(120)
    assert customer.client.get(link).status_code == 303
    world.clock.advance(1)
    answer = customer.client.get(link)
    assert answer.status_code == 410
    assert "Go back to the customer area" in text(answer)
    assert HOSTNAME not in answer.text


def test_link_that_is_not_ours_is_refused(world: Any) -> None:
    link, client = Customer(world).link(), Customer(world).client
    wrong = (link[:-2], f"{link}x", link.replace("/panel/", "/panel/e30"), "/panel/nonsense", "/panel/%00")
    for address in wrong:
        answer = client.get(address)
        assert answer.status_code == 403
        assert "Set-Cookie" not in answer.headers
        assert "This link is not valid" in text(answer)


def test_what_was_signed_for_something_else_is_no_link(world: Any) -> None:
    customer = Customer(world).enters()
    cookie = customer.client.get_cookie(f"panel_{customer.ref}", path=customer.home.rstrip("/"))
    assert cookie is not None
    assert customer.client.get(f"/panel/{cookie.value}").status_code == 403


def test_link_to_a_service_that_is_gone_is_refused(world: Any) -> None:
    customer = Customer(world, "never-seen")
    assert customer.client.get(customer.link()).status_code == 403


def test_links_are_limited_by_address(world: Any) -> None:
    customer = Customer(world)
    answers = [customer.client.get("/panel/nonsense").status_code for _ in range(61)]
    assert answers == [403] * 60 + [429]
    refused = customer.client.get(customer.link())
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    world.clock.advance(60)
    assert customer.client.get(customer.link()).status_code == 303


# Whose data it is


def test_without_a_session_nothing_is_seen(world: Any) -> None:
    answer = Customer(world).client.get(Customer(world).home)
    assert answer.status_code == 401
    assert HOSTNAME not in answer.text


def test_session_is_bound_to_its_service(world: Any) -> None:
    world.done(world.order("1002", hostname="secret.example.com"))
    customer, other = Customer(world).enters(), Customer(world, "1002")
    assert customer.client.get(other.home).status_code == 401


def test_cookie_under_another_services_name_opens_nothing(world: Any) -> None:
    world.done(world.order("1002", hostname="secret.example.com"))
    customer, other = Customer(world).enters(), Customer(world, "1002")
    own = customer.client.get_cookie(f"panel_{customer.ref}", path=customer.home.rstrip("/"))
    assert own is not None
    customer.client.set_cookie(f"panel_{other.ref}", own.value, path=other.home)
    for path in ("", "power/reboot", "reinstall", "password", "addresses", "backups", "history"):
        answer = customer.client.get(other.home + path)
        assert answer.status_code == 401
        assert "secret.example.com" not in answer.text


def test_altered_cookie_opens_nothing(customer: Customer) -> None:
    name = f"panel_{customer.ref}"
    own = customer.client.get_cookie(name, path=customer.home.rstrip("/"))
    assert own is not None
    head, _, tail = own.value.partition(".")
    customer.client.set_cookie(name, f"{head[:-1]}A.{tail}", path=customer.home.rstrip("/"))
    assert customer.client.get(customer.home).status_code == 401


def test_two_services_are_open_side_by_side(world: Any) -> None:
    world.done(world.order("1002", hostname="web2.example.com"))
    customer = Customer(world).enters()
    customer.client.get(Customer(world, "1002").link())
    assert HOSTNAME in customer.sees()
    assert "web2.example.com" in text(customer.client.get(Customer(world, "1002").home))


def test_session_is_over_after_two_hours(world: Any, customer: Customer) -> None:
    world.clock.advance(2 * 3600)
    assert customer.client.get(customer.home).status_code == 200
    world.clock.advance(1)
    assert customer.client.get(customer.home).status_code == 401


def test_signing_out_ends_the_session_for_good(customer: Customer) -> None:
    name = f"panel_{customer.ref}"
    own = customer.client.get_cookie(name, path=customer.home.rstrip("/"))
    assert own is not None
    left = text(customer.post("leave"))
    assert "You are signed out" in left
    assert "Overview" not in left
    assert customer.get().status_code == 401
    customer.client.set_cookie(name, own.value, path=customer.home.rstrip("/"))
    assert customer.get().status_code == 401


# Forms and limits

FORMS = (
    "power/reboot",
    "power/stop",
    "reinstall",
    "password",
    "password/show",
    "addresses",
    "backups",
    "leave",
)


def test_form_without_its_token_does_nothing(customer: Customer) -> None:
    customer.get()
    before = customer.newest()
    tokens: list[dict[str, str]] = [{}, {"csrf_token": ""}, {"csrf_token": "0" * 64}]
    for path, token in product(FORMS, tokens):
        answer = customer.client.post(customer.home + path, data=token)
        assert answer.status_code == 400
        assert "Nothing was done" in text(answer)
    assert customer.newest() == before
    assert customer.get().status_code == 200


def test_token_of_another_session_is_refused(world: Any, customer: Customer) -> None:
    other = Customer(world).enters()
    token = re.search(r'csrf_token" value="([0-9a-f]+)"', other.get().text)
    assert token is not None
    answer = customer.client.post(customer.home + "power/stop", data={"csrf_token": token[1]})
    assert answer.status_code == 400


def test_looking_does_nothing(world: Any, customer: Customer) -> None:
    before = customer.newest()
    for path in FORMS:
        customer.client.get(customer.home + path)
    assert customer.newest() == before
    assert world.vmids() == [world.service().vmid]


def test_pages_are_limited_by_service(world: Any, customer: Customer) -> None:
    statuses = [customer.client.get(customer.home).status_code for _ in range(125)]
    assert statuses.count(429) == 5
    assert "Retry-After" in customer.client.get(customer.home).headers
    world.done(world.order("1002"))
    assert Customer(world, "1002").enters().get().status_code == 200


def test_actions_are_limited_by_service(world: Any, customer: Customer) -> None:
    for _ in range(30):
        assert customer.does("power/reboot").state is State.SUCCEEDED
        world.clock.advance(10)
    before = customer.newest()
    answer = customer.post("power/reboot")
    assert answer.status_code == 429
    assert "Too often" in text(answer)
    assert customer.newest() == before
    assert customer.post("leave").status_code == 200


# What it is like


def test_overview_shows_the_server_and_how_busy_it_is(world: Any, customer: Customer) -> None:
    world.clock.advance(100)
    for _ in range(3):
        seen = customer.sees()
    for words in (HOSTNAME, "Running", "192.0.2.1", "CPU cores 1 Memory 1 GB Disk 10 GB", "2%", "of 1 GB"):
        assert words in seen, words
    assert "uptime 1 minute" in seen
    assert customer.last.text.count("plot-line") == 4


def test_page_keeps_itself_fresh_with_and_without_a_script(world: Any, customer: Customer) -> None:
    assert 'data-live="3"' in customer.get().text
    assert "http-equiv" not in customer.last.text
    customer.post("power/reboot")
    assert '<noscript><meta http-equiv="refresh" content="3"></noscript>' in customer.get().text


def test_server_that_is_off_can_be_started(world: Any, customer: Customer) -> None:
    assert customer.does("power/stop", "power/stop").state is State.SUCCEEDED
    seen = customer.sees()
    assert "Your server is off." in seen
    assert "Start" in seen
    assert "Restart …" not in seen
    assert customer.does("power/start").state is State.SUCCEEDED
    assert "Running" in customer.sees()


def test_what_is_not_offered_is_refused_by_hand_too(world: Any, customer: Customer) -> None:
    answer = customer.post("power/start")
    assert answer.status_code == 409
    assert "Nothing was done. Your server is running already." in text(answer)
    before = customer.newest()
    for path in ("power/terminate", "power/suspend", "power/create", "power/x"):
        assert customer.post(path).status_code == 404
    assert customer.newest() == before


def test_second_click_does_nothing(world: Any, customer: Customer) -> None:
    assert customer.post("power/reboot").status_code == 303
    first = customer.newest()
    answer = customer.post("power/reboot")
    assert (answer.status_code, customer.newest()) == (409, first)
    assert "Something else is being done" in text(answer)


def test_what_interrupts_asks_first_and_says_what_is_lost(customer: Customer) -> None:
    for kind in ("reboot", "force_reboot", "stop", "start", "shutdown"):
        seen = customer.sees(f"power/{kind}")
        assert HOSTNAME in seen
        assert kind == "start" or "nobody reaches" in seen or "is lost" in seen
        assert customer.does(f"power/{kind}", f"power/{kind}").state is State.SUCCEEDED


def test_build_shows_its_steps_and_how_long_it_takes(world: Any) -> None:
    order = world.order("1002")
    world.run(60, until=lambda: world.operation(order).state is State.WAITING)
    customer = Customer(world, "1002").enters()
    seen = text(customer.client.get(customer.home))
    for words in ("Being set up", "Your server is being set up.", "Order accepted", "About"):
        assert words in seen, words
    assert "Power Your server is not ready yet." in seen
    world.clock.advance(60)
    assert "Any moment now" in customer.sees()
    world.done(order)
    assert "Running" in customer.sees()


def test_build_that_is_told_is_done_for_the_customer(world: Any) -> None:
    world.billing.answer_with(500, times=3)
    order = world.order("1002")
    world.run(60, until=lambda: world.operation(order).state is State.DELIVERING)
    assert "access data are on their way to you" in Customer(world, "1002").enters().sees()


def test_suspended_service_says_why_nothing_works(world: Any, customer: Customer) -> None:
    world.done(world.event("service.suspend", reason="Overdue on payment"))
    seen = customer.sees()
    assert "Your server is suspended." in seen
    assert "The reason: Overdue on payment" in seen
    for path in ("reinstall", "password", "addresses", "backups"):
        assert "Your server is suspended." in customer.sees(path)
    assert customer.post("power/start").status_code == 409
    assert customer.post("backups").status_code == 409


def test_service_that_is_over_says_so(world: Any, customer: Customer) -> None:
    for status, words in (
        (ServiceStatus.TERMINATING, "Your server is being terminated."),
        (ServiceStatus.TERMINATED, "Your server was terminated."),
        (ServiceStatus.FAILED, "could not be set up. Support takes care of it."),
    ):
        over = replace(world.service(), status=status)
        world.app.store.write(lambda verbs, over=over: verbs.save_service(over))
        assert words in customer.sees()
        for path in ("reinstall", "password", "addresses", "backups", "history"):
            assert customer.get(path).status_code == 200


def test_nothing_is_under_way_behind_a_set_up_that_failed(world: Any) -> None:
    world.sandbox.fault(method="POST", path="/datacenter/server", kind="error", error="0xb0: full")
    assert world.done(world.order("1002", hostname="web2.example.com")).state is State.FAILED
    customer = Customer(world, "1002").enters()
    assert "Your server could not be set up." in customer.sees()
    assert "is being set" not in text(customer.last)
    assert 'http-equiv="refresh"' not in customer.last.text
    assert "Reverse name web2.example.com Waiting" in customer.sees("history")


def test_outage_is_told_without_a_name(world: Any, customer: Customer) -> None:
    world.sandbox.fault(path="*/status", kind="page", times=0)
    world.clock.advance(10)
    seen = customer.sees()
    assert "The state of your server is not known at the moment." in seen
    assert "0x" not in seen


def test_pause_is_maintenance(world: Any, customer: Customer) -> None:
    world.app.commands.pause("admin:anna", "the account is blocked")
    seen = customer.sees()
    assert "because of maintenance" in seen
    assert "blocked" not in seen
    assert customer.post("power/reboot").status_code == 409


# Reinstall, password, addresses, backups


def test_reinstall_offers_the_templates_by_their_labels(world: Any, customer: Customer) -> None:
    seen = customer.sees("reinstall")
    assert f"Everything on {HOSTNAME} is lost" in seen
    assert "Ubuntu 20.04 LTS" in seen
    operation = customer.does("reinstall", "reinstall", template="Ubuntu20.04", understood="yes")
    assert (operation.state, operation.args["template"]) == (State.SUCCEEDED, "Ubuntu20.04")
    assert "Ubuntu 20.04 LTS" in customer.sees()


def test_reinstall_needs_the_box_and_a_template_of_the_list(customer: Customer) -> None:
    before = customer.newest()
    answer = customer.post("reinstall", "reinstall", template="Ubuntu20.04")
    assert "tick the box" in text(customer.client.get(answer.location))
    for template in ("Windows", "", "Debian10.0\n"):
        refused = customer.post("reinstall", "reinstall", template=template, understood="yes")
        assert refused.status_code in (409, 422, 400)
    assert customer.newest() == before


def test_new_password_is_shown_once_in_this_session(world: Any, customer: Customer) -> None:
    vm = world.sandbox.state()["vms"][0]
    assert customer.does("password", "password").state is State.SUCCEEDED
    password = world.sandbox.state()["vms"][0]["password"]
    assert password != vm["password"]
    assert world.told()[-1].data["password"] == password
    page = customer.get("password")
    assert "Show the password once" in text(page)
    assert password not in page.text
    stranger = Customer(world).enters()
    assert "Show the password once" not in stranger.sees("password")
    assert stranger.post("password/show", "password").location.endswith("password?gone=yes")
    shown = customer.post("password/show", "password")
    assert password in unescape(shown.text)
    assert shown.headers["Cache-Control"] == "no-store"
    again = customer.post("password/show", "password")
    assert password not in again.text
    assert "no password to be shown any more" in text(customer.client.get(again.location))


def test_password_is_shown_by_no_get(world: Any, customer: Customer) -> None:
    customer.does("password", "password")
    password = world.sandbox.state()["vms"][0]["password"]
    answer = customer.client.get(customer.home + "password/show")
    assert answer.status_code in (404, 405)
    assert password not in answer.text
    assert "Show the password once" in customer.sees("password")


def test_reverse_name_is_set_for_an_address_of_its_own(world: Any, customer: Customer) -> None:
    ip = world.service().ips[0]
    assert f'value="{HOSTNAME}"' in customer.get("addresses").text
    operation = customer.does("addresses", "addresses", ip=ip, hostname=" Mail.example.com. ")
    assert operation.state is State.SUCCEEDED
    assert world.sandbox.state()["vms"][0]["rdns"][ip].lower() == "mail.example.com"
    assert (
        customer.post("addresses", "addresses", ip="192.0.2.99", hostname="a.example.com").status_code == 409
    )


def test_name_that_is_none_is_said_beside_its_field(customer: Customer, world: Any) -> None:
    before = customer.newest()
    ip = world.service().ips[0]
    for name in ("", "no spaces.example.com", "-a.example.com", "a" * 254, "<script>"):
        answer = customer.post("addresses", "addresses", ip=ip, hostname=name)
        page = customer.client.get(answer.location)
        assert "This is no host name." in text(page)
        assert 'aria-invalid="true"' in page.text
    assert customer.newest() == before


def test_backup_is_made_listed_and_restored(world: Any, customer: Customer) -> None:
    assert "There is no backup yet." in customer.sees("backups")
    assert customer.does("backups", "backups").state is State.SUCCEEDED
    world.clock.advance(3600)
    assert "1 hour ago" in customer.sees("backups")
    (backup,) = world.sandbox.state()["vms"][0]["backups"]
    asked = customer.sees(f"backups/{backup}")
    assert f"Everything that changed on {HOSTNAME} since then is lost" in asked
    assert "the last 1 hour." in asked
    restored = customer.does(f"backups/{backup}", f"backups/{backup}")
    assert (restored.state, restored.args["backup"]) == (State.SUCCEEDED, backup)


def test_backup_that_is_not_listed_is_neither_shown_nor_restored(world: Any, customer: Customer) -> None:
    customer.does("backups", "backups")
    world.clock.advance(60)
    before = customer.newest()
    assert customer.get("backups/1234").status_code == 404
    assert customer.post("backups/1234", "backups").status_code == 409
    assert customer.get("backups/99999999999999999999999").status_code == 404
    assert customer.post("backups/99999999999999999999999", "backups").status_code == 400
    assert customer.newest() == before


def test_number_that_is_no_time_is_no_backup_either(customer: Customer) -> None:
    assert "There is no backup yet." in customer.sees("backups/1234")
    assert customer.get("backups/99999999999999999999999").status_code == 404


def test_backup_beyond_the_calendar_breaks_no_page(world: Any, customer: Customer) -> None:
    """A billing system that counts in milliseconds asks for one."""
    for backup in (1_795_000_000_000, 2**53):
        world.done(world.event("service.restore", backup=backup))
        assert str(backup) in customer.sees("history")
        assert customer.get("").status_code == 200
        assert customer.get(f"backups/{backup}").status_code in (200, 404)


# The history, and what is never told


def test_history_says_who_did_what_and_when(world: Any, customer: Customer) -> None:
    customer.does("power/reboot")
    world.app.commands.pause("admin:anna", "x")
    world.app.commands.resume("admin:anna")
    world.done(world.event("service.stop"))
    seen = customer.sees("history")
    for words in ("Set-up", "Restart of the server", "Switch-off", "You", "Automatic", "Done", "UTC"):
        assert words in seen, words


def test_staff_who_came_by_a_link_are_not_the_customer(world: Any) -> None:
    staff = Customer(world)
    staff.client.get(staff.link("admin:bob"))
    assert staff.does("power/reboot").actor == "panel:shop:admin:bob"
    seen = staff.sees("history")
    assert "Restart of the server Done Support" in seen
    assert "bob" not in seen


def test_panel_is_on_the_public_address_alone(world: Any) -> None:
    surfaces = wiring.surfaces(world.app)
    link = Customer(world).link()
    statuses = [create_app(surfaces, side).test_client().get(link).status_code for side in Side]
    assert dict(zip(Side, statuses, strict=True)) == {Side.ALL: 303, Side.PUBLIC: 303, Side.ADMIN: 404}


def test_history_has_pages(world: Any, customer: Customer) -> None:
    for number in range(27):
        world.done(
            world.event("service.set_rdns", ip=world.service().ips[0], hostname=f"h{number}.example.com")
        )
    assert "h26.example.com" in customer.sees("history")
    older = re.search(r'href="([^"]+cursor=[^"]+)"', customer.last.text)
    assert older is not None
    page = customer.client.get(unescape(older[1]))
    assert "h1.example.com" in text(page)
    assert "h26.example.com" not in text(page)
    assert customer.client.get(f"{customer.home}history?cursor=nonsense").status_code in (404, 422)


def test_failure_is_told_in_public_words_alone(world: Any, customer: Customer) -> None:
    world.sandbox.settings(fail_next_job={"error": "0xb0: the node hv17 of the upstream is full"})
    customer.does("reinstall", "reinstall", template="Debian10.0", understood="yes")
    for path in ("", "history"):
        seen = customer.sees(path)
        assert "The server could not be set up." in seen
        assert "hv17" not in seen
        assert "0xb0" not in seen


def test_operators_words_are_not_told(world: Any, customer: Customer) -> None:
    world.app.store.write(lambda verbs: verbs.set_fact(f"missing:{world.service().vmid}", {"at": 0}, 0))
    held = customer.does("reinstall", "reinstall", template="Debian10.0", understood="yes")
    assert held.state is State.HELD
    assert "The provider checks this before it goes on." in customer.sees()
    assert "This is being checked by support." in customer.sees("reinstall")
    world.app.commands.cancel(held.id, "admin:anna", "this customer is a nuisance")
    seen = customer.sees("history")
    assert "This was cancelled by the provider." in seen
    assert "nuisance" not in seen
    assert "anna" not in seen


def test_message_that_did_not_arrive_is_none_of_the_customers(worlds: Any, make: Any) -> None:
    world = make(retry={"deliveries_give_up_after": 60})
    world.done(world.order())
    world.billing.answer_with(500, times=1000)
    reboot = world.event("service.reboot")
    assert world.done(reboot, 3600).error_code == "delivery_failed"
    seen = Customer(world).enters().sees("history")
    assert "Restart of the server Done" in seen
    assert "Failed" not in seen


# Its own look

WHITE = {
    "name": "Nordlicht", "colour": "#ffdd00", "support_url": "https://help.example.com/", "language": "de",
    "logo": "https://cdn.example.com/logo.svg",
}  # fmt: skip


@pytest.fixture
def white(make: Callable[..., Any]) -> Customer:
    world = make(WHITE)
    world.done(world.order(hostname=HOSTNAME))
    world.idle()
    return Customer(world).enters()


def test_panel_is_the_shops_own(white: Customer) -> None:
    page = white.get()
    assert '<html lang="de">' in page.text
    assert 'src="https://cdn.example.com/logo.svg" alt="Nordlicht"' in page.text
    assert 'href="https://help.example.com/"' in page.text
    assert "provisioner" not in re.sub(r"/assets/[^\"]+", "", page.text).lower()
    policy = page.headers["Content-Security-Policy"]
    assert "img-src 'self' data: https://cdn.example.com;" in policy
    style = re.search(r'href="(/panel/brand/shop\.css[^"]*)"', page.text)
    assert style is not None
    sheet = white.client.get(style[1])
    assert (sheet.mimetype, "--accent: #ffdd00; --accent-text: #000000" in sheet.text) == ("text/css", True)
    assert "max-age" in sheet.headers["Cache-Control"]


def test_pages_are_in_the_shops_language(white: Customer) -> None:
    seen = white.sees()
    for words in (
        "Übersicht",
        "Läuft",
        "Neu starten …",
        "CPU-Kerne 1 Arbeitsspeicher 1 GB Festplatte 10 GB",
    ):
        assert words in seen, words
    assert "Alles auf web1.example.com geht verloren" in white.sees("reinstall")
    white.does("power/reboot")
    assert "Neustart" in white.sees("history")
    assert "Ihr Server läuft schon." in text(white.post("power/start"))


def test_expired_link_is_told_in_the_shops_language(white: Customer) -> None:
    link = white.link()
    white.world.clock.advance(200)
    answer = white.client.get(link)
    assert answer.status_code == 410
    assert "Dieser Link ist abgelaufen" in text(answer)
    assert "Nordlicht" in text(answer) or 'alt="Nordlicht"' in answer.text


def test_foreign_link_is_told_in_the_browsers_language(white: Customer) -> None:
    answer = white.client.get("/panel/nonsense", headers={"Accept-Language": "de-AT,en;q=0.5"})
    assert "Dieser Link ist nicht gültig" in text(answer)
    assert "Nordlicht" not in answer.text


def test_logo_may_be_a_file(make: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    world = make({"name": "Shop", "logo": "logo.svg"})
    world.done(world.order())
    customer = Customer(world).enters()
    assert 'src="/panel/brand/shop/logo"' in customer.get().text
    assert "img-src 'self' data:;" in customer.last.headers["Content-Security-Policy"]
    logo = customer.client.get("/panel/brand/shop/logo")
    assert (logo.status_code, logo.mimetype) == (200, "image/svg+xml")
    assert "script-src 'self'" in logo.headers["Content-Security-Policy"]
    (tmp_path / "logo.svg").unlink()
    assert customer.client.get("/panel/brand/shop/logo").status_code == 404


def test_look_of_nobody_is_not_there(world: Any) -> None:
    for path in ("nosuch.css", "nosuch/logo", "shop/logo"):
        assert Customer(world).client.get(f"/panel/brand/{path}").status_code == 404


PATHS = ("", "power/reboot", "reinstall", "password", "addresses", "backups", "history", "nothing/here")


def test_every_page_is_strict_and_bare(customer: Customer) -> None:
    """Nothing inline, no other host, no other site's frame, no cache; and no word of who runs the servers."""
    for path in PATHS:
        answer = customer.get(path)
        policy = answer.headers["Content-Security-Policy"]
        for words in (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
        ):
            assert words in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]+src=)", answer.text)
        assert not re.search(r"venocix|hosterapi|upstream|reseller|vmid|4001", answer.text, re.IGNORECASE)


def test_store_that_does_not_answer_is_told_as_a_page(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from provisioner.errors import StoreUnavailable

    def broken(unit: object) -> None:
        raise StoreUnavailable("the disk is full")

    customer.get()
    monkeypatch.setattr(customer.world.app.accept.store, "write", broken)
    answer = customer.client.post(
        customer.home + "power/reboot",
        data={"csrf_token": re.findall(r'csrf_token" value="([0-9a-f]+)"', customer.last.text)[0]},
    )
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert "disk" not in answer.text


def test_mistake_of_ours_is_told_as_a_page(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customer.world.app.looks, "look", lambda *_: 1 / 0)
    answer = customer.client.get(customer.home)
    assert (answer.status_code, answer.mimetype) == (500, "text/html")
    assert "ZeroDivision" not in answer.text
