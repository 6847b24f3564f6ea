"""One password that was reset from the panel, kept for that session until it was shown (contract, promise 4).

It is sealed a second time, for the session that asked, in the transaction in which the reset succeeds; what
shows it erases it, and after fifteen minutes it is gone unseen. The billing system is told as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from provisioner.errors import SealBroken
from provisioner.logs import Log
from provisioner.operation import Kind, Operation
from provisioner.store import Store
from provisioner.store.verbs import Verbs
from provisioner.upstream import Credentials
from provisioner.vault import Vault

log = Log(__name__)

SESSION = "session"  # in the args of a reset that was asked for in a panel: a digest of that session's id
KEPT_MS = 15 * 60_000
FACT = "shown_once:"


def keep(verbs: Verbs, vault: Vault, operation: Operation, credentials: Credentials, now: int) -> None:
    """A service has new credentials: what was kept of older ones is erased, and these are kept if a reset in
    a panel asked for them."""
    drop(verbs, operation.billing, operation.service_id)
    session = operation.args.get(SESSION)
    if operation.kind is Kind.RESET_PASSWORD and session:
        secret = {"username": credentials.username, "password": credentials.password}
        sealed = vault.seal(_key(operation.billing, operation.service_id, session), secret)
        value = {"session": session, "sealed": sealed, "at": now}
        verbs.set_fact(_name(operation.billing, operation.service_id), value, now)


def drop(verbs: Verbs, billing: str, service_id: str) -> None:
    """Erases what is kept for a service's panel."""
    verbs.drop_fact(_name(billing, service_id))


def drop_all(verbs: Verbs) -> None:
    """Erases everything that is kept."""
    for name in verbs.facts_like(FACT):
        verbs.drop_fact(name)


def reseal(verbs: Verbs, vault: Vault, now: int) -> int:
    """Seals everything that is kept anew with the newest key; returns how much that was.

    :raises SealBroken: no key opens it.
    """
    kept = verbs.facts_like(FACT)
    for name, value in kept.items():
        verbs.set_fact(name, {**value, "sealed": vault.reseal(value["sealed"])}, now)
    return len(kept)


def drop_unreadable(verbs: Verbs, vault: Vault) -> None:
    """Erases what no key opens any more."""
    for name, value in verbs.facts_like(FACT).items():
        try:
            vault.reseal(value["sealed"])
        except SealBroken:
            verbs.drop_fact(name)


@dataclass(slots=True)
class ShownOnce:
    """Shows what is kept. `clock` gives milliseconds since the epoch."""

    store: Store
    vault: Vault
    clock: Callable[[], int]

    def is_kept(self, billing: str, service_id: str, session: str) -> bool:
        """Whether there is a password to be shown in this session.

        :param session: the digest that the reset was asked for with.
        """
        value = self.store.read(lambda verbs: verbs.fact(_name(billing, service_id)))
        return value is not None and value["session"] == session and not self._is_over(value["at"])

    def show(self, billing: str, service_id: str, session: str) -> Credentials | None:
        """The password, erased from the store before this returns; None: there is none for the session."""

        def unit(verbs: Verbs) -> str:
            value = verbs.fact(_name(billing, service_id))
            if value is None or value["session"] != session:
                return ""
            drop(verbs, billing, service_id)
            return "" if self._is_over(value["at"]) else str(value["sealed"])

        sealed = self.store.write(unit)
        if not sealed:
            return None
        try:
            return Credentials(**self.vault.open(_key(billing, service_id, session), sealed))
        except SealBroken as error:
            log.error("password_not_shown", billing=billing, service_id=service_id, error=error.detail)
            return None

    def erase_old(self) -> None:
        """Erases what nobody wanted to see in time."""
        if not self.store.read(self._old):
            return

        def unit(verbs: Verbs) -> None:
            for name in self._old(verbs):
                verbs.drop_fact(name)

        self.store.write(unit)

    def _old(self, verbs: Verbs) -> list[str]:
        return [name for name, value in verbs.facts_like(FACT).items() if self._is_over(value["at"])]

    def _is_over(self, at: int) -> bool:
        return self.clock() - at >= KEPT_MS


def _name(billing: str, service_id: str) -> str:
    return f"{FACT}{billing}/{service_id}"


def _key(billing: str, service_id: str, session: str) -> str:
    """What the vault binds it to: the service and the session."""
    return f"{billing}/{service_id} in {session}"
