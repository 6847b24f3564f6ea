"""The console's operations: the list, one with its history, and what a person does with one or with many."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from provisioner.engine.reconcile import EMPTY, FACT
from provisioner.operation import Kind, State, TimelineEntry

ANNA, RUDI = "anna-token-0123456789", "rudi-token-0123456789"
HOSTILE = "<script>alert('1')</script> \" & 100% ü✓ ?a#b"


def change(stage: Any, operation: str, **fields: Any) -> None:
    known = stage.operation(operation)
    stage.record(lambda record: record.verbs.save_operation(replace(known, **fields), known.claims))


def note(stage: Any, operation: str, *entries: TimelineEntry) -> None:
    stage.record(lambda record: [record.verbs.add_timeline(operation, entry) for entry in entries])


def event(stage: Any, kind: str, service_id: str, **data: Any) -> str:
    answer = stage.event(kind, {"service_id": service_id, **data})
    assert answer.status_code == 202, answer.text
    return str(answer.json["operation"])


def listed(person: Any, query: str = "") -> list[str]:
    """The ids of the operations on a page of the list, in its order."""
    page = person.page(f"/admin/operations{query}")
    return [given["value"] for tag, given in page.tags if given.get("name") == "operation"]


def last_line(stage: Any) -> tuple[str, str, str, str]:
    line = stage.audit()[-1]
    return line.action, line.actor, line.address, line.reason


# The list


def test_list_without_any_says_what_comes(stage: Any) -> None:
    page = stage.person().page("/admin/operations")
    assert "Nothing has been asked for yet." in page.text
    assert all(form.action != "/admin/operations/many" or not form.buttons for form in page.forms)
    assert "No operation is like that." in stage.person().page("/admin/operations?state=held").text


def test_list_is_newest_first_and_filtered(stage: Any) -> None:
    failed, held = stage.failed("1"), stage.held("2")
    terminate = event(stage, "service.terminate", "1")
    person = stage.person()
    assert listed(person) == [terminate, held, failed]
    assert listed(person, "?state=failed") == [failed]
    assert listed(person, "?kind=terminate") == [terminate]
    assert listed(person, "?service_id=2") == [held]
    assert listed(person, "?billing=other") == []
    assert listed(person, "?q=over the lim") == [failed]
    assert listed(person, f"?q={held[12:18]}") == [held]
    assert listed(person, "?q=%25") == []
    assert listed(person, "?state=&kind=&billing=&service_id=&q=") == [terminate, held, failed]


def test_filters_stay_filled_in(stage: Any) -> None:
    page = stage.person().page("/admin/operations?state=held&kind=create&service_id=a%22b&q=%3Cb%3E")
    given = {
        fields["name"]: fields.get("value") for tag, fields in page.tags if tag == "input" and "id" in fields
    }
    assert (given["service_id"], given["q"]) == ('a"b', "<b>")
    assert [fields for tag, fields in page.tags if tag == "option" and "selected" in fields] != []


@pytest.mark.parametrize(
    "query", ["state=x", "kind=x", "limit=501", "cursor=x", "nosuch=1", "q=" + "x" * 256, "q=%00"]
)
def test_wrong_filter_is_told_on_a_page(lasting: Any, query: str) -> None:
    page = lasting.person().page(f"/admin/operations?{query}", 422)
    assert "Not understood" in page.text
    assert query.partition("=")[0] in page.text


def test_older_ones_are_on_the_next_page(stage: Any) -> None:
    made = [stage.order(str(number), hostname=None) for number in range(5)]
    person = stage.person()
    first = person.page("/admin/operations?state=queued&limit=2")
    (older,) = [link for link in first.links if "cursor=" in link]
    assert "state=queued" in older
    stage.order("late", hostname=None)
    second = person.page(older)
    found = [given["value"] for tag, given in second.tags if given.get("name") == "operation"]
    assert found == made[2::-1]  # the next page has as many as a page has
    assert not any("data-live" in given for _, given in second.tags)


@pytest.mark.parametrize(
    ("token", "buttons"),
    [(RUDI, None), (ANNA, ["retry", "cancel"]), ("olga-token-0123456789", ["retry", "cancel", "approve"])],
)
def test_list_offers_what_the_role_may(stage: Any, token: str, buttons: list[str] | None) -> None:
    stage.held("1")
    page = stage.person(token).page("/admin/operations")
    marks = [given for _, given in page.tags if given.get("name") == "operation"]
    offered = [form.buttons for form in page.forms if form.action == "/admin/operations/many"]
    assert offered == ([buttons] if buttons else [])
    assert bool(marks) is (buttons is not None)


# One


def test_one_shows_its_facts_and_its_history(stage: Any) -> None:
    failed = stage.failed("1")
    change(stage, failed, job_id="15", vmid=4001, attempts=3)
    page = stage.person().page(f"/admin/operations/{failed}")
    for words in ("create of shop/1", "failed", "0xb0 over the limits", "Asked for by billing:shop",
                  "Job 15", "VM 4001", "Attempts 3", "vps-s", "accepted by billing:shop", "claimed",
                  "2027-01-15 08:00:00", "operation.failed", "0 tries"):  # fmt: skip
        assert words in page.text, words
    assert f"/admin/events/{stage.operation(failed).event}" in page.links
    assert "/admin/services/shop/1" in page.links
    assert page.title.startswith("create of 1")


def test_unknown_one_is_told_on_a_page(lasting: Any) -> None:
    person = lasting.person()
    for path in ("op_x", "op_x/retry", "op_x/approve", "%FF", HOSTILE.replace("?", "").replace("#", "")):
        assert person.page(f"/admin/operations/{path}", 404).title.startswith("404")
    assert person.refused("/admin/operations/op_x/retry")[0] == 404


def test_calls_fold_and_their_answers_are_there(stage: Any) -> None:
    order = stage.order()

    def call(ms: int, **more: Any) -> TimelineEntry:
        detail = {"call": "GET job/15", "status": 200, "outcome": "ok", "answer": f"looked {ms}", "ms": ms}
        return TimelineEntry(stage.clock.ms, "upstream", {**detail, **more})

    note(stage, order, call(1), call(2), call(3), call(4, outcome="0xa1", status=500), call(5))
    page = stage.person().page(f"/admin/operations/{order}")
    assert "GET job/15 200 3 times" in page.text
    assert all(f"looked {ms}" in page.text for ms in range(1, 6))
    assert "GET job/15 500 0xa1" in page.text
    kinds = [
        given.get("class")
        for tag, given in page.tags
        if tag == "li" and given.get("class") in ("bad", "good", "")
    ]
    assert kinds.count("bad") == 1


def test_history_past_its_retention_is_said_to_be(stage: Any) -> None:
    order = stage.order()
    stage.app.store.write(lambda verbs: verbs.drop_timeline(order))
    assert "Its history is past its retention." in stage.person().page(f"/admin/operations/{order}").text


def test_what_it_waits_for_is_said(stage: Any) -> None:
    first, second = stage.order("1", hostname=None), event(stage, "service.suspend", "1")
    person = stage.person()
    assert "It waits for a free place; it is due now." in person.page(f"/admin/operations/{first}").text
    page = person.page(f"/admin/operations/{second}")
    assert "It waits for create of the same service, which is queued." in page.text
    assert f"/admin/operations/{first}" in page.links
    running = stage.running(first)
    stage.record(
        lambda record: record.move(
            replace(running, memo={"waits_for": "job"}, job_id="15", next_run_at=stage.clock.ms + 5000),
            State.WAITING, "waits",
        )
    )  # fmt: skip
    assert (
        "for the upstream's job 15 to end; next look in 5 s."
        in person.page(f"/admin/operations/{first}").text
    )


@pytest.mark.parametrize("path", ["pause", "resume"])
def test_pause_is_said_where_work_waits(stage: Any, path: str) -> None:
    order, person = stage.order(), stage.person()
    person.done("/admin/pause", {"reason": "a fire"})
    if path == "resume":
        person.done("/admin/resume")
    text = person.page(f"/admin/operations/{order}").text
    assert ("work upstream is paused by a person" in text) is (path == "pause")


def test_held_one_says_what_the_runbook_says(stage: Any) -> None:
    text = stage.person().page(f"/admin/operations/{stage.held('1', 'create_lost')}").text
    assert all(word in text for word in ("It waits for a person.", "Means", "Look", "Do"))
    assert "`" not in text


def test_operation_that_a_brake_holds_says_what_the_brakes_alert_says(stage: Any) -> None:
    text = stage.person().page(f"/admin/operations/{stage.held('1', 'brake')}").text
    assert "A billing system that suspends or terminates in bulk" in text


@pytest.mark.parametrize(
    ("state", "links"),
    [("queued", {"cancel"}), ("held", {"cancel", "approve"}), ("failed", {"retry"}), ("running", {"cancel"})],
)
def test_one_offers_what_is_possible(stage: Any, state: str, links: set[str]) -> None:
    one = {"queued": stage.order, "held": stage.held, "failed": stage.failed}.get(state, stage.order)("5")
    if state == "running":
        stage.running(one)
    page = stage.person().page(f"/admin/operations/{one}")
    at = f"/admin/operations/{one}/"
    assert {link.removeprefix(at) for link in page.links if link.startswith(at)} == links
    for verb in {"retry", "cancel", "approve"} - links:
        assert "Not possible now" in stage.person().page(at + verb, 409).text


# What a person does with one


def test_retry_is_what_the_api_does(stage: Any) -> None:
    failed, person = stage.failed(), stage.person(ANNA)
    asked = person.page(f"/admin/operations/{failed}/retry")
    assert "Retry this create?" in asked.text
    assert "It goes on from where it failed." in asked.text
    at = person.done(f"/admin/operations/{failed}/retry", {"reason": " looked at it "})
    assert "It was retried." in person.page(at).text
    assert stage.operation(failed).state is State.QUEUED
    assert last_line(stage) == ("create.retried", "admin:anna", "127.0.0.1", "looked at it")
    status, text = person.refused(f"/admin/operations/{failed}/retry")
    assert (status, "Not possible now" in text) == (409, True)


def test_cancel_is_what_the_api_does(stage: Any) -> None:
    queued, person = stage.order("1", hostname=None), stage.person(ANNA)
    person.done(f"/admin/operations/{queued}/cancel", {"reason": "by mistake"})
    one = stage.operation(queued)
    assert (one.state, one.error_detail) == (State.CANCELLED, "by mistake")
    assert last_line(stage) == ("create.cancelled", "admin:anna", "127.0.0.1", "by mistake")


def test_cancelled_terminate_is_an_undo(stage: Any) -> None:
    stage.quiet("1", vmid=4001)
    terminate, person = event(stage, "service.terminate", "1"), stage.person()
    assert "is undone" not in person.page(f"/admin/operations/{terminate}/cancel").text
    running = stage.running(terminate)
    stage.record(lambda record: record.move(replace(running, step="grace"), State.WAITING, "waits"))
    assert "A termination in its grace is undone" in person.page(f"/admin/operations/{terminate}/cancel").text


def test_sent_create_is_not_cancelled(stage: Any) -> None:
    running = stage.running(stage.order("1"))
    stage.record(lambda record: record.move(replace(running, sent=True), State.WAITING, "sent", sent=True))
    person = stage.person()
    assert (
        f"/admin/operations/{running.id}/cancel" not in person.page(f"/admin/operations/{running.id}").links
    )
    status, text = person.refused(f"/admin/operations/{running.id}/cancel")
    assert (status, stage.operation(running.id).state) == (409, State.WAITING)
    assert "terminate" in text


def test_approve_is_what_the_api_does(stage: Any) -> None:
    held, person = stage.held(), stage.person()
    page = person.page(f"/admin/operations/{held}/approve")
    assert "choice" not in page.form(f"/admin/operations/{held}/approve").fields
    person.done(f"/admin/operations/{held}/approve", {"reason": "looked at"})
    assert stage.operation(held).approvals == ("brake",)
    assert last_line(stage) == ("create.approved", "admin:admin", "127.0.0.1", "looked at")


@pytest.mark.parametrize("kind", ["terminate", "reinstall", "restore"])
def test_what_is_lost_is_named_before_it_is_done(stage: Any, kind: str) -> None:
    stage.quiet("1", vmid=4001)

    def known(record: Any) -> None:
        service = record.verbs.service("shop", "1")
        changed = replace(service, hostname="web1.example.com", ips=("192.0.2.1", "2001:db8::1"))
        record.verbs.save_service(changed)

    stage.record(known)
    more = {"backup": 1_700_000_000} if kind == "restore" else {}
    running = stage.running(event(stage, f"service.{kind}", "1", **more))
    stage.record(lambda record: record.hold(running, "config_differs", "It is checked.", detail="not it"))
    page = stage.person().page(f"/admin/operations/{running.id}/approve")
    (loss,) = [given for _, given in page.tags if given.get("role") == "alert"]
    assert "VM 4001 (web1.example.com, 192.0.2.1, 2001:db8::1)" in page.text
    assert "alert-danger" in loss["class"]
    cancel = stage.person().page(f"/admin/operations/{running.id}/cancel")
    assert not [given for _, given in cancel.tags if given.get("role") == "alert"]


# A create whose answer was lost


def lost(stage: Any, code: str = "create_lost", **memo: Any) -> str:
    held = stage.held("7", code)
    change(stage, held, sent=True, memo=memo)
    return str(held)


def test_lost_create_shows_its_evidence(stage: Any) -> None:
    held = lost(
        stage, sent_at=stage.clock.ms, listed=[7, 9], set_aside=[77, 78], set_aside_jobs=["12"]
    )  # fmt: skip
    page = stage.person().page(f"/admin/operations/{held}/approve")
    for words in ("Sent 2027-01-15 08:00:00 UTC", "VMs before it 7, 9", "New, of that size 77, 78",
                  "mem 1024", "Jobs without a VM 12", "everything on it is erased",
                  "If one was ours, the customer then has two."):  # fmt: skip
        assert words in page.text, words
    choices = [given["value"] for _, given in page.tags if given.get("name") == "choice"]
    assert choices == ["adopt", "not_mine", "send_again"]


@pytest.mark.parametrize(
    ("memo", "words"), [({}, "VMs before it not known"), ({"listed": []}, "VMs before it none")]
)
def test_what_is_not_known_of_it_is_said(stage: Any, memo: dict[str, Any], words: str) -> None:
    page = stage.person().page(f"/admin/operations/{lost(stage, **memo)}/approve")
    assert words in page.text
    assert "none was seen" in page.text


def test_vm_that_was_listed_late_is_evidence_too(stage: Any) -> None:
    """The order is held at once; what it made shows in the list when the next comparison looks."""
    held = lost(stage, sent_at=stage.clock.ms, listed=[7, 9])
    where = f"/admin/operations/{held}/approve"
    assert "Nobody’s, and new since not compared since it was sent" in stage.person().page(where).text
    found = {**EMPTY, "foreign": [{"vmid": 9, "means": "x"}, {"vmid": 77, "means": "x"}]}
    for seen_at, words in (
        (stage.clock.ms - 1, "not compared since"),
        (stage.clock.ms + 1, "new since 77, as compared"),
    ):
        stage.app.store.write(lambda verbs, at=seen_at: verbs.set_fact(FACT, {**found, "seen_at": at}, at))
        page = stage.person().page(where)
        assert words in page.text, words
        assert "/admin/reconciliation" in page.links


def test_job_that_told_too_little_can_be_asked_again(stage: Any) -> None:
    held = lost(stage, "incomplete_answer")
    page = stage.person().page(f"/admin/operations/{held}/approve")
    choices = [given["value"] for _, given in page.tags if given.get("name") == "choice"]
    assert choices == ["", "adopt", "not_mine", "send_again"]
    stage.person().done(f"/admin/operations/{held}/approve", {"choice": ""})
    assert stage.operation(held).state is State.WAITING


@pytest.mark.parametrize(
    ("form", "detail"),
    [
        ({"choice": "adopt", "vmid": "77"}, {"choice": "adopt", "adopted": 77}),
        ({"choice": "not_mine", "vmid": "77"}, {"choice": "not_mine"}),
        ({"choice": "send_again", "vmid": "77"}, {"choice": "send_again"}),
    ],
)
def test_choice_is_carried_out(stage: Any, form: dict[str, str], detail: dict[str, Any]) -> None:
    held = lost(stage, set_aside=[77])
    stage.person().done(f"/admin/operations/{held}/approve", {**form, "reason": "seen"})
    (line,) = [line for line in stage.audit() if line.action == "create.approved"]
    assert (line.actor, line.reason) == ("admin:admin", "seen")
    assert detail.items() <= json.loads(line.detail).items()
    assert stage.operation(held).state is (State.FAILED if form["choice"] == "not_mine" else State.WAITING)


@pytest.mark.parametrize(
    "form",
    [{}, {"choice": "x"},
     {"choice": "adopt"}, {"choice": "adopt", "vmid": "x"},
     {"choice": "adopt", "vmid": "-1"}, {"choice": "adopt", "vmid": "0"},
     {"choice": "adopt", "vmid": "9" * 400}, {"choice": "adopt", "vmid": "\u0664"},
     {"reason": "x" * 1001}, {"choice": "not_mine", "reason": "\0"}],
)  # fmt: skip
def test_choice_that_is_none_changes_nothing(stage: Any, form: dict[str, str]) -> None:
    held = lost(stage)
    before = len(stage.audit())
    status, text = stage.person().refused(f"/admin/operations/{held}/approve", form)
    assert (status, stage.operation(held).state) == (422, State.HELD), text
    assert len([line for line in stage.audit()[before:] if line.action != "person.signed_in"]) == 0


# With many


def test_many_are_asked_about_before_anything_is_done(stage: Any) -> None:
    held, failed = stage.held("1"), stage.failed("2")
    person = stage.person()
    answer = person.post(
        "/admin/operations/many", {"operation": [held, failed, held, "op_x"], "verb": "cancel"}
    )
    assert answer.status_code == 200
    assert "Cancel 2 operations?" in answer.text
    assert answer.text.count(f'value="{held}"') == 1
    assert stage.operation(held).state is State.HELD


def test_many_are_done_and_those_that_are_not_are_named(stage: Any) -> None:
    failed = [stage.failed(str(number)) for number in range(3)]
    queued = stage.order("9", hostname=None)
    person = stage.person(ANNA)
    form = {
        "operation": [*failed, queued, "op_x", failed[0]],
        "verb": "retry",
        "sure": "yes",
        "reason": "all",
    }
    answer = person.post("/admin/operations/many", form)
    page = person.page("/admin/operations?state=queued")
    assert answer.status_code == 200
    assert "Retry: 3 of 5 done" in answer.text
    assert answer.text.count("not done") == 2
    assert "there is no operation op_x" in answer.text
    assert {stage.operation(each).state for each in failed} == {State.QUEUED}
    assert page.text.count("queued") >= 4
    lines = [line for line in stage.audit() if line.action == "create.retried"]
    assert [(line.operation, line.actor, line.reason) for line in lines] == [
        (each, "admin:anna", "all") for each in failed
    ]


def test_many_that_destroy_are_named_as_such(stage: Any) -> None:
    stage.quiet("1", vmid=4001)
    running = stage.running(event(stage, "service.terminate", "1"))
    stage.record(lambda record: record.hold(running, "brake", "It is checked.", detail="too many"))
    answer = stage.person().post("/admin/operations/many", {"operation": running.id, "verb": "approve"})
    assert "1 of them destroy what is on a VM: terminate." in answer.text
    assert "VM 4001 of service shop/1 is deleted, with all that is on it" in answer.text


def test_what_support_may_not_is_not_done_among_many(stage: Any) -> None:
    stage.quiet("1", vmid=4001)
    terminate = stage.running(event(stage, "service.terminate", "1"))
    stage.record(lambda record: record.fail(terminate, "0xb0", "It could not be done."))
    form = {"operation": [terminate.id, stage.failed("2")], "verb": "retry", "sure": "yes"}
    answer = stage.person(ANNA).post("/admin/operations/many", form)
    assert "Retry: 1 of 2 done" in answer.text
    assert "this is not for the role support" in answer.text
    assert stage.operation(terminate.id).state is State.FAILED


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({}, 404),
        ({"verb": "delete", "operation": "op_x"}, 404),
        ({"verb": "retry"}, 422),
        ({"verb": "retry", "operation": "\0"}, 422),
        ({"verb": "retry", "operation": [f"op_{number}" for number in range(501)]}, 422),
        ({"verb": "retry", "operation": [f"op_{number}" for number in range(500)]}, 200),
    ],
)
def test_many_have_to_be_marked(lasting: Any, form: dict[str, Any], status: int) -> None:
    answer = lasting.person().post("/admin/operations/many", form)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")


# Hostile values


def test_hostile_words_come_out_as_words(stage: Any) -> None:
    service = "a" + HOSTILE.replace("/", "")
    running = stage.running(stage.order(service, hostname=None))
    stage.record(lambda record: record.hold(running, "brake", HOSTILE, detail=HOSTILE))
    note(stage, running.id, TimelineEntry(stage.clock.ms, HOSTILE, {HOSTILE: HOSTILE}, HOSTILE))
    person = stage.person()
    for path in ("", "/operations", f"/operations/{running.id}", f"/operations/{running.id}/approve"):
        answer = person.get(f"/admin{path}")
        assert "<script>alert" not in answer.text, path
        assert HOSTILE in person.page(f"/admin{path}").text, path
    (link,) = {
        link for link in person.page(f"/admin/operations/{running.id}").links if "/services/shop/a" in link
    }
    assert person.page(link).text.count(service) > 0


def test_memory_of_steps_stays_inside(stage: Any) -> None:
    held = lost(stage, secret="canary-memo", listed=[1])
    person = stage.person()
    for path in (f"/operations/{held}", f"/operations/{held}/approve"):
        assert "canary" not in person.get(f"/admin{path}").text


def test_operation_of_each_kind_can_be_looked_at(stage: Any) -> None:
    stage.quiet("1", vmid=4001)
    one = stage.operation(stage.order("2", hostname=None))
    person = stage.person()
    for kind in Kind:
        for state in State:
            made = replace(
                one, id=f"op_{kind}_{state}", kind=kind, state=state, error_code="brake", service_id="1"
            )
            stage.record(lambda record, made=made: record.verbs.add_operation(made))
            page = person.page(f"/admin/operations/{made.id}")
            for verb in ("retry", "cancel", "approve"):
                at = f"/admin/operations/{made.id}/{verb}"
                assert person.get(at).status_code == (200 if at in page.links else 409)
