"""`services link`, `import`, `unlink` and `move`, against a sandbox upstream, with and without a service."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from provisioner.cli import imports, run
from provisioner.cli.serve import serving
from provisioner.config import fresh_secrets, load, starter
from provisioner.sandbox import BillingStub, Sandbox, SandboxServer
from tests.ports import free_port

HEADER = "billing,service_id,vmid,plan,options\n"

pytestmark = pytest.mark.usefixtures("logs_as_before")


class Site:
    """One installation: its commands, its upstream, its shop."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], server: SandboxServer) -> None:
        self.folder = folder
        self.config = folder / "config.toml"
        self.server = server
        self._capsys = capsys

    @property
    def sandbox(self) -> Sandbox:
        return self.server.sandbox

    def run(self, *words: str | int) -> tuple[int, str, str]:
        """Status, stdout and stderr of a command."""
        self._capsys.readouterr()
        status = run([*map(str, words), "--config", str(self.config)])
        return (status, *self._capsys.readouterr())

    def file(self, text: str, encoding: str = "utf-8") -> str:
        path = self.folder / "vms.csv"
        path.write_text(text, encoding=encoding)
        return str(path)

    def service(self, service_id: str) -> dict[str, Any]:
        status, out, err = self.run("services", "show", "shop", service_id, "--json")
        assert status == 0, err
        return dict(json.loads(out))


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Site]:
    fresh = fresh_secrets()
    with SandboxServer() as server, BillingStub([fresh.webhook_secret]) as shop:
        made = Site(tmp_path, capsys, server)
        made.config.write_text(
            starter(
                fresh,
                listen=f"127.0.0.1:{free_port()}",
                callback_url=shop.callback_url,
                upstream_base_url=server.base_url,
                upstream_token=server.sandbox.settings()["token"],
            )
        )
        made.config.chmod(0o600)
        yield made


@pytest.fixture
def served(site: Site) -> Iterator[Site]:
    """The same while the service runs."""
    with serving(load(site.config, {})):
        yield site


# Link


def test_link_waits_for_its_end(served: Site) -> None:
    vm = served.sandbox.add_vm()
    words = ("--plan", "vps-s", "--ips", vm["ips"][0], "--hostname", "web1.example.com")
    status, out, _ = served.run("services", "link", "shop", "1001", vm["vmid"], *words)
    assert (status, out) == (0, f"linked: shop/1001, VM {vm['vmid']}\n")
    shown = served.service("1001")
    assert (shown["vmid"], shown["ips"], shown["status"]) == (vm["vmid"], vm["ips"], "active")
    assert shown["hostname"] == "web1.example.com"


def test_link_may_be_left_alone(served: Site) -> None:
    served.run("pause")
    vmid = served.sandbox.add_vm()["vmid"]
    link = ("services", "link", "shop", "1001", vmid, "--plan", "vps-s", "--no-wait")
    for said in ("accepted", "being linked already"):
        status, out, _ = served.run(*link)
        assert (status, out.splitlines()[0]) == (0, f"{said}: shop/1001, VM {vmid}")


def test_link_that_stands_still_is_told(served: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "STILL_S", 0.3)
    served.run("pause")
    vmid = served.sandbox.add_vm()["vmid"]
    status, out, _ = served.run("services", "link", "shop", "1001", vmid, "--plan", "vps-s")
    assert status == 1
    assert "is queued" in out


def test_link_without_a_service_is_for_later(site: Site) -> None:
    vmid = site.sandbox.add_vm()["vmid"]
    status, out, _ = site.run("services", "link", "shop", "1001", vmid, "--plan", "vps-s")
    assert (status, out.splitlines()[0]) == (0, f"accepted: shop/1001, VM {vmid}")
    assert "once `provisioner serve` does" in out
    with serving(load(site.config, {})):
        assert site.run("services", "link", "shop", "1001", vmid, "--plan", "vps-s")[0] == 0


def test_link_that_fails_meanwhile_is_told_in_words(served: Site) -> None:
    vmid = served.sandbox.add_vm()["vmid"]
    served.sandbox.fault(path="*/config", kind="error", error="0xb0: no", after=1)
    status, out, err = served.run("services", "link", "shop", "1001", vmid, "--plan", "vps-s")
    assert (status, err) == (1, f"Error: shop/1001, VM {vmid}: not linked\n")
    assert "is failed: 0xb0" in out


def test_what_keeps_a_link_is_told_in_words(site: Site) -> None:
    large, taken = site.sandbox.add_vm(mem=2048)["vmid"], site.sandbox.add_vm()["vmid"]
    with serving(load(site.config, {})):
        assert site.run("services", "link", "shop", "1", taken, "--plan", "vps-s")[0] == 0
    for vmid, told in {
        taken: f"vmid_taken: VM {taken} belongs to service shop/1",
        9999: "no_such_vm: VM 9999 is not in the upstream's list",
        large: "to accept what is there, write into options: mem=2048",
    }.items():
        status, out, err = site.run("services", "link", "shop", "2", vmid, "--plan", "vps-s")
        assert (status, err) == (1, f"Error: shop/2, VM {vmid}: not linked\n")
        assert told in out


WRONG_WORDS = {
    "nosuch 1 4001 --plan vps-s": "unknown_billing",
    "shop 1 4001 --plan nosuch": "unknown_plan",
    "shop 1 4001 --plan vps-s --ips zzz": "invalid_field",
}


@pytest.mark.parametrize("words", WRONG_WORDS)
def test_link_of_what_there_is_not_is_wrong_use(site: Site, words: str) -> None:
    site.sandbox.add_vm(vmid=4001)
    status, out, err = site.run("services", "link", *words.split())
    assert (status, "not linked" in err) == (2, True)
    assert WRONG_WORDS[words] in out


def test_link_takes_options_and_silence(served: Site) -> None:
    vmid = served.sandbox.add_vm(cpu_cores=2, mem=2048)["vmid"]
    words = ("--plan", "vps-s", "--options", "cpu_cores=2 mem=2048", "--status", "suspended", "--quiet")
    assert served.run("services", "link", "shop", "1001", vmid, *words)[0] == 0
    shown = served.service("1001")
    assert (shown["status"], shown["spec"]["mem"]) == ("suspended", 2048)
    assert shown["operations"][0]["state"] == "succeeded"


# Import


def rows(site: Site, count: int) -> str:
    vms = [site.sandbox.add_vm()["vmid"] for _ in range(count)]
    return HEADER + "".join(f"shop,{1000 + vmid},{vmid},vps-s,\n" for vmid in vms)


def test_import_tells_how_it_ended(served: Site) -> None:
    file = served.file(rows(served, 3))
    status, out, _ = served.run("services", "import", file)
    told = "3 lines: 3 are linked, 0 are there already, 0 are under way, 0 do not fit"
    assert (status, out.splitlines()[-1]) == (0, told)
    status, out, _ = served.run("services", "import", file)
    assert (status, "3 are there already" in out) == (0, True)


def test_dry_run_says_what_does_not_fit(site: Site) -> None:
    vmid = site.sandbox.add_vm(mem=2048, cpu_cores=4)["vmid"]
    file = site.file(rows(site, 1) + f"shop,7,{vmid},vps-s,mem=512\nshop,8,,vps-s,\n")
    status, out, err = site.run("services", "import", file, "--dry-run")
    assert (status, err) == (1, "")
    assert out.splitlines()[:8] == [
        f"line 3: shop/7, VM {vmid}",
        f"  config_differs: VM {vmid} is not what plan vps-s and the options say",
        "    cpu_cores  asked 1         there 4",
        "    mem        asked 512       there 2048",
        "    to accept what is there, write into options: cpu_cores=4 mem=2048",
        "line 4: shop/8, VM ?",
        "  invalid_field: vmid is missing",
        f"note: line 2: shop/{1000 + vmid + 1}, VM {vmid + 1}: "
        "0 of 1 addresses are given: the others stay unknown",
    ]
    assert "1 would be linked" in out
    assert json.loads(site.run("services", "list", "--json")[1])["items"] == []


def test_import_with_a_mistake_links_nothing(site: Site) -> None:
    file = site.file(rows(site, 2) + "shop,8,9999,vps-s,\n")
    status, out, _ = site.run("services", "import", file)
    assert (status, out.splitlines()[-1]) == (
        1,
        "Nothing was linked: mend the file, or link what fits with --partial.",
    )
    status, out, _ = site.run("services", "import", file, "--partial")
    assert (status, "2 are accepted" in out) == (1, True)


def test_import_in_json_has_every_line(served: Site) -> None:
    file = served.file(rows(served, 2))
    status, out, _ = served.run("services", "import", file, "--json")
    found = json.loads(out)
    assert (status, found["linked"], found["counts"]["link"]) == (0, True, 2)
    assert {item["state"] for item in found["items"]} <= {"delivering", "succeeded"}
    assert [item["error"] for item in found["items"]] == [None, None]


def test_terminal_sees_how_far_it_is(served: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = io.StringIO()
    monkeypatch.setattr(imports, "_terminal", lambda: Console(file=seen, force_terminal=True))
    file = served.file(rows(served, 2))
    status, out, _ = served.run("services", "import", file, "--json")
    assert (status, len(json.loads(out)["items"])) == (0, 2)
    assert "looking at every VM" in seen.getvalue()
    assert "100%" in seen.getvalue()


def test_many_notes_are_a_few(site: Site) -> None:
    out = site.run("services", "import", site.file(rows(site, 14)), "--dry-run")[1]
    assert out.count("note: line") == imports.MOST_NOTES
    assert "note: 4 more such" in out


def test_file_in_another_encoding_is_told_with_its_line(site: Site) -> None:
    file = site.file(HEADER + "shop,1,4001,größe,\n", encoding="latin-1")
    status, _, err = site.run("services", "import", file)
    assert (status, "line 2 is not UTF-8" in err) == (2, True)


def test_file_of_another_kind_is_told(site: Site) -> None:
    status, _, err = site.run("services", "import", site.file("id;vm\n1;2\n"))
    assert status == 2
    assert "missing: billing" in err or "unknown: id" in err


def test_endless_file_is_not_read_to_its_end(site: Site) -> None:
    status, _, err = site.run("services", "import", "/dev/zero")
    assert (status, "split it" in err) == (2, True)


def test_largest_file_passes_the_call(served: Site) -> None:
    """What a spreadsheet of the greatest size makes fits into the call's body."""
    cells = [("shop", f"ü{number}", 900_000 + number, "vps-s", "x" * 60) for number in range(2000)]
    path = served.folder / "large.csv"
    with path.open("w", newline="") as out:
        csv.writer(out).writerows([HEADER.strip().split(","), *cells])
    found = json.loads(served.run("services", "import", str(path), "--json")[1])
    assert found["counts"]["wrong"] == 2000


# Unlink and move


@pytest.fixture
def linked(served: Site) -> Site:
    vmid = served.sandbox.add_vm(vmid=4001)["vmid"]
    assert served.run("services", "link", "shop", "1001", vmid, "--plan", "vps-s")[0] == 0
    return served


def test_unlink_is_looked_at_first(linked: Site) -> None:
    status, out, _ = linked.run("services", "unlink", "shop", "1001", "--dry-run")
    assert (status, out.startswith("would be unlinked: VM 4001 of shop/1001")) == (0, True)
    assert linked.service("1001")["vmid"] == 4001
    status, out, _ = linked.run("services", "unlink", "shop", "1001", "--reason", "sold")
    assert (status, out.startswith("unlinked: VM 4001 of shop/1001")) == (0, True)
    assert (linked.service("1001")["vmid"], linked.service("1001")["status"]) == (None, "pending")
    out = linked.run("reconcile")[1]
    assert "unlinked from shop/1001 on purpose" in out
    assert linked.run("services", "unlink", "shop", "1001")[0] == 1


def test_move_is_looked_at_first(linked: Site) -> None:
    words = ("services", "move", "shop", "1001", "2002")
    status, out, _ = linked.run(*words, "--dry-run")
    assert (status, out) == (0, "would be moved: VM 4001 from shop/1001 to shop/2002, active\n")
    assert linked.service("1001")["vmid"] == 4001
    status, out, _ = linked.run(*words, "--reason", "clients merged")
    assert (status, out) == (0, "moved: VM 4001 from shop/1001 to shop/2002, active\n")
    assert linked.service("2002")["vmid"] == 4001
    items = json.loads(linked.run("operations", "list", "--vmid", 4001, "--json")[1])["items"]
    assert [item["service_id"] for item in items] == ["2002", "1001"]
    status, _, err = linked.run(*words, "--to-billing", "elsewhere")
    assert (status, err) == (1, "Error: there is no billing system elsewhere\n")


def test_empty_file_is_told(site: Site) -> None:
    status, _, err = site.run("services", "import", site.file(""))
    assert (status, err) == (2, "Error: the file is empty\n")
