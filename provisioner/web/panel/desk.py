"""What every page of the panel stands on: who came, for which service, in which language and colours."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from flask import Response, g, make_response, redirect, render_template, request, url_for

from provisioner.config import Panel
from provisioner.engine.accept import Request
from provisioner.engine.offers import Offers, Standing, WhyNot, standing
from provisioner.errors import EventRejected, NotFound, ProvisionerError
from provisioner.event_models import Fields
from provisioner.operation import Kind
from provisioner.service import Service
from provisioner.web.browser.pages import allow_images
from provisioner.web.browser.sessions import Session, Sessions
from provisioner.web.browser.signed import Signed
from provisioner.web.origin import origin
from provisioner.web.panel.brand import Brand
from provisioner.web.panel.links import PREFIX, Guest
from provisioner.web.panel.speech import Speech, speech, spoken
from provisioner.web.surfaces import Surfaces

LASTS_S = 2 * 3600


class NotOffered(ProvisionerError):
    """What was asked for is not possible now; `why` says so to the customer."""

    code = "not_offered"

    def __init__(self, why: WhyNot) -> None:
        super().__init__(why.value)
        self.why = why


@dataclass(frozen=True, slots=True)
class Desk:
    """The panel's surroundings."""

    surfaces: Surfaces
    sessions: Sessions
    # Two clicks at the same moment must not both be the first.
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, surfaces: Surfaces) -> Desk:
        signed = Signed(surfaces.keys, "panel session", surfaces.clock)
        is_secure = surfaces.settings.server.public_url.startswith("https:")
        return cls(surfaces, Sessions(signed, surfaces.store, PREFIX, is_secure, LASTS_S, LASTS_S))

    @property
    def guest(self) -> Guest:
        """Who came; the door has let them in."""
        guest: Guest = g.guest
        return guest

    @property
    def session(self) -> Session:
        session: Session = g.session
        return session

    @property
    def speech(self) -> Speech:
        """The billing system's language; the browser's, where nobody knows whose customer this is."""
        said: Speech | None = g.get("speech")
        return said or spoken(request.accept_languages.values())

    def sessions_at(self, ref: str) -> Sessions:
        """The sessions for one service. Its cookie goes to its own pages alone: whoever looks after a hundred
        servers would else send a hundred with each, more than a reverse proxy takes."""
        return replace(self.sessions, path=f"{PREFIX}/at/{ref}")

    @property
    def session_digest(self) -> str:
        """What a password reset remembers of this session: it opens no session."""
        return sha256(self.session.id.encode()).hexdigest()[:32]

    def take(self, billing: str) -> None:
        """From now on the present request is about this billing system's customer."""
        found = self.surfaces.settings.billing.get(billing)
        panel = found.panel if found else Panel()
        g.brand, g.speech = Brand(billing, panel), speech(panel.language)
        allow_images(g.brand.logo_origins)

    def is_known(self, guest: Guest) -> bool:
        """Whether the service is there still, and its billing system too."""
        if guest.billing not in self.surfaces.settings.billing:
            return False
        return self.surfaces.store.read(lambda verbs: verbs.service(*_key(guest))) is not None

    def standing(self) -> Standing:
        """How the service stands."""
        settings = self.surfaces.settings
        found = self.surfaces.store.read(lambda verbs: standing(verbs, settings, *_key(self.guest)))
        if found is None:
            raise NotFound("the service is not there any more")
        return found

    def offers(self) -> Offers:
        """What may be done now; begins a look at the VM where the last one is too old."""
        return Offers(self.standing(), self.surfaces.looks.look(*_key(self.guest)))

    def act(self, kind: Kind, data: Fields) -> None:
        """Has something done, by the same door as an event.

        :raises NotOffered: it is not possible now.
        """
        with self._one_at_a_time:
            refusal = self.offers().refusal(kind, data)
            if refusal is not None:
                raise NotOffered(refusal)
            asked = Request(
                *_key(self.guest), kind, data, self.guest.actor, origin=origin(), session=self.session_digest
            )
            try:
                self.surfaces.accept.action(asked)
            except EventRejected as rejected:
                raise NotOffered(WhyNot.NOT_OFFERED) from rejected

    def name_of(self, service: Service) -> str:
        """What the customer calls the server."""
        _ = self.speech
        return service.hostname or _("Server %(id)s", id=service.service_id)

    def label_of(self, template: str) -> str:
        """A template's name as people read it."""
        known = self.surfaces.settings.templates.get(template)
        return known.label if known and known.label else template

    def page(self, name: str, status: int = 200, /, **facts: Any) -> Response:
        """The page of this name, drawn with these facts."""
        guest, said = g.get("guest"), self.speech
        common = {
            "_": said,
            "language": said.code,
            "brand": g.get("brand"),
            "ref": guest.ref if guest else "",
            "csrf_token": self.sessions.token(g.session) if guest else "",
            "now": self.surfaces.clock(),
            "section": name,
            "again_s": 0,
        }
        return make_response(render_template(f"panel/{name}.html", **{**common, **facts}), status)

    def to(self, endpoint: str, **values: Any) -> Response:
        """On to another page of this service's panel once something was done."""
        return make_response(redirect(url_for(f"panel.{endpoint}", ref=self.guest.ref, **values), 303))


def cookie_of(ref: str) -> str:
    """The name of the cookie for a service: one each, so that two of them can be open side by side."""
    return f"panel_{ref}"


def _key(guest: Guest) -> tuple[str, str]:
    return guest.billing, guest.service_id
