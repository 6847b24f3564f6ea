"""The client panel at `/panel`: one customer's look at one server, in the billing system's name and colours.

A link that the billing system asks for (`panel.link`) is exchanged for a session that is bound to that one
service. What is done here goes through the same door as an event; what is shown is in a customer's words.
"""

from __future__ import annotations

from flask import Blueprint

from provisioner.web.panel.desk import Desk
from provisioner.web.panel.door import Door
from provisioner.web.panel.links import PREFIX, Links
from provisioner.web.panel.pages import ServicePages
from provisioner.web.surfaces import Surfaces


def panel(surfaces: Surfaces) -> Blueprint:
    """The blueprint of all its pages."""
    blueprint = Blueprint("panel", __name__, url_prefix=PREFIX, template_folder="templates")
    desk = Desk.of(surfaces)
    Door(desk, Links.of(surfaces)).add_to(blueprint)
    ServicePages(desk).add_to(blueprint)
    return blueprint
