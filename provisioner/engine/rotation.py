"""A new encryption key: everything that is sealed is sealed anew with the first (contract, `keys rotate`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from provisioner.audit import ITSELF, SERVICE, Origin
from provisioner.engine.record import NewId, Record
from provisioner.errors import SealBroken, SettingsError, WrongState
from provisioner.store import Store
from provisioner.store.verbs import SealedCredentials, Verbs
from provisioner.vault import Vault, rotate_key_file


@dataclass(slots=True)
class Rotation:
    """Rotates the keys of a running service.

    :param key_file: where SQLite's keys are; None where the settings have them, a new one first.
    """

    store: Store
    vault: Vault
    key_file: Path | None
    clock: Callable[[], int]
    new_id: NewId

    def rotate(self, actor: str = SERVICE, reason: str = "", *, origin: Origin = ITSELF) -> int:
        """Takes a new key and seals everything anew; returns how many secrets that were.

        :raises WrongState: the key file cannot be used, or no key opens what is stored; all is as it was.
        """
        try:
            if self.key_file is not None:
                self.vault.take(rotate_key_file(self.key_file))
            return self.store.write(lambda verbs: self._rotate(verbs, actor, reason, origin))
        except (SettingsError, SealBroken) as error:
            raise WrongState(f"the keys were not rotated: {error.detail}") from error

    def _rotate(self, verbs: Verbs, actor: str, reason: str, origin: Origin) -> int:
        count = self._reseal(verbs)
        record = Record(verbs, self.clock(), self.new_id, origin)
        record.audit("keys.rotated", actor, reason=reason, resealed=count)
        return count

    def _reseal(self, verbs: Verbs) -> int:
        count = 0
        for billing, service_id, credentials in verbs.all_credentials():
            sealed = self.vault.reseal(credentials.sealed)
            verbs.keep_credentials(billing, service_id, SealedCredentials(credentials.version, sealed))
            count += 1
        for delivery in verbs.sealed_deliveries():
            resealed = replace(delivery, sealed=self.vault.reseal(delivery.sealed))
            verbs.save_delivery(resealed, fence=delivery.claims)
            count += 1
        return count
