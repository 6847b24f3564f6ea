"""The events as they came in, the rejected ones above all."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Response

from provisioner.errors import NotFound
from provisioner.event import TYPES
from provisioner.store.verbs import StoredEvent
from provisioner.web import models
from provisioner.web.asked import Asked, EventFilters, Reasoned
from provisioner.web.auth import Admin, Need, need_of
from provisioner.web.call import Call
from provisioner.web.pages import page
from provisioner.web.surfaces import Surfaces


@dataclass(frozen=True, slots=True)
class EventCalls:
    """`/api/events`."""

    surfaces: Surfaces

    def calls(self) -> list[Call]:
        one = "/api/events/{event}"
        return [
            Call(
                "GET", "/api/events", "Events, newest first.",
                self.list_events, models.Page[models.Event], EventFilters,
            ),
            Call(
                "GET", one, "One event with what it said and what was answered.",
                self.show_event, models.EventWhole,
            ),
            Call(
                "POST", f"{one}/replay",
                "Judges a rejected event again; answers what the billing system would have been answered.",
                self.replay_event, models.Replayed, Reasoned, Need.WORK, status=202, refuses=(409,),
            ),
        ]  # fmt: skip

    def list_events(self, admin: Admin, asked: EventFilters) -> models.Page[models.Event]:
        filters = asked.model_dump(exclude={"limit", "cursor"})
        found = page(
            "events",
            asked.cursor,
            asked.limit,
            lambda limit, place: self.surfaces.store.read(
                lambda verbs: verbs.events(limit, place, **filters)
            ),
        )
        return models.Page[models.Event].told(found, models.Event.facts)

    def show_event(self, admin: Admin, asked: Asked, event: str) -> models.EventWhole:
        return models.EventWhole.told(self._known(event))

    def replay_event(self, admin: Admin, asked: Reasoned, event: str) -> Response:
        kind = TYPES.get(self._known(event).type)
        if kind is not None:
            admin.must_reach(need_of(kind))
        answer = self.surfaces.accept.replay(event, admin.actor, asked.reason, admin.origin)
        return Response(answer.body, answer.status, mimetype="application/json")

    def _known(self, event: str) -> StoredEvent:
        found = self.surfaces.store.read(lambda verbs: verbs.event(event))
        if found is None:
            raise NotFound(f"there is no event {event}")
        return found
