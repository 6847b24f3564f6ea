"""Hands one claimed delivery to its billing system, and ends the operation that it concludes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from provisioner.billing import Billing, Errand
from provisioner.config import Settings
from provisioner.delivery import Delivery, DeliveryState
from provisioner.engine import pauses
from provisioner.engine.advance import backoff_s, service_key
from provisioner.engine.record import NewId, Record
from provisioner.errors import BillingError, BillingUnavailable, Fenced, SealBroken, StoreUnavailable
from provisioner.lifecycle import Lifecycle
from provisioner.operation import DELIVERY_FAILED, State
from provisioner.store import Store
from provisioner.store.verbs import Verbs
from provisioner.vault import Vault

log = structlog.get_logger(__name__)

LEASE_MS = 120_000  # a try is bounded by the adapter's own timeout, far below this


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

    def claim(self) -> Delivery | None:
        """Leases the next delivery that is due and the oldest of its service, or None.

        Its credentials are taken from the service's slot at the first try and kept for all others.
        """
        now = self.clock()
        return self.store.write(lambda verbs: self._claim(verbs, now))

    def _claim(self, verbs: Verbs, now: int) -> Delivery | None:
        if verbs.fact(pauses.RECOVERING) is not None:
            return None
        delivery = verbs.claim_delivery(now, now + LEASE_MS)
        if delivery is None:
            return None
        taken = replace(delivery, last_error="")  # a restart knows by it which ones were under way
        if delivery.with_credentials and not delivery.credentials_version:
            slot = verbs.credentials(delivery.billing, delivery.service_id)
            if slot is not None:
                taken = replace(taken, credentials_version=slot.version, sealed=slot.sealed)
        if taken != delivery:
            verbs.save_delivery(taken, fence=taken.claims)
        return taken

    def deliver(self, delivery: Delivery) -> None:
        """Posts a claimed delivery and writes down how it went."""
        error = self._try(delivery)
        try:
            self.store.write(lambda verbs: self._write_back(verbs, delivery, error))
        except Fenced:
            log.warning("result_dropped", delivery=delivery.id, reason="taken over by another worker")
        except StoreUnavailable as unavailable:
            log.error("write_back_failed", delivery=delivery.id, error=unavailable.detail)

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
        is_latest = self.store.read(lambda verbs: verbs.is_latest(delivery))
        marks = OperationMarks(self.store, self.clock, delivery.operation or delivery.id)
        return Errand(delivery, self._credentials(delivery), is_latest, marks)

    def _credentials(self, delivery: Delivery) -> dict[str, Any]:
        if not delivery.sealed:
            return {}
        return self.vault.open(service_key(delivery.billing, delivery.service_id), delivery.sealed)

    def _write_back(self, verbs: Verbs, delivery: Delivery, error: BillingError | None) -> None:
        record = Record(verbs, self.clock(), self.new_id)
        if error is None:
            self._done(record, delivery)
        elif self._is_over(record, delivery):
            self._give_up(record, delivery, error)
        else:
            self._again(record, delivery, error)

    def _done(self, record: Record, delivery: Delivery) -> None:
        done = replace(
            delivery,
            state=DeliveryState.DONE, sealed="", last_error="", failing_since=None, updated_at=record.now,
        )  # fmt: skip
        record.verbs.save_delivery(self._with_hooks(record, done), fence=delivery.claims)
        if delivery.credentials_version:
            record.verbs.erase_credentials(
                delivery.billing, delivery.service_id, delivery.credentials_version
            )
        self._line(record, delivery, "delivered", attempt=delivery.attempts)
        operation = record.verbs.operation(delivery.operation) if delivery.concludes else None
        if operation is not None and operation.state is State.DELIVERING:
            record.move(operation, State.SUCCEEDED, "succeeded")

    def _is_over(self, record: Record, delivery: Delivery) -> bool:
        most_ms = self.settings.retry.deliveries_give_up_after * 1000
        return delivery.failing_since is not None and record.now - delivery.failing_since >= most_ms

    def _give_up(self, record: Record, delivery: Delivery, error: BillingError) -> None:
        """The work counts as done; the credentials stay, for a retry delivers again."""
        given_up = replace(
            delivery, state=DeliveryState.GIVEN_UP, last_error=error.detail, updated_at=record.now
        )
        record.verbs.save_delivery(self._with_hooks(record, given_up), fence=delivery.claims)
        self._line(record, delivery, "delivery_given_up", message=error.detail, attempt=delivery.attempts)
        operation = record.verbs.operation(delivery.operation) if delivery.concludes else None
        if operation is not None and operation.state is State.DELIVERING:
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
        self._line(
            record, delivery, "delivery_failed",
            message=error.detail, attempt=delivery.attempts, after_s=round(wait_s, 1),
        )  # fmt: skip

    def _with_hooks(self, record: Record, ended: Delivery) -> Delivery:
        """Says of a delivery that has ended whether after-hooks are to be called, from now on."""
        operation = record.verbs.operation(ended.operation) if _tells_an_end(ended) else None
        if operation is None or not self.lifecycle.has_after(operation.kind, failed=_tells_failure(ended)):
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
                self._line(record, delivery, "hook_failed", message=str(error))

        try:
            self.store.write(unit)
        except (Fenced, StoreUnavailable) as error:
            log.warning("hooks_not_marked", delivery=delivery.id, error=error.detail)

    def _line(self, record: Record, delivery: Delivery, what: str, **detail: Any) -> None:
        operation = record.verbs.operation(delivery.operation) if delivery.operation else None
        if operation is not None:
            record.line(operation, what, delivery=delivery.id, type=delivery.type, **detail)


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
