"""The first day of a reseller with living VMs: a dry run, an import, and once more without harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.forked import Forked

QUICK_S = 10.0  # of processor time, which a busy machine does not stretch, for a dry run and an import of 300
PATIENCE_S = 200.0


def file_of(folder: Path, vms: list[dict[str, Any]]) -> Path:
    """As a spreadsheet exports it."""
    lines = ["billing;service_id;vmid;plan;options;ips;status"]
    for number, vm in enumerate(vms, 1001):
        options = "cpu_cores=2 mem=2048" if vm["config"]["mem"] == 2048 else ""
        lines.append(f'shop;{number};{vm["vmid"]};vps-s;{options};"{";".join(vm["ips"])}";Active')
    path = folder / "vms.csv"
    path.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8-sig")
    return path


def worked_s(service: Forked) -> float:
    """The processor time of the service and of all commands that have ended, in seconds."""
    fields = Path(f"/proc/{service.pid}/stat").read_text().rpartition(")")[2].split()
    ended = os.times()
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK") + ended.children_user + ended.children_system


@pytest.mark.timeout(600)
@pytest.mark.parametrize("many", [25, pytest.param(300, marks=pytest.mark.long)])
def test_living_vms_move_in(site: Any, tmp_path: Path, many: int) -> None:
    sizes = [{"cpu_cores": 2, "mem": 2048} if number % 3 == 0 else {} for number in range(many)]
    vms = [site.sandbox.add_vm(**size) for size in sizes]
    before = site.sandbox.state()["vms"]
    service = site.serve()
    file = file_of(tmp_path, vms)
    right = file.read_text("utf-8-sig")

    def import_(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "provisioner", "services", "import", str(file), *words]
        command += ["--config", str(site.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    file.write_text(right.replace("cpu_cores=2 mem=2048", "", 1))
    dry = import_("--dry-run")
    assert dry.returncode == 1, dry.stderr
    assert "asked 1024      there 2048" in dry.stdout
    assert "write into options: cpu_cores=2 mem=2048" in dry.stdout
    assert f"{many} lines: {many - 1} would be linked" in dry.stdout
    assert json.loads(site.run("services", "list", "--json").stdout)["items"] == []

    file.write_text(right)
    began_s = worked_s(service)
    assert import_("--dry-run").returncode == 0
    done = import_("--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert worked_s(service) - began_s < QUICK_S
    assert {item["state"] for item in json.loads(done.stdout)["items"]} <= {"delivering", "succeeded"}

    site.shop.wait_for(many, PATIENCE_S)
    told = [one for one in site.shop.deliveries if one.accepted]
    assert sorted(one.data["vmid"] for one in told) == [vm["vmid"] for vm in vms]
    assert {one.type for one in told} == {"service.provisioned"}
    assert not any("password" in one.data for one in told)

    again = import_()
    assert again.returncode == 0, again.stderr
    assert f"{many} are there already" in again.stdout
    assert site.run("reconcile").stdout == "Store and upstream agree.\n"
    assert {call["method"] for call in site.sandbox.calls()} == {"GET"}
    after = site.sandbox.state()["vms"]
    assert [vm["password"] for vm in after] == [vm["password"] for vm in before]
