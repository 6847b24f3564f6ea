"""Hands one claimed delivery to its billing system, and ends the operation that it concludes.

What a billing system fetches (`fetch.py`) is claimed only to be given up: until then it is parked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from provisioner.billing import Billing, Errand
from provisioner.config import Settings
from provisioner.delivery import Delivery, DeliveryState
from provisioner.engine import pauses
from provisioner.engine.advance import backoff_s, service_key
from provisioner.engine.claims import MayClaim, keep, never, past_unreadable
from provisioner.engine.record import NewId, Record
from provisioner.errors import BillingError, BillingUnavailable, Fenced, SealBroken, StoreUnavailable
from provisioner.lifecycle import Lifecycle
from provisioner.logs import Log
from provisioner.operation import DELIVERY_FAILED, Operation, State
from provisioner.store import Store
from provisioner.store.verbs import Verbs
from provisioner.vault import Vault

log = Log(__name__)

LEASE_MS = 120_000  # a try is bounded by the adapter's own timeout, far below this
MOST_SEALED = 100  # bounds what is looked at for a warning
GIVEN_UP_AT_ONCE = 100  # bounds one transaction; the others follow in the next


@dataclass(slots=True)
class Deliver:
    """Claims and posts deliveries. `clock` gives milliseconds since the epoch."""

    settings: Settings
    store: Store
    billings: Mapping[str, Billing]
    vault: Vault
    lifecycle: Lifecycle
    clock: Callable[[], int]
    new_id: NewId
    rng: random.Random
    _sealed: set[str] = field(default_factory=set)  # deliveries that this process had no key for

    def begin(self) -> None:
        """At the start: what waits for a billing system that is told in another way than before is released.

        It has its whole time again: that it was not told in the other way is no reason to give it up.
        """
        self.store.write(self._release_changed)

    def _release_changed(self, verbs: Verbs) -> None:
        for name, billing in self.settings.billing.items():
            present, fact = "pull" if billing.fetches else "push", f"deliver:{name}"
            if (verbs.fact(fact) or "push") != present:
                verbs.release_deliveries(name, self.clock())
                verbs.set_fact(fact, present, self.clock())

    def claim(self) -> Delivery | None:
        """Leases the next delivery that is due and the oldest of its service, or None.

        Its credentials are taken from the service's slot at the first try and kept for all others.
        """
        return self.store.write(self._claim)

    def _claim(self, verbs: Verbs) -> Delivery | None:
        now = self.clock()
        fetching = self.settings.fetching
        for billing in fetching:
            verbs.park_deliveries(billing, now, self._most_ms)
        if verbs.fact(pauses.RECOVERING) is not None:
            return None
        for _ in range(GIVEN_UP_AT_ONCE):
            delivery = past_unreadable(lambda: verbs.claim_delivery(now, now + LEASE_MS))
            if delivery is None:
                return None
            if delivery.billing not in fetching:
                return self._to_post(verbs, delivery)
            unfetched = replace(delivery, attempts=delivery.attempts - 1)  # to claim it was no try
            self._give_up(Record(verbs, now, self.new_id), unfetched, _not_fetched(unfetched))
        return None

    def _to_post(self, verbs: Verbs, delivery: Delivery) -> Delivery:
        taken = with_slot(verbs, delivery)
        taken = replace(taken, last_error="")  # a restart knows by it which ones were under way
        if taken != delivery:
            verbs.save_delivery(taken, fence=taken.claims)
        return taken

    def deliver(self, delivery: Delivery, may_claim: MayClaim = never) -> Delivery | None:
        """Posts a claimed delivery and writes down how it went.

        :param may_claim: whether to claim the next one as that is written down.
        :returns: that one, where there was one.
        """
        error = self._try(delivery)
        try:
            _, claimed = keep(
                self.store,
                lambda verbs: self._write_back(verbs, delivery, error),
                lambda verbs, _: self._claim(verbs) if may_claim() else None,
            )
            return claimed
        except Fenced:
            log.warning("result_dropped", delivery=delivery.id, reason="taken over by another worker")
        except StoreUnavailable as unavailable:
            log.error("write_back_failed", delivery=delivery.id, error=unavailable.detail)
        return None

    def _try(self, delivery: Delivery) -> BillingError | None:
        billing = self.billings.get(delivery.billing)
        if billing is None:
            return BillingUnavailable(
                "The billing system is not set up.",
                detail=f"[billing.{delivery.billing}] is missing in the settings: add it and restart",
            )
        try:
            billing.deliver(self._errand(delivery))
        except BillingError as error:
            return error
        except SealBroken as error:
            detail = f"{error.detail}: put the key back that sealed it"
            return BillingUnavailable(error.public, detail=detail)
        except Exception as error:  # a mistake of ours must not lose a delivery: it is tried again
            log.exception("delivery_broke", delivery=delivery.id)
            return BillingUnavailable("A message could not be sent.", detail=type(error).__name__)
        return None

    def _errand(self, delivery: Delivery) -> Errand:
        def is_latest() -> bool:
            return self.store.read(lambda verbs: verbs.is_latest(delivery))

        marks = OperationMarks(self.store, self.clock, delivery.operation or delivery.id)
        return Errand(delivery, self.credentials(delivery), is_latest, marks)

    def credentials(self, delivery: Delivery) -> dict[str, Any]:
        """What a delivery has taken from its service's slot, opened; empty where that is nothing.

        :raises SealBroken: no key opens it.
        """
        if not delivery.sealed:
            return {}
        try:
            secret = self.vault.open(service_key(delivery.billing, delivery.service_id), delivery.sealed)
        except SealBroken:
            if len(self._sealed) < MOST_SEALED:
                self._sealed.add(delivery.id)
            raise
        self._sealed.discard(delivery.id)
        return secret

    def unopened(self, verbs: Verbs) -> int:
        """How many deliveries that this process had no key for still wait, counted up to `MOST_SEALED`."""
        tried = self._sealed.copy()
        found = [verbs.delivery(delivery_id) for delivery_id in tried]
        waiting = {one.id for one in found if one is not None and one.state is DeliveryState.WAITING}
        self._sealed -= tried - waiting
        return len(waiting)

    def _write_back(self, verbs: Verbs, delivery: Delivery, error: BillingError | None) -> None:
        record = Record(verbs, self.clock(), self.new_id)
        if error is None:
            self.done(record, delivery)
        elif self._is_over(record, delivery):
            self._give_up(record, delivery, error)
        else:
            self._again(record, delivery, error)

    def done(self, record: Record, delivery: Delivery) -> None:
        """It has arrived: its credentials are erased, and the operation that it concludes has succeeded.

        What comes after it tells no older ones: those that arrive last are those that work (promise 4).

        :raises Fenced: somebody else has claimed it since.
        """
        done = replace(
            delivery,
            state=DeliveryState.DONE, sealed="", last_error="", failing_since=None, updated_at=record.now,
        )  # fmt: skip
        operation = _operation(record.verbs, delivery)
        record.verbs.save_delivery(self._with_hooks(record, done, operation), fence=delivery.claims)
        if delivery.credentials_version:
            record.verbs.forget_older_credentials(delivery)
            record.verbs.erase_credentials(
                delivery.billing, delivery.service_id, delivery.credentials_version
            )
        _line(record, delivery, operation, "delivered", attempt=delivery.attempts)
        if operation is not None and delivery.concludes and operation.state is State.DELIVERING:
            record.move(operation, State.SUCCEEDED, "succeeded")

    def _is_over(self, record: Record, delivery: Delivery) -> bool:
        return delivery.failing_since is not None and record.now - delivery.failing_since >= self._most_ms

    @property
    def _most_ms(self) -> int:
        return int(self.settings.retry.deliveries_give_up_after * 1000)

    def _give_up(self, record: Record, delivery: Delivery, error: BillingError) -> None:
        """The work counts as done; the credentials stay, for a retry delivers again."""
        given_up = replace(
            delivery, state=DeliveryState.GIVEN_UP, last_error=error.detail, updated_at=record.now
        )
        operation = _operation(record.verbs, delivery)
        record.verbs.save_delivery(self._with_hooks(record, given_up, operation), fence=delivery.claims)
        words = {"message": error.detail, "attempt": delivery.attempts}
        _line(record, delivery, operation, "delivery_given_up", **words)
        if operation is not None and delivery.concludes and operation.state is State.DELIVERING:
            public = "The work is done, but the billing system did not take the message."
            record.fail(operation, DELIVERY_FAILED, public, detail=error.detail)

    def _again(self, record: Record, delivery: Delivery, error: BillingError) -> None:
        retry = self.settings.retry
        wait_s = backoff_s(delivery.attempts, retry.first, retry.max, self.rng)
        if isinstance(error, BillingUnavailable) and error.retry_after_s:
            wait_s = max(wait_s, error.retry_after_s)
        waiting = replace(
            delivery,
            next_run_at=record.now + int(wait_s * 1000),
            failing_since=delivery.failing_since or record.now,
            last_error=error.detail,
            updated_at=record.now,
        )
        record.verbs.save_delivery(waiting, fence=delivery.claims)
        self.line(
            record, delivery, "delivery_failed",
            message=error.detail, attempt=delivery.attempts, after_s=round(wait_s, 1),
        )  # fmt: skip

    def _with_hooks(self, record: Record, ended: Delivery, operation: Operation | None) -> Delivery:
        """Says of a delivery that has ended whether after-hooks are to be called, from now on."""
        if operation is None or not _tells_an_end(ended):
            return ended
        if not self.lifecycle.has_after(operation.kind, failed=_tells_failure(ended)):
            return ended
        return replace(ended, hooks_due=True, next_run_at=record.now)

    def claim_hooks(self) -> Delivery | None:
        """Leases a delivery that has ended and whose after-hooks are still to be called, or None."""
        now = self.clock()
        return self.store.write(lambda verbs: verbs.claim_hooks(now, now + LEASE_MS))

    def call_hooks(self, delivery: Delivery) -> None:
        """Calls the users' after-hooks: at least once; what they raise is in the timeline."""
        operation, service = self.store.read(
            lambda verbs: (
                verbs.operation(delivery.operation),
                verbs.service(delivery.billing, delivery.service_id),
            )
        )
        errors = []
        was_taken_back = delivery.state is DeliveryState.WAITING  # by a retry: it will end again
        if operation is not None and service is not None and not was_taken_back:
            errors = self.lifecycle.after(operation, service, failed=_tells_failure(delivery))

        def unit(verbs: Verbs) -> None:
            record = Record(verbs, self.clock(), self.new_id)
            current = verbs.delivery(delivery.id) or delivery  # a retry may have taken it back meanwhile
            called = replace(current, hooks_due=False, next_run_at=record.now)
            verbs.save_delivery(called, fence=delivery.claims)
            for error in errors:
                self.line(record, delivery, "hook_failed", message=str(error))

        try:
            self.store.write(unit)
        except (Fenced, StoreUnavailable) as error:
            log.warning("hooks_not_marked", delivery=delivery.id, error=error.detail)

    def line(self, record: Record, delivery: Delivery, what: str, **detail: Any) -> None:
        """A line in the timeline of the delivery's operation, where it has one."""
        _line(record, delivery, _operation(record.verbs, delivery), what, **detail)


def _operation(verbs: Verbs, delivery: Delivery) -> Operation | None:
    return verbs.operation(delivery.operation) if delivery.operation else None


def _line(record: Record, delivery: Delivery, operation: Operation | None, what: str, **detail: Any) -> None:
    if operation is not None:
        record.line(operation, what, delivery=delivery.id, type=delivery.type, **detail)


def with_slot(verbs: Verbs, delivery: Delivery) -> Delivery:
    """The delivery with its service's credentials, unless it has none to tell or has taken some before."""
    if not delivery.with_credentials or delivery.credentials_version:
        return delivery
    slot = verbs.credentials(delivery.billing, delivery.service_id)
    if slot is None:
        return delivery
    return replace(delivery, credentials_version=slot.version, sealed=slot.sealed)


def _not_fetched(delivery: Delivery) -> BillingUnavailable:
    was = "fetched and never acknowledged" if delivery.attempts else "never fetched"
    look = "look at the billing system's cron and its activity log, then retry"
    return BillingUnavailable("The billing system did not take a message.", detail=f"it was {was}: {look}")


def _tells_failure(delivery: Delivery) -> bool:
    return delivery.type == "operation.failed" or delivery.state is DeliveryState.GIVEN_UP


def _tells_an_end(delivery: Delivery) -> bool:
    return delivery.concludes or delivery.type == "operation.failed"


@dataclass(frozen=True, slots=True)
class OperationMarks:
    """See `Marks`; `subject` is the operation, or a delivery that has none."""

    store: Store
    clock: Callable[[], int]
    subject: str

    def get(self, name: str) -> str:
        return self.store.read(lambda verbs: verbs.mark(self.subject, name))

    def put(self, name: str, value: str) -> None:
        self.store.write(lambda verbs: verbs.set_mark(self.subject, name, value, self.clock()))
