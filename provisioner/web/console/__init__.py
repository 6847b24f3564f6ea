"""The operators' console at `/admin`: the admin API's calls as pages, for people.

Every page shows what a call of the API answers and every button does what one does, through the same
functions: roles, checks, audit and words are theirs. Nothing here reads or writes what the API could not.
"""

from __future__ import annotations

from flask import Blueprint

from provisioner.web.auth import Guard
from provisioner.web.browser import pages
from provisioner.web.console import account, audit, events, operations, overview, services
from provisioner.web.console.desk import PREFIX, Desk
from provisioner.web.console.door import Door
from provisioner.web.surfaces import Surfaces

FAMILIES = (overview.Overview, operations.OperationPages, services.ServicePages, events.EventPages,
            account.AccountPages, audit.AuditPages)  # fmt: skip


def console(surfaces: Surfaces, guard: Guard) -> Blueprint:
    """The blueprint of all its pages."""
    blueprint = Blueprint("console", __name__, url_prefix=PREFIX, template_folder="templates")
    desk = Desk.of(surfaces)
    Door(desk, guard).add_to(blueprint)
    for family in FAMILIES:
        family(desk).add_to(blueprint)
    blueprint.after_request(pages.make_safe)
    return blueprint
