"""`POST /webhooks/<billing>`: verifies the raw bytes, hands them to the one door, answers what it said.

The answers are judged in the order of the contract's table (section 3).
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from provisioner.config import Settings
from provisioner.engine.skew import billing_witness
from provisioner.signing import ID, SIGNATURE, TIMESTAMP, Signer
from provisioner.web.errors import error
from provisioner.web.origin import origin
from provisioner.web.surfaces import Surfaces

EVENTS = "/webhooks/"  # how their paths begin; on these, nothing is waited for but the store's writer
MOST_BYTES = 256 * 1024


def signers(settings: Settings) -> dict[str, Signer]:
    """Who verifies for each billing system."""
    return {
        name: Signer([secret.get_secret_value() for secret in billing.secrets])
        for name, billing in settings.billing.items()
    }


def verified(signer: Signer | None, now_s: int) -> tuple[str, bytes] | Response:
    """The webhook-id and the raw body of the present request, or the answer that refuses it.

    :raises SignatureInvalid: 401.
    """
    if signer is None:
        return error(404, "not_found", "there is no billing system of this name")
    if request.content_length is not None and request.content_length > MOST_BYTES:
        return _too_large()
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        return _too_large()
    if len(body) > MOST_BYTES:
        return _too_large()
    if request.mimetype != "application/json":
        return error(415, "unsupported_media_type", "the content type must be application/json")
    return signer.verify(_signed(), body, now_s), body


def webhooks(surfaces: Surfaces, verifiers: Mapping[str, Signer]) -> Blueprint:
    """The blueprint that receives events."""
    blueprint = Blueprint("webhooks", __name__)

    @blueprint.post(f"{EVENTS}<billing>")
    def receive(billing: str) -> Response:
        judged = verified(verifiers.get(billing), surfaces.clock() // 1000)
        if isinstance(judged, Response):
            return judged
        webhook_id, body = judged
        hear(surfaces, billing)
        answer = surfaces.accept.webhook(billing, webhook_id, body, origin())
        return Response(answer.body, answer.status, mimetype="application/json")

    @blueprint.after_request
    def count(answer: Response) -> Response:
        billing = (request.view_args or {}).get("billing", "")
        surfaces.counts.answered(billing if billing in verifiers else "", answer.status_code)
        return answer

    return blueprint


def hear(surfaces: Surfaces, billing: str) -> None:
    """Notes what time the billing system says it is; the present request has been verified."""
    surfaces.alerts.skew.heard(billing_witness(billing), int(request.headers[TIMESTAMP]))


def _signed() -> dict[str, str]:
    """The headers that prove the origin of the present request, as far as it has them."""
    found = ((name, request.headers.get(name)) for name in (ID, TIMESTAMP, SIGNATURE))
    return {name: value for name, value in found if value is not None}


def _too_large() -> Response:
    return error(413, "too_large", f"the body is larger than {MOST_BYTES // 1024} KiB")
