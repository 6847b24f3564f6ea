"""What a person is told: each cause once when it begins, once when it is over, whatever restarts between."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from provisioner.engine import pauses
from provisioner.engine.alerts import LONGEST_TITLE, Alerts, ledger
from provisioner.engine.causes import CauseName
from provisioner.engine.record import Record
from provisioner.engine.skew import LAST, LEAST, UPSTREAM, billing_witness
from provisioner.errors import NotSent, StoreUnavailable
from provisioner.machine import Disk
from provisioner.notify import Message, Urgency
from provisioner.operation import Kind, State
from provisioner.store.verbs import Verbs
from tests.conftest import BILLING_SECRET, World

MINUTE, HOUR, DAY = 60, 3600, 86400
FINE = Disk(free=50, size=100, store=1)
PULL = {"platform": "whmcs", "secrets": [BILLING_SECRET], "deliver": "pull"}


@dataclass
class Phone:
    """A person's addresses; what is down takes nothing."""

    addresses: tuple[str, ...] = ("1 (phone)",)
    taken: list[tuple[str, Message]] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    tried: int = 0

    def send(self, address: str, message: Message) -> None:
        self.tried += 1
        if address in self.down:
            raise NotSent("answered 503")
        self.taken.append((address, message))


class Watch:
    """A world whose alerts are looked for and told as its clock goes on."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.phone = Phone()
        self.disk: Disk | None = FINE
        self.off_s: float | None = None  # as the upstream says, with whatever is asked of it
        self.attach()

    @property
    def alerts(self) -> Alerts:
        return self.world.app.alerts

    def attach(self) -> None:
        self.alerts.notify = self.phone
        self.alerts.machine = lambda: self.disk

    def restart(self) -> None:
        self.world.reopen()
        self.attach()

    def look(self) -> None:
        if self.off_s is not None:
            self.hear(UPSTREAM, self.off_s, LEAST)
        self.alerts.look()
        self.alerts.tell()

    def pass_time(self, seconds: float, step: float = 15, *, work: bool = False) -> None:
        """Looks now and every so many seconds; with `work`, what is due is done meanwhile."""
        self.look()
        ends_at = self.world.clock.now + round(seconds * 1000)
        while self.world.clock.now < ends_at:
            if work:
                self.world.run(step)
            else:
                self.world.clock.advance(step)
            self.look()

    def told(self, address: str = "1 (phone)") -> list[str]:
        """The titles that an address has taken since this was last asked."""
        titles = [message.title for to, message in self.phone.taken if to == address]
        self.phone.taken = [one for one in self.phone.taken if one[0] != address]
        return titles

    def kept(self) -> list[str]:
        return [alert.name for alert in self.world.app.store.read(ledger)]

    def receive(self, kind: str, webhook_id: str, installation: str = "", **data: Any) -> int:
        body: dict[str, Any] = {"type": kind, "data": {"service_id": "1001", **data}}
        if installation:
            body["source"] = {"installation": installation}
        return self.world.app.accept.webhook("shop", webhook_id, json.dumps(body).encode()).status

    def hold(self, service_id: str, code: str = "config_differs") -> str:
        """An operation that is held for this reason."""
        operation_id = self.world.order(service_id)

        def unit(verbs: Verbs) -> None:
            record = Record(verbs, self.world.clock(), self.world.app.commands.new_id)
            operation = verbs.operation(operation_id)
            assert operation is not None
            running = record.move(operation, State.RUNNING, "claimed")
            record.hold(running, code, "It is checked.", detail="a canary password")

        self.world.app.store.write(unit)
        return operation_id

    def hear(self, witness: str, off_s: float, times: int = LAST) -> None:
        for _ in range(times):
            self.alerts.skew.heard(witness, self.world.clock() / 1000 - off_s)


@pytest.fixture
def watch(world: World) -> Watch:
    return Watch(world)


@pytest.fixture
def watches(worlds: Callable[..., World]) -> Callable[..., Watch]:
    return lambda **over: Watch(worlds(**over))


# How each cause is brought about and ended


def refuse_token(watch: Watch) -> None:
    watch.world.sandbox.settings(token_refused=True)
    watch.world.order()
    watch.world.run(10)


def accept_token(watch: Watch) -> None:
    watch.world.sandbox.settings(token_refused=False)
    watch.world.app.ticks.probe_token()
    watch.world.run(30)


def work_nobody(watch: Watch) -> None:
    watch.world.order()
    watch.pass_time(10 * MINUTE)


def hang_jobs(watch: Watch) -> None:
    watch.world.sandbox.settings(hang_jobs=True)
    watch.world.order()
    watch.pass_time(31 * MINUTE, 60, work=True)


def end_jobs(watch: Watch) -> None:
    watch.world.sandbox.settings(hang_jobs=False)
    watch.world.run(30)


def shop_away(watch: Watch) -> None:
    watch.world.billing.go_down()
    watch.world.order()
    watch.pass_time(40 * MINUTE, 60, work=True)


def shop_back(watch: Watch) -> None:
    watch.world.billing.come_up()
    watch.world.run(10 * MINUTE)


def fetch_nothing(watch: Watch) -> None:
    watch.world.app.deliver.begin()  # as a start does, which remembers how each billing system is told
    body = json.dumps({"type": "order.paid", "data": {"service_id": "7", "plan": "vps-s"}})
    assert watch.world.app.accept.webhook("pulled", "id-1", body.encode()).status == 202
    watch.pass_time(31 * MINUTE, 60, work=True)


def fetch_all(watch: Watch) -> None:
    fetch = watch.world.app.fetch
    fetch.acknowledge("pulled", [offer.delivery.id for offer in fetch.offer("pulled")])


def give_up(watch: Watch) -> None:
    watch.world.billing.go_down()
    watch.world.order()
    watch.world.run(20 * MINUTE)
    assert watch.world.app.store.read(lambda verbs: verbs.count_deliveries()) == {"given_up": 1}


def a_day_passes(watch: Watch) -> None:
    watch.world.clock.advance(DAY)


def hold_one(watch: Watch) -> None:
    watch.hold("1")


def cancel_all(watch: Watch) -> None:
    held = watch.world.app.store.read(lambda verbs: verbs.operations(100, None, state="held"))
    for operation in held:
        watch.world.app.commands.cancel(operation.id, "admin:anna")
    watch.world.run(60)


def reject(watch: Watch) -> None:
    assert watch.receive("order.paid", "id-1", plan="nosuch") == 422


def send_again(watch: Watch) -> None:
    assert watch.receive("order.paid", "id-1", plan="vps-s") == 202
    watch.world.run(60)


def clone(watch: Watch) -> None:
    assert watch.receive("order.paid", "id-1", "https://shop/#1", plan="vps-s") == 202
    watch.world.run(60)
    assert watch.receive("service.terminate", "id-2", "https://shop/#2") == 403


def trip(watch: Watch) -> None:
    for number in range(2):
        watch.world.order(str(number))
    watch.world.run(60)


def reset_and_cancel(watch: Watch) -> None:
    watch.world.app.commands.reset_brake(Kind.CREATE)
    cancel_all(watch)


def pause(watch: Watch) -> None:
    watch.world.app.commands.pause("admin:anna", "a canary reason")
    watch.pass_time(HOUR, 60)


def resume(watch: Watch) -> None:
    watch.world.app.commands.resume()


def recover(watch: Watch) -> None:
    value, now = {"at": watch.world.clock(), "taken_at": 1}, watch.world.clock()
    watch.world.app.store.write(lambda verbs: verbs.set_fact(pauses.RECOVERING, value, now))
    watch.pass_time(HOUR, 60)


def finish(watch: Watch) -> None:
    watch.world.app.recovery.finish("admin:anna")


def lose_vm(watch: Watch) -> None:
    watch.world.done(watch.world.order())
    watch.world.run(120)
    watch.world.sandbox.remove_vm(4001)
    watch.world.app.reconcile.run(fix=False)


def terminate_it(watch: Watch) -> None:
    watch.world.app.store.write(lambda verbs: verbs.save_service(replace(watch.world.service(), vmid=None)))
    watch.world.app.reconcile.run(fix=False)


def leave_vm(watch: Watch) -> None:
    watch.world.done(watch.world.order())
    watch.world.run(120)
    terminate_it(watch)


def delete_it(watch: Watch) -> None:
    watch.world.sandbox.remove_vm(4001)
    watch.world.app.reconcile.run(fix=False)


def fill_disk(watch: Watch) -> None:
    watch.disk = Disk(free=9, size=100, store=1)


def make_room(watch: Watch) -> None:
    watch.disk = FINE


def upset_clock(watch: Watch) -> None:
    watch.off_s = 90


def set_clock(watch: Watch) -> None:
    watch.off_s = 0
    watch.hear(UPSTREAM, 0)


Act = Callable[[Watch], None]
CASES: dict[CauseName, tuple[Act, Act, str]] = {
    CauseName.TOKEN_REFUSED: (refuse_token, accept_token, "Urgent: The upstream refuses the token"),
    CauseName.WORK_STANDS: (work_nobody, end_jobs, "Urgent: The work stands: operation due"),
    CauseName.CREATE_LATE: (hang_jobs, end_jobs, "1 create over 30 min"),
    CauseName.DELIVERY_FAILING: (shop_away, shop_back, "shop: deliveries fail"),
    CauseName.DELIVERY_NOT_FETCHED: (fetch_nothing, fetch_all, "pulled fetches nothing"),
    CauseName.DELIVERY_GIVEN_UP: (give_up, a_day_passes, "shop: 1 message given up"),
    CauseName.HELD: (hold_one, cancel_all, "1 held: config_differs"),
    CauseName.EVENTS_REJECTED: (reject, send_again, "shop: 1 event rejected"),
    CauseName.UNKNOWN_INSTALLATION: (clone, a_day_passes, "shop: another installation sends"),
    CauseName.BRAKE: (trip, reset_and_cancel, "The brake on create is on"),
    CauseName.PAUSED: (pause, resume, "The work is paused"),
    CauseName.RECOVERING: (recover, finish, "The store is still recovering"),
    CauseName.GHOSTS: (lose_vm, terminate_it, "1 service without its VM"),
    CauseName.ORPHANS: (leave_vm, delete_it, "1 VM without a service"),
    CauseName.DISK_LOW: (fill_disk, make_room, "Urgent: Disk nearly full: 9% free"),
    CauseName.CLOCK_SKEW: (upset_clock, set_clock, "The clock is wrong"),
}
SETTINGS: dict[CauseName, dict[str, Any]] = {
    CauseName.BRAKE: {"safety": {"max_creates_per_hour": 1}},
    CauseName.CREATE_LATE: {"upstream": {"job_poll": 60}},
    CauseName.DELIVERY_GIVEN_UP: {"retry": {"deliveries_give_up_after": 600}},
    CauseName.DELIVERY_NOT_FETCHED: {"billing": {"pulled": PULL}},
}


def is_helpful(message: Message, name: CauseName) -> None:
    """Says what, since when, what to do and where to read, in few words and without a secret."""
    lines = message.body.splitlines()
    assert [line.partition(" ")[0] for line in lines[1:]] == ["Since", "Do:", "Runbook:", "Service:"]
    assert lines[1].startswith("Since 2026-11-")
    assert name in lines[3]
    assert len(message.title) <= LONGEST_TITLE
    assert message.urgency is (Urgency.SEVERE if message.title.startswith("Urgent") else Urgency.WARNING)
    assert "canary" not in message.title + message.body
    assert BILLING_SECRET not in message.body


def test_every_cause_has_its_case() -> None:
    assert set(CASES) == set(CauseName)


@pytest.mark.parametrize("name", CASES, ids=str)
def test_cause_is_told_once_and_once_when_it_is_over(name: CauseName, watches: Callable[..., Watch]) -> None:
    watch = watches(**SETTINGS.get(name, {}))
    begin, end, title = CASES[name]
    watch.look()
    assert watch.told() == []
    begin(watch)
    watch.look()
    [(_, message)] = watch.phone.taken
    is_helpful(message, name)
    assert watch.told() == [title]
    watch.pass_time(5 * MINUTE)
    watch.restart()
    watch.pass_time(MINUTE)
    assert watch.told() == []
    end(watch)
    watch.look()
    watch.restart()  # in the middle of its being over, too
    watch.pass_time(MINUTE)
    assert watch.told() == []
    watch.pass_time(3 * MINUTE)
    over = f"Over: {title.removeprefix('Urgent: ')}"
    assert watch.told() == [over[:LONGEST_TITLE]]
    watch.pass_time(HOUR, 300, work=True)
    assert (watch.told(), watch.kept()) == ([], [])


# When a cause begins, and when it does not


def test_nothing_wrong_is_nothing_told(watch: Watch) -> None:
    watch.world.order()
    watch.pass_time(2 * HOUR, 60, work=True)
    assert (watch.told(), watch.kept()) == ([], [])


def test_work_stands_after_ten_minutes_and_not_before(watch: Watch) -> None:
    watch.look()
    watch.world.order()
    watch.pass_time(9 * MINUTE + 45)
    assert watch.told() == []
    watch.pass_time(15)
    assert len(watch.told()) == 1


def test_service_that_was_down_has_time_to_catch_up(watch: Watch) -> None:
    watch.look()
    watch.world.order()
    watch.world.clock.advance(8 * HOUR)
    watch.restart()
    watch.pass_time(MINUTE)
    watch.world.run(60)
    watch.pass_time(MINUTE)
    assert watch.told() == []


def test_pause_is_no_standstill_and_makes_no_create_late(watch: Watch) -> None:
    watch.look()
    watch.world.app.commands.pause("admin:anna", "")
    watch.world.order()
    watch.pass_time(50 * MINUTE, 60)
    watch.world.app.commands.resume()
    watch.pass_time(MINUTE)
    assert watch.told() == []


def test_stuck_deliveries_stand_even_while_upstream_is_paused(watch: Watch) -> None:
    watch.look()
    order = watch.world.order()
    watch.world.run(until=lambda: watch.world.operation(order).state is State.DELIVERING)
    assert watch.told() == []
    stuck = watch.world.app.deliver.claim()
    assert stuck is None  # it was delivered: the next one is to be stuck
    watch.world.app.commands.cancel(watch.hold("2"), "admin:anna")
    watch.world.app.commands.pause("admin:anna", "")
    watch.pass_time(10 * MINUTE)
    assert watch.told() == ["Urgent: The work stands: delivery due"]


def test_create_that_cannot_be_read_is_late(watch: Watch) -> None:
    watch.look()
    order = watch.world.order()
    engine = watch.world.app.store._store._writer.raw  # type: ignore[attr-defined]
    engine.execute("UPDATE operations SET memo = '{' WHERE id = ?", (order,))
    watch.pass_time(30 * MINUTE, 60, work=True)
    assert watch.told() == ["1 create over 30 min"]


def test_create_that_a_person_sent_on_is_not_late(watch: Watch) -> None:
    watch.world.sandbox.settings(fail_next_job={"error": "0xb0: too much"})
    order = watch.world.order()
    watch.world.done(order)
    watch.world.clock.advance(DAY)
    watch.restart()
    watch.pass_time(HOUR, 300)
    watch.world.app.commands.retry(order, "admin:anna")
    watch.pass_time(MINUTE, work=True)
    assert [title for title in watch.told() if "create" in title] == []


def test_delivery_must_fail_again_after_a_restart(watch: Watch) -> None:
    """Failing since before an outage of ours says nothing of the billing system now."""
    watch.world.billing.go_down()
    watch.world.order()
    watch.world.run(20)
    watch.world.billing.come_up()
    watch.world.clock.advance(8 * HOUR)
    watch.restart()
    watch.look()
    watch.pass_time(10 * MINUTE, 60, work=True)
    assert watch.told() == []


def test_disk_begins_below_ten_percent_and_ends_above_twelve(watch: Watch) -> None:
    for free, told in ((10, 0), (9, 1), (11, 0), (9, 0), (12, 1)):
        watch.disk = Disk(free=free, size=100, store=1)
        watch.pass_time(3 * MINUTE)
        assert len(watch.told()) == told, free


def test_unseen_disk_is_neither_full_nor_fine(watch: Watch) -> None:
    watch.disk = None
    watch.pass_time(5 * MINUTE)
    assert watch.told() == []
    watch.disk = Disk(free=1, size=100, store=1)
    watch.look()
    assert len(watch.told()) == 1
    watch.disk = None
    watch.pass_time(5 * MINUTE)
    assert (watch.told(), watch.kept()) == ([], ["disk_low"])


def test_cause_that_comes_and_goes_is_one(watch: Watch) -> None:
    for number in range(6):
        watch.world.sandbox.settings(token_refused=True)
        watch.world.order(str(number))
        watch.world.run(10)
        watch.pass_time(90)
        accept_token(watch)
        watch.pass_time(60)
    assert watch.told() == ["Urgent: The upstream refuses the token"]


def test_reset_brake_tells_of_what_it_held_only_if_it_is_forgotten(watches: Callable[..., Watch]) -> None:
    watch = watches(**SETTINGS[CauseName.BRAKE])
    trip(watch)
    watch.pass_time(30 * MINUTE, 60)
    assert watch.told() == ["The brake on create is on"]
    watch.world.app.commands.reset_brake(Kind.CREATE)
    watch.pass_time(9 * MINUTE)
    assert watch.told() == ["Over: The brake on create is on"]
    watch.pass_time(2 * MINUTE)
    assert watch.told() == ["1 held: brake"]


def test_recovery_tells_of_what_it_holds(watch: Watch) -> None:
    recover(watch)
    watch.told()
    watch.hold("1", "restored")
    watch.pass_time(MINUTE)
    assert watch.told() == []


def test_each_held_reason_is_a_cause_of_its_own(watch: Watch) -> None:
    for number, code in enumerate(("config_differs", "vm_not_seen", "vm_not_seen")):
        watch.hold(str(number), code)
    watch.look()
    assert sorted(watch.told()) == ["1 held: config_differs", "2 held: vm_not_seen"]


# Growth


def test_growing_cause_tells_again_at_most_once_an_hour(watch: Watch) -> None:
    for number in range(3):
        watch.hold(str(number))
    watch.look()
    assert watch.told() == ["3 held: config_differs"]
    for number in range(3, 30):
        watch.hold(str(number))
    watch.pass_time(59 * MINUTE, 60, work=True)
    assert watch.told() == []
    watch.pass_time(2 * MINUTE, work=True)
    assert watch.told() == ["30 held: config_differs"]
    watch.pass_time(3 * HOUR, 300, work=True)
    assert watch.told() == []


def test_little_more_is_no_growth(watch: Watch) -> None:
    for number in range(3):
        watch.hold(str(number))
    watch.look()
    watch.told()
    for number in range(3, 5):
        watch.hold(str(number))
    watch.pass_time(3 * HOUR, 300, work=True)
    assert watch.told() == []


def test_growth_is_measured_from_the_least_since(watch: Watch) -> None:
    held = [watch.hold(str(number)) for number in range(4)]
    watch.look()
    watch.told()
    for operation in held[:3]:
        watch.world.app.commands.cancel(operation, "admin:anna")
    watch.pass_time(HOUR, 300, work=True)
    for number in range(4, 6):
        watch.hold(str(number))
    watch.look()
    assert watch.told() == ["3 held: config_differs"]


# The clock


@pytest.mark.parametrize(
    ("heard", "seconds"),
    [
        ({}, None),
        ({UPSTREAM: [90.0] * (LEAST - 1)}, None),
        ({UPSTREAM: [90.0] * LEAST}, 90.0),
        ({UPSTREAM: [0.5, 0.4, 86400.0, 0.3, 0.2]}, 0.4),  # a page out of somebody's cache
        ({UPSTREAM: [90.0] * 3, "shop": [0.1] * 3}, 0.1),
        ({UPSTREAM: [90.0] * 3, "shop": [-1.0] * 3}, 0.0),
        ({UPSTREAM: [90.0] * 3, "shop": [80.0] * 3}, 80.0),
        ({UPSTREAM: [-90.0] * 3, "shop": [-80.0] * 3}, -80.0),
        ({UPSTREAM: [90.0] * 3, "shop": [88.0] * 3, "other": [0.0] * 3}, 88.0),
        ({UPSTREAM: [0.0] * 3, "shop": [250.0] * 3, "other": [0.1] * 3}, 0.1),
    ],
)
def test_one_wrong_clock_decides_nothing(
    watch: Watch, heard: dict[str, list[float]], seconds: float | None
) -> None:
    for witness, offs in heard.items():
        for off_s in offs:
            watch.hear(witness, off_s, 1)
    found = watch.alerts.skew.seconds()
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_old_times_do_not_count(watch: Watch) -> None:
    watch.hear(UPSTREAM, 90)
    watch.world.clock.advance(31 * MINUTE)
    assert watch.alerts.skew.seconds() is None


def test_busy_witness_keeps_a_bounded_number(watch: Watch) -> None:
    watch.hear(UPSTREAM, 0, 10_000)
    assert [len(times) for times in watch.alerts.skew._heard.values()] == [LAST]


def test_silence_does_not_end_a_skew(watch: Watch) -> None:
    watch.hear(UPSTREAM, 90)
    watch.look()
    watch.told()
    watch.restart()  # nothing was heard since
    watch.pass_time(HOUR, 300)
    assert (watch.told(), watch.kept()) == ([], ["clock_skew"])


def test_skew_is_severe_once_signatures_are_refused(watch: Watch) -> None:
    watch.hear(UPSTREAM, -310)
    watch.look()
    assert watch.told() == ["Urgent: The clock is wrong"]


def test_signed_times_are_heard(watch: Watch) -> None:
    from provisioner.app import surfaces
    from provisioner.signing import Signer
    from provisioner.web import create_app

    client = create_app(surfaces(watch.world.app)).test_client()
    for number in range(LEAST):
        at_s = watch.world.clock() // 1000 - 200
        body = json.dumps({"type": "ping", "data": {}}).encode()
        good = Signer([BILLING_SECRET]).sign(f"id-{number}", at_s, body)
        assert client.post("/queries/shop", data=body, headers=good, content_type="application/json").json
        forged = {**good, "webhook-timestamp": str(at_s + 100)}
        answer = client.post("/webhooks/shop", data=body, headers=forged, content_type="application/json")
        assert answer.status_code == 401
    assert list(watch.alerts.skew._heard) == [billing_witness("shop")]
    assert watch.alerts.skew.seconds() == 200


# Sending


def test_nobody_to_tell_is_remembered_while_it_lasts(watch: Watch) -> None:
    watch.phone.addresses = ()
    watch.hold("1")
    watch.look()
    assert [alert.title for alert in watch.alerts.on()] == ["1 held: config_differs"]
    cancel_all(watch)
    watch.pass_time(3 * MINUTE)
    assert (watch.kept(), watch.phone.tried) == ([], 0)


def test_address_that_fails_is_tried_again_later_and_later(watch: Watch) -> None:
    watch.phone.down = {"1 (phone)"}
    watch.hold("1")
    watch.pass_time(10 * MINUTE, work=True)
    assert 4 <= watch.phone.tried <= 6
    assert watch.alerts.troubles() == {"1 (phone)": "answered 503"}
    assert watch.alerts.waiting() == 1
    watch.pass_time(DAY, 300, work=True)
    assert watch.phone.tried <= 6 + 24 * 4
    watch.phone.down = set()
    watch.pass_time(15 * MINUTE, 60, work=True)
    assert watch.told() == ["1 held: config_differs"]
    assert (watch.alerts.troubles(), watch.alerts.waiting()) == ({}, 0)


def test_address_that_fails_delays_no_other_and_repeats_none(watch: Watch) -> None:
    watch.phone.addresses = ("1 (mailto)", "2 (phone)")
    watch.phone.down = {"1 (mailto)"}
    watch.hold("1")
    watch.look()
    assert watch.told("2 (phone)") == ["1 held: config_differs"]
    watch.pass_time(MINUTE)
    watch.restart()
    watch.phone.down = set()
    watch.pass_time(MINUTE)
    assert (watch.told("1 (mailto)"), watch.told("2 (phone)")) == (["1 held: config_differs"], [])


def test_what_could_not_be_told_in_time_is_told_when_it_is_over(watch: Watch) -> None:
    watch.phone.down = {"1 (phone)"}
    refuse_token(watch)
    watch.look()
    accept_token(watch)
    watch.pass_time(5 * MINUTE)
    watch.restart()
    watch.phone.down = set()
    watch.pass_time(15 * MINUTE)
    [(_, message)] = watch.phone.taken
    assert message.title == "Over: The upstream refuses the token"
    assert message.body.splitlines()[1].startswith("From 2026-11-")
    assert watch.kept() == []


def test_cause_that_is_back_is_told_anew(watch: Watch) -> None:
    for _ in range(2):
        watch.hold("1" if not watch.phone.tried else "2")
        watch.look()
        cancel_all(watch)
        watch.pass_time(3 * MINUTE)
    assert watch.told() == ["1 held: config_differs", "Over: 1 held: config_differs"] * 2


def test_turn_sends_a_bounded_number(watch: Watch) -> None:
    for number in range(15):
        watch.hold(str(number), f"reason_{number}")
    watch.alerts.look()
    watch.alerts.tell()
    assert len(watch.told()) == 10
    watch.alerts.tell()
    assert len(watch.told()) == 5


def test_quiet_look_writes_nothing(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.hold("1")
    fill_disk(watch)
    upset_clock(watch)
    watch.pass_time(MINUTE)

    def refuse(unit: object) -> None:
        raise StoreUnavailable("no write was needed")

    monkeypatch.setattr(watch.world.app.store, "write", refuse)
    watch.pass_time(MINUTE)


def test_alert_of_another_version_is_left_alone(watch: Watch) -> None:
    watch.hold("1")
    watch.look()
    [value] = watch.world.app.store.read(lambda verbs: list(verbs.facts_like("alert:").values()))
    unknown = {**value, "name": "of_tomorrow"}
    watch.world.app.store.write(lambda verbs: verbs.set_fact("alert:of_tomorrow", unknown, 1))
    watch.pass_time(MINUTE)
    assert watch.kept() == ["held"]
