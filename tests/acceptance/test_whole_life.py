"""One service's whole life by webhooks alone; every one of the upstream's 20 endpoints is used on the way."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ENDPOINTS = {
    "GET job/{id}",
    "GET server/{id}/status",
    "GET server/{id}/config",
    "POST server/{id}/delete",
    "POST server/{id}/rdns",
    "PUT server/{id}/change",
    "PUT server/{id}/start",
    "PUT server/{id}/shutdown",
    "PUT server/{id}/stop",
    "PUT server/{id}/reboot",
    "PUT server/{id}/reboot/force",
    "PUT server/{id}/reinstall",
    "PUT server/{id}/password/reset",
    "GET server/{id}/backups/list",
    "GET server/{id}/backups/status",
    "PUT server/{id}/backups/create",
    "POST server/{id}/backups/restore",
    "POST server",
    "GET server",
    "GET templates",
}
README = Path(__file__).parents[2] / "README.md"


def endpoint(call: dict[str, Any]) -> str:
    path = call["path"].removeprefix("/").removeprefix("datacenter/")
    return f"{call['method']} {re.sub(r'/[0-9]+', '/{id}', path)}"


def test_whole_life_uses_every_endpoint(site: Any, eventually: Any, capsys: Any) -> None:
    site.replace_setting("[upstream]\n", "[safety]\nterminate_grace = 1\nsuspend_grace = 5\n\n[upstream]\n")
    site.sandbox.settings(shutdown_delay=0.2, backup_duration=0.6, restore_duration=0.6)
    site.serve()
    used: dict[str, set[str]] = {}
    seen = 0

    def does(kind: str, delivered: str, *words: str) -> dict[str, Any]:
        nonlocal seen
        already = len(site.deliver_all(delivered))
        status, answer = site.send(kind, "1001", *words)
        assert status == 202, answer
        told = eventually(lambda: site.deliver_all(delivered)[already:])
        assert not site.deliver_all("operation.failed"), site.deliver_all("operation.failed")[-1].data
        calls = site.sandbox.calls()
        for call in calls[seen:]:
            used.setdefault(endpoint(call), set()).add(kind)
        seen = len(calls)
        return dict(told[-1].data)

    def vm() -> dict[str, Any]:
        (only,) = site.sandbox.state()["vms"]
        return dict(only)

    made = does("order.paid", "service.provisioned", "plan=vps-s", "hostname=web1.example.com")
    eventually(lambda: site.deliver_all("service.action"))
    assert vm()["rdns"] == {made["ips"][0]: "web1.example.com"}
    grown = does("service.upgrade", "service.upgraded", "options.mem=2048", "options.disk=20G")
    assert grown["config"] == {"cpu_cores": 1, "mem": 2048, "disk": "20G", "ip_count": 1}
    for kind, power in (
        ("stop", "stopped"),
        ("start", "running"),
        ("shutdown", "stopped"),
        ("start", "running"),
    ):
        assert does(f"service.{kind}", "service.action")["action"] == kind
        assert vm()["power"] == power
    for kind in ("reboot", "force_reboot"):
        assert does(f"service.{kind}", "service.action")["action"] == kind
    does("service.set_rdns", "service.action", f"ip={made['ips'][0]}", "hostname=web2.example.com")
    assert does("service.reset_password", "service.credentials")["password"] == vm()["password"]
    backup = does("service.backup", "service.backups")["backups"][0]
    assert does("service.restore", "service.restored", f"backup={backup}")["backup"] == backup
    assert does("service.reinstall", "service.credentials")["password"] == vm()["password"]
    assert does("service.suspend", "service.suspended", "reason=overdue")["status"] == "suspended"
    assert vm()["power"] == "stopped"
    assert does("service.unsuspend", "service.unsuspended")["status"] == "active"
    assert vm()["power"] == "running"
    assert does("service.terminate", "service.terminated")["status"] == "terminated"
    assert site.sandbox.state()["vms"] == []

    with capsys.disabled():
        print("\n" + "\n".join(f"  {name:32} {', '.join(sorted(used[name]))}" for name in sorted(used)))
    assert set(used) == ENDPOINTS


def test_readme_names_every_endpoint() -> None:
    table = README.read_text().partition("<!-- endpoints -->")[2].partition("<!-- /endpoints -->")[0]
    assert set(re.findall(r"\| `((?:GET|PUT|POST) [^`]+)` \|", table)) == ENDPOINTS
