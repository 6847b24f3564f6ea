"""What concerns the whole account: pauses, brakes, trust in billing systems, the last reconciliation."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.engine import pauses
from provisioner.engine.accept import installation_fact
from provisioner.engine.fetch import fetched_at
from provisioner.engine.reconcile import EMPTY, FACT
from provisioner.errors import NotFound
from provisioner.operation import Kind
from provisioner.operations import brakes
from provisioner.web import models
from provisioner.web.asked import Asked, Fix, Reasoned, Trust
from provisioner.web.auth import Admin, Need
from provisioner.web.call import Call
from provisioner.web.surfaces import Surfaces


@dataclass(frozen=True, slots=True)
class AccountCalls:
    """`/api/pause`, `/api/resume`, `/api/brakes`, `/api/billing`, `/api/upstream` and `/api/reconcile`."""

    surfaces: Surfaces

    def calls(self) -> list[Call]:
        return [
            Call(
                "GET", "/api/upstream/reconciliation", "What store and upstream disagree on, as last seen.",
                self.show_reconciliation, models.Reconciliation,
            ),
            Call(
                "POST", "/api/reconcile",
                "Compares store and upstream now; changes nothing, unless `fix` asks for it.",
                self.reconcile, models.Reconciliation, Fix, Need.WORK, refuses=(502,),
            ),
            Call("GET", "/api/brakes", "The brakes of [safety].", self.list_brakes, models.Brakes),
            Call(
                "POST", "/api/brakes/{kind}/reset",
                "Restarts a brake's count; releases nothing that is held.",
                self.reset_brake, models.Brake, Reasoned, Need.DECIDE,
            ),
            Call(
                "POST", "/api/pause", "Stops all work upstream; events are still accepted.",
                self.pause, models.Pauses, Reasoned, Need.DECIDE,
            ),
            Call(
                "POST", "/api/resume", "Lets the work upstream go on.",
                self.resume, models.Pauses, Reasoned, Need.DECIDE,
            ),
            Call(
                "GET", "/api/billing",
                "The billing systems of the settings, and when one that fetches its deliveries did so.",
                self.list_billing, models.BillingSystems,
            ),
            Call(
                "POST", "/api/billing/{name}/trust",
                "Accepts events of another installation of a billing system from now on.",
                self.trust_installation, models.Trusted, Trust, Need.DECIDE,
            ),
        ]  # fmt: skip

    def show_reconciliation(self, admin: Admin, asked: Asked) -> models.Reconciliation:
        found = self.surfaces.store.read(lambda verbs: verbs.fact(FACT))
        return models.Reconciliation.of(found or EMPTY)

    def reconcile(self, admin: Admin, asked: Fix) -> models.Reconciliation:
        found = self.surfaces.reconcile.run(
            fix=asked.fix, actor=admin.actor, reason=asked.reason, origin=admin.origin
        )
        return models.Reconciliation.of(found)

    def list_brakes(self, admin: Admin, asked: Asked) -> models.Brakes:
        settings, now = self.surfaces.settings, self.surfaces.clock()
        found = self.surfaces.store.read(lambda verbs: brakes.overview(verbs, settings, now))
        return models.Brakes(items=[models.Brake.of(brake) for brake in found])

    def reset_brake(self, admin: Admin, asked: Reasoned, kind: str) -> models.Brake:
        if kind not in brakes.BRAKED:
            raise NotFound(f"there is no brake {kind}; there are {', '.join(brakes.BRAKED)}")
        self.surfaces.commands.reset_brake(Kind(kind), admin.actor, asked.reason, origin=admin.origin)
        return next(brake for brake in self.list_brakes(admin, Asked()).items if brake.kind == kind)

    def pause(self, admin: Admin, asked: Reasoned) -> models.Pauses:
        self.surfaces.commands.pause(admin.actor, asked.reason, origin=admin.origin)
        return self._pauses()

    def resume(self, admin: Admin, asked: Reasoned) -> models.Pauses:
        self.surfaces.commands.resume(admin.actor, asked.reason, origin=admin.origin)
        return self._pauses()

    def list_billing(self, admin: Admin, asked: Asked) -> models.BillingSystems:
        systems = self.surfaces.settings.billing.items()
        found = self.surfaces.store.read(
            lambda verbs: [
                models.BillingSystem.of(
                    name, billing, verbs.fact(installation_fact(name)), fetched_at(verbs, name)
                )
                for name, billing in systems
            ]
        )
        return models.BillingSystems(items=found)

    def trust_installation(self, admin: Admin, asked: Trust, name: str) -> models.Trusted:
        self.surfaces.commands.trust(name, asked.installation, admin.actor, asked.reason, origin=admin.origin)
        return models.Trusted(billing=name, installation=asked.installation)

    def _pauses(self) -> models.Pauses:
        reasons = list(self.surfaces.store.read(pauses.reasons))
        return models.Pauses(paused=bool(reasons), reasons=reasons)
