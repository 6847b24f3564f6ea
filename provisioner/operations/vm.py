"""What several kinds do with a VM: see whether it is off, stop it, start it, and know it again before harm.

Only `running` is a documented state. Off is `stopped` or `off`, or another word with uptime 0 seen twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provisioner.errors import UpstreamUnavailable
from provisioner.operation import Kind, State
from provisioner.operations import Again, Go, Outcome, Run, Steps, lives
from provisioner.operations.judged import living_vm
from provisioner.operations.missing import came_back, missing_fact, own_vm, remember_missing
from provisioner.service import Service, Spec
from provisioner.store.verbs import Verbs
from provisioner.upstream import VmConfig

RUNNING = "running"
OFF = frozenset({"stopped", "off"})
LOOK_S = 1.0
SHOWS_WITHIN_S = 5.0  # a VM is listed once its job has ended, or little later; `settle` is for lost calls
BUSY = "0xa1"  # after it the status decides


def is_off(run: Run, vmid: int) -> bool | None:
    """Whether the VM is off; None while its state is a word that says neither."""
    status = run.upstream.status(vmid)
    if status.state == RUNNING or status.state in OFF:
        run.memo.pop("idle_looks", None)
        return status.state in OFF
    run.memo["idle_looks"] = run.memo.get("idle_looks", 0) + 1 if status.uptime == 0 else 0
    return True if run.memo["idle_looks"] >= 2 else None


def stopping(then: str) -> Steps:
    """The steps `shutdown`, `watch` and `stop`, which end with the VM off, at the step `then`.

    A graceful shutdown gets `suspend_grace` seconds before the forced stop; all of it is harmless to repeat.
    """

    def shutdown(run: Run) -> Outcome:
        vmid = own_vm(run)
        run.memo.setdefault("shutdown_at", run.now())
        run.intend("shutdown")
        try:
            run.upstream.shutdown(vmid)
        except UpstreamUnavailable as error:
            if error.code != BUSY:
                raise
        return Go("watch")

    def watch(run: Run) -> Outcome:
        if is_off(run, own_vm(run)):
            return Go(then)
        waited_s = (run.now() - run.memo["shutdown_at"]) / 1000
        grace_s = run.settings.safety.suspend_grace
        if waited_s >= grace_s:
            return Go("stop")
        return Again(min(LOOK_S, max(grace_s - waited_s, 0.05)), "shutdown")

    def stop(run: Run) -> Outcome:
        vmid = own_vm(run)
        run.intend("stop")
        try:
            run.upstream.stop(vmid)
        except UpstreamUnavailable as error:
            if error.code != BUSY:
                raise
        if is_off(run, vmid):
            return Go(then)
        raise UpstreamUnavailable(
            "The server could not be stopped yet.",
            code="still_running",
            detail=f"VM {vmid} runs on after a stop",
        )

    return {"shutdown": shutdown, "watch": watch, "stop": stop}


def back_from(run: Run, was: Mapping[str, Any]) -> Go:
    """To the step after which a VM runs again whose terminate was taken back: what may be on its way down
    goes down first, for a start would be lost on it.

    :param was: how it was, as the undo has noted.
    """
    is_going_down = was.get("stopping") and "shutdown_at" not in run.memo
    return Go("shutdown" if is_going_down else "start")


def starting(then: str) -> Steps:
    """The step `start`, which ends with the VM running, at the step `then`; harmless to repeat."""

    def start(run: Run) -> Outcome:
        vmid = own_vm(run)
        run.intend("start")
        try:
            run.upstream.start(vmid)
        except UpstreamUnavailable as error:
            if error.code != BUSY:
                raise
        if is_off(run, vmid) is False:
            return Go(then)
        raise UpstreamUnavailable(
            "The server could not be started yet.",
            code="not_running",
            detail=f"VM {vmid} does not run after a start",
        )

    return {"start": start}


def know_again(run: Run) -> VmConfig | None:
    """Before harm is done: the VM is seen in the list, with the config that is on record (promise 7).

    :returns: its config, or None where a person approved although it was not seen.
    :raises OperationHeld: `vm_not_seen`, `vm_came_back` or `config_differs`.
    :raises UpstreamUnavailable: it was made so lately that the list may not show it yet.
    """
    vmid = living_vm(run)
    if vmid not in run.upstream.servers():
        _refuse_too_early(run, vmid)
        since = run.store.write(lambda verbs: remember_missing(verbs, vmid, run.service, run.now()))
        gone = f"VM {vmid} is not in the upstream's list: it may be gone, or the list may be wrong"
        run.need_approval(code="vm_not_seen", seen=since, detail=gone)
        return None
    missing = run.look(lambda verbs: verbs.fact(missing_fact(vmid)))
    if missing is not None:
        run.need_approval(code="vm_came_back", seen=missing["at"], detail=came_back(vmid))
        run.store.write(lambda verbs: verbs.drop_fact(missing_fact(vmid)))
    config, on_record = run.upstream.config(vmid), _on_record(run)
    if not any(fits(config, spec) for spec in on_record):
        known = " or ".join(map(as_text, on_record))
        differs = f"VM {vmid} is {as_text(config)}, on record is {known}: it may be another machine"
        run.need_approval(code="config_differs", seen=as_text(config), detail=differs)
    return config


def _refuse_too_early(run: Run, vmid: int) -> None:
    """What has never been in the list yet is not missing from it."""
    within_ms, since = shows_within_ms(run), run.memo.setdefault("unseen_since", run.now())
    if max(since - run.service.updated_at, run.now() - since) < within_ms:
        raise UpstreamUnavailable(
            "The server could not be found yet.",
            detail=f"VM {vmid} is not in the upstream's list yet; it may show any moment",
        )


def shows_within_ms(run: Run) -> float:
    """How long the list may lag behind a job that has ended."""
    return min(run.settings.upstream.settle, SHOWS_WITHIN_S) * 1000


def _on_record(run: Run) -> list[Spec]:
    """What the VM may look like: as last seen, or as a change asked whose answer was no clear no."""
    service = run.service
    sent = run.look(lambda verbs: _sent_changes(verbs, service))
    return [spec for spec in (service.config or service.spec, *sent) if spec is not None]


def _sent_changes(verbs: Verbs, service: Service) -> list[Spec]:
    specs: list[Spec] = []
    for operation in verbs.operations_of_service(service.billing, service.service_id):
        if (
            operation.kind is Kind.CHANGE
            and operation.memo.get("tried")
            and not lives.is_over(verbs, operation, service)
        ):
            ended_well = operation.state in (State.DELIVERING, State.SUCCEEDED)
            specs = [] if ended_well else [*specs, Spec(**operation.memo["sent_spec"])]
    return specs


def fits(config: VmConfig, spec: Spec) -> bool:
    """Whether a VM of this config has the size that a spec asks for."""
    return as_spec(config, spec.template).same_size(spec)


def as_spec(config: VmConfig, template: str) -> Spec:
    """A config as the upstream shows it, with the template that no call shows."""
    return Spec(template, config.cpu_cores, config.mem, config.disk, config.ip_count)


def as_text(size: VmConfig | Spec) -> str:
    """A size in words for the operator."""
    return f"{size.cpu_cores} cores, {size.mem} MB, disk {size.disk}, {size.ip_count} IPs"
