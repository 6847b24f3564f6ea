"""The billing port: how a delivery reaches the system that sold the service. One file per platform."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from provisioner.delivery import Delivery

LATE_FETCH_MS = 30 * 60_000  # whoever fetches does so from a cron that runs every five minutes


class Marks(Protocol):
    """What an adapter has to remember between the tries of a delivery, and between those of one operation.

    A mark outlives a kill: what must happen once is marked before it is sent, and looked at before it is
    sent again.
    """

    def get(self, name: str) -> str:
        """The mark's value; '' where there is none."""

    def put(self, name: str, value: str) -> None:
        """Keeps a mark, durable when this returns; '' takes it back.

        :raises StoreUnavailable: it may or may not have been kept.
        """


@dataclass(frozen=True, slots=True)
class Errand:
    """One try to hand a delivery over.

    :param credentials: `username` and `password`, or nothing.
    :param is_latest: whether the service's status is at this moment still as the delivery says: no later
        operation that is under way or done asks for another one.
    :param marks: those of the delivery's operation.
    """

    delivery: Delivery
    credentials: Mapping[str, str] = field(repr=False)
    is_latest: Callable[[], bool]
    marks: Marks


class Billing(Protocol):
    """One billing system. A delivery may be handed over more than once: at least once is the promise."""

    def deliver(self, errand: Errand) -> None:
        """Hands a delivery over, within the lease of a minute and a half.

        :raises BillingUnavailable: it did not arrive; try later.
        :raises BillingRefused: it was refused; tried again all the same, and shown to a person.
        :raises BillingOutcomeUnknown: it may have arrived; try again.
        """

    def check(self) -> str:
        """Says in words that the billing system can be reached, for `provisioner check`.

        :raises BillingError: it cannot, and why; its detail has a line for each problem.
        """

    def statuses(self, service_ids: Sequence[str]) -> Mapping[str, str]:
        """What it says of these services, for a person to compare: `active`, `cancelled`, `missing` …

        As many of them, in their order, as half a minute allows; none where it cannot be asked.

        :raises BillingError: it can be asked, and did not say.
        """

    def close(self) -> None: ...
