"""When no clear answer came: how long what was sent is looked for, and when it is sent again."""

from __future__ import annotations

from provisioner.errors import OperationFailed
from provisioner.operations import Again, Go, Run

MOST_LOOK_S = 30.0  # between two looks: the longer it has been looked for, the less a second matters


def settled(run: Run) -> bool:
    """Whether what was sent at `memo["sent_at"]` has been watched for `settle` seconds."""
    return bool(run.now() - run.memo["sent_at"] >= run.settings.upstream.settle * 1000)


def send_again(run: Run, step: str, public: str, look_s: float, waits_for: str = "outcome") -> Go | Again:
    """Nothing came of it so far: another look, or, after `settle`, back to the step that judges or sends.

    Each time it is sent in vain it is looked for longer before the next, as any failed try waits longer.

    :param look_s: how soon to look again at least, in seconds.
    :raises OperationFailed: `outcome_unknown`, when that goes on for `give_up_after`; a retry looks first.
    """
    looked_ms = run.now() - run.memo["sent_at"]
    left_ms = round((run.settings.upstream.settle + _longer_s(run)) * 1000) - looked_ms
    if left_ms > 0:
        after_s = max(look_s, min(looked_ms / 4000, MOST_LOOK_S))
        return Again(min(after_s, left_ms / 1000), waits_for, fails=True)
    refuse_for_ever(run, public)
    run.memo["resends"] = run.memo.get("resends", 0) + 1
    return Go(step, fails=True)


def on_to(run: Run, step: str) -> Go:
    """Judged, and on to the step that sends: no progress where it is sent again."""
    return Go(step, fails=bool(run.memo.get("resends")))


def _longer_s(run: Run) -> float:
    resends, retry = run.memo.get("resends", 0), run.settings.retry
    return min(retry.first * 2.0 ** min(resends - 1, 40), retry.max) if resends else 0.0


def refuse_for_ever(run: Run, public: str, resume: str = "") -> None:
    """Before it is sent again.

    :param resume: the step at which a retry goes on; by default the present one.
    :raises OperationFailed: `outcome_unknown`, where no clear answer has come for `give_up_after`.
    """
    failing_s = (run.now() - (run.operation.failing_since or run.now())) // 1000
    if failing_s >= run.settings.retry.give_up_after:
        run.memo.pop("resends", None)
        raise OperationFailed(
            public,
            code="outcome_unknown",
            detail=f"given up: no clear answer for {failing_s} s, and nothing of it was seen",
            resume=resume,
        )
