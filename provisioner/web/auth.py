"""Who calls the admin API, and how far that reaches (contract, section 5, and `[admins]` in section 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest, new

from provisioner.audit import ITSELF, Origin
from provisioner.config import Settings
from provisioner.operation import Kind
from provisioner.web.errors import RoleTooLow, TokenInvalid


class Role(StrEnum):
    """What `[admins.<name>] role` may be."""

    READ = "read"
    SUPPORT = "support"
    ADMIN = "admin"


class Need(StrEnum):
    """What a call does, as far as roles go."""

    LOOK = "look"
    WORK = "work"  # one customer's service, nothing that is lost for good
    DECIDE = "decide"  # terminate, link, approve, and what is the whole account's: trust, brakes, pause


REACH: Mapping[Role, frozenset[Need]] = {
    Role.READ: frozenset({Need.LOOK}),
    Role.SUPPORT: frozenset({Need.LOOK, Need.WORK}),
    Role.ADMIN: frozenset(Need),
}
DECISIONS = frozenset({Kind.TERMINATE, Kind.LINK})


def need_of(kind: Kind) -> Need:
    """What it takes to ask for an operation of this kind, to retry it, or to replay its event."""
    return Need.DECIDE if kind in DECISIONS else Need.WORK


@dataclass(frozen=True, slots=True)
class Admin:
    """The person who calls, and from where."""

    name: str
    role: Role
    origin: Origin = ITSELF

    @property
    def actor(self) -> str:
        """The name in timelines and in the audit."""
        return f"admin:{self.name}"

    def reaches(self, need: Need) -> bool:
        """Whether the role goes so far."""
        return need in REACH[self.role]

    def must_reach(self, need: Need) -> None:
        """:raises RoleTooLow: 403."""
        if not self.reaches(need):
            raise RoleTooLow(f"this is not for the role {self.role}")


class Guard:
    """Tells people by their tokens; keeps only the tokens' hashes."""

    def __init__(self, settings: Settings) -> None:
        first = settings.security.admin_token.get_secret_value()
        self._admins = [(_hash(first), Admin("admin", Role.ADMIN))] + [
            (_hash(admin.token.get_secret_value()), Admin(name, Role(admin.role)))
            for name, admin in settings.admins.items()
        ]

    def __repr__(self) -> str:
        return f"Guard({len(self._admins)} admins)"

    def admitted(self, authorization: str) -> Admin:
        """Who the `Authorization` header says that it is; compared with everybody's token, always.

        :raises TokenInvalid: 401.
        """
        scheme, _, token = authorization.partition(" ")
        found = self.known(token.strip(" "))
        if scheme.lower() != "bearer" or found is None:
            raise TokenInvalid("a bearer token of an admin is needed")
        return found

    def known(self, token: str) -> Admin | None:
        """Whose token this is; compared with everybody's, always."""
        given = _hash(token)
        found = [admin for expected, admin in self._admins if compare_digest(expected, given)]
        return found[0] if found else None

    def proof(self, admin: Admin, key: bytes) -> str:
        """What a session keeps of the admin's token: with another token it is another."""
        token = next(hashed for hashed, known in self._admins if known.name == admin.name)
        return new(key, token, sha256).hexdigest()

    def proven(self, name: str, proof: str, keys: Sequence[bytes]) -> Admin | None:
        """The admin of this name, if the token is still the one of the proof."""
        for _, admin in self._admins:
            if admin.name == name and any(compare_digest(self.proof(admin, key), proof) for key in keys):
                return admin
        return None


def _hash(token: str) -> bytes:
    """Of one length for every token, so that comparing tells nothing about the length either."""
    return sha256(token.encode("utf-8", "surrogateescape")).digest()
