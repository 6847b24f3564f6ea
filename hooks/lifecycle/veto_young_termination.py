"""Lets nobody delete a server on its first day unasked: most such terminations are mistakes or fraud.

The terminate is held, and nothing has been stopped; a person approves it, or cancels it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provisioner.lifecycle import OperationFacts, ServiceFacts

YOUNG = timedelta(days=1)


class TooYoung(Exception):
    """The service was ordered less than a day before its termination was asked for."""


def before_terminate(operation: OperationFacts, service: ServiceFacts) -> None:
    age = datetime.fromisoformat(operation.created_at) - datetime.fromisoformat(service.created_at)
    if service.vmid is not None and age < YOUNG:
        hours = age // timedelta(hours=1)
        raise TooYoung(
            f"service {service.service_id} is only {hours} h old: approve or cancel its termination"
        )
