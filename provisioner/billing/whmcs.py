"""Platform `whmcs`, pushed: writes each delivery into its service over WHMCS's API (docs/whmcs.md).

Reads the service, writes, reads back, then the mail, then what staff are told, then the line in the activity
log. All but the mail, the ticket and the notification is harmless to repeat, and is, at each try.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from provisioner.billing import Errand
from provisioner.billing.whmcs_api import (
    NO_SERVICE,
    NO_TICKET,
    NOT_ALLOWED,
    NOT_SENT,
    OTHER,
    PUBLIC,
    Calls,
    Params,
    WhmcsApi,
)
from provisioner.billing.whmcs_rows import OVER, Row, about, change, row_of, status_to_write
from provisioner.errors import BillingError, BillingRefused, BillingUnavailable

ASK_S = 20.0  # for all that is asked at once: a person waits for it
DELIVER_S = 60.0  # for all calls of one try: half of the lease of a delivery
BEGUN, DONE = "begun", "done"
LONGEST_LINE = 1000  # characters of a line in the activity log
NO_SERVICE_ID = "2147483647"  # the greatest that WHMCS's column holds: nobody has it

_SERVICE_ID = re.compile(r"[0-9]{1,10}")  # WHMCS reads "12x" as 12, which is another service
_MASK = re.compile(r"[x*]+")
_SHOWN_AS = {  # UpdateClientProduct's name → GetClientsProducts'
    "serviceusername": "username",
    "servicepassword": "password",
    "suspendreason": "suspensionreason",
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the reseller wants besides the writing: `[billing.<name>]` of the settings.

    :param welcome_email: the template's name, '' for no mail.
    :param on_failure: `notify`, `ticket` or `nothing`.
    :param ticket_department: the department's number, for `ticket`.
    """

    welcome_email: str
    on_failure: str
    ticket_department: int


class WhmcsBilling:
    """The billing port over WHMCS's API. It closes the API."""

    def __init__(self, api: WhmcsApi, wishes: Wishes) -> None:
        self._api = api
        self._wishes = wishes

    def deliver(self, errand: Errand) -> None:
        """See `Billing.deliver`; bounded by `DELIVER_S`."""
        service_id = errand.delivery.service_id
        if not _SERVICE_ID.fullmatch(service_id):
            raise BillingRefused(PUBLIC, detail=f"service {service_id} cannot be one of WHMCS: no number")
        _Visit(self._api.calls(DELIVER_S, errand.credentials.values()), errand, self._wishes).make()

    def check(self) -> str:
        """See `Billing.check`; a line of the error's detail for each problem, with its remedy."""
        calls = self._api.calls(DELIVER_S)
        version = _version(calls)
        problems = [problem for probe in self._probes() if (problem := probe.problem(calls))]
        if problems:
            raise BillingRefused(PUBLIC, detail="\n".join(problems))
        clear = (
            "" if self._api.place.startswith("https:") else "; without https all of it can be read on the way"
        )
        return f"{self._api.place}: {version}, lets this machine in and allows what is needed{clear}"

    def statuses(self, service_ids: Sequence[str]) -> Mapping[str, str]:
        """See `Billing.statuses`; a call for each, of `ASK_S` in all."""
        call = self._api.calls(ASK_S)
        said: dict[str, str] = {}
        for service_id in service_ids:
            try:
                found = _found(call, service_id) if _SERVICE_ID.fullmatch(service_id) else None
            except BillingError:
                if not said:
                    raise
                break
            said[service_id] = str(found.get("status") or "").lower() if found else "missing"
        return said

    def close(self) -> None:
        self._api.close()

    def _probes(self) -> Iterator[_Probe]:
        """Each action that these settings need, without what it cannot do anything without.

        WHMCS looks at the role before it looks at the parameters, so that a permission that is missing shows,
        and nothing can happen: no service is named, no mail has a receiver, no ticket a subject. At worst an
        empty line comes into the activity log.
        """
        yield _Probe("GetClientsProducts", {"serviceid": NO_SERVICE_ID, "limitnum": "1"}, is_whole=True)
        yield _Probe("UpdateClientProduct")
        if self._wishes.welcome_email:
            yield _Probe("SendEmail", {"messagename": self._wishes.welcome_email})
        if self._wishes.on_failure == "notify":
            yield _Probe("TriggerNotificationEvent")
        if self._wishes.on_failure == "ticket":
            yield _Probe("OpenTicket", {"deptid": str(self._wishes.ticket_department)})
            yield _Probe("AddTicketNote")
        yield _Probe("LogActivity")


@dataclass(frozen=True, slots=True)
class _Probe:
    """A call that finds out whether an action may be used; only a whole one can succeed."""

    action: str
    params: Params = field(default_factory=dict)
    is_whole: bool = False

    def problem(self, calls: Calls) -> str:
        """What is in the way, with its remedy; empty where nothing is, or only parameters were missing."""
        try:
            calls(self.action, self.params)
        except BillingRefused as error:
            missing = not self.is_whole and error.code in (OTHER, NO_SERVICE, NO_TICKET, NOT_SENT)
            return "" if missing else error.detail
        return ""


def _version(calls: Calls) -> str:
    """WHMCS's version; the first call of a check, so it also says whether WHMCS lets us in at all."""
    try:
        details = calls("WhmcsDetails").get("whmcs")
    except BillingRefused as error:
        if error.code in (NOT_ALLOWED, OTHER):  # nothing else needs it, and versions before 8 have none
            return "WHMCS, whose version a role with WhmcsDetails may ask,"
        raise
    return f"WHMCS {details.get('version')}" if isinstance(details, dict) else "WHMCS"


@dataclass(slots=True, repr=False)
class _Visit:
    """One try of one delivery."""

    call: Calls
    errand: Errand
    wishes: Wishes
    shown: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def make(self) -> None:
        delivery = self.errand.delivery
        row = row_of(delivery.type, self._facts)
        self.said.append(row.said(delivery.data))
        self.shown = self._look()
        status = self._write(row)
        if row.mail and self.wishes.welcome_email and self.errand.credentials.get("password"):
            self._mail(status)
        if row.alarm:
            self._alarm(row.alarm, f"{delivery.data['kind']} {row.alarm}", self.said[0])
        self._log()

    @property
    def _facts(self) -> dict[str, Any]:
        return {**self.errand.delivery.data, **self.errand.credentials}

    def _look(self) -> dict[str, Any]:
        """The service as WHMCS shows it."""
        service_id = self.errand.delivery.service_id
        found = _found(self.call, service_id)
        if found is not None:
            return found
        detail = (
            f"service {service_id} is not in WHMCS, or not any more: nothing can be written there; if its VM "
            "is to go, terminate the service in provisioner"
        )
        raise BillingRefused(PUBLIC, detail=detail, code=NO_SERVICE)

    def _write(self, row: Row) -> str:
        """The status that WHMCS then shows."""
        written, unset = change(row, self._facts)
        shown, is_latest = str(self.shown.get("status")), self.errand.is_latest()
        status = status_to_write(row, self._facts, shown, is_latest=is_latest)
        if status:
            written["status"] = status
        if "dedicatedip" in row.unsets:
            self._remember_ips()
        if written or unset:
            params: dict[str, Any] = {"serviceid": self.errand.delivery.service_id, **written}
            self.call("UpdateClientProduct", {**params, "unset": unset} if unset else params)
            self._read_back({**written, **dict.fromkeys(unset, "")})
        return status or shown

    def _read_back(self, expected: dict[str, str]) -> None:
        shown = self._look()
        amiss = [name for name, value in expected.items() if not _shows(shown, name, value)]
        if amiss:
            detail = (
                f"service {self.errand.delivery.service_id}: WHMCS said success, but does not show "
                f"{', '.join(amiss)} as written: does a hook or another module change them?"
            )
            raise BillingRefused(PUBLIC, detail=detail, code="not_as_written")

    def _remember_ips(self) -> None:
        """The line in the log names them; a second try would find them unset."""
        shown = f"{self.shown.get('dedicatedip') or ''} {self.shown.get('assignedips') or ''}".split()
        if shown:
            self.errand.marks.put("ips", ", ".join(shown))
        ips = self.errand.marks.get("ips")
        self.said.append(f"its IPs were {ips}" if ips else "no IPs were entered")

    def _mail(self, status: str) -> None:
        if status in OVER:
            self.said.append(f"no welcome mail, for WHMCS shows it as {status}")
            return
        delivery = self.errand.delivery
        params = {"messagename": self.wishes.welcome_email, "id": delivery.service_id}
        if self._once(f"mail {delivery.id}", lambda: self.call("SendEmail", params, once=True)):
            self.said.append("the welcome mail was sent")
            return
        words = (
            "the credentials are in WHMCS, but the welcome mail may not have gone out: look into the "
            "client's mail log; to send it again: the service's page → Resend Welcome Email"
        )
        self.said.append(words)
        self._alarm("mail", "the welcome mail may be missing", words)

    def _alarm(self, name: str, title: str, words: str) -> None:
        """Tells staff as they wish, once for each delivery."""
        if self.wishes.on_failure == "nothing":
            return
        title = f"Service {self.errand.delivery.service_id}: {title}"
        message = f"{about(self.errand.delivery.data)}: {words}"
        tell = self._ticket if self.wishes.on_failure == "ticket" else self._notification
        if not self._once(f"told {name} {self.errand.delivery.id}", lambda: tell(name, title, message)):
            self.said.append(
                "what tells staff of this (on_failure) may not have gone out, and is not repeated"
            )

    def _notification(self, name: str, title: str, message: str) -> None:
        params = {"notification_identifier": f"provisioner.{name}", "title": title, "message": message}
        self.call("TriggerNotificationEvent", params, once=True)

    def _ticket(self, _: str, title: str, message: str) -> None:
        """A ticket for each operation; what comes later of the same one is a note on it."""
        marks = self.errand.marks
        ticket = marks.get("ticket")
        if ticket and self._note(ticket, message):
            return
        params = {
            "deptid": str(self.wishes.ticket_department),
            "subject": title,
            "message": message,
            "serviceid": self.errand.delivery.service_id,
            **self._client,
        }
        opened = self.call("OpenTicket", params, once=True)
        marks.put("ticket", str(opened.get("id") or ""))

    def _note(self, ticket: str, message: str) -> bool:
        """Whether it is on the ticket: that may have been deleted."""
        try:
            self.call("AddTicketNote", {"ticketid": ticket, "message": message}, once=True)
        except BillingRefused as error:
            if error.code != NO_TICKET:
                raise
            return False
        return True

    def _once(self, name: str, send: Callable[[], object]) -> bool:
        """Sends what must not go out twice; False where an earlier try may have sent it, and cannot tell.

        The mark is made before it is sent, so that a process that dies in between leaves it behind. Only a
        clear no takes it back.
        """
        marks = self.errand.marks
        found = marks.get(name)
        if found:
            return found == DONE
        marks.put(name, BEGUN)
        try:
            send()
        except (BillingRefused, BillingUnavailable):
            marks.put(name, "")
            raise
        marks.put(name, DONE)
        return True

    def _log(self) -> None:
        line = f"{about(self.errand.delivery.data)}: {'; '.join(self.said)}"
        self.call("LogActivity", {"description": line[:LONGEST_LINE], **self._client})

    @property
    def _client(self) -> dict[str, str]:
        client = self.shown.get("clientid")
        return {"clientid": str(client)} if client else {}


def _found(call: Calls, service_id: str) -> dict[str, Any] | None:
    """The service as WHMCS shows it; None where it has none of this number."""
    answer = call("GetClientsProducts", {"serviceid": service_id})
    products = listed(answer.get("products"), "product")
    return next((product for product in products if str(product.get("id")) == service_id), None)


def listed(found: object, name: str) -> list[dict[str, Any]]:
    """The items of a list as WHMCS may spell it: under `name` or not, one alone, keyed, '' or absent."""
    inner = found.get(name, found) if isinstance(found, dict) else found
    if isinstance(inner, dict):
        keyed = inner and all(isinstance(item, dict) for item in inner.values())
        inner = list(inner.values()) if keyed else [inner]
    return [item for item in inner if isinstance(item, dict)] if isinstance(inner, list) else []


def _shows(shown: dict[str, Any], name: str, expected: str) -> bool:
    """Whether WHMCS shows a field as written, perhaps in HTML's spelling; a masked password passes."""
    found = shown.get(_SHOWN_AS.get(name, name))
    if not isinstance(found, str):
        return found is None and not expected
    if name == "servicepassword" and _MASK.fullmatch(found):
        return True
    if name == "assignedips":
        return found.split() == expected.split()
    return expected in (found, html.unescape(found))
