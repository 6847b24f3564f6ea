"""The console in a real browser, in front of a real service: what an operator does there."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from provisioner.sandbox import Sandbox
from tests.acceptance.browser.conftest import home_of

SECTIONS = (
    "", "/operations", "/services", "/events", "/reconciliation", "/brakes", "/plans", "/audit", "/settings",
)  # fmt: skip
SETTINGS = """
[safety]
max_terminations_per_hour = 1
suspend_grace = 0.1
terminate_grace = 0

[admins.rudi]
token = "rudi-token-0123456789"
role = "read"
"""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, site_in: Callable[..., Any]) -> Iterator[Any]:
    """One installation for all tests here: each keeps to a service of its own."""
    sandbox = Sandbox(job_queued=0.05, job_executing=0.2)
    with site_in(tmp_path_factory.mktemp("town"), sandbox) as site:
        site.add_settings(SETTINGS)
        site.serve()
        yield site


@pytest.fixture(scope="module")
def signed_in(chromium: Any, town: Any) -> Any:
    """The cookies of somebody who has signed in with the admin's token."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{home_of(town.config)}/admin")
    page.get_by_label("Your token").fill(token_of(town))
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_text("Needs a person").first.wait_for()
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def operator(visit: Callable[..., Any], signed_in: Any) -> Any:
    """Somebody with the admin's token, signed in."""
    return visit(storage_state=signed_in)


@pytest.fixture
def ordered(town: Any, eventually: Callable[..., Any]) -> Callable[[str], None]:
    """Makes a service that runs."""

    def order(service_id: str) -> None:
        town.send("order.paid", service_id, "plan=vps-s", f"hostname=web{service_id}.example.com")
        eventually(lambda: town.deliver_all("service.provisioned", service_id))

    return order


def token_of(town: Any) -> str:
    return str(tomllib.loads(town.config.read_text())["security"]["admin_token"])


def sign_in(visitor: Any, token: str, path: str = "/admin") -> None:
    visitor.open(path)
    visitor.page.get_by_label("Your token").fill(token)
    visitor.press("Sign in")


def operation_of(answer: tuple[int, Any]) -> str:
    return str(json.loads(answer[1])["operation"])


def test_sign_in_leads_to_the_page_that_was_asked_for(visit: Callable[..., Any], town: Any) -> None:
    visitor = visit()
    sign_in(visitor, token_of(town), "/admin/operations?state=held")
    assert visitor.page.url.endswith("/admin/operations?state=held")
    visitor.press("Sign out")
    visitor.sees("You are signed out.")
    visitor.open("/admin/services")
    assert "/admin/sign-in" in visitor.page.url


def test_wrong_token_lets_nobody_in(visit: Callable[..., Any]) -> None:
    visitor = visit()
    visitor.expects("401")
    sign_in(visitor, "a-token-of-nobody")
    visitor.sees("This is nobody's token.")
    visitor.accessible()
    visitor.open("/admin")
    assert "/admin/sign-in" in visitor.page.url


def test_every_page_is_there_and_accessible(operator: Any, ordered: Callable[[str], None]) -> None:
    ordered("1001")
    for section in SECTIONS:
        assert operator.open(f"/admin{section}") == 200
        operator.page.emulate_media(color_scheme="light")
        operator.page.locator("html[data-bs-theme=light]").wait_for()
        operator.accessible()
        operator.page.emulate_media(color_scheme="dark")
        operator.page.locator("html[data-bs-theme=dark]").wait_for()
        operator.has_colours_that_are_told_apart()


def test_failed_operation_is_retried_to_success(
    operator: Any, town: Any, ordered: Callable[[str], None]
) -> None:
    ordered("1002")
    town.sandbox.fault(kind="error", method="PUT", path="*/change", error="0xb0: limit", status=400)
    operation = operation_of(town.send("service.upgrade", "1002", "options.mem=2048"))
    operator.open(f"/admin/operations/{operation}")
    operator.sees("0xb0")
    operator.sees("provider for a higher limit")  # what the runbook says of it
    operator.accessible()
    operator.press("Retry …", role="link")
    operator.page.get_by_label("Reason").fill("the limit was raised")
    operator.accessible()
    operator.press("Retry")
    operator.sees("succeeded")  # the page keeps itself fresh
    operator.sees("reason: the limit was raised")


def test_held_termination_names_what_it_destroys_and_is_approved(
    operator: Any, town: Any, ordered: Callable[[str], None], eventually: Callable[..., Any]
) -> None:
    for service_id in ("1003", "1004"):
        ordered(service_id)
    town.send("service.terminate", "1003", "immediate=true")
    eventually(lambda: town.deliver_all("service.terminated", "1003"))
    vmid = town.deliver_all("service.provisioned", "1004")[0].data["vmid"]
    operation = operation_of(town.send("service.terminate", "1004", "immediate=true"))
    eventually(lambda: town.deliver_all("operation.held", "1004"))
    operator.open("/admin")
    operator.sees("The brake for terminate is on")
    operator.open(f"/admin/operations/{operation}")
    operator.press("Approve …", role="link")
    operator.sees(f"VM {vmid} (web1004.example.com")
    operator.accessible()
    operator.press("Approve")
    eventually(lambda: town.deliver_all("service.terminated", "1004"))
    operator.sees("approved by admin:admin")


def test_rejected_event_is_replayed(
    operator: Any, town: Any, ordered: Callable[[str], None], eventually: Callable[..., Any]
) -> None:
    assert town.send("service.reboot", "1005")[0] == 422
    ordered("1005")
    operator.open("/admin/events?state=rejected")
    operator.press("service.reboot", role="link")
    operator.sees("unknown_service")
    operator.accessible()
    operator.press("Judge it again")
    operator.sees("reboot of shop/1005")
    eventually(lambda: town.deliver_all("service.action", "1005"))


def test_action_is_asked_for_with_a_form(
    operator: Any, ordered: Callable[[str], None], town: Any, eventually: Callable[..., Any]
) -> None:
    ordered("1006")
    operator.open("/admin/services?q=web1006")
    operator.press("shop/1006", role="link")
    operator.press("Change …", role="link")
    operator.page.get_by_label("Memory (MB)").fill("2048")
    operator.accessible()
    operator.press("Change")
    operator.sees("It was accepted.")
    eventually(lambda: town.deliver_all("service.upgraded", "1006"))
    operator.open("/admin/audit?service_id=1006&actor=admin:admin")
    operator.sees("change.accepted")


def test_many_are_cancelled_at_once(operator: Any, ordered: Callable[[str], None], town: Any) -> None:
    ordered("1007")
    operator.open("/admin/brakes")
    operator.page.locator("#reason-pause").fill("maintenance")
    operator.press("Pause")
    operator.sees("Work upstream is paused.")
    operations = [operation_of(town.send("service.reboot", "1007")) for _ in range(3)]
    operator.open("/admin/operations?service_id=1007&state=queued")
    operator.page.get_by_label("Mark all on this page").check()
    operator.press("Cancel …")
    operator.sees("Cancel 3 operations?")
    operator.accessible()
    operator.press("Cancel 3")
    operator.sees("Cancel: 3 of 3 done")
    operator.open(f"/admin/operations/{operations[0]}")
    operator.sees("cancelled by admin:admin")
    operator.open("/admin/brakes")
    operator.press("Resume")
    operator.sees("Work upstream goes on.")


def test_reader_is_shown_no_button_that_changes_anything(
    visit: Callable[..., Any], ordered: Callable[[str], None]
) -> None:
    ordered("1008")
    visitor = visit()
    sign_in(visitor, "rudi-token-0123456789", "/admin/services/shop/1008")
    visitor.sees("What it has")
    assert visitor.page.get_by_role("button").all_inner_texts() == ["Auto", "Light", "Dark", "Sign out"]
    assert visitor.page.get_by_text("Have done").count() == 0


def test_form_without_its_token_changes_nothing(
    operator: Any, ordered: Callable[[str], None], town: Any
) -> None:
    ordered("1009")
    operator.expects("400")
    operator.open("/admin/services/shop/1009/reboot")
    operator.page.evaluate("document.querySelector('main input[name=csrf_token]').value = 'forged'")
    operator.press("Reboot")
    operator.sees("nothing was done")
    operator.open("/admin/operations?service_id=1009&kind=reboot")
    operator.sees("No operation is like that.")


def test_keyboard_alone_signs_in_and_out(visit: Callable[..., Any], town: Any) -> None:
    visitor = visit()
    visitor.open("/admin/plans")
    visitor.page.keyboard.type(token_of(town))  # the field has the focus
    visitor.page.keyboard.press("Enter")
    visitor.sees("Checked against")
    visitor.page.keyboard.press("Tab")
    visitor.page.keyboard.press("Enter")  # skips to the content
    assert visitor.page.evaluate("document.activeElement.id") == "content"


def test_console_works_without_scripts_and_on_a_phone(
    visit: Callable[..., Any], town: Any, ordered: Callable[[str], None], eventually: Callable[..., Any]
) -> None:
    ordered("1010")
    visitor = visit(java_script_enabled=False, viewport={"width": 390, "height": 844})
    sign_in(visitor, token_of(town), "/admin/services/shop/1010")
    visitor.press("Reboot …", role="link")
    visitor.press("Reboot")
    visitor.sees("It was accepted.")
    eventually(lambda: town.deliver_all("service.action", "1010"))


def test_no_page_is_wider_than_a_phone(operator: Any, ordered: Callable[[str], None]) -> None:
    ordered("1" * 60)
    operator.page.set_viewport_size({"width": 390, "height": 844})
    for section in (*SECTIONS, f"/services/shop/{'1' * 60}"):
        operator.open(f"/admin{section}")
        assert operator.page.evaluate("document.documentElement.scrollWidth") <= 390, section
