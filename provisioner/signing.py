"""Signs and verifies messages after Standard Webhooks 1.0.0 (contract, sections 3 and 4).

`Signer` decodes its secrets once and serves any number of messages; `sign` and `verify` are thin faces for
those who have one message at hand.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from hmac import compare_digest

from itsdangerous import HMACAlgorithm

from provisioner.errors import SignatureInvalid

ID = "webhook-id"
TIMESTAMP = "webhook-timestamp"
SIGNATURE = "webhook-signature"

TOLERANCE_S = 300  # what the reference libraries use, in both directions
LEAST_KEY_BYTES = 24  # the specification's least

_PREFIX = "whsec_"
_ID = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")  # twelve digits last for 29,000 years; more are a nuisance to int()
_SIGNATURES = re.compile(r".{1,8192}", re.DOTALL)  # more than proxies let through; bounds the work for junk


class Signer:
    """Signs with the first secret, verifies with any of them, so secrets are rotated without a gap.

    :param secrets: each `whsec_` and the key's base64, newest first.
    :raises ValueError: if there is none, or one is malformed; the message does not contain it.
    """

    __slots__ = ("_hmac", "_keys")

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets:
            raise ValueError("at least one webhook secret is needed")
        self._keys = tuple(decode_secret(secret) for secret in secrets)
        self._hmac = HMACAlgorithm(sha256)  # its default is SHA-1

    def sign(self, webhook_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
        """The three headers that prove a message's origin (contract, section 3).

        :param webhook_id: the same at every try of one message.
        :param timestamp_s: the time of this try, in seconds since the epoch.
        :param body: exactly the bytes that are sent.
        :raises ValueError: if no receiver could accept this id or time.
        """
        timestamp = str(timestamp_s)
        if not _ID.fullmatch(webhook_id):
            raise ValueError(f"a {ID} has 1-255 characters of printable ASCII, no space at either end")
        if not _TIMESTAMP.fullmatch(timestamp):
            raise ValueError(f"a {TIMESTAMP} has 1-12 digits")
        signature = self._hmac.get_signature(self._keys[0], _content(webhook_id, timestamp, body))
        return {ID: webhook_id, TIMESTAMP: timestamp, SIGNATURE: f"v1,{b64encode(signature).decode()}"}

    def verify(self, headers: Mapping[str, str], body: bytes, now_s: int) -> str:
        """The webhook-id of a message that is authentic and fresh (contract, section 3).

        :param headers: the message's headers; the case of their names does not matter.
        :param body: the raw bytes as they came, before anything has parsed them.
        :param now_s: the present, in seconds since the epoch.
        :raises SignatureInvalid: whatever is wrong: a header missing or malformed, a time more than
            300 s off in either direction, no signature that fits.
        """
        webhook_id = _header(headers, ID, _ID)
        timestamp = _header(headers, TIMESTAMP, _TIMESTAMP)
        given = _signatures(_header(headers, SIGNATURE, _SIGNATURES))
        if abs(now_s - int(timestamp)) > TOLERANCE_S:
            raise SignatureInvalid(f"{TIMESTAMP} is more than {TOLERANCE_S} s off")
        # One HMAC for each key, not for each pair, which HMACAlgorithm.verify_signature would take: the
        # body may be large and the sender nobody. The comparison is the same, in constant time.
        content = _content(webhook_id, timestamp, body)
        expected = [self._hmac.get_signature(key, content) for key in self._keys]
        if not any(compare_digest(ours, theirs) for ours in expected for theirs in given):
            raise SignatureInvalid("no signature fits")
        return webhook_id


def sign(secrets: Sequence[str], webhook_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """`Signer.sign` for one message; raises ValueError as `Signer` and it do."""
    return Signer(secrets).sign(webhook_id, timestamp_s, body)


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now_s: int) -> str:
    """`Signer.verify` for one message; raises SignatureInvalid as it does, ValueError as `Signer` does."""
    return Signer(secrets).verify(headers, body, now_s)


def decode_secret(secret: str) -> bytes:
    """The key in a webhook secret (contract, section 3: `whsec_` and the key's base64).

    :raises ValueError: if it is none, or has fewer than 24 bytes; the message does not contain it.
    """
    try:
        key = _decode(secret.removeprefix(_PREFIX))
    except ValueError:
        key = b""
    if not secret.startswith(_PREFIX) or len(key) < LEAST_KEY_BYTES:
        raise ValueError(f"a webhook secret is {_PREFIX} and the base64 of at least {LEAST_KEY_BYTES} bytes")
    return key


def _content(webhook_id: str, timestamp: str, body: bytes) -> bytes:
    # An id may hold dots, yet no signed JSON object can be read as another id, time and object: one that
    # began inside a string of the other's would have an odd number of quotes.
    return b".".join((webhook_id.encode(), timestamp.encode(), body))


def _header(headers: Mapping[str, str], name: str, shape: re.Pattern[str]) -> str:
    values = [value for given, value in headers.items() if given.lower() == name]
    if len(values) != 1 or not shape.fullmatch(values[0]):
        raise SignatureInvalid(f"{name} is missing or malformed")
    return values[0]


def _signatures(header: str) -> list[bytes]:
    """The well-formed v1 signatures of a header; one that is malformed or of another version is not there."""
    signatures = (_signature(item) for item in header.split(" "))
    return [signature for signature in signatures if len(signature) == sha256().digest_size]


def _signature(item: str) -> bytes:
    version, _, encoded = item.partition(",")
    try:
        return _decode(encoded) if version == "v1" else b""
    except ValueError:
        return b""


def _decode(text: str) -> bytes:
    """Base64 as its encoder writes it: `validate` still lets stray bits pass in the last character."""
    raw = b64decode(text, validate=True)
    if b64encode(raw).decode() != text:
        raise ValueError("not canonical base64")
    return raw
