"""Contract, section 3, "What an event means": Spec. One test for each of its sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from provisioner.operation import State
from provisioner.service import Spec

if TYPE_CHECKING:
    from tests.integration.order.conftest import Life

SMALL = Spec("Debian10.0", 1, 1024, "10G", 1)


def edit_plan(life: Life, name: str, **changes: Any) -> None:
    """What a person does to config.toml, and the restart after it."""
    settings = life.app.settings
    edited = settings.plans[name].model_copy(update=changes)
    settings = settings.model_copy(update={"plans": {**settings.plans, name: edited}})
    life.app.accept.settings = life.app.advance.settings = life.app.commands.settings = settings


def really_is(life: Life) -> dict[str, Any]:
    """The size that the service's VM really has."""
    vmid = life.service().vmid
    assert vmid is not None
    return dict(life.vms()[vmid]["config"])


def size(spec: Spec) -> dict[str, Any]:
    return {name: value for name, value in spec.as_dict().items() if name != "template"}


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("order.paid", {"plan": "vps-m"}),
        ("service.upgrade", {"plan": "vps-m"}),
        ("service.upgrade", {"options": {"cpu_cores": 2, "mem": 4096, "disk": "40G"}}),
    ],
    ids=["an order", "an upgrade to a plan", "an upgrade of options"],
)
def test_spec_is_stored_when_accepted(life: Life, kind: str, asked: dict[str, Any]) -> None:
    if kind != "order.paid":
        life.make()
    operation = life.ask(kind, **asked)
    edit_plan(life, "vps-m", mem=512, cpu_cores=9)
    edit_plan(life, "vps-s", mem=512, cpu_cores=9)
    assert life.end(operation).state is State.SUCCEEDED
    assert really_is(life) == size(Spec("Debian10.0", 2, 4096, "40G", 1))


def test_edited_plan_changes_no_service(life: Life) -> None:
    life.make()
    edit_plan(life, "vps-s", mem=8192)
    life.do("service.upgrade", options={"cpu_cores": 2})
    assert life.service().spec == Spec("Debian10.0", 2, 1024, "10G", 1)
    assert really_is(life) == size(Spec("Debian10.0", 2, 1024, "10G", 1))


@pytest.mark.parametrize(
    ("template", "expected"),
    [({}, "Debian10.0"), ({"template": "Ubuntu20.04"}, "Ubuntu20.04")],
    ids=["the plan's template", "another template"],
)
def test_order_lays_options_over_plan(life: Life, template: dict[str, str], expected: str) -> None:
    vmid = life.make(plan="vps-m", options={"mem": 2048, "ip_count": 2}, **template)
    assert life.service().spec == Spec(expected, 2, 2048, "40G", 2)
    assert really_is(life) == size(Spec(expected, 2, 2048, "40G", 2))
    assert life.vms()[vmid]["template"] == expected


def test_upgrade_lays_options_over_plan(life: Life) -> None:
    life.make(options={"ip_count": 2, "cpu_cores": 4})
    life.do("service.upgrade", plan="vps-m", options={"mem": 2048, "ip_count": 3})
    assert life.service().spec == Spec("Debian10.0", 2, 2048, "40G", 3)
    assert life.service().plan == "vps-m"


def test_options_alone_go_over_last_spec(life: Life) -> None:
    life.make(plan="vps-m", options={"mem": 2048})
    life.do("service.upgrade", options={"cpu_cores": 3})
    life.do("service.upgrade", options={"disk": "50G"})
    assert life.service().spec == Spec("Debian10.0", 3, 2048, "50G", 1)
    assert life.service().plan == "vps-m"


def test_options_go_over_pending_upgrade(life: Life) -> None:
    life.make()
    first = life.ask("service.upgrade", plan="vps-m")
    second = life.ask("service.upgrade", options={"cpu_cores": 3})
    life.end(second)
    assert life.ended(first, second) == [(State.SUCCEEDED, "")] * 2
    assert life.service().spec == Spec("Debian10.0", 3, 4096, "40G", 1)
    assert life.service().plan == "vps-m"


def test_options_go_over_pending_order(life: Life) -> None:
    life.order(plan="vps-m")
    life.end(life.ask("service.upgrade", options={"cpu_cores": 3}))
    assert life.service().spec == Spec("Debian10.0", 3, 4096, "40G", 1)


def test_template_in_upgrade_is_ignored(life: Life) -> None:
    vmid = life.make()
    life.do("service.upgrade", options={"mem": 2048}, template="Ubuntu20.04")
    life.idle()
    assert life.last().data["warnings"] == ["template_ignored"]
    assert life.vms()[vmid]["template"] == "Debian10.0"
    assert life.service().spec == Spec("Debian10.0", 1, 2048, "10G", 1)


def test_failed_upgrade_leaves_no_trace(life: Life) -> None:
    life.make()
    assert life.do("service.upgrade", plan="vps-m", options={"disk": "5G"}).error_code == "disk_smaller"
    assert (life.service().spec, life.service().plan) == (SMALL, "vps-s")
    assert life.do("service.upgrade", options={"cpu_cores": 2}).state is State.SUCCEEDED
    assert life.service().spec == Spec("Debian10.0", 2, 1024, "10G", 1)


def test_upgrade_failing_before_leaves_none(life: Life) -> None:
    """The one behind was accepted while nobody could know that the one before would fail."""
    life.make()
    fails = life.ask("service.upgrade", plan="vps-m", options={"disk": "5G"})
    works = life.ask("service.upgrade", options={"cpu_cores": 3})
    life.end(works)
    assert life.ended(fails, works) == [(State.FAILED, "disk_smaller"), (State.SUCCEEDED, "")]
    assert (life.service().spec, life.service().plan) == (Spec("Debian10.0", 3, 1024, "10G", 1), "vps-s")


def test_order_again_leaves_no_trace(life: Life) -> None:
    """An order for a VM that is there makes nothing, so nothing was asked for."""
    life.make()
    life.order(plan="vps-m")
    life.end(life.ask("service.upgrade", options={"cpu_cores": 3}))
    assert (life.service().spec, life.service().plan) == (Spec("Debian10.0", 3, 1024, "10G", 1), "vps-s")


def test_failed_order_leaves_no_trace(life: Life) -> None:
    life.sandbox.settings(fail_next_job={"error": "0xb0: too much"})
    assert life.end(life.order(plan="vps-m")).error_code == "0xb0"
    life.make()
    assert (life.service().spec, life.service().plan) == (SMALL, "vps-s")


def test_kept_values_are_the_spec(life: Life) -> None:
    life.make(options={"ip_count": 2})
    life.do("service.upgrade", plan="vps-keep")
    life.idle()
    assert sorted(life.last().data["warnings"]) == ["disk_kept", "fewer_ips_ignored"]
    kept = Spec("Debian10.0", 1, 2048, "10G", 2)
    assert life.service().spec == kept
    life.do("service.upgrade", options={"mem": 4096})
    life.idle()
    assert life.last().data["warnings"] == []
    assert life.service().spec == Spec("Debian10.0", 1, 4096, "10G", 2)


def test_values_kept_before_stay_kept(life: Life) -> None:
    life.make(options={"ip_count": 2})
    life.ask("service.upgrade", plan="vps-keep")
    life.end(life.ask("service.upgrade", options={"mem": 4096}))
    life.idle()
    assert life.last().data["warnings"] == []
    assert life.service().spec == Spec("Debian10.0", 1, 4096, "10G", 2)


def test_reinstalled_template_survives_upgrade(life: Life) -> None:
    vmid = life.make()
    life.ask("service.reinstall", template="Ubuntu20.04")
    life.end(life.ask("service.upgrade", options={"mem": 2048}))
    assert life.service().spec == Spec("Ubuntu20.04", 1, 2048, "10G", 1)
    assert life.vms()[vmid]["template"] == "Ubuntu20.04"


def test_option_beyond_max_is_refused(life: Life) -> None:
    life.make(plan="vps-keep", options={"disk": "10G"})
    assert life.is_refused("service.upgrade", options={"mem": 16384}) == "over_max"
    assert life.is_refused("order.paid", "2", plan="vps-keep", options={"mem": 16384}) == "over_max"


def test_limits_are_those_of_pending_plan(life: Life) -> None:
    life.make()
    life.ask("service.upgrade", plan="vps-keep")
    assert life.is_refused("service.upgrade", options={"mem": 16384}) == "over_max"
