"""A billing system that fetches its deliveries itself: nothing is posted, no secret of its own is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from provisioner.billing import LATE_FETCH_MS, Errand
from provisioner.delivery import iso
from provisioner.errors import BillingUnavailable


class FetchedBilling:
    """Posts nothing: what waits is asked for by `deliveries.pull` and acknowledged.

    :param fetched_at: when it last fetched, in milliseconds since the epoch, or None.
    :param clock: milliseconds since the epoch.
    """

    def __init__(self, fetched_at: Callable[[], int | None], clock: Callable[[], int]) -> None:
        self._fetched_at = fetched_at
        self._clock = clock

    def deliver(self, errand: Errand) -> None:
        """See `Billing.deliver`; always `BillingUnavailable`: the engine leaves these to be fetched."""
        raise _late("it fetches its deliveries itself, so none is posted to it")

    def check(self) -> str:
        """Says when it last fetched.

        :raises BillingUnavailable: it has not fetched yet, or not for half an hour.
        """
        at = self._fetched_at()
        if at is None:
            raise _late(
                "it has fetched nothing yet: copy the drop-in into it, fill in its server record, "
                "and see that its cron runs while this service does"
            )
        if self._clock() - at > LATE_FETCH_MS:
            raise _late(f"it last fetched its deliveries at {iso(at)}: look at its cron and its activity log")
        return f"last fetched its deliveries at {iso(at)}"

    def statuses(self, service_ids: Sequence[str]) -> Mapping[str, str]:
        """See `Billing.statuses`: nobody calls it."""
        return {}

    def close(self) -> None:
        """There is nothing to close."""


def _late(detail: str) -> BillingUnavailable:
    return BillingUnavailable("The billing system has not asked for its messages.", detail=detail)
