"""change: another size for a VM. `PUT change`, then `GET config` to see that it took (contract, section 3).

    begin → send → (follow) → confirm → (shutdown …) → done

What the documentation says is ignored or refused is said before it is sent: fewer IPs are left out with a
warning, a smaller disk is refused, or kept where the plan says so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from provisioner.errors import JobNotFound, OperationFailed, UpstreamRefused
from provisioner.operations import Again, Done, Go, Outcome, Run, Steps, jobs
from provisioner.operations.judged import living_vm
from provisioner.operations.missing import own_vm
from provisioner.operations.vm import LOOK_S, as_spec, as_text, fits, is_off, know_again, stopping
from provisioner.service import ServiceStatus, Spec, disk_megabytes
from provisioner.upstream import VmConfig


def begin(run: Run) -> Outcome:
    """Compares the whole asked spec with what is there; options alone go over what was asked for before."""
    vmid = living_vm(run)
    config = know_again(run) or run.upstream.config(vmid)
    run.memo.pop("ips", None)  # told to a try before: another change may have been carried out since
    if run.operation.args["template_ignored"]:
        run.warn("template_ignored")
    spec = _possible(run, config)
    run.memo["sent_spec"] = spec.as_dict()
    run.memo["ips_before"] = config.ip_count
    return Go("confirm") if fits(config, spec) else Go("send")


def send(run: Run) -> Outcome:
    """Asks for what differs; a repetition asks for the same. A pause may lie between a look and this."""
    vmid, spec = living_vm(run), _spec(run)
    differs = _difference(know_again(run) or run.upstream.config(vmid), spec)
    if not differs:  # it took already, and only the answer was lost
        return Go("confirm")
    tried_before = run.memo.get("tried", False)
    run.memo["tried"] = True  # from here on the VM may have the asked size, unless the answer is a clear no
    run.intend("send")
    try:
        run.job_id = run.upstream.change(vmid, **differs) or ""
    except UpstreamRefused:
        run.memo["tried"] = tried_before
        raise
    run.memo["sent_at"] = run.now()
    return Go("follow" if run.job_id else "confirm")


def follow(run: Run) -> Outcome:
    """Some changes are answered with a job; its end is believed when `GET config` shows it."""
    try:
        job = jobs.look(run, resume="begin")
    except JobNotFound:
        return Go("confirm")
    if isinstance(job, Again):
        return job
    if job.output is not None and job.output.ips:
        run.memo["ips"] = list(job.output.ips)
    run.memo["sent_at"] = run.now()
    return Go("confirm")


def confirm(run: Run) -> Outcome:
    """Done is what `GET config` shows."""
    spec = _spec(run)
    config = run.upstream.config(own_vm(run))
    if fits(config, spec):
        return Go("settle_power") if run.service.status is ServiceStatus.SUSPENDED else _done(run, config)
    if run.now() - run.memo.get("sent_at", 0) < run.settings.upstream.settle * 1000:
        return Again(LOOK_S, "change")
    raise OperationFailed(
        "The change was not carried out.",
        code="not_applied",
        detail=f"asked for {as_text(spec)}; the upstream shows {as_text(config)}",
        resume="begin",
    )


def settle_power(run: Run) -> Outcome:
    """A suspended VM is off again afterwards."""
    vmid = own_vm(run)
    return Go("shutdown") if is_off(run, vmid) is False else _done(run, run.upstream.config(vmid))


def _possible(run: Run, config: VmConfig) -> Spec:
    """The asked spec without what the upstream would ignore.

    :raises OperationFailed: `disk_smaller`, where the plan does not keep the disk.
    """
    spec = _asked(run)
    if spec.ip_count < config.ip_count:
        run.warn("fewer_ips_ignored")
        spec = replace(spec, ip_count=config.ip_count)
    if disk_megabytes(spec.disk) < disk_megabytes(config.disk):
        if run.operation.args["disk_shrink"] == "refuse":
            raise OperationFailed(
                "A disk cannot be made smaller.",
                code="disk_smaller",
                detail=f"the disk is {config.disk}, asked for was {spec.disk}; nothing was sent",
                resume="begin",
            )
        run.warn("disk_kept")
        spec = replace(spec, disk=config.disk)
    return spec


def _difference(config: VmConfig, spec: Spec) -> dict[str, Any]:
    differs: dict[str, Any] = {
        name: getattr(spec, name)
        for name in ("cpu_cores", "mem", "ip_count")
        if getattr(spec, name) != getattr(config, name)
    }
    if disk_megabytes(spec.disk) != disk_megabytes(config.disk):
        differs["disk"] = spec.disk
    return differs


def _done(run: Run, config: VmConfig) -> Done:
    service, spec = run.service, _spec(run)
    ips = tuple(run.memo.get("ips", service.ips))
    complete = len(ips) == config.ip_count
    if config.ip_count > run.memo["ips_before"] and not complete:
        run.warn("new_ips_unknown")
    run.change_service(
        plan=service.plan if "options" in run.operation.args else run.operation.args["plan"],
        spec=replace(spec, template=service.spec.template if service.spec else spec.template),
        config=as_spec(config, spec.template),
        ips=ips,
        ips_complete=complete,
    )
    return Done(
        "service.upgraded",
        {
            "config": {
                "cpu_cores": config.cpu_cores,
                "mem": config.mem,
                "disk": config.disk,
                "ip_count": config.ip_count,
            },
            "ips": list(ips),
            "warnings": run.warnings,
        },
    )


def _asked(run: Run) -> Spec:
    args, last = run.operation.args, run.service.spec
    return last.with_options(args["options"]) if last and "options" in args else Spec(**args["spec"])


def _spec(run: Run) -> Spec:
    return Spec(**run.memo["sent_spec"])


STEPS: Steps = {
    "begin": begin,
    "send": send,
    "follow": follow,
    "confirm": confirm,
    "settle_power": settle_power,
    **stopping(then="settle_power"),
}
