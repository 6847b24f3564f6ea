"""When nothing may be sent upstream: a person's pause, a refused token. Events are still accepted."""

from __future__ import annotations

from typing import Any

from provisioner.store.verbs import Verbs

BY_PERSON = "paused"
TOKEN_REFUSED = "token_refused"  # noqa: S105 - a fact's name
RECOVERING = "recovering"
REASONS = (BY_PERSON, TOKEN_REFUSED, RECOVERING)
_SINCE = "paused_since"


def reasons(verbs: Verbs) -> dict[str, Any]:
    """Why the work upstream stands still; empty while it does not."""
    found = verbs.facts_among(REASONS)
    return {name: found[name] for name in REASONS if found.get(name) is not None}


def begin(verbs: Verbs, name: str, value: dict[str, Any], now: int) -> None:
    """Stops the work upstream for one more reason."""
    if not reasons(verbs):
        verbs.set_fact(_SINCE, now, now)
    verbs.set_fact(name, value, now)


def end(verbs: Verbs, name: str, now: int) -> bool:
    """Takes one reason away; returns whether there was such a pause.

    With the last one the work goes on, and the time it stood still counts towards no giving up.
    """
    if verbs.fact(name) is None:
        return False
    verbs.drop_fact(name)
    if not reasons(verbs):
        verbs.forgive_pause(verbs.fact(_SINCE) or now, now)
        verbs.drop_fact(_SINCE)
    return True
