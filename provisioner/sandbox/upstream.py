"""The sandbox upstream: an account at the reseller API, in memory, with its VMs and jobs.

The methods of the first part answer the documentation's 20 endpoints (reseller-api.txt): they return what
stands under `result`, and raise `Refusal` with what stands under `error`. Those of the second part are what
the control API offers: looking in, and making things happen that no call of the API does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import count
from typing import Any, Literal

from provisioner.errors import NotFound, RequestInvalid, WrongState
from provisioner.sandbox import refusals
from provisioner.sandbox.calls import Calls
from provisioner.sandbox.clock import milliseconds, wall_clock
from provisioner.sandbox.faults import Faults
from provisioner.sandbox.jobs import Job, Jobs
from provisioner.sandbox.settings import FailNextJob, ForeignVm, Settings, built
from provisioner.sandbox.vms import Vm, addresses, new_password
from provisioner.service import Spec, disk_megabytes

FIRST_VMID = 4001  # as in the documentation's examples


class Sandbox:
    """One account. Threads may share it; all that happens by itself happens by the clock.

    :param clock: the time in milliseconds since the epoch, UTC; never steps back.
    :param settings: values for `Settings`, by name; durations in seconds.
    :raises RequestInvalid: for a setting that is unknown or does not fit.
    """

    def __init__(self, clock: Callable[[], int] = wall_clock, **settings: Any) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._settings = built(Settings, settings)
        self._vms: dict[int, Vm] = {}
        self._last_vmid = FIRST_VMID - 1
        self._addresses = addresses()
        self._jobs = Jobs(self._begin, self._finish)
        self.faults = Faults()
        self.record = Calls(clock)

    @contextmanager
    def _now(self) -> Iterator[int]:
        """The time, with the account to oneself and everything done that was due."""
        with self._lock:
            now = self._clock()
            self._jobs.settle(now, hang=self._settings.hang_jobs)
            yield now

    # The 20 endpoints.

    def job(self, number: int) -> dict[str, Any]:
        """`GET job/{jobId}`; :raises Refusal: 0xc1."""
        with self._now() as now:
            return self._jobs.find(number).look(now)

    def templates(self) -> list[str]:
        """`GET datacenter/templates`."""
        return list(self._settings.templates)

    def servers(self) -> list[int]:
        """`GET datacenter/server`: the vmids, ascending."""
        with self._now() as now:
            return sorted(vm.vmid for vm in self._vms.values() if vm.listed_at <= now)

    def create(self, spec: Spec) -> dict[str, Any]:
        """`POST datacenter/server`: a job's ticket. What cannot be done makes the job fail."""
        with self._now() as now:
            return self._accept("create", spec, None, now).ticket()

    def status(self, vmid: int) -> dict[str, Any]:
        """`GET status`; :raises Refusal: 0x01."""
        with self._now() as now:
            return self._vm(vmid).status(now, self._settings.stopped_word)

    def config(self, vmid: int) -> dict[str, Any]:
        """`GET config`; :raises Refusal: 0x01."""
        with self._now():
            return self._vm(vmid).config()

    def delete(self, vmid: int, *, force: bool = False) -> bool:
        """`POST delete`; :raises Refusal: 0x01, or 0xa3 without force while it runs or is worked on."""
        with self._now() as now:
            vm = self._vm(vmid)
            if not force and (vm.running(now) or vm.busy(now)):
                raise refusals.timed_out()
            del self._vms[vmid]
            return True

    def set_rdns(self, vmid: int, ip: str, hostname: str) -> bool:
        """`POST rdns`; :raises Refusal: 0x01, or 0xb1 for an address that is not the VM's."""
        with self._now():
            vm = self._vm(vmid)
            if ip not in vm.ips:
                raise refusals.invalid("ip")
            vm.rdns[ip] = hostname
            return True

    def change(self, vmid: int, **options: Any) -> bool | dict[str, Any]:
        """`PUT change` with any of cpu_cores, mem (MB), disk and ip_count; new IPs are told nowhere.

        :return: True, or a job's ticket where `change_answer` is `job`.
        :raises Refusal: 0x01, 0xa1 while it is worked on, 0xb0 beyond the limits, 0xb1 for a smaller disk.
        """
        with self._now() as now:
            vm = self._vm(vmid)
            spec = vm.spec.with_options(options)
            if vm.busy(now):
                raise refusals.config_failed()
            if disk_megabytes(spec.disk) < disk_megabytes(vm.spec.disk):
                raise refusals.invalid("disk")
            if self._settings.change_answer == "job":
                return self._accept("change", spec, vm, now).ticket()
            if self._beyond_limits(spec):
                raise refusals.over_limits()
            vm.resize(spec, self._addresses)
            return True

    def start(self, vmid: int) -> bool:
        """`PUT start`, at once; :raises Refusal: 0x01, or 0xa1 while it is worked on."""
        with self._idle(vmid, "start") as (vm, now):
            if not vm.running(now):
                vm.start(now)
            return True

    def shutdown(self, vmid: int) -> bool:
        """`PUT shutdown`, heeded after `shutdown_delay`.

        :raises Refusal: 0x01, or 0xa1 while it is worked on.
        """
        with self._idle(vmid, "shutdown") as (vm, now):
            delay = self._settings.shutdown_delay
            if delay is not None and vm.running(now) and vm.stops_at is None:
                vm.stops_at = now + milliseconds(delay)
            return True

    def stop(self, vmid: int) -> bool:
        """`PUT stop`, at once; :raises Refusal: 0x01, or 0xa1 while it is worked on."""
        with self._idle(vmid, "stop") as (vm, _):
            vm.stop()
            return True

    def reboot(self, vmid: int) -> bool:
        """`PUT reboot`; :raises Refusal: 0x01, or 0xa1 while it is worked on or off."""
        return self._reboot(vmid, "reboot")

    def force_reboot(self, vmid: int) -> bool:
        """`PUT reboot/force`; :raises Refusal: 0x01, or 0xa1 while it is worked on or off."""
        return self._reboot(vmid, "reset")

    def reinstall(self, vmid: int, template: str | None = None) -> dict[str, Any]:
        """`PUT reinstall`: a job's ticket; :raises Refusal: 0x01, or 0xa3 while it is worked on."""
        with self._now() as now:
            vm = self._vm(vmid)
            if vm.busy(now):
                raise refusals.timed_out()
            spec = replace(vm.spec, template=vm.spec.template if template is None else template)
            return self._accept("reinstall", spec, vm, now).ticket()

    def reset_password(self, vmid: int) -> dict[str, Any]:
        """`PUT password/reset`; :raises Refusal: 0x01, or 0xa1 unless it runs and is left alone."""
        with self._now() as now:
            vm = self._vm(vmid)
            if vm.busy(now) or not vm.running(now):
                raise refusals.config_failed()
            vm.password = new_password()
            return {"status": "success", "password": vm.password}

    def backups(self, vmid: int) -> list[int]:
        """`GET backups/list`: Unix times, newest first; :raises Refusal: 0x01."""
        with self._now() as now:
            return self._vm(vmid).backup_times(now)

    def backup_status(self, vmid: int) -> dict[str, Any]:
        """`GET backups/status`: pending while a backup or a restore goes on; :raises Refusal: 0x01."""
        with self._now() as now:
            vm = self._vm(vmid)
            if vm.backing_up(now) or now < vm.restored_at:
                return {"status": "pending", "progress": 0}
            return {"status": self._settings.backup_done_word, "progress": 1}

    def create_backup(self, vmid: int) -> bool:
        """`PUT backups/create`; :raises Refusal: 0x01, or 0xa3 while it is worked on or backed up."""
        with self._now() as now:
            vm = self._vm(vmid)
            if vm.busy(now) or vm.backing_up(now):
                raise refusals.timed_out()
            vm.back_up(now, milliseconds(self._settings.backup_duration))
            return True

    def restore_backup(self, vmid: int, backup: int | None) -> str:
        """`POST backups/restore` of that Unix time.

        :raises Refusal: 0x01, 0xa5 for no or an unknown backup, or 0xa1 while it is worked on or backed up.
        """
        with self._now() as now:
            vm = self._vm(vmid)
            if backup not in vm.backup_times(now):
                raise refusals.no_backup()
            if vm.busy(now) or vm.backing_up(now):
                raise refusals.signal_failed("restore")
            vm.restored_at = now + milliseconds(self._settings.restore_duration)
            return "pending"

    # What the control API offers.

    def state(self) -> dict[str, Any]:
        """All VMs (with their present passwords), jobs, counts of calls by endpoint, settings and faults."""
        with self._now() as now:
            return {
                "vms": [self._vms[vmid].facts(now) for vmid in sorted(self._vms)],
                "jobs": [
                    {
                        "jobId": job.number,
                        "kind": job.kind,
                        "vmid": job.vmid,
                        "ends_at": job.ends_at,
                        **job.look(now),
                    }
                    for job in self._jobs
                ],
                "calls": self.record.counts(),
                "settings": asdict(self._settings),
                "faults": self.faults.facts(),
            }

    def calls(self) -> list[dict[str, Any]]:
        """Each call over HTTP: seq, at and answered_at (ms), method, path, body, status or `dropped`, the
        fault it met."""
        return self.record.facts()

    def fault(self, **rule: Any) -> None:
        """Adds a fault (`faults.Rule`); :raises RequestInvalid: for what is no rule."""
        self.faults.add(rule)

    def clear_faults(self) -> None:
        """Forgets all rules; settings stay as they are."""
        self.faults.clear()

    def settings(self, /, **changes: Any) -> dict[str, Any]:
        """Sets what is named (`settings.Settings`, and `lose_job`: an id that answers 0xc1 from now on).

        :return: all settings.
        :raises RequestInvalid: for an unknown setting or a value that does not fit; nothing is set then.
        """
        lost = changes.pop("lose_job", None)
        if lost is not None and type(lost) is not int:
            raise RequestInvalid(f"lose_job: {lost!r} does not fit, needed is a job's id")
        with self._now() as now:
            self._settings = built(Settings, changes, self._settings)
            if lost is not None:
                self._jobs.lose(lost)
            self._jobs.settle(now, hang=self._settings.hang_jobs)
            return asdict(self._settings)

    def add_vm(self, /, **values: Any) -> dict[str, Any]:
        """Puts a foreign VM (`settings.ForeignVm`) on the account, in the list at once; returns its facts.

        :raises RequestInvalid: for a value that does not fit.
        :raises WrongState: if the vmid is taken.
        """
        wanted = built(ForeignVm, values)
        with self._now() as now:
            if wanted.vmid in self._vms:
                raise WrongState(f"VM {wanted.vmid} exists already")
            spec = Spec(wanted.template, wanted.cpu_cores, wanted.mem, wanted.disk, wanted.ip_count)
            vm = self._new_vm(spec, now, vmid=wanted.vmid)
            if wanted.power == "running":
                vm.start(now)
            return vm.facts(now)

    def remove_vm(self, vmid: int) -> None:
        """Takes a VM away, whatever it is doing; :raises NotFound: if there is none."""
        with self._now():
            del self._vms[self._present(vmid).vmid]

    def power(self, vmid: int, power: str) -> None:
        """Turns a VM `running` or `stopped` from outside, at once.

        :raises NotFound: if there is none.
        :raises RequestInvalid: for another word.
        """
        with self._now() as now:
            vm = self._present(vmid)
            if power == "running":
                vm.start(now)
            elif power == "stopped":
                vm.stop()
            else:
                raise RequestInvalid(f"power: {power!r} is neither 'running' nor 'stopped'")

    # What the HTTP side asks.

    @property
    def latency(self) -> float:
        """Seconds that every call takes."""
        return self._settings.latency

    def admits(self, authorization: str) -> bool:
        """Whether this Authorization header has the token, while any is good."""
        return not self._settings.token_refused and authorization == f"Bearer {self._settings.token}"

    # Within.

    def _vm(self, vmid: int | None) -> Vm:
        if vmid is None or vmid not in self._vms:
            raise refusals.no_vm(vmid)
        return self._vms[vmid]

    def _present(self, vmid: int) -> Vm:
        if vmid not in self._vms:
            raise NotFound(f"there is no VM {vmid}")
        return self._vms[vmid]

    @contextmanager
    def _idle(self, vmid: int, signal: str) -> Iterator[tuple[Vm, int]]:
        """A VM that can be sent a signal, and the time."""
        with self._now() as now:
            vm = self._vm(vmid)
            if vm.busy(now):
                raise refusals.signal_failed(signal)
            yield vm, now

    def _reboot(self, vmid: int, signal: str) -> bool:
        with self._idle(vmid, signal) as (vm, now):
            if not vm.running(now):
                raise refusals.signal_failed(signal)
            vm.start(now)
            return True

    def _accept(
        self, kind: Literal["create", "reinstall", "change"], spec: Spec, vm: Vm | None, now: int
    ) -> Job:
        """A new job, on this VM or for a new one; what is wrong with it shows when it fails."""
        settings = self._settings
        job = self._jobs.add(
            kind,
            spec,
            vm.vmid if vm else None,
            begins_at=now + milliseconds(settings.job_queued),
            executing_ms=milliseconds(settings.job_executing),
            failure=self._objection(kind, spec) or settings.fail_next_job,
        )
        self._settings = replace(settings, fail_next_job=None)
        if vm:
            vm.job = job
        return job

    def _objection(self, kind: str, spec: Spec) -> FailNextJob | None:
        """Why a job for this spec is to fail; a reinstall resizes nothing, a change installs nothing."""
        if kind != "change" and spec.template not in self._settings.templates:
            return FailNextJob(f"0xb1: unknown template {spec.template}")
        if kind != "reinstall" and self._beyond_limits(spec):
            return FailNextJob(refusals.OVER_LIMITS)
        return None

    def _beyond_limits(self, spec: Spec) -> bool:
        settings = self._settings
        return (
            spec.cpu_cores > settings.max_cpu_cores
            or spec.mem > settings.max_mem
            or disk_megabytes(spec.disk) > disk_megabytes(settings.max_disk)
            or spec.ip_count > settings.max_ip_count
        )

    def _begin(self, job: Job, at: int) -> None:
        if job.kind == "create" and job.works and self._settings.listed == "executing":
            self._make(job, at)

    def _finish(self, job: Job, at: int) -> dict[str, Any]:
        if job.kind == "create" and job.vmid is None:
            self._make(job, at)
        vm = self._vm(job.vmid)
        if vm.job is not job:  # the VM went, and another got its vmid
            raise refusals.no_vm(job.vmid)
        if job.kind == "change":
            vm.resize(job.spec, self._addresses)
            return {"vmid": vm.vmid}
        vm.spec, vm.password = job.spec, new_password()
        vm.start(at)
        return vm.access()

    def _make(self, job: Job, at: int) -> None:
        vm = self._new_vm(job.spec, at + milliseconds(self._settings.list_lag), made_by=job)
        job.vmid = vm.vmid

    def _new_vm(
        self, spec: Spec, listed_at: int, *, vmid: int | None = None, made_by: Job | None = None
    ) -> Vm:
        first = FIRST_VMID if self._settings.reuse_vmids else self._last_vmid + 1
        if vmid is None:
            vmid = next(number for number in count(first) if number not in self._vms)
        self._last_vmid = max(self._last_vmid, vmid)
        ips = [next(self._addresses) for _ in range(spec.ip_count)]
        vm = Vm(
            vmid=vmid,
            spec=spec,
            ips=ips,
            made_by=made_by.number if made_by else None,
            listed_at=listed_at,
            job=made_by,
        )
        self._vms[vmid] = vm
        return vm
