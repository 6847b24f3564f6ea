"""Contract, section 4: each delivery's type and data, key for key, with the status of that moment."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from provisioner.operation import State
from provisioner.sandbox import Delivery

if TYPE_CHECKING:
    from tests.integration.order.conftest import Life


def told(operation: str, status: str, **more: Any) -> dict[str, Any]:
    """The data of a delivery: what every one has, and what is this one's own."""
    return {"service_id": "1001", "operation": operation, "status": status, **more}


def last(life: Life) -> Delivery:
    life.idle()
    return life.last()


def test_delivery_is_an_envelope(life: Life) -> None:
    life.make()
    body = json.loads(life.last().body)
    assert list(body) == ["type", "timestamp", "data"]
    told_at = datetime.fromisoformat(body["timestamp"])
    assert told_at.tzinfo is not None
    assert round(told_at.timestamp() * 1000) == life.clock()


def test_provisioned_after_create(life: Life) -> None:
    create = life.order(options={"ip_count": 2}, hostname="web1.example.com", client={"id": "7"})
    life.end(create)
    life.idle()
    provisioned = life.told()[0]
    ((vmid, vm),) = life.vms().items()
    assert provisioned.type == "service.provisioned"
    assert provisioned.data == told(
        create,
        "active",
        vmid=vmid,
        ips=vm["ips"],
        username="root",
        password=vm["password"],
        hostname="web1.example.com",
        warnings=[],
    )


def test_provisioned_without_a_hostname(life: Life) -> None:
    life.make()
    assert life.last().data["hostname"] is None


@pytest.mark.parametrize("status", ["active", "suspended"])
def test_provisioned_after_link(life: Life, status: str) -> None:
    vm = life.sandbox.add_vm(power="running" if status == "active" else "stopped")
    before = life.vms()
    link = life.do(
        "service.link",
        vmid=vm["vmid"],
        plan="vps-m",
        ips=vm["ips"],
        hostname="web1.example.com",
        status=status,
    )
    assert last(life).type == "service.provisioned"
    assert life.last().data == told(
        link.id,
        status,
        vmid=vm["vmid"],
        ips=vm["ips"],
        username="root",
        hostname="web1.example.com",
        warnings=[],
    )
    assert (life.vms(), life.service().ips_complete) == (before, True)
    assert life.do("service.unsuspend").state is State.SUCCEEDED
    assert life.power() == "running"


def test_upgraded_after_change(life: Life) -> None:
    life.make()
    (ip,) = life.service().ips
    change = life.do(
        "service.upgrade", options={"mem": 2048, "cpu_cores": 2, "disk": "20G", "ip_count": 2}, template="X"
    )
    assert last(life).type == "service.upgraded"
    assert life.last().data == told(
        change.id,
        "active",
        config={"cpu_cores": 2, "mem": 2048, "disk": "20G", "ip_count": 2},
        ips=[ip],
        warnings=["template_ignored", "new_ips_unknown"],
    )


def test_upgraded_names_what_was_kept(life: Life) -> None:
    life.make(options={"ip_count": 2})
    life.do("service.suspend")
    change = life.do("service.upgrade", plan="vps-keep")
    assert last(life).data == told(
        change.id,
        "suspended",
        config={"cpu_cores": 1, "mem": 2048, "disk": "10G", "ip_count": 2},
        ips=list(life.service().ips),
        warnings=["fewer_ips_ignored", "disk_kept"],
    )


def test_suspended_and_unsuspended(life: Life) -> None:
    life.make()
    suspend = life.do("service.suspend", reason="overdue")
    assert (last(life).type, life.last().data) == (
        "service.suspended",
        told(suspend.id, "suspended", reason="overdue"),
    )
    unsuspend = life.do("service.unsuspend")
    assert (last(life).type, life.last().data) == (
        "service.unsuspended",
        told(unsuspend.id, "active", reason="overdue"),
    )


def test_terminated_after_terminate(life: Life) -> None:
    life.make()
    terminate = life.do("service.terminate", immediate=True)
    assert (last(life).type, life.last().data) == (
        "service.terminated",
        told(terminate.id, "terminated", reason=""),
    )


@pytest.mark.parametrize("kind", ["service.reinstall", "service.reset_password"])
def test_credentials_are_told(life: Life, kind: str) -> None:
    vmid = life.make()
    before = life.vms()[vmid]["password"]
    operation = life.do(kind)
    password = life.vms()[vmid]["password"]
    assert password != before
    assert (last(life).type, life.last().data) == (
        "service.credentials",
        told(
            operation.id,
            "active",
            vmid=vmid,
            ips=list(life.service().ips),
            username="root",
            password=password,
        ),
    )


def test_backups_and_restored(life: Life) -> None:
    vmid = life.make()
    life.do("service.backup")
    backup = life.do("service.backup")
    times = life.sandbox.backups(vmid)
    assert len(times) == 2
    assert (last(life).type, life.last().data) == (
        "service.backups",
        told(backup.id, "active", backups=times),
    )
    restore = life.do("service.restore", backup=times[1])
    assert (last(life).type, life.last().data) == (
        "service.restored",
        told(restore.id, "active", backup=times[1]),
    )


@pytest.mark.parametrize(
    "action", ["stop", "start", "shutdown", "reboot", "force_reboot", "set_rdns"], ids=str
)
def test_action_is_told(life: Life, action: str) -> None:
    life.make()
    if action == "start":
        life.do("service.stop")
    data = {"ip": life.service().ips[0], "hostname": "web1.example.com"} if action == "set_rdns" else {}
    operation = life.do(f"service.{action}", **data)
    assert (last(life).type, life.last().data) == (
        "service.action",
        told(operation.id, "active", action=action),
    )
    assert life.power() == ("stopped" if action in ("stop", "shutdown") else "running")


def failure(kind: str, code: str, message: str, *, retryable: bool) -> dict[str, Any]:
    return {"kind": kind, "error": {"code": code, "message": message}, "retryable": retryable}


def test_failed_create_is_told(life: Life) -> None:
    life.sandbox.settings(fail_next_job={"error": "0xb0: Requested resources exceed the limits of 4001"})
    create = life.order()
    life.end(create)
    assert last(life).type == "operation.failed"
    assert life.last().data == told(
        create,
        "failed",
        **failure("create", "0xb0", "The server could not be set up.", retryable=True),
    )


def test_superseded_create_is_told(life: Life) -> None:
    life.sandbox.settings(fail_next_job={"error": "0xb0: too much"})
    create = life.order()
    life.end(create)
    life.idle()
    life.order()
    assert [delivery.type for delivery in life.told()] == ["operation.failed"]
    life.idle()
    assert life.told()[1].data["error"]["code"] == "superseded"
    assert life.told()[1].data["retryable"] is False
    assert life.told()[1].data["operation"] == create


def test_cancelled_operation_is_told(life: Life) -> None:
    life.make()
    life.app.commands.pause("admin:anna", "")
    change = life.ask("service.upgrade", plan="vps-m")
    life.app.commands.cancel(change, "admin:anna", "the client changed her mind")
    assert last(life).type == "operation.failed"
    assert life.last().data == told(
        change,
        "active",
        **failure("change", "cancelled", "This was cancelled by the provider.", retryable=False),
    )


def test_expired_operation_is_told(life: Life) -> None:
    life.make()
    life.app.commands.pause("admin:anna", "")
    reboot = life.do("service.reboot")
    assert last(life).data == told(
        reboot.id,
        "active",
        **failure(
            "reboot", "expired", "This could not be begun in time, so it was not done.", retryable=True
        ),
    )


def test_failure_while_suspended_says_so(life: Life) -> None:
    life.make()
    life.do("service.suspend")
    reboot = life.do("service.reboot")
    assert last(life).data == told(
        reboot.id,
        "suspended",
        **failure("reboot", "suspended", "The service is suspended.", retryable=True),
    )


CHECKED = {"message": "The provider checks this before it goes on."}


def test_held_terminate_is_told(life: Life) -> None:
    vmid = life.make()
    terminate = life.ask("service.terminate")
    life.reach(terminate, "grace")
    life.sandbox.change(vmid, mem=2048)
    life.end(terminate, 90_000)
    assert last(life).type == "operation.held"
    assert life.last().data == told(
        terminate, "terminating", kind="terminate", error={"code": "config_differs", **CHECKED}
    )


def test_held_create_is_told(make_life: Callable[..., Life]) -> None:
    life = make_life(safety={"max_creates_per_hour": 1})
    life.make("2")
    create = life.order()
    life.end(create)
    assert last(life).type == "operation.held"
    assert life.last().data == told(create, "pending", kind="create", error={"code": "brake", **CHECKED})


def test_status_is_that_of_its_moment(life: Life) -> None:
    """Told late, each says what was true when it happened."""
    life.billing.go_down()
    life.order()
    life.wait(10)
    life.ask("service.suspend")
    life.wait(10)
    life.ask("service.terminate", immediate=True)
    life.wait(10)
    assert (life.service().status, life.told()) == ("terminated", [])
    life.billing.come_up()
    life.wait(600)
    assert [(delivery.type, delivery.data["status"]) for delivery in life.told()] == [
        ("service.provisioned", "active"),
        ("service.suspended", "suspended"),
        ("service.terminated", "terminated"),
    ]


def test_failed_terminate_says_what_it_was(life: Life) -> None:
    """A terminate that did not come to its end leaves the service what it was before."""
    life.make()
    life.sandbox.fault(method="POST", path="*/delete", kind="error", error="0xb0: no", times=0)
    terminate = life.do("service.terminate", immediate=True)
    assert last(life).data == told(
        terminate.id,
        "active",
        **failure(
            "terminate",
            "0xb0",
            "More resources were asked for than can be given.",
            retryable=True,
        ),
    )
    life.sandbox.clear_faults()
    life.app.commands.retry(terminate.id, "admin:anna")
    assert life.end(terminate.id).state is State.SUCCEEDED
    assert life.vms() == {}


def test_dropped_delivery_comes_again_unchanged(life: Life) -> None:
    """The same id and body, a new time and signature."""
    life.billing.drop(2)
    life.make()
    first, *others = life.billing.deliveries
    assert len(others) == 2
    assert {delivery.webhook_id for delivery in others} == {first.webhook_id}
    assert {delivery.body for delivery in others} == {first.body}
    assert len({delivery.headers["webhook-timestamp"] for delivery in life.billing.deliveries}) == 3


def test_last_password_told_is_the_one_that_works(life: Life) -> None:
    """Three of them, while nobody listens: each delivery has what works, and nothing stays behind."""
    vmid = life.make()
    life.billing.go_down()
    life.ask("service.reset_password")
    life.wait(10)
    life.ask("service.reinstall")
    life.wait(10)
    life.ask("service.reset_password")
    life.wait(10)
    life.billing.come_up()
    life.wait(3_600)
    assert life.types()[-3:] == ["service.credentials"] * 3
    assert life.last().data["password"] == life.vms()[vmid]["password"]
    assert life.app.store.read(lambda verbs: verbs.credentials("shop", "1001")) is None
