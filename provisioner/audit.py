"""The audit: who did what, when, from where and why, in lines that hold each other in place.

Each line has a digest of its content, and a chain over the digests of all lines before it. So a line that was
altered, added or removed afterwards is found, while a line whose content was erased for a customer still
holds its place by its digest, and a pruned head by its last chain.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Any, NamedTuple

from provisioner.redact import redact, redact_text

SERVICE = "service"  # who does what nobody asked for at that moment
LOCAL = "local"  # where a command on the store's own machine comes from
ERASED = "service.erased"  # what a line says was done that emptied others

MOST_REASON = 1000  # characters
MOST_DETAIL = 4000  # characters of JSON
_MOST_WORD = 512  # of an actor, an address, a service's id: none that is right is longer
_MOST_VALUE = 500  # of one text in the detail
# Made once, for each line takes two; what another hand has put there may be of any type.
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=repr).encode
_read = json.JSONDecoder().raw_decode  # of what that wrote, so that no white space is around it


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something was asked for.

    :param address: the caller's IP address, `local` for a command beside the store, '' for work by itself.
    :param user: who runs that command, as the operating system knows them.
    """

    address: str = ""
    user: str = ""


ITSELF = Origin()


class Deed(NamedTuple):
    """What is to be written down. `at` is in milliseconds since the epoch; `vmid` as it is at that moment."""

    at: int
    actor: str
    action: str
    address: str = ""
    billing: str = ""
    service_id: str = ""
    operation: str = ""
    vmid: int | None = None
    reason: str = ""
    detail: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the chain: a line's number, and the chain up to and with it."""

    seq: int = 0
    chain: str = ""


START = Place()


class AuditLine(NamedTuple):
    """One line as it is kept. `detail` is the JSON text that the digest is of; `erased_by` is the number of
    the line that emptied this one."""

    seq: int
    at: int
    actor: str
    address: str
    action: str
    billing: str
    service_id: str
    operation: str
    vmid: int | None
    reason: str
    detail: str
    erased_by: int | None
    digest: str
    chain: str

    @property
    def facts(self) -> dict[str, Any]:
        """The detail, as it was given."""
        return dict(_read(self.detail)[0]) if self.detail else {}

    @property
    def place(self) -> Place:
        return Place(self.seq, self.chain)

    @property
    def content(self) -> tuple[Any, ...]:
        """What the digest is of, in this order."""
        return (
            self.at, self.actor, self.address, self.action, self.billing, self.service_id, self.operation,
            self.vmid, self.reason, self.detail,
        )  # fmt: skip

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of its content, as an erasure leaves it."""
        return self.content == (0, "", "", "", "", "", "", None, "", "")


def line_of(deed: Deed, after: Place) -> AuditLine:
    """The line of a deed behind a place in the chain, bounded and without secrets."""
    content = (
        deed.at,
        _word(deed.actor),
        _word(deed.address),
        _word(deed.action),
        _word(deed.billing),
        _word(deed.service_id),
        _word(deed.operation),
        deed.vmid,
        redact_text(_storable(deed.reason, MOST_REASON)) if deed.reason else "",
        _bounded(deed.detail),
    )
    digest = digest_of(content)
    return AuditLine(after.seq + 1, *content, None, digest, chain_of(after.chain, digest))


def digest_of(content: tuple[Any, ...]) -> str:
    """SHA-256, in hex, of a line's content as one JSON list in ASCII without white space."""
    return sha256(_canonical(content).encode()).hexdigest()


def chain_of(before: str, digest: str) -> str:
    """SHA-256, in hex, of the chain before ('' at the first line) and a digest, both in hex."""
    return sha256(f"{before}{digest}".encode()).hexdigest()


def broken(line: AuditLine, after: Place) -> str:
    """What is wrong with a line that stands behind this place; '' where nothing is.

    Whether the erasure of an empty line is on record is for others to say.
    """
    if line.seq != after.seq + 1:
        is_gap = isinstance(line.seq, int) and line.seq > after.seq
        return f"line {after.seq + 1} was removed" if is_gap else f"line {line.seq} was added"
    if not (digest_of(line.content) == line.digest if line.erased_by is None else line.is_empty):
        return f"line {line.seq} was altered"
    if chain_of(after.chain, line.digest) != line.chain:
        before = f", or line {after.seq} before it" if after.seq else ""
        return f"line {line.seq} was altered{before}: its chain does not go on from there"
    return ""


def _bounded(detail: Mapping[str, Any]) -> str:
    """The detail as JSON, keys in order; what is too long for it is named and left out."""
    given = {name: _cut(value) for name, value in detail.items()}
    text = _canonical(redact(given))
    return text if len(text) <= MOST_DETAIL else _canonical({"left_out": [name[:50] for name in given][:50]})


def _cut(value: object) -> object:
    return _storable(value, _MOST_VALUE) if isinstance(value, str) else value


def _word(text: str) -> str:
    return _storable(text, _MOST_WORD)


def _storable(text: str, most: int) -> str:
    """A text that any database keeps, of at most so many characters."""
    if len(text) <= most and text.isascii() and "\0" not in text:
        return text
    cut = text if len(text) <= most else f"{text[: most - 1]}…"
    return cut.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
