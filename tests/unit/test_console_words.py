"""The console's words: what an operation waits for, what the runbook says, what can be done with what."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest

from provisioner.engine import pauses
from provisioner.engine.causes import CauseName
from provisioner.operation import Kind, Operation, State
from provisioner.operations.lost_create import HELD_CODES, TOLD_TOO_LITTLE
from provisioner.service import ServiceStatus
from provisioner.web import models
from provisioner.web.auth import Need
from provisioner.web.console import deeds, runbook, words
from provisioner.web.console.operations import DOINGS, choices_of, folded, is_possible, tone

ROOT = Path(__file__).parents[2]
STEPS = [*(ROOT / "provisioner" / "operations").glob("*.py"), ROOT / "provisioner" / "engine" / "advance.py"]
NOW = 1_800_000_000_000


def an_operation(**changes: Any) -> Operation:
    fields: dict[str, Any] = {
        "id": "op_1", "seq": 5, "billing": "shop", "service_id": "1", "kind": Kind.CHANGE,
        "state": State.QUEUED, "step": "begin", "args": {}, "memo": {}, "sent": False,
        "attempts": 0, "failures": 0, "claims": 0,
        "next_run_at": NOW, "failing_since": None, "expires_at": None, "error_code": "", "error_message": "",
        "error_detail": "", "job_id": "", "vmid": None, "actor": "billing:shop", "event": "", "approvals": (),
        "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip
    return Operation(**{**fields, **changes})


class Stored:
    """What the words look up."""

    def __init__(self, *operations: Operation, paused: str = "") -> None:
        self.operations, self.paused = operations, paused

    def fact(self, name: str) -> Any:
        return {"at": 1} if name == self.paused else None

    def facts_among(self, names: tuple[str, ...]) -> dict[str, Any]:
        return {name: self.fact(name) for name in names if name == self.paused}

    def open_operations_of_service(self, billing: str, service_id: str) -> list[Operation]:
        return list(self.operations)


def stands(operation: Operation, *others: Operation, paused: str = "") -> words.Standing:
    return words.standing(Stored(*others, operation, paused=paused), operation, NOW)  # type: ignore[arg-type]


# What it waits for


NAMED_AT = {"Again": 1, "send_again": 4}  # the place of the argument that names it


def waited_for() -> set[str]:
    """The words that steps and the engine give with what they wait for."""
    found: set[str] = set()
    for path in STEPS:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = NAMED_AT.get(node.func.id, len(node.args))
                found |= {
                    word.value for word in node.args[place : place + 1] if isinstance(word, ast.Constant)
                }
            if isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
                found |= {
                    value.value
                    for key, value in pairs
                    if isinstance(key, ast.Constant)
                    and key.value == "waits_for"
                    and isinstance(value, ast.Constant)
                }
    return found


def test_each_thing_that_is_waited_for_has_its_words() -> None:
    assert waited_for() == set(words._WAITS)


def test_each_pause_has_its_words() -> None:
    assert set(words._PAUSED) == set(pauses.REASONS)


@pytest.mark.parametrize("name", sorted(words._WAITS))
def test_waiting_says_for_what_and_until_when(name: str) -> None:
    waiting = an_operation(
        state=State.WAITING, memo={"waits_for": name}, job_id="15", next_run_at=NOW + 90_000
    )
    said = stands(waiting)
    assert said.waits == words._WAITS[name].format(job_id="15") + "; next look in 1 min"
    assert "{" not in said.waits
    assert stands(an_operation(state=State.WAITING)).waits == "to go on; it is due now"


def test_job_that_is_not_known_yet_is_said_to_be() -> None:
    waiting = an_operation(state=State.WAITING, memo={"waits_for": "job"})
    assert "(not known yet)" in stands(waiting).waits


@pytest.mark.parametrize(
    ("before", "kind", "waits"),
    [
        ({"seq": 4}, Kind.CHANGE, True),
        ({"seq": 6}, Kind.CHANGE, False),
        ({"seq": 4, "state": State.HELD}, Kind.CHANGE, True),
        ({"seq": 4, "state": State.HELD}, Kind.TERMINATE, False),
        ({"seq": 4, "state": State.HELD, "kind": Kind.CREATE, "sent": True}, Kind.TERMINATE, True),
        ({"seq": 4, "state": State.FAILED, "kind": Kind.CREATE}, Kind.CHANGE, True),
        ({"seq": 4, "state": State.FAILED, "kind": Kind.CREATE}, Kind.TERMINATE, False),
        ({"seq": 4, "state": State.DELIVERING}, Kind.CHANGE, False),
    ],
)
def test_what_holds_it_back_is_named(before: dict[str, Any], kind: Kind, *, waits: bool) -> None:
    said = stands(an_operation(kind=kind), an_operation(id="op_0", **before))
    assert said.behind == ("op_0" if waits else "")
    assert ("of the same service" in said.waits) is waits


@pytest.mark.parametrize("reason", pauses.REASONS)
def test_pause_comes_before_all_else(reason: str) -> None:
    said = stands(an_operation(), an_operation(id="op_0", seq=4), paused=reason)
    assert said.waits == f"because {words._PAUSED[reason]}"


@pytest.mark.parametrize("state", State)
def test_each_state_has_its_words_or_is_an_end(state: State) -> None:
    ended = state in (State.SUCCEEDED, State.CANCELLED, State.FAILED)
    assert bool(stands(an_operation(state=state)).waits) is not ended


# What the runbook says


def headings(section: str) -> set[str]:
    return set(runbook._paragraphs()[section])


def test_each_alert_has_all_that_a_person_needs() -> None:
    for name in CauseName:
        paragraph = runbook.alert(name)
        assert paragraph.means, name
        assert paragraph.do, name


@pytest.mark.parametrize(("section", "read"), [("Held", runbook.held), ("Failed", runbook.failed)])
def test_each_code_of_the_runbook_is_found(section: str, read: Any) -> None:
    text = (ROOT / "docs" / "runbook.md").read_text("utf-8")
    body = text.split(f"## {section}\n")[1].split("\n## ")[0]
    names = {name for line in body.splitlines() if line.startswith("### ") for name in line.split("`")[1::2]}
    assert len(names) > 5
    assert names == headings(section)
    for name in names:
        paragraph = read(name)
        assert paragraph.means, name
        assert "](" not in str(paragraph), name
        assert "\n" not in str(paragraph), name
        assert all(text.count("`") % 2 == 0 for text in (paragraph.means, paragraph.look, paragraph.do)), name


def test_runbook_is_found_in_a_wheel_and_in_a_clone(tmp_path: Path) -> None:
    package = tmp_path / "provisioner"
    assert runbook.page_of(package) == tmp_path / "docs" / "runbook.md"
    (package / "_docs").mkdir(parents=True)
    (package / "_docs" / "runbook.md").write_text("## Alerts")
    assert runbook.page_of(package) == package / "_docs" / "runbook.md"
    assert runbook.page_of() == ROOT / "docs" / "runbook.md"
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert built["force-include"]["docs/runbook.md"] == f"provisioner/{runbook.SHIPPED}/runbook.md"


def test_what_the_runbook_does_not_know_is_nothing() -> None:
    assert [read("nosuch") for read in (runbook.held, runbook.failed, runbook.alert)] == [runbook.NOTHING] * 3


def test_paragraph_is_told_in_its_parts() -> None:
    body = "Means: one\ntwo [three](four.md).\nLook: here.\nDo: `this`.\nNever: that.\n"
    assert runbook._paragraph(body) == runbook.Paragraph("one two three.", "here.", "`this`.", "that.")
    assert runbook._paragraph("Only a text.\nOf two lines.") == runbook.Paragraph(
        "Only a text. Of two lines."
    )


# What can be done with an operation


@pytest.mark.parametrize(
    ("verb", "changes", "can"),
    [
        ("retry", {"state": State.FAILED}, True),
        ("retry", {"state": State.HELD}, False),
        ("approve", {"state": State.HELD}, True),
        ("approve", {"state": State.FAILED}, False),
        ("cancel", {"state": State.QUEUED}, True),
        ("cancel", {"state": State.WAITING, "sent": True}, False),
        ("cancel", {"state": State.HELD, "sent": True}, True),
        ("cancel", {"state": State.HELD, "sent": True, "kind": Kind.CREATE}, False),
        ("cancel", {"state": State.HELD, "kind": Kind.CREATE}, True),
        ("cancel", {"state": State.WAITING, "sent": True, "kind": Kind.TERMINATE}, True),
        ("cancel", {"state": State.WAITING, "kind": Kind.TERMINATE, "memo": {"delete_sent": True}}, False),
        ("cancel", {"state": State.HELD, "kind": Kind.TERMINATE, "memo": {"delete_sent": True}}, True),
        ("cancel", {"state": State.DELIVERING}, False),
        ("cancel", {"state": State.SUCCEEDED}, False),
    ],
)
def test_what_can_be_done_depends_on_how_it_stands(verb: str, changes: dict[str, Any], *, can: bool) -> None:
    assert is_possible(verb, an_operation(**changes)) is can


def test_each_doing_needs_what_the_api_does() -> None:
    assert {verb: doing.needs for verb, doing in DOINGS.items()} == {
        "retry": Need.WORK, "cancel": Need.WORK, "approve": Need.DECIDE,
    }  # fmt: skip


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("code", [*sorted(HELD_CODES | TOLD_TOO_LITTLE), "brake"])
def test_only_a_lost_create_has_choices(kind: Kind, code: str) -> None:
    found = choices_of(an_operation(kind=kind, state=State.HELD, error_code=code))
    expected = ("adopt", "not_mine", "send_again")
    if kind is not Kind.CREATE or code == "brake":
        assert found == ()
    else:
        assert found == (expected if code in HELD_CODES else ("", *expected))
    assert choices_of(an_operation(kind=kind, state=State.FAILED, error_code=code)) == ()


def entry(what: str = "upstream", actor: str = "service", **detail: Any) -> models.TimelineEntry:
    call = {"call": "GET job/15", "outcome": "ok", **detail} if what == "upstream" else detail
    return models.TimelineEntry(at="2027-01-15T08:00:00.000Z", what=what, detail=call, actor=actor)


def test_only_good_answers_of_the_same_call_fold() -> None:
    line = [
        entry("claimed"), entry("claimed"), entry(), entry(), entry(call="GET server"), entry(outcome="0xa1"),
        entry(outcome="0xa1"), entry(), entry("done"), entry(),
    ]  # fmt: skip
    assert [len(group) for group in folded(line)] == [1, 1, 2, 1, 1, 1, 1, 1, 1]
    assert [each for group in folded(line) for each in group] == line
    assert folded([]) == []


@pytest.mark.parametrize(
    ("line", "how"),
    [
        (entry(), ""), (entry(outcome="0xa1"), "bad"), (entry("failed"), "bad"),
        (entry("failed", "admin:a"), "bad"),
        (entry("succeeded"), "good"), (entry("cancelled", "admin:a"), "person"), (entry("claimed"), ""),
        (entry("accepted", "billing:shop:admin:bob"), ""),
    ],
)  # fmt: skip
def test_line_of_the_history_is_drawn_by_what_it_is(line: models.TimelineEntry, how: str) -> None:
    assert tone(line) == how


# What can be done for a service


def a_service(status: ServiceStatus, vmid: int | None) -> models.Service:
    return models.Service(
        billing="shop", service_id="1", status=status, plan="vps-s", vmid=vmid, ips=[], ips_complete=True,
        hostname=None, client_id=None, spec=None, suspend_reason="", locked=False,
        created_at="", updated_at="",
    )  # fmt: skip


def test_each_kind_has_a_deed() -> None:
    assert {deed.kind for deed in deeds.DEEDS.values() if deed.kind} == set(Kind)
    assert all(name == deed.kind for name, deed in deeds.DEEDS.items() if deed.kind)
    assert all(deed.word and deed.told for deed in deeds.DEEDS.values())


def test_each_deed_that_loses_something_says_what() -> None:
    losing = {name for name, deed in deeds.DEEDS.items() if deed.destroys}
    assert losing == {"stop", "force_reboot", "reinstall", "restore", "terminate", "erase"}


@pytest.mark.parametrize("status", ServiceStatus)
@pytest.mark.parametrize("vmid", [None, 4001])
def test_without_a_vm_nothing_is_done_to_one(status: ServiceStatus, vmid: int | None) -> None:
    can = {name for name in deeds.DEEDS if deeds.is_possible(name, a_service(status, vmid))}
    if vmid is None:
        assert can <= {"create", "link", "erase", "unsuspend", "terminate"}
    else:
        assert not can & {"create", "link"}
    power = {"start", "stop", "reboot", "reinstall", "restore", "reset_password", "force_reboot", "shutdown"}
    assert (power <= can) is (vmid is not None and status is ServiceStatus.ACTIVE)
    assert not can & power or power <= can


@pytest.mark.parametrize(
    ("deed", "form", "data"),
    [
        ("suspend", {"force": "yes", "lock": "", "reason": "x"}, {"force": True}),
        ("change", {"plan": "vps-m", "mem": "2048", "disk": "", "cpu_cores": "x"},
         {"plan": "vps-m", "options": {"mem": 2048, "cpu_cores": "x"}}),
        ("change", {}, {}),
        ("link", {"vmid": "\u0664", "plan": "p", "status": "active", "more": "x"},
         {"vmid": "\u0664", "plan": "p", "status": "active"}),
        ("link", {"vmid": "9" * 16}, {"vmid": "9" * 16}),
        ("create", {"plan": "p", "recreate": "yes", "hostname": ""}, {"plan": "p", "recreate": True}),
        ("set_rdns", {"ip": "192.0.2.1", "hostname": "7"}, {"ip": "192.0.2.1", "hostname": "7"}),
        ("start", {"force": "yes"}, {}),
    ],
)  # fmt: skip
def test_what_was_left_empty_is_not_asked_for(deed: str, form: dict[str, str], data: dict[str, Any]) -> None:
    assert deeds.data_of(deeds.DEEDS[deed], form) == data
