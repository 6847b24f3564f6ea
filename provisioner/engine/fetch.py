"""Gives a billing system that fetches what waits for it, and takes in what it has written.

The same promises as for what is posted: of one service in order, at least once, and the credentials that a
delivery has taken are erased with its end. What was given and not acknowledged is given again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from provisioner.billing import LATE_FETCH_MS
from provisioner.config import Settings
from provisioner.delivery import Delivery, DeliveryState, render
from provisioner.engine import pauses
from provisioner.engine.deliver import Deliver, with_slot
from provisioner.engine.record import NewId, Record
from provisioner.errors import Fenced, SealBroken, StoreUnavailable
from provisioner.logs import Log
from provisioner.operation import DELIVERY_FAILED, State
from provisioner.store import Store
from provisioner.store.verbs import Verbs

log = Log(__name__)

T = TypeVar("T")

MOST_OFFERED = 100
MOST_BYTES = 512 * 1024  # of one answer; a delivery has a few hundred, with 256 IPs some thousands
NOTED_EVERY_MS = 60_000  # that it fetches is known well enough by the minute


@dataclass(frozen=True, slots=True)
class Offer:
    """One delivery as it is given; `is_latest` as an `Errand` has it."""

    delivery: Delivery
    credentials: Mapping[str, str] = field(repr=False)
    is_latest: bool


@dataclass(frozen=True, slots=True)
class Unfetched:
    """Something waits for this billing system since then, and it has not fetched for long, or never."""

    billing: str
    waits_since: int
    fetched_at: int | None


@dataclass(slots=True)
class Fetch:
    """Offers and acknowledgements. `clock` gives milliseconds since the epoch."""

    settings: Settings
    store: Store
    deliver: Deliver
    clock: Callable[[], int]
    new_id: NewId
    wake: Callable[[], None]

    def acknowledge(self, billing: str, ids: Collection[str]) -> None:
        """Takes in which deliveries the billing system has written; ids that say nothing new are ignored.

        Also while the store is recovering, where nothing is offered: it is a fact about the other side, it
        sends nothing, and what is known to be written is not told again afterwards.

        :raises StoreUnavailable: it may or may not have been kept.
        """

        def unit(record: Record) -> None:
            for delivery_id in dict.fromkeys(ids):
                self._written(record, billing, delivery_id)

        if ids:
            self._write(unit)
            self.wake()

    def offer(self, billing: str) -> list[Offer]:
        """What waits for the billing system, oldest first and of each service in order; nothing is ended.

        At most 100, bounded in bytes; nothing for one that does not fetch or while the store is recovering.

        :raises StoreUnavailable: try again.
        """
        if not self.settings.billing[billing].fetches:
            return []
        return self._write(lambda record: self._offer(record, billing))

    def _write(self, unit: Callable[[Record], T]) -> T:
        try:
            return self.store.write(lambda verbs: unit(Record(verbs, self.clock(), self.new_id)))
        except Fenced as error:
            raise StoreUnavailable("another worker has one of them; ask again") from error

    def _written(self, record: Record, billing: str, delivery_id: str) -> None:
        delivery = record.verbs.take_delivery(billing, delivery_id)
        if delivery is None:
            return
        if delivery.state is DeliveryState.GIVEN_UP:
            self._take_back_failure(record, delivery)
        # One that a restored store has not offered yet takes its credentials only for them to be erased.
        self.deliver.done(record, with_slot(record.verbs, delivery))

    def _take_back_failure(self, record: Record, delivery: Delivery) -> None:
        """Given up too early: it was written after all, so nobody has to retry it."""
        operation = record.verbs.operation(delivery.operation) if delivery.concludes else None
        if operation is None or (operation.state, operation.error_code) != (State.FAILED, DELIVERY_FAILED):
            return
        record.move(
            operation,
            State.DELIVERING,
            "acknowledged_late",
            error_code="",
            error_message="",
            error_detail="",
        )

    def _offer(self, record: Record, billing: str) -> list[Offer]:
        _note(record, billing)
        if record.verbs.fact(pauses.RECOVERING) is not None:
            return []
        offers: list[Offer] = []
        held_up: set[str] = set()
        size = 0
        for waiting in record.verbs.deliveries_to_fetch(billing, MOST_OFFERED):
            size += len(render(waiting, {}))
            if offers and size > MOST_BYTES:
                break
            offer = None if waiting.service_id in held_up else self._offered(record, waiting)
            if offer is None:
                held_up.add(waiting.service_id)
            else:
                offers.append(offer)
        return sorted(offers, key=lambda offer: offer.delivery.seq)

    def _offered(self, record: Record, waiting: Delivery) -> Offer | None:
        """The offer, with the credentials that it keeps from now on; None where they do not open."""
        taken = record.verbs.take_delivery(waiting.billing, waiting.id)
        if taken is None or taken.state is not DeliveryState.WAITING:
            return None
        delivery = with_slot(record.verbs, taken)
        try:
            credentials, problem = self.deliver.credentials(delivery), ""
        except SealBroken as error:
            credentials, problem = {}, f"{error.detail}: put the key back that sealed it"
        self._note_offer(record, delivery, problem)
        if problem:
            return None
        return Offer(delivery, credentials, record.verbs.is_latest(delivery))

    def _note_offer(self, record: Record, delivery: Delivery, problem: str) -> None:
        """Counts it; the timeline has a line for the first time, and for each new problem."""
        noted = replace(delivery, attempts=delivery.attempts + 1, last_error=problem, updated_at=record.now)
        record.verbs.save_delivery(noted, fence=noted.claims)
        if problem and problem != delivery.last_error:
            log.error("delivery_not_offered", delivery=delivery.id, error=problem)
            self.deliver.line(record, delivery, "delivery_failed", message=problem, attempt=noted.attempts)
        elif not problem and (delivery.last_error or not delivery.attempts):
            self.deliver.line(record, delivery, "fetched")


def fetched_at(verbs: Verbs, billing: str) -> int | None:
    """When a billing system last fetched its deliveries, to the minute; None: never."""
    at: int | None = verbs.fact(_fetched_fact(billing))
    return at


def unfetched(verbs: Verbs, settings: Settings, now: int) -> list[Unfetched]:
    """The billing systems for which something waits too long because they do not fetch."""
    found = []
    for billing in settings.fetching:
        last, oldest = fetched_at(verbs, billing), verbs.oldest_waiting_delivery(billing)
        is_late = all(at is None or now - at > LATE_FETCH_MS for at in (last, oldest))
        if oldest is not None and is_late:
            found.append(Unfetched(billing, oldest, last))
    return found


def _note(record: Record, billing: str) -> None:
    last = fetched_at(record.verbs, billing)
    if last is None or record.now - last >= NOTED_EVERY_MS:
        record.verbs.set_fact(_fetched_fact(billing), record.now, record.now)


def _fetched_fact(billing: str) -> str:
    return f"fetched:{billing}"
