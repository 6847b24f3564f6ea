"""The operations: what was done, what is being done, and what waits for a person."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.engine.approve import ADOPT
from provisioner.errors import NotFound, RequestInvalid
from provisioner.operation import Operation
from provisioner.web import models
from provisioner.web.asked import Approval, Asked, OperationFilters, Tried
from provisioner.web.auth import Admin, Need, need_of
from provisioner.web.call import Call
from provisioner.web.pages import page
from provisioner.web.surfaces import Surfaces


@dataclass(frozen=True, slots=True)
class OperationCalls:
    """`/api/operations`."""

    surfaces: Surfaces

    def calls(self) -> list[Call]:
        one = "/api/operations/{operation}"
        return [
            Call(
                "GET", "/api/operations", "Operations, newest first.",
                self.list_operations, models.Page[models.Operation], OperationFilters,
            ),
            Call(
                "GET", one, "One operation with its timeline.",
                self.show_operation, models.OperationWhole,
            ),
            Call(
                "POST", f"{one}/retry", "A failed operation goes on from where it failed.",
                self.retry_operation, models.Operation, Tried, Need.WORK, refuses=(409,),
            ),
            Call(
                "POST", f"{one}/cancel",
                "Ends one that has sent nothing upstream, or is held; undoes a terminate in its grace.",
                self.cancel_operation, models.Operation, Tried, Need.WORK, refuses=(409,),
            ),
            Call(
                "POST", f"{one}/approve", "Lifts the reason it is held for; all other checks run again.",
                self.approve_operation, models.Operation, Approval, Need.DECIDE, refuses=(409,),
            ),
        ]  # fmt: skip

    def list_operations(self, admin: Admin, asked: OperationFilters) -> models.Page[models.Operation]:
        filters = asked.model_dump(exclude={"limit", "cursor", "q"})
        found = page(
            "operations",
            asked.cursor,
            asked.limit,
            lambda limit, place: self.surfaces.store.read(
                lambda verbs: verbs.listed_operations(limit, place, text=asked.q, **filters)
            ),
        )
        return models.Page[models.Operation].told(found, models.Operation.facts)

    def show_operation(self, admin: Admin, asked: Asked, operation: str) -> models.OperationWhole:
        timeline, messages = self.surfaces.store.read(
            lambda verbs: (verbs.timeline(operation), verbs.deliveries_of_operation(operation))
        )
        return models.OperationWhole.told(self._known(operation), timeline, messages)

    def retry_operation(self, admin: Admin, asked: Tried, operation: str) -> models.Operation:
        admin.must_reach(need_of(self._known(operation).kind))
        return models.Operation.of(
            self.surfaces.commands.retry(
                operation, admin.actor, asked.reason, origin=admin.origin, dry=asked.dry_run
            )
        )

    def cancel_operation(self, admin: Admin, asked: Tried, operation: str) -> models.Operation:
        return models.Operation.of(
            self.surfaces.commands.cancel(
                operation, admin.actor, asked.reason, origin=admin.origin, dry=asked.dry_run
            )
        )

    def approve_operation(self, admin: Admin, asked: Approval, operation: str) -> models.Operation:
        if asked.vmid is not None and asked.choice != ADOPT:
            raise RequestInvalid(f"vmid: is taken with choice {ADOPT} only")
        choice = asked.choice or ""
        return models.Operation.of(
            self.surfaces.commands.approve(
                operation,
                admin.actor,
                asked.reason,
                choice,
                asked.vmid,
                origin=admin.origin,
                dry=asked.dry_run,
            )
        )

    def _known(self, operation: str) -> Operation:
        found = self.surfaces.store.read(lambda verbs: verbs.operation(operation))
        if found is None:
            raise NotFound(f"there is no operation {operation}")
        return found
