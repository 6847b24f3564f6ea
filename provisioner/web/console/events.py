"""The events as they came in; a rejected one can be judged again."""

from __future__ import annotations

import json
from dataclasses import dataclass

from flask import Blueprint, Response

from provisioner.errors import RequestInvalid
from provisioner.event import TYPES
from provisioner.web.api.events import EventCalls
from provisioner.web.asked import Asked, EventFilters, Reasoned
from provisioner.web.auth import Need, need_of
from provisioner.web.call import judged
from provisioner.web.console import runbook
from provisioner.web.console.desk import Desk, filters_of, reason_of, to


@dataclass(frozen=True, slots=True)
class EventPages:
    """`/admin/events`."""

    desk: Desk

    def add_to(self, blueprint: Blueprint) -> None:
        blueprint.add_url_rule("/events", "events", self.list)
        blueprint.add_url_rule("/events/<event>", "event", self.show)
        blueprint.add_url_rule("/events/<event>/replay", "replay", self.replay, methods=["POST"])

    def list(self) -> Response:
        asked, filters = filters_of(EventFilters)
        found = self._calls().list_events(self.desk.admin, asked)
        return self.desk.page(
            "events", found=found, filters=filters, billings=list(self.desk.surfaces.settings.billing),
            is_first=not asked.cursor,
        )  # fmt: skip

    def show(self, event: str) -> Response:
        one = self._calls().show_event(self.desk.admin, Asked(), event)
        service = self.desk.surfaces.store.read(lambda verbs: verbs.service(one.billing, one.service_id))
        kind = TYPES.get(one.type)
        may_replay = self.desk.admin.reaches(need_of(kind) if kind else Need.WORK)
        name = one.code if one.code == "unknown_installation" else "events_rejected"
        return self.desk.page(
            "event", one=one, may_replay=may_replay and one.state == "rejected",
            advice=runbook.alert(name), has_service=service is not None,
            body=json.dumps(one.body, indent=2, ensure_ascii=False) if one.body else "",
            answer=json.dumps(one.answer, indent=2, ensure_ascii=False) if one.answer else "",
        )  # fmt: skip

    def replay(self, event: str) -> Response:
        """It is judged again; rejected again, it says why."""
        self.desk.admin.must_reach(Need.WORK)
        asked = judged(Reasoned, reason_of(self.desk.form()))
        answer = self._calls().replay_event(self.desk.admin, asked, event)
        said = json.loads(answer.get_data())
        if "operation" in said:
            return to("operation", operation=said["operation"], done="accepted")
        raise RequestInvalid(f"It was rejected again: {said['error']['message']}")

    def _calls(self) -> EventCalls:
        return EventCalls(self.desk.surfaces)
