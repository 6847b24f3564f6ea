"""The services: a list with filters, one with all that is known of it, and what a person has done for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response

from provisioner.config import Settings
from provisioner.engine.ticks import templates_seen
from provisioner.errors import NotFound
from provisioner.operation import OPEN, State
from provisioner.service import ServiceStatus
from provisioner.web import models
from provisioner.web.api.services import ServiceCalls
from provisioner.web.asked import Action, Asked, Move, ServiceFilters, Tried
from provisioner.web.browser.plot import line
from provisioner.web.call import judged
from provisioner.web.console.deeds import DEEDS, Deed, data_of, is_possible
from provisioner.web.console.desk import Desk, filters_of, reason_of, to


@dataclass(frozen=True, slots=True)
class ServicePages:
    """`/admin/services`."""

    desk: Desk

    def add_to(self, blueprint: Blueprint) -> None:
        one = "/services/<billing>/<service_id>"
        blueprint.add_url_rule("/services", "services", self.list)
        blueprint.add_url_rule(one, "service", self.show)
        blueprint.add_url_rule(f"{one}/<deed>", "ask_service", self.ask)
        blueprint.add_url_rule(f"{one}/<deed>", "do_service", self.do, methods=["POST"])

    def list(self) -> Response:
        asked, filters = filters_of(ServiceFilters)
        found = self._calls().list_services(self.desk.admin, asked)
        return self.desk.page(
            "services", found=found, filters=filters, statuses=list(ServiceStatus),
            billings=list(self.desk.surfaces.settings.billing),
        )  # fmt: skip

    def show(self, billing: str, service_id: str) -> Response:
        one = self._calls().show_service(self.desk.admin, Asked(), billing, service_id)
        may = self.desk.admin.reaches
        possible = {name: deed for name, deed in DEEDS.items() if may(deed.needs) and is_possible(name, one)}
        is_busy = any(operation.state in (*OPEN, State.DELIVERING) for operation in one.operations)
        return self.desk.page("service", one=one, deeds=possible, is_busy=is_busy, **self._live(one))

    def ask(self, billing: str, service_id: str, deed: str) -> Response:
        """What is to be filled in, and what would be lost, before anything is done."""
        found = _deed(deed)
        self.desk.admin.must_reach(found.needs)
        one = self._calls().show_service(self.desk.admin, Asked(), billing, service_id)
        return self.desk.page("ask_service", one=one, deed=found, **self._choices(billing), **self._live(one))

    def do(self, billing: str, service_id: str, deed: str) -> Response:
        found = _deed(deed)
        self.desk.admin.must_reach(found.needs)
        form = self.desk.form()
        if found.kind is None:
            return self._other(deed)(billing, service_id, form)
        asked = judged(Action, {"action": found.kind.value, **reason_of(form), **data_of(found, form)})
        accepted = self._calls().act(self.desk.admin, asked, billing, service_id)
        return to("operation", operation=accepted.operation, done="accepted")

    def _other(self, deed: str) -> Callable[[str, str, dict[str, str]], Response]:
        return {"unlink": self._unlink, "move": self._move, "erase": self._erase}[deed]

    def _unlink(self, billing: str, service_id: str, form: dict[str, str]) -> Response:
        self._calls().unlink_service(self.desk.admin, judged(Tried, reason_of(form)), billing, service_id)
        return to("service", billing=billing, service_id=service_id, done="unlinked")

    def _move(self, billing: str, service_id: str, form: dict[str, str]) -> Response:
        asked = judged(Move, {"service_id": form.get("to", ""), **reason_of(form)})
        moved = self._calls().move_service(self.desk.admin, asked, billing, service_id)
        return to("service", billing=billing, service_id=moved.service.service_id, done="moved")

    def _erase(self, billing: str, service_id: str, form: dict[str, str]) -> Response:
        self._calls().erase(self.desk.admin, judged(Tried, reason_of(form)), billing, service_id)
        return to("service", billing=billing, service_id=service_id, done="erased")

    def _choices(self, billing: str) -> dict[str, Any]:
        settings: Settings = self.desk.surfaces.settings
        seen = self.desk.surfaces.store.read(templates_seen)
        sold = settings.billing[billing].plans if billing in settings.billing else ()
        return {
            "plans": list(sold or settings.plans),
            "templates": [
                (name, settings.templates[name].label if name in settings.templates else "")
                for name in seen["items"]
            ],
        }

    def _live(self, one: models.Service) -> dict[str, Any]:
        """What its VM does at this moment, as far as somebody has looked."""
        look = self.desk.surfaces.looks.look(one.billing, one.service_id)
        points = [(sample.at, sample.cpu) for sample in look.samples]
        return {"look": look, "load": line(points, 1.0, top_words="100 %")}

    def _calls(self) -> ServiceCalls:
        return ServiceCalls(self.desk.surfaces)


def _deed(name: str) -> Deed:
    if name not in DEEDS:
        raise NotFound(f"there is nothing called {name} to do for a service")
    return DEEDS[name]
