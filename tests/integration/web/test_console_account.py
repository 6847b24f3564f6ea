"""The overview, and what is the whole account's: reconciliation, brakes, plans, settings, events, audit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provisioner.delivery import DeliveryState
from provisioner.engine import pauses
from provisioner.engine.alerts import Alert, Alerts
from provisioner.engine.causes import CauseName
from provisioner.engine.reconcile import FACT, Reconcile
from provisioner.engine.ticks import TEMPLATES
from provisioner.errors import UpstreamUnavailable
from provisioner.operation import State
from provisioner.upstream import Call
from provisioner.web import create_app

ANNA = "anna-token-0123456789"
HOSTILE = "<script>alert('1')</script> \" & 100% ü✓ ?a#b"
HOUR_MS = 3_600_000


def figures(page: Any) -> list[str]:
    """The labels of the plots' bars."""
    return [given["aria-label"] for tag, given in page.tags if tag == "svg"]


def rejected(stage: Any, kind: str = "order.paid", **data: Any) -> str:
    answer = stage.event(kind, {"service_id": "99", **data})
    assert answer.status_code == 422, answer.text
    return str(answer.json["event"])


# The overview


def test_overview_of_nothing_is_quiet(stage: Any) -> None:
    page = stage.person().page("/admin")
    for words in (
        "Nothing needs you.",
        "no order in 24 h",
        "0 in 24 h",
        "not asked yet",
        "none that still waits",
    ):
        assert words in page.text, words


def test_overview_says_first_what_needs_a_person(stage: Any) -> None:
    held, failed = stage.held("1"), stage.failed("2")
    event = rejected(stage, plan="nosuch")
    orphan = {
        "vmid": 4711,
        "operation": held,
        "billing": "shop",
        "service_id": "1",
        "means": "m",
        "remedy": "r",
    }
    found = {"seen_at": stage.clock.ms, "orphans": [orphan], "ghosts": [], "drift": [], "foreign": []}
    stage.app.store.write(lambda verbs: verbs.set_fact(FACT, found, stage.clock.ms))
    page = stage.person().page("/admin")
    for words in ("brake too many of them", "0xb0 over the limits", "unknown_plan", "1 VM made here", "4711"):
        assert words in page.text, words
    assert page.text.index("Needs a person") < page.text.index("The work")
    assert {f"/admin/operations/{held}", f"/admin/operations/{failed}", f"/admin/events/{event}"} <= set(
        page.links
    )


def test_what_failed_long_ago_needs_nobody(stage: Any) -> None:
    failed, event = stage.failed("2"), rejected(stage, plan="nosuch")
    stage.clock.ms += 25 * HOUR_MS
    links = stage.person().page("/admin").links
    assert f"/admin/operations/{failed}" not in links
    assert f"/admin/events/{event}" not in links


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (pauses.BY_PERSON, {"at": 1, "actor": "admin:olga", "reason": HOSTILE}, "Work upstream is paused"),
        (pauses.TOKEN_REFUSED, {"at": 1}, "The upstream refuses the token"),
        (pauses.RECOVERING, {"at": 1, "taken_at": 1}, "put back from a copy"),
    ],
)
def test_overview_says_why_work_stands_still(
    stage: Any, name: str, value: dict[str, Any], words: str
) -> None:
    stage.record(lambda record: pauses.begin(record.verbs, name, value, record.now))
    page = stage.person().page("/admin")
    assert words in page.text
    assert ("Resume" in page.text) is (name == pauses.BY_PERSON)
    assert "Resume" not in stage.person(ANNA).page("/admin").text
    assert (HOSTILE in page.text) is (name == pauses.BY_PERSON)
    assert stage.person().page("/admin/brakes")


def test_overview_plots_what_ended_and_how_long_orders_took(stage: Any) -> None:
    one = stage.operation(stage.order("1", hostname=None))

    def ended(record: Any) -> None:
        for number, (state, minutes, sent) in enumerate(
            [
                (State.SUCCEEDED, 2, True),
                (State.SUCCEEDED, 4, True),
                (State.FAILED, 1, True),
                (State.SUCCEEDED, 9, False),
            ]
        ):
            begun = stage.clock.ms - HOUR_MS
            made = replace(one, id=f"op_{number}", state=state, sent=sent, created_at=begun,
                           updated_at=begun + minutes * 60_000)  # fmt: skip
            record.verbs.add_operation(made)
        old = replace(one, id="op_old", state=State.SUCCEEDED, created_at=1, updated_at=2)
        record.verbs.add_operation(old)

    stage.record(ended)
    page = stage.person().page("/admin")
    assert "4 in 24 h" in page.text
    assert "3 min median" in page.text
    assert "07:00: 4" in page.text
    assert "07:00: 3 min (median of 2)" in page.text
    assert len(figures(page)) == 2


def test_overview_knows_the_others_health(stage: Any) -> None:
    stage.surfaces.counts.called(Call("GET", "server", 500, "unavailable", "", 20))
    stage.failed("1")

    def failing(record: Any) -> None:
        for number, delivery in enumerate(record.verbs.sealed_deliveries() or _waiting(record)):
            told = replace(delivery, failing_since=record.now, last_error=f"HTTP 500 {HOSTILE} {number}",
                           updated_at=record.now + number)  # fmt: skip
            record.verbs.save_delivery(told, fence=delivery.claims)

    stage.record(failing)
    text = stage.person().page("/admin").text
    assert "does not answer well" in text
    assert "GET server: 500, unavailable" in text
    assert f"HTTP 500 {HOSTILE} 0" in text
    assert "1 not taken" in text
    stage.surfaces.counts.called(Call("GET", "server", 200, "ok", "", 20))
    assert "Upstream answers GET server: 500, unavailable" in stage.person().page("/admin").text


def _waiting(record: Any) -> list[Any]:
    operations = record.verbs.operations(500, None)
    told = [each for one in operations for each in record.verbs.deliveries_of_operation(one.id)]
    return [each for each in told if each.state is DeliveryState.WAITING]


def test_overview_shows_what_is_alerted(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Alert(CauseName.DISK_LOW, "", "The disk is nearly full", HOSTILE, "", True, 1, 1, 1, None, {})
    monkeypatch.setattr(Alerts, "on", lambda self: [disk])
    text = stage.person().page("/admin").text
    assert "The disk is nearly full" in text
    assert HOSTILE in text
    assert "Means" in text
    assert "Nothing needs you." not in text


# Reconciliation


class Account:
    """An upstream account with one VM that nobody here knows, or none that answers."""

    def __init__(self, *, is_there: bool = True) -> None:
        self.is_there = is_there

    def servers(self) -> frozenset[int]:
        if not self.is_there:
            raise UpstreamUnavailable("It could not be asked.", detail="GET server: no answer")
        return frozenset({8})


def with_account(stage: Any, account: Account) -> Any:
    reconcile = Reconcile(stage.app.store, account, stage.clock)
    stage.client = create_app(replace(stage.surfaces, reconcile=reconcile)).test_client()
    return stage


def test_reconciliation_before_the_first_says_so(stage: Any) -> None:
    assert "were not compared yet" in stage.person().page("/admin/reconciliation").text


@pytest.mark.parametrize(
    ("form", "actions"), [({}, []), ({"fix": "yes", "reason": "why"}, ["upstream.fixed"])]
)
def test_comparison_is_what_the_api_does(stage: Any, form: dict[str, str], actions: list[str]) -> None:
    stage.quiet("1", vmid=4001)
    person = with_account(stage, Account()).person(ANNA)
    before = len(stage.audit())
    led = person.done("/admin/reconciliation", form)
    text = person.page(led).text
    assert "were compared just now" in text
    assert "Foreign VMs 1" in text
    assert "Ghosts 1" in text
    assert [line.action for line in stage.audit()[before:]] == actions


def test_upstream_that_does_not_answer_is_told_on_a_page(stage: Any) -> None:
    status, text = with_account(stage, Account(is_there=False)).person().refused("/admin/reconciliation")
    assert (status, "GET server: no answer" in text) == (502, True)


def test_each_disagreement_is_shown_with_its_remedy(stage: Any) -> None:
    held = stage.held("7", "create_lost")
    of = {"billing": "shop", "service_id": "a?b", "vmid": 5}
    found = {
        "seen_at": stage.clock.ms,
        "orphans": [{**of, "operation": held, "means": HOSTILE, "remedy": "link it"}],
        "ghosts": [{**of, "status": "active", "means": "gone", "remedy": "look"}],
        "drift": [{**of, "what": "mem", "asked": 1024, "there": {"mem": 2048}, "remedy": "ask again"}],
        "foreign": [{"vmid": 9, "means": "never touched"}, {"vmid": 10, "was": "shop/1", "unlinked_at": "x",
                     "actor": "admin:olga", "reason": "", "means": "unlinked"}],
    }  # fmt: skip
    stage.app.store.write(lambda verbs: verbs.set_fact(FACT, found, stage.clock.ms))
    page = stage.person().page("/admin/reconciliation")
    for words in ("Orphans 1", "Ghosts 1", "Drift 1", "Foreign VMs 2", HOSTILE, "asked: 1024",
                  "there: mem 2048",                  "Orders whose answer was lost 1"):  # fmt: skip
        assert words in page.text, words
    assert "/admin/services/shop/a%3Fb" in page.links
    assert f"/admin/operations/{held}/approve" in page.links
    assert f"/admin/operations/{held}/approve" not in stage.person(ANNA).page("/admin/reconciliation").links


# Brakes and the pause


def test_brake_is_reset_by_name(stage: Any) -> None:
    person = stage.person()
    assert all(kind in person.page("/admin/brakes").text for kind in ("terminate", "suspend", "create"))
    led = person.done("/admin/brakes/suspend/reset", {"reason": "looked"})
    assert "The brake was reset." in person.page(led).text
    line = stage.audit()[-1]
    assert (line.action, line.reason) == ("brake.reset", "looked")
    assert person.refused("/admin/brakes/nosuch/reset")[0] == 404


def test_pause_stops_and_resume_lets_go(stage: Any) -> None:
    person = stage.person()
    led = person.done("/admin/pause", {"reason": HOSTILE})
    text = person.page(led).text
    assert f"paused by admin:admin: {HOSTILE}" in text
    assert stage.get("/api/recovery").status_code == 200
    assert stage.app.store.read(pauses.reasons) != {}
    led = person.done("/admin/resume", {"reason": "it is over"})
    assert "Work upstream goes on." in person.page(led).text
    assert [(line.action, line.reason) for line in stage.audit()[-2:]] == [
        ("work.paused", HOSTILE), ("work.resumed", "it is over"),
    ]  # fmt: skip


# Plans and settings


def test_plans_are_held_against_the_upstreams_list(stage: Any) -> None:
    person = stage.person()
    assert "was not seen yet" in person.page("/admin/plans").text
    seen = {"items": ["Debian10.0", "Alpine<3>"], "at": stage.clock.ms}
    stage.app.store.write(lambda verbs: verbs.set_fact(TEMPLATES, seen, stage.clock.ms))
    text = person.page("/admin/plans").text
    for words in (
        "the upstream has no template Ubuntu20.04",
        "good",
        "Alpine<3>",
        "mem 8192",
        "shop, other",
        "VPS S",
    ):
        assert words in text, words


def test_service_without_plans_says_so(stages: Any) -> None:
    person = stages(plans={}, billing={}).person()
    assert "There is no plan in the settings" in person.page("/admin/plans").text
    assert "No billing system is in the settings" in person.page("/admin/settings").text
    assert "No billing system is in the settings yet." in person.page("/admin").text


def test_settings_hold_no_secret(stages: Any) -> None:
    stage = stages(
        security={"admin_token": "admin-token-0123456789"},
        upstream={"token": "canary-upstream-token", "base_url": "http://127.0.0.1:9/api/v1"},
        alerts={
            "urls": ["mailto://user:canary-mail@example.com"],
            "heartbeat_url": "https://beat.example.com/canary-beat",
        },
    )
    text = stage.person().get("/admin/settings").text
    assert "[upstream]" in text
    assert "127.0.0.1:9/api/v1" in text
    for secret in ("canary", "whsec_c2Vj", "admin-token", "anna-token", "rudi-token", "olga-token"):
        assert secret not in text, secret


def test_trust_is_what_the_api_does(stage: Any) -> None:
    person = stage.person()
    led = person.done(
        "/admin/settings/trust/shop", {"installation": "https://b.example.com/#1", "reason": "moved"}
    )
    text = person.page(led).text
    assert "Events of that installation are accepted from now on." in text
    assert "https://b.example.com/#1" in text
    line = stage.audit()[-1]
    assert (line.action, line.billing, line.reason) == ("installation.trusted", "shop", "moved")
    assert person.refused("/admin/settings/trust/nosuch", {"installation": "x"})[0] == 404
    assert person.refused("/admin/settings/trust/shop", {"installation": ""})[0] == 422


# Events


def test_events_are_listed_filtered_and_paged(stage: Any) -> None:
    person = stage.person()
    assert "No event has come yet." in person.page("/admin/events").text
    order, event = stage.order("1", hostname=None), rejected(stage, plan="nosuch")
    page = person.page("/admin/events")
    assert page.text.index("rejected order.paid shop/99") < page.text.index("accepted order.paid shop/1")
    assert f"/admin/operations/{order}" in page.links
    assert f"/admin/events/{event}" in person.page("/admin/events?state=rejected&billing=shop").links
    assert "No event is like that." in person.page("/admin/events?billing=other").text
    (older,) = [link for link in person.page("/admin/events?limit=1").links if "cursor=" in link]
    assert f"/admin/events/{event}" not in person.page(older).links
    assert person.page("/admin/events?state=x", 422)


def test_event_shows_what_it_said_and_was_answered(stage: Any) -> None:
    event = rejected(stage, plan="nosuch", hostname="a.example.com")
    page = stage.person().page(f"/admin/events/{event}")
    for words in ('"plan": "nosuch"', "unknown_plan", "Means", "shop/99 , which is not known here",
                  "Judge it again",                  "not told"):  # fmt: skip
        assert words in page.text, words
    accepted = stage.operation(stage.order("1", hostname=None)).event
    page = stage.person().page(f"/admin/events/{accepted}")
    assert "Judge it again" not in page.text
    assert "/admin/services/shop/1" in page.links
    assert stage.person().page("/admin/events/evt_x", 404)


def test_event_with_hostile_words_shows_them_as_words(stage: Any) -> None:
    answer = stage.event(HOSTILE, {"service_id": "a/../" + HOSTILE, "plan": HOSTILE})
    person = stage.person()
    for path in ("", "/events", f"/events/{answer.json['event']}"):
        text = person.get(f"/admin{path}").text
        assert "<script>alert" not in text, path
        assert person.page(f"/admin{path}")


def test_replayed_event_becomes_an_operation(stage: Any) -> None:
    event = rejected(stage, "service.suspend")
    person = stage.person(ANNA)
    status, text = person.refused(f"/admin/events/{event}/replay", {"reason": "try"})
    assert (status, "It was rejected again" in text) == (422, True)
    stage.order("99", hostname=None)
    led = person.done(f"/admin/events/{event}/replay", {"reason": "it is there now"})
    assert "suspend of shop/99" in person.page(led).text
    (line,) = [line for line in stage.audit() if line.reason == "it is there now"]
    assert (line.action, line.actor, line.address) == ("event.replayed", "admin:anna", "127.0.0.1")


def test_accepted_event_is_not_replayed(stage: Any) -> None:
    event = stage.operation(stage.order("1", hostname=None)).event
    assert stage.person().refused(f"/admin/events/{event}/replay")[0] == 409


# The audit


def test_audit_is_listed_filtered_and_paged(stage: Any) -> None:
    person = stage.person(ANNA)
    stage.order("1", hostname=None)
    person.done("/admin/services/shop/1/suspend", {"reason": HOSTILE})
    page = person.page("/admin/audit")
    for words in ("person.signed_in", "suspend.accepted", "admin:anna", "127.0.0.1", HOSTILE):
        assert words in page.text, words
    assert "suspend.accepted" not in person.page("/admin/audit?actor=billing%3Ashop").text
    assert "suspend.accepted" in person.page("/admin/audit?service_id=1&billing=shop&since=2027-01-15").text
    assert "No line is like that." in person.page("/admin/audit?vmid=7").text
    (older,) = [
        link for link in person.page("/admin/audit?limit=1&actor=admin%3Aanna").links if "cursor=" in link
    ]
    assert "actor=admin:anna" in older.replace("%3A", ":")
    assert "person.signed_in" in person.page(older).text
    assert person.page("/admin/audit?since=x", 422)


def test_erased_lines_are_said_to_be(stage: Any) -> None:
    stage.quiet("1")
    person = stage.person()
    person.done("/admin/services/shop/1/erase")
    assert "erased" in person.page("/admin/audit").text
    for path in ("/events", "/operations", "/services"):
        for link in person.page(f"/admin{path}").links:
            assert link == "#content" or person.page(link)
