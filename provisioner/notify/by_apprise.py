"""Messages by Apprise: mail, chat, text message, webhook, whatever an address of its kind names.

Apprise is imported when the first message is sent: that takes longer than all else at a start. Its addresses
hold passwords, and its log lines may hold parts of them, so none of those is let through.
"""

from __future__ import annotations

import logging
import queue
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from provisioner.errors import NotSent
from provisioner.notify import Message, Urgency

if TYPE_CHECKING:
    from apprise import Apprise

PATIENCE_S = 20.0  # for one message; Apprise bounds each connection and read, not the whole
_LOGGER = "apprise"
_STATUS = re.compile(r"\berror=(\d{3})\b")


class AppriseNotify:
    """Sends to a list of Apprise addresses.

    :param urls: the addresses; they are secrets.
    :param patience_s: how long one message may take, in seconds.
    """

    def __init__(self, urls: Iterable[str], patience_s: float = PATIENCE_S) -> None:
        self._urls: Mapping[str, str] = {
            f"{place} ({url.partition(':')[0]})": url for place, url in enumerate(urls, 1)
        }
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._busy: set[str] = set()

    @property
    def addresses(self) -> Sequence[str]:
        """See `Notify.addresses`."""
        return tuple(self._urls)

    def send(self, address: str, message: Message) -> None:
        """See `Notify.send`. What does not end in time goes on alone, and is not begun twice."""
        with self._lock:
            if address in self._busy:
                raise NotSent("the message before has still not ended")
            self._busy.add(address)
        outcome: queue.SimpleQueue[str] = queue.SimpleQueue()

        def work() -> None:
            try:
                outcome.put(_trouble(self._urls[address], message))
            finally:
                self._busy.discard(address)

        threading.Thread(target=work, name="notify", daemon=True).start()
        try:
            trouble = outcome.get(timeout=self._patience_s)
        except queue.Empty:
            trouble = f"it did not end within {self._patience_s:g} s"
        if trouble:
            raise NotSent(trouble)

    def unknown(self) -> list[str]:
        """The names of the addresses that Apprise cannot read; nothing is sent."""
        return [address for address, url in self._urls.items() if _opened(url) is None]


def _trouble(url: str, message: Message) -> str:
    """Sends it; returns why it was not sent, in words without the address, or nothing."""
    from apprise import NotifyFormat, NotifyType  # noqa: PLC0415 - see above

    kinds = {
        Urgency.SEVERE: NotifyType.FAILURE,
        Urgency.WARNING: NotifyType.WARNING,
        Urgency.OVER: NotifyType.SUCCESS,
        Urgency.TEST: NotifyType.INFO,
    }
    try:
        opened = _opened(url)
        if opened is None:
            return "Apprise knows no such address: look with `provisioner check`"
        result = opened.notify(
            title=message.title,
            body=message.body,
            notify_type=kinds[message.urgency],
            body_format=NotifyFormat.TEXT,
        )
        return "" if result else _reason(entry.message for entry in result.logs())
    except Exception as error:  # whatever it says may hold a part of the address
        return f"Apprise broke with {type(error).__name__}"


def _reason(lines: Iterable[str]) -> str:
    """Of what Apprise says, the HTTP status, and nothing else: the rest may hold a part of the address."""
    found = [status[1] for line in lines if (status := _STATUS.search(line))]
    return f"answered {found[0]}" if found else "it could not be reached, or refused the message"


def _opened(url: str) -> Apprise | None:
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - see above

    _silence()
    messenger = Apprise(asset=AppriseAsset(app_id="provisioner", storage_mode="memory"))  # nothing on disk
    return messenger if messenger.add(url) else None


def _silence() -> None:
    """Keeps Apprise's log lines to itself: they quote addresses, or parts of them."""
    logger = logging.getLogger(_LOGGER)
    logger.propagate = False
    if not logger.handlers:  # or else Python prints what nobody handles
        logger.addHandler(logging.NullHandler())
