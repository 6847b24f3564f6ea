"""`keys rotate` where the settings have the keys, and what `check` and `backup` say of them."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from provisioner import app as wiring
from provisioner.cli import run
from provisioner.cli.serve import serving
from provisioner.config import fresh_secrets, load, starter
from provisioner.store.verbs import SealedCredentials
from provisioner.vault import Vault
from tests.ports import free_port

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))

pytestmark = pytest.mark.usefixtures("logs_as_before")


class Site:
    """One installation whose keys are in its settings."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.config = folder / "config.toml"
        self._capsys = capsys
        self._settings = starter(
            fresh_secrets(),
            listen=f"127.0.0.1:{free_port()}",
            callback_url="http://127.0.0.1:9/",
            upstream_base_url="http://127.0.0.1:9/api/v1",
            upstream_token="t" * 20,
        )

    def take(self, *keys: str) -> None:
        table = f"[security]\nencryption_keys = {json.dumps(keys)}"
        self.config.write_text(self._settings.replace("[security]", table, 1))
        self.config.chmod(0o600)

    def keep(self, key: str) -> None:
        """A password that is still to be delivered, sealed with this key."""
        sealed = Vault([key]).seal("shop/1001", {"password": "secret"})
        with closing(wiring.build(load(self.config, {}))) as app:
            app.store.write(
                lambda verbs: verbs.keep_credentials("shop", "1001", SealedCredentials("v", sealed))
            )

    def run(self, *words: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        status = run([*words, "--config", str(self.config)])
        return (status, *self._capsys.readouterr())


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Site:
    made = Site(tmp_path, capsys)
    made.take(OLD)
    made.keep(OLD)
    return made


def test_rotation_is_refused_until_the_service_has_read_the_new_key(site: Site) -> None:
    """Who was told that it was done would take the former key out, and with it what it sealed."""
    with serving(load(site.config, {})):
        site.take(NEW, OLD)
        status, out, err = site.run("keys", "rotate")
        assert (status, out) == (1, "")
        assert "restart it" in err
    with serving(load(site.config, {})):
        status, out, _ = site.run("keys", "rotate")
        assert (status, out) == (0, "1 secrets are sealed anew with the first of encryption_keys.\n")
    site.take(NEW)
    assert "no key opens" not in site.run("check", "--offline")[1]


def test_single_key_is_not_called_new(site: Site) -> None:
    status, out, _ = site.run("keys", "rotate")
    assert status == 0
    assert "There is no other: for a new key put that one first" in out


def test_rotation_tells_programs_in_json(site: Site) -> None:
    status, out, _ = site.run("keys", "rotate", "--json")
    assert (status, json.loads(out)) == (0, {"resealed": 1})


def test_key_that_was_taken_out_too_early_fails_the_check(site: Site) -> None:
    site.take(OTHER)
    status, out, _ = site.run("check", "--offline")
    assert status == 1
    assert "no key opens 1 of the 1 passwords that are still to be delivered" in " ".join(out.split())
    site.take(OTHER, OLD)
    assert site.run("check", "--offline")[0] == 0


def test_copy_names_the_keys_that_it_needs(site: Site, tmp_path: Path) -> None:
    status, out, _ = site.run("backup", str(tmp_path / "copy.db"))
    assert (status, "It cannot be read without [security] encryption_keys." in out) == (0, True)
    status, out, _ = site.run("backup", "--move", str(tmp_path / "moving.db"))
    assert status == 0
    assert "Take moving.db and the settings along" in out
