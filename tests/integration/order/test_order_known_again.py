"""Promise 7: a VM is known again right before a terminate, reinstall, restore or change is sent to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from provisioner.operation import Operation, State

if TYPE_CHECKING:
    from tests.integration.order.conftest import Life

HARM: dict[str, tuple[str, str, dict[str, Any]]] = {
    "service.terminate": ("delete", "/delete", {"immediate": True}),
    "service.reinstall": ("send", "/reinstall", {}),
    "service.restore": ("restore", "/backups/restore", {}),
    "service.upgrade": ("send", "/change", {"options": {"cpu_cores": 2}}),
}
each_harm = pytest.mark.parametrize("kind", HARM)


def ask(life: Life, kind: str) -> str:
    data = dict(HARM[kind][2])
    if kind == "service.restore":
        (data["backup"],) = life.vms()[4001]["backups"]
    return life.ask(kind, **data)


def sent(life: Life, kind: str) -> int:
    return sum(call["path"].endswith(HARM[kind][1]) for call in life.sandbox.calls())


@pytest.fixture
def there(life: Life) -> Life:
    life.make()
    assert life.do("service.backup").state is State.SUCCEEDED
    return life


def pause_before(life: Life, operation: str, step: str) -> None:
    """Pauses in such a moment that this step is the next one: all before it was done and seen."""
    while life.operation(operation).step != step:
        claimed = life.take()
        assert claimed is not None
        life.app.commands.pause("admin:anna", "")
        life.app.advance.advance(claimed)
        if life.operation(operation).step != step:
            life.app.commands.resume()


@each_harm
def test_vm_as_it_was_is_taken(there: Life, kind: str) -> None:
    operation = ask(there, kind)
    assert there.end(operation, 3_600).state is State.SUCCEEDED
    assert sent(there, kind) == 1


@each_harm
@pytest.mark.parametrize("when", ["before", "in a pause"])
def test_another_size_is_held(there: Life, kind: str, when: str) -> None:
    operation = ask(there, kind)
    if when == "in a pause":
        pause_before(there, operation, HARM[kind][0])
    there.sandbox.change(4001, mem=2048)
    there.app.commands.resume()
    assert is_held(there.end(operation), "config_differs")
    assert sent(there, kind) == 0


@each_harm
@pytest.mark.parametrize("when", ["before", "in a pause"])
def test_missing_vm_is_held(there: Life, kind: str, when: str) -> None:
    operation = ask(there, kind)
    if when == "in a pause":
        pause_before(there, operation, HARM[kind][0])
    there.sandbox.remove_vm(4001)
    there.app.commands.resume()
    assert is_held(there.end(operation), "vm_not_seen")
    assert sent(there, kind) == 0


@pytest.mark.parametrize("kind", ["service.terminate", "service.reinstall", "service.upgrade"])
def test_new_vm_that_the_list_shows_late_is_not_missing(life: Life, kind: str) -> None:
    """What has never been there has not come back: nothing that follows is held for it either."""
    life.sandbox.settings(list_lag=4)
    create = life.order()
    life.wait(600, until=lambda: bool(life.told()))
    assert life.end(ask(life, kind), 3_600).state is State.SUCCEEDED
    assert life.operation(create).state is State.SUCCEEDED
    if kind != "service.terminate":
        assert life.end(ask(life, "service.terminate"), 3_600).state is State.SUCCEEDED


def test_new_vm_that_is_not_listed_for_long_is_held(life: Life) -> None:
    life.sandbox.settings(list_lag=60)
    life.order()
    life.wait(600, until=lambda: bool(life.told()))
    assert is_held(life.end(ask(life, "service.reinstall"), 30), "vm_not_seen")


@each_harm
def test_vm_that_came_back_is_held(there: Life, kind: str) -> None:
    """The same id and size, and yet it may be somebody else's by now."""
    there.sandbox.remove_vm(4001)
    assert is_held(there.do("service.reinstall"), "vm_not_seen")
    there.app.commands.cancel(there.operations()[-1].id, "admin:anna")
    there.sandbox.settings(reuse_vmids=True)
    assert there.sandbox.add_vm(vmid=4001)["vmid"] == 4001
    if kind == "service.restore":
        there.sandbox.create_backup(4001)
        there.wait(10)
    assert is_held(there.end(ask(there, kind)), "vm_came_back")
    assert sent(there, kind) == 0


@pytest.mark.parametrize("when", ["before", "in the grace"])
def test_id_of_somebody_else_is_not_stopped(there: Life, when: str) -> None:
    """Nothing at all is done to it, the harmless included."""
    terminate = there.ask("service.terminate")
    if when == "in the grace":
        there.reach(terminate, "grace")
    stops = there.calls("PUT", "/shutdown") + there.calls("PUT", "/stop")
    there.sandbox.remove_vm(4001)
    there.sandbox.add_vm(vmid=4001, mem=2048)
    assert is_held(there.end(terminate, 90_000), "config_differs")
    assert there.calls("PUT", "/shutdown") + there.calls("PUT", "/stop") == stops
    assert there.vms()[4001]["power"] == "running"


@each_harm
def test_error_is_no_absence(there: Life, kind: str) -> None:
    there.sandbox.fault(method="GET", path="/datacenter/server", kind="page", times=3)
    there.sandbox.fault(method="GET", path="*/config", kind="error", error="0xa3: timeout", times=2)
    assert there.end(ask(there, kind), 3_600).state is State.SUCCEEDED


@pytest.mark.parametrize("fault", ["drop_after", "page_after", "truncate", "error_after"])
def test_change_may_have_taken_unheard(there: Life, fault: str) -> None:
    """For a change that was sent before, the asked size is as good as the one on record."""
    there.sandbox.fault(method="PUT", path="*/change", kind=fault)
    assert there.do("service.upgrade", options={"mem": 2048}).state is State.SUCCEEDED
    assert there.vms()[4001]["config"]["mem"] == 2048


def test_failed_change_may_have_taken(there: Life) -> None:
    there.sandbox.fault(method="PUT", path="*/change", kind="drop_after")
    there.sandbox.fault(method="GET", path="*/config", kind="error", error="0xb0: no", after=2)
    failed = there.do("service.upgrade", options={"mem": 2048})
    assert (failed.state, failed.error_code) == (State.FAILED, "0xb0")
    there.sandbox.clear_faults()
    assert there.do("service.reinstall").state is State.SUCCEEDED
    there.app.commands.retry(failed.id, "admin:anna")
    assert there.end(failed.id).state is State.SUCCEEDED


def is_held(operation: Operation, code: str) -> bool:
    return (operation.state, operation.error_code) == (State.HELD, code)
