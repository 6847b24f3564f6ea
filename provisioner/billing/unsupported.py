"""A platform that the settings know and this version cannot deliver to yet: what is to be told waits."""

from __future__ import annotations

from provisioner.billing import Errand
from provisioner.errors import BillingUnavailable


class UnsupportedBilling:
    """Accepts nothing, loses nothing: its deliveries wait for a version that can deliver them."""

    def __init__(self, platform: str) -> None:
        self._platform = platform

    def deliver(self, errand: Errand) -> None:
        """See `Billing.deliver`; always `BillingUnavailable`."""
        raise self._error()

    def check(self) -> str:
        """See `Billing.check`; always `BillingUnavailable`."""
        raise self._error()

    def close(self) -> None:
        """There is nothing to close."""

    def _error(self) -> BillingUnavailable:
        return BillingUnavailable(
            "The billing system cannot be told yet.",
            detail=f"this version cannot deliver to platform {self._platform!r}: its events are accepted, "
            "its deliveries wait; use platform standard, or a version that can",
        )
