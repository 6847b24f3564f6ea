"""The client panel in a real browser, in front of a real service: what a customer does there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from provisioner.config import load
from provisioner.sandbox import Sandbox
from provisioner.signing import Signer
from provisioner.vault import Vault, load_keys
from provisioner.web.browser.signed import Signed
from provisioner.web.panel.links import Guest, Links

SETTINGS = """
[billing.shop.panel]
name = "Nordlicht"
colour = "#ffdd00"
support_url = "https://shop.example.com/help"
language = "{language}"

[templates."Ubuntu20.04"]
label = "Ubuntu 20.04 LTS"
"""
PAGES = ("", "power/reboot", "power/stop", "reinstall", "password", "addresses", "backups", "history")


@pytest.fixture(scope="module", params=["en"])
def town(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, site_in: Callable[..., Any]
) -> Iterator[Any]:
    """One installation for all tests here: each keeps to a service of its own."""
    sandbox = Sandbox(job_queued=0.1, job_executing=0.5, backup_duration=0.2, restore_duration=0.2)
    with site_in(tmp_path_factory.mktemp("town"), sandbox) as site:
        site.add_settings(SETTINGS.format(language=request.param))
        site.serve()
        yield site


def asked(town: Any, kind: str, service_id: str) -> Any:
    """What the service answers to a billing system's query."""
    settings = load(town.config, {})
    body = json.dumps(
        {"type": kind, "data": {"service_id": service_id},
         "source": {"actor": {"type": "client", "name": "7"}}}
    ).encode()  # fmt: skip
    secrets = [secret.get_secret_value() for secret in settings.billing["shop"].secrets]
    headers = {**Signer(secrets).sign(f"query-{time.time_ns()}", int(time.time()), body)}
    headers["Content-Type"] = "application/json"
    url = f"{settings.server.public_url}/queries/shop"
    return requests.post(url, data=body, headers=headers, timeout=10).json()


@pytest.fixture
def customer(town: Any, visit: Callable[..., Any], eventually: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a service that runs, and its customer's browser with the panel open."""

    def make(service_id: str, hostname: str = "", **options: Any) -> Any:
        hostname = hostname or f"web{service_id}.example.com"
        town.send("order.paid", service_id, "plan=vps-s", f"hostname={hostname}")
        eventually(lambda: town.deliver_all("service.provisioned", service_id))
        visitor = visit(**options)
        assert visitor.open(asked(town, "panel.link", service_id)["url"]) == 200
        return visitor

    return make


def vm_of(town: Any, service_id: str) -> dict[str, Any]:
    (told,) = town.deliver_all("service.provisioned", service_id)
    return next(vm for vm in town.sandbox.state()["vms"] if vm["vmid"] == told.data["vmid"])


def goes(visitor: Any, section: str) -> None:
    visitor.page.get_by_role("navigation").get_by_role("link", name=section, exact=True).click()
    visitor.page.get_by_role("heading", name=section, level=1).wait_for()


def test_customer_restarts_reinstalls_resets_and_restores(
    town: Any, customer: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    """From the link to the end, with nothing but what a page offers."""
    visitor = customer("1001")
    page = visitor.page
    assert "/panel/at/" in page.url  # the link is not in the address bar any more
    page.get_by_role("heading", name="web1001.example.com").wait_for()
    page.get_by_text("Running", exact=True).first.wait_for()
    page.locator("svg .plot-line").first.wait_for(state="attached")  # a flat line has no height

    page.get_by_role("link", name="Restart …", exact=True).click()
    visitor.sees("Until then nobody reaches what runs on it")
    visitor.press("Restart")
    visitor.sees("Restart of the server")
    page.locator("#live-last").get_by_text("Done").wait_for()
    assert town.deliver_all("service.action", "1001")[-1].data["action"] == "reboot"

    goes(visitor, "Backups")
    visitor.press("Make a backup now")
    page.get_by_role("link", name="Restore …").first.wait_for()

    goes(visitor, "Reinstall")
    visitor.sees("Everything on web1001.example.com is lost")
    page.get_by_label("Ubuntu 20.04 LTS").check()
    page.get_by_label("I understand that all data on this server are lost.").check()
    visitor.press("Reinstall")
    visitor.sees("Reinstallation")
    page.locator("#live-last").get_by_text("Done").wait_for()
    eventually(lambda: vm_of(town, "1001")["template"] == "Ubuntu20.04")

    goes(visitor, "Password")
    page.get_by_role("button", name="Reset the password").click()
    page.get_by_role("button", name="Show the password once").click()
    visitor.sees("Keep it now")
    shown = page.locator("#password").inner_text()
    assert shown == vm_of(town, "1001")["password"]
    visitor.press("I have kept it", "link")
    goes(visitor, "Password")
    assert page.get_by_role("button", name="Show the password once").count() == 0

    goes(visitor, "Backups")
    page.get_by_role("link", name="Restore …").first.click()
    visitor.sees("Everything that changed on web1001.example.com since then is lost")
    visitor.press("Restore")
    visitor.sees("Restoring a backup")
    page.locator("#live-last").get_by_text("Done").wait_for()
    eventually(lambda: town.deliver_all("service.restored", "1001"))

    goes(visitor, "History")
    for words in (
        "Restoring a backup",
        "Password reset",
        "Reinstallation",
        "Backup",
        "Restart of the server",
    ):
        visitor.sees(words)
    visitor.press("Sign out")
    visitor.sees("You are signed out")


def test_reverse_name_is_set_and_a_wrong_one_is_said(town: Any, customer: Callable[..., Any]) -> None:
    visitor = customer("1002")
    goes(visitor, "Addresses")
    field = visitor.page.get_by_label("Reverse name").first
    field.fill("no name")
    visitor.page.get_by_role("button", name="Set").first.click()
    visitor.sees("This is no host name.")
    visitor.accessible()
    visitor.page.get_by_label("Reverse name").first.fill("mail.example.com")
    visitor.page.get_by_role("button", name="Set").first.click()
    visitor.page.locator('input[value="mail.example.com"]').wait_for()
    assert "mail.example.com" in vm_of(town, "1002")["rdns"].values()


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 320)])
def test_every_page_is_accessible_and_fits(customer: Callable[..., Any], theme: str, width: int) -> None:
    visitor = customer(f"2-{theme}-{width}", color_scheme=theme, viewport={"width": width, "height": 800})
    home = visitor.page.url
    visitor.page.get_by_text("Running", exact=True).first.wait_for()
    for path in PAGES:
        assert visitor.open(home + path) == 200
        visitor.accessible()
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_longest_name_fits_the_smallest_phone(customer: Callable[..., Any]) -> None:
    name = ".".join(["a" * 62] * 4)
    visitor = customer("8", hostname=name, viewport={"width": 320, "height": 640})
    home = visitor.page.url
    visitor.page.get_by_text("Running", exact=True).first.wait_for()
    for path in PAGES:
        assert visitor.open(home + path) == 200
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 320, path


def test_build_shows_its_progress_until_the_server_runs(
    town: Any, visit: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    town.sandbox.settings(hang_jobs=True)
    town.send("order.paid", "3001", "plan=vps-s")
    visitor = visit()
    visitor.open(asked(town, "panel.link", "3001")["url"])
    visitor.sees("Server is being built")
    assert visitor.page.get_by_role("progressbar").count() == 1
    visitor.accessible()
    town.sandbox.settings(hang_jobs=False)
    visitor.page.get_by_text("Running", exact=True).first.wait_for()  # the page keeps itself fresh
    visitor.page.get_by_role("link", name="Restart …", exact=True).wait_for()


def test_suspended_service_says_why_and_offers_nothing(
    town: Any, customer: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    visitor = customer("1003")
    town.send("service.suspend", "1003", "reason=Overdue on payment", "force=true")
    eventually(lambda: town.deliver_all("service.suspended", "1003"))
    visitor.sees("The reason: Overdue on payment")
    visitor.page.locator("#live-power").get_by_text("Your server is suspended.").wait_for()
    assert visitor.page.locator("#live-power").get_by_role("link").count() == 0
    visitor.accessible()


def test_expired_link_says_what_to_do(town: Any, customer: Callable[..., Any]) -> None:
    """Made as the service makes them, with its own keys, by a clock that is three minutes slow."""
    visitor = customer("1009")
    settings = load(town.config, {})
    vault = Vault(load_keys([], settings.store.path, store_exists=True))
    signed = Signed(vault.derive_all, "panel link", lambda: time.time_ns() // 1_000_000 - 180_000)
    links = Links(signed, settings.server.public_url)
    stranger = visitor.context.browser.new_context().new_page()
    answer = stranger.goto(links.make(Guest("shop", "1009", "client:7"))["url"])
    assert answer.status == 410
    stranger.get_by_text("This link has expired").first.wait_for()
    assert "Nordlicht" in stranger.locator("header").inner_text()
    assert "web1009" not in stranger.locator("body").inner_text()
    stranger.context.close()


def test_foreign_link_says_what_to_do(town: Any, visit: Callable[..., Any]) -> None:
    visitor = visit()
    visitor.expects("status of 403")
    assert visitor.open("/panel/eyJiaWxsaW5nIjoic2hvcCJ9.not-ours") == 403
    visitor.sees("This link is not valid")
    visitor.sees("Go back to the customer area and open the server from there.")
    visitor.accessible()


def test_link_of_a_billing_system_that_is_gone_is_refused(town: Any, visit: Callable[..., Any]) -> None:
    assert asked(town, "panel.link", "never-seen")["error"]["code"] == "unknown_service"


def test_another_services_panel_is_out_of_reach(
    town: Any, customer: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    first, second = customer("1004"), customer("1005")
    first.expects("status of 401")
    assert first.open(second.page.url) == 401
    first.sees("You are not signed in")
    assert "web1005" not in first.text()


def test_forged_form_does_nothing(town: Any, customer: Callable[..., Any]) -> None:
    visitor = customer("1006")
    visitor.expects("status of 400")
    visitor.page.get_by_role("link", name="Switch off …", exact=True).click()
    visitor.page.locator("main form [name=csrf_token]").evaluate("field => field.value = 'x'")
    visitor.press("Switch off")
    visitor.sees("This form was not filled in here.")
    assert vm_of(town, "1006")["power"] == "running"


def test_everything_works_without_a_script(
    town: Any, customer: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    visitor = customer("1007", java_script_enabled=False)
    page = visitor.page
    page.get_by_role("link", name="Restart …", exact=True).click()  # the page asks for itself until it knows
    visitor.press("Restart")
    eventually(lambda: town.deliver_all("service.action", "1007"))
    page.goto(page.url)
    visitor.sees("Restart of the server")
    goes(visitor, "Password")
    page.get_by_role("button", name="Reset the password").click()
    eventually(lambda: town.deliver_all("service.credentials", "1007"))
    page.goto(page.url)
    page.get_by_role("button", name="Show the password once").click()
    assert page.locator("#password").inner_text() == vm_of(town, "1007")["password"]


def test_keyboard_alone_reaches_the_restart(town: Any, customer: Callable[..., Any]) -> None:
    visitor = customer("1008")
    page = visitor.page
    page.get_by_role("link", name="Restart …", exact=True).wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    for _ in range(3):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").startswith("Restart"):
            break
    page.keyboard.press("Enter")
    visitor.sees("Until then nobody reaches what runs on it")
