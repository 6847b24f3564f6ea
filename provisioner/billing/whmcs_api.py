"""WHMCS's external API: one call, and its answer as a value or as the error that says what is next.

`result` decides, never the HTTP status (docs/whmcs.md). A page that is no JSON is one of maintenance or of a
firewall: nothing ran.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from provisioner.errors import BillingOutcomeUnknown, BillingRefused, BillingUnavailable
from provisioner.line import Lines, Received, retry_after_s
from provisioner.redact import redact_text, scrubber

CALL_S = 20.0
LONGEST_MESSAGE = 300  # characters of what WHMCS says of an error
PLACES = 8  # calls in flight at once: as many as deliveries are

PUBLIC = "The billing system did not accept a message."

NOT_LET_IN = "not_let_in"  # address, credentials or access key: no call will do
NOT_ALLOWED = "not_allowed"  # this action, by the API role
NO_SERVICE = "no_service"
NO_TEMPLATE = "no_template"
NO_DEPARTMENT = "no_department"
NO_TICKET = "no_ticket"
NOT_SENT = "not_sent"
OTHER = "refused"

Params = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True)
class _Said:
    """What a refusal means; `{0}` in the remedy is what the pattern found, `{action}` the call."""

    pattern: re.Pattern[str]
    code: str
    remedy: str


def _said(pattern: str, code: str, remedy: str) -> _Said:
    return _Said(re.compile(pattern, re.IGNORECASE), code, remedy)


_CREDENTIALS_PAGE = "System Settings → Manage API Credentials"
REFUSALS = (
    _said(
        r"(?:Invalid|Forbidden) IP\W+([0-9a-f.:]{2,45})",
        NOT_LET_IN,
        "allow {0} under System Settings → General Settings → Security → API IP Access Restriction; with an "
        "access_key: it is not the one of $api_access_key in WHMCS's configuration.php",
    ),
    _said(
        r"access ?key",
        NOT_LET_IN,
        "access_key must be the one of $api_access_key in WHMCS's configuration.php, or both be left out",
    ),
    _said(
        r"Invalid Permissions|is not allowed",
        NOT_ALLOWED,
        f"allow {{action}} in the API role of these credentials: {_CREDENTIALS_PAGE} → API Roles",
    ),
    _said(
        r"Invalid or missing credentials",
        NOT_LET_IN,
        f"identifier is none that WHMCS knows: make API credentials under {_CREDENTIALS_PAGE}",
    ),
    _said(
        r"Authentication Failed",
        NOT_LET_IN,
        f"secret does not belong to identifier, or their admin is disabled or has no API Access: make new "
        f"ones under {_CREDENTIALS_PAGE}",
    ),
    _said(r"Service ID Not Found", NO_SERVICE, "the service is not in WHMCS, or not any more"),
    _said(
        r"Email Template (not found|is disabled)",
        NO_TEMPLATE,
        "welcome_email must name an enabled template of type Product/Service: System Settings → Email "
        'Templates; or be ""',
    ),
    _said(
        r"Sending Failed",
        NOT_SENT,
        "WHMCS's activity log says why: an empty template, a hook that stopped it, or its mail settings",
    ),
    _said(
        r"Department ID not found",
        NO_DEPARTMENT,
        "ticket_department must be the number of a department: System Settings → Support Departments",
    ),
    _said(r"Ticket ID not found", NO_TICKET, "the ticket was deleted"),
)
_OTHER = _said("", OTHER, "WHMCS refused it: its activity log may say more")
_NO_JSON = object()


class WhmcsApi:
    """The API at one address; safe to use from many threads.

    :param url: of `includes/api.php`.
    :param access_key: empty where WHMCS lets this address in by its list.
    :param clock: milliseconds since the epoch, for a Retry-After that is a date.
    :param call_s: seconds for the whole of one call.
    """

    def __init__(
        self,
        url: str,
        identifier: str,
        secret: str,
        access_key: str,
        clock: Callable[[], int],
        call_s: float = CALL_S,
    ) -> None:
        self._url = url
        self._login = {"identifier": identifier, "secret": secret, "responsetype": "json"}
        if access_key:
            self._login["accesskey"] = access_key
        self._secrets = (identifier, secret, access_key)
        self._clock = clock
        self._call_s = call_s
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        self._lines = Lines(
            headers, timeout_s=call_s, max_concurrency=PLACES, tls=url.lower().startswith("https:")
        )

    @property
    def place(self) -> str:
        """The address without what may be secret in it."""
        parts = urlsplit(self._url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"

    def calls(self, seconds: float, secrets: Iterable[str] = ()) -> Calls:
        """Calls that share a deadline so many seconds from now; no error of theirs holds these secrets."""
        return Calls(self, time.monotonic() + seconds, tuple(secrets))

    def close(self) -> None:
        self._lines.close()

    def call(
        self, action: str, params: Params, *, once: bool, ends_at_s: float, secrets: tuple[str, ...]
    ) -> dict[str, Any]:
        """See `Calls.__call__`."""
        timeout_s = min(self._call_s, ends_at_s - time.monotonic())
        if timeout_s <= 0:
            received = Received(trouble="no time was left in this try", sent=False)
        else:
            body = encode({**params, **self._login, "action": action})
            received = self._lines.carry("POST", self._url, body, fresh=once, timeout_s=timeout_s)
        now_s = self._clock() / 1000
        return judge(f"{action} at {self.place}", action, received, now_s, (*self._secrets, *secrets))


@dataclass(frozen=True, slots=True, repr=False)
class Calls:
    """What one delivery or one check says to WHMCS, within one deadline."""

    api: WhmcsApi
    ends_at_s: float
    secrets: tuple[str, ...]

    def __call__(self, action: str, params: Params | None = None, *, once: bool = False) -> dict[str, Any]:
        """Calls an action and returns its answer.

        :param once: what must not be sent twice goes over a connection of its own.
        :raises BillingUnavailable: nothing happened; try later.
        :raises BillingRefused: WHMCS said no; its code is one of this module's, its detail has the remedy.
        :raises BillingOutcomeUnknown: it was sent, and no clear answer came.
        """
        return self.api.call(action, params or {}, once=once, ends_at_s=self.ends_at_s, secrets=self.secrets)


def encode(params: Params) -> bytes:
    """The form's body in UTF-8; lists as PHP reads them."""
    pairs: list[tuple[str, str]] = []
    for name, value in params.items():
        if isinstance(value, str):
            pairs.append((name, value))
        else:
            pairs += [(f"{name}[{place}]", item) for place, item in enumerate(value)]
    return urlencode(pairs).encode()


def judge(
    call: str, action: str, received: Received, now_s: float, secrets: Sequence[str] = ()
) -> dict[str, Any]:
    """The answer, or the error that it means; see `Calls.__call__`.

    :param call: action and address, for the errors' detail.
    :param now_s: Unix time in seconds.
    :param secrets: values that no error may hold.
    """
    if not received.sent:
        raise _unavailable(f"{call}: {received.trouble}; nothing was sent")
    if received.trouble:
        raise _unknown(f"{call}: {received.trouble}; it may have been done")
    document = _document(received.body)
    if isinstance(document, dict) and document.get("result") == "success":
        return document
    if isinstance(document, dict) and document.get("result") == "error":
        raise _refused(call, action, str(document.get("message") or ""), secrets)
    return _without_result(call, received, document, now_s)


def _without_result(call: str, received: Received, document: object, now_s: float) -> dict[str, Any]:
    """Always raises: the status is all there is to go by."""
    status, wait_s = received.status, retry_after_s(received.retry_after, now_s)
    if status in (429, 503):
        raise _unavailable(f"{call}: answered {status}, try later", wait_s)
    if status in (502, 504):  # a gateway's word that WHMCS has the call and did not answer it
        raise _unknown(f"{call}: a gateway answered {status}; it may have been done")
    if 300 <= status < 400:
        detail = "answered with a redirect, which is not followed: put the final address into api_url"
        raise BillingRefused(PUBLIC, detail=f"{call}: {detail}", code="redirect")
    if document is _NO_JSON and received.body.strip():
        hint = _HINTS.get(status, "is WHMCS in maintenance?")
        raise _unavailable(f"{call}: answered {status} with a page that is no JSON; {hint}", wait_s)
    raise _unknown(f"{call}: answered {status} without a result; it may have been done")


_HINTS = {
    401: "does the web server ask for a login of its own?",
    403: "does a firewall in front of WHMCS refuse this?",
    404: "is api_url that of includes/api.php?",
}


def _unavailable(detail: str, retry_after_s: float | None = None) -> BillingUnavailable:
    return BillingUnavailable(
        "The billing system cannot be reached.", detail=detail, retry_after_s=retry_after_s
    )


def _unknown(detail: str) -> BillingOutcomeUnknown:
    return BillingOutcomeUnknown("The billing system did not answer.", detail=detail)


def _refused(call: str, action: str, message: str, secrets: Sequence[str]) -> BillingRefused:
    found = ((said, said.pattern.search(message)) for said in REFUSALS)
    said, match = next(((said, match) for said, match in found if match), (_OTHER, None))
    remedy = said.remedy.format(match[1] if match and match.re.groups else "", action=action)
    shown = _line(redact_text(message, scrubber(secrets)))
    return BillingRefused(PUBLIC, detail=f"{call}: {shown or 'no message'}; {remedy}", code=said.code)


def _document(body: bytes) -> object:
    try:
        return json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return _NO_JSON


def _line(text: str) -> str:
    """On one line, without control characters, cut."""
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 1]}…"
