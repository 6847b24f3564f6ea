"""What a browser or a link brings back unaltered: signed, dated, and for one purpose alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from itsdangerous import BadData, SignatureExpired, TimestampSigner, URLSafeTimedSerializer

Keys = Callable[[str], Sequence[bytes]]
AHEAD_S = 30  # so far another node's clock may be ahead of ours; itsdangerous takes nothing from the future


class LinkExpired(Exception):
    """It was ours, and its time is over; `payload` is what it said."""

    def __init__(self, payload: Any) -> None:
        super().__init__("expired")
        self.payload = payload


@dataclass(frozen=True, slots=True)
class Signed:
    """Signs and reads the texts of one purpose.

    :param keys: the keys of a purpose, newest first: the first signs, each verifies (`Vault.derive_all`).
    :param purpose: the salt; what was signed for another purpose does not verify.
    :param clock: milliseconds since the epoch.
    """

    keys: Keys
    purpose: str
    clock: Callable[[], int]

    def sign(self, payload: Any) -> str:
        """A URL-safe text that holds the payload (readable by anybody: no secret belongs there)."""
        return str(self._serializer().dumps(payload))

    def read(self, text: str, lasts_s: int) -> Any:
        """What was signed; None where it was not signed here, or for something else.

        :raises LinkExpired: it is older than `lasts_s` seconds.
        """
        try:
            return self._serializer(AHEAD_S).loads(text, max_age=lasts_s + AHEAD_S)
        except SignatureExpired as expired:
            raise LinkExpired(self._serializer().load_payload(expired.payload or b"")) from None
        except (BadData, UnicodeError):  # a lone surrogate is nobody's signature
            return None

    def _serializer(self, ahead_s: int = 0) -> URLSafeTimedSerializer:
        clock = self.clock

        class AtOurTime(TimestampSigner):
            def get_timestamp(self) -> int:
                return clock() // 1000 + ahead_s

        return URLSafeTimedSerializer(
            list(reversed(self.keys(self.purpose))),  # itsdangerous has the newest last
            salt=self.purpose,
            signer=AtOurTime,
            signer_kwargs={"key_derivation": "hmac", "digest_method": sha256},
        )
