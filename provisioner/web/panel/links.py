"""The link by which a billing system sends its customer to the panel, and who comes by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from provisioner.delivery import iso
from provisioner.web.browser.signed import Signed
from provisioner.web.surfaces import Surfaces

PREFIX = "/panel"
LASTS_S = 120  # of a link: a browser follows it at once
REF_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Guest:
    """Who comes: for which service, and who the billing system says that it is (`client:7`, or '')."""

    billing: str
    service_id: str
    who: str = ""

    @property
    def actor(self) -> str:
        """The name in timelines and in the audit."""
        return ":".join(filter(None, ["panel", self.billing, self.who]))

    @property
    def ref(self) -> str:
        """What stands for the service in the panel's addresses. It only picks a cookie, and opens nothing."""
        return sha256(f"{self.billing}/{self.service_id}".encode()).hexdigest()[:REF_DIGITS]

    def as_dict(self) -> dict[str, str]:
        return {"billing": self.billing, "service_id": self.service_id, "who": self.who}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Guest:
        return cls(facts["billing"], facts["service_id"], facts["who"])


@dataclass(frozen=True, slots=True)
class Links:
    """Makes links and reads them."""

    signed: Signed
    public_url: str

    @classmethod
    def of(cls, surfaces: Surfaces) -> Links:
        signed = Signed(surfaces.keys, "panel link", surfaces.clock)
        return cls(signed, surfaces.settings.server.public_url)

    def make(self, guest: Guest) -> dict[str, str]:
        """The answer of `panel.link` (contract, section 3)."""
        until = (self.signed.clock() // 1000 + LASTS_S) * 1000
        url = f"{self.public_url}{PREFIX}/{self.signed.sign(guest.as_dict())}"
        return {"url": url, "expires_at": iso(until)}

    def read(self, token: str) -> Guest | None:
        """Who comes by this link; None where it is none of ours.

        :raises LinkExpired: its time is over.
        """
        facts = self.signed.read(token, LASTS_S)
        return None if facts is None else Guest.of(facts)
