"""The services, and what an admin has done for one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from provisioner.engine.accept import Request
from provisioner.errors import EventRejected, NotFound, RequestInvalid
from provisioner.event import judge_action
from provisioner.event_models import MODELS, Subject
from provisioner.operation import Kind
from provisioner.web import models
from provisioner.web.asked import Action, Asked, Erase, ServiceFilters, names
from provisioner.web.auth import Admin, Need, need_of
from provisioner.web.call import Call, judged, refuse_unknown
from provisioner.web.pages import page
from provisioner.web.surfaces import Surfaces

LATEST = 100  # operations shown with a service; the list of operations has them all


@dataclass(frozen=True, slots=True)
class ServiceCalls:
    """`/api/services`."""

    surfaces: Surfaces

    def calls(self) -> list[Call]:
        one = "/api/services/{billing}/{service_id}"
        return [
            Call(
                "GET", "/api/services", "Services, newest first.",
                self.list_services, models.Page[models.Service], ServiceFilters,
            ),
            Call(
                "GET", one, "One service with its VM, IPs, spec and operations.",
                self.show_service, models.ServiceWhole,
            ),
            Call(
                "POST", f"{one}/actions", "Queues an operation, as an event of its kind would.",
                self.act, models.Accepted, Action, Need.WORK, status=202,
            ),
            Call(
                "POST", f"{one}/erase",
                "Forgets a customer's data, once the service is over; its ids stay.",
                self.erase, models.Erased, Erase, Need.DECIDE, refuses=(409,),
            ),
        ]  # fmt: skip

    def list_services(self, admin: Admin, asked: ServiceFilters) -> models.Page[models.Service]:
        filters = asked.model_dump(exclude={"limit", "cursor", "q"})
        found = page(
            "services",
            asked.cursor,
            asked.limit,
            lambda limit, place: self.surfaces.store.read(
                lambda verbs: verbs.services(limit, place, text=asked.q, **filters)
            ),
        )
        return models.Page(items=[models.Service.of(row) for row in found.rows], next=found.next)

    def show_service(self, admin: Admin, asked: Asked, billing: str, service_id: str) -> models.ServiceWhole:
        service, latest = self.surfaces.store.read(
            lambda verbs: (
                verbs.service(billing, service_id),
                verbs.operations(LATEST, None, billing=billing, service_id=service_id),
            )
        )
        if service is None:
            raise NotFound(f"there is no service {service_id} of {billing}", code="unknown_service")
        return models.ServiceWhole.told(service, latest)

    def act(self, admin: Admin, asked: Action, billing: str, service_id: str) -> models.Accepted:
        """By the same door as an event (contract, section 5: actions)."""
        kind, data = Kind(asked.action), asked.model_extra or {}
        admin.must_reach(need_of(kind))
        if billing not in self.surfaces.settings.billing:
            raise NotFound(f"there is no billing system {billing}")
        request = Request(
            billing,
            judged(Subject, {"service_id": service_id}).service_id,
            kind,
            self._data(kind, data),
            admin.actor,
            is_admin=True,
        )
        try:
            return models.Accepted(operation=self.surfaces.accept.action(request).id)
        except EventRejected as rejected:
            refusal = NotFound if rejected.code == "unknown_service" else RequestInvalid
            raise refusal(rejected.public, detail=rejected.detail, code=rejected.code) from None

    def erase(self, admin: Admin, asked: Erase, billing: str, service_id: str) -> models.Erased:
        erased = self.surfaces.erasure.erase(
            billing, service_id, admin.actor, reason=asked.reason, dry=asked.dry_run
        )
        return models.Erased(operations=erased.operations, events=erased.events, deliveries=erased.deliveries)

    def _data(self, kind: Kind, data: dict[str, Any]) -> Any:
        refuse_unknown(data, names(MODELS[kind]))
        return judge_action(kind, data)
