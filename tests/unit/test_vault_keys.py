"""Where the encryption keys come from: the settings, or a key file beside the store."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from provisioner.errors import SettingsError
from provisioner.vault import Vault, key_file, load_keys, rotate_key_file

KEY = base64.urlsafe_b64encode(b"a key that is the same every day").decode()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "provisioner.db"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(SettingsError) as caught:
        call()
    (line,) = caught.value.problems
    return line


def test_configured_keys_come_first(store: Path) -> None:
    assert load_keys([KEY], store, store_exists=True) == [KEY]
    assert not key_file(store).exists()


def test_postgresql_needs_configured_keys() -> None:
    words = "[security] encryption_keys: is needed with PostgreSQL"
    assert refusal(lambda: load_keys([], None, store_exists=False)) == words


def test_new_store_gets_a_key(store: Path) -> None:
    keys = load_keys([], store, store_exists=False)
    Vault(keys)
    assert len(keys) == 1
    assert key_file(store).read_text() == f"{keys[0]}\n"


def test_key_file_is_beside_the_store(store: Path) -> None:
    load_keys([], store, store_exists=False)
    assert [path.name for path in store.parent.iterdir()] == ["provisioner.db.keys"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_key_file_is_private(store: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        load_keys([], store, store_exists=False)
        rotate_key_file(key_file(store))
    finally:
        os.umask(before)
    assert mode(key_file(store)) == 0o600


@pytest.mark.parametrize("store_exists", [True, False])
def test_second_start_finds_the_key(store: Path, store_exists: bool) -> None:
    keys = load_keys([], store, store_exists=False)
    assert load_keys([], store, store_exists=store_exists) == keys


def test_lost_key_file_is_not_replaced(store: Path) -> None:
    line = refusal(lambda: load_keys([], store, store_exists=True))
    assert line.startswith(
        f"{key_file(store)}: is missing, and a new key could not read what the store holds"
    )
    assert not key_file(store).exists()


@pytest.mark.parametrize("open_to", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_open_key_file_is_refused(store: Path, open_to: int) -> None:
    load_keys([], store, store_exists=False)
    key_file(store).chmod(open_to)
    line = refusal(lambda: load_keys([], store, store_exists=True))
    assert line == f"{key_file(store)}: is open to group or others; must be for its owner: chmod 600"
    assert refusal(lambda: rotate_key_file(key_file(store))) == line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty; must hold the keys, newest first"),
        ("\n", "is empty; must hold the keys, newest first"),
        (f"{KEY}\ncanary\n", "key 2: is no Fernet key; must be 32 bytes in URL-safe base64"),
        (f"{KEY[:-2]}ß=\n", "key 1: is no Fernet key; must be 32 bytes in URL-safe base64"),
    ],
)
@pytest.mark.parametrize("store_exists", [True, False])
def test_damaged_key_file_is_refused(store: Path, content: str, words: str, store_exists: bool) -> None:
    key_file(store).touch(mode=0o600)
    key_file(store).write_text(content, encoding="utf-8")
    line = refusal(lambda: load_keys([], store, store_exists=store_exists))
    assert line.startswith(f"{key_file(store)}: {words}")
    assert KEY not in line
    assert key_file(store).read_text(encoding="utf-8") == content


def test_absent_folder_is_named(tmp_path: Path) -> None:
    store = tmp_path / "absent" / "provisioner.db"
    line = refusal(lambda: load_keys([], store, store_exists=False))
    assert line == f"{key_file(store)}: cannot be used: No such file or directory"


def test_racing_starts_agree_on_a_key(store: Path) -> None:
    together = Barrier(8)

    def start() -> list[str]:
        together.wait()
        return load_keys([], store, store_exists=False)

    with ThreadPoolExecutor(8) as starts:
        found = [call.result() for call in [starts.submit(start) for _ in range(8)]]
    assert len({tuple(keys) for keys in found}) == 1
    assert [path.name for path in store.parent.iterdir()] == ["provisioner.db.keys"]


def test_rotation_puts_a_key_first(store: Path) -> None:
    before = load_keys([], store, store_exists=False)
    after = rotate_key_file(key_file(store))
    assert after[1:] == before
    assert after[0] not in before
    assert load_keys([], store, store_exists=True) == after


def test_rotated_keys_open_old_seals(store: Path) -> None:
    sealed = Vault(load_keys([], store, store_exists=False)).seal("shop/1001", {"password": "p"})
    assert Vault(rotate_key_file(key_file(store))).open("shop/1001", sealed) == {"password": "p"}


def test_failed_rotation_changes_nothing(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_keys([], store, store_exists=False)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    line = refusal(lambda: rotate_key_file(key_file(store)))
    assert line == f"{key_file(store)}: cannot be used: No space left on device"
    monkeypatch.undo()
    assert load_keys([], store, store_exists=True) == before
    assert [path.name for path in store.parent.iterdir()] == ["provisioner.db.keys"]


def test_absent_key_file_cannot_rotate(store: Path) -> None:
    line = refusal(lambda: rotate_key_file(key_file(store)))
    assert line == f"{key_file(store)}: cannot be used: No such file or directory"


def test_link_to_the_keys_stays(store: Path) -> None:
    load_keys([], store, store_exists=False)
    elsewhere = store.with_name("elsewhere")
    key_file(store).rename(elsewhere)
    key_file(store).symlink_to(elsewhere)
    keys = rotate_key_file(key_file(store))
    assert key_file(store).is_symlink()
    assert elsewhere.read_text().split() == keys


def test_keys_reach_the_disk(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    load_keys([], store, store_exists=False)
    rotate_key_file(key_file(store))
    assert synced == ["file", "folder"] * 2
