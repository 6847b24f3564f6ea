"""The create whose answer was lost (design, "The create whose answer was lost").

`POST server` has no idempotency key and the list of VMs has no names, so what became of a call is found out
by what was written down before it: the greatest job id known and the VMs that were there. While a create is
unknown no other is sent; a held one stops nobody, and what it may have made is set aside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from provisioner.errors import OperationFailed, OperationHeld, VmNotFound
from provisioner.operation import CLAIMABLE, Kind, Operation, State
from provisioner.operations import FIRST, Again, Go, Outcome, Run, jobs, lost_jobs, there_before
from provisioner.operations.evidence import Decision, Seen, decide
from provisioner.operations.let_go import let_go_since
from provisioner.operations.outcome import MOST_LOOK_S, refuse_for_ever, settled
from provisioner.operations.vm import fits, shows_within_ms
from provisioner.service import Service, Spec
from provisioner.store.verbs import InDoubt, Verbs

FENCE_S = 0.5
LET_PASS_S = 2 * FENCE_S  # before one is sent again: whoever waited for it has looked by then
SPARE = "spare:"  # the facts that a VM was made late by a lost call, and for which order
LAST_UNKNOWN = "create_unknown_at"  # the fact: when a create last became unknown, milliseconds
HELD_CODES = frozenset({"create_lost", "leftover_vm", "too_many_jobs"})  # what a person chooses about
CHOOSE = "Choose adopt (with --vmid), not_mine or send_again"
FOREIGN = "foreign"  # in the memo: the VMs of which a person has said that they are none of it
_SUSPECTS = "may_be_left"  # in the memo: the VMs that showed when what it made must have shown
_OF_THE_CALL_BEFORE = (
    "unknown", "open_at", "job_lost", "named", "job", jobs.FAILED_AT, "progress",
    "set_aside", "set_aside_jobs", FOREIGN, _SUSPECTS, there_before.LISTED,
)  # fmt: skip
TOLD_TOO_LITTLE = frozenset({"incomplete_answer", "vmid_taken"})  # a person may choose, or look again


def announce(run: Run) -> frozenset[int] | None:
    """Commits the intent, then looks what is there after it: the VM it makes cannot be one of those.

    One list serves all intents that were committed before it began.

    :returns: the VMs on the account; None where another create is unknown, and nothing may be sent.
    :raises OperationFailed: `superseded`, nothing is made for a service that a terminate waits to end.
    :raises Fenced: the operation was taken over; nothing was sent.
    """
    if not run.intend("lost", lambda verbs: _begin_call(verbs, run)):
        return None
    return run.upstream.servers(shared=True)


def note_there(run: Run, there: frozenset[int]) -> None:
    """Commits what was there. From here on it may have been made, until its answer is kept.

    :raises Fenced: the operation was taken over; nothing was sent.
    """
    text = there_before.text_of(there)

    def note(verbs: Verbs) -> bool:
        dying = vmids_being_deleted(verbs) & there
        there_before.note(run, there_before.text_of(there - dying) if dying else text)
        return True

    run.intend("lost", note)


def _begin_call(verbs: Verbs, run: Run) -> bool:
    """Whether no other create is unknown; one may pass where only its job id can teach where to look."""
    if _is_unwanted(verbs, run.service):
        raise OperationFailed("The service is being terminated.", code="superseded", resume="send")
    if _fenced(verbs, run):
        return False
    for name in _OF_THE_CALL_BEFORE:
        run.memo.pop(name, None)
    run.memo["sent_at"] = run.now()
    lost_jobs.remember_greatest(verbs, run)
    return True


def lost(run: Run) -> Outcome:
    """No clear answer came: finds the job, proves that there is none, or asks a person."""
    if there_before.LISTED not in run.memo:
        return Go("send")  # the call comes after the evidence: it was never made
    if not run.memo.get("unknown"):
        run.memo["unknown"] = True  # committed first: from here on no other create is sent
        run.store.write(lambda verbs: verbs.set_fact(LAST_UNKNOWN, run.now(), run.now()))
        return Again(0, "outcome", fails=True)
    if jobs.is_back(run):
        return Go("follow")
    if run.look(lambda verbs: _is_searched_by_another(verbs, run.operation)):
        return _look_again(run)
    seen = _look(run)
    decision, why = decide(seen)
    run.note("lost_create", decision=decision.value, why=why)
    match decision:
        case Decision.TAKE:
            return Go("follow") if _take(run, str(seen.fitting_jobs[0])) else Again(0, "outcome", fails=True)
        case Decision.WAIT:
            return _look_again(run)
        case Decision.SEND_AGAIN:
            return _send_again(run)
        case Decision.HOLD:
            # What was accepted has a job of its own: those that were found are others'.
            raise _hold(run, "create_lost", seen.fitting_vms, () if seen.was_accepted else seen.open_jobs)


def _look_again(run: Run) -> Again:
    """The longer it has been looked for, the less a second matters; but for the end of `settle`."""
    watched_s = (run.now() - run.memo["sent_at"]) / 1000
    after_s = max(lost_jobs.LOOK_S, min(watched_s / 4, MOST_LOOK_S))
    left_s = run.settings.upstream.settle - watched_s
    return Again(left_s if 0 < left_s < after_s else after_s, "outcome", fails=True)


def _send_again(run: Run) -> Again:
    """Nothing came of it, and is asked for anew, behind those that waited for it: it may be lost for ever.

    Each time it waits longer, as any failed try does.

    :raises OperationFailed: `outcome_unknown`, when that has gone on for `give_up_after`.
    """
    refuse_for_ever(run, "The server could not be set up.", resume="recheck")
    times = run.memo["times_lost"] = run.memo.get("times_lost", 0) + 1
    run.memo["resent_above"] = run.memo.get("above")
    after_s = min(LET_PASS_S * 2.0 ** min(times - 1, 40), run.settings.retry.max)
    return Again(max(after_s, LET_PASS_S), "another_order", FIRST, fails=True)


def _take(run: Run, job_id: str) -> bool:
    """Claims a job, unless another operation has claimed it meanwhile."""
    operation = replace(run.operation, job_id=job_id)

    def unit(verbs: Verbs) -> bool:
        if verbs.operations_of_job(job_id):
            return False
        verbs.save_operation(operation, fence=operation.claims)
        return True

    taken = run.store.write(unit)
    if taken:
        run.operation = operation
        run.job_id = job_id
    return taken


def unresolved(verbs: Verbs, service: Service) -> list[str]:
    """The creates of a service without a VM that were sent, failed, and may have left one behind: their ids.

    One that was never sent stands for those that it replaced, and for what a person said of them.
    """
    creates = [
        operation
        for operation in verbs.operations_of_service(service.billing, service.service_id)
        if operation.kind is Kind.CREATE
    ]
    if not creates or creates[-1].state not in (State.FAILED, State.CANCELLED):
        return []
    last = creates[-1]
    return [last.id] if last.sent else [last.id, *last.args.get("replaces", [])]


def refuse_leftovers(run: Run, creates: list[str], remedy: str = CHOOSE) -> Again | None:
    """Before a service without a VM goes on after creates that failed: they may have left one behind.

    :returns: when to look again: one may still show, or what was found turn out to be another order's.
    :raises OperationHeld: `leftover_vm`, for a person to decide; what was decided before is not asked again.
    """
    failed = [create for create in map(run.look, map(_operation, creates)) if create is not None]
    may_show, found = _may_still_show(run, failed), _leftovers(run, failed)
    if not may_show:  # what shows from here on is another's
        found &= set(run.memo.setdefault(_SUSPECTS, sorted(found)))
    if not found:
        return Again(lost_jobs.LOOK_S, "leftover") if may_show else None
    if run.look(untold) - {run.operation.id}:
        return Again(lost_jobs.LOOK_S, "another_order")
    run.memo.pop(_SUSPECTS, None)
    raise _hold(run, "leftover_vm", tuple(sorted(found)), (), remedy)


def may_have_left(verbs: Verbs) -> list[tuple[Operation, frozenset[int]]]:
    """The failed creates that may have left a VM behind, each with the VMs that are none of its: there before
    it was sent, or somebody's. None while an order is under way that has not heard of its own VM yet."""
    if untold(verbs):
        return []
    found = []
    for service in verbs.failed_services():
        failed = map(verbs.operation, unresolved(verbs, service))
        creates = [create for create in failed if create is not None]
        found += [
            (create, before | _taken(verbs, create, create.memo["sent_at"]) | _foreign(creates))
            for create in creates
            if (before := there_before.before(verbs, create)) is not None
        ]
    return found


def _foreign(creates: Sequence[Operation]) -> set[int]:
    """The VMs of which a person has said that they are none of these creates'."""
    return {vmid for create in creates for vmid in create.memo.get(FOREIGN, ())}


def _operation(operation_id: str) -> Callable[[Verbs], Operation | None]:
    return lambda verbs: verbs.operation(operation_id)


def _leftovers(run: Run, creates: list[Operation]) -> set[int]:
    """The VMs, nobody's and of the asked size, that were not there before these creates were sent."""
    listed = [create for create in creates if there_before.LISTED in create.memo]
    if any(FOREIGN in one.memo for one in [run.operation, *creates]):  # a person has looked without it
        listed = [one for one in listed if run.look(partial(there_before.before, create=one)) is not None]
    fitting = {vmid for create in listed for vmid in _fitting_vms(run, create)}
    return fitting - _foreign([run.operation, *creates])


def _may_still_show(run: Run, creates: list[Operation]) -> bool:
    """Whether a job has failed so lately that the list may not show yet what it has made."""
    since = run.now() - shows_within_ms(run)
    return any(create.memo.get(jobs.FAILED_AT, since) > since for create in creates)


def note_spares(run: Run) -> None:
    """After a create was sent again: what the first call made late is a spare, for a person to see."""
    if "resent_above" not in run.memo or lost_jobs.are_irregular(run):
        return
    resent_at = {**run.memo, "above": run.memo["resent_above"]}
    run.memo, memo = resent_at, run.memo
    try:
        late = lost_jobs.unclaimed(run)
    finally:
        run.memo = memo
    spares = [one.job.output.vmid for one in late if one.job.output is not None and _is_nobodys(run, one)]
    if spares:
        run.note("spare", vmids=spares, message="a call that was lost made this late; see the reconciliation")
        mine = run.operation
        made_for = {"operation": mine.id, "billing": mine.billing, "service": mine.service_id}
        for vmid in spares:
            run.store.write(lambda verbs, name=f"{SPARE}{vmid}": verbs.set_fact(name, made_for, run.now()))  # type: ignore[misc]


def spec_of(run: Run) -> Spec:
    """What the create asked for."""
    return Spec(**run.operation.args["spec"])


def _hold(
    run: Run, code: str, vmids: tuple[int, ...], jobs: tuple[int, ...], remedy: str = CHOOSE
) -> OperationHeld:
    run.memo |= {"set_aside": list(vmids), "set_aside_jobs": list(jobs)}
    seen = f"new VMs of the asked size: {', '.join(map(str, vmids))}" if vmids else "no new VM was seen"
    return OperationHeld(
        "The provider checks this order before it goes on.",
        code=code,
        detail=f"the order may have made a VM already; {seen}. {remedy}",
    )


def _look(run: Run) -> Seen:
    trusted = run.settings.upstream.exclusive and not lost_jobs.are_irregular(run)
    spec = spec_of(run)
    was_accepted = bool(run.memo.get("job_lost"))
    if not trusted:
        fitting_vms = _fitting_vms(run, run.operation)
        return Seen(False, (), (), fitting_vms, False, settled(run), was_accepted=was_accepted)
    aside = run.look(lambda verbs: _set_aside_jobs(verbs, run.operation))
    unclaimed = [one for one in lost_jobs.unclaimed(run) if one.id not in aside]
    fitting_jobs = _fitting_jobs(run, unclaimed, spec)
    open_jobs = tuple(one.id for one in unclaimed if not one.job.finished and not one.job.failed)
    if open_jobs:
        run.memo["open_at"] = run.now()
    is_settled = _is_all_settled(run)
    in_flight = run.look(lambda verbs: _others_in_flight(verbs, run.operation, run.now()))
    fitting_vms = _without_a_job(_fitting_vms(run, run.operation), unclaimed) if is_settled else ()
    if fitting_vms and not fitting_jobs:
        in_flight = in_flight or bool(run.look(lambda verbs: untold(verbs, ("follow",))))
    return Seen(
        trusted=True,
        fitting_jobs=fitting_jobs,
        open_jobs=open_jobs,
        fitting_vms=fitting_vms,
        others_in_flight=in_flight,
        is_settled=is_settled,
        is_overdue=run.now() - run.memo["sent_at"] >= run.settings.upstream.job_timeout * 1000,
        was_accepted=was_accepted,
    )


def _is_all_settled(run: Run) -> bool:
    """Whether it is `settle` seconds since any create became unknown: two that are may find each other's job,
    and the call of the one that found may still arrive. And so long since a job was last seen open: one that
    fails may leave a VM, which the list shows later."""
    last = max(run.look(lambda verbs: verbs.fact(LAST_UNKNOWN)) or 0, run.memo.get("open_at", 0))
    return bool(settled(run) and run.now() - last >= run.settings.upstream.settle * 1000)


def _fitting_jobs(run: Run, unclaimed: list[lost_jobs.Found], spec: Spec) -> tuple[int, ...]:
    """Those that made what was asked; of several that name one VM the newest, for ids get reused."""
    newest = {one.job.output.vmid: one.id for one in unclaimed if one.job.finished and one.job.output}
    return tuple(one.id for one in unclaimed if one.id in newest.values() and _is_lost_one(run, one, spec))


def _without_a_job(vmids: tuple[int, ...], unclaimed: list[lost_jobs.Found]) -> tuple[int, ...]:
    named = {one.job.output.vmid for one in unclaimed if one.job.output is not None}
    return tuple(vmid for vmid in vmids if vmid not in named)


def _is_lost_one(run: Run, found: lost_jobs.Found, spec: Spec) -> bool:
    """Whether an unclaimed job made, for nobody, a VM of the asked config that was not there before."""
    output = found.job.output
    if output is None or output.vmid is None or not _is_nobodys(run, found):
        return False
    if output.vmid in _listed_before(run, run.operation) and not _died_since(run, output.vmid):
        return False
    return has_size(run, output.vmid, spec)


def _is_nobodys(run: Run, found: lost_jobs.Found) -> bool:
    vmid = found.job.output.vmid if found.job.output is not None else None
    if vmid is None:
        return False
    taken = run.look(lambda verbs: _taken(verbs, run.operation, run.memo["sent_at"]))
    return vmid not in taken


def was_there(verbs: Verbs, create: Operation, vmid: int) -> bool:
    """Whether a VM is on record as there before a create was sent, and still the same: none of its making."""
    before = there_before.before(verbs, create) or frozenset()
    return vmid in before and vmid not in verbs.tombstoned_since(create.memo["sent_at"])


def _died_since(run: Run, vmid: int) -> bool:
    """Ids get reused: the VM that was there may have been deleted since."""
    return vmid in run.look(lambda verbs: verbs.tombstoned_since(run.memo["sent_at"]))


def _fitting_vms(run: Run, create: Operation) -> tuple[int, ...]:
    """Those that a create may have made.

    What other held ones have set aside is theirs, as long as there is no more of it than one for each.
    """
    taken = run.look(lambda verbs: _owned(verbs, create.memo["sent_at"]))
    new = run.upstream.servers() - _listed_before(run, create) - taken
    spec = Spec(**create.args["spec"])
    fitting = [vmid for vmid in sorted(new) if has_size(run, vmid, spec)]
    asides = run.look(lambda verbs: _asides(verbs, run.operation))
    theirs = {vmid for aside in asides for vmid in aside.intersection(fitting)}
    if len(theirs) <= sum(not aside.isdisjoint(theirs) for aside in asides):
        fitting = [vmid for vmid in fitting if vmid not in theirs]
    return tuple(fitting)


def _listed_before(run: Run, create: Operation) -> frozenset[int]:
    """:raises OperationHeld: they are not on record any more, and nothing may be inferred without them."""
    there = run.look(lambda verbs: there_before.before(verbs, create))
    if there is None:
        code = "create_lost" if create.id == run.operation.id else "leftover_vm"
        unknown = "What was there before it was sent is not on record: look with the provider, then approve"
        raise _hold(run, code, (), (), unknown)
    return there


def has_size(run: Run, vmid: int, spec: Spec) -> bool:
    """Whether a VM is there and of this size."""
    try:
        return fits(run.upstream.config(vmid), spec)
    except VmNotFound:
        return False


def _taken(verbs: Verbs, operation: Operation, sent_at: int) -> set[int]:
    """The VMs that are somebody's, those that held creates have set aside among them."""
    return _owned(verbs, sent_at).union(*_asides(verbs, operation))


def _owned(verbs: Verbs, sent_at: int) -> set[int]:
    """The VMs that are a living service's, or one's that was until after the call was sent, or under a
    reinstall."""
    living = verbs.owners_of_vms().keys()
    return living | let_go_since(verbs, sent_at) | lost_jobs.reinstalled_vmids(verbs)


def _asides(verbs: Verbs, operation: Operation) -> list[frozenset[int]]:
    """The VMs that each other held create has set aside."""
    return [
        frozenset(other.memo.get("set_aside", []))
        for other in verbs.open_operations_of_kind(Kind.CREATE)
        if other.id != operation.id and other.state is State.HELD
    ]


def _set_aside_jobs(verbs: Verbs, operation: Operation) -> set[int]:
    return {
        job
        for other in verbs.open_operations_of_kind(Kind.CREATE)
        if other.id != operation.id and other.state is State.HELD
        for job in other.memo.get("set_aside_jobs", [])
    }


def vmids_being_deleted(verbs: Verbs) -> set[int]:
    """The VMs whose delete was sent, and that have not been seen to be gone."""
    return {
        operation.vmid
        for operation in verbs.open_terminates()
        if operation.memo.get("delete_sent") and operation.vmid is not None
    }


def _is_unknown(create: InDoubt, now: int) -> bool:
    """Whether nobody waits for its answer any more."""
    in_flight = create.state is State.RUNNING and create.next_run_at > now
    return not in_flight or create.is_unknown


def _is_unwanted(verbs: Verbs, service: Service) -> bool:
    waiting = verbs.open_operations_of_service(service.billing, service.service_id)
    return any(operation.kind is Kind.TERMINATE for operation in waiting)


def _fenced(verbs: Verbs, run: Run) -> bool:
    others = [op for op in verbs.creates_in_doubt() if op.id != run.operation.id]
    unknown = [op for op in others if _is_unknown(op, run.now())]
    if not unknown:
        return False
    nothing_to_go_by = verbs.fact(lost_jobs.GREATEST) is None and run.settings.upstream.exclusive
    return not nothing_to_go_by or len(others) > len(unknown)


def _others_in_flight(verbs: Verbs, operation: Operation, now: int) -> bool:
    others = (other for other in verbs.creates_in_doubt() if other.id != operation.id)
    return any(not _is_unknown(other, now) for other in others)


def is_named_anew(verbs: Verbs, vmid: int) -> bool:
    """Whether a job of another order names this VM: the id was free again, and has a new owner."""
    return any(other.memo.get("named") == vmid for other in verbs.open_operations_of_kind(Kind.CREATE))


def untold(verbs: Verbs, steps: Sequence[str] = ("follow", "lost")) -> set[str]:
    """The creates at these steps, which have not heard of their VM yet: what is nobody's may be theirs."""
    return {
        create.id
        for create in verbs.open_operations_of_kind(Kind.CREATE)
        if create.state in CLAIMABLE and create.step in steps
    }


def _is_searched_by_another(verbs: Verbs, operation: Operation) -> bool:
    """One search at a time, the oldest first: two would take the same job."""
    return any(other.seq < operation.seq and other.is_unknown for other in verbs.creates_in_doubt())
