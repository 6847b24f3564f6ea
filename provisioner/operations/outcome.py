"""When no clear answer came: how often something is sent again before a person is told."""

from __future__ import annotations

from provisioner.errors import OperationFailed
from provisioner.operations import Go, Run

MOST_RESENDS = 3


def settled(run: Run) -> bool:
    """Whether what was sent at `memo["sent_at"]` has been watched for `settle` seconds."""
    return bool(run.now() - run.memo["sent_at"] >= run.settings.upstream.settle * 1000)


def send_again(run: Run, step: str, public: str) -> Go:
    """Nothing came of it: back to the step that sends, a few times.

    :raises OperationFailed: `outcome_unknown`, when it was sent too often.
    """
    run.memo["resends"] = run.memo.get("resends", 0) + 1
    if run.memo["resends"] > MOST_RESENDS:
        run.memo["resends"] = 0
        raise OperationFailed(
            public,
            code="outcome_unknown",
            detail=f"sent {MOST_RESENDS + 1} times without a clear answer, and nothing of it was seen",
            resume=step,
        )
    return Go(step)
