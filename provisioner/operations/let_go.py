"""VMs that a service gave away alive: unlinked on purpose, or moved to another service.

What once made such a VM is no claim to it any more, or else it would be shown as an orphan and deleted by
somebody who means well. It is no tombstone: that says that a VM is dead and its id may be another machine's,
which the search for a lost create takes as evidence. An operation that names the id from now on makes a new
owner.
"""

from __future__ import annotations

from typing import Any

from provisioner.service import Service
from provisioner.store.verbs import Verbs

_PREFIX = "let_go:"


def let_go(
    verbs: Verbs, service: Service, vmid: int, now: int, *, actor: str, reason: str, to: str = ""
) -> None:
    """A service gives its VM away: what made it until now is no claim to it any more.

    :param now: milliseconds since the epoch, UTC.
    :param to: the service that has it from now on; empty where none has.
    """
    claims = [operation.id for operation in verbs.operations_that_made(vmid)]
    value = {
        "operations": claims,
        "billing": service.billing,
        "service_id": service.service_id,
        "at": now,
        "actor": actor,
        "reason": reason,
        "to": to,
    }
    verbs.set_fact(f"{_PREFIX}{vmid}", value, now)


def all_let_go(verbs: Verbs) -> dict[int, dict[str, Any]]:
    """Every VM that was ever given away, the last time it was: by whom, when (ms), and the void claims."""
    return {int(name.removeprefix(_PREFIX)): value for name, value in verbs.facts_like(_PREFIX).items()}


def let_go_since(verbs: Verbs, at: int) -> set[int]:
    """The VMs given away since then, milliseconds."""
    return {vmid for vmid, value in all_let_go(verbs).items() if value["at"] >= at}
