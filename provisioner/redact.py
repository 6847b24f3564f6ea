"""Secrets taken out before anything is kept or shown: of parsed JSON, of text, of pages that are neither."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote

Scrub = Callable[[str], str]

REDACTED = "[redacted]"
DEEPEST = 32  # levels; deeper than any answer or log line that means something
LONGEST = 100_000  # characters; longer text is no message, and searching it would hold up everybody else

_NAME = (
    r"(?:pass(?:word|wd|phrase)|(?<![a-z])pass(?![a-z])|pwd|secret|token|authorization|credential|cookie"
    r"|(?:api|access|private|encryption)[ _-]?key)"
)
_NAMED = re.compile(_NAME, re.IGNORECASE)
# A name, perhaps the rest of its word and a quote however escaped, a sign, and the value: to the line's end,
# because where the value ends is for its writer to know. Bounded repetitions keep the search linear.
_ASSIGNED = re.compile(
    rf"({_NAME}[\w-]{{0,32}}(?:\\{{0,4}}[\"']|&\#?\w{{1,6}};)?[ \t]{{0,4}}[:=>])\s*[^\n]+", re.IGNORECASE
)
_BEARER = re.compile(r"\b(bearer)\s+\S+", re.IGNORECASE)
_WEBHOOK_SECRET = re.compile(r"whsec_\S+")
_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")
_SUSPECT = re.compile(r"[:=>\s]|whsec_")  # without one of these nothing of the above is in a text
_NESTING = (dict, list, tuple)
_RUN = re.compile(r"[A-Za-z0-9]{12,}")  # so long a piece of a secret is no word of anything else


def unchanged(text: str) -> str:
    """The scrub of somebody who knows no secrets."""
    return text


def redact(value: object, scrub: Scrub = unchanged) -> object:
    """A copy of parsed JSON without secrets: what stands under a secret's name, and those within strings.

    :param value: anything `json.loads` returns, or the fields of a log line.
    :param scrub: takes out values wherever they occur; `scrubber` makes it.
    :returns: containers and strings anew, other values as they are; beyond `DEEPEST` levels `REDACTED`.
    """
    return _redact(value, scrub, DEEPEST)


def redact_text(text: str, scrub: Scrub = unchanged) -> str:
    """The text without known secrets, and without what it says a password, token or the like is.

    :param scrub: takes out values wherever they occur; `scrubber` makes it.
    :returns: of text longer than `LONGEST` only its length.
    """
    if len(text) > LONGEST:
        return f"[{len(text)} characters]"
    text = scrub(text)
    if not _SUSPECT.search(text):
        return text
    text = _ASSIGNED.sub(rf"\1 {REDACTED}", text)
    text = _BEARER.sub(rf"\1 {REDACTED}", text)
    text = _WEBHOOK_SECRET.sub(REDACTED, text)
    return _USERINFO.sub(f"{REDACTED}@", text)


def redact_page(text: str, scrub: Scrub = unchanged) -> str:
    """As `redact_text`, for text of unknown form: nothing that follows a secret's name is left.

    NUL bytes are dropped first, so that a page in UTF-16 hides nothing between them.
    """
    text = redact_text(text.replace("\0", ""), scrub)
    named = _NAMED.search(text)
    return f"{text[: named.end()]} {REDACTED}" if named else text


def scrubber(secrets: Iterable[str]) -> Scrub:
    """What takes the given secrets out of any text, however long, and leaves the rest as it is.

    Made once for secrets that stay. No pattern is made of them: `re` would keep it, and them, for everybody.

    :param secrets: values to take out, also escaped for a URL, for HTML or for JSON; of two that overlap all
        of the longer one goes.
    """
    spellings = {spelling for secret in secrets if secret for spelling in _spellings(secret)}
    longest_first = sorted(spellings, key=len, reverse=True)

    def scrub(text: str) -> str:
        pieces = [text]
        for spelling in longest_first:
            if spelling in text:
                pieces = [rest for piece in pieces for rest in piece.split(spelling)]
        return REDACTED.join(pieces)

    return scrub


def _redact(value: object, scrub: Scrub, levels: int) -> object:
    if isinstance(value, str):
        return redact_text(value, scrub)
    if isinstance(value, bytes):
        return f"[{len(value)} bytes]"
    if not isinstance(value, _NESTING):
        return value
    if levels == 0:
        return REDACTED
    if isinstance(value, dict):
        return {
            redact_text(str(name), scrub): REDACTED
            if _NAMED.search(str(name))
            else _redact(item, scrub, levels - 1)
            for name, item in value.items()
        }
    return [item if type(item) is int else _redact(item, scrub, levels - 1) for item in value]


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield html.escape(secret)
    yield json.dumps(secret)[1:-1]
    yield from _RUN.findall(secret)
