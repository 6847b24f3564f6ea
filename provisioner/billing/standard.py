"""Platform `standard`: a signed POST to `callback_url` after the Standard Webhooks specification."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from provisioner import signing
from provisioner.billing import Errand
from provisioner.delivery import render
from provisioner.errors import BillingOutcomeUnknown, BillingRefused, BillingUnavailable
from provisioner.line import Lines, Received, retry_after_s

TIMEOUT_S = 20.0  # within the 15 to 30 seconds that the specification names
CHECK_S = 5.0  # for each step of a look whether it is there
MOST_CALLS = 64  # at once; more than there are threads that deliver
_PASSING = frozenset({429, 500, 502, 503, 504})


class StandardBilling:
    """Posts deliveries to one callback address.

    :param secrets: `whsec_…`, newest first; the first one signs.
    :param clock: milliseconds since the epoch; the signature's time is new at each try.
    :param timeout_s: seconds for the whole of one try.
    """

    def __init__(
        self,
        callback_url: str,
        secrets: Sequence[str],
        clock: Callable[[], int],
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._url = callback_url
        self._place = urlsplit(callback_url)._replace(query="").geturl()  # a query may hold a secret
        self._signer = signing.Signer(secrets)
        self._clock = clock
        self._lines = Lines(
            {"Content-Type": "application/json"},
            timeout_s=timeout_s,
            max_concurrency=MOST_CALLS,
            tls=callback_url.lower().startswith("https:"),
        )

    def deliver(self, errand: Errand) -> None:
        """See `Billing.deliver`. Any 2xx accepts it; redirects are not followed."""
        body = render(errand.delivery, errand.credentials)
        headers = self._signer.sign(errand.delivery.id, self._clock() // 1000, body)
        self._judge(self._lines.carry("POST", self._url, body, fresh=False, headers=headers))

    def check(self) -> str:
        """Opens a connection and closes it again: a callback has no call that changes nothing."""
        try:
            self._connect()
        except (OSError, UnicodeError) as error:  # ssl.SSLError is one; the other is a name that cannot be
            raise BillingUnavailable(
                "The billing system cannot be reached.", detail=f"{self._place} cannot be reached: {error}"
            ) from error
        return f"{self._place} can be reached"

    def statuses(self, service_ids: Sequence[str]) -> Mapping[str, str]:
        """See `Billing.statuses`: a callback cannot be asked."""
        return {}

    def _connect(self) -> None:
        """As far as a delivery goes before its first byte: the certificate is verified."""
        from provisioner.line.wire import host_of, verifying  # noqa: PLC0415 - with the first call only

        address = urlsplit(self._url)
        host, has_tls = host_of(address), address.scheme == "https"
        with socket.create_connection((host, address.port or (443 if has_tls else 80)), CHECK_S) as opened:
            if has_tls:
                verifying().wrap_socket(opened, server_hostname=host).close()

    def close(self) -> None:
        self._lines.close()

    def _judge(self, received: Received) -> None:
        """Returns where it was accepted; the status says it, whatever became of the answer's body."""
        answered = f"POST {self._place}: answered {received.status}"
        if 200 <= received.status < 300:
            return
        if not received.sent:
            raise BillingUnavailable(
                "The billing system cannot be reached.", detail=f"POST {self._place}: {received.trouble}"
            )
        if received.status == 0:
            raise BillingOutcomeUnknown(
                "The billing system did not answer.", detail=f"POST {self._place}: {received.trouble}"
            )
        public = "The billing system did not accept a message."
        if received.status in _PASSING:
            wait_s = retry_after_s(received.retry_after, self._clock() / 1000)
            raise BillingUnavailable(public, detail=answered, retry_after_s=wait_s)
        raise BillingRefused(public, detail=f"{answered}; any 2xx would accept it")
