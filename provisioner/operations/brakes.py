"""The brakes of `[safety]`: too many of a kind within an hour wait for a person (contract, section 2)."""

from __future__ import annotations

from typing import Any

from provisioner.config import Settings
from provisioner.errors import OperationHeld
from provisioner.operation import Kind
from provisioner.operations import Run
from provisioner.store.verbs import Verbs

HOUR_MS = 3_600_000
BRAKED = (Kind.TERMINATE, Kind.SUSPEND, Kind.CREATE)
CODE = "brake"


def limit(settings: Settings, kind: Kind) -> int:
    """How many of a kind may pass in an hour; 0 where there is no limit."""
    safety = settings.safety
    return {
        Kind.TERMINATE: safety.max_terminations_per_hour,
        Kind.SUSPEND: safety.max_suspensions_per_hour,
        Kind.CREATE: safety.max_creates_per_hour,
    }.get(kind, 0)


def tripped_fact(kind: Kind) -> str:
    """The name of the fact that says since when a brake is on."""
    return f"brake:{kind.value}"


def pass_brake(run: Run) -> None:
    """Lets an operation pass once, and counts it; it may ask again without being counted again.

    :raises OperationHeld: `brake`; so is each further one until a person resets the brake.
    """
    operation, now = run.operation, run.now()
    most = limit(run.settings, operation.kind)
    if not most:
        return
    approved = run.has_approval(CODE)

    def unit(verbs: Verbs) -> bool:
        if approved or verbs.has_passed(operation.kind, operation.id):
            return True
        tripped = verbs.fact(tripped_fact(operation.kind)) is not None
        if tripped or verbs.count_passages(operation.kind, now - HOUR_MS) >= most:
            if not tripped:
                verbs.set_fact(tripped_fact(operation.kind), now, now)
            return False
        verbs.add_passage(operation.kind, operation.id, now)
        return True

    if not run.store.write(unit):
        raise OperationHeld(
            "The provider checks this before it goes on.",
            code=CODE,
            detail=f"more than {most} of kind {operation.kind} in an hour: look at them, then reset the "
            "brake (provisioner brakes reset) and approve those that are right",
        )


def overview(verbs: Verbs, settings: Settings, now: int) -> list[dict[str, Any]]:
    """Each brake: its kind, its limit, how many passed in the last hour, and since when it is on (ms)."""
    return [
        {
            "kind": kind.value,
            "limit": limit(settings, kind),
            "count": verbs.count_passages(kind, now - HOUR_MS),
            "tripped_at": verbs.fact(tripped_fact(kind)) if limit(settings, kind) else None,
        }
        for kind in BRAKED
    ]


def reset(verbs: Verbs, kind: Kind) -> None:
    """Restarts the count; releases nothing that is held."""
    verbs.drop_fact(tripped_fact(kind))
    verbs.drop_passages(kind)
