"""`POST /queries/<billing>`: what a billing system may ask (contract, section 3).

Nothing changes, but by `deliveries.pull`: what that acknowledges is done, and what it gives was given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, request

from provisioner import __version__
from provisioner.config import WhmcsBilling
from provisioner.delivery import iso
from provisioner.engine.fetch import Offer
from provisioner.engine.ticks import templates_seen
from provisioner.errors import EventRejected
from provisioner.event import Source, judge_query, parse
from provisioner.event_models import DeliveriesPull, ServicesList, Subject
from provisioner.operation import Operation
from provisioner.service import Service
from provisioner.signing import TIMESTAMP, Signer
from provisioner.store.listed import ListedService
from provisioner.store.verbs import Verbs
from provisioner.web.errors import as_json
from provisioner.web.models import progress_of
from provisioner.web.origin import origin
from provisioner.web.pages import page
from provisioner.web.panel.links import Guest, Links
from provisioner.web.surfaces import Surfaces
from provisioner.web.webhooks import hear, verified
from provisioner.web.words import message

SERVICES_A_PAGE = 100
OF_DROP_IN = {"welcome_email", "on_failure", "ticket_department"}  # settings that the drop-in carries out
DROP_IN = {"minimum": "0.1.0", "newest": "0.2.0"}  # versions of our drop-ins that this service understands


def queries(surfaces: Surfaces, verifiers: Mapping[str, Signer]) -> Blueprint:
    """The blueprint that answers queries."""
    blueprint = Blueprint("queries", __name__)

    @blueprint.post("/queries/<billing>")
    def answer(billing: str) -> Response:
        now = surfaces.clock()
        judged = verified(verifiers.get(billing), now // 1000)
        if isinstance(judged, Response):
            return judged
        hear(surfaces, billing)
        envelope = parse(judged[1])
        source = surfaces.accept.examine_source(billing, envelope, origin())
        query = judge_query(envelope)
        asked = Query(surfaces, billing, now, int(request.headers[TIMESTAMP]), source)
        return as_json(json.dumps(asked.answer(query.type, query.data)))

    return blueprint


@dataclass(frozen=True, slots=True)
class Query:
    """One query of one billing system. `now` is in milliseconds since the epoch, `sent_s` in seconds;
    `source` is who asks, over there."""

    surfaces: Surfaces
    billing: str
    now: int
    sent_s: int
    source: Source

    def answer(self, kind: str, data: Any) -> dict[str, Any]:
        """The answer's body.

        :raises EventRejected: `unknown_service` (422).
        :raises RequestInvalid: the cursor is none (422).
        :raises StoreUnavailable: it may or may not have been acknowledged (503).
        """
        answers: Mapping[str, Callable[[Any], dict[str, Any]]] = {
            "ping": self._ping,
            "plans.list": self._plans,
            "templates.list": self._templates,
            "service.show": self._service,
            "panel.link": self._panel_link,
            "services.list": self._services,
            "deliveries.pull": self._deliveries,
        }
        return answers[kind](data)

    def _ping(self, data: object) -> dict[str, Any]:
        skew_s = round(self.now / 1000 - self.sent_s, 3)
        return {"ok": True, "version": __version__, "clock_skew": skew_s, "drop_in": DROP_IN}

    def _plans(self, data: object) -> dict[str, Any]:
        settings = self.surfaces.settings
        sold = settings.billing[self.billing].plans or tuple(settings.plans)
        return {
            "items": [
                {
                    "name": name,
                    "label": settings.plans[name].label or name,
                    **settings.plans[name].spec().as_dict(),
                    "templates": list(settings.plans[name].templates),
                    "max": settings.plans[name].max.model_dump(exclude_none=True),
                    "disk_shrink": settings.plans[name].disk_shrink,
                }
                for name in sold
            ]
        }

    def _templates(self, data: object) -> dict[str, Any]:
        labels = {name: template.label for name, template in self.surfaces.settings.templates.items()}
        seen = self.surfaces.store.read(templates_seen)
        return {"items": [{"name": name, "label": labels.get(name) or name} for name in seen["items"]]}

    def _service(self, data: Subject) -> dict[str, Any]:
        service, operation = self.surfaces.store.read(lambda verbs: self._told(verbs, data.service_id))
        if service is None:
            raise EventRejected(f"service {data.service_id} is unknown", code="unknown_service")
        told = {
            "service_id": service.service_id,
            "status": service.status,
            "vmid": service.vmid,
            "ips": list(service.ips),
            "hostname": service.hostname or None,
            "plan": service.plan,
            "spec": service.spec.as_dict() if service.spec else None,
            "operation": None,
        }
        if operation is not None:
            told["operation"] = {
                "kind": operation.kind,
                "state": operation.state,
                "progress": progress_of(operation),
                "message": message(operation),
            }
        return told

    def _told(self, verbs: Verbs, service_id: str) -> tuple[Service | None, Operation | None]:
        """The service, and what is being done for it, else what was done last."""
        under_way = verbs.open_operations_of_service(self.billing, service_id)
        latest = under_way[0] if under_way else verbs.last_operation_of_service(self.billing, service_id)
        return verbs.service(self.billing, service_id), latest

    def _panel_link(self, data: Subject) -> dict[str, Any]:
        """Where the customer's browser is to go next; for two minutes."""
        if self.surfaces.store.read(lambda verbs: verbs.service(self.billing, data.service_id)) is None:
            raise EventRejected(f"service {data.service_id} is unknown", code="unknown_service")
        who = ":".join(filter(None, [self.source.actor_type, self.source.actor_name]))
        return Links.of(self.surfaces).make(Guest(self.billing, data.service_id, who))

    def _services(self, data: ServicesList) -> dict[str, Any]:
        found = page(
            f"services of {self.billing}",
            data.cursor or "",
            SERVICES_A_PAGE,
            lambda limit, place: self.surfaces.store.read(
                lambda verbs: verbs.services(limit, place, billing=self.billing)
            ),
        )
        return {"items": [_line(service) for service in found.rows], "next": found.next}

    def _deliveries(self, data: DeliveriesPull) -> dict[str, Any]:
        """What was written is done with first; what still waits is then given. The answer has passwords."""
        fetch, settings = self.surfaces.fetch, self.surfaces.settings.billing[self.billing]
        fetch.acknowledge(self.billing, data.ack)
        told = settings.model_dump(include=OF_DROP_IN) if isinstance(settings, WhmcsBilling) else {}
        return {
            "items": [_item(offer) for offer in fetch.offer(self.billing)],
            "settings": told,
            "deliver": "pull" if settings.fetches else "push",
        }


def _item(offer: Offer) -> dict[str, Any]:
    return {
        "id": offer.delivery.id,
        "type": offer.delivery.type,
        "timestamp": iso(offer.delivery.created_at),
        "data": {**offer.delivery.data, **offer.credentials},
        "latest": offer.is_latest,
    }


def _line(service: ListedService) -> dict[str, Any]:
    return {
        "service_id": service.service_id,
        "vmid": service.vmid,
        "ips": list(service.ips),
        "hostname": service.hostname or None,
        "plan": service.plan,
        "status": service.status,
        "created_at": iso(service.created_at),
    }
