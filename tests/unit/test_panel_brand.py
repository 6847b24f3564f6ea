"""Whatever colour a shop has, its customers can read what is written in it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.config import Panel
from provisioner.web.panel.brand import DARK_PAGE, LIGHT_PAGE, READABLE, Brand, contrast, on, rgb

SEEN = 3  # the contrast that WCAG asks for of what is no text
COLOURS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


def shades(sheet: str) -> list[tuple[int, int, int]]:
    return [rgb(one) for one in re.findall(r"--plot: (#[0-9a-f]{6})", sheet)]


@given(COLOURS)
def test_text_is_readable_in_both_themes(colour: str) -> None:
    light, dark = shades(Brand("shop", Panel(colour=colour)).stylesheet)
    assert contrast(light, LIGHT_PAGE) >= READABLE
    assert contrast(light, (255, 255, 255)) >= READABLE
    assert contrast(dark, DARK_PAGE) >= READABLE
    assert contrast(dark, (33, 37, 41)) >= READABLE


@given(COLOURS)
def test_text_on_a_button_is_readable(colour: str) -> None:
    assert contrast(on(rgb(colour)), rgb(colour)) >= READABLE


@given(COLOURS)
def test_button_is_seen_on_the_page(colour: str) -> None:
    """A white button on a white page has an edge."""
    sheet = Brand("shop", Panel(colour=colour)).stylesheet
    light, dark = map(rgb, re.findall(r"--accent-edge: (#[0-9a-f]{6})", sheet))
    assert contrast(light, (255, 255, 255)) >= SEEN
    assert contrast(dark, (33, 37, 41)) >= SEEN


def test_contrast_is_as_wcag_counts_it() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)


def test_colour_that_is_readable_stays_what_it_is() -> None:
    sheet = Brand("shop", Panel(colour="#1d4ed8")).stylesheet
    assert "--accent: #1d4ed8; --accent-text: #ffffff" in sheet
    assert shades(sheet)[0] == rgb("#1d4ed8")


def test_sheet_of_another_colour_has_another_version() -> None:
    versions = {Brand("shop", Panel(colour=colour)).version for colour in ("#1d4ed8", "#1d4ed9")}
    assert len(versions) == 2


def test_logo_elsewhere_is_allowed_from_there_alone() -> None:
    brand = Brand("shop", Panel(logo="https://cdn.example.com:8443/a/logo.svg?x=1"))
    assert brand.logo_origins == ("https://cdn.example.com:8443",)
    assert brand.logo_file is None


def test_logo_of_a_file_needs_no_other_host() -> None:
    brand = Brand("shop", Panel(logo="/etc/provisioner/logo.svg"))
    assert (brand.logo_origins, brand.logo_address) == ((), "")
    assert str(brand.logo_file) == "/etc/provisioner/logo.svg"
