"""The customer's language: sentences by gettext, dates and numbers by Babel.

The sentences in the code are English. Another language is one file, `languages/<code>.po`, read at its first
use; a sentence that it lacks is shown in English.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from gettext import NullTranslations
from io import BytesIO

from babel import Locale
from babel.dates import format_datetime, format_timedelta
from babel.lists import format_list
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent
from babel.support import Translations
from babel.units import format_unit

from provisioner.config import ENGLISH, LANGUAGES, language_file

_BYTES = (("gigabyte", 1024**3), ("megabyte", 1024**2), ("kilobyte", 1024))
_SPANS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


def N_(message: str) -> str:
    """Marks a sentence that is translated where it is shown."""
    return message


@dataclass(frozen=True, slots=True)
class Speech:
    """One language. Templates call it as `_`."""

    code: str
    locale: Locale
    translations: NullTranslations

    def __call__(self, message: str, **values: object) -> str:
        """A sentence in this language, its placeholders (`%(name)s`) filled in."""
        found = self.translations.gettext(message)
        return found % values if values else found

    def moment(self, ms: int) -> str:
        """A time in milliseconds since the epoch, as a day and a time of day in UTC.

        One beyond the calendar, as an event that counts in milliseconds asks for, is its number of seconds.
        """
        try:
            at = datetime.fromtimestamp(ms / 1000, UTC)
        except (ValueError, OverflowError):
            return str(ms // 1000)
        return f"{format_datetime(at, 'medium', tzinfo=UTC, locale=self.locale)} UTC"

    def ago(self, ms: int, now: int) -> str:
        """How long ago, such as `3 minutes ago`; both in milliseconds since the epoch."""
        since = timedelta(seconds=-max(round((now - ms) / 1000), 1))
        return format_timedelta(since, add_direction=True, locale=self.locale)

    def span(self, seconds: float) -> str:
        """A length of time in its two largest units, such as `3 days, 4 hours`."""
        parts: list[tuple[str, int]] = []
        left = int(seconds)
        for unit, length in _SPANS:
            count, left = divmod(left, length)
            if count or (parts and len(parts) < 2) or unit == "second":
                parts.append((unit, count))
        shown = [part for part in parts[:2] if part[1]] or parts[:1]
        return format_list(
            [format_unit(count, f"duration-{unit}", locale=self.locale) for unit, count in shown],
            style="unit", locale=self.locale,
        )  # fmt: skip

    def about(self, seconds: float) -> str:
        """A length of time in one unit, rounded, such as `2 minutes`."""
        return format_timedelta(timedelta(seconds=max(seconds, 1)), threshold=0.9, locale=self.locale)

    def percent(self, share: float) -> str:
        """A share from 0 to 1."""
        return format_percent(share, format="#,##0.#%" if share < 0.1 else "#,##0%", locale=self.locale)

    def size(self, count: float) -> str:
        """So many bytes, in the largest unit that leaves at least one."""
        for unit, length in _BYTES:
            if count >= length:
                return format_unit(round(count / length, 1), f"digital-{unit}", "short", locale=self.locale)
        return format_unit(round(count), "digital-byte", "narrow", locale=self.locale)

    def rate(self, count: float) -> str:
        """So many bytes a second."""
        return f"{self.size(count)}/s"

    def number(self, count: float) -> str:
        return format_decimal(count, locale=self.locale)


@cache
def speech(code: str) -> Speech:
    """The language of a code; English where there is no such language."""
    if code == ENGLISH or code not in LANGUAGES:
        return Speech(ENGLISH, Locale(ENGLISH, "GB"), NullTranslations())
    with language_file(code).open("rb") as file:
        catalog = read_po(file, locale=code)
    compiled = BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return Speech(code, Locale(code), Translations(compiled))


def spoken(accepted: Iterable[str]) -> Speech:
    """The first of these languages that there is, as a browser asks for them; else English."""
    wanted = (tag.partition("-")[0].lower() for tag in accepted)
    return speech(next((code for code in wanted if code in LANGUAGES), ENGLISH))
