"""`services import`: every line is judged against settings, store and upstream, then linked or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provisioner.engine.imports import Judged, Outcome, Report
from provisioner.errors import UpstreamError
from provisioner.operation import Kind, Operation, State
from provisioner.operations.missing import missing_fact
from tests.conftest import World

HEADER = "billing,service_id,vmid,plan,options,ips,hostname,status,tell"
JUDGED = frozenset({"/datacenter/server", "/config", "/status"})


def row(vmid: int, service_id: str = "1001", **cells: str) -> str:
    given = {"billing": "shop", "service_id": service_id, "vmid": str(vmid), "plan": "vps-s", **cells}
    return ",".join(given.get(name, "") for name in HEADER.split(","))


def brought(world: World, *rows: str, dry_run: bool = False, partial: bool = False) -> Report:
    text = "\n".join([HEADER, *rows])
    return world.app.imports.run(text, "admin:anna", dry_run=dry_run, partial=partial)


def judged(world: World, *rows: str) -> Judged:
    """The first line, only judged."""
    return brought(world, *rows, dry_run=True).lines[0]


def codes(one: Judged) -> list[str]:
    return [problem.code for problem in one.problems]


def outcomes(report: Report) -> list[str]:
    return [one.outcome.value for one in report.lines]


def links(world: World) -> list[Operation]:
    return world.app.store.read(lambda verbs: verbs.operations(500, None, kind="link"))


def paths(world: World) -> list[str]:
    return [f"{call['method']} {call['path'].rpartition('/')[2]}" for call in world.sandbox.calls()]


@pytest.fixture
def vm(world: World) -> dict[str, Any]:
    """A living VM that nobody linked."""
    return world.sandbox.add_vm(ip_count=1)


def test_line_that_fits_is_linked_and_told(world: World, vm: dict[str, Any]) -> None:
    (ip,) = vm["ips"]
    report = brought(world, row(vm["vmid"], ips=ip, hostname="web1.example.com"))
    assert (report.linked, outcomes(report)) == (True, ["link"])
    assert world.done(report.lines[0].operation).state is State.SUCCEEDED
    service = world.service()
    assert (service.status, service.vmid, service.plan) == ("active", vm["vmid"], "vps-s")
    assert (service.ips, service.ips_complete, service.hostname) == ((ip,), True, "web1.example.com")
    (told,) = world.told()
    assert (told.type, told.data["vmid"], told.data["ips"]) == ("service.provisioned", vm["vmid"], [ip])
    assert "password" not in told.data


def test_import_changes_nothing_upstream(world: World, vm: dict[str, Any]) -> None:
    before = world.sandbox.state()["vms"]
    world.done(brought(world, row(vm["vmid"])).lines[0].operation)
    assert {call["method"] for call in world.sandbox.calls()} == {"GET"}
    assert [one["password"] for one in world.sandbox.state()["vms"]] == [one["password"] for one in before]


def test_dry_run_changes_nothing_at_all(world: World, vm: dict[str, Any]) -> None:
    report = brought(world, row(vm["vmid"]), dry_run=True)
    assert (report.linked, outcomes(report), report.lines[0].operation) == (False, ["link"], "")
    assert links(world) == []
    assert world.app.store.read(lambda verbs: verbs.service("shop", "1001")) is None


def test_three_hundred_lines_cost_one_list(world: World) -> None:
    vms = [world.sandbox.add_vm()["vmid"] for _ in range(300)]
    report = brought(world, *(row(vmid, str(vmid)) for vmid in vms), dry_run=True)
    assert report.count(Outcome.LINK) == 300
    assert sorted(set(paths(world))) == ["GET config", "GET server"]
    assert (world.calls("GET /datacenter/server"), len(paths(world))) == (1, 301)


def test_another_config_is_shown_side_by_side(world: World) -> None:
    vm = world.sandbox.add_vm(cpu_cores=2, mem=2048, disk="20480M")
    found = judged(world, row(vm["vmid"], options="mem=4096"))
    assert (found.outcome, codes(found)) == (Outcome.WRONG, ["config_differs"])
    assert [(one.what, one.asked, one.there) for one in found.differences] == [
        ("cpu_cores", 1, 2),
        ("mem", 4096, 2048),
        ("disk", "10G", "20480M"),
    ]
    assert found.options == "cpu_cores=2 mem=2048 disk=20480M"


def test_same_disk_in_another_unit_fits(world: World) -> None:
    found = judged(world, row(world.sandbox.add_vm(disk="10240M")["vmid"]))
    assert (found.outcome, found.differences, found.options) == (Outcome.LINK, (), "")


def test_proposed_options_are_accepted(world: World) -> None:
    vm = world.sandbox.add_vm(cpu_cores=2, disk="20480M", ip_count=3)
    proposed = judged(world, row(vm["vmid"])).options
    found = judged(world, row(vm["vmid"], options=proposed))
    assert (found.outcome, found.differences) == (Outcome.LINK, ())


def test_all_mistakes_of_all_lines_are_told_at_once(worlds: Callable[..., World]) -> None:
    world = worlds()
    world.done(world.order("1"))
    vm = world.sandbox.add_vm(mem=2048)["vmid"]
    rows = [
        row(vm, "2", billing="shopp"),
        row(vm, "3", plan="vps-x"),
        row(4001, "4", hostname="web_1"),
        row(4001, "5", ips="192.0.2.250 192.0.2.251"),
        row(9999, "5"),
        row(9998, "1"),
    ]
    report = brought(world, *rows)
    assert report.linked is False
    assert [codes(one) for one in report.lines] == [
        ["unknown_billing", "duplicate"],
        ["duplicate", "unknown_plan"],
        ["invalid_field", "duplicate"],
        ["duplicate", "duplicate", "vmid_taken", "too_many_ips"],
        ["duplicate", "no_such_vm"],
        ["has_another_vm", "no_such_vm"],
    ]
    assert [one.line.number for one in report.lines] == [2, 3, 4, 5, 6, 7]
    assert links(world) == []


def test_duplicate_names_the_other_line(world: World, vm: dict[str, Any]) -> None:
    report = brought(world, row(vm["vmid"], "1"), row(vm["vmid"], "2"), row(4711, "1"))
    told = [problem.message for problem in report.lines[0].problems]
    assert told == ["service shop/1 stands in line 4 too", f"VM {vm['vmid']} stands in line 3 too"]


def test_address_of_another_service_is_refused(world: World, vm: dict[str, Any]) -> None:
    world.done(world.order("1"))
    ip = world.service("1").ips[0]
    assert codes(judged(world, row(vm["vmid"], "2", ips=ip))) == ["ip_taken"]
    vms = [world.sandbox.add_vm()["vmid"] for _ in range(2)]
    report = brought(world, row(vms[0], "2", ips="192.0.2.99"), row(vms[1], "3", ips="192.0.2.99"))
    assert [codes(one) for one in report.lines] == [["duplicate"], ["duplicate"]]


def test_one_mistake_keeps_all_from_being_linked(world: World, vm: dict[str, Any]) -> None:
    report = brought(world, row(vm["vmid"], "1"), row(9999, "2"))
    assert (report.linked, outcomes(report)) == (False, ["link", "wrong"])
    assert links(world) == []


def test_partial_links_what_fits(world: World, vm: dict[str, Any]) -> None:
    report = brought(world, row(9999, "2"), row(vm["vmid"], "1"), partial=True)
    assert (report.linked, outcomes(report)) == (True, ["wrong", "link"])
    assert [link.id for link in links(world)] == [report.lines[1].operation]


def test_same_file_may_be_imported_again(world: World, vm: dict[str, Any]) -> None:
    text = row(vm["vmid"], ips=vm["ips"][0], hostname="web1.example.com")
    world.done(brought(world, text).lines[0].operation)
    before, told = world.service(), len(world.told())
    again = brought(world, text)
    world.run(60)
    assert (outcomes(again), again.lines[0].operation) == (["there_already"], "")
    assert (world.service(), len(world.told())) == (before, told)


def test_open_link_is_not_asked_for_twice(world: World, vm: dict[str, Any]) -> None:
    world.app.commands.pause("admin:anna", "")
    first = brought(world, row(vm["vmid"]))
    assert outcomes(brought(world, row(vm["vmid"]))) == ["under_way"]
    assert codes(judged(world, row(vm["vmid"], plan="vps-l"))) == ["under_way", "config_differs"]
    assert codes(judged(world, row(vm["vmid"], hostname="web1.example.com"))) == ["under_way"]
    assert [link.id for link in links(world)] == [first.lines[0].operation]


def test_other_facts_of_the_same_vm_are_linked_anew(world: World, vm: dict[str, Any]) -> None:
    world.done(brought(world, row(vm["vmid"])).lines[0].operation)
    again = brought(world, row(vm["vmid"], hostname="web2.example.com"))
    assert outcomes(again) == ["link"]
    world.done(again.lines[0].operation)
    assert world.service().hostname == "web2.example.com"


def test_linked_anew_keeps_what_is_installed(world: World) -> None:
    vmid = world.sandbox.add_vm()["vmid"]
    world.done(brought(world, row(vmid)).lines[0].operation)
    world.done(world.event("service.reinstall", template="Ubuntu20.04"))
    world.done(brought(world, row(vmid, hostname="web2.example.com")).lines[0].operation)
    spec = world.service().spec
    assert spec is not None
    assert spec.template == "Ubuntu20.04"


def test_suspension_outlives_an_import(world: World, vm: dict[str, Any]) -> None:
    world.done(brought(world, row(vm["vmid"])).lines[0].operation)
    world.done(world.event("service.suspend", reason="unpaid"))
    found = judged(world, row(vm["vmid"]))
    assert found.outcome is Outcome.THERE_ALREADY
    assert "suspended here" in found.notes[0]
    world.done(brought(world, row(vm["vmid"], hostname="web2.example.com")).lines[0].operation)
    assert (world.service().status, world.service().suspend_reason) == ("suspended", "unpaid")


def test_suspended_vm_that_runs_is_said_to_be_stopped(world: World) -> None:
    runs, off = (world.sandbox.add_vm(power=power)["vmid"] for power in ("running", "stopped"))
    report = brought(world, row(runs, "1", status="suspended"), row(off, "2", status="suspended"))
    assert [note for note in report.lines[0].notes if "stopped within the hour" in note]
    assert not [note for note in report.lines[1].notes if "stopped" in note]
    for one in report.lines:
        world.done(one.operation)
    world.app.reconcile.tick()
    assert {vm["vmid"]: vm["power"] for vm in world.sandbox.state()["vms"]}[runs] == "stopped"


def test_unknown_addresses_are_noted(world: World) -> None:
    vm = world.sandbox.add_vm(ip_count=2)
    found = judged(world, row(vm["vmid"], options="ip_count=2", ips=vm["ips"][0]))
    assert (found.outcome, found.notes) == (
        Outcome.LINK,
        ("1 of 2 addresses are given: the others stay unknown",),
    )


def test_line_may_keep_the_shop_from_hearing_of_it(world: World, vm: dict[str, Any]) -> None:
    operation = world.done(brought(world, row(vm["vmid"], tell="no")).lines[0].operation)
    assert operation.state is State.SUCCEEDED
    assert world.service().vmid == vm["vmid"]
    assert world.told() == []
    world.done(world.event("service.suspend"))
    assert [one.type for one in world.told()] == ["service.suspended"]


def test_untold_link_is_in_the_audit_all_the_same(world: World, vm: dict[str, Any]) -> None:
    world.done(brought(world, row(vm["vmid"], tell="no")).lines[0].operation)
    lines = world.app.store.read(lambda verbs: verbs.audit_after(0, 99))
    assert [(line.action, line.vmid) for line in lines] == [
        ("link.accepted", vm["vmid"]),
        ("link.done", vm["vmid"]),
    ]


def test_failed_link_may_be_imported_again(world: World, vm: dict[str, Any]) -> None:
    first = brought(world, row(vm["vmid"])).lines[0].operation
    world.sandbox.fault(path="*/config", kind="error", error="0xb0: no")
    assert world.done(first).state is State.FAILED
    again = brought(world, row(vm["vmid"]))
    assert world.done(again.lines[0].operation).state is State.SUCCEEDED


def test_failed_create_stands_before_a_link(world: World, vm: dict[str, Any]) -> None:
    world.sandbox.settings(fail_next_job={"error": "0xb0: no"})
    create = world.done(world.order())
    assert (create.kind, create.state) == (Kind.CREATE, State.FAILED)
    found = judged(world, row(vm["vmid"]))
    assert codes(found) == ["under_way"]
    assert create.id in found.problems[0].message


def test_id_of_a_deleted_vm_is_another_machines(worlds: Callable[..., World]) -> None:
    world = worlds(safety={"terminate_grace": 0})
    world.done(world.order())
    world.done(world.event("service.terminate"))
    world.sandbox.add_vm(vmid=4001)
    assert codes(judged(world, row(4001))) == ["vm_was_deleted"]
    assert judged(world, row(4001, "2")).outcome is Outcome.LINK


def test_vm_that_cannot_be_looked_at_does_not_fit(world: World, vm: dict[str, Any]) -> None:
    """An error while looking is no absence, and no agreement either."""
    world.sandbox.fault(path="*/config", kind="page")
    found = judged(world, row(vm["vmid"]))
    assert codes(found) == ["not_seen"]


def test_absent_list_concludes_nothing(world: World, vm: dict[str, Any]) -> None:
    world.sandbox.fault(path="/datacenter/server", kind="page")
    with pytest.raises(UpstreamError):
        brought(world, row(vm["vmid"]))
    assert links(world) == []


def test_reconciliation_agrees_after_an_import(world: World, vm: dict[str, Any]) -> None:
    stranger = world.sandbox.add_vm()["vmid"]
    world.done(brought(world, row(vm["vmid"])).lines[0].operation)
    found = world.app.reconcile.run(fix=False)
    assert [one["vmid"] for one in found["foreign"]] == [stranger]
    assert found["orphans"] == found["ghosts"] == found["drift"] == []
    assert world.app.store.read(lambda verbs: verbs.fact(missing_fact(vm["vmid"]))) is None
