"""A stand-in for WHMCS's `includes/api.php`, written from its public API reference; on a real socket.

It takes documented parameters only, answers in the documented words, with numbers as strings, and can be made
to behave like a WHMCS on a bad day.
"""

from __future__ import annotations

import base64
import html
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from provisioner.sandbox.wire import Answer, Exchange, Listener

IDENTIFIER, SECRET, ACCESS_KEY = "Id3ntifierOfTheApi", "S3cretOfTheApi&more", "Acc3ss!key(of)api"
PATH = "/whmcs/includes/api.php"
TEMPLATE = "New VPS Information"
LOGIN = {"action", "identifier", "secret", "responsetype", "accesskey"}
DOCUMENTED = {
    "GetClientsProducts": {"limitstart", "limitnum", "clientid", "serviceid", "pid", "domain", "username2"},
    "UpdateClientProduct": {
        "serviceid", "domain", "status", "serviceusername", "servicepassword", "dedicatedip", "assignedips",
        "suspendreason", "unset",
    },
    "SendEmail": {"messagename", "id"},
    "LogActivity": {"clientid", "description"},
    "TriggerNotificationEvent": {"notification_identifier", "title", "message"},
    "OpenTicket": {"deptid", "subject", "message", "clientid", "serviceid"},
    "AddTicketNote": {"ticketid", "message"},
    "WhmcsDetails": set(),
}  # fmt: skip
READS = {"GetClientsProducts", "WhmcsDetails"}
COLUMNS = {  # UpdateClientProduct's names → tblhosting's
    "serviceusername": "username",
    "servicepassword": "password",
    "status": "domainstatus",
}
SHOWN = {"domainstatus": "status", "suspendreason": "suspensionreason", "userid": "clientid"}


@dataclass
class Fault:
    """What goes wrong with the next calls of an action, `*` for any.

    `kind`: `page` and `answer` are sent instead of doing anything, `after` and `drop` once it was done,
    `deaf` drops it undone, `hang` drops it done after `seconds`, `slow` does it and answers byte by byte for
    `seconds`.
    """

    action: str
    kind: str
    answer: Answer = field(default_factory=lambda: Answer.page(503))
    times: int = 1
    seconds: float = 0.0


class WhmcsStub:
    """One WHMCS: its services as tblhosting has them, and what was done to them."""

    def __init__(self) -> None:
        self.services: dict[str, dict[str, str]] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.heads: list[dict[str, str]] = []
        self.mails: list[dict[str, str]] = []
        self.log: list[str] = []
        self.notifications: list[dict[str, Any]] = []
        self.tickets: dict[str, list[str]] = {}
        self.templates = {TEMPLATE: True, "Switched Off": False}
        self.departments = {"3"}
        self.forbidden: set[str] = set()
        self.refused_ip = ""
        self.access_key = ""
        self.version: Any = {"version": "8.13.1", "canonicalversion": "8.13.1-release.1"}
        self.shape: Callable[[list[dict[str, Any]]], Any] = lambda found: {"product": found}
        self.show: Callable[[dict[str, Any]], None] = lambda product: None
        self.keep: Callable[[str, str], str] = lambda column, value: value
        self._faults: list[Fault] = []
        self._lock = threading.RLock()
        self.listener = Listener(self._serve)
        self.listener.come_up()

    @property
    def api_url(self) -> str:
        return self.listener.url + PATH

    def settings(self, **over: Any) -> dict[str, Any]:
        """[billing.<name>] for it."""
        return {
            "platform": "whmcs",
            "secrets": ["whsec_" + base64.b64encode(b"b" * 32).decode()],
            "api_url": self.api_url,
            "identifier": IDENTIFIER,
            "secret": SECRET,
            **over,
        }

    def add(self, service_id: str = "1001", **columns: str) -> dict[str, str]:
        """A service as an order leaves it."""
        empty = dict.fromkeys(
            ("domain", "username", "password", "dedicatedip", "assignedips", "suspendreason"), ""
        )
        service = {"id": service_id, "userid": "7", **empty, "domainstatus": "Pending", **columns}
        self.services[service_id] = service
        return service

    def fault(self, action: str, kind: str, answer: Answer | None = None, **more: Any) -> None:
        self._faults.append(Fault(action, kind, answer or Answer.page(503), **more))

    def mend(self) -> None:
        """All is well from here on."""
        with self._lock:
            self._faults.clear()
        self.listener.come_up()

    def refuse(self, action: str, message: str, times: int = 1, status: int = 200) -> None:
        self.fault(action, "answer", Answer.json(status, _error(message)), times=times)

    def of(self, action: str) -> list[dict[str, Any]]:
        return [params for name, params in self.calls if name == action]

    @property
    def writes(self) -> list[tuple[str, dict[str, Any]]]:
        return [(action, params) for action, params in self.calls if action not in READS]

    def close(self) -> None:
        self.listener.close()

    def _serve(self, exchange: Exchange) -> None:
        params = _php(exchange.body)
        action = str(params.get("action"))
        with self._lock:
            fault = self._next_fault(action) or Fault(action, "")
            self.heads.append(exchange.headers)
            undone = fault.kind in ("page", "answer", "deaf")
            answer = Answer(500) if undone else Answer.json(200, self._answer(exchange, params))
        if fault.kind in ("drop", "deaf", "hang"):
            exchange.wait(fault.seconds)
            exchange.drop()
        elif fault.kind == "slow":
            exchange.trickle_head(answer, fault.seconds)
        else:
            exchange.send(fault.answer if fault.kind else answer)

    def _next_fault(self, action: str) -> Fault | None:
        for fault in self._faults:
            if fault.action in (action, "*"):
                fault.times -= 1
                if not fault.times:
                    self._faults.remove(fault)
                return fault
        return None

    def _answer(self, exchange: Exchange, params: dict[str, Any]) -> dict[str, Any]:
        assert (exchange.method, exchange.path) == ("POST", PATH)
        assert exchange.headers["content-type"] == "application/x-www-form-urlencoded"
        refusal = self._not_let_in(params)
        if refusal:
            return _error(refusal)
        action = params["action"]
        given = {name: value for name, value in params.items() if name not in LOGIN}
        if action in self.forbidden:
            return _error(f'Invalid Permissions: API action "{action.lower()}" is not allowed')
        unknown = given.keys() - DOCUMENTED[action]
        assert not unknown, f"{action} has no {unknown}"
        self.calls.append((action, given))
        done: dict[str, Any] | str = getattr(self, f"_{action}")(**given)
        return _error(done) if isinstance(done, str) else {"result": "success", **done}

    def _not_let_in(self, params: dict[str, Any]) -> str:
        if self.access_key and params.get("accesskey") != self.access_key:
            return "Invalid Access Key"
        if self.refused_ip and not self.access_key:
            return f"Invalid IP {self.refused_ip}"
        if params.get("identifier") != IDENTIFIER:
            return "Invalid or missing credentials"
        if params.get("secret") != SECRET:
            return "Authentication Failed"
        return "" if params.get("responsetype") == "json" else "no JSON was asked for"

    def _GetClientsProducts(self, serviceid: str, **_: str) -> dict[str, Any]:
        found = [self._product(self.services[serviceid])] if serviceid in self.services else []
        return {
            "clientid": None,
            "serviceid": serviceid,
            "totalresults": str(len(found)),
            "startnumber": 0,
            "numreturned": len(found),
            "products": self.shape(found),
        }

    def _product(self, service: dict[str, str]) -> dict[str, Any]:
        product: dict[str, Any] = {SHOWN.get(column, column): value for column, value in service.items()}
        product |= {"qty": "1", "nextduedate": "0000-00-00", "customfields": {"customfield": []}}
        self.show(product)
        return product

    def _UpdateClientProduct(
        self, serviceid: str = "", unset: list[str] | None = None, **given: str
    ) -> dict[str, Any] | str:
        service = self.services.get(serviceid)
        if service is None:
            return "Service ID Not Found"
        for name, value in given.items():
            column = COLUMNS.get(name, name)
            service[column] = self.keep(column, value)
        for name in unset or []:
            service[COLUMNS.get(name, name)] = ""
        return {"serviceid": serviceid}

    def _SendEmail(self, messagename: str = "", id: str = "") -> dict[str, Any] | str:
        if not messagename:
            return "You must provide either an existing email template name or a custom message type"
        if messagename not in self.templates:
            return "Email Template not found"
        if not self.templates[messagename]:
            return "Email Template is disabled"
        if not id:
            return "A related ID is required"
        service = self.services.get(id)
        if service is None:
            return "Sending Failed. Please see documentation."
        self.mails.append({"messagename": messagename, **service})
        return {}

    def _LogActivity(self, description: str = "", clientid: str = "") -> dict[str, Any]:
        self.log.append(description)
        return {}

    def _TriggerNotificationEvent(self, **given: str) -> dict[str, Any] | str:
        for name, word in (
            ("notification_identifier", "identifier"),
            ("title", "title"),
            ("message", "message"),
        ):
            if not given.get(name):
                return f"API Notification Events require a {word} to be provided."
        self.notifications.append(given)
        return {}

    def _OpenTicket(
        self, deptid: str = "", subject: str = "", message: str = "", **_: str
    ) -> dict[str, Any] | str:
        if deptid not in self.departments:
            return "Department ID not found"
        if not (subject and message):
            return "Subject is required"
        ticket = str(len(self.tickets) + 51)
        self.tickets[ticket] = [message]
        return {"id": ticket, "tid": "516757", "c": "KPqH7yG3"}

    def _AddTicketNote(self, ticketid: str = "", message: str = "") -> dict[str, Any] | str:
        if ticketid not in self.tickets:
            return "Ticket ID not found"
        self.tickets[ticketid].append(message)
        return {}

    def _WhmcsDetails(self) -> dict[str, Any]:
        return {"whmcs": self.version}


@contextmanager
def whmcs_stub() -> Iterator[WhmcsStub]:
    stub = WhmcsStub()
    try:
        yield stub
    finally:
        stub.close()


def html_encoded(product: dict[str, Any]) -> None:
    """As WHMCS shows what it was given through a form."""
    for name, value in product.items():
        if isinstance(value, str):
            product[name] = html.escape(value, quote=True).replace("&#x27;", "&#039;")


def _error(message: str) -> dict[str, Any]:
    return {"result": "error", "message": message}


def _php(body: bytes) -> dict[str, Any]:
    """The form as PHP reads it: `name[0]` makes lists."""
    params: dict[str, Any] = {}
    pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, encoding="utf-8", errors="strict")
    for name, value in pairs:
        item = re.fullmatch(r"(\w+)\[(\d+)\]", name)
        if item:
            params.setdefault(item[1], []).append(value)
        else:
            assert name not in params
            params[name] = value
    return json.loads(json.dumps(params))  # type: ignore[no-any-return]
