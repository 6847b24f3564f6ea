"""What an operation's steps are given and what they answer.

Each kind is one file of named steps. A step is a short function of a `Run`; it asks the upstream, changes
what must be remembered, and answers what comes next: `Go` to another step at once, `Again` after some
seconds, `Done` with this delivery; or it raises `OperationFailed` or `OperationHeld`. Claiming, leases,
retries, the timeline and the order within a service are the engine's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from provisioner.config import Settings
from provisioner.errors import OperationHeld
from provisioner.operation import Operation, TimelineEntry
from provisioner.service import Service
from provisioner.store import Store
from provisioner.store.verbs import Verbs
from provisioner.upstream import Credentials, Upstream

T = TypeVar("T")

Judge = Callable[[Verbs], bool]


def always(_verbs: Verbs) -> bool:
    """Of an intent that nothing speaks against."""
    return True


@dataclass(frozen=True, slots=True)
class Go:
    """On to this step at once; everything the run changed is committed first.

    :param commits: False where the next step's intent commits it, since nothing was sent so far.
    :param fails: it is no progress: the time since the first failure goes on.
    """

    step: str
    commits: bool = True
    fails: bool = False


@dataclass(frozen=True, slots=True)
class Again:
    """Look again after so many seconds, at this step or (empty) the same one.

    :param fails: as in `Go`; else waiting is no failure.
    """

    after_s: float
    waits_for: str
    step: str = ""
    fails: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """The work is done: tell it in a delivery of this type, with these data beside the service's."""

    type: str
    data: dict[str, Any] = field(default_factory=dict)
    with_credentials: bool = False


Outcome = Go | Again | Done


@dataclass(slots=True)
class Run:
    """One claim of one operation, from the claim to the last write-back.

    `memo` is the operation's durable memory: what a step puts there is committed with its outcome.
    `changes` are the service's fields that change with it; `credentials` replace what is in its slot;
    `marks` are what is noted of the operation apart from its memo, '' for what is forgotten.
    """

    operation: Operation
    service: Service
    settings: Settings
    store: Store
    clock: Callable[[], int]
    intent: Callable[[Run, str, Judge], bool]
    upstream: Upstream
    memo: dict[str, Any] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    credentials: Credentials | None = None
    notes: list[TimelineEntry] = field(default_factory=list)
    job_id: str = ""

    def now(self) -> int:
        """Milliseconds since the epoch, UTC."""
        return self.clock()

    def intend(self, step: str, judge: Judge = always) -> bool:
        """Commits that something is about to be sent which must not be sent twice, and what the run changed.

        :param step: where the operation goes on if no more is heard of this run, or no clear answer comes.
        :param judge: asked in the same transaction before anything is written, and again where that begins
            anew; it may put more into the memo and the marks, and what it raises is raised here.
        :returns: whether it was committed: False where `judge` said so.
        :raises Fenced: another worker or a person has taken the operation over; nothing may be sent.
        """
        return self.intent(self, step, judge)

    def note(self, what: str, **detail: Any) -> None:
        """A line for the timeline; the detail holds no secret."""
        self.notes.append(TimelineEntry(self.now(), what, detail))

    def change_service(self, **changes: Any) -> None:
        """Fields of the service that change together with this step's outcome."""
        self.changes.update(changes)

    def look(self, unit: Callable[[Verbs], T]) -> T:
        """Reads from the store."""
        return self.store.read(unit)

    def has_approval(self, code: str) -> bool:
        """Whether a person has lifted this reason to hold, whatever it was seen by."""
        return code in self.operation.approvals

    def need_approval(self, *, code: str, seen: Any, detail: str) -> None:
        """Lets a person look first, unless one has lifted this reason for just what is seen now.

        :param seen: what it is held for, as JSON has it; an approval covers nothing that differs later.
        :raises OperationHeld: with this code and detail.
        """
        held_for = self.memo.get(HELD_FOR, {})
        if self.has_approval(code) and code in held_for and held_for[code] == seen:
            return
        self.memo[HELD_FOR] = {**held_for, code: seen}
        raise OperationHeld("The provider checks this before it goes on.", code=code, detail=detail)

    def warn(self, warning: str) -> None:
        """A warning for the delivery, once."""
        warnings = self.memo.setdefault("warnings", [])
        if warning not in warnings:
            warnings.append(warning)

    @property
    def warnings(self) -> list[str]:
        return list(self.memo.get("warnings", []))


Step = Callable[[Run], Outcome]
Steps = Mapping[str, Step]

HELD_FOR = "held_for"  # in the memo: by its reason, what was seen when a person was last asked about it
FIRST = "begin"  # every kind's first step
