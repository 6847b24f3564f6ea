"""`provisioner check`, against a sandbox upstream and a stub billing system."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from provisioner import app as wiring
from provisioner.cli import client, run
from provisioner.config import Settings, fresh_secrets, load, starter
from provisioner.sandbox import BillingStub, Sandbox, SandboxServer
from provisioner.store import sqlite as engine
from provisioner.store.verbs import Verbs
from tests.integration.whmcs_stub import whmcs_stub

pytestmark = pytest.mark.usefixtures("logs_as_before")


class Site:
    """One installation and all that `check` asks."""

    def __init__(self, config: Path, sandbox: Sandbox, server: SandboxServer, shop: BillingStub) -> None:
        self.config = config
        self.sandbox = sandbox
        self.server = server
        self.shop = shop

    @property
    def settings(self) -> Settings:
        return load(self.config, {})

    @property
    def store(self) -> Path:
        path = self.settings.store.path
        assert path is not None
        return path

    def start_once(self) -> None:
        """Makes the store and its keys, as a first start does."""
        wiring.build(self.settings).close()

    def add(self, toml: str) -> None:
        self.config.write_text(f"{self.config.read_text()}\n{toml}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(client, "PATIENCE_S", 0.0)
    monkeypatch.setattr(engine, "is_affected", lambda version: False)
    fresh, sandbox = fresh_secrets(), Sandbox()
    config = tmp_path / "config.toml"
    with SandboxServer(sandbox) as server, BillingStub([fresh.webhook_secret]) as shop:
        text = starter(
            fresh,
            listen="127.0.0.1:1",
            callback_url=shop.callback_url,
            upstream_base_url=server.base_url,
            upstream_token=sandbox.settings()["token"],
        )
        config.write_text(text)
        config.chmod(0o600)
        yield Site(config, sandbox, server, shop)


def checked(
    site: Site, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, dict[str, tuple[str, str]]]:
    """The exit status, and what was found: result and message of each check."""
    capsys.readouterr()
    status = run(["check", "--json", "--config", str(site.config), *words])
    items = json.loads(capsys.readouterr().out)["items"]
    return status, {item["check"]: (item["result"], item["message"]) for item in items}


def test_all_is_well(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.start_once()
    status, found = checked(site, capsys)
    results = {check: result for check, (result, _) in found.items()}
    good = ("settings", "tokens", "keys", "store", "audit", "sqlite")
    good += ("upstream", "plans", "billing", "foreign")
    assert status == 0
    # The sandbox tells no date, and nobody is named who could be told.
    assert results == {**dict.fromkeys(good, "ok"), "clock": "warning", "alerts": "warning"}
    assert not any(site.sandbox.settings()["token"] in message for _, message in found.values())


def test_people_get_a_line_each(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--offline", "--config", str(site.config)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ok", "settings", str(site.config)]
    assert [line.split()[1] for line in lines] == ["settings", "tokens", "keys", "store", "sqlite", "alerts"]


def test_check_makes_nothing(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(site, capsys)[0] == 0
    assert [path.name for path in site.config.parent.iterdir()] == ["config.toml"]


def test_offline_asks_nobody(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.server.go_down()
    status, found = checked(site, capsys, "--offline")
    assert status == 0
    assert found.keys() == {"settings", "tokens", "keys", "store", "sqlite", "alerts"}
    assert site.sandbox.calls() == []


def test_logo_that_is_not_there_is_a_warning(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.add('[billing.shop.panel]\nlogo = "logo.svg"')
    logo = site.config.with_name("logo.svg")
    status, found = checked(site, capsys, "--offline")
    words = f"[billing.shop.panel] logo: {logo} is no file that can be read: its name is shown instead"
    assert (status, found["panel"]) == (0, ("warning", words))
    logo.write_text("<svg/>")
    assert "panel" not in checked(site, capsys, "--offline")[1]


def test_readable_settings_are_a_warning(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.config.chmod(0o644)
    status, found = checked(site, capsys, "--offline")
    assert (status, found["settings"][0]) == (0, "warning")


def test_settings_without_plans_are_a_warning(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.config.write_text(site.config.read_text().partition("[plans.")[0])
    status, found = checked(site, capsys, "--offline")
    assert status == 0
    assert found["settings"] == ("warning", f"{site.config}: no order can come without [plans.…]")


def test_missing_keys_fail(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.start_once()
    keys = site.store.with_name(f"{site.store.name}.keys")
    keys.chmod(0o640)
    status, found = checked(site, capsys, "--offline")
    assert (status, found["keys"]) == (1, ("failed", f"{keys} is open to group or others: chmod 600 {keys}"))
    keys.unlink()
    status, found = checked(site, capsys, "--offline")
    assert (status, found["keys"][0]) == (1, "failed")
    assert not keys.exists()


def test_damaged_store_fails(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.start_once()
    site.store.write_bytes(b"no database" * 1000)
    status, found = checked(site, capsys, "--offline")
    assert (status, found["store"][0]) == (1, "failed")
    assert "damaged" in found["store"][1]


def test_missing_folder_fails(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.add('[store]\nurl = "sqlite:///nowhere/provisioner.db"')
    status, found = checked(site, capsys, "--offline")
    assert (status, found["store"][0]) == (1, "failed")


@pytest.mark.parametrize(
    ("version", "result", "status"),
    [((3, 40, 1), "warning", 0), ((3, 51, 3), "ok", 0), ((3, 34, 1), "failed", 1)],
)
def test_sqlite_version_is_judged(
    site: Site,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    version: tuple[int, int, int],
    result: str,
    status: int,
) -> None:
    monkeypatch.setattr(engine, "is_affected", lambda version: version == (3, 40, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    monkeypatch.setattr(sqlite3, "sqlite_version", ".".join(map(str, version)))
    found_status, found = checked(site, capsys, "--offline")
    assert (found_status, found["sqlite"][0]) == (status, result)


def test_hook_files_must_load(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.add('[hooks]\ndirectory = "hooks"')
    status, found = checked(site, capsys, "--offline")
    assert (status, found["hooks"][0]) == (1, "failed")
    folder = site.config.with_name("hooks")
    folder.mkdir()
    (folder / "fine.py").write_text("def before_create(operation):\n    pass\n")
    status, found = checked(site, capsys, "--offline")
    assert (status, found["hooks"]) == (0, ("ok", f"{folder}: files: 1"))
    (folder / "broken.py").write_text("x = 1\ndef before_create(:\n")
    status, found = checked(site, capsys, "--offline")
    assert (status, found["hooks"][0]) == (1, "failed")
    assert "broken.py" in found["hooks"][1]


def test_unreadable_address_fails_and_stays_secret(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.add('[alerts]\nurls = ["json://user:canary@127.0.0.1/", "nosuch://canary@host", "tgram://canary"]')
    status, found = checked(site, capsys, "--offline")
    assert (status, found["alerts"][0]) == (1, "failed")
    assert found["alerts"][1] == "[alerts] urls: Apprise cannot read address 2 (nosuch), 3 (tgram)"
    said = capsys.readouterr()
    assert "canary" not in said.out + said.err


def test_readable_addresses_are_well_and_nothing_is_sent(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.add('[alerts]\nurls = ["json://127.0.0.1:1/"]')
    status, found = checked(site, capsys, "--offline")
    assert (status, found["alerts"]) == (
        0,
        ("ok", "addresses: 1; `provisioner alerts test` writes to each"),
    )


def test_refused_token_fails(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.sandbox.settings(token_refused=True)
    status, found = checked(site, capsys)
    assert (status, found["upstream"][0]) == (1, "failed")
    assert "foreign" not in found


def test_absent_upstream_fails(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.server.go_down()
    status, found = checked(site, capsys)
    assert (status, found["upstream"][0], found["clock"][0]) == (1, "failed", "warning")


@pytest.mark.parametrize("change", ['template = "Arch"', 'templates = ["Debian10.0", "Arch"]'])
def test_unknown_template_fails(site: Site, capsys: pytest.CaptureFixture[str], change: str) -> None:
    other = f"[plans.other]\ncpu_cores = 1\nmem = 1024\ndisk = '10G'\nip_count = 1\n{change}\n"
    site.add(other if change.startswith("template =") else f'{other}template = "Debian10.0"\n')
    status, found = checked(site, capsys)
    assert (status, found["plans"][0]) == (1, "failed")
    assert "Arch" in found["plans"][1]
    assert "Ubuntu20.04" in found["plans"][1]


def test_empty_template_list_is_a_warning(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.sandbox.settings(templates=())
    status, found = checked(site, capsys)
    assert (status, found["plans"][0]) == (0, "warning")


def test_absent_billing_system_fails(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.shop.go_down()
    status, found = checked(site, capsys)
    assert (status, found["billing"][0]) == (1, "failed")


def test_each_thing_that_whmcs_lacks_has_its_line(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    with whmcs_stub() as stub:
        site.add(
            "\n".join(
                ["[billing.w]", *(f"{key} = {json.dumps(value)}" for key, value in stub.settings().items())]
            )
        )
        assert checked(site, capsys)[0] == 0
        stub.forbidden = {"SendEmail", "LogActivity"}
        capsys.readouterr()
        assert run(["check", "--json", "--config", str(site.config)]) == 1
    items = json.loads(capsys.readouterr().out)["items"]
    lacking = [item["message"] for item in items if item["check"] == "billing" and item["result"] == "failed"]
    assert ["SendEmail" in lacking[0], "LogActivity" in lacking[1]] == [True, True]
    assert all(message.startswith("w: ") and "in the API role" in message for message in lacking)
    assert len(lacking) == 2


PULLS = '[billing.whmcs]\nplatform = "whmcs"\ndeliver = "pull"\nsecrets = ["whsec_{secret}"]'


@pytest.mark.parametrize(
    ("ago_s", "result", "words"),
    [
        (None, "warning", "whmcs: it has fetched nothing yet: copy the drop-in into it"),
        (60, "ok", "whmcs: last fetched its deliveries at "),
        (7200, "warning", "look at its cron"),
    ],
)
def test_billing_system_that_fetches_is_asked_of_the_store(
    site: Site, capsys: pytest.CaptureFixture[str], ago_s: int | None, result: str, words: str
) -> None:
    """Nothing can be called there, and nothing can have fetched while no service ran."""
    site.add(PULLS.format(secret="c2VjcmV0LW9mLXRoZS1zaG9wLWZvci10ZXN0cw=="))
    if ago_s is not None:
        with closing(wiring.build(site.settings, lambda: wiring.wall_clock() - ago_s * 1000)) as app:
            app.fetch.offer("whmcs")
    status, found = checked(site, capsys)
    assert (status, found["billing"][0]) == (0, result)
    assert words in found["billing"][1]


def test_unreadable_store_says_nothing_of_fetching(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.start_once()
    site.add(PULLS.format(secret="c2VjcmV0LW9mLXRoZS1zaG9wLWZvci10ZXN0cw=="))
    site.store.write_bytes(b"no database" * 1000)
    status, found = checked(site, capsys)
    assert (status, found["store"][0]) == (1, "failed")
    assert "whmcs" not in found["billing"][1]


def test_foreign_vms_are_counted(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    ours, *_ = [site.sandbox.add_vm()["vmid"] for _ in range(3)]
    with closing(wiring.build(site.settings)) as app:
        order = {"type": "order.paid", "data": {"service_id": "1001", "plan": "vps-s"}}
        app.accept.webhook("shop", "id-1", json.dumps(order).encode())

        def unit(verbs: Verbs) -> None:
            service = verbs.service("shop", "1001")
            assert service is not None
            verbs.save_service(replace(service, vmid=ours))

        app.store.write(unit)
    status, found = checked(site, capsys)
    assert (status, found["foreign"][0]) == (0, "warning")
    assert "VMs that no service here has: 2;" in found["foreign"][1]


class _Late(BaseHTTPRequestHandler):
    """Answers with the date of the day on which the contract was written."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return "Mon, 23 Nov 2020 12:00:00 GMT"

    def log_message(self, format: str, *args: object) -> None:
        pass


class _OnTime(_Late):
    def date_time_string(self, timestamp: float | None = None) -> str:
        return BaseHTTPRequestHandler.date_time_string(self, timestamp)


@pytest.mark.parametrize(("answers", "result"), [(_Late, "warning"), (_OnTime, "ok")])
def test_clock_is_compared(
    site: Site, capsys: pytest.CaptureFixture[str], answers: type[_Late], result: str
) -> None:
    server = HTTPServer(("127.0.0.1", 0), answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        text = site.config.read_text()
        site.config.write_text(text.replace(site.server.base_url, f"http://127.0.0.1:{server.server_port}"))
        found = checked(site, capsys)[1]["clock"]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert found[0] == result
    assert ("ahead" in found[1]) == (result == "warning")


def test_short_token_is_a_warning_and_stays_secret(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(site, capsys, "--offline")[1]["tokens"][0] == "ok"
    site.add(f'[admins.anna]\ntoken = "{"c" * 15}"\nrole = "read"')
    site.add(f'[admins.bert]\ntoken = "{"d" * 16}"\nrole = "read"')
    status, found = checked(site, capsys, "--offline")
    result, words = found["tokens"]
    assert (status, result) == (0, "warning")
    assert words.startswith("[admins.anna] token: shorter than 16 characters")
    assert "c" * 15 not in words
