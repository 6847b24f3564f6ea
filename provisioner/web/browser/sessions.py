"""Sessions in signed cookies, and the tokens that prove that a form was filled in on our own page.

A session is what the cookie says; nothing is kept here but the ids of sessions that were ended before their
time. It ends when it was not used for a while, and after its longest time in any case.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest, new
from typing import Any

from flask import Response, request

from provisioner.errors import ProvisionerError
from provisioner.store import Store
from provisioner.store.verbs import Verbs
from provisioner.web.browser.signed import LinkExpired, Signed

FIELD = "csrf_token"  # the form field that proves it
_ENDED = "session_ended:"


class FormForged(ProvisionerError):
    """A form that was not filled in on our own page in this session: 400."""

    code = "form_forged"


@dataclass(frozen=True, slots=True)
class Session:
    """One browser's session. `began_at` is in milliseconds since the epoch; `data` is what it is about."""

    id: str
    began_at: int
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions of one kind.

    :param path: where the browser sends the cookie to.
    :param is_secure: whether only over HTTPS, however the present request came.
    :param idle_s: so long unused, and it is over.
    :param lasts_s: so long after its begin it is over.
    """

    signed: Signed
    store: Store
    path: str
    is_secure: bool
    idle_s: int
    lasts_s: int

    def current(self, cookie: str) -> Session | None:
        """The session that the present request's cookie of this name holds, if it is good still."""
        try:
            said = self.signed.read(request.cookies.get(cookie, ""), self.idle_s)
        except LinkExpired:
            return None
        if said is None:
            return None
        session = Session(said["id"], said["began"], said["data"])
        if self.signed.clock() - session.began_at > self.lasts_s * 1000:
            return None
        ended = self.store.read(lambda verbs: verbs.fact(_ENDED + session.id))
        return None if ended is not None else session

    def begin(self, answer: Response, cookie: str, data: Mapping[str, Any]) -> Session:
        """A new session, which the answer gives to the browser."""
        session = Session(secrets.token_hex(16), self.signed.clock(), data)
        self.keep(answer, cookie, session)
        return session

    def keep(self, answer: Response, cookie: str, session: Session) -> None:
        """Gives the browser its cookie (anew): from now on it counts as used."""
        said = {"id": session.id, "began": session.began_at, "data": dict(session.data)}
        answer.set_cookie(cookie, self.signed.sign(said), **self._flags())

    def end(self, answer: Response, cookie: str, session: Session) -> None:
        """Ends it for good: a copy of its cookie is worth nothing any more, on no node."""
        now = self.signed.clock()

        def unit(verbs: Verbs) -> None:
            for name, until in verbs.facts_like(_ENDED).items():
                if until < now:
                    verbs.drop_fact(name)
            verbs.set_fact(_ENDED + session.id, session.began_at + self.lasts_s * 1000, now)

        self.store.write(unit)
        answer.delete_cookie(cookie, **self._flags())

    def _flags(self) -> dict[str, Any]:
        secure = self.is_secure or request.is_secure
        return {"path": self.path, "secure": secure, "httponly": True, "samesite": "Lax"}

    def token(self, session: Session) -> str:
        """What each form of this session carries."""
        return self._tokens(session)[0]

    def check_form(self, session: Session) -> None:
        """The present request is a form of this session, filled in on our own page.

        :raises FormForged: its token is missing or another's.
        """
        given = request.form.get(FIELD, "").encode()
        if any(compare_digest(token.encode(), given) for token in self._tokens(session)):
            return
        raise FormForged(
            "This form is not one of this session; nothing was done. Open the page anew and try again."
        )

    def _tokens(self, session: Session) -> list[str]:
        """By each key, newest first: the first is given, each is good."""
        keys = self.signed.keys(f"{self.signed.purpose} forms")
        return [new(key, session.id.encode(), sha256).hexdigest() for key in keys]
