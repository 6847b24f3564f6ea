"""A billing system's own name, colour and logo on its customers' panel (contract, `[billing.*.panel]`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from provisioner.config import Panel

Rgb = tuple[int, int, int]

WHITE: Rgb = (255, 255, 255)
BLACK: Rgb = (0, 0, 0)
LIGHT_PAGE: Rgb = (248, 249, 250)  # what text stands on in the light theme: the darkest of its backgrounds
DARK_PAGE: Rgb = (43, 48, 53)  # likewise in the dark one: the lightest
READABLE = 4.5  # the contrast that WCAG asks for of text
STEPS = 40  # from the colour to black or white


@dataclass(frozen=True)
class Brand:
    """How one billing system's panel looks."""

    billing: str
    panel: Panel

    @property
    def name(self) -> str:
        return self.panel.name

    @property
    def support_url(self) -> str:
        return self.panel.support_url

    @property
    def logo_file(self) -> Path | None:
        """The logo, where it is a file that is served here."""
        return self.panel.logo_file

    @property
    def logo_address(self) -> str:
        """The logo, where it is somewhere else on the web."""
        return "" if self.logo_file else self.panel.logo

    @property
    def logo_origins(self) -> tuple[str, ...]:
        """Where pictures may come from besides this service."""
        if not self.logo_address:
            return ()
        parts = urlsplit(self.logo_address)
        return (f"{parts.scheme}://{parts.netloc}",)

    @cached_property
    def stylesheet(self) -> str:
        """The colour as the pages' stylesheet takes it, readable in both themes."""
        colour = rgb(self.panel.colour)
        light, dark = readable(colour, LIGHT_PAGE, BLACK), readable(colour, DARK_PAGE, WHITE)
        return "\n".join(
            (
                f":root {{ --accent: {_hex(colour)}; --accent-text: {_hex(on(colour))}; }}",
                _theme(":root", light),
                _theme('[data-bs-theme="dark"]', dark),
                "",
            )
        )

    @property
    def version(self) -> str:
        """Another one when the stylesheet is another."""
        return sha256(self.stylesheet.encode()).hexdigest()[:12]


def rgb(colour: str) -> Rgb:
    """The parts of `#2563eb`, from 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def contrast(one: Rgb, other: Rgb) -> float:
    """From 1 to 21, as WCAG 2 counts it."""
    bright, dim = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def on(colour: Rgb) -> Rgb:
    """Black or white, whichever is read better on this colour; one of them always has enough contrast."""
    return max((WHITE, BLACK), key=lambda text: contrast(text, colour))


def readable(colour: Rgb, page: Rgb, towards: Rgb) -> Rgb:
    """The colour itself, or the first on the way towards black or white that is readable on the page."""
    return next(shade for shade in _shades(colour, towards) if contrast(shade, page) >= READABLE)


def _shades(colour: Rgb, towards: Rgb) -> Iterator[Rgb]:
    for step in range(STEPS + 1):
        red, green, blue = (
            round(part + (end - part) * step / STEPS) for part, end in zip(colour, towards, strict=True)
        )
        yield red, green, blue


def _theme(selector: str, colour: Rgb) -> str:
    parts = ", ".join(map(str, colour))
    return (
        f"{selector} {{ --plot: {_hex(colour)}; --accent-edge: {_hex(colour)}; --bs-link-color-rgb: {parts}; "
        f"--bs-link-hover-color-rgb: {parts}; }}"
    )


def _luminance(colour: Rgb) -> float:
    red, green, blue = (
        part / 255 / 12.92 if part / 255 <= 0.04045 else ((part / 255 + 0.055) / 1.055) ** 2.4
        for part in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _hex(colour: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
