"""A real Chromium in front of a real `serve`, with a look at what no page may do.

Every page that is opened is watched: no error in its console, no request to another host. `axe` says what a
screen reader or a keyboard would trip over.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

# The shell is Chromium without a window around the pages, which takes more of a processor than they do.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = [
    "--no-sandbox",  # tests run as root in CI
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
NO_CHROMIUM = "there is no Chromium; on Debian: apt install chromium-headless-shell"
PATIENCE_MS = 30_000
SERIOUS = {"serious", "critical"}
EVERYTHING = {"resultTypes": ["violations"]}
COLOURS = {**EVERYTHING, "runOnly": ["color-contrast", "link-in-text-block"]}


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail(NO_CHROMIUM)
        pytest.skip(NO_CHROMIUM)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Visitor:
    """A person with a browser of their own."""

    context: BrowserContext
    page: Page
    home: str
    troubles: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.troubles.append(f"a script broke: {error}"))
        self.page.on("request", lambda request: self._asked(request.url))

    def open(self, path: str) -> int:
        """Goes to a page; its HTTP status."""
        answer = self.page.goto(path if "://" in path else self.home + path)
        assert answer is not None
        return answer.status

    def press(self, name: str, role: str = "button") -> None:
        """Presses the button (or link) with this text and waits for what comes."""
        self.page.get_by_role(role, name=name, exact=True).first.click()
        self.page.wait_for_load_state("load")

    def text(self) -> str:
        return self.page.locator("main").inner_text()

    def sees(self, words: str) -> None:
        """Waits until the page says so."""
        self.page.get_by_text(words).first.wait_for(state="visible")

    def accessible(self, looked_for: dict[str, Any] = EVERYTHING) -> None:
        """axe finds nothing serious on this page."""
        found = Axe().run(self.page, options=looked_for).response["violations"]
        serious = [
            f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes'][:3]]}"
            for one in found
            if one["impact"] in SERIOUS
        ]
        assert serious == []

    def has_colours_that_are_told_apart(self) -> None:
        """The same for its colours alone: another theme of a page that is accessible has nothing else new."""
        self.accessible(COLOURS)

    def expects(self, words: str) -> None:
        """An error with these words may stand in the browser's console: a page that is refused, say."""
        self.expected.append(words)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning") and not any(one in message.text for one in self.expected):
            self.troubles.append(f"{message.type} in the console: {message.text}")

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(self.home).netloc:
            self.troubles.append(f"a request to another host: {url}")


@pytest.fixture
def visit(chromium: Browser, town: Any) -> Iterator[Callable[..., Visitor]]:
    """Makes visitors, each with a browser of their own; in the end none of them may have seen trouble."""
    visitors: list[Visitor] = []

    def make(**options: Any) -> Visitor:
        context = chromium.new_context(**{"reduced_motion": "reduce", **options})
        visitor = Visitor(context, context.new_page(), home_of(town.config))
        visitor.watch()
        visitors.append(visitor)
        return visitor

    yield make
    troubles = [trouble for visitor in visitors for trouble in visitor.troubles]
    for visitor in visitors:
        visitor.context.close()
    assert troubles == []


def home_of(config: Path) -> str:
    listen: str = tomllib.loads(config.read_text())["server"]["listen"]
    return f"http://{listen}"
