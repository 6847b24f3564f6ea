"""The console in a real browser."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def operator(visit: Callable[..., Any], town: Any) -> Any:
    """Somebody with the admin's token, signed in."""
    visitor = visit()
    sign_in(visitor, town)
    return visitor


def token_of(town: Any) -> str:
    return str(tomllib.loads(town.config.read_text())["security"]["admin_token"])


def sign_in(visitor: Any, town: Any) -> None:
    visitor.open("/admin")
    visitor.page.get_by_label("Your token").fill(token_of(town))
    visitor.press("Sign in")
    visitor.sees("Overview")


def test_sign_in_leads_to_the_page_that_was_asked_for(visit: Callable[..., Any], town: Any) -> None:
    visitor = visit()
    visitor.open("/admin/operations?state=held")
    visitor.page.get_by_label("Your token").fill(token_of(town))
    visitor.press("Sign in")
    assert visitor.page.url.endswith("/admin/operations?state=held")


SECTIONS = (
    "", "/operations", "/services", "/events", "/reconciliation", "/brakes", "/plans", "/audit", "/settings",
)  # fmt: skip


@pytest.mark.parametrize("section", SECTIONS)
def test_every_page_is_there_and_accessible(operator: Any, section: str) -> None:
    assert operator.open(f"/admin{section}") == 200
    operator.accessible()
