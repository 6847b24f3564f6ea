"""The admin API (contract, section 5): one list of calls, which are served and described alike."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Blueprint

from provisioner.web.api.account import AccountCalls
from provisioner.web.api.alerts import AlertCalls
from provisioner.web.api.audit import AuditCalls
from provisioner.web.api.events import EventCalls
from provisioner.web.api.operations import OperationCalls
from provisioner.web.api.recovery import RecoveryCalls
from provisioner.web.api.services import ServiceCalls
from provisioner.web.auth import Guard
from provisioner.web.call import Call
from provisioner.web.surfaces import Surfaces


def calls(surfaces: Surfaces) -> list[Call]:
    """Every call of the admin API."""
    families = (
        OperationCalls, ServiceCalls, EventCalls, AccountCalls, RecoveryCalls, AuditCalls, AlertCalls,
    )  # fmt: skip
    return [call for family in families for call in family(surfaces).calls()]


def api(calls: Iterable[Call], guard: Guard) -> Blueprint:
    """The blueprint that answers them."""
    blueprint = Blueprint("api", __name__)
    for call in calls:
        rule = call.path.replace("{", "<").replace("}", ">")
        blueprint.add_url_rule(rule, call.name, call.view(guard), methods=[call.method])
    return blueprint
