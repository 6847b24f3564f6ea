"""The audit from the shell, and whose name stands in it: `admin`, or the person whose token was given."""

from __future__ import annotations

import json
import logging
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provisioner import app as wiring
from provisioner.audit import Deed
from provisioner.cli import client, invocation, run
from provisioner.cli.serve import serving
from provisioner.config import fresh_secrets, load, starter

TOKENS = {"anna": "anna-token-0123456789", "olga": "olga-token-0123456789"}
ADMINS = """
[admins.anna]
token = "anna-token-0123456789"
role = "support"

[admins.olga]
token = "olga-token-0123456789"
role = "admin"
"""


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("PROVISIONER_TOKEN", "PROVISIONER_URL", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    yield
    root = logging.getLogger()
    for handler in [each for each in root.handlers if type(each.formatter).__module__ == "provisioner.logs"]:
        root.removeHandler(handler)


@dataclass
class Site:
    """One installation; what its commands did."""

    config: Path
    capsys: pytest.CaptureFixture[str]
    out: str = ""
    err: str = ""

    def run(self, *words: str) -> int:
        self.capsys.readouterr()
        status = run([*words, "--config", str(self.config)])
        self.out, self.err = self.capsys.readouterr()
        return status

    def audit(self, *words: str) -> list[dict[str, Any]]:
        assert self.run("audit", "list", "--json", *words) == 0, self.err
        items: list[dict[str, Any]] = json.loads(self.out)["items"]
        return items

    def write_down(self, *deeds: Deed) -> None:
        with closing(wiring.build(load(self.config, {}))) as app:
            app.store.write(lambda verbs: [verbs.add_audit(deed) for deed in deeds] and None)


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(client, "PATIENCE_S", 0.0)
    config = tmp_path / "config.toml"
    config.write_text(starter(fresh_secrets(), listen="127.0.0.1:1", upstream_token="a-token") + ADMINS)
    config.chmod(0o600)
    return Site(config, capsys)


@pytest.fixture
def place(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the site's service runs."""
    settings = load(site.config, {})
    server = settings.server.model_copy(update={"listen": "127.0.0.1:0"})
    with serving(settings.model_copy(update={"server": server})) as (place,):
        monkeypatch.setattr(client, "admin_address", lambda _: ("127.0.0.1", int(place.rpartition(":")[2])))
        yield place


# The list


def test_lines_are_listed_for_people(site: Site) -> None:
    site.write_down(
        Deed(1_795_000_000_000, "admin:anna", "terminate.accepted", "192.0.2.7", "shop", "7", vmid=4711)
    )
    assert site.run("audit", "list") == 0
    heads, line = site.out.splitlines()
    assert heads.split() == ["seq", "when", "actor", "address", "action", "vmid", "service", "reason"]
    assert line.split()[:8] == [
        "1", "2026-11-18", "11:06:40", "admin:anna", "192.0.2.7", "terminate.accepted", "4711", "shop/7",
    ]  # fmt: skip


def test_list_is_filtered(site: Site) -> None:
    site.write_down(
        Deed(1_795_000_000_000, "admin:anna", "a", billing="shop", service_id="7", vmid=4711),
        Deed(1_795_100_000_000, "admin:olga", "b", billing="other"),
    )
    for words, found in [
        (["--vmid", "4711"], "a"),
        (["--actor", "admin:olga"], "b"),
        (["--billing", "shop", "--service-id", "7"], "a"),
        (["--since", "2026-11-19"], "b"),
        (["--until", "2026-11-19"], "a"),
        (["--limit", "1"], "b"),
    ]:
        assert [line["action"] for line in site.audit(*words)] == [found], words
    assert site.run("audit", "list", "--since", "yesterday") == 2
    assert "since must be a time such as" in site.err


def test_erased_line_is_said_to_be(site: Site) -> None:
    site.write_down(Deed(1, "admin:anna", "a", billing="shop", service_id="7"))
    with closing(wiring.build(load(site.config, {}))) as app:
        app.store.write(lambda verbs: verbs.erase_audit("shop", "7", Deed(2, "admin:olga", "")))
    assert site.run("audit", "list") == 0
    assert "(erased)" in site.out.splitlines()[-1]


# Who it was

COMMANDS = [
    (["pause"], "work.paused"),
    (["brakes", "reset", "create"], "brake.reset"),
    (["billing", "trust", "shop", "here"], "installation.trusted"),
    (["keys", "rotate"], "keys.rotated"),
]


@pytest.mark.parametrize(("words", "action"), COMMANDS)
def test_command_beside_the_store_is_the_admins(
    site: Site, monkeypatch: pytest.MonkeyPatch, words: list[str], action: str
) -> None:
    monkeypatch.setattr(invocation, "local_user", lambda: "anna as root")
    assert site.run(*words, "--reason", "ticket 12") == 0, site.err
    (line,) = site.audit()
    assert (line["actor"], line["address"], line["action"]) == ("admin:admin", "local", action)
    assert (line["reason"], line["detail"]["user"]) == ("ticket 12", "anna as root")


@pytest.mark.parametrize(("sudo", "user"), [("", "{user}"), ("anna", "anna as {user}")])
def test_user_is_the_operating_systems(monkeypatch: pytest.MonkeyPatch, sudo: str, user: str) -> None:
    import os
    import pwd

    monkeypatch.setenv("SUDO_USER", sudo)
    monkeypatch.setenv("LOGNAME", "somebody")
    assert invocation.local_user() == user.format(user=pwd.getpwuid(os.getuid()).pw_name)


@pytest.mark.parametrize("way", ["variable", "file"])
def test_own_token_acts_as_its_person(
    site: Site, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    words = []
    if way == "variable":
        monkeypatch.setenv("PROVISIONER_TOKEN", TOKENS["olga"])
    else:
        file = tmp_path / "token"
        file.write_text(TOKENS["olga"] + "\n")
        file.chmod(0o600)
        monkeypatch.setenv("PROVISIONER_TOKEN", TOKENS["anna"])
        words = ["--token-file", str(file)]
    assert site.run("pause", "--reason", "ticket 12", *words) == 0, site.err
    (line,) = site.audit()
    assert (line["actor"], line["address"], line["reason"]) == ("admin:olga", "127.0.0.1", "ticket 12")


def test_own_token_reaches_as_far_as_its_role(
    site: Site, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISIONER_TOKEN", TOKENS["anna"])
    assert site.run("pause") == 1
    assert site.err == "Error: this is not for the role support\n"
    assert site.audit() == []


def test_wrong_token_is_not_replaced_by_the_admins(
    site: Site, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISIONER_TOKEN", "wrong-token-0123456789")
    assert site.run("operations", "list") == 1
    assert "a bearer token of an admin is needed" in site.err


def test_own_token_needs_a_service_that_runs(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the store it would be the admin's word, not theirs."""
    monkeypatch.setenv("PROVISIONER_TOKEN", TOKENS["olga"])
    assert site.run("pause") == 1
    assert "is answered by nobody: does `provisioner serve` run there?" in site.err
    assert not site.config.with_name("provisioner.db").exists()


def test_own_token_needs_no_settings(
    site: Site, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has a token of their own need not be able to read everybody's."""
    monkeypatch.setenv("PROVISIONER_TOKEN", TOKENS["anna"])
    monkeypatch.setenv("PROVISIONER_URL", f"{place}/")
    assert run(["operations", "list", "--config", str(tmp_path / "nosuch.toml")]) == 0


@pytest.mark.parametrize(
    "url",
    ["http://provision.example.com", "ftp://127.0.0.1", "provision.example.com", "https://", "http://["],
)
def test_token_is_sent_to_no_open_place(site: Site, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PROVISIONER_TOKEN", TOKENS["anna"])
    monkeypatch.setenv("PROVISIONER_URL", url)
    assert site.run("operations", "list") == 2
    assert "$PROVISIONER_URL must be https://" in site.err


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("x-token", 0o640, "others may read it: chmod 600"),
        ("", 0o600, "is empty"),
        (None, 0, "cannot be read"),
    ],
)
def test_wrong_token_file_is_said(site: Site, tmp_path: Path, text: str | None, mode: int, said: str) -> None:
    file = tmp_path / "token"
    if text is not None:
        file.write_text(text)
        file.chmod(mode)
    assert site.run("operations", "list", "--token-file", str(file)) == 2
    assert said in site.err
    assert "x-token" not in site.err


# Whether it is as it was written


def audited(site: Site) -> tuple[int, dict[str, Any]]:
    status = site.run("check", "--offline", "--json")
    (found,) = [item for item in json.loads(site.out)["items"] if item["check"] == "audit"]
    return status, found


def test_check_reads_every_line(site: Site) -> None:
    site.write_down(*(Deed(at, "admin:anna", "a") for at in range(7)))
    chain = site.audit()[0]["chain"]
    status, found = audited(site)
    assert (status, found["result"]) == (0, "ok")
    assert found["message"] == f"lines read: 7, all as they were written, the last is 7 with chain {chain}"


def test_check_names_the_first_altered_line(site: Site) -> None:
    site.write_down(*(Deed(at, "admin:anna", "a") for at in range(7)))
    with closing(sqlite3.connect(site.config.with_name("provisioner.db"))) as connection, connection:
        connection.execute("UPDATE audit SET actor = 'admin:olga' WHERE seq IN (4, 6)")
    status, found = audited(site)
    assert (status, found["result"]) == (1, "failed")
    assert found["message"] == "lines read: 4; line 4 was altered; what is before it is as it was written"


def test_check_of_a_long_audit_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from provisioner.engine import audit as engine
    from provisioner.web.api import audit as module

    monkeypatch.setattr(module, "verify", lambda verbs, after: engine.verify(verbs, after, 2))
    site.write_down(*(Deed(at, "admin:anna", "a") for at in range(7)))
    assert audited(site)[1]["message"].startswith("lines read: 7, all")
    monkeypatch.setattr(sys.modules["provisioner.cli.check"], "MOST_AUDIT_S", -1.0)
    status, found = audited(site)
    assert (status, found["result"]) == (0, "warning")
    assert found["message"] == "lines read in -1 s: 2, all as they were written; there are more"
