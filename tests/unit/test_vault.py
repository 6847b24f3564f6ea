"""Sealing, opening, rotation and derived keys."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import SealBroken, SettingsError
from provisioner.vault import Vault

OLD, NEW = (base64.urlsafe_b64encode(letter * 32).decode() for letter in (b"o", b"n"))
CREDENTIALS = {"username": "root", "password": "canary-password"}


def test_sealed_credentials_open_again() -> None:
    vault = Vault([NEW])
    assert vault.open("shop/1001", vault.seal("shop/1001", CREDENTIALS)) == CREDENTIALS


@given(
    st.text(),
    st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.booleans())),
)
def test_any_payload_opens_again(service: str, payload: dict[str, Any]) -> None:
    vault = Vault([NEW])
    assert vault.open(service, vault.seal(service, payload)) == payload


def test_seal_shows_nothing() -> None:
    sealed = Vault([NEW]).seal("shop/1001", CREDENTIALS)
    assert "canary-password" not in sealed
    assert b"canary-password" not in base64.urlsafe_b64decode(sealed)


def test_newest_key_seals() -> None:
    sealed = Vault([NEW, OLD]).seal("shop/1001", CREDENTIALS)
    assert Vault([NEW]).open("shop/1001", sealed) == CREDENTIALS
    with pytest.raises(SealBroken):
        Vault([OLD]).open("shop/1001", sealed)


def test_older_keys_still_open() -> None:
    sealed = Vault([OLD]).seal("shop/1001", CREDENTIALS)
    assert Vault([NEW, OLD]).open("shop/1001", sealed) == CREDENTIALS


def test_resealed_needs_no_old_key() -> None:
    sealed = Vault([OLD]).seal("shop/1001", CREDENTIALS)
    resealed = Vault([NEW, OLD]).reseal(sealed)
    assert Vault([NEW]).open("shop/1001", resealed) == CREDENTIALS


def test_moved_seal_is_refused() -> None:
    vault = Vault([NEW])
    sealed = vault.seal("shop/1001", CREDENTIALS)
    with pytest.raises(SealBroken) as caught:
        vault.open("shop/1002", vault.reseal(sealed))
    assert caught.value.detail == "what is stored for shop/1002 was sealed for another"
    assert caught.value.code == "seal_broken"


def test_service_is_in_the_plaintext() -> None:
    sealed = Vault([NEW]).seal("shop/1001", CREDENTIALS)
    assert json.loads(Fernet(NEW).decrypt(sealed))["service"] == "shop/1001"


@pytest.mark.parametrize("token", ["", "x", "gAAAA", "ß", "\ud800", "A" * 200])
def test_broken_seal_is_refused(token: str) -> None:
    vault = Vault([NEW])
    for use in (lambda: vault.open("shop/1001", token), lambda: vault.reseal(token)):
        with pytest.raises(SealBroken) as caught:
            use()
        assert caught.value.public == "The stored credentials cannot be read."


def test_altered_seal_is_refused() -> None:
    vault = Vault([NEW])
    sealed = vault.seal("shop/1001", CREDENTIALS)
    at = len(sealed) // 2
    altered = sealed[:at] + ("A" if sealed[at] != "A" else "B") + sealed[at + 1 :]
    with pytest.raises(SealBroken):
        vault.open("shop/1001", altered)


@pytest.mark.parametrize("keys", [[], [NEW, "short"], [NEW, NEW[:-4]], [NEW, "ß"], [""]])
def test_wrong_keys_are_refused(keys: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        Vault(keys)
    assert NEW not in str(caught.value)


def test_wrong_key_is_counted() -> None:
    with pytest.raises(SettingsError, match="encryption key 2: is no Fernet key"):
        Vault([NEW, "canary"])


def test_keys_show_nowhere() -> None:
    assert repr(Vault([NEW, OLD])) == "Vault(2 keys)"


def test_each_purpose_has_its_key() -> None:
    vault = Vault([NEW])
    assert vault.derive("session") == Vault([NEW]).derive("session")
    assert vault.derive("session") != vault.derive("panel link")
    assert len(vault.derive("session")) == 32


def test_derived_key_is_not_the_key() -> None:
    assert Vault([NEW]).derive("session") != base64.urlsafe_b64decode(NEW)


def test_derived_keys_are_newest_first() -> None:
    vault = Vault([NEW, OLD])
    assert vault.derive_all("session") == [Vault([NEW]).derive("session"), Vault([OLD]).derive("session")]
    assert vault.derive("session") == vault.derive_all("session")[0]


def test_derived_key_stays_the_same() -> None:
    # Written down once: a change would end every session and link at an upgrade.
    assert Vault([NEW]).derive("session").hex() == (
        "0a9c60e240b34877eb20206a5d64612a722fcf02e1f57209cf887fce9ef38700"
    )
