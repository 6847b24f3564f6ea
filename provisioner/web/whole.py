"""What an application has beyond events and health: what billing systems, programs and people ask it."""

from __future__ import annotations

from flask import Flask

from provisioner.web import api, openapi, queries, webhooks
from provisioner.web.auth import Guard
from provisioner.web.browser import pages
from provisioner.web.console import console
from provisioner.web.metrics import Metrics, metrics
from provisioner.web.panel import panel
from provisioner.web.surfaces import Side, Surfaces


def complete(app: Flask, surfaces: Surfaces, side: Side) -> None:
    """Adds to an application all that its side has beside events and health."""
    pages.prepare(app)
    if side is not Side.ADMIN:
        app.register_blueprint(queries.queries(surfaces, webhooks.signers(surfaces.settings)))
        app.register_blueprint(panel(surfaces))
    if side is not Side.PUBLIC:
        guard = Guard(surfaces.settings)
        calls = api.calls(surfaces)
        app.register_blueprint(api.api(calls, guard))
        app.register_blueprint(console(surfaces, guard))
        app.register_blueprint(openapi.openapi(calls))
        app.register_blueprint(metrics(surfaces.settings, side, guard, Metrics(surfaces)))
