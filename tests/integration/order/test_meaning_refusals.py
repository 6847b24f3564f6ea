"""Contract, section 3, "What an event means": Refused at once or later. What is 422, what 202 and fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from provisioner.operation import State

if TYPE_CHECKING:
    from tests.integration.order.conftest import Life

FAILED = State.FAILED
AT_ONCE: dict[str, tuple[str, dict[str, Any], str]] = {
    "an unknown type": ("service.explode", {}, "unknown_type"),
    "a missing field": ("order.paid", {}, "invalid_field"),
    "a field out of range": ("service.restore", {"backup": "yesterday"}, "invalid_field"),
    "an unknown plan": ("order.paid", {"plan": "vps-xxl"}, "unknown_plan"),
    "a plan not sold here": ("order.paid", {"plan": "vps-m"}, "unknown_plan"),
    "an upgrade to an unknown plan": ("service.upgrade", {"plan": "vps-xxl"}, "unknown_plan"),
    "a link to an unknown plan": ("service.link", {"vmid": 1, "plan": "vps-xxl"}, "unknown_plan"),
    "an option beyond max": ("order.paid", {"plan": "vps-keep", "options": {"mem": 9000}}, "over_max"),
    "an upgrade beyond max": ("service.upgrade", {"plan": "vps-keep", "options": {"mem": 9000}}, "over_max"),
    "an unknown template": ("order.paid", {"plan": "vps-s", "template": "Plan9"}, "unknown_template"),
    "an unknown template to install": ("service.reinstall", {"template": "Plan9"}, "unknown_template"),
    "nothing asked": ("service.upgrade", {"options": {}}, "invalid_field"),
}


@pytest.mark.parametrize("case", AT_ONCE)
def test_refused_at_once_leaves_nothing(make_life: Callable[..., Life], case: str) -> None:
    life = make_life(shop={"plans": ["vps-s", "vps-keep"]})
    life.make()
    life.app.ticks.refresh_templates()
    before = (life.service(), life.operations(), life.vms())
    kind, data, code = AT_ONCE[case]
    assert life.is_refused(kind, **data) == code
    life.idle()
    assert (life.service(), life.operations(), life.vms()) == before


def test_refused_order_makes_no_service(life: Life) -> None:
    life.is_refused("order.paid", plan="vps-xxl")
    assert life.is_refused("service.start") == "unknown_service"


def test_unseen_list_leaves_template_to_upstream(life: Life) -> None:
    assert life.end(life.order(template="Plan9")).error_code == "0xb1"


def test_empty_list_is_no_list(life: Life) -> None:
    life.app.ticks.refresh_templates()
    life.sandbox.settings(templates=[])
    life.app.ticks.refresh_templates()
    assert life.is_refused("order.paid", plan="vps-s", template="Plan9") == "unknown_template"


def test_plan_limits_templates(make_life: Callable[..., Life]) -> None:
    plan = {"template": "Debian10.0", "cpu_cores": 1, "mem": 512, "disk": "5G", "ip_count": 1}
    life = make_life(plans={"vps-d": {**plan, "templates": ["Ubuntu20.04"]}})
    assert life.is_refused("order.paid", plan="vps-d", template="CentOS8") == "unknown_template"
    life.make(plan="vps-d", template="Ubuntu20.04")
    assert life.is_refused("service.reinstall", template="CentOS8") == "unknown_template"


def test_order_of_terminated_is_refused_at_once(life: Life) -> None:
    life.make()
    life.do("service.terminate", immediate=True)
    assert life.is_refused("order.paid", plan="vps-s") == "terminated"


def suspended(life: Life) -> None:
    life.do("service.suspend")


def locked(life: Life) -> None:
    life.do("service.suspend", lock=True)


def terminated(life: Life) -> None:
    life.do("service.terminate", immediate=True)


def paused(life: Life) -> None:
    life.app.commands.pause("admin:anna", "maintenance")


def as_it_is(_: Life) -> None:
    pass


LATER: dict[str, tuple[Callable[[Life], None], str, dict[str, Any]]] = {
    "suspended": (suspended, "service.reboot", {}),
    "terminated": (terminated, "service.reboot", {}),
    "locked": (locked, "service.unsuspend", {}),
    "expired": (paused, "service.reboot", {}),
    "disk_smaller": (as_it_is, "service.upgrade", {"options": {"disk": "5G"}}),
    "unknown_backup": (as_it_is, "service.restore", {"backup": 1}),
    "not_its_ip": (as_it_is, "service.set_rdns", {"ip": "203.0.113.77", "hostname": "web1.example.com"}),
}


@pytest.mark.parametrize("code", LATER)
def test_stored_state_fails_later(life: Life, code: str) -> None:
    """202, then `failed`: nothing was changed, and it is told with words for a customer."""
    vmid = life.make()
    before, kind, data = LATER[code]
    before(life)
    changes = sum(call["method"] != "GET" for call in life.sandbox.calls())
    operation = life.do(kind, **data)
    assert (operation.state, operation.error_code) == (FAILED, code)
    assert sum(call["method"] != "GET" for call in life.sandbox.calls()) == changes
    life.idle()
    told = life.last().data
    assert (life.last().type, told["kind"], told["retryable"]) == ("operation.failed", operation.kind, True)
    assert told["error"] == {"code": code, "message": operation.error_message}
    assert not any(word in told["error"]["message"].lower() for word in ("upstream", "venocix", str(vmid)))


def test_vmid_of_another_service_fails(life: Life) -> None:
    vmid = life.make()
    link = life.do("service.link", "2", vmid=vmid, plan="vps-s")
    assert (link.state, link.error_code) == (FAILED, "vmid_taken")
    assert (life.service("2").status, life.service("1001").vmid) == ("failed", vmid)


def test_vmid_that_is_not_there_fails(life: Life) -> None:
    link = life.do("service.link", vmid=9999, plan="vps-s")
    assert (link.state, link.error_code) == (FAILED, "no_such_vm")


@pytest.mark.parametrize("kind", ["service.start", "service.upgrade", "service.suspend", "service.backup"])
def test_service_without_vm_fails(life: Life, kind: str) -> None:
    life.ask("service.link", vmid=9999, plan="vps-s")
    data = {"plan": "vps-m"} if kind == "service.upgrade" else {}
    assert life.do(kind, **data).error_code == "no_such_vm"


def test_options_without_a_spec_fail_later(life: Life) -> None:
    """Whether anything was ever asked for is stored state, so it is no 422."""
    life.app.commands.cancel(life.order(), "admin:anna")
    assert life.do("service.upgrade", options={"mem": 2048}).error_code == "no_such_vm"


def test_ip_of_unknown_ones_is_tried(life: Life) -> None:
    """Only where all addresses are known can one be refused; else the upstream judges."""
    vmid = life.make()
    life.do("service.upgrade", options={"ip_count": 2})
    told = life.vms()[vmid]["ips"]
    assert life.service().ips == (told[0],)
    assert life.do("service.set_rdns", ip=told[1], hostname="web1.example.com").state is State.SUCCEEDED
    assert life.vms()[vmid]["rdns"] == {told[1]: "web1.example.com"}


@pytest.mark.parametrize(
    "kind",
    [
        "service.start",
        "service.shutdown",
        "service.stop",
        "service.reboot",
        "service.force_reboot",
        "service.reset_password",
        "service.reinstall",
        "service.restore",
    ],
)
def test_action_not_begun_in_time_expires(life: Life, kind: str) -> None:
    life.make()
    life.do("service.backup")
    (backup,) = life.sandbox.backups(4001)
    paused(life)
    asked = life.clock()
    data: dict[str, Any] = {"backup": backup} if kind == "service.restore" else {}
    operation = life.do(kind, **data)
    assert (operation.state, operation.error_code) == (FAILED, "expired")
    assert life.clock() - asked == 900_000


@pytest.mark.parametrize(
    "kind", ["service.suspend", "service.unsuspend", "service.backup", "service.terminate"]
)
def test_what_is_owed_never_expires(life: Life, kind: str) -> None:
    life.make()
    paused(life)
    operation = life.ask(kind)
    life.wait(30 * 86_400)
    assert life.operation(operation).state is State.QUEUED
    life.app.commands.resume()
    assert life.end(operation, 90_000).state is State.SUCCEEDED


def test_refused_token_is_no_beginning(life: Life) -> None:
    life.make()
    life.sandbox.settings(token_refused=True)
    reboot = life.do("service.reboot", "1001")
    assert (reboot.error_code, reboot.sent) == ("expired", False)


@pytest.mark.parametrize("first", ["retried", "approved"])
def test_asking_again_gives_new_time(life: Life, first: str) -> None:
    """A retry and an approval are asked now: the time in which it must begin is counted from here."""
    vmid = life.make()
    if first == "retried":
        paused(life)
        operation = life.do("service.reinstall").id
        life.app.commands.resume()
        life.wait(5_000)
        life.app.commands.retry(operation, "admin:anna")
    else:
        life.sandbox.change(vmid, mem=2048)
        operation = life.do("service.reinstall").id
        assert life.operation(operation).error_code == "config_differs"
        life.wait(5_000)
        life.app.commands.approve(operation, "admin:anna")
    assert life.end(operation).state is State.SUCCEEDED


def test_retried_action_expires_as_well(life: Life) -> None:
    """What was sent before the retry is over: the new try has not begun."""
    life.make()
    life.sandbox.settings(fail_next_job={"error": "0xa3: timeout"})
    reinstall = life.do("service.reinstall")
    assert (reinstall.state, reinstall.sent) == (FAILED, True)
    paused(life)
    life.app.commands.retry(reinstall.id, "admin:anna")
    life.wait(1_000)
    assert life.ended(reinstall.id) == [(FAILED, "expired")]
