"""Platform `standard`: a signed POST to `callback_url` after the Standard Webhooks specification."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests

from provisioner import signing
from provisioner.billing import Errand
from provisioner.delivery import render
from provisioner.errors import BillingOutcomeUnknown, BillingRefused, BillingUnavailable

TIMEOUT_S = 20.0  # within the 15 to 30 seconds that the specification names
LONGEST_RETRY_AFTER_S = 3600.0
_READ = 65536


class StandardBilling:
    """Posts deliveries to one callback address.

    :param secrets: `whsec_…`, newest first; the first one signs.
    :param clock: milliseconds since the epoch; the signature's time is new at each try.
    """

    def __init__(
        self,
        callback_url: str,
        secrets: Sequence[str],
        clock: Callable[[], int],
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._url = callback_url
        self._secrets = list(secrets)
        self._clock = clock
        self._timeout_s = timeout_s
        self._threads = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()

    def deliver(self, errand: Errand) -> None:
        """See `Billing.deliver`. Any 2xx accepts it; redirects are not followed."""
        body = render(errand.delivery, errand.credentials)
        headers = signing.sign(self._secrets, errand.delivery.id, self._clock() // 1000, body)
        status, retry_after = self._post(body, {**headers, "Content-Type": "application/json"})
        if 200 <= status < 300:
            return
        public = "The billing system did not accept a message."
        detail = f"POST {self._url}: answered {status}"
        if status in (429, 500, 502, 503, 504):
            raise BillingUnavailable(public, detail=detail, retry_after_s=retry_after)
        raise BillingRefused(public, detail=f"{detail}; any 2xx would accept it")

    def check(self) -> str:
        """Opens a connection and closes it again: a callback has no call that changes nothing."""
        address = urlsplit(self._url)
        port = address.port or (443 if address.scheme == "https" else 80)
        try:
            socket.create_connection((address.hostname or "", port), timeout=5.0).close()
        except OSError as error:
            raise BillingUnavailable(
                "The billing system cannot be reached.", detail=f"{self._url} cannot be reached: {error}"
            ) from error
        return f"{self._url} can be reached"

    def close(self) -> None:
        with self._lock:
            for session in self._sessions:
                session.close()

    def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, float | None]:
        deadline = time.monotonic() + self._timeout_s
        try:
            with self._session().post(
                self._url,
                data=body,
                headers=headers,
                timeout=self._timeout_s,
                allow_redirects=False,
                stream=True,
            ) as answer:
                self._drain(answer, deadline)
                return answer.status_code, _retry_after(answer.headers.get("Retry-After"), self._clock())
        except requests.ConnectionError as error:
            raise BillingUnavailable(
                "The billing system cannot be reached.", detail=f"POST {self._url}: {_cause(error)}"
            ) from error
        except (requests.RequestException, ValueError) as error:
            raise BillingOutcomeUnknown(
                "The billing system did not answer.", detail=f"POST {self._url}: {_cause(error)}"
            ) from error

    def _drain(self, answer: requests.Response, deadline: float) -> None:
        """Reads a little of the body, so that the connection can be used again; the status is what counts."""
        if time.monotonic() < deadline:
            answer.raw.read1(_READ, decode_content=False)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            session = self._threads.session = requests.Session()
            session.trust_env = False
            with self._lock:
                self._sessions.append(session)
        return session


def _retry_after(value: str | None, now_ms: int) -> float | None:
    """The seconds that a Retry-After header names, as a number or a date, within reason."""
    if not value:
        return None
    try:
        seconds = (
            float(value) if value.isdigit() else parsedate_to_datetime(value).timestamp() - now_ms / 1000
        )
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)


def _cause(error: BaseException) -> str:
    """The innermost reason, without the address it was for: an address may hold a secret."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    return (
        type(error).__name__
        if not isinstance(error, OSError)
        else f"{error.strerror or type(error).__name__}"
    )
