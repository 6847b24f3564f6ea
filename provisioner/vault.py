"""Encryption of credentials at rest, the keys for it, and the keys derived from them (design, "Secrets")."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from provisioner.errors import SealBroken, SettingsError

_UNREADABLE = "The stored credentials cannot be read."
_MISSING = (
    "is missing, and a new key could not read what the store holds; must be put back from a backup "
    "(lost for good: `provisioner keys rotate --lost`)"
)
_NO_KEY = "no encryption key opens what is stored"


class Vault:
    """Seals and opens what must not be read in the store; keeps every key, newest first.

    :param keys: Fernet keys, newest first: the first seals, each opens (contract, section 2, [security]).
    :raises SettingsError: if there is none, or one is no Fernet key.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.take(keys)

    def take(self, keys: Sequence[str]) -> None:
        """Goes on with these keys, newest first.

        :raises SettingsError: if there is none, or one is no Fernet key; the former ones stay then.
        """
        if not keys:
            raise SettingsError(["there is no encryption key; at least one is needed"])
        self._fernet = MultiFernet(
            [_fernet(key, f"encryption key {place}") for place, key in enumerate(keys, 1)]
        )
        self._keys = [base64.urlsafe_b64decode(key) for key in keys]

    def __repr__(self) -> str:
        return f"Vault({len(self._keys)} keys)"

    def seal(self, service: str, payload: dict[str, Any]) -> str:
        """`payload`, which JSON can hold, encrypted with the newest key and bound to `service`.

        :param service: whose it is, such as `shop/1001`: it opens for that one alone.
        """
        plain = json.dumps({"service": service, "payload": payload})
        return self._fernet.encrypt(plain.encode()).decode()

    def open(self, service: str, token: str) -> dict[str, Any]:
        """The payload that `token` seals.

        :raises SealBroken: if no key opens it, or it was sealed for another service.
        """
        try:
            sealed = json.loads(self._fernet.decrypt(token.encode()))
        except (InvalidToken, ValueError):
            raise SealBroken(_UNREADABLE, detail=_NO_KEY) from None
        if sealed["service"] != service:
            raise SealBroken(_UNREADABLE, detail=f"what is stored for {service} was sealed for another")
        payload: dict[str, Any] = sealed["payload"]
        return payload

    def reseal(self, token: str) -> str:
        """The same payload for the same service, encrypted anew with the newest key (`keys rotate`).

        :raises SealBroken: if no key opens it.
        """
        try:
            return self._fernet.rotate(token.encode()).decode()
        except (InvalidToken, ValueError):
            raise SealBroken(_UNREADABLE, detail=_NO_KEY) from None

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose (`session`, `panel link` …) from the newest key: what signs."""
        return self.derive_all(purpose)[0]

    def derive_all(self, purpose: str) -> list[bytes]:
        """The same from every key, newest first: what verifies."""
        salt = purpose.encode()
        return [HKDF(SHA256(), length=32, salt=salt, info=b"provisioner").derive(key) for key in self._keys]


def mark_of(vault: Vault) -> str:
    """What tells the newest key from any other, and nothing of it."""
    return vault.derive("mark of a key").hex()[:16]


def badges_of(vault: Vault) -> list[int]:
    """What tells each key from any other, newest first, as a number of 63 bits, and nothing of it."""
    return [int.from_bytes(mark[:8]) >> 1 for mark in vault.derive_all("badge of a key")]


def _fernet(key: str, name: str) -> Fernet:
    try:
        return Fernet(key)
    except ValueError:
        raise SettingsError([f"{name}: is no Fernet key; must be 32 bytes in URL-safe base64"]) from None


def key_file(store: Path) -> Path:
    """Where the keys of an SQLite store are: beside it, with `.keys` after its name."""
    return store.with_name(f"{store.name}.keys")


def load_keys(configured: Sequence[str], store: Path | None, *, store_exists: bool) -> list[str]:
    """The encryption keys, newest first; makes the first one of a new SQLite store (contract, section 2).

    :param configured: [security] encryption_keys; where there are any, no key file is looked at.
    :param store: SQLite's file; None with PostgreSQL.
    :param store_exists: whether the store holds something already: then a key file must be there too.
    :raises SettingsError: if there are no keys and none may be made, or the key file cannot be used.
    """
    if configured:
        return list(configured)
    if store is None:
        raise SettingsError(["[security] encryption_keys: is needed with PostgreSQL"])
    path = key_file(store)
    try:
        if not path.exists():
            if store_exists:
                raise SettingsError([f"{path}: {_MISSING}"])
            make_key_file(path)
        return _read_key_file(path)
    except OSError as error:
        raise _unusable(path, error) from error


def rotate_key_file(path: Path) -> list[str]:
    """Puts a fresh key first in the key file, durably and at once; returns all, newest first.

    :raises SettingsError: if the key file cannot be used; it is then as it was.
    """
    path = path.resolve()  # a link to the file stays one
    try:
        keys = [Fernet.generate_key().decode(), *_read_key_file(path)]
        with _written(path, keys) as new:
            new.replace(path)
        _sync_folder(path)
    except OSError as error:
        raise _unusable(path, error) from error
    return keys


def make_key_file(path: Path) -> None:
    """Makes a key file with a fresh key, durably; one that is there stays.

    :raises OSError: it cannot be written.
    """
    # Unlike a rename, a link never replaces the key that another process has just made.
    with _written(path, [Fernet.generate_key().decode()]) as new, suppress(FileExistsError):
        path.hardlink_to(new)
    _sync_folder(path)


@contextmanager
def _written(path: Path, keys: Sequence[str]) -> Iterator[Path]:
    """A new file beside `path` that holds the keys, on the disk and for its owner alone; gone afterwards."""
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".keys", dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.writelines(f"{key}\n" for key in keys)
            file.flush()
            os.fsync(descriptor)
        yield new
    finally:
        new.unlink(missing_ok=True)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_key_file(path: Path) -> list[str]:
    with path.open(encoding="ascii", errors="replace") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise SettingsError([f"{path}: is open to group or others; must be for its owner: chmod 600"])
        keys = file.read().split()
    if not keys:
        raise SettingsError([f"{path}: is empty; must hold the keys, newest first, as a backup of it does"])
    for place, key in enumerate(keys, 1):
        _fernet(key, f"{path}: key {place}")
    return keys


def _unusable(path: Path, error: OSError) -> SettingsError:
    return SettingsError([f"{path}: cannot be used: {error.strerror}"])
