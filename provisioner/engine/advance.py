"""Drives one claimed operation through its steps, each written back before the next one begins."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from provisioner.config import Settings
from provisioner.engine import old_passwords, pauses, shown_once
from provisioner.engine.claims import MayClaim, keep, never, past_unreadable
from provisioner.engine.record import NewId, Record, service_of
from provisioner.errors import (
    Fenced,
    OperationFailed,
    OperationHeld,
    StoreUnavailable,
    TokenRefused,
    UpstreamError,
    UpstreamOutcomeUnknown,
    UpstreamRefused,
    UpstreamUnavailable,
    VmNotFound,
)
from provisioner.lifecycle import HELD_CODE, Lifecycle
from provisioner.logs import Log
from provisioner.operation import Kind, Operation, State, TimelineEntry
from provisioner.operations import FIRST, Again, Done, Go, Judge, Outcome, Run, estimates, lost_jobs
from provisioner.operations.kinds import STEPS
from provisioner.operations.missing import missing_fact, remember_missing
from provisioner.service import Service
from provisioner.store import Store
from provisioner.store.verbs import SealedCredentials, Verbs
from provisioner.upstream import Call, Upstream
from provisioner.vault import Vault

log = Log(__name__)

# What is made or lost for good by these is in the audit when it is done; what delivers credentials (a VM that
# was made, a reinstall, a new password) is, too.
WEIGHTY = frozenset({Kind.LINK, Kind.TERMINATE, Kind.RESTORE})
GIVEN_UP = "This could not be done for a long time, so it is not tried any more."
INTENDED = "intended"  # in the memo: the step that looks for what was announced last, and when that was
TURNS = 4  # an order is one claim that sends and little more than one that looks


@dataclass(frozen=True, slots=True)
class _Retry:
    """The step failed for a passing reason: the same one again, later."""

    error: UpstreamError


@dataclass(frozen=True, slots=True)
class _Refused:
    """The account's token is refused: nothing fails, all upstream work pauses."""


_Verdict = Outcome | _Retry | _Refused | OperationFailed | OperationHeld


class Claimed(NamedTuple):
    """An operation that is its worker's until the lease ends, and its service as it was then."""

    operation: Operation
    service: Service


def backoff_s(failures: int, first_s: float, most_s: float, rng: random.Random) -> float:
    """How long to wait after so many failed tries in a row, in seconds: doubling, with jitter."""
    base = min(first_s * 2.0 ** min(failures - 1, 40), most_s)
    return min(base * rng.uniform(0.75, 1.25), most_s)


def service_key(billing: str, service_id: str) -> str:
    """What the vault binds a service's credentials to."""
    return f"{billing}/{service_id}"


@dataclass(slots=True)
class Advance:
    """Claims and advances operations. `clock` gives milliseconds since the epoch."""

    settings: Settings
    store: Store
    upstream: Upstream
    vault: Vault
    lifecycle: Lifecycle
    clock: Callable[[], int]
    new_id: NewId
    rng: random.Random
    _turns: Iterator[int] = field(default_factory=itertools.count)

    def claim(self) -> Claimed | None:
        """Leases the next operation that may run now, or None: nothing is due, or work is paused.

        Jobs of the upstream's come first, for their ends are waited for, but for one turn in `TURNS`: else
        many of them would let nothing begin.
        """
        return self.store.write(self._claim)

    def _claim(self, verbs: Verbs) -> Claimed | None:
        return None if pauses.reasons(verbs) else past_unreadable(lambda: self._lease(verbs))

    def _lease(self, verbs: Verbs) -> Claimed | None:
        now = self.clock()
        lease_until = now + self._lease_ms()
        look = verbs.claim_look(now, lease_until) if next(self._turns) % TURNS else None
        operation = look or verbs.claim_operation(now, lease_until)
        return None if operation is None else Claimed(operation, service_of(verbs, operation))

    def advance(self, claimed: Claimed, may_claim: MayClaim = never) -> Claimed | None:
        """Runs a claimed operation's steps until it waits, ends, or was taken over by somebody else.

        :param may_claim: whether to claim the next one as it is written down how this one went.
        :returns: that one, where there was one.
        """
        operation, service = claimed
        run = Run(
            operation=operation,
            service=service,
            settings=self.settings,
            store=self.store,
            clock=self.clock,
            intent=self._intend,
            upstream=self.upstream,
            memo=dict(operation.memo),
        )
        run.upstream = self.upstream.recording(lambda call: run.notes.append(_line(self.clock(), call)))
        if operation.attempts > operation.memo.get("attempt", 0):
            run.memo["attempt"] = operation.attempts
            run.memo.setdefault(estimates.BEGUN, self.clock())
            run.note("running", step=operation.step, attempt=operation.attempts)
        try:
            while True:
                goes_on, following = self._write_back(run, self._step(run), may_claim)
                if not goes_on:
                    return following
        except Fenced:
            log.warning("result_dropped", operation=operation.id, reason="taken over by another worker")
        except StoreUnavailable as error:
            log.error("write_back_failed", operation=operation.id, error=error.detail)
        return None

    def _step(self, run: Run) -> _Verdict:
        operation = run.operation
        try:
            if operation.step == FIRST and not run.memo.get("hooked"):
                self._ask_hooks(run)
            return STEPS[operation.kind][operation.step](run)
        except (Fenced, StoreUnavailable):
            raise
        except (OperationFailed, OperationHeld) as verdict:
            return verdict
        except TokenRefused as refusal:
            self._undo_intent(run, operation)
            return self._confirm_refusal(run, refusal)
        except UpstreamUnavailable as error:
            self._undo_intent(run, operation)
            return _Retry(error)
        except UpstreamOutcomeUnknown as error:
            run.note("outcome_unknown", code=error.code, message=error.detail)
            if run.operation.step == operation.step:  # no intent was needed: it is harmless to repeat
                return _Retry(error)
            since = run.operation.failing_since or self.clock()
            run.operation = replace(run.operation, failing_since=since)
            return Go(run.operation.step, fails=True)
        except VmNotFound as absence:
            self._undo_intent(run, operation)
            return self._confirm_absence(run, absence)
        except UpstreamRefused as refusal:
            self._undo_intent(run, operation)
            return OperationFailed(refusal.public, code=refusal.code, detail=refusal.detail)
        except Exception as error:  # a mistake of ours must not lose an order: a person sees it
            log.exception("step_broke", operation=operation.id, step=operation.step)
            return OperationHeld(
                "An internal error stopped this; the provider has been told.",
                code="internal_error",
                detail=f"step {operation.step} broke with {type(error).__name__}: see the log",
            )

    def _ask_hooks(self, run: Run) -> None:
        """Lets the users' before-hooks object; one that a person has overruled is not asked again.

        :raises OperationHeld: `hook`.
        """
        lifted = run.memo.get("lifted", [])
        objection = self.lifecycle.before(run.operation, run.service, lifted)
        if objection is not None:
            run.memo["lifted"] = [*lifted, objection.file]  # from here only an approval leads on
            public = "The provider checks this before it goes on."
            raise OperationHeld(public, code=HELD_CODE, detail=str(objection))
        run.memo["hooked"] = True

    def _undo_intent(self, run: Run, before: Operation) -> None:
        """What was to be sent was certainly not: as if the intent had never been."""
        run.operation = replace(run.operation, step=before.step, sent=before.sent)

    def _confirm_refusal(self, run: Run, refusal: TokenRefused) -> _Verdict:
        """Believes that the token is refused only if the list of VMs is refused too (promise 5)."""
        try:
            run.upstream.servers()
        except TokenRefused:
            return _Refused()
        except UpstreamError as error:
            return _Retry(error)
        return OperationHeld(
            "The provider's system refused this step.",
            code=refusal.code,
            detail=f"{refusal.detail} (the token works elsewhere: this one call is refused)",
            resume="recheck" if run.operation.kind is Kind.CREATE else "",
        )

    def _confirm_absence(self, run: Run, absence: VmNotFound) -> _Verdict:
        """Believes that a VM is gone only if the list agrees."""
        try:
            listed = run.upstream.servers()
        except UpstreamError as error:
            return _Retry(error)
        vmid = run.service.vmid
        if vmid in listed:
            return _Retry(
                UpstreamUnavailable(absence.public, detail=f"{absence.detail}, but it is in the list")
            )
        if vmid is not None:
            self.store.write(lambda verbs: remember_missing(verbs, vmid, run.service, self.clock()))
        return OperationFailed(
            "The server does not exist any more.",
            code="no_such_vm",
            detail=f"{absence.detail}; the list agrees",
        )

    def _intend(self, run: Run, step: str, judge: Judge) -> bool:
        now = self.clock()
        memo, marks = run.memo, run.marks

        def unit(verbs: Verbs) -> Operation | None:
            run.memo, run.marks = dict(memo), dict(marks)  # without what was judged before it began anew
            if not judge(verbs):
                return None
            if step != run.operation.step:
                run.memo[INTENDED] = [step, now]
            intended = replace(
                run.operation,
                step=step,
                sent=True,
                memo=dict(run.memo),
                next_run_at=now + self._lease_ms(),
                updated_at=now,
            )
            verbs.save_operation(intended, fence=intended.claims)
            self._save_service(verbs, run, now)
            _save_marks(verbs, run, now)
            for note in [*run.notes, TimelineEntry(now, "intent", {"then": step})]:
                verbs.add_timeline(intended.id, note)
            return intended

        intended = self.store.write(unit)
        if intended is None:
            return False
        run.service = replace(run.service, **run.changes)
        run.changes, run.notes, run.marks = {}, [], {}
        if self.clock() >= intended.next_run_at:  # this process stood still: others have gone on since
            raise Fenced(f"the lease of operation {intended.id} was over before anything was sent")
        run.operation = intended
        return True

    def _write_back(self, run: Run, verdict: _Verdict, may_claim: MayClaim) -> tuple[bool, Claimed | None]:
        """Commits a step's verdict; returns whether the run goes on, and what was claimed if not."""
        if isinstance(verdict, Go) and not verdict.commits:
            run.operation = replace(run.operation, step=verdict.step)
            return True, None

        def goes_on(operation: Operation) -> bool:
            return isinstance(verdict, Go) and operation.state is State.RUNNING

        run.operation, claimed = keep(
            self.store,
            lambda verbs: self._apply(verbs, run, verdict),
            lambda verbs, kept: self._claim(verbs) if not goes_on(kept) and may_claim() else None,
        )
        run.service = replace(run.service, **run.changes)
        run.changes, run.notes, run.marks, run.credentials, run.job_id = {}, [], {}, None, ""
        return goes_on(run.operation), claimed

    def _apply(self, verbs: Verbs, run: Run, verdict: _Verdict) -> Operation:
        now = self.clock()
        operation = replace(
            run.operation, memo=dict(run.memo), job_id=run.job_id or run.operation.job_id,
            vmid=run.changes.get("vmid") or run.operation.vmid or run.service.vmid,
        )  # fmt: skip
        for note in run.notes:
            verbs.add_timeline(operation.id, note)
        _save_marks(verbs, run, now)
        if run.job_id:
            lost_jobs.learn(verbs, run.job_id, run.memo.get("above"), now)
        self._save_service(verbs, run, now)
        return self._conclude(Record(verbs, now, self.new_id), operation, verdict)

    def _save_service(self, verbs: Verbs, run: Run, now: int) -> None:
        if run.changes:
            service = service_of(verbs, run.operation)
            changed = replace(service, **run.changes)
            if changed != service:
                verbs.save_service(replace(changed, updated_at=now))
            if service.vmid is not None and changed.vmid != service.vmid:
                verbs.add_tombstone(service, service.vmid, now)
                verbs.drop_credentials(service.billing, service.service_id)
                verbs.forget_given_up_credentials(service.billing, service.service_id)
                shown_once.drop(verbs, service.billing, service.service_id)
                verbs.drop_fact(missing_fact(service.vmid))
        if run.credentials is not None and not old_passwords.is_old(verbs, run.operation):
            secret = {"username": run.credentials.username, "password": run.credentials.password}
            key = service_key(run.service.billing, run.service.service_id)
            sealed = SealedCredentials(self.new_id("cred"), self.vault.seal(key, secret))
            verbs.keep_credentials(run.service.billing, run.service.service_id, sealed)
            verbs.forget_given_up_credentials(run.service.billing, run.service.service_id)
            shown_once.keep(verbs, self.vault, run.operation, run.credentials, now)

    def _conclude(self, record: Record, operation: Operation, verdict: _Verdict) -> Operation:
        match verdict:
            case Go(step):
                paused = pauses.reasons(record.verbs)
                state = State.WAITING if paused else State.RUNNING
                until = record.now if paused else record.now + self._lease_ms()
                went = _went(verdict)
                return self._keep(record, operation, state, step=step, next_run_at=until, **went)
            case Again(after_s, waits_for, step):
                operation = replace(operation, memo={**operation.memo, "waits_for": waits_for})
                due = record.now + int(after_s * 1000)
                return self._keep(
                    record,
                    operation,
                    State.WAITING,
                    step=step or operation.step,
                    next_run_at=due,
                    **_went(verdict),
                )
            case Done():
                return self._done(record, operation, verdict)
            case _Refused():
                pauses.begin(record.verbs, pauses.TOKEN_REFUSED, {"at": record.now}, record.now)
                state = State.WAITING
                log.error("upstream_token_refused", remedy="check [upstream] token; work goes on by itself")
                record.line(operation, "token_refused")
                return self._keep(record, operation, state, next_run_at=record.now)
            case _Retry(error):
                return self._retry(record, operation, error)
            case OperationFailed():
                return record.fail(
                    operation, verdict.code, verdict.public, detail=verdict.detail,
                    step=verdict.resume or operation.step,
                )  # fmt: skip
            case OperationHeld():
                return record.hold(
                    operation, verdict.code, verdict.public, detail=verdict.detail,
                    step=verdict.resume or operation.step,
                )  # fmt: skip

    def _done(self, record: Record, operation: Operation, verdict: Done) -> Operation:
        """The work is done; it ends when it is told, or now where nobody is to be told."""
        estimates.note(record.verbs, operation, record.now)
        done = record.move(
            operation, State.DELIVERING, "done",
            error_code="", error_message="", error_detail="", failures=0, failing_since=None,
        )  # fmt: skip
        service = service_of(record.verbs, operation)
        if operation.kind is Kind.TERMINATE:
            self._end_failed_creates(record, operation)
        if verdict.with_credentials or done.kind in WEIGHTY:
            record.audit_of(done, "done", service=service, asked_by=done.actor)
        if operation.args.get("quiet"):
            return record.move(done, State.SUCCEEDED, "succeeded")
        delivery = record.tell(
            service, verdict.type, verdict.data, done,
            concludes=True, with_credentials=verdict.with_credentials,
        )  # fmt: skip
        is_old = verdict.with_credentials and old_passwords.is_old(record.verbs, done)
        return old_passwords.withhold(record, done, delivery) if is_old else done

    def _end_failed_creates(self, record: Record, terminate: Operation) -> None:
        """Nobody can want them any more, and they would hold back whatever comes for the service."""
        service = (terminate.billing, terminate.service_id)
        for earlier in record.verbs.open_operations_of_service(*service):
            if earlier.kind is Kind.CREATE and earlier.state is State.FAILED:
                record.cancel(earlier, "superseded", "The service was terminated.")

    def _retry(self, record: Record, operation: Operation, error: UpstreamError) -> Operation:
        retry = self.settings.retry
        failing_since = operation.failing_since or record.now
        if self._is_over(record, failing_since, _looked_for_since(operation)):
            return record.fail(operation, error.code, GIVEN_UP, detail=f"given up: {error.detail}")
        failures = operation.failures + 1
        wait_s = backoff_s(failures, retry.first, retry.max, self.rng)
        if isinstance(error, UpstreamUnavailable) and error.retry_after_s:
            wait_s = max(wait_s, error.retry_after_s)
        record.line(operation, "retry", code=error.code, message=error.detail, after_s=round(wait_s, 1))
        return self._keep(
            record,
            replace(operation, memo={**operation.memo, "waits_for": "retry"}),
            State.WAITING,
            next_run_at=record.now + int(wait_s * 1000),
            failures=failures,
            failing_since=failing_since,
        )

    def _is_over(self, record: Record, failing_since: int, looked_for_since: int) -> bool:
        """Whether to give up; not before what was sent has been looked for throughout `settle`."""
        most_s = self.settings.retry.give_up_after
        if looked_for_since:
            most_s = max(most_s, self.settings.upstream.settle)
        return record.now - max(failing_since, looked_for_since) >= most_s * 1000

    def _keep(self, record: Record, operation: Operation, state: State, **changes: Any) -> Operation:
        """Writes an operation that goes on, without a line of its own in the timeline."""
        kept = replace(operation, **{**changes, "state": state, "updated_at": record.now})
        record.verbs.save_operation(kept, fence=operation.claims)
        return kept

    def _lease_ms(self) -> int:
        """A step makes a handful of calls at most, each bounded by `timeout`."""
        return int((self.settings.upstream.timeout * 6 + 30) * 1000)


def _went(verdict: Go | Again) -> dict[str, Any]:
    """Nothing has failed in a row any more; after progress nothing fails any longer, either."""
    return {"failures": 0} if verdict.fails else {"failures": 0, "failing_since": None}


def _looked_for_since(operation: Operation) -> int:
    """When what the operation looks for was announced, in milliseconds; 0 where it looks for nothing.

    What is sent late in a long failure may be carried out, too: who gives up looking at once orders twice.
    """
    step, at = operation.memo.get(INTENDED, ("", 0))
    return int(at) if step == operation.step else 0


def _save_marks(verbs: Verbs, run: Run, now: int) -> None:
    for name, value in run.marks.items():
        verbs.set_mark(run.operation.id, name, value, now)


def _line(now: int, call: Call) -> TimelineEntry:
    detail = {
        "call": f"{call.method} {call.path}",
        "status": call.status,
        "outcome": call.outcome,
        "answer": call.summary,
        "ms": call.duration_ms,
        **({"shared": True} if call.shared else {}),
    }
    return TimelineEntry(now, "upstream", detail)
