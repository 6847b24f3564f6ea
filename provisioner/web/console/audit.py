"""Who did what, when, from where and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, request

from provisioner.web.api.audit import AuditCalls
from provisioner.web.asked import AuditFilters
from provisioner.web.call import judged
from provisioner.web.console.desk import Desk


@dataclass(frozen=True, slots=True)
class AuditPages:
    """`/admin/audit`."""

    desk: Desk

    def add_to(self, blueprint: Blueprint) -> None:
        blueprint.add_url_rule("/audit", "audit", self.list)

    def list(self) -> Response:
        given: dict[str, Any] = {name: value.strip() for name, value in request.args.items() if value.strip()}
        asked = judged(AuditFilters, given)
        found = AuditCalls(self.desk.surfaces).list_audit(self.desk.admin, asked)
        filters = {name: value for name, value in given.items() if name not in ("limit", "cursor")}
        return self.desk.page("audit", found=found, filters=filters)
