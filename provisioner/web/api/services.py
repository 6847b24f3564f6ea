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
from provisioner.web.asked import Action, Asked, ImportFile, Move, ServiceFilters, Tried, names
from provisioner.web.auth import Admin, Need, need_of
from provisioner.web.call import Call, judged, refuse_unknown
from provisioner.web.pages import page
from provisioner.web.surfaces import Surfaces

MOST_FILE_BYTES = 1 << 20  # half a million characters and what JSON makes of them
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
                self.erase, models.Erased, Tried, Need.DECIDE, refuses=(409,),
            ),
            Call(
                "POST", "/api/services/import",
                "Judges a file of living VMs line by line and links what fits; touches nothing upstream.",
                self.import_services, models.Imported, ImportFile, Need.DECIDE,
                refuses=(502,), most_bytes=MOST_FILE_BYTES,
            ),
            Call(
                "POST", f"{one}/unlink", "Forgets which VM the service has; tells nobody, touches nothing.",
                self.unlink_service, models.Unlinked, Tried, Need.DECIDE, refuses=(409,),
            ),
            Call(
                "POST", f"{one}/move",
                "Gives the VM to another service, with all that is known of it; that one is told.",
                self.move_service, models.Moved, Move, Need.DECIDE, refuses=(409,),
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
        return models.Page[models.Service].told(found, models.Service.facts)

    def show_service(self, admin: Admin, asked: Asked, billing: str, service_id: str) -> models.ServiceWhole:
        service, latest = self.surfaces.store.read(
            lambda verbs: (
                verbs.service(billing, service_id),
                verbs.listed_operations(LATEST, None, billing=billing, service_id=service_id),
            )
        )
        if service is None:
            raise NotFound(f"there is no service {service_id} of {billing}", code="unknown_service")
        return models.ServiceWhole.told(service, latest)

    def act(self, admin: Admin, asked: Action, billing: str, service_id: str) -> models.Accepted:
        """By the same door as an event (contract, section 5: actions)."""
        kind, data = Kind(asked.action), dict(asked.model_extra or {})
        admin.must_reach(need_of(kind))
        if billing not in self.surfaces.settings.billing:
            raise NotFound(f"there is no billing system {billing}")
        request = Request(
            billing,
            judged(Subject, {"service_id": service_id}).service_id,
            kind,
            self._data(kind, data | _own_reason(kind, asked.reason)),
            admin.actor,
            is_admin=True,
            reason=asked.reason,
            origin=admin.origin,
        )
        try:
            return models.Accepted(operation=self.surfaces.accept.action(request).id)
        except EventRejected as rejected:
            refusal = NotFound if rejected.code == "unknown_service" else RequestInvalid
            raise refusal(rejected.public, detail=rejected.detail, code=rejected.code) from None

    def erase(self, admin: Admin, asked: Tried, billing: str, service_id: str) -> models.Erased:
        erased = self.surfaces.erasure.erase(
            billing, service_id, admin.actor, asked.reason, origin=admin.origin, dry=asked.dry_run
        )
        return models.Erased(operations=erased.operations, events=erased.events, deliveries=erased.deliveries)

    def import_services(self, admin: Admin, asked: ImportFile) -> models.Imported:
        found = self.surfaces.imports.run(
            asked.file, admin.actor, origin=admin.origin, dry_run=asked.dry_run, partial=asked.partial
        )
        return models.Imported.of(found)

    def unlink_service(self, admin: Admin, asked: Tried, billing: str, service_id: str) -> models.Unlinked:
        done = self.surfaces.bindings.unlink(
            billing, service_id, admin.actor, asked.reason, origin=admin.origin, dry_run=asked.dry_run
        )
        return models.Unlinked.of(done)

    def move_service(self, admin: Admin, asked: Move, billing: str, service_id: str) -> models.Moved:
        to = (asked.billing or billing, asked.service_id)
        done = self.surfaces.bindings.move(
            billing, service_id, to, admin.actor, asked.reason, origin=admin.origin, dry_run=asked.dry_run
        )
        return models.Moved.of(done)

    def _data(self, kind: Kind, data: dict[str, Any]) -> Any:
        refuse_unknown(data, names(MODELS[kind]))
        return judge_action(kind, data)


def _own_reason(kind: Kind, reason: str) -> dict[str, str]:
    """The reason, for the kinds whose events have one: the customer is told it, too."""
    return {"reason": reason} if reason and "reason" in MODELS[kind].model_fields else {}
