"""The API's jobs: queued, executing with growing progress, then finished or failed, by the clock alone."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from provisioner.sandbox.refusals import Refusal, no_job
from provisioner.sandbox.settings import FailNextJob
from provisioner.service import Spec

ALMOST_DONE = 0.99  # progress 1 is said of finished jobs only


@dataclass(slots=True, kw_only=True)
class Job:
    """One job. Times are milliseconds since the epoch; `spec` is what the VM is to be at its end."""

    number: int
    kind: Literal["create", "reinstall", "change"]
    spec: Spec
    vmid: int | None
    begins_at: int
    executing_ms: int
    failure: FailNextJob | None
    status: Literal["queued", "executing", "finished", "failed"] = "queued"
    output: dict[str, Any] | str | None = field(default=None, repr=False)
    failed_at: int | None = None

    @property
    def is_open(self) -> bool:
        return self.status in ("queued", "executing")

    @property
    def works(self) -> bool:
        """Whether it does its work, whatever it says of it afterwards."""
        return self.failure is None or self.failure.after_vm

    @property
    def ends_at(self) -> int:
        """A job that fails does so at a third of its way, as in the documentation's example."""
        return self.begins_at + (self.executing_ms * 33 // 100 if self.failure else self.executing_ms)

    def ticket(self) -> dict[str, Any]:
        """The answer to the call that made it."""
        return {"status": "queued", "jobId": self.number, "progress": 0}

    def look(self, now: int) -> dict[str, Any]:
        """The answer to `GET job/{jobId}` at this time."""
        return {"status": self.status, "progress": self._progress(now), "output": self.output}

    def finish(self, output: dict[str, Any]) -> None:
        self.status, self.output = "finished", output

    def fail(self, error: str, at: int) -> None:
        self.status, self.output, self.failed_at = "failed", error, at

    def _progress(self, now: int) -> float:
        if self.status in ("queued", "finished"):
            return int(self.status == "finished")
        passed = (now if self.failed_at is None else self.failed_at) - self.begins_at
        return round(min(ALMOST_DONE, passed / max(1, self.executing_ms)), 2)


class Jobs:
    """All jobs of the account, numbered from 1 without gaps.

    :param begin: told of a job that begins executing, and when.
    :param finish: does a job's work at its end and returns its output; a `Refusal` fails the job.
    """

    def __init__(
        self, begin: Callable[[Job, int], None], finish: Callable[[Job, int], dict[str, Any]]
    ) -> None:
        self._begin = begin
        self._finish = finish
        self._jobs: dict[int, Job] = {}
        self._lost: set[int] = set()
        self._due: list[tuple[int, int]] = []
        self._hung: list[Job] = []

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def add(
        self,
        kind: Literal["create", "reinstall", "change"],
        spec: Spec,
        vmid: int | None,
        *,
        begins_at: int,
        executing_ms: int,
        failure: FailNextJob | None,
    ) -> Job:
        job = Job(
            number=len(self._jobs) + 1,
            kind=kind,
            spec=spec,
            vmid=vmid,
            begins_at=begins_at,
            executing_ms=executing_ms,
            failure=failure,
        )
        self._jobs[job.number] = job
        heapq.heappush(self._due, (begins_at, job.number))
        return job

    def find(self, number: int) -> Job:
        """:raises Refusal: `0xc1`, if there is none or it was lost."""
        if number in self._lost or number not in self._jobs:
            raise no_job()
        return self._jobs[number]

    def lose(self, number: int) -> None:
        """From now on nobody finds it; its work goes on."""
        self._lost.add(number)

    def settle(self, now: int, *, hang: bool) -> None:
        """Lets everything happen that is due; with `hang`, no end."""
        while self._due and self._due[0][0] <= now:
            at, number = heapq.heappop(self._due)
            self._move(self._jobs[number], at, hang)
        while self._hung and not hang:
            self._end(self._hung.pop(0), now)

    def _move(self, job: Job, at: int, hang: bool) -> None:
        if job.status == "queued":
            job.status = "executing"
            self._begin(job, at)
            heapq.heappush(self._due, (job.ends_at, job.number))
        elif hang:
            self._hung.append(job)
        else:
            self._end(job, at)

    def _end(self, job: Job, at: int) -> None:
        try:
            output = self._finish(job, at) if job.works else {}
        except Refusal as refusal:
            job.fail(refusal.error, at)
            return
        if job.failure is None:
            job.finish(output)
        else:
            job.fail(job.failure.error, at)
