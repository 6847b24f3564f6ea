"""Passwords of before a store was put back: a later one may have been delivered since (contract, promise 4).

None of them is told. What would have told one is given up: a retry tells it without a password, and
`reset_password` gives one that works.
"""

from __future__ import annotations

from dataclasses import replace

from provisioner.delivery import Delivery, DeliveryState
from provisioner.engine import shown_once
from provisioner.engine.record import Record
from provisioner.operation import DELIVERY_FAILED, Operation, State
from provisioner.operations import jobs
from provisioner.store.verbs import Verbs

_PUBLIC = "The work is done, but the message about it was from before a restore."
_OLD = (
    "from before a restore: the password may be an old one; "
    "retry, which tells it without one, then reset the password"
)


def forget(record: Record, restored_at: int) -> None:
    """At the end of a recovery: erases what the copy has, and gives up what would have told it.

    :param restored_at: when the store was put back, milliseconds since the epoch.
    """
    verbs = record.verbs
    verbs.set_fact(jobs.RESTORED_AT, restored_at, record.now)
    shown_once.drop_all(verbs)
    for billing, service_id, _ in verbs.all_credentials():
        verbs.drop_credentials(billing, service_id)
    for delivery in verbs.waiting_deliveries_with_credentials():
        _give_up(record, delivery)
    for delivery in verbs.sealed_deliveries():  # these, and those that were given up before
        verbs.save_delivery(replace(delivery, sealed=""), fence=delivery.claims)


def is_old(verbs: Verbs, operation: Operation) -> bool:
    """Whether the password that an operation's job tells may be one of before: it was accepted before the
    store was put back, and the upstream has not answered since that this job does it."""
    restored_at = verbs.fact(jobs.RESTORED_AT)
    if restored_at is None or not operation.job_id or operation.created_at > restored_at:
        return False
    return bool(operation.memo.get(jobs.ASKED_SINCE) != restored_at)


def withhold(record: Record, operation: Operation, delivery: Delivery) -> Operation:
    """Gives up what was to tell one, and with it its operation, for a person to see."""
    given_up = replace(delivery, state=DeliveryState.GIVEN_UP, last_error=_OLD, updated_at=record.now)
    record.verbs.save_delivery(given_up, fence=delivery.claims)
    if operation.state is not State.DELIVERING:
        return operation
    return record.fail(operation, DELIVERY_FAILED, _PUBLIC, detail=_OLD)


def _give_up(record: Record, delivery: Delivery) -> None:
    operation = record.verbs.operation(delivery.operation)
    if operation is not None:
        withhold(record, operation, delivery)
