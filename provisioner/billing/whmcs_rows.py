"""The table of docs/whmcs.md: what each delivery writes into a service of WHMCS. No I/O.

`tests/whmcs_writes.json` holds this and the drop-in's writer, which is in PHP, to the same calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Facts = Mapping[str, Any]  # a delivery's data, with username and password where it has them

AS_TOLD = "as told"  # the status that the delivery tells of the service
STATUSES = {  # of a service here → there; `terminating` is none there
    "pending": "Pending",
    "failed": "Pending",
    "active": "Active",
    "suspended": "Suspended",
    "terminated": "Terminated",
}
OURS = frozenset(STATUSES.values())  # Cancelled, Fraud and Completed are a person's word, and stay
OVER = frozenset({"Terminated", "Cancelled", "Fraud"})  # whom WHMCS shows so is told of no server
WARNINGS = {
    "fewer_ips_ignored": "fewer IPs were asked for, and it keeps those that it has",
    "new_ips_unknown": "its new IPs are not known: enter them by hand",
    "disk_kept": "a smaller disk was asked for, and it keeps the one that it has",
    "template_ignored": "a template was asked for, and an upgrade installs none",
}
_CREDENTIALS = ("serviceusername", "servicepassword")
_IPS = ("dedicatedip", "assignedips")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table.

    :param said: the delivery in words for staff, without what `about` says.
    :param writes: fields of UpdateClientProduct that are written where the delivery knows them.
    :param unsets: fields that are emptied.
    :param status: the status to write, `AS_TOLD`, or none.
    :param mail: whether the welcome mail goes out; without a password it never does.
    :param alarm: whether staff are told by `on_failure`, and under which name.
    """

    said: Callable[[Facts], str]
    writes: tuple[str, ...] = ()
    unsets: tuple[str, ...] = ()
    status: str = ""
    mail: bool = False
    alarm: str = ""


def row_of(kind: str, facts: Facts) -> Row:
    """The row of a delivery of this type; one that the table does not know is only logged."""
    if kind != "operation.failed":
        return ROWS.get(kind, Row(lambda _: kind))
    if facts["error"]["code"] in _TAKEN_BACK:
        return _TAKEN_BACK[facts["error"]["code"]]
    return _FAILED_CREATE if facts["kind"] == "create" else _FAILED


def change(row: Row, facts: Facts) -> tuple[dict[str, str], tuple[str, ...]]:
    """What the row writes of these facts, by UpdateClientProduct's names, and what it unsets."""
    known = _known(facts)
    written = {name: known[name] for name in row.writes if known.get(name)}
    return written, (*(name for name in row.writes if known.get(name) == ""), *row.unsets)


def status_to_write(row: Row, facts: Facts, shown: str, *, is_latest: bool) -> str:
    """The status that WHMCS is to show instead of `shown`; empty where it is to keep that."""
    asked = STATUSES.get(facts["status"], "") if row.status is AS_TOLD else row.status
    return asked if asked and is_latest and shown in OURS and shown != asked else ""


def about(facts: Facts) -> str:
    """Of what a line speaks, for staff."""
    operation = f", operation {facts['operation']}" if facts.get("operation") else ""
    return f"provisioner, service {facts['service_id']}{operation}"


def _known(facts: Facts) -> dict[str, str]:
    """Fields with their values; '' where it is known that there is none, missing where nothing is known."""
    known: dict[str, str] = {}
    if facts.get("password"):
        known |= {"serviceusername": facts["username"], "servicepassword": facts["password"]}
    if facts.get("ips"):
        first, *further = facts["ips"]
        known |= {"dedicatedip": first, "assignedips": "\n".join(further)}
    if facts.get("hostname"):
        known["domain"] = facts["hostname"]
    if facts.get("reason"):
        known["suspendreason"] = facts["reason"]
    return known


def _provisioned(facts: Facts) -> str:
    return _with_warnings(f"VM {facts['vmid']} is there, with {_addresses(facts)}", facts)


def _upgraded(facts: Facts) -> str:
    config = facts["config"]
    size = (
        f"{config['cpu_cores']} cores, {config['mem']} MB, disk {config['disk']}, IPs: {config['ip_count']}"
    )
    return _with_warnings(f"changed to {size}, with {_addresses(facts)}", facts)


def _suspended(facts: Facts) -> str:
    return f"suspended: {facts['reason']}" if facts.get("reason") else "suspended"


def _credentials(facts: Facts) -> str:
    return f"a new root password was set, with {_addresses(facts)}"


def _restored(facts: Facts) -> str:
    try:
        at = f"{datetime.fromtimestamp(facts['backup'], UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError):  # beyond the calendar: an upstream that counts in milliseconds
        at = str(facts["backup"])
    return f"restored from the backup of {at}"


def _failed(facts: Facts) -> str:
    return f"{facts['kind']} failed ({_error(facts)}); mend the cause and retry the operation in provisioner"


def _cancelled(facts: Facts) -> str:
    return f"{facts['kind']} was cancelled ({_error(facts)})"


def _held(facts: Facts) -> str:
    return f"{facts['kind']} waits for a person ({_error(facts)}); approve or cancel it in provisioner"


def _error(facts: Facts) -> str:
    return f"{facts['error']['code']}: {facts['error']['message']}"


def _addresses(facts: Facts) -> str:
    return ", ".join(facts.get("ips") or ()) or "IPs that are not known"


def _with_warnings(words: str, facts: Facts) -> str:
    return "; ".join([words, *(WARNINGS.get(name, name) for name in facts.get("warnings") or ())])


ROWS: Mapping[str, Row] = {
    "service.provisioned": Row(
        _provisioned, writes=(*_CREDENTIALS, *_IPS, "domain"), status=AS_TOLD, mail=True
    ),
    "service.upgraded": Row(_upgraded, writes=_IPS, status=AS_TOLD),
    "service.suspended": Row(_suspended, writes=("suspendreason",), status="Suspended"),
    "service.unsuspended": Row(
        lambda _: "no longer suspended", unsets=("suspendreason",), status="Active"
    ),
    "service.terminated": Row(
        lambda _: "terminated", unsets=(*_CREDENTIALS, *_IPS, "suspendreason"), status="Terminated"
    ),
    "service.credentials": Row(_credentials, writes=(*_CREDENTIALS, *_IPS), mail=True),
    "service.backups": Row(lambda facts: f"a backup was made; backups: {len(facts['backups'])}"),
    "service.restored": Row(_restored),
    "service.action": Row(lambda facts: f"{facts['action']} done"),
    "operation.held": Row(_held, alarm="held"),
}  # fmt: skip
_FAILED_CREATE = Row(_failed, status=AS_TOLD, alarm="failed")
_FAILED = Row(_failed, alarm="failed")  # WHMCS keeps what it shows: staff decide
_TAKEN_BACK = {  # failures that nobody has to be told of, by their code
    "cancelled": Row(_cancelled, status=AS_TOLD),
    "superseded": Row(_cancelled),
}
