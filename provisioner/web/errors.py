"""How errors look on the wire: `{"error": {"code", "message"}}`, whatever went wrong (contract, 3 and 5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from provisioner.errors import (
    EventIdReused,
    EventMalformed,
    EventRejected,
    NotFound,
    ProvisionerError,
    RequestInvalid,
    RowUnreadable,
    SignatureInvalid,
    StoreUnavailable,
    UpstreamError,
    WrongState,
)
from provisioner.logs import Log

log = Log(__name__)

RETRY_AFTER_S = 5


class TokenInvalid(ProvisionerError):
    """No good bearer token came with an admin's call."""

    code = "unauthorized"


class RoleTooLow(ProvisionerError):
    """The admin's role does not reach this call."""

    code = "forbidden"


class BodyMalformed(ProvisionerError):
    """The body of an admin's call is no JSON."""

    code = "malformed"


STATUSES: Mapping[type[ProvisionerError], int] = {
    EventMalformed: 400,
    BodyMalformed: 400,
    SignatureInvalid: 401,
    TokenInvalid: 401,
    RoleTooLow: 403,
    NotFound: 404,
    WrongState: 409,
    EventIdReused: 409,
    RequestInvalid: 422,
    RowUnreadable: 500,
    UpstreamError: 502,
    StoreUnavailable: 503,
}

_HEADERS: Mapping[type[ProvisionerError], Mapping[str, str]] = {
    TokenInvalid: {"WWW-Authenticate": 'Bearer realm="provisioner"'},
    StoreUnavailable: {"Retry-After": str(RETRY_AFTER_S)},
}

_CODES = {
    400: "malformed",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    431: "headers_too_large",
    500: "internal_error",
    501: "not_implemented",
}


def error_body(status: int, code: str = "", message: str = "") -> dict[str, Any]:
    """An error as every surface tells it; by default in the words of its HTTP status."""
    words = message or HTTPStatus(status).phrase.lower()
    return {"error": {"code": code or _CODES.get(status, "error"), "message": words}}


def as_json(text: str, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(text, status, mimetype="application/json")


def error(
    status: int, code: str = "", message: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """An error in JSON."""
    answer = as_json(json.dumps(error_body(status, code, message)), status)
    answer.headers.extend(headers or {})
    return answer


def speak_json(app: Flask) -> None:
    """Makes every error of an application answer in JSON, never with a trace."""
    app.register_error_handler(ProvisionerError, _ours)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def _ours(problem: Exception) -> Response:
    if isinstance(problem, EventRejected):
        return error(problem.status, problem.code, problem.public)
    assert isinstance(problem, ProvisionerError)  # noqa: S101 - registered for it
    kind = next((kind for kind in STATUSES if isinstance(problem, kind)), None)
    if kind is None:
        log.error("request_failed", path=request.path, error=problem.detail)
        return _internal()
    return error(STATUSES[kind], problem.code, problem.detail, _HEADERS.get(kind))


def _http(problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)  # noqa: S101 - registered for it
    status = problem.code or 500
    message = {
        404: f"there is nothing at {request.path}",
        405: f"{request.method} is not possible at {request.path}",
    }.get(status, "")
    allowed = problem.get_response().headers.get("Allow")
    return error(status, message=message, headers={"Allow": allowed} if allowed else None)


def _unexpected(problem: Exception) -> Response:
    log.exception("request_broke", path=request.path)
    return _internal()


def _internal() -> Response:
    return error(500, message="an internal error; it is in the log")
