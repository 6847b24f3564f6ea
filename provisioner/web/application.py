"""The WSGI application: each surface is one blueprint."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from flask import Flask, Response
from werkzeug.routing import Rule

from provisioner.web import api, health, openapi, queries, webhooks
from provisioner.web.auth import Guard
from provisioner.web.browser import pages
from provisioner.web.console import console
from provisioner.web.errors import speak_json
from provisioner.web.metrics import Metrics, metrics
from provisioner.web.panel import panel
from provisioner.web.surfaces import Side, Surfaces

MOST_BYTES = 1 << 20  # no surface takes more; each has a smaller limit of its own


def create_app(surfaces: Surfaces, side: Side = Side.ALL) -> Flask:
    """An application that answers in JSON, its errors too, but in pages to people, and never with a trace.

    :param side: what it serves where `admin_listen` is another address (contract, section 2); by default
        everything.
    """
    app = Flask("provisioner.web", template_folder=None, **pages.assets_of_app())
    app.url_rule_class = _Rule
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False  # a redirect would answer with a page
    app.after_request(_never_kept)
    speak_json(app)
    pages.prepare(app)
    app.register_blueprint(health.health(surfaces))
    if side is not Side.ADMIN:
        verifiers = webhooks.signers(surfaces.settings)
        app.register_blueprint(webhooks.webhooks(surfaces, verifiers))
        app.register_blueprint(queries.queries(surfaces, verifiers))
        app.register_blueprint(panel(surfaces))
    if side is not Side.PUBLIC:
        guard = Guard(surfaces.settings)
        calls = api.calls(surfaces)
        app.register_blueprint(api.api(calls, guard))
        app.register_blueprint(console(surfaces, guard))
        app.register_blueprint(openapi.openapi(calls))
        app.register_blueprint(metrics(surfaces.settings, side, guard, Metrics(surfaces)))
    return app


class _Rule(Rule):
    """Compiles what writes its address when that is first asked for: few are, and it slows every start."""

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compiled = cache(partial(super()._compile_builder, append_unknown))

        def build(rule: Rule, **values: object) -> tuple[str, str]:
            return compiled()(rule, **values)

        return build


def _never_kept(answer: Response) -> Response:
    """Answers name customers' servers: no cache keeps them, and no browser takes them for a page."""
    if not pages.is_asset(answer):
        answer.headers["Cache-Control"] = "no-store"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer
