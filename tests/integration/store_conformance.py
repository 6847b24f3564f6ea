"""What every engine of the store must do, written against the port alone.

An engine's test file subclasses `StoreConformance` and gives it the fixture `opened`, which opens the same
store each time it is called.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from provisioner.audit import ERASED, START, AuditLine, Deed, Place
from provisioner.delivery import Delivery, DeliveryState
from provisioner.engine.audit import verify
from provisioner.errors import Fenced, NotFound, StoreUnavailable
from provisioner.operation import DELIVERY_FAILED, Kind, Operation, State, TimelineEntry
from provisioner.service import Service, ServiceStatus, Spec
from provisioner.store import Store
from provisioner.store.verbs import MOST_FACTS, SealedCredentials, StoredEvent, Verbs
from provisioner.store.writer import Unit

NOW = 1_795_000_000_000
SPEC = Spec("Debian10.0", 1, 1024, "10G", 1)
BIG = 2**53 + 1  # more than a float or 32 bits hold


def a_service(service_id: str = "1001", **changes: Any) -> Service:
    service = Service(
        billing="shop", service_id=service_id, seq=0, status=ServiceStatus.ACTIVE, plan="vps-s", spec=SPEC,
        config=None, vmid=None, ips=(), ips_complete=False, hostname="", client_id="", suspend_reason="",
        locked=False, ran_before_suspend=None, created_at=NOW, updated_at=NOW,
    )  # fmt: skip
    return replace(service, **changes)


def an_operation(name: str = "op_1", service_id: str = "1001", **changes: Any) -> Operation:
    operation = Operation(
        id=name, seq=0, billing="shop", service_id=service_id, kind=Kind.CHANGE, state=State.QUEUED,
        step="begin", args={}, memo={}, sent=False, attempts=0, failures=0, claims=0, next_run_at=NOW,
        failing_since=None, expires_at=None, error_code="", error_message="", error_detail="", job_id="",
        vmid=None, actor="billing:shop", event="", approvals=(), created_at=NOW, updated_at=NOW,
    )  # fmt: skip
    return replace(operation, **changes)


def a_delivery(name: str = "msg_1", service_id: str = "1001", **changes: Any) -> Delivery:
    delivery = Delivery(
        id=name, seq=0, billing="shop", service_id=service_id, operation="op_1", concludes=True,
        type="service.action", data={}, with_credentials=False, credentials_version="", sealed="",
        state=DeliveryState.WAITING, attempts=0, claims=0, next_run_at=NOW, failing_since=None,
        last_error="", hooks_due=False, created_at=NOW, updated_at=NOW,
    )  # fmt: skip
    return replace(delivery, **changes)


def an_event(name: str = "evt_1", **changes: Any) -> StoredEvent:
    event = StoredEvent(
        id=name, seq=0, billing="shop", webhook_id=name, state="accepted", type="order.paid",
        service_id="1001", operation="op_1", digest="d", body="{}", answer="{}", code="", message="",
        installation="", actor="", received_at=NOW,
    )  # fmt: skip
    return event._replace(**changes)


def a_deed(at: int = NOW, **changes: Any) -> Deed:
    deed = Deed(
        at, "admin:anna", "suspend.accepted", "192.0.2.7", "shop", "1001", "op_1", 4001, "why", {"n": 1}
    )
    return deed._replace(**changes)


def write_down(store: Store, *deeds: Deed) -> list[AuditLine]:
    return store.write(lambda verbs: [verbs.add_audit(deed) for deed in deeds])


def audit_of(store: Store, **filters: Any) -> list[int]:
    """The numbers of the lines that a list shows."""
    return [line.seq for line in store.read(lambda verbs: verbs.audit(100, None, **filters))]


def problem_of(store: Store) -> str:
    return store.read(verify).problem


def keep(store: Store, *rows: Service | Operation | Delivery | StoredEvent) -> None:
    """Writes rows in this order; the services of operations are made where they are missing."""

    def unit(verbs: Verbs) -> None:
        for row in rows:
            if isinstance(row, Service):
                verbs.add_service(row)
            elif isinstance(row, Operation):
                if verbs.service(row.billing, row.service_id) is None:
                    verbs.add_service(a_service(row.service_id, billing=row.billing))
                verbs.add_operation(row)
            elif isinstance(row, Delivery):
                verbs.add_delivery(row)
            else:
                verbs.add_event(row)

    store.write(unit)


def claims(store: Store, now: int = NOW, lease_until: int = NOW + 60_000) -> Iterator[str]:
    """Claims until there is nothing to be claimed."""
    while (claimed := store.write(lambda verbs: verbs.claim_operation(now, lease_until))) is not None:
        yield claimed.id


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Runs the same work in so many threads that all begin together."""
    barrier = threading.Barrier(count)

    def begin(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


# What is there, in the order of acceptance: (id, what differs from a queued change that is due); what is
# claimed one after the other. A claimed one is running from then on, so it holds back what follows it.
Case = tuple[Sequence[tuple[str, dict[str, Any]]], Sequence[str]]
CREATE = {"kind": Kind.CREATE}
TERMINATE = {"kind": Kind.TERMINATE}
CLAIMS: dict[str, Case] = {
    "what was due longest comes first": (
        [
            ("a", {"next_run_at": NOW - 1, "service_id": "1"}),
            ("b", {"next_run_at": NOW - 9, "service_id": "2"}),
            ("c", {"next_run_at": NOW - 5, "service_id": "3"}),
        ],
        "bca",
    ),
    "of those due together the older one": (
        [("a", {"service_id": "1"}), ("b", {"service_id": "2"}), ("c", {"service_id": "3"})],
        "abc",
    ),
    "what is not due waits": ([("a", {"next_run_at": NOW + 1})], ""),
    "what is due at this moment does not": ([("a", {"next_run_at": NOW, "state": State.WAITING})], "a"),
    "one at a time within a service": ([("a", {}), ("b", {})], "a"),
    "one that waits for its time holds back": (
        [("a", {"state": State.WAITING, "next_run_at": NOW + 1}), ("b", {})],
        "",
    ),
    "one that runs holds back": ([("a", {"state": State.RUNNING, "next_run_at": NOW + 1}), ("b", {})], ""),
    "one whose lease ran out is claimed again": ([("a", {"state": State.RUNNING}), ("b", {})], "a"),
    "one that is being told holds nothing back": ([("a", {"state": State.DELIVERING}), ("b", {})], "b"),
    "one that succeeded holds nothing back": ([("a", {"state": State.SUCCEEDED}), ("b", {})], "b"),
    "one that was cancelled holds nothing back": ([("a", {"state": State.CANCELLED}), ("b", {})], "b"),
    "one that failed holds nothing back": ([("a", {"state": State.FAILED}), ("b", {})], "b"),
    "a failed create holds back": ([("a", {**CREATE, "state": State.FAILED}), ("b", {})], ""),
    "a failed create lets a terminate pass": (
        [("a", {**CREATE, "state": State.FAILED}), ("b", {}), ("c", {**TERMINATE})],
        "",  # the change before it is still queued
    ),
    "a failed create alone lets a terminate pass": (
        [("a", {**CREATE, "state": State.FAILED, "sent": True}), ("b", {**TERMINATE})],
        "b",
    ),
    "a create that could not be told holds nothing back": (
        [("a", {**CREATE, "state": State.FAILED, "error_code": DELIVERY_FAILED}), ("b", {})],
        "b",
    ),
    "a cancelled create holds nothing back": ([("a", {**CREATE, "state": State.CANCELLED}), ("b", {})], "b"),
    "a held one holds back": ([("a", {"state": State.HELD}), ("b", {})], ""),
    "a held one lets a terminate pass": ([("a", {"state": State.HELD}), ("b", {**TERMINATE})], "b"),
    "a held create that was not sent lets it pass": (
        [("a", {**CREATE, "state": State.HELD}), ("b", {**TERMINATE})],
        "b",
    ),
    "a held create that was sent does not": (
        [("a", {**CREATE, "state": State.HELD, "sent": True}), ("b", {**TERMINATE})],
        "",
    ),
    "a terminate waits for what runs": (
        [("a", {"state": State.RUNNING, "next_run_at": NOW + 1}), ("b", {**TERMINATE})],
        "",
    ),
    "a later one holds nothing back": (
        [("a", {}), ("b", {"state": State.WAITING, "next_run_at": NOW - 9})],
        "a",
    ),
    "services do not hold each other back": (
        [("a", {"state": State.HELD, "service_id": "1"}), ("b", {"service_id": "2"})],
        "b",
    ),
    "nor do billing systems with the same service": (
        [("a", {"state": State.HELD, "billing": "one"}), ("b", {"billing": "two"})],
        "b",
    ),
}


class StoreConformance:
    """Every test is given a store that is empty."""

    @pytest.fixture
    def opened(self) -> Callable[[], Store]:
        """Opens the engine's store."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, opened: Callable[[], Store]) -> Iterator[Store]:
        store = opened()
        yield store
        store.close()

    # Units of work

    def test_unit_returns_what_it_made(self, store: Store) -> None:
        def unit(verbs: Verbs) -> str:
            verbs.set_fact("a", 1, NOW)
            return "made"

        assert store.write(unit) == "made"
        assert store.read(lambda verbs: verbs.fact("a")) == 1

    @pytest.mark.parametrize("error", [NotFound("gone"), ValueError("wrong"), Fenced("late")])
    def test_raising_unit_leaves_nothing(self, store: Store, error: Exception) -> None:
        def unit(verbs: Verbs) -> None:
            verbs.set_fact("a", 1, NOW)
            verbs.add_service(a_service())
            raise error

        with pytest.raises(type(error), match=str(error)):
            store.write(unit)
        assert store.read(lambda verbs: (verbs.fact("a"), verbs.service("shop", "1001"))) == (None, None)

    def test_broken_rule_leaves_nothing(self, store: Store) -> None:
        """A VM has one service at most: the unit that says otherwise is at fault, not the store."""
        keep(store, a_service("1", vmid=4001))

        def unit(verbs: Verbs) -> None:
            verbs.set_fact("a", 1, NOW)
            verbs.add_service(a_service("2", vmid=4001))

        with pytest.raises(Exception) as raised:  # noqa: PT011 - each engine has its own class for it
            store.write(unit)
        assert not isinstance(raised.value, StoreUnavailable)
        assert store.read(lambda verbs: verbs.fact("a")) is None

    def test_raising_unit_spares_the_others(self, store: Store) -> None:
        def write(number: int) -> None:
            def unit(verbs: Verbs) -> None:
                verbs.set_fact(f"fact:{number}", number, NOW)
                if number % 3 == 0:
                    raise NotFound(str(number))

            try:
                store.write(unit)
            except NotFound as error:
                assert str(number) == error.public  # noqa: PT017 - everybody gets the answer to his own

        at_once(16, write)
        kept = store.read(lambda verbs: verbs.facts_like("fact:"))
        assert kept == {f"fact:{number}": number for number in range(16) if number % 3}

    def test_readers_cannot_write(self, store: Store) -> None:
        with pytest.raises(StoreUnavailable):
            store.read(lambda verbs: verbs.set_fact("a", 1, NOW))
        assert store.read(lambda verbs: verbs.fact("a")) is None
        store.write(lambda verbs: verbs.set_fact("a", 2, NOW))
        assert store.read(lambda verbs: verbs.fact("a")) == 2

    def test_readers_view_does_not_change(self, store: Store) -> None:
        store.write(lambda verbs: verbs.set_fact("a", "before", NOW))

        def unit(verbs: Verbs) -> list[str]:
            seen = [verbs.fact("a")]
            store.write(lambda writing: writing.set_fact("a", "after", NOW))
            return [*seen, verbs.fact("a")]

        assert store.read(unit) == ["before", "before"]
        assert store.read(lambda verbs: verbs.fact("a")) == "after"

    def test_written_outlives_the_store(self, opened: Callable[[], Store]) -> None:
        first = opened()
        keep(first, a_service())
        first.close()
        second = opened()
        assert second.read(lambda verbs: verbs.service("shop", "1001")) == a_service(seq=1)
        second.close()

    def test_closed_store_says_so(self, store: Store) -> None:
        store.close()
        store.close()
        with pytest.raises(StoreUnavailable):
            store.write(lambda verbs: verbs.set_fact("a", 1, NOW))
        with pytest.raises(StoreUnavailable):
            store.read(lambda verbs: verbs.fact("a"))

    # Rows

    @pytest.mark.parametrize(
        "service",
        [
            a_service(),
            a_service("ä/\\%_'\"", plan="", spec=None, hostname="web1.example.com", client_id="7"),
            a_service(
                vmid=BIG, config=replace(SPEC, mem=BIG), ips=("192.0.2.1", "2001:db8::1"), ips_complete=True,
                status=ServiceStatus.SUSPENDED, suspend_reason="überfällig", locked=True,
                ran_before_suspend=False,
            ),
        ],
    )  # fmt: skip
    def test_service_comes_back_whole(self, store: Store, service: Service) -> None:
        keep(store, service)
        key = (service.billing, service.service_id)
        assert store.read(lambda verbs: verbs.service(*key)) == replace(service, seq=1)
        changed = replace(service, status=ServiceStatus.FAILED, ran_before_suspend=True, updated_at=NOW + 5)
        store.write(lambda verbs: verbs.save_service(changed))
        assert store.read(lambda verbs: verbs.service(*key)) == replace(changed, seq=1)

    def test_operation_comes_back_whole(self, store: Store) -> None:
        full = an_operation(
            args={"spec": SPEC.as_dict(), "name": "ü\U0001f600"}, memo={"listed": [BIG, 4001], "x": None},
            sent=True, attempts=2, failures=1, claims=3, next_run_at=NOW + 1, failing_since=NOW,
            expires_at=NOW + 2, error_code="0xb0", error_message="Zu viel.", error_detail="too much",
            job_id="23", vmid=BIG, event="evt_1", approvals=("brake", "hook"), updated_at=NOW + 3,
        )  # fmt: skip
        keep(store, full)
        assert store.read(lambda verbs: verbs.operation("op_1")) == replace(full, seq=1)
        changed = replace(full, state=State.HELD, memo={}, approvals=(), failing_since=None, job_id="")
        store.write(lambda verbs: verbs.save_operation(changed, fence=3))
        assert store.read(lambda verbs: verbs.operation("op_1")) == replace(changed, seq=1)

    def test_delivery_comes_back_whole(self, store: Store) -> None:
        full = a_delivery(
            concludes=False, data={"ips": ["192.0.2.1"], "hostname": None}, with_credentials=True,
            credentials_version="cred_1", sealed="…", attempts=2, claims=4, failing_since=NOW,
            last_error="answered 500", hooks_due=True,
        )  # fmt: skip
        keep(store, full)
        assert store.read(lambda verbs: verbs.delivery("msg_1")) == replace(full, seq=1)
        done = replace(full, state=DeliveryState.DONE, sealed="", last_error="", hooks_due=False)
        store.write(lambda verbs: verbs.save_delivery(done, fence=4))
        assert store.read(lambda verbs: verbs.delivery("msg_1")) == replace(done, seq=1)

    def test_event_comes_back_whole(self, store: Store) -> None:
        event = an_event(body='{"a": "ü"}', code="c", message="m", installation="i", actor="cron:x")
        keep(store, event)
        by_id, by_webhook = store.read(
            lambda verbs: (verbs.event("evt_1"), verbs.event_by_webhook("shop", "evt_1"))
        )
        assert by_id == by_webhook == event._replace(seq=1)

    def test_accepted_event_is_never_replaced(self, store: Store) -> None:
        keep(store, an_event(), an_event("evt_2", webhook_id="evt_1", operation="op_2"))
        kept = store.read(lambda verbs: verbs.event_by_webhook("shop", "evt_1"))
        assert kept is not None
        assert (kept.id, kept.operation) == ("evt_1", "op_1")

    def test_rejected_event_is_judged_anew(self, store: Store) -> None:
        rejected = an_event(state="rejected", code="unknown_plan", operation="")
        keep(store, rejected, an_event("evt_2"), rejected._replace(state="accepted", code="", operation="x"))
        kept = store.read(lambda verbs: verbs.event_by_webhook("shop", "evt_1"))
        assert kept == an_event(seq=1, operation="x")

    def test_same_webhook_id_of_two_shops_is_two_events(self, store: Store) -> None:
        keep(store, an_event(), an_event("evt_2", webhook_id="evt_1", billing="other"))
        assert len(store.read(lambda verbs: verbs.events(10, None))) == 2

    def test_facts_are_kept_and_dropped(self, store: Store) -> None:
        def unit(verbs: Verbs) -> None:
            for name in ("brake:create", "brake:suspend", "brakes", "brake"):
                verbs.set_fact(name, 1, NOW)
            verbs.set_fact("brake:create", {"a": [1, None, "ü"]}, NOW)

        store.write(unit)
        found = store.read(lambda verbs: verbs.facts_like("brake:"))
        assert found == {"brake:create": {"a": [1, None, "ü"]}, "brake:suspend": 1}
        store.write(lambda verbs: verbs.drop_fact("brake:suspend"))
        assert store.read(lambda verbs: verbs.fact("brake:suspend")) is None

    def test_timeline_keeps_its_order(self, store: Store) -> None:
        keep(store, an_operation())
        entries = [TimelineEntry(NOW - place, f"step {place}", {"n": place}, "a:b") for place in range(12)]
        for entry in entries:
            store.write(partial(Verbs.add_timeline, operation_id="op_1", entry=entry))
        assert store.read(lambda verbs: verbs.timeline("op_1")) == entries

    def test_one_vm_has_one_service(self, store: Store) -> None:
        keep(store, a_service("1", vmid=4001), a_service("2"), a_service("3", vmid=4003))

        def unit(verbs: Verbs) -> tuple[Service | None, Service | None, list[str]]:
            with_vm = [service.service_id for service in verbs.services_with_vm()]
            return verbs.service_by_vmid(4001), verbs.service_by_vmid(4002), with_vm

        assert store.read(unit) == (a_service("1", vmid=4001, seq=1), None, ["1", "3"])
        assert store.read(Verbs.owners_of_vms) == {4001: ("shop", "1"), 4003: ("shop", "3")}

    def test_failed_services_are_those_without_a_vm(self, store: Store) -> None:
        failed = {"status": ServiceStatus.FAILED}
        keep(store, a_service("1"), a_service("2", **failed), a_service("3", vmid=4003, **failed))
        assert [service.service_id for service in store.read(Verbs.failed_services)] == ["2"]

    def test_tombstones_are_of_a_service(self, store: Store) -> None:
        def unit(verbs: Verbs) -> None:
            verbs.add_tombstone(a_service("1"), 4001, NOW)
            verbs.add_tombstone(a_service("1"), 4002, NOW + 1)
            verbs.add_tombstone(a_service("2"), 4001, NOW + 2)
            verbs.add_tombstone(a_service("1"), 4001, NOW + 3)

        store.write(unit)
        assert store.read(lambda verbs: verbs.tombstones("shop", "1")) == [4002, 4001]
        assert store.read(lambda verbs: verbs.tombstoned_since(NOW + 2)) == {4001}

    # Claims

    @pytest.mark.parametrize(("there", "claimed"), CLAIMS.values(), ids=CLAIMS)
    def test_claims_keep_the_order(
        self, store: Store, there: Sequence[tuple[str, dict[str, Any]]], claimed: Sequence[str]
    ) -> None:
        keep(store, *(an_operation(name, **what) for name, what in there))
        assert list(claims(store)) == list(claimed)

    @pytest.mark.parametrize("state", sorted(set(State) - {State.QUEUED, State.RUNNING, State.WAITING}))
    def test_what_stands_still_is_not_claimed(self, store: Store, state: State) -> None:
        keep(store, an_operation(state=state, next_run_at=0))
        assert list(claims(store)) == []

    def test_look_is_claimed_of_what_follows_a_job(self, store: Store) -> None:
        keep(
            store,
            an_operation("new", "1", next_run_at=1),
            an_operation("follows", "2", state=State.WAITING, job_id="7", next_run_at=2),
            an_operation("ended", "3", state=State.SUCCEEDED, job_id="6", next_run_at=1),
        )
        looks = [store.write(lambda verbs: verbs.claim_look(NOW, NOW + 60_000)) for _ in range(2)]
        assert [look and (look.id, look.state, look.claims) for look in looks] == [
            ("follows", State.RUNNING, 1),
            None,
        ]

    def test_claim_is_a_lease(self, store: Store) -> None:
        keep(store, an_operation())
        claimed = store.write(lambda verbs: verbs.claim_operation(NOW, NOW + 60_000))
        assert claimed is not None
        assert (claimed.state, claimed.claims, claimed.next_run_at) == (State.RUNNING, 1, NOW + 60_000)
        assert store.read(lambda verbs: verbs.operation("op_1")) == claimed
        assert list(claims(store, NOW + 59_999)) == []
        assert list(claims(store, NOW + 60_000, NOW + 120_000)) == ["op_1"]
        again = store.read(lambda verbs: verbs.operation("op_1"))
        assert again is not None
        assert (again.claims, again.attempts) == (2, 1)

    @pytest.mark.parametrize(("failures", "attempts"), [(0, 3), (1, 4)])
    def test_look_is_no_attempt(self, store: Store, failures: int, attempts: int) -> None:
        keep(store, an_operation(state=State.WAITING, attempts=3, failures=failures))
        claimed = store.write(lambda verbs: verbs.claim_operation(NOW, NOW + 1))
        assert claimed is not None
        assert claimed.attempts == attempts

    def test_no_two_claims_get_the_same(self, store: Store) -> None:
        keep(store, *(an_operation(f"op_{number}", str(number)) for number in range(60)))
        claimed = [name for names in at_once(8, lambda _: list(claims(store))) for name in names]
        assert sorted(claimed) == sorted(f"op_{number}" for number in range(60))

    def test_what_a_unit_has_put_is_there_to_be_changed(self, store: Store) -> None:
        def unit(verbs: Verbs) -> None:
            verbs.add_service(a_service())
            verbs.add_operation(an_operation())
            verbs.save_operation(an_operation(state=State.HELD), fence=0)
            verbs.add_delivery(a_delivery())
            verbs.save_delivery(a_delivery(state=DeliveryState.DONE), fence=0)

        store.write(unit)
        operation, delivery = store.read(lambda verbs: (verbs.operation("op_1"), verbs.delivery("msg_1")))
        assert operation == an_operation(seq=1, state=State.HELD)
        assert delivery == a_delivery(seq=1, state=DeliveryState.DONE)

    def test_late_worker_is_fenced(self, store: Store) -> None:
        keep(store, an_operation())
        first = store.write(lambda verbs: verbs.claim_operation(NOW, NOW + 1))
        second = store.write(lambda verbs: verbs.claim_operation(NOW + 1, NOW + 60_000))
        assert first is not None
        assert second is not None

        def late(verbs: Verbs) -> None:
            verbs.set_fact("of the late one", 1, NOW)
            verbs.save_operation(replace(first, step="late"), fence=first.claims)

        with pytest.raises(Fenced):
            store.write(late)
        assert store.read(lambda verbs: (verbs.operation("op_1"), verbs.fact("of the late one"))) == (
            second,
            None,
        )
        store.write(lambda verbs: verbs.save_operation(replace(second, step="next"), fence=second.claims))

    def test_leases_can_all_be_ended(self, store: Store) -> None:
        lease = {"state": State.RUNNING, "next_run_at": NOW + 60_000}
        keep(
            store,
            an_operation("a", "1", **lease),
            an_operation("b", "2", state=State.WAITING, next_run_at=NOW + 60_000),
            a_delivery("c", attempts=1, next_run_at=NOW + 60_000),
        )
        store.write(lambda verbs: verbs.release_leases(NOW))
        assert list(claims(store)) == ["a"]
        assert store.write(lambda verbs: verbs.claim_delivery(NOW, NOW + 1)) is not None

    def test_next_moment_is_known(self, store: Store) -> None:
        assert store.read(lambda verbs: verbs.next_operation_at(NOW)) is None
        keep(
            store,
            an_operation("a", next_run_at=NOW),
            an_operation("b", next_run_at=NOW + 9, state=State.WAITING),
            an_operation("c", next_run_at=NOW + 5, state=State.RUNNING),
            an_operation("d", next_run_at=NOW + 1, state=State.HELD),
            an_operation("e", next_run_at=NOW + 1, state=State.FAILED),
        )
        assert store.read(lambda verbs: verbs.next_operation_at(NOW)) == NOW + 5

    def test_moved_one_is_last(self, store: Store) -> None:
        keep(store, an_operation("a"), an_operation("b"), an_operation("c", "2"))
        store.write(lambda verbs: verbs.move_behind("a"))
        in_order = store.read(lambda verbs: verbs.operations_of_service("shop", "1001"))
        last = store.read(lambda verbs: verbs.last_operation_of_service("shop", "1001"))
        assert [operation.id for operation in in_order] == ["b", "a"]
        assert last == in_order[-1]

    def test_open_operations_are_those_that_hold_back(self, store: Store) -> None:
        failed = {"state": State.FAILED}
        keep(
            store,
            an_operation("a", **failed),
            an_operation("b", **CREATE, **failed),
            an_operation("c", state=State.DELIVERING),
            an_operation("d", state=State.HELD),
            an_operation("e"),
        )
        found = store.read(lambda verbs: verbs.open_operations_of_service("shop", "1001"))
        assert [operation.id for operation in found] == ["b", "d", "e"]

    def test_open_ones_of_a_kind(self, store: Store) -> None:
        states = [*State]
        keep(store, *(an_operation(state, state, **CREATE, state=state) for state in states))
        keep(store, an_operation("other", "other"))
        found = store.read(lambda verbs: verbs.open_operations_of_kind(Kind.CREATE))
        assert {operation.id for operation in found} == {"queued", "running", "waiting", "held"}

    def test_jobs_know_their_operations(self, store: Store) -> None:
        keep(store, an_operation("a", job_id="7"), an_operation("b", job_id="8"), an_operation("c"))
        assert [op.id for op in store.read(lambda verbs: verbs.operations_of_job("8"))] == ["b"]
        assert store.read(lambda verbs: verbs.operations_of_job("9")) == []

    def test_makers_of_vms_are_known(self, store: Store) -> None:
        keep(
            store,
            an_operation("a", **CREATE, vmid=4001),
            an_operation("b", kind=Kind.LINK, vmid=4002),
            an_operation("c", **CREATE),
            an_operation("d", vmid=4001),
        )
        made = [store.read(partial(Verbs.operations_that_made, vmid=vmid)) for vmid in (4001, 4002, 4003)]
        assert [[operation.id for operation in found] for found in made] == [["a"], ["b"], []]

    def test_expired_are_those_not_begun(self, store: Store) -> None:
        due: dict[str, Any] = {"expires_at": NOW}
        keep(
            store,
            an_operation("a", **due),
            an_operation("b", expires_at=NOW + 1),
            an_operation("c", **due, sent=True),
            an_operation("d", **due, state=State.FAILED),
            an_operation("e", **due, state=State.WAITING),
            an_operation("f", **due, state=State.RUNNING),
            an_operation("g"),
        )
        expired = store.read(lambda verbs: verbs.expired_operations(NOW, 10))
        assert [operation.id for operation in expired] == ["a", "e", "f"]
        assert len(store.read(lambda verbs: verbs.expired_operations(NOW, 2))) == 2

    @pytest.mark.parametrize(
        ("failing_since", "state", "afterwards"),
        [
            (NOW - 500, State.WAITING, NOW - 400),  # failed before the pause of 100 ms
            (NOW - 40, State.RUNNING, NOW),  # failed within it
            (None, State.QUEUED, None),
            (NOW - 500, State.FAILED, NOW - 500),
        ],
    )
    def test_pause_counts_for_nothing(
        self, store: Store, failing_since: int | None, state: State, afterwards: int | None
    ) -> None:
        keep(store, an_operation(failing_since=failing_since, state=state))
        store.write(lambda verbs: verbs.forgive_pause(NOW - 100, NOW))
        operation = store.read(lambda verbs: verbs.operation("op_1"))
        assert operation is not None
        assert operation.failing_since == afterwards

    # Deliveries and credentials

    @pytest.mark.parametrize(
        ("there", "claimed"),
        [
            ([("a", {}), ("b", {})], ["a"]),
            ([("a", {"next_run_at": NOW + 1}), ("b", {})], []),
            ([("a", {"state": DeliveryState.DONE}), ("b", {})], ["b"]),
            ([("a", {"state": DeliveryState.GIVEN_UP}), ("b", {})], ["b"]),
            ([("a", {"service_id": "1", "next_run_at": NOW + 1}), ("b", {"service_id": "2"})], ["b"]),
            ([("a", {"billing": "one", "next_run_at": NOW + 1}), ("b", {"billing": "two"})], ["b"]),
            ([("a", {"service_id": "1"}), ("b", {"service_id": "2", "next_run_at": NOW - 5})], ["b", "a"]),
        ],
    )
    def test_deliveries_keep_the_order(
        self, store: Store, there: Sequence[tuple[str, dict[str, Any]]], claimed: list[str]
    ) -> None:
        keep(store, *(a_delivery(name, **what) for name, what in there))
        found = []
        while (one := store.write(lambda verbs: verbs.claim_delivery(NOW, NOW + 60_000))) is not None:
            found.append(one.id)
        assert found == claimed

    def test_delivery_claim_is_a_lease(self, store: Store) -> None:
        keep(store, a_delivery())
        first = store.write(lambda verbs: verbs.claim_delivery(NOW, NOW + 60_000))
        assert first is not None
        assert (first.attempts, first.claims, first.next_run_at) == (1, 1, NOW + 60_000)
        assert store.write(lambda verbs: verbs.claim_delivery(NOW + 59_999, NOW)) is None
        assert store.read(lambda verbs: verbs.next_delivery_at(NOW)) == NOW + 60_000
        assert store.write(lambda verbs: verbs.claim_delivery(NOW + 60_000, NOW + 120_000)) is not None
        with pytest.raises(Fenced):
            store.write(lambda verbs: verbs.save_delivery(first, fence=first.claims))

    def test_no_two_claims_get_the_same_delivery(self, store: Store) -> None:
        keep(store, *(a_delivery(f"msg_{number}", str(number)) for number in range(40)))

        def claim_all(_: int) -> list[str]:
            found = []
            while (one := store.write(lambda verbs: verbs.claim_delivery(NOW, NOW + 60_000))) is not None:
                found.append(one.id)
            return found

        claimed = [name for names in at_once(8, claim_all) for name in names]
        assert sorted(claimed) == sorted(f"msg_{number}" for number in range(40))

    @pytest.mark.parametrize(
        ("delivery", "next_run_at", "failing_since"),
        [
            ({}, NOW - 50 + 100, NOW - 50),
            ({"failing_since": NOW - 20}, NOW - 20 + 100, NOW - 20),
            ({"next_run_at": NOW}, NOW - 50 + 100, NOW - 50),
            ({"next_run_at": NOW + 1}, NOW + 1, None),  # parked already
            ({"created_at": NOW - 100}, NOW - 9, None),  # over: it is left to be claimed
            ({"created_at": NOW - 100, "failing_since": NOW}, NOW + 100, NOW),  # retried
            ({"billing": "other"}, NOW - 9, None),
            ({"state": DeliveryState.GIVEN_UP}, NOW - 9, None),
            ({"state": DeliveryState.DONE}, NOW - 9, None),
        ],
    )
    def test_what_is_fetched_is_parked(
        self, store: Store, delivery: dict[str, Any], next_run_at: int, failing_since: int | None
    ) -> None:
        """Also behind an older one of its service: nothing that is due is looked at again."""
        due = {"created_at": NOW - 50, "next_run_at": NOW - 9}
        keep(store, a_delivery("a", **due), a_delivery("b", **{**due, **delivery}))
        before = store.read(lambda verbs: verbs.delivery("b"))
        store.write(lambda verbs: verbs.park_deliveries("shop", NOW, 100))
        parked = store.read(lambda verbs: verbs.delivery("b"))
        assert before is not None
        assert parked == replace(before, next_run_at=next_run_at, failing_since=failing_since)

    def test_release_makes_all_that_waits_new(self, store: Store) -> None:
        parked = {"next_run_at": NOW + 99, "failing_since": NOW - 9, "attempts": 3, "last_error": "x"}
        keep(
            store,
            a_delivery("a", **parked, credentials_version="v1", sealed="…"),
            a_delivery("b", **parked, billing="other"),
            a_delivery("c", **parked, state=DeliveryState.GIVEN_UP),
        )
        store.write(lambda verbs: verbs.release_deliveries("shop", NOW))
        found = store.read(lambda verbs: [verbs.delivery(name) for name in "abc"])
        assert [one.next_run_at for one in found if one] == [NOW, NOW + 99, NOW + 99]
        released = found[0]
        assert released is not None
        assert (released.failing_since, released.attempts, released.last_error) == (NOW, 0, "")
        assert (released.credentials_version, released.sealed) == ("v1", "…")

    @pytest.mark.parametrize(
        ("there", "limit", "found"),
        [
            ("a1 b2 c1 d3", 9, "abcd"),
            ("a1 b2 c1 d3", 2, "ab"),
            ("a1:1 b2 c1 d3", 9, "bdac"),  # what was offered in vain lets others pass, and keeps its order
            ("a1:1 b1 c2 d1:4", 9, "cabd"),
            ("a1:2 b2:1 c2:3 d1", 9, "badc"),
            ("a1 b1:1 c1", 9, "abc"),
        ],
    )
    def test_what_waits_is_fetched_in_order(self, store: Store, there: str, limit: int, found: str) -> None:
        """Each is its name, its service and how often it was offered."""
        keep(store, a_delivery("x", "1", state=DeliveryState.DONE), a_delivery("y", billing="other"))
        for one in there.split():
            service_id, _, attempts = one[1:].partition(":")
            keep(store, a_delivery(one[0], service_id, attempts=int(attempts or 0), next_run_at=NOW + 99))
        waiting = store.read(lambda verbs: verbs.deliveries_to_fetch("shop", limit))
        assert "".join(delivery.id for delivery in waiting) == found

    def test_last_answer_of_each_billing_system_is_known(self, store: Store) -> None:
        def failing(name: str, at: int, **changes: Any) -> Delivery:
            return a_delivery(name, failing_since=NOW + at, updated_at=NOW + at, **changes)

        def unit(verbs: Verbs) -> None:
            for delivery in (
                failing("msg_1", 1, last_error="HTTP 500"),
                failing("msg_2", 3, last_error="HTTP 502"),
                failing("msg_3", 2, last_error="HTTP 500"),
                failing("msg_4", 9, last_error="HTTP 404", state=DeliveryState.DONE),
                failing("msg_5", 9, last_error="HTTP 410", state=DeliveryState.GIVEN_UP),
                failing("msg_6", 5, last_error="no answer", billing="other"),
                a_delivery("msg_7", billing="quiet"),
            ):
                verbs.add_delivery(delivery)

        store.write(unit)
        found = store.read(lambda verbs: [dict(row) for row in verbs.last_delivery_errors()])
        assert found == [
            {"billing": "other", "count": 1, "since": NOW + 5, "at": NOW + 5, "last_error": "no answer"},
            {"billing": "shop", "count": 3, "since": NOW + 1, "at": NOW + 3, "last_error": "HTTP 502"},
        ]

    def test_recent_operations_are_the_newest_first(self, store: Store) -> None:
        def unit(verbs: Verbs) -> None:
            verbs.add_service(a_service())
            for number in range(5):
                at = NOW + number
                verbs.add_operation(a_failed_one(f"op_{number}", created_at=at, updated_at=at + 10))

        def a_failed_one(name: str, **times: int) -> Operation:
            return an_operation(name, state=State.FAILED, sent=True, error_code="0xb0", **times)

        store.write(unit)
        recent = store.read(lambda verbs: [dict(row) for row in verbs.recent_operations(NOW + 2, 100)])
        assert [row["created_at"] - NOW for row in recent] == [4, 3, 2]
        assert recent[0] == {
            "kind": "change", "state": "failed", "sent": 1, "error_code": "0xb0", "created_at": NOW + 4,
            "updated_at": NOW + 14,
        }  # fmt: skip
        few = store.read(lambda verbs: list(verbs.recent_operations(NOW, 2)))
        assert [row["created_at"] - NOW for row in few] == [4, 3]

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("op_2", "2"), ("P_2", "2"), ("a%b", "3"), ("%", "3"), ("_", "321"), ("42", "1"), ("0XB0", "2"),
            ("over the", "2"), ("nosuch", ""), ("", "321"), ("\\", ""),
        ],
    )  # fmt: skip
    def test_operations_are_found_by_their_words(self, store: Store, text: str, found: str) -> None:
        def unit(verbs: Verbs) -> None:
            for service_id in ("1001", "a%b"):
                verbs.add_service(a_service(service_id))
            verbs.add_operation(an_operation("op_1", job_id="42"))
            verbs.add_operation(an_operation("op_2", error_code="0xb0", error_detail="over the limits"))
            verbs.add_operation(an_operation("op_3", "a%b"))

        store.write(unit)
        rows = store.read(lambda verbs: verbs.operations(10, None, text=text))
        assert "".join(row.id[-1] for row in rows) == found

    def test_words_and_filters_narrow_together(self, store: Store) -> None:
        def unit(verbs: Verbs) -> None:
            for service_id in ("a1", "a2", "a3"):
                verbs.add_service(a_service(service_id))
            verbs.add_operation(an_operation("op_1", "a1", state=State.HELD))
            verbs.add_operation(an_operation("op_2", "a2"))
            verbs.add_operation(an_operation("op_3", "a3", state=State.HELD))

        store.write(unit)
        page = store.read(lambda verbs: verbs.operations(1, None, text="a", state=State.HELD))
        assert [row.id for row in page] == ["op_3"]
        rest = store.read(lambda verbs: verbs.operations(5, page[0].seq, text="a", state=State.HELD))
        assert [row.id for row in rest] == ["op_1"]

    @pytest.mark.parametrize(
        ("changes", "is_taken"),
        [
            ({}, True),
            ({"state": DeliveryState.GIVEN_UP}, True),
            ({"state": DeliveryState.DONE}, False),
            ({"billing": "other"}, False),
        ],
    )
    def test_delivery_is_taken_from_its_worker(
        self, store: Store, changes: dict[str, Any], is_taken: bool
    ) -> None:
        keep(store, a_delivery(**changes))
        worker = store.read(lambda verbs: verbs.delivery("msg_1"))
        assert worker is not None
        taken = store.write(lambda verbs: verbs.take_delivery("shop", "msg_1"))
        assert taken == (replace(worker, claims=1) if is_taken else None)
        if is_taken:
            with pytest.raises(Fenced):
                store.write(lambda verbs: verbs.save_delivery(worker, fence=worker.claims))

    def test_oldest_that_waits_is_known(self, store: Store) -> None:
        assert store.read(lambda verbs: verbs.oldest_waiting_delivery("shop")) is None
        keep(
            store,
            a_delivery("a", created_at=NOW - 9, failing_since=NOW - 1),
            a_delivery("b", created_at=NOW - 5),
            a_delivery("c", created_at=NOW - 99, state=DeliveryState.GIVEN_UP),
            a_delivery("d", created_at=NOW - 99, billing="other"),
        )
        assert store.read(lambda verbs: verbs.oldest_waiting_delivery("shop")) == NOW - 5

    def test_hooks_are_claimed_once(self, store: Store) -> None:
        keep(
            store,
            a_delivery("a", "1", state=DeliveryState.DONE),
            a_delivery("b", "2", state=DeliveryState.DONE, hooks_due=True),
        )
        claimed = store.write(lambda verbs: verbs.claim_hooks(NOW, NOW + 60_000))
        assert claimed is not None
        assert (claimed.id, claimed.claims) == ("b", 1)
        assert store.write(lambda verbs: verbs.claim_hooks(NOW, NOW + 60_000)) is None

    @pytest.mark.parametrize(
        ("later", "is_latest"),
        [
            ({"kind": Kind.SUSPEND}, False),
            ({"kind": Kind.TERMINATE, "state": State.SUCCEEDED}, False),
            ({"kind": Kind.SUSPEND, "service_id": "1002"}, True),
            ({"kind": Kind.REBOOT}, True),
            ({"kind": Kind.SUSPEND, "state": State.FAILED}, True),
            ({"kind": Kind.SUSPEND, "state": State.CANCELLED}, True),
        ],
    )
    def test_status_told_is_the_latest(self, store: Store, later: dict[str, Any], is_latest: bool) -> None:
        keep(store, an_operation("op_0", kind=Kind.SUSPEND), an_operation("op_1", kind=Kind.UNSUSPEND))
        keep(store, an_operation("op_2", **later))
        assert store.read(lambda verbs: verbs.is_latest(a_delivery(operation="op_1"))) is is_latest

    def test_retired_store_takes_nothing_more(self, store: Store) -> None:
        store.retire(lambda verbs: verbs.set_fact("last", 1, NOW), "it has moved: call the new one")
        with pytest.raises(StoreUnavailable, match="it has moved: call the new one"):
            store.write(lambda verbs: verbs.set_fact("later", 1, NOW))
        with pytest.raises(StoreUnavailable, match="it has moved"):
            store.retire(lambda verbs: verbs.set_fact("later", 1, NOW), "again")
        assert store.read(lambda verbs: (verbs.fact("last"), verbs.fact("later"))) == (1, None)

    def test_store_that_could_not_be_retired_goes_on(self, store: Store) -> None:
        def broken(verbs: Verbs) -> None:
            verbs.set_fact("last", 1, NOW)
            raise NotFound("there is nothing to retire")

        with pytest.raises(NotFound):
            store.retire(broken, "it has moved")
        store.write(lambda verbs: verbs.set_fact("later", 1, NOW))
        assert store.read(lambda verbs: (verbs.fact("last"), verbs.fact("later"))) == (None, 1)

    def test_marks_are_kept_by_subject_until_taken_back(self, store: Store) -> None:
        store.write(lambda verbs: verbs.set_mark("op_1", "mail", "begun", NOW))
        store.write(lambda verbs: verbs.set_mark("op_1", "mail", "done", NOW))
        store.write(lambda verbs: verbs.set_mark("op_2", "mail", "begun", NOW))
        assert store.read(lambda verbs: verbs.mark("op_1", "mail")) == "done"
        assert store.read(lambda verbs: verbs.mark("op_1", "ticket")) == ""
        store.write(lambda verbs: verbs.set_mark("op_1", "mail", "", NOW))
        assert store.read(lambda verbs: verbs.mark("op_1", "mail")) == ""
        assert store.read(lambda verbs: verbs.mark("op_2", "mail")) == "begun"

    def test_deliveries_of_an_operation(self, store: Store) -> None:
        keep(store, a_delivery("a"), a_delivery("b", operation="op_2"), a_delivery("c"))
        found = store.read(lambda verbs: verbs.deliveries_of_operation("op_1"))
        assert [delivery.id for delivery in found] == ["a", "c"]

    def test_newest_credentials_take_the_slot(self, store: Store) -> None:
        store.write(lambda verbs: verbs.keep_credentials("shop", "1", SealedCredentials("v1", "old")))
        store.write(lambda verbs: verbs.keep_credentials("shop", "1", SealedCredentials("v2", "new")))
        slot = store.read(lambda verbs: verbs.credentials("shop", "1"))
        assert slot == SealedCredentials("v2", "new")
        assert store.read(lambda verbs: verbs.credentials("shop", "2")) is None

    @pytest.mark.parametrize(
        ("version", "delivery", "is_erased"),
        [
            ("v2", None, True),
            ("v1", None, False),  # another one is in the slot by now
            ("v2", a_delivery(with_credentials=True), False),  # it needs them
            ("v2", a_delivery(with_credentials=False), True),
            ("v2", a_delivery(with_credentials=True, service_id="2"), True),
            ("v2", a_delivery(with_credentials=True, state=DeliveryState.DONE), True),
        ],
    )
    def test_slot_is_erased_when_nobody_needs_it(
        self, store: Store, version: str, delivery: Delivery | None, is_erased: bool
    ) -> None:
        store.write(lambda verbs: verbs.keep_credentials("shop", "1001", SealedCredentials("v2", "…")))
        keep(store, *([delivery] if delivery else []))
        store.write(lambda verbs: verbs.erase_credentials("shop", "1001", version))
        assert (store.read(lambda verbs: verbs.credentials("shop", "1001")) is None) == is_erased

    def test_slot_can_be_dropped(self, store: Store) -> None:
        store.write(lambda verbs: verbs.keep_credentials("shop", "1", SealedCredentials("v1", "…")))
        keep(store, a_delivery(with_credentials=True, service_id="1"))
        store.write(lambda verbs: verbs.drop_credentials("shop", "1"))
        assert store.read(lambda verbs: verbs.credentials("shop", "1")) is None

    @pytest.mark.parametrize(
        ("changes", "is_forgotten"),
        [
            ({"state": DeliveryState.GIVEN_UP}, True),
            ({"state": DeliveryState.WAITING}, False),
            ({"state": DeliveryState.GIVEN_UP, "service_id": "2"}, False),
            ({"state": DeliveryState.GIVEN_UP, "billing": "other"}, False),
        ],
    )
    def test_given_up_credentials_can_be_forgotten(
        self, store: Store, changes: dict[str, Any], is_forgotten: bool
    ) -> None:
        keep(store, a_delivery(**{"sealed": "…", "credentials_version": "v1", **changes}))
        store.write(lambda verbs: verbs.forget_given_up_credentials("shop", "1001"))
        left = store.read(lambda verbs: verbs.delivery("msg_1"))
        assert left is not None
        assert (left.sealed, left.credentials_version) == ("" if is_forgotten else "…", "v1")

    @pytest.mark.parametrize(
        ("changes", "is_forgotten"),
        [
            ({"state": DeliveryState.WAITING}, True),
            ({"state": DeliveryState.GIVEN_UP}, True),
            ({"state": DeliveryState.DONE}, False),
            ({"service_id": "2"}, False),
            ({"billing": "other"}, False),
        ],
    )
    def test_older_credentials_can_be_forgotten(
        self, store: Store, changes: dict[str, Any], is_forgotten: bool
    ) -> None:
        """Those of the later ones stay, and whoever has an older one is fenced off."""
        kept = {"sealed": "…", "credentials_version": "v1", "with_credentials": True}
        ids = ("msg_1", "msg_2", "msg_3")
        keep(store, *(a_delivery(one, **{**kept, **(changes if one == "msg_1" else {})}) for one in ids))

        def unit(verbs: Verbs) -> list[Delivery | None]:
            newest = verbs.delivery("msg_2")
            assert newest is not None
            verbs.forget_older_credentials(newest)
            return [verbs.delivery(one) for one in ids]

        older, *others = store.write(unit)
        assert older is not None
        assert (older.sealed, older.with_credentials, older.claims) == (
            ("", False, 1) if is_forgotten else ("…", True, 0)
        )
        assert all(one is not None and one.sealed and not one.claims for one in others)

    # Brakes

    def test_passage_is_counted_once(self, store: Store) -> None:
        def unit(verbs: Verbs) -> None:
            verbs.add_passage(Kind.CREATE, "op_1", NOW)
            verbs.add_passage(Kind.CREATE, "op_1", NOW + 5)
            verbs.add_passage(Kind.CREATE, "op_2", NOW + 10)
            verbs.add_passage(Kind.SUSPEND, "op_3", NOW)

        store.write(unit)
        assert store.read(lambda verbs: verbs.count_passages(Kind.CREATE, NOW - 1)) == 2
        assert store.read(lambda verbs: verbs.count_passages(Kind.CREATE, NOW)) == 1
        store.write(lambda verbs: verbs.drop_passages(Kind.CREATE))
        found = store.read(
            lambda verbs: (verbs.has_passed(Kind.CREATE, "op_1"), verbs.has_passed(Kind.SUSPEND, "op_3"))
        )
        assert found == (False, True)

    # Lists

    def test_pages_stay_in_place_under_writes(self, store: Store) -> None:
        keep(store, *(an_operation(f"op_{number}", str(number)) for number in range(10)))
        seen: list[str] = []
        cursor: int | None = None
        while page := store.read(partial(Verbs.operations, limit=3, cursor=cursor)):
            seen += [operation.id for operation in page]
            cursor = page[-1].seq
            keep(store, an_operation(f"new_{cursor}", f"new {cursor}"))
            list(claims(store))
        assert seen == [f"op_{number}" for number in reversed(range(10))]

    @pytest.mark.parametrize(
        ("filters", "found"),
        [
            ({}, "dcba"),
            ({"state": "held"}, "cb"),
            ({"state": "held", "service_id": "2"}, "c"),
            ({"kind": "create"}, "da"),
            ({"vmid": 4001}, "b"),
            ({"billing": "other"}, "d"),
            ({"billing": "", "state": None}, "dcba"),
            ({"service_id": "%"}, ""),
        ],
    )
    def test_operations_can_be_filtered(self, store: Store, filters: dict[str, Any], found: str) -> None:
        keep(
            store,
            an_operation("a", **CREATE),
            an_operation("b", state=State.HELD, vmid=4001),
            an_operation("c", "2", state=State.HELD),
            an_operation("d", "2", **CREATE, billing="other"),
        )
        listed = store.read(lambda verbs: verbs.operations(10, None, **filters))
        assert [operation.id for operation in listed] == list(found)

    @pytest.mark.parametrize(
        ("filters", "found"),
        [
            ({}, "54321"),
            ({"status": "suspended"}, "2"),
            ({"ip": "192.0.2.1"}, "1"),
            ({"ip": "192.0.2."}, ""),
            ({"text": "192.0.2.1"}, "21"),
            ({"text": "web"}, "3"),
            ({"text": "WEB1"}, "3"),
            ({"text": "ÄRGER"}, "5"),
            ({"text": "%"}, "4"),
            ({"text": "_"}, ""),
            ({"text": "vps-s", "status": "suspended"}, "2"),
            ({"text": "4003"}, "3"),
            ({"text": "400"}, ""),
            ({"vmid": 4003}, "3"),
            ({"billing": "other"}, ""),
        ],
    )
    def test_services_can_be_searched(self, store: Store, filters: dict[str, Any], found: str) -> None:
        keep(
            store,
            a_service("1", ips=("192.0.2.1",)),
            a_service("2", ips=("192.0.2.10", "192.0.2.11"), status=ServiceStatus.SUSPENDED),
            a_service("3", hostname="web1.example.com", vmid=4003, plan="big"),
            a_service("4", client_id="100%", plan="big"),
            a_service("5", client_id="ÄRGER", plan="big"),
        )
        listed = store.read(lambda verbs: verbs.services(10, None, **filters))
        assert [service.service_id for service in listed] == list(found)

    def test_events_can_be_filtered(self, store: Store) -> None:
        keep(store, an_event("a"), an_event("b", state="rejected"), an_event("c", state="rejected"))
        listed = store.read(lambda verbs: verbs.events(1, None, state="rejected"))
        further = store.read(lambda verbs: verbs.events(10, listed[-1].seq, state="rejected"))
        assert [event.id for event in listed + further] == ["c", "b"]

    def test_listed_rows_are_parts_of_the_whole_ones(self, store: Store) -> None:
        """Each field with its value and its type, whatever the order in which they are read."""
        error = {"error_code": "0xb0", "error_detail": "over the limits"}
        timed = {"created_at": NOW + 1, "updated_at": NOW + 2}
        keep(
            store,
            a_service("1", vmid=4001, ips=("192.0.2.1", "192.0.2.2"), ips_complete=True, **timed),
            a_service("2", spec=None, status=ServiceStatus.SUSPENDED, suspend_reason="why", locked=True),
            an_operation("a", "1", vmid=4001, job_id="7", attempts=2, next_run_at=NOW + 3, **timed),
            an_operation("b", "2", **CREATE, **error, actor="admin:anna"),
            an_event("c", state="rejected", code="unknown_plan", message="there is none", operation=""),
        )

        def pairs(verbs: Verbs) -> list[tuple[Any, Any]]:
            return [
                *((one, verbs.service(one.billing, one.service_id)) for one in verbs.services(9, None)),
                *((one, verbs.operation(one.id)) for one in verbs.listed_operations(9, None)),
                *((one, verbs.event(one.id)) for one in verbs.events(9, None)),
            ]

        found = store.read(pairs)
        assert len(found) == 5
        for listed, whole in found:
            assert repr(listed._asdict()) == repr({name: getattr(whole, name) for name in listed._fields})

    @pytest.mark.parametrize("list_of", ["operations", "listed_operations", "services", "events"])
    def test_unknown_filter_is_a_mistake(self, store: Store, list_of: str) -> None:
        with pytest.raises(ValueError, match="actor"):
            store.read(lambda verbs: getattr(verbs, list_of)(10, None, actor="x"))

    def test_rows_are_counted(self, store: Store) -> None:
        keep(store, an_operation("a", "1"), an_operation("b", "2", state=State.HELD), a_delivery())
        keep(store, a_service("3", status=ServiceStatus.FAILED))
        counted = store.read(
            lambda verbs: (verbs.count_operations(), verbs.count_services(), verbs.count_deliveries())
        )
        assert counted == ({"queued": 1, "held": 1}, {"active": 2, "failed": 1}, {"waiting": 1})

    def test_longest_due_is_known(self, store: Store) -> None:
        keep(
            store,
            an_operation("a", state=State.HELD, next_run_at=NOW - 90),
            an_operation("b", next_run_at=NOW - 80),
            an_operation("c", "2", next_run_at=NOW - 5),
            a_delivery("d", next_run_at=NOW + 1),
            a_delivery("e", next_run_at=NOW - 70),
            a_delivery("f", "2", next_run_at=NOW - 6),
        )
        assert store.read(lambda verbs: verbs.oldest_due_operation(NOW)) == NOW - 5
        assert store.read(lambda verbs: verbs.oldest_due_delivery(NOW)) == NOW - 6

    # The audit

    def test_audit_comes_back_whole(self, store: Store) -> None:
        deed = a_deed(reason="ü", vmid=BIG, detail={"b": [1, None], "a": "ü"})
        (line,) = write_down(store, deed)
        assert store.read(lambda verbs: verbs.audit_line(1)) == line
        assert (line.seq, line.vmid, line.facts) == (1, BIG, {"a": "ü", "b": [1, None]})
        assert store.read(lambda verbs: verbs.audit_line(2)) is None

    def test_audit_is_one_chain(self, store: Store) -> None:
        write_down(store, a_deed(), a_deed(reason="other"))
        write_down(store, a_deed())
        lines = store.read(lambda verbs: verbs.audit_after(0, 10))
        assert [line.seq for line in lines] == [1, 2, 3]
        assert store.read(lambda verbs: verbs.audit_ends()) == (START, lines[-1].place)
        assert problem_of(store) == ""

    def test_batch_goes_on_where_a_unit_left_nothing_behind(self, store: Store) -> None:
        """Numbers and chain are drawn for a whole batch: a unit that raises gives back what it has drawn."""

        def unit(number: int, error: Exception | None = None) -> Unit:
            def work(verbs: Verbs) -> None:
                verbs.add_service(a_service(str(number)))
                verbs.add_event(an_event(f"evt_{number}"))
                verbs.add_audit(a_deed(number))
                if error is not None:
                    raise error

            return Unit(work)

        write_down(store, a_deed())
        store._commit([unit(1), unit(2, NotFound("nothing")), unit(3)])  # type: ignore[attr-defined]
        lines = store.read(lambda verbs: verbs.audit_after(0, 10))
        assert [(line.seq, line.at) for line in lines] == [(1, NOW), (2, 1), (3, 3)]
        assert store.read(lambda verbs: verbs.audit_ends()) == (START, lines[-1].place)
        assert [one.seq for one in store.read(lambda verbs: verbs.events(9, None))] == [2, 1]
        assert [one.seq for one in store.read(lambda verbs: verbs.services(9, None))] == [2, 1]
        write_down(store, a_deed())
        assert problem_of(store) == ""

    def test_fact_is_what_the_last_whole_unit_set(self, store: Store) -> None:
        """Facts are remembered from unit to unit: never what one of them took back."""
        names = ("a", "b", "none")

        def unit(value: int, error: Exception | None = None) -> Unit:
            def work(verbs: Verbs) -> Any:
                before = verbs.fact("a"), verbs.facts_among(names)
                verbs.set_fact("a", value, NOW)
                verbs.set_fact("b", value, NOW)
                verbs.drop_fact("b")
                assert verbs.fact("a") == value
                assert verbs.fact("b") is None
                if error is not None:
                    raise error
                return before

            return Unit(work)

        for batch in ([unit(1)], [unit(2, NotFound("nothing"))], [unit(3), unit(4, Fenced("late")), unit(5)]):
            store._commit(batch)  # type: ignore[attr-defined]
        assert [one.result for one in batch] == [(1, {"a": 1}), None, (3, {"a": 3})]
        assert store.read(lambda verbs: (verbs.fact("a"), verbs.facts_among(names))) == (5, {"a": 5})

    def test_reader_sees_a_fact_that_was_set_since(self, store: Store) -> None:
        for value in range(3):
            store.write(lambda verbs, value=value: verbs.set_fact("a", value, NOW))  # type: ignore[misc]
            assert store.read(lambda verbs: verbs.fact("a")) == value

    def test_many_facts_are_remembered_right(self, store: Store) -> None:
        """There are more than are remembered from one batch to the next."""
        many = range(MOST_FACTS + 2)
        store.write(lambda verbs: [verbs.set_fact(f"fact:{number}", number, NOW) for number in many])
        found = store.write(lambda verbs: [verbs.fact(f"fact:{number}") for number in many])
        assert found == list(many)

    def test_unit_sees_where_its_own_audit_ends(self, store: Store) -> None:
        def unit(verbs: Verbs) -> bool:
            line = verbs.add_audit(a_deed())
            return verbs.audit_ends() == (START, line.place)

        assert store.write(unit)

    def test_audit_of_many_is_one_chain(self, store: Store) -> None:
        at_once(8, lambda number: [write_down(store, a_deed(number)) for _ in range(10)])
        assert audit_of(store) == list(range(80, 0, -1))
        assert problem_of(store) == ""

    def test_raising_unit_leaves_no_line(self, store: Store) -> None:
        def unit(verbs: Verbs) -> None:
            verbs.add_audit(a_deed())
            raise NotFound("gone")

        with pytest.raises(NotFound):
            store.write(unit)
        write_down(store, a_deed())
        assert audit_of(store) == [1]
        assert problem_of(store) == ""

    def test_audit_is_filtered_newest_first(self, store: Store) -> None:
        write_down(
            store,
            a_deed(1),
            a_deed(2, actor="billing:shop", vmid=None),
            a_deed(3, service_id="1002"),
            a_deed(4, billing="other"),
            a_deed(5, billing="", service_id=""),
        )
        assert audit_of(store) == [5, 4, 3, 2, 1]
        assert audit_of(store, vmid=4001) == [5, 4, 3, 1]
        assert audit_of(store, actor="billing:shop") == [2]
        assert audit_of(store, billing="shop") == [3, 2, 1]
        assert audit_of(store, billing="shop", service_id="1001") == [2, 1]
        assert audit_of(store, service_id="1001", vmid=4001) == [4, 1]
        assert [line.seq for line in store.read(lambda verbs: verbs.audit(2, 4))] == [3, 2]

    @pytest.mark.parametrize(
        ("window", "found"),
        [
            ({"since": 20}, [5, 4, 2]),  # the clock went back between 2 and 3
            ({"until": 20}, [3, 1]),
            ({"since": 10, "until": 21}, [4, 2, 1]),
            ({"since": 31}, []),
            ({"until": 1}, []),
            ({"since": 20, "actor": "admin:anna"}, [5, 4, 2]),
            ({"since": 20, "actor": "admin:olga"}, []),
        ],
    )
    def test_audit_has_a_window(self, store: Store, window: dict[str, Any], found: list[int]) -> None:
        write_down(store, *(a_deed(at) for at in (10, 20, 5, 20, 30)))
        assert audit_of(store, **window) == found

    def test_pruned_audit_still_hangs_together(self, store: Store) -> None:
        lines = write_down(store, *(a_deed(at) for at in (1, 2, 3, 4, 5)))
        assert store.write(lambda verbs: verbs.prune_audit(4)) == 3
        assert store.write(lambda verbs: verbs.prune_audit(4)) == 0
        assert audit_of(store) == [5, 4]
        assert store.read(lambda verbs: verbs.audit_ends()) == (lines[2].place, lines[4].place)
        assert problem_of(store) == ""

    def test_pruning_everything_keeps_the_chain(self, store: Store) -> None:
        lines = write_down(store, a_deed(1), a_deed(2))
        assert store.write(lambda verbs: verbs.prune_audit(NOW)) == 2
        assert store.read(lambda verbs: verbs.audit_ends()) == (lines[1].place, lines[1].place)
        assert problem_of(store) == ""
        (third,) = write_down(store, a_deed(3))
        assert third.seq == 3
        assert problem_of(store) == ""

    def test_pruning_ends_at_the_first_younger_line(self, store: Store) -> None:
        """A clock that was wrong for a while must not cost the lines before it."""
        write_down(store, *(a_deed(at) for at in (1, 9, 2, 3)))
        assert store.write(lambda verbs: verbs.prune_audit(5)) == 1
        assert audit_of(store) == [4, 3, 2]

    def test_pruning_takes_so_many_at_once(self, store: Store) -> None:
        write_down(store, *(a_deed(at) for at in range(5)))
        assert [store.write(lambda verbs: verbs.prune_audit(NOW, 2)) for _ in range(4)] == [2, 2, 1, 0]
        assert problem_of(store) == ""

    def test_erased_lines_are_empty_and_hold_their_places(self, store: Store) -> None:
        before = write_down(
            store,
            a_deed(1, actor="billing:shop:client:Jane Doe"),
            a_deed(2, service_id="1002"),
            a_deed(3),
            a_deed(4, billing="other"),
        )
        erasing = a_deed(5, action="", reason="asked for", detail={"ticket": 7})
        assert store.write(lambda verbs: verbs.erase_audit("shop", "1001", erasing)) == 2
        lines = store.read(lambda verbs: verbs.audit_after(0, 10))
        assert [line.is_empty for line in lines] == [True, False, True, False, False]
        assert [(line.digest, line.chain) for line in lines[:4]] == [(x.digest, x.chain) for x in before]
        assert [line.erased_by for line in lines] == [5, None, 5, None, None]
        assert (lines[4].action, lines[4].facts) == (ERASED, {"ticket": 7, "lines": 2, "first": 1})
        assert audit_of(store, billing="shop", service_id="1001") == [5]
        assert problem_of(store) == ""

    def test_second_erasure_leaves_the_first_on_record(self, store: Store) -> None:
        write_down(store, a_deed(1))

        def erase(verbs: Verbs) -> int:
            return verbs.erase_audit("shop", "1001", a_deed(2))

        assert store.write(erase) == 1
        write_down(store, a_deed(3))
        assert store.write(erase) == 1
        assert store.write(erase) == 0
        assert audit_of(store) == [5, 4, 3, 2, 1]
        assert audit_of(store, service_id="1001") == [5, 4, 2]
        assert problem_of(store) == ""

    def test_erasing_no_service_erases_nothing(self, store: Store) -> None:
        write_down(store, a_deed(1, billing="", service_id=""))
        assert store.write(lambda verbs: verbs.erase_audit("", "", a_deed(2))) == 0

    @pytest.mark.parametrize("before", [1, 2, 3, 4, 5, 6])
    def test_erased_and_pruned_audit_hangs_together(self, store: Store, before: int) -> None:
        write_down(store, *(a_deed(at, service_id=str(at % 2)) for at in (1, 2, 3, 4)))
        store.write(lambda verbs: verbs.erase_audit("shop", "1", a_deed(5, service_id="1")))
        store.write(lambda verbs: verbs.prune_audit(before))
        assert problem_of(store) == ""
        write_down(store, a_deed(6))
        assert problem_of(store) == ""

    def test_chain_is_followed_piece_by_piece(self, store: Store) -> None:
        write_down(store, *(a_deed(at) for at in range(7)))
        store.write(lambda verbs: verbs.prune_audit(2))
        pieces, after = [], 0
        while True:
            piece = store.read(lambda verbs, after=after: verify(verbs, after, 2))
            pieces.append((piece.read, piece.place.seq))
            assert piece.problem == ""
            if piece.is_end:
                break
            after = piece.place.seq
        assert pieces == [(2, 4), (2, 6), (1, 7)]

    def test_empty_audit_is_right(self, store: Store) -> None:
        found = store.read(verify)
        assert (found.read, found.place, found.problem) == (0, Place(0, ""), "")
