"""Compares the store with the upstream: orphans, ghosts, drift and foreign VMs (contract, section 1).

It tells. The hourly look, and a person's `--fix`, mend what harms nobody besides: a suspended VM that runs is
stopped. Nothing is ever deleted, started, resized or reinstalled. An error while looking is no absence.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from provisioner.audit import ITSELF, SERVICE, Deed, Origin
from provisioner.delivery import iso
from provisioner.engine import pauses
from provisioner.errors import UpstreamError
from provisioner.logs import Log
from provisioner.operation import Operation
from provisioner.operations.let_go import all_let_go
from provisioner.operations.lost_create import SPARE, may_have_left
from provisioner.operations.missing import remember_missing, was_missing
from provisioner.operations.vm import RUNNING, as_spec, fits
from provisioner.service import Service, ServiceStatus, Spec
from provisioner.store import Store
from provisioner.store.verbs import Verbs
from provisioner.upstream import Upstream, VmConfig

log = Log(__name__)

FACT = "reconciliation"
AT_ONCE = 1000  # VMs that wait for a thread: an account may have many
STOPPING = "the hourly look stops it, and reconcile --fix at once"
Owner = tuple[str, str]  # a service's billing system and id
EMPTY: dict[str, Any] = {"seen_at": None, "orphans": [], "ghosts": [], "drift": [], "foreign": []}


@dataclass(slots=True)
class Reconcile:
    """Looks at every VM of the account, some at once. `clock` gives milliseconds since the epoch.

    :param exclusive: nobody else orders on the account, so what a failed create may have left is its own.
    """

    store: Store
    upstream: Upstream
    clock: Callable[[], int]
    threads: int = 4
    exclusive: bool = False

    def run(
        self, *, fix: bool, actor: str = SERVICE, reason: str = "", origin: Origin = ITSELF
    ) -> dict[str, Any]:
        """Compares, keeps what was found as a fact, and returns it.

        :param fix: also stop suspended VMs that run, and refresh what is known of each VM's config; who asks
            for it (`actor`), why and from where is in the audit.
        :raises UpstreamError: the list could not be read; nothing is concluded then.
        """
        by = Deed(
            self.clock(), actor, "upstream.fixed", origin.address, reason=reason,
            detail={"user": origin.user} if origin.user else {},
        )  # fmt: skip
        found = self._compared(stopping=by if fix else None, refreshes=fix)
        kept = by._replace(at=self.clock(), detail={**_counted(found), **by.detail}) if fix else None
        self.store.write(lambda verbs: self._keep(verbs, found, kept))
        return found

    def _compared(self, *, stopping: Deed | None, refreshes: bool) -> dict[str, Any]:
        """:param stopping: on whose behalf suspended VMs that run are stopped; None: they are not."""
        began_at = self.clock()
        listed = self.upstream.servers()
        owned, given_away, made = self.store.read(lambda verbs: _on_record(verbs, listed))
        found: dict[str, Any] = {"seen_at": began_at, "orphans": [], "ghosts": [], "drift": [], "foreign": []}
        look = partial(self._drift, owned, stopping=stopping, refreshes=refreshes)
        there = iter([vmid for vmid in owned if vmid in listed])
        with ThreadPoolExecutor(self.threads, thread_name_prefix="reconcile") as pool:
            while some := list(islice(there, AT_ONCE)):
                for lines in pool.map(look, some):
                    found["drift"] += lines
        for vmid, owner in owned.items():
            if vmid not in listed and (service := self._that_has(owner, vmid)) is not None:
                self._remember_missing(service, vmid)
                found["ghosts"].append(_ghost(service, vmid))
        left = self._left(sorted(listed - owned.keys() - made.keys()))
        for vmid in sorted(listed - owned.keys()):
            if vmid in made:
                found["orphans"].append(_orphan(vmid, made[vmid]))
            elif vmid in left and self.exclusive:
                found["orphans"].append(_leftover(vmid, left[vmid]))
            elif not self.store.read(lambda verbs, vmid=vmid: verbs.service_by_vmid(vmid)):  # type: ignore[misc]
                found["foreign"].append(_foreign(vmid, given_away.get(vmid), left.get(vmid)))
        return found

    def _keep(self, verbs: Verbs, found: dict[str, Any], fixing: Deed | None) -> None:
        verbs.set_fact(FACT, found, self.clock())
        if fixing is not None:
            verbs.add_audit(fixing)

    def tick(self) -> None:
        """The hourly look; an upstream that cannot be asked leaves the last one standing."""
        by = Deed(self.clock(), SERVICE, "upstream.fixed")
        try:
            found = self._compared(stopping=by, refreshes=False)
        except UpstreamError as error:
            log.warning("not_reconciled", error=error.detail)
            return
        self.store.write(lambda verbs: self._keep(verbs, found, None))

    def _that_has(self, owner: Owner, vmid: int) -> Service | None:
        """The service that has the VM even now: it may have ended while the list was read."""
        now = self.store.read(lambda verbs: verbs.service(*owner))
        return now if now is not None and now.vmid == vmid and now.created_at <= self.clock() else None

    def _remember_missing(self, service: Service, vmid: int) -> None:
        if service.updated_at < self.clock() - 60_000:  # a VM made a moment ago may lag in the list
            self.store.write(lambda verbs: remember_missing(verbs, vmid, service, self.clock()))

    def _left(self, nobodys: Collection[int]) -> dict[int, Operation]:
        """Those that a failed create may have made, with that create: new since then, and of its size."""
        creates = self.store.read(may_have_left)
        left = {}
        for vmid in nobodys:
            able = [create for create, others in creates if vmid not in others]
            config = self._config(vmid) if able else None
            fitting = [create for create in able if config and fits(config, Spec(**create.args["spec"]))]
            if fitting:
                left[vmid] = fitting[-1]
        return left

    def _config(self, vmid: int) -> VmConfig | None:
        try:
            return self.upstream.config(vmid)
        except UpstreamError as error:
            log.warning("vm_not_read", vmid=vmid, error=error.detail)
            return None

    def _drift(
        self, owned: Mapping[int, Owner], vmid: int, *, stopping: Deed | None, refreshes: bool
    ) -> list[dict[str, Any]]:
        service = self._that_has(owned[vmid], vmid)
        if service is None:
            return []
        try:
            config = self.upstream.config(vmid)
            power = self.upstream.status(vmid).state
        except UpstreamError as error:
            log.warning("vm_not_read", vmid=vmid, error=error.detail)
            return []
        drift = _differences(service, config)
        if power == RUNNING and (remedy := self._of_running(service, config, stopping)):
            drift.append(_line(service, vmid, "power", "off", power, remedy))
        if refreshes and not self._is_busy(service):
            self._refresh(service, config)
        return drift

    def _of_running(self, service: Service, config: VmConfig, stopping: Deed | None) -> str:
        """Stops one that runs, if that is wanted and may be. What becomes of it, in words; '': it may run."""
        remedy = self.store.read(lambda verbs: _remedy(verbs, service, config))
        if remedy != STOPPING or stopping is None or service.vmid is None:
            return remedy
        try:
            self.upstream.stop(service.vmid)
        except UpstreamError as error:
            log.warning("vm_not_stopped", vmid=service.vmid, error=error.detail)
            return f"could not be stopped ({error.code}); the hourly look tries again"
        stopped = Deed(
            self.clock(), stopping.actor, "vm.stopped", stopping.address, service.billing, service.service_id,
            vmid=service.vmid, reason="it ran, and its service is suspended", detail=stopping.detail,
        )  # fmt: skip
        self.store.write(lambda verbs: verbs.add_audit(stopped))
        return "stopped again"

    def _is_busy(self, service: Service) -> bool:
        key = (service.billing, service.service_id)
        return bool(self.store.read(lambda verbs: verbs.open_operations_of_service(*key)))

    def _refresh(self, service: Service, config: VmConfig) -> None:
        def unit(verbs: Verbs) -> None:
            current = verbs.service(service.billing, service.service_id)
            if current is None or current.vmid is None or current.vmid != service.vmid:
                return
            if current.spec is None or was_missing(verbs, current.vmid):
                return  # whose size this is, nobody knows
            complete = current.ips_complete and len(current.ips) == config.ip_count
            seen = as_spec(config, current.spec.template)
            verbs.save_service(replace(current, config=seen, ips_complete=complete))

        self.store.write(unit)


def _on_record(
    verbs: Verbs, listed: Collection[int]
) -> tuple[dict[int, Owner], dict[int, dict[str, Any]], dict[int, dict[str, Any]]]:
    """Whose each VM is, which were given away, and which of those listed that are nobody's were made here."""
    owned, given_away = verbs.owners_of_vms(), all_let_go(verbs)
    void = {claim for one in given_away.values() for claim in one["operations"]}
    made = {int(name.removeprefix(SPARE)): value for name, value in verbs.facts_like(SPARE).items()}
    for vmid in set(listed) - owned.keys():
        for operation in verbs.operations_that_made(vmid):
            owner = (operation.billing, operation.service_id)
            if operation.id not in void and vmid not in verbs.tombstones(*owner):
                made[vmid] = {"operation": operation.id, "billing": owner[0], "service": owner[1]}
    return owned, given_away, made


def _remedy(verbs: Verbs, service: Service, config: VmConfig) -> str:
    """Of a VM that runs: `STOPPING`, why it is left alone, or '' where its service is not suspended even now.

    It is stopped only while nothing is being done for the service, work is not paused, and this is certainly
    its VM: ids get reused.
    """
    now = verbs.service(service.billing, service.service_id)
    if now is None or now.status is not ServiceStatus.SUSPENDED or now.vmid != service.vmid:
        return ""
    if verbs.open_operations_of_service(service.billing, service.service_id):
        return "left alone: an operation of this service is still open"
    if was_missing(verbs, service.vmid or 0):
        return "left alone: this id was missing once, so it may be another VM; look with the provider"
    if now.config is not None and not fits(config, now.config):
        return (
            "left alone: its size is not the one on record, so it may be another VM; look with the provider"
        )
    if pauses.reasons(verbs):
        return "left alone while nothing is sent upstream; once that goes on the hourly look stops it"
    return STOPPING


def _differences(service: Service, config: VmConfig) -> list[dict[str, Any]]:
    """Against the spec last asked for, never against today's plan."""
    spec, vmid = service.spec, service.vmid
    lines = []
    if spec is not None and vmid is not None and not fits(config, spec):
        for name in ("cpu_cores", "mem", "disk", "ip_count"):
            asked, there = getattr(spec, name), getattr(config, name)
            if asked != there:
                lines.append(_line(service, vmid, name, asked, there, "ask for it again (change)"))
    return lines


def _line(
    service: Service, vmid: int, what: str, asked: object, there: object, remedy: str
) -> dict[str, Any]:
    return {
        "billing": service.billing,
        "service_id": service.service_id,
        "vmid": vmid,
        "what": what,
        "asked": asked,
        "there": there,
        "remedy": remedy,
    }


def _counted(found: Mapping[str, Any]) -> dict[str, int]:
    return {name: len(lines) for name, lines in found.items() if isinstance(lines, list)}


def _ghost(service: Service, vmid: int) -> dict[str, Any]:
    return {
        "billing": service.billing,
        "service_id": service.service_id,
        "vmid": vmid,
        "status": service.status.value,
        "means": "the service's VM is not on the account",
        "remedy": "look with the provider; then terminate the service, or unlink it and link another VM",
    }


def _orphan(vmid: int, made: dict[str, Any]) -> dict[str, Any]:
    return {
        "vmid": vmid,
        "operation": made["operation"],
        "billing": made["billing"],
        "service_id": made["service"],
        "means": "made by a job of ours, and no living service has it: it is paid for",
        "remedy": "link it to a service, or delete it with the provider",
    }


def _leftover(vmid: int, create: Operation) -> dict[str, Any]:
    made = {"operation": create.id, "billing": create.billing, "service": create.service_id}
    return _orphan(vmid, made) | {
        "means": "new since this create, which failed, and of its size: no living service has it, and it is "
        "paid for",
        "remedy": "retry the create and choose adopt, or delete the VM with the provider",
    }


def _foreign(vmid: int, given_away: dict[str, Any] | None, create: Operation | None = None) -> dict[str, Any]:
    if create is not None:
        means = f"not linked here; new since the failed create {create.id}, and of its size: perhaps its"
        return {"vmid": vmid, "means": f"{means}; never touched"}
    if given_away is None or given_away["to"]:
        return {"vmid": vmid, "means": "not made or linked here; never touched"}
    was, unlinked_at = f"{given_away['billing']}/{given_away['service_id']}", iso(given_away["at"])
    return {
        "vmid": vmid,
        "was": was,
        "unlinked_at": unlinked_at,
        "actor": given_away["actor"],
        "reason": given_away["reason"],
        "means": f"unlinked from {was} on purpose, {unlinked_at[:10]}; never touched",
    }
