"""The audit: who did what, and whether it is as it was written."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.engine.audit import verify
from provisioner.web import models
from provisioner.web.asked import AuditFilters, Verification
from provisioner.web.auth import Admin
from provisioner.web.call import Call
from provisioner.web.pages import cursor_of, page, place_of
from provisioner.web.surfaces import Surfaces

_VERIFICATION = "verification"


@dataclass(frozen=True, slots=True)
class AuditCalls:
    """`/api/audit`."""

    surfaces: Surfaces

    def calls(self) -> list[Call]:
        return [
            Call(
                "GET", "/api/audit", "Who did what, when, from where and why; newest first.",
                self.list_audit, models.Page[models.AuditLine], AuditFilters,
            ),
            Call(
                "GET", "/api/audit/verification",
                "Follows the audit's chain, one piece at a time, and names the first line that is not right.",
                self.verify_audit, models.Verification, Verification,
            ),
        ]  # fmt: skip

    def list_audit(self, admin: Admin, asked: AuditFilters) -> models.Page[models.AuditLine]:
        filters = asked.model_dump(exclude={"limit", "cursor"})
        found = page(
            "audit",
            asked.cursor,
            asked.limit,
            lambda limit, place: self.surfaces.store.read(lambda verbs: verbs.audit(limit, place, **filters)),
        )
        return models.Page[models.AuditLine].told(found, models.AuditLine.facts)

    def verify_audit(self, admin: Admin, asked: Verification) -> models.Verification:
        after = place_of(_VERIFICATION, asked.cursor) if asked.cursor else 0
        found = self.surfaces.store.read(lambda verbs: verify(verbs, after))
        return models.Verification(
            read=found.read,
            seq=found.place.seq,
            chain=found.place.chain,
            problem=found.problem,
            next=None if found.is_end else cursor_of(_VERIFICATION, found.place.seq),
        )
