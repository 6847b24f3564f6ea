"""What follows from what was seen after a create's answer was lost. Pure: the tests search all of it.

The order of the rows matters: the first one that fits decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Decision(StrEnum):
    """What becomes of a create whose answer was lost."""

    TAKE = "take"  # a job is the lost one: the create goes on as if nothing had happened
    WAIT = "wait"  # look again
    HOLD = "hold"  # a person must choose
    SEND_AGAIN = "send_again"  # it was never made


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at everything that could show what became of a lost create.

    :param trusted: nobody else orders on the account, and job ids are growing integers.
    :param fitting_jobs: unclaimed jobs that made an unclaimed VM of the asked config, oldest first.
    :param open_jobs: unclaimed jobs that have not told their VM yet.
    :param fitting_vms: unclaimed VMs of the asked config that were not listed before it was sent.
    :param others_in_flight: creates whose answer is out at this moment: their jobs look unclaimed.
    :param is_settled: it has been watched for `settle` seconds.
    :param is_overdue: it has been watched for `job_timeout` seconds.
    :param was_accepted: its job's id was answered, but the upstream does not know that job any more.
    """

    trusted: bool
    fitting_jobs: tuple[int, ...]
    open_jobs: tuple[int, ...]
    fitting_vms: tuple[int, ...]
    others_in_flight: bool
    is_settled: bool
    is_overdue: bool = False
    was_accepted: bool = False


Row = tuple[str, Callable[[Seen], bool], Decision]

TABLE: tuple[Row, ...] = (
    ("its job may show again", lambda seen: seen.was_accepted and not seen.is_settled, Decision.WAIT),
    ("nothing may be inferred here", lambda seen: not seen.trusted, Decision.HOLD),
    ("an unclaimed job may be another's", lambda seen: seen.others_in_flight, Decision.WAIT),
    ("its job was accepted, then lost", lambda seen: seen.was_accepted, Decision.HOLD),
    ("a job made what was asked", lambda seen: bool(seen.fitting_jobs), Decision.TAKE),
    ("a job will not tell its VM", lambda seen: bool(seen.open_jobs) and seen.is_overdue, Decision.HOLD),
    ("a job has not told its VM yet", lambda seen: bool(seen.open_jobs), Decision.WAIT),
    ("it may still show", lambda seen: not seen.is_settled, Decision.WAIT),
    ("a VM without a job to show for it", lambda seen: bool(seen.fitting_vms), Decision.HOLD),
    ("it was never made", lambda _: True, Decision.SEND_AGAIN),
)


def decide(seen: Seen, table: tuple[Row, ...] = TABLE) -> tuple[Decision, str]:
    """The decision for one look, and the row that made it."""
    for why, fits, decision in table:
        if fits(seen):
            return decision, why
    raise LookupError("the table has no last row")
