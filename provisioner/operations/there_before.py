"""The VMs that were there before a create was sent: none of them is what it made.

There are as many as the account has, so they are no part of the memo, which each step reads and writes
anew, but a mark of their own: written with the intent, read by who looks for what a create made, and
dropped when that is known (docs/decisions/0014).
"""

from __future__ import annotations

import json
from collections.abc import Collection

from provisioner.operation import Operation
from provisioner.operations import Run
from provisioner.store.verbs import Verbs

LISTED = "listed"  # in the memo: that there is evidence; the mark: what it says


def text_of(vmids: Collection[int]) -> str:
    """How they are kept: as long as the account is large, so it is made before the transaction."""
    return json.dumps(sorted(vmids))


def note(run: Run, text: str) -> None:
    """Keeps them with the next intent."""
    run.memo[LISTED] = None
    run.marks[LISTED] = text


def drop(run: Run) -> None:
    """Nothing is looked for any more."""
    run.memo.pop(LISTED, None)
    run.marks[LISTED] = ""


def before(verbs: Verbs, create: Operation) -> frozenset[int] | None:
    """The VMs that were there; None where that is not on record: not sent, or what was noted is gone."""
    if LISTED not in create.memo:
        return None
    vmids = create.memo[LISTED]  # themselves, where an earlier version or a recovery has noted them
    if vmids is None:
        vmids = json.loads(verbs.mark(create.id, LISTED) or "null")
    return None if vmids is None else frozenset(vmids)
