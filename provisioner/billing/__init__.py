"""The billing port: how a delivery reaches the system that sold the service. One file per platform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from provisioner.delivery import Delivery


class Billing(Protocol):
    """One billing system. A delivery may be handed over more than once: at least once is the promise."""

    def deliver(self, delivery: Delivery, credentials: Mapping[str, str]) -> None:
        """Hands a delivery over.

        :param credentials: `username` and `password`, or nothing.
        :raises BillingUnavailable: it did not arrive; try later.
        :raises BillingRefused: it was refused; tried again all the same, and shown to a person.
        :raises BillingOutcomeUnknown: it may have arrived; try again.
        """

    def check(self) -> str:
        """Says in words that the billing system can be reached, for `provisioner check`.

        :raises BillingError: it cannot, and why.
        """

    def close(self) -> None: ...
