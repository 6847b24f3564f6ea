"""What concerns the whole account: reconciliation, brakes and the pause, plans, settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, request

from provisioner.config import Plan
from provisioner.engine import pauses
from provisioner.engine.reconcile import EMPTY, FACT
from provisioner.engine.ticks import templates_seen
from provisioner.operation import Kind, State
from provisioner.operations.lost_create import HELD_CODES
from provisioner.web.api.account import AccountCalls
from provisioner.web.asked import Asked, Fix, Reasoned, Trust
from provisioner.web.auth import Need
from provisioner.web.call import judged
from provisioner.web.console.desk import Desk, reason_of, to

MOST_LOST = 100


@dataclass(frozen=True, slots=True)
class AccountPages:
    """`/admin/reconciliation`, `/admin/brakes`, `/admin/plans` and `/admin/settings`."""

    desk: Desk

    def add_to(self, blueprint: Blueprint) -> None:
        blueprint.add_url_rule("/reconciliation", "reconciliation", self.reconciliation)
        blueprint.add_url_rule("/reconciliation", "reconcile", self.reconcile, methods=["POST"])
        blueprint.add_url_rule("/brakes", "brakes", self.brakes)
        blueprint.add_url_rule("/brakes/<kind>/reset", "reset_brake", self.reset_brake, methods=["POST"])
        blueprint.add_url_rule("/pause", "pause", self.pause, methods=["POST"])
        blueprint.add_url_rule("/resume", "resume", self.resume, methods=["POST"])
        blueprint.add_url_rule("/plans", "plans", self.plans)
        blueprint.add_url_rule("/settings", "settings", self.settings)
        blueprint.add_url_rule("/settings/trust/<name>", "trust", self.trust, methods=["POST"])

    def reconciliation(self) -> Response:
        found, held = self.desk.surfaces.store.read(
            lambda verbs: (
                verbs.fact(FACT) or EMPTY,
                verbs.operations(MOST_LOST, None, state=State.HELD, kind=Kind.CREATE),
            )
        )
        lost = [one for one in held if one.error_code in HELD_CODES]
        return self.desk.page("reconciliation", found=found, lost=lost)

    def reconcile(self) -> Response:
        self.desk.admin.must_reach(Need.WORK)
        form = self.desk.form()
        asked = judged(Fix, {**reason_of(form), "fix": bool(form.get("fix"))})
        self._calls().reconcile(self.desk.admin, asked)
        return to("reconciliation", done="compared")

    def brakes(self) -> Response:
        found = self._calls().list_brakes(self.desk.admin, Asked())
        paused = self.desk.surfaces.store.read(pauses.reasons)
        return self.desk.page("brakes", brakes=found.items, paused=paused)

    def reset_brake(self, kind: str) -> Response:
        self.desk.admin.must_reach(Need.DECIDE)
        self._calls().reset_brake(self.desk.admin, self._reasoned(), kind)
        return to("brakes", done="reset")

    def pause(self) -> Response:
        self.desk.admin.must_reach(Need.DECIDE)
        self._calls().pause(self.desk.admin, self._reasoned())
        return to("brakes", done="paused")

    def resume(self) -> Response:
        self.desk.admin.must_reach(Need.DECIDE)
        self._calls().resume(self.desk.admin, self._reasoned())
        return to("brakes", done="resumed")

    def plans(self) -> Response:
        settings = self.desk.surfaces.settings
        seen = self.desk.surfaces.store.read(templates_seen)
        judged_plans = [
            (name, plan, problems_of(plan, seen["items"]), _sold_by(name, settings.billing))
            for name, plan in settings.plans.items()
        ]
        return self.desk.page("plans", plans=judged_plans, seen=seen, templates=settings.templates)

    def settings(self) -> Response:
        systems = self._calls().list_billing(self.desk.admin, Asked())
        return self.desk.page(
            "settings", settings=self.desk.surfaces.settings.masked(), systems=systems.items
        )

    def trust(self, name: str) -> Response:
        self.desk.admin.must_reach(Need.DECIDE)
        asked = judged(
            Trust, {"installation": request.form.get("installation", ""), **reason_of(self.desk.form())}
        )
        self._calls().trust_installation(self.desk.admin, asked, name)
        return to("settings", done="trusted")

    def _reasoned(self) -> Reasoned:
        return judged(Reasoned, reason_of(self.desk.form()))

    def _calls(self) -> AccountCalls:
        return AccountCalls(self.desk.surfaces)


def problems_of(plan: Plan, templates: list[str]) -> list[str]:
    """What of a plan the upstream would not carry out, by its template list as last seen."""
    if not templates:
        return []
    wanted = dict.fromkeys([plan.template, *plan.templates])
    return [f"the upstream has no template {name}" for name in wanted if name not in templates]


def _sold_by(plan: str, billing: Any) -> list[str]:
    return [name for name, system in billing.items() if not system.plans or plan in system.plans]
