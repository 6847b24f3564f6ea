"""Tells the operator of each operation that failed, wherever Apprise can reach: mail, chat, a webhook.

Needs the address in NOTIFY_URL, such as mailto://user:password@example.com. What stands still, is late or
waits for a person is told by `[alerts]`, once for each cause; this is for those who want to hear of each.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from apprise import Apprise, NotifyType

if TYPE_CHECKING:
    from provisioner.lifecycle import OperationFacts, ServiceFacts

URL = os.environ["NOTIFY_URL"]  # read here, so that `provisioner check` finds it missing


class NotSent(Exception):
    """Nobody was told; it says no more, for the address may hold a password."""


def after_failed(operation: OperationFacts, service: ServiceFacts) -> None:
    if operation.state == "cancelled":  # a person or a later order wanted that
        return
    messenger = Apprise()
    messenger.add(URL)
    sent = messenger.notify(
        title=f"{operation.kind} of service {service.service_id} failed",
        body=f"{operation.error_code}: {operation.error_message}\n"
        f"{service.billing}, {service.hostname or 'no hostname'}, VM {service.vmid or 'none'}\n"
        f"provisioner operations show {operation.id}",
        notify_type=NotifyType.FAILURE,
    )
    if not sent:
        raise NotSent("no message went out: is NOTIFY_URL right, and can it be reached?")
