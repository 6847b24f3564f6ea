"""A new encryption key: everything that is sealed is sealed anew with the first (contract, `keys rotate`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from provisioner.audit import ITSELF, SERVICE, Origin
from provisioner.delivery import Delivery, DeliveryState
from provisioner.engine import shown_once
from provisioner.engine.record import NewId, Record
from provisioner.errors import SealBroken, SettingsError, WrongState
from provisioner.operation import DELIVERY_FAILED, State
from provisioner.store import Store
from provisioner.store.verbs import SealedCredentials, Verbs
from provisioner.vault import Vault, badges_of, mark_of, rotate_key_file

_UNTOLD = "The work is done, but its password was lost before it could be told."
_LOST_KEY = "no key opens its password any more: retry, which tells it without one, then reset the password"


@dataclass(frozen=True, slots=True)
class Standing:
    """The first key's mark, how many secrets are stored, and how many of them no key opens."""

    first: str
    sealed: int
    unreadable: int


@dataclass(slots=True)
class Rotation:
    """Rotates the keys of a running service. `clock` gives milliseconds since the epoch.

    :param key_file: where SQLite's keys are; None where the settings have them, a new one first.
    """

    store: Store
    vault: Vault
    key_file: Path | None
    clock: Callable[[], int]
    new_id: NewId

    def standing(self) -> Standing:
        """Which key is first, and what is sealed."""

        def sealed(verbs: Verbs) -> list[str]:
            kept = [credentials.sealed for _, _, credentials in verbs.all_credentials()]
            return [*kept, *(delivery.sealed for delivery in verbs.sealed_deliveries())]

        found = self.store.read(sealed)
        return Standing(mark_of(self.vault), len(found), sum(not self._opens(one) for one in found))

    def rotate(self, actor: str = SERVICE, reason: str = "", *, origin: Origin = ITSELF) -> int:
        """Takes a new key and seals everything anew; returns how many secrets that were.

        :raises WrongState: the key file cannot be used, no key opens what is stored, or a process that serves
            the store does not have the newest key; all is as it was.
        """
        try:
            self._refuse_where_unknown()
            if self.key_file is not None:
                self.vault.take(rotate_key_file(self.key_file))
            return self.store.write(lambda verbs: self._rotate(verbs, actor, reason, origin))
        except (SettingsError, SealBroken) as error:
            raise WrongState(f"the keys were not rotated: {error.detail}") from error

    def _refuse_where_unknown(self) -> None:
        """Keys that the settings have are each process's own: one without the newest could open nothing."""
        unknown = self.store.served_without(badges_of(self.vault)[0]) if self.key_file is None else 0
        if unknown:
            raise WrongState(
                f"services that run on this store and do not have the first of encryption_keys: {unknown}; "
                "nothing was changed. Give it to each of them and restart them, then rotate"
            )

    def forget_unreadable(
        self, actor: str, reason: str = "", *, origin: Origin = ITSELF
    ) -> list[tuple[str, str]]:
        """Forgets what no key opens, once the key that did is lost for good.

        A delivery that would have told it is given up, and told without a password when it is retried.

        :raises WrongState: a process that serves the store has not the newest key, and may have the lost one.
        :returns: the services whose password was lost before it was delivered: it must be reset.
        """

        def unit(verbs: Verbs) -> list[tuple[str, str]]:
            record = Record(verbs, self.clock(), self.new_id, origin)
            lost = self._forget(record, actor)
            record.audit("keys.forgotten", actor, reason=reason, services=len(lost))
            return lost

        self._refuse_where_unknown()
        return self.store.write(unit)

    def _forget(self, record: Record, actor: str) -> list[tuple[str, str]]:
        lost = {}
        shown_once.drop_unreadable(record.verbs, self.vault)
        for billing, service_id, credentials in record.verbs.all_credentials():
            if not self._opens(credentials.sealed):
                record.verbs.drop_credentials(billing, service_id)
                lost[billing, service_id] = True
        for delivery in record.verbs.sealed_deliveries():
            if not self._opens(delivery.sealed):
                self._give_up(record, replace(delivery, sealed=""), actor)
                lost[delivery.billing, delivery.service_id] = True
        return list(lost)

    def _opens(self, sealed: str) -> bool:
        try:
            self.vault.reseal(sealed)
        except SealBroken:
            return False
        return True

    def _give_up(self, record: Record, delivery: Delivery, actor: str) -> None:
        given_up = replace(
            delivery, state=DeliveryState.GIVEN_UP, last_error=_LOST_KEY, updated_at=record.now
        )
        record.verbs.save_delivery(given_up, fence=delivery.claims)
        operation = record.verbs.operation(delivery.operation) if delivery.concludes else None
        if operation is not None and operation.state is State.DELIVERING:
            record.fail(operation, DELIVERY_FAILED, _UNTOLD, detail=_LOST_KEY, actor=actor)

    def _rotate(self, verbs: Verbs, actor: str, reason: str, origin: Origin) -> int:
        count = self._reseal(verbs)
        record = Record(verbs, self.clock(), self.new_id, origin)
        record.audit("keys.rotated", actor, reason=reason, resealed=count)
        return count

    def _reseal(self, verbs: Verbs) -> int:
        count = shown_once.reseal(verbs, self.vault, self.clock())
        for billing, service_id, credentials in verbs.all_credentials():
            sealed = self.vault.reseal(credentials.sealed)
            verbs.keep_credentials(billing, service_id, SealedCredentials(credentials.version, sealed))
            count += 1
        for delivery in verbs.sealed_deliveries():
            resealed = replace(delivery, sealed=self.vault.reseal(delivery.sealed))
            verbs.save_delivery(resealed, fence=delivery.claims)
            count += 1
        return count
