"""In processes: last night's backup on a new machine, a service that moves, and a key that is lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from provisioner.sandbox import Delivery

PATIENCE_S = 90.0


def told(kind: str, count: int) -> Any:
    seen: set[str] = set()

    def is_there(delivery: Delivery) -> bool:
        if delivery.type == kind:
            seen.add(delivery.data["service_id"])
        return len(seen) >= count

    return is_there


@pytest.fixture
def elsewhere(site: Any, tmp_path: Path) -> Any:
    """The same settings in another folder, as if on another machine, with nothing else there."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "config.toml").write_text(site.config.read_text())
    (folder / "config.toml").chmod(0o600)
    return folder


def take_along(site: Any, folder: Path, *names: str) -> None:
    for name in names:
        shutil.copy2(site.config.with_name(name), folder / name)


def test_service_goes_on_on_another_machine(site: Any, elsewhere: Path, eventually: Any) -> None:
    service = site.serve()
    site.send("order.paid", "1001", "plan=vps-s")
    site.shop.wait_for(told("service.provisioned", 1), PATIENCE_S)
    site.shop.go_down()
    site.send("order.paid", "1002", "plan=vps-s")
    eventually(lambda: len(site.sandbox.state()["vms"]) == 2)
    moved = site.run("backup", "--move", str(elsewhere / "moving.db"))
    assert moved.returncode == 0, moved.stderr
    assert "Put the copy back on one machine only" in moved.stdout

    status, answer = site.send("service.reboot", "1001")
    assert status == 503
    assert "has moved to another machine" in json.dumps(answer)
    service.terminate()
    assert service.wait(PATIENCE_S) == 0
    again = site.run("serve")
    assert again.returncode == 1
    assert "has moved to another machine" in again.stderr
    once_more = site.run("backup", "--move", str(elsewhere / "again.db"))
    assert once_more.returncode == 0, once_more.stderr

    take_along(site, elsewhere, "provisioner.db.keys")
    site.config = elsewhere / "config.toml"
    back = site.run("restore", str(elsewhere / "moving.db"))
    assert "has moved here whole" in back.stdout, back.stderr
    site.shop.come_up()
    site.serve()
    site.shop.wait_for(told("service.provisioned", 2), PATIENCE_S)
    assert len(site.sandbox.state()["vms"]) == 2
    assert all(one.data.get("password") for one in site.deliver_all("service.provisioned", "1002"))


@pytest.mark.parametrize("many", [15, pytest.param(300, marks=pytest.mark.long)])
def test_last_nights_backup_harms_no_vm(site: Any, elsewhere: Path, many: int) -> None:
    """Promise 8: what happened after the copy was taken is not done twice, not undone, and is shown."""
    site.add_settings("\n[safety]\nmax_creates_per_hour = 0\n")
    site.sandbox.settings(job_queued=0.0, job_executing=0.05)
    site.serve()
    for number in range(many):
        assert site.send("order.paid", str(number), "plan=vps-s")[0] == 202
    site.shop.wait_for(told("service.provisioned", many), 200.0)
    copied = site.run("backup", str(elsewhere / "night.db"))
    assert copied.returncode == 0, copied.stderr
    site.send("order.paid", "new", "plan=vps-s")
    site.send("service.terminate", "0", "immediate=true")
    site.shop.wait_for(told("service.terminated", 1), PATIENCE_S)
    site.shop.wait_for(told("service.provisioned", many + 1), PATIENCE_S)
    site.close()
    before = {vm["vmid"] for vm in site.sandbox.state()["vms"]}

    take_along(site, elsewhere, "provisioner.db.keys")
    site.config = elsewhere / "config.toml"
    assert site.run("restore", str(elsewhere / "night.db")).returncode == 0
    calls = len([call for call in site.sandbox.calls() if call["method"] != "GET"])
    site.serve()
    assert site.send("service.reboot", "1")[0] == 202
    shown = json.loads(site.run("restore", "--json").stdout)
    assert shown["recovering"]
    assert [ghost["service_id"] for ghost in shown["reconciliation"]["ghosts"]] == ["0"]
    (made_since,) = shown["reconciliation"]["foreign"]
    assert made_since["vmid"] == max(before)
    assert len([call for call in site.sandbox.calls() if call["method"] != "GET"]) == calls

    finished = site.run("restore", "--finish")
    assert finished.returncode == 0, finished.stderr
    site.shop.wait_for(told("service.action", 1), PATIENCE_S)
    assert {vm["vmid"] for vm in site.sandbox.state()["vms"]} == before


def test_lost_key_is_gone_on_without(site: Any, eventually: Any) -> None:
    service = site.serve()
    site.shop.go_down()
    site.send("order.paid", "1001", "plan=vps-s")
    eventually(lambda: site.run("services", "list", "--status", "active", "--json").stdout.count("1001"))
    service.terminate()
    service.wait(PATIENCE_S)
    site.config.with_name("provisioner.db.keys").unlink()
    refused = site.run("serve")
    assert refused.returncode == 2
    assert "keys rotate --lost" in refused.stderr

    forgotten = site.run("keys", "rotate", "--lost")
    assert forgotten.returncode == 0, forgotten.stderr
    assert "lost: the password of shop 1001; reset it" in forgotten.stdout
    site.shop.come_up()
    site.serve()
    site.send("service.reset_password", "1001")
    site.shop.wait_for(told("service.credentials", 1), PATIENCE_S)
    (vm,) = site.sandbox.state()["vms"]
    assert site.deliver_all("service.credentials")[0].data["password"] == vm["password"]
