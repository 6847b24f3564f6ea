"""Takes the README's pictures of console and panel: `make screenshots`.

A whole installation on loopback (sandbox upstream, stub shop, service) is filled with a day's life, then
looked at with the system's Chromium. With a folder as its argument it takes every page, light and dark, wide
and narrow, full and empty: for the eyes of whoever changes them.
"""

from __future__ import annotations

import json
import random
import shutil
import socket
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests
from playwright.sync_api import Browser, Page, sync_playwright

from provisioner.cli.send import post
from provisioner.cli.serve import serving
from provisioner.config import Settings, fresh_secrets, parse, starter
from provisioner.sandbox import BillingStub, Sandbox, SandboxServer
from provisioner.signing import Signer

HERE = Path(__file__).parent
PICTURES = HERE / "pictures"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--hide-scrollbars", "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
WIDE, NARROW = (1280, 860), (390, 844)
PATIENCE_S = 60.0
SAMPLES_MS = 10_000
SECTIONS = (
    "", "operations", "services", "events", "reconciliation", "brakes", "plans", "audit", "settings",
)  # fmt: skip
SOME_OPERATIONS = {
    "lost": "service_id=1025&kind=create",
    "failed": "state=failed",
    "building": "service_id=1031&kind=create",
    "held-terminate": "state=held&kind=terminate",
}
MORE = """
[plans.vps-m]
label = "VPS M"
template = "Ubuntu20.04"
cpu_cores = 2
mem = 4096
disk = "40G"
ip_count = 2
max = { mem = 16384, disk = "200G" }

[plans.vps-old]
template = "Debian8.0"
cpu_cores = 1
mem = 512
disk = "10G"
ip_count = 1

[templates."Debian10.0"]
label = "Debian 10"
[templates."Ubuntu20.04"]
label = "Ubuntu 20.04 LTS"

[safety]
max_terminations_per_hour = 2
suspend_grace = 1

[admins.anna]
token = "anna-token-of-the-pictures"
role = "support"

[billing.shop.panel]
name = "Nordlicht Hosting"
colour = "#0f766e"
support_url = "https://shop.example.com/support"
"""


@dataclass
class Stage:
    """The installation that the pictures are of."""

    settings: Settings
    sandbox: Sandbox
    shop: BillingStub
    sent: int = 0

    @property
    def url(self) -> str:
        return f"http://{self.settings.server.listen}"

    @property
    def token(self) -> str:
        return self.settings.security.admin_token.get_secret_value()

    def send(self, kind: str, service_id: str, **data: Any) -> Any:
        self.sent += 1
        body = {"type": kind, "timestamp": "2026-11-25T12:00:00Z",
                "data": {"service_id": service_id, **data},
                "source": {"installation": "https://billing.example.com/#4f2a",
                           "actor": {"type": "cron", "name": ""}}}  # fmt: skip
        _, text = post(self.settings, "shop", f"picture-{self.sent}", json.dumps(body).encode())
        return json.loads(text)

    def panel_link(self, service_id: str) -> str:
        """Where the customer of a service is let in, as the billing system is told."""
        self.sent += 1
        body = json.dumps({"type": "panel.link", "data": {"service_id": service_id}}).encode()
        keys = [secret.get_secret_value() for secret in self.settings.billing["shop"].secrets]
        headers = Signer(keys).sign(f"picture-{self.sent}", int(time.time()), body)
        answer = requests.post(
            f"{self.url}/queries/shop", data=body, timeout=10,
            headers={**headers, "Content-Type": "application/json"},
        )  # fmt: skip
        return str(answer.json()["url"])

    def told(self, kind: str, service_id: str) -> bool:
        return any(
            one.type == kind and one.data["service_id"] == service_id
            for one in self.shop.deliveries
            if one.accepted
        )


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Serves for as long as it is entered."""
    with ExitStack() as stack:
        sandbox = Sandbox(job_queued=0.1, job_executing=0.5)
        upstream = stack.enter_context(SandboxServer(sandbox))
        fresh = fresh_secrets()
        shop = stack.enter_context(BillingStub([fresh.webhook_secret]))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            listen = f"127.0.0.1:{probe.getsockname()[1]}"
        text = starter(
            fresh, listen=listen, public_url=f"http://{listen}", callback_url=shop.callback_url,
            upstream_base_url=upstream.base_url, upstream_token=sandbox.settings()["token"],
        )  # fmt: skip
        settings = parse(tomllib.loads(text + MORE), name="config.toml", folder=folder, environ={})
        stack.enter_context(serving(settings))
        yield Stage(settings, sandbox, shop)


def live(on: Stage) -> None:
    """A day's life in a few seconds: what goes well, and one of each thing that needs a person."""
    names = ["web", "mail", "shop", "db", "vpn", "git", "backup", "cloud"]
    rng = random.Random(7)  # noqa: S311 - names, not secrets
    for number in range(1001, 1025):
        host = f"{rng.choice(names)}{number}.example.com"
        if number == 1007:
            host = "a-rather-long-host-name-that-somebody-chose-in-a-hurry.customers.of.example.com"
        on.send("order.paid", str(number), plan=rng.choice(["vps-s", "vps-m"]), hostname=host,
                client={"id": str(number - 1000)})  # fmt: skip
    until(lambda: all(on.told("service.provisioned", str(number)) for number in range(1001, 1025)))
    for number in (1003, 1004):
        on.send(
            "service.suspend", str(number), reason="The invoice of October is not paid.", lock=number == 1004
        )
    for number in (1010, 1011, 1012):
        on.send("service.terminate", str(number), immediate=True)
    on.send("service.upgrade", "1005", options={"mem": 8192})
    on.send("service.upgrade", "1006", options={"disk": "5G"})
    on.send("service.backup", "1001")
    on.send("service.reboot", "1001")
    on.send("service.backup", "1002")
    on.send("order.paid", "1030", plan="vps-xl", hostname="new.example.com")
    on.send("service.start", "9999")
    until(lambda: on.told("service.suspended", "1004") and on.told("service.backups", "1002"))
    on.sandbox.add_vm()
    on.sandbox.fault(kind="drop_after", method="POST", path="/datacenter/server")
    on.send("order.paid", "1025", plan="vps-s", hostname="lost.example.com", client={"id": "25"})
    until(lambda: on.told("operation.held", "1025"))
    on.sandbox.settings(job_queued=1.0, job_executing=600.0)
    on.send("order.paid", "1031", plan="vps-m", hostname="building.example.com", client={"id": "31"})


def until(condition: Callable[[], Any]) -> Any:
    ends_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends_at:
        if found := condition():
            return found
        time.sleep(0.05)
    raise SystemExit("what the pictures should show did not come about in time")


def open_page(browser: Browser, size: tuple[int, int], theme: Any) -> Page:
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme,
                                  device_scale_factor=1)  # fmt: skip
    page = context.new_page()
    page.set_default_timeout(PATIENCE_S * 1000)
    return page


def sign_in(page: Page, on: Stage) -> None:
    page.goto(f"{on.url}/admin")
    page.get_by_label("Your token").fill(on.token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Overview").wait_for()


def console_pages(page: Page, on: Stage) -> Iterator[tuple[str, str]]:
    """Each page of the console, by a name: those that an operator sees first, and one of each kind."""
    for name in (
        "",
        "operations",
        "services",
        "events",
        "reconciliation",
        "brakes",
        "plans",
        "audit",
        "settings",
    ):
        yield name or "overview", f"{on.url}/admin/{name}".rstrip("/")
    yield "service", f"{on.url}/admin/services/shop/1001"
    yield "service-suspended", f"{on.url}/admin/services/shop/1004"
    yield "service-long", f"{on.url}/admin/services/shop/1007"
    yield "ask-terminate", f"{on.url}/admin/services/shop/1001/terminate"
    yield "ask-change", f"{on.url}/admin/services/shop/1001/change"
    yield "nothing", f"{on.url}/admin/operations?q=nothing-is-called-so"
    yield "problem", f"{on.url}/admin/operations/op_0"
    for name, query in SOME_OPERATIONS.items():
        page.goto(f"{on.url}/admin/operations?{query}")
        link = page.locator("tbody td[data-label=Kind] a").first
        if link.count():
            where = f"{on.url}{link.get_attribute('href')}"
            yield f"operation-{name}", where
            if name == "lost":
                yield "ask-lost", f"{where}/approve"
    page.goto(f"{on.url}/admin/events?state=rejected")
    link = page.locator("tbody td[data-label=Type] a").first
    if link.count():
        yield "event-rejected", f"{on.url}{link.get_attribute('href')}"


PANELS = {"1001": "running", "1004": "suspended", "1007": "long", "1012": "terminating", "1031": "building"}
PANEL_PAGES = (
    "", "power/reboot", "power/stop", "reinstall", "password", "addresses", "backups", "history", "nowhere",
)  # fmt: skip


def shoot_panel(browser: Browser, on: Stage, to: Path, name: str, size: tuple[int, int], theme: Any) -> None:
    for service_id, how in PANELS.items():
        page = open_page(browser, size, theme)
        page.goto(on.panel_link(service_id))
        home = page.url.rstrip("/")
        for path in PANEL_PAGES if how == "running" else ("", "history"):
            page.goto(f"{home}/{path}")
            if how == "running" and not path:
                page.wait_for_timeout(SAMPLES_MS)  # its plots need some moments to show
            page.screenshot(path=to / f"panel-{how}-{path.replace('/', '-')}-{name}.png", full_page=True)
        page.context.close()
    page = open_page(browser, size, theme)
    page.goto(f"{on.url}/panel/no-good-link")
    page.screenshot(path=to / f"panel-refused-{name}.png", full_page=True)
    page.context.close()


def shoot_all(browser: Browser, on: Stage, to: Path) -> None:
    to.mkdir(parents=True, exist_ok=True)
    for width, size in (("wide", WIDE), ("narrow", NARROW)):
        for theme in ("light", "dark"):
            page = open_page(browser, size, theme)
            page.goto(f"{on.url}/admin")
            page.screenshot(path=to / f"sign-in-{width}-{theme}.png", full_page=True)
            sign_in(page, on)
            for name, url in list(console_pages(page, on)):
                page.goto(url)
                page.screenshot(path=to / f"{name}-{width}-{theme}.png", full_page=True)
            page.context.close()
            if to.name == "full":
                shoot_panel(browser, on, to, f"{width}-{theme}", size, theme)


def shoot_readme(browser: Browser, on: Stage) -> None:
    PICTURES.mkdir(exist_ok=True)
    page = open_page(browser, WIDE, "light")
    sign_in(page, on)
    page.screenshot(path=PICTURES / "console.png")
    page.context.close()
    page = open_page(browser, WIDE, "light")
    page.goto(on.panel_link("1001"))
    page.wait_for_timeout(2 * SAMPLES_MS)
    page.screenshot(path=PICTURES / "panel.png")
    page.context.close()


def main() -> None:
    everything = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("there is no Chromium; on Debian: apt install chromium")
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        with stage(Path(folder)) as on:
            if everything is not None:
                shoot_all(browser, on, everything / "empty")
            live(on)
            if everything is None:
                shoot_readme(browser, on)
            else:
                shoot_all(browser, on, everything / "full")
        browser.close()


if __name__ == "__main__":
    main()
