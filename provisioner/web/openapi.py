"""`GET /openapi.json`: OpenAPI 3.1, made of the calls and of the models that validate them.

No token is needed: it says what every installation of this version says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from provisioner import __version__
from provisioner.web.asked import Asked, Body
from provisioner.web.auth import Need
from provisioner.web.call import Call
from provisioner.web.models import Health, Readiness, Refusal, Rejection, Replayed

Schema = dict[str, Any]

_OWN_WORDS = {403: "The admin's role does not reach this.", 409: "Not possible in this state."}
_REPLAYED = (403, 422)  # statuses of a replay that say where the event is kept


def openapi(calls: Sequence[Call]) -> Blueprint:
    """The blueprint that serves the document."""
    blueprint = Blueprint("openapi", __name__)
    rendered = cache(lambda: json.dumps(document(calls)))

    @blueprint.get("/openapi.json")
    def answer() -> Response:
        return Response(rendered(), mimetype="application/json")

    return blueprint


def document(calls: Sequence[Call]) -> Schema:
    """The whole document: every path, parameter, body and status of the admin API."""
    schemas = _Schemas(calls)
    paths: dict[str, Schema] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "provisioner",
            "version": __version__,
            "description": "The admin API. Lists are newest first; times are ISO 8601, UTC.",
        },
        "security": [{"token": []}],
        "paths": {**paths, **_open_paths(schemas)},
        "components": {
            "schemas": schemas.definitions,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


class _Schemas:
    """Every model's JSON schema, under the name by which the paths refer to it."""

    def __init__(self, calls: Iterable[Call]) -> None:
        answers: set[type[BaseModel]] = {Refusal, Rejection, Replayed, Health, Readiness}
        bodies: set[type[BaseModel]] = set()
        for call in calls:
            answers.add(call.answers)
            if issubclass(call.asks, Body):
                bodies.update(call.asks.forms())
        wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [
            *((model, "serialization") for model in sorted(answers, key=str)),
            *((model, "validation") for model in sorted(bodies, key=str)),
        ]
        places, definitions = models_json_schema(wanted, ref_template="#/components/schemas/{model}")
        self._places = {model: place for (model, _), place in places.items()}
        self.definitions: Schema = definitions["$defs"]

    def of(self, model: type[BaseModel]) -> Schema:
        return dict(self._places[model])


def _operation(call: Call, schemas: _Schemas) -> Schema:
    described: Schema = {
        "operationId": call.name,
        "summary": call.does,
        "parameters": [*_path_parameters(call), *_query_parameters(call)],
        "responses": {str(status): answer for status, answer in sorted(_answers(call, schemas).items())},
    }
    if issubclass(call.asks, Body):
        described["requestBody"] = _body(call.asks, schemas)
    return described


def _path_parameters(call: Call) -> Iterator[Schema]:
    for name in re.findall(r"{(\w+)}", call.path):
        schema = {"type": "string", "minLength": 1, "pattern": "^[^/]+$"}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(call: Call) -> Iterator[Schema]:
    if issubclass(call.asks, Asked):
        for name, schema in call.asks.model_json_schema()["properties"].items():
            yield {"name": name, "in": "query", "required": False, "schema": _without_null(schema)}


def _without_null(schema: Schema) -> Schema:
    """A query has no null, and no filter an empty text: a parameter that is not there is left out."""
    kept = {key: value for key, value in schema.items() if key not in ("anyOf", "title")}
    if not kept.get("default"):
        kept.pop("default", None)
    forms = [form for form in schema.get("anyOf", ()) if form != {"type": "null"}]
    return kept | (forms[0] if len(forms) == 1 else {"anyOf": forms} if forms else {})


def _body(asks: type[Body], schemas: _Schemas) -> Schema:
    forms = [schemas.of(form) for form in asks.forms()]
    required = any(field.is_required() for field in asks.model_fields.values())
    schema = forms[0] if len(forms) == 1 else {"oneOf": forms}
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def _answers(call: Call, schemas: _Schemas) -> dict[int, Schema]:
    """What every call may answer, and what this one may."""
    statuses = {401, 422, 503, *call.refuses}
    if "{" in call.path:
        statuses.add(404)
    if call.needs is not Need.LOOK:
        statuses.add(403)
    if call.takes_body:
        statuses |= {400, 413}
    refusals = {status: _answer(status, schemas.of(Refusal)) for status in statuses}
    if call.answers is Replayed:
        either = {"anyOf": [schemas.of(Rejection), schemas.of(Refusal)]}
        refusals |= {status: _answer(status, either) for status in _REPLAYED}
    return {call.status: _answer(call.status, schemas.of(call.answers)), **refusals}


def _answer(status: int, schema: Schema) -> Schema:
    words = _OWN_WORDS.get(status, f"{HTTPStatus(status).phrase}.")
    return {"description": words, "content": {"application/json": {"schema": schema}}}


def _open_paths(schemas: _Schemas) -> Schema:
    """What needs no token."""
    healthy, ready = schemas.of(Health), schemas.of(Readiness)
    return {
        "/healthz": _open(
            "show_health",
            "Whether the last tick is younger than 60 s.",
            {200: _answer(200, healthy), 503: _answer(503, healthy)},
        ),
        "/readyz": _open(
            "show_readiness",
            "Whether events can be accepted.",
            {200: _answer(200, ready), 503: _answer(503, schemas.of(Refusal))},
        ),
        "/openapi.json": _open("show_openapi", "This document.", {200: _answer(200, {"type": "object"})}),
        "/metrics": {
            "get": {
                "operationId": "show_metrics",
                "summary": "Numbers for Prometheus; a token is needed where strangers could come by.",
                "security": [{"token": []}, {}],
                "responses": {
                    "200": {
                        "description": "Prometheus text.",
                        "content": {"text/plain": {"schema": {"type": "string"}}},
                    },
                    "401": _answer(401, schemas.of(Refusal)),
                    "503": _answer(503, schemas.of(Refusal)),
                },
            }
        },
    }


def _open(name: str, does: str, answers: dict[int, Schema]) -> Schema:
    return {
        "get": {
            "operationId": name,
            "summary": does,
            "security": [],
            "responses": {str(status): answer for status, answer in answers.items()},
        }
    }
