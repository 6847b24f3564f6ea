"""`provisioner reconcile`, against a sandbox upstream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner import app as wiring
from provisioner.cli import run
from provisioner.config import fresh_secrets, load, starter
from provisioner.operation import State
from provisioner.sandbox import Sandbox, SandboxServer
from provisioner.service import ServiceStatus, Spec
from provisioner.store.verbs import Verbs

Reconcile = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.usefixtures("logs_as_before")


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer() as account:
        yield account


@pytest.fixture
def sandbox(server: SandboxServer) -> Sandbox:
    return server.sandbox


@pytest.fixture
def config(tmp_path: Path, server: SandboxServer) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(
        starter(
            fresh_secrets(),
            listen="127.0.0.1:1",
            upstream_base_url=server.base_url,
            upstream_token=server.sandbox.settings()["token"],
        )
    )
    return path


@pytest.fixture
def reconcile(config: Path, capsys: pytest.CaptureFixture[str]) -> Reconcile:
    def ran(*words: str) -> tuple[int, str, str]:
        status = run(["reconcile", "--config", str(config), *words])
        return (status, *capsys.readouterr())

    return ran


def with_store(config: Path, unit: Callable[[Verbs], Any]) -> Any:
    with closing(wiring.build(load(config, {}))) as app:
        return app.store.write(unit)


def own(config: Path, vmid: int) -> None:
    """A service that has this VM, with more memory on record than it has."""
    with closing(wiring.build(load(config, {}))) as app:
        order = {"type": "order.paid", "data": {"service_id": "1001", "plan": "vps-s"}}
        app.accept.webhook("shop", "id-1", json.dumps(order).encode())

    def unit(verbs: Verbs) -> None:
        service = verbs.service("shop", "1001")
        create = verbs.operations_of_service("shop", "1001")[0]
        assert service is not None
        spec = Spec("Debian10.0", 1, 2048, "10G", 1)
        verbs.save_service(replace(service, vmid=vmid, spec=spec, status=ServiceStatus.ACTIVE))
        verbs.save_operation(replace(create, state=State.SUCCEEDED), fence=create.claims)

    with_store(config, unit)


def test_agreement_is_said(reconcile: Reconcile) -> None:
    assert reconcile() == (0, "Store and upstream agree.\n", "")


def test_findings_are_lines(reconcile: Reconcile, sandbox: Sandbox, config: Path) -> None:
    ours, foreign = (sandbox.add_vm()["vmid"] for _ in range(2))
    own(config, ours)
    status, out, _ = reconcile()
    header, *lines = out.splitlines()
    assert status == 0
    assert header.split() == ["found", "vmid", "service", "what", "remedy"]
    assert [line.split()[:2] for line in lines] == [["drift", str(ours)], ["foreign", str(foreign)]]
    assert "mem: asked 2048, there 1024" in lines[0]


@pytest.mark.parametrize(("words", "refreshed"), [([], False), (["--fix"], True)])
def test_only_fix_refreshes_facts(
    reconcile: Reconcile, sandbox: Sandbox, config: Path, words: list[str], refreshed: bool
) -> None:
    own(config, sandbox.add_vm()["vmid"])
    assert reconcile(*words)[0] == 0
    service = with_store(config, lambda verbs: verbs.service("shop", "1001"))
    assert (service.config is not None) == refreshed


def test_json_is_the_whole_answer(reconcile: Reconcile, sandbox: Sandbox) -> None:
    sandbox.add_vm(vmid=4711)
    found: dict[str, Any] = json.loads(reconcile("--json", "--fix")[1])
    assert found.keys() == {"seen_at", "orphans", "ghosts", "drift", "foreign"}
    assert [vm["vmid"] for vm in found["foreign"]] == [4711]


def test_absent_upstream_fails(reconcile: Reconcile, sandbox: Sandbox) -> None:
    sandbox.settings(token_refused=True)
    status, out, err = reconcile()
    assert (status, out) == (1, "")
    assert err.startswith("Error: ")
