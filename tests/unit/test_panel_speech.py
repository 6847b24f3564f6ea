"""The panel speaks every language whole: no sentence is missing, no placeholder is wrong."""

from __future__ import annotations

import re

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from provisioner.config import LANGUAGES, language_file
from provisioner.web.panel.speech import Speech, speech, spoken
from tests.unit import panel_sentences

TRANSLATED = [code for code in LANGUAGES if code != "en"]
NOW = 1_800_000_000_000
PLACEHOLDER = re.compile(r"%\(\w+\)s|%%|%")


def catalog(code: str) -> Catalog:
    with language_file(code).open("rb") as file:
        return read_po(file, locale=code, abort_invalid=True)


def test_there_are_english_and_german() -> None:
    assert set(LANGUAGES) >= {"en", "de"}


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_sentence_is_translated_and_none_is_left_over(code: str) -> None:
    translated = {message.id for message in catalog(code) if message.id and message.string}
    assert translated == panel_sentences.marked() | panel_sentences.told()


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_placeholder_fits(code: str) -> None:
    for message in catalog(code):
        given, taken = PLACEHOLDER.findall(str(message.id)), PLACEHOLDER.findall(str(message.string))
        assert sorted(given) == sorted(taken), message.id
        assert not message.fuzzy, message.id


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_sentence_names_who_runs_the_servers(code: str) -> None:
    said = speech(code)
    for sentence in panel_sentences.marked() | panel_sentences.told():
        assert not re.search(
            r"venocix|hosterapi|upstream|reseller|proxmox|WHMCS", said(sentence), re.IGNORECASE
        )


def test_collector_finds_what_operations_say() -> None:
    """Else the test above would hold whatever is missing."""
    told = panel_sentences.told()
    assert {"The server is still off.", "There is no such backup.", "This was refused."} <= told
    assert "Older ones" in panel_sentences.marked()
    assert len(told) > 70


def test_unknown_language_is_english() -> None:
    assert speech("xx").code == "en"
    assert speech("xx")("Overview") == "Overview"


@pytest.mark.parametrize(
    ("accepted", "code"),
    [(["de-AT", "en"], "de"), (["fr", "de"], "de"), (["en-GB", "de"], "en"), ([], "en"), (["*"], "en")],
)
def test_browser_is_answered_in_a_language_that_it_knows(accepted: list[str], code: str) -> None:
    assert spoken(accepted).code == code


ENGLISH, GERMAN = speech("en"), speech("de")


@pytest.mark.parametrize(
    ("said", "english", "german"),
    [
        (lambda s: s.moment(NOW), "15 Jan 2027, 08:00:00 UTC", "15.01.2027, 08:00:00 UTC"),
        (lambda s: s.moment(1_795_000_000_000 * 1000), "1795000000000", "1795000000000"),
        (lambda s: s.ago(NOW - 180_000, NOW), "3 minutes ago", "vor 3 Minuten"),
        (lambda s: s.ago(NOW + 9_000, NOW), "1 second ago", "vor 1 Sekunde"),
        (lambda s: s.span(3 * 86_400 + 4 * 3600 + 59), "3 days, 4 hours", "3 Tage, 4 Stunden"),
        (lambda s: s.span(86_400 + 30), "1 day", "1 Tag"),
        (lambda s: s.span(61), "1 minute, 1 second", "1 Minute, 1 Sekunde"),
        (lambda s: s.span(0), "0 seconds", "0 Sekunden"),
        (lambda s: s.about(131), "2 minutes", "2 Minuten"),
        (lambda s: s.percent(0.021), "2.1%", "2,1%"),
        (lambda s: s.percent(0.5), "50%", "50%"),
        (lambda s: s.size(1536 * 1024), "1.5 MB", "1,5 MB"),
        (lambda s: s.size(12), "12B", "12 B"),
        (lambda s: s.rate(2048), "2 kB/s", "2 kB/s"),
        (lambda s: s("Server %(id)s", id="7"), "Server 7", "Server 7"),
        (lambda s: s("Overview"), "Overview", "Übersicht"),
    ],
)
def test_dates_and_numbers_are_as_people_write_them(said: object, english: str, german: str) -> None:
    def told(language: Speech) -> str:
        return str(said(language)).replace("\N{NO-BREAK SPACE}", " ")  # type: ignore[operator]

    assert (told(ENGLISH), told(GERMAN)) == (english, german)
