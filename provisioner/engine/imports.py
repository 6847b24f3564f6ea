"""Many living VMs bound to services at once: `services import`, and `services link` for one.

Every line is judged first, against the settings, the store and the upstream, so that all mistakes are told at
once. Then those that fit are linked, each by a link operation through the one door; nothing is changed
upstream. What is linked already just as the file says stays as it is, so a file may be imported again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from provisioner.audit import ITSELF, Origin
from provisioner.config import Settings
from provisioner.engine.accept import Accept, Request
from provisioner.engine.asked import Known, resolve
from provisioner.engine.import_file import Line, read
from provisioner.errors import EventRejected, UpstreamError
from provisioner.event_models import Link
from provisioner.operation import Kind, Operation
from provisioner.operations.vm import RUNNING, as_spec
from provisioner.service import Service, ServiceStatus, Spec, disk_megabytes
from provisioner.store import Store
from provisioner.store.verbs import Verbs
from provisioner.upstream import Upstream, VmConfig

BATCH = 100  # operations accepted in one transaction: others share the writer
SIZES = ("cpu_cores", "mem", "disk", "ip_count")

Key = tuple[str, str]


class Outcome(StrEnum):
    """What becomes of a line."""

    LINK = "link"  # it fits: its VM is linked, or would be
    THERE_ALREADY = "there_already"  # linked just as the line says
    UNDER_WAY = "under_way"  # the very link is open already
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a line does not fit: a code for programs, and words that say what to do."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a VM is not what the line asks for."""

    what: str
    asked: int | str
    there: int | str


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found about a line.

    :param differences: between what is asked and what is there.
    :param options: what the line's options would have to say to accept what is there.
    :param notes: what fits, and is still good to know.
    :param operation: the link; empty where none was accepted.
    """

    line: Line
    outcome: Outcome
    problems: tuple[Problem, ...] = ()
    differences: tuple[Difference, ...] = ()
    options: str = ""
    notes: tuple[str, ...] = ()
    operation: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Every line as it was judged, in the file's order; `linked` says whether links were accepted."""

    lines: tuple[Judged, ...]
    linked: bool

    def count(self, outcome: Outcome) -> int:
        return sum(judged.outcome is outcome for judged in self.lines)


@dataclass(slots=True)
class Import:
    """Judges files and links what they say; `threads` looks at so many VMs at once."""

    settings: Settings
    store: Store
    upstream: Upstream
    accept: Accept
    threads: int = 4

    def run(
        self,
        text: str,
        actor: str,
        *,
        origin: Origin = ITSELF,
        dry_run: bool,
        partial: bool = False,
    ) -> Report:
        """Judges every line of a file, then links those that fit.

        :param text: the file (`import_file`).
        :param dry_run: only judges.
        :param partial: links those that fit although others do not; else it is all of them or none, for a
            file with a mistake in it often has another one that nobody sees, such as a shifted column.
        :raises RequestInvalid: it is no such file.
        :raises UpstreamError: the list of VMs could not be read; nothing is concluded then.
        """
        lines = read(text)
        stored = self.store.read(lambda verbs: _Stored.of(verbs, lines))
        there = self._look(lines)
        twice = _Twice.of(lines)
        judged = [self._judged(line, stored, there, twice) for line in lines]
        report = Report(tuple(judged), linked=False)
        if dry_run or (report.count(Outcome.WRONG) and not partial):
            return report
        return Report(tuple(self._linked(judged, actor, origin)), linked=True)

    def _look(self, lines: Iterable[Line]) -> Mapping[int, _Seen]:
        """The VMs that lines name and the upstream lists: one list, then some configs at once."""
        listed = self.upstream.servers()
        asked = {line.link.vmid: line.link for line in lines if line.link is not None}
        links = [link for vmid, link in asked.items() if vmid in listed]
        with ThreadPoolExecutor(self.threads, thread_name_prefix="import") as pool:
            return dict(zip((link.vmid for link in links), pool.map(self._seen, links), strict=True))

    def _seen(self, link: Link) -> _Seen:
        try:
            config = self.upstream.config(link.vmid)
            is_suspended = link.status == ServiceStatus.SUSPENDED.value
            runs = is_suspended and self.upstream.status(link.vmid).state == RUNNING
        except UpstreamError as error:
            return _Seen(None, error=error.detail)
        return _Seen(config, runs=runs)

    def _judged(self, line: Line, stored: _Stored, there: Mapping[int, _Seen], twice: _Twice) -> Judged:
        problems = [Problem("invalid_field", words) for words in line.problems]
        if line.billing and line.billing not in self.settings.billing:
            known = ", ".join(self.settings.billing) or "none"
            problems.append(Problem("unknown_billing", f"there is no such billing system; there are {known}"))
        problems += twice.problems(line)
        if line.link is None:
            return Judged(line, Outcome.WRONG, tuple(problems))
        args = self._resolved(line.billing, line.link, problems)
        asked = Spec(**args["spec"]) if args else None
        problems += stored.problems(line, line.link, asked)
        seen = there.get(line.link.vmid)
        problems += _unseen(line.link, seen)
        config = seen.config if seen else None
        differences = _differences(asked, config) if asked and config else ()
        if differences:
            words = f"VM {line.link.vmid} is not what plan {line.link.plan} and the options say"
            problems.append(Problem("config_differs", words))
        outcome = Outcome.WRONG if problems or asked is None else stored.outcome(line, line.link, asked)
        notes = tuple(_notes(line, seen, stored.services.get(_key(line))))
        return Judged(line, outcome, tuple(problems), differences, self._accepting(line.link, config), notes)

    def _resolved(self, billing: str, link: Link, problems: list[Problem]) -> dict[str, Any] | None:
        if billing not in self.settings.billing:
            return None
        try:
            return resolve(Kind.LINK, link, Known(self.settings, billing))
        except EventRejected as rejected:
            problems.append(Problem(rejected.code, rejected.detail))
            return None

    def _accepting(self, link: Link, config: VmConfig | None) -> str:
        """The options with which the plan is what is there: what is there is what is right."""
        plan = self.settings.plans.get(link.plan)
        if plan is None or config is None:
            return ""
        found = _differences(plan.spec(), config)
        return " ".join(f"{difference.what}={difference.there}" for difference in found)

    def _linked(self, judged: list[Judged], actor: str, origin: Origin) -> list[Judged]:
        """The same, with the links of those that fit."""
        linked = list(judged)
        fitting = [(place, one) for place, one in enumerate(judged) if one.outcome is Outcome.LINK]
        for start in range(0, len(fitting), BATCH):
            batch = fitting[start : start + BATCH]
            accepted = self.accept.actions([_request(one.line, actor, origin) for _, one in batch])
            for (place, one), operation in zip(batch, accepted, strict=True):
                linked[place] = replace(one, operation=operation.id)
        return linked


@dataclass(frozen=True, slots=True)
class _Seen:
    """One VM as the upstream shows it; without a config where it could not be looked at."""

    config: VmConfig | None
    runs: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Twice:
    """What stands in more than one line: no service has two VMs, no VM two services."""

    places: Mapping[Hashable, list[int]]

    @classmethod
    def of(cls, lines: Iterable[Line]) -> _Twice:
        places: dict[Hashable, list[int]] = defaultdict(list)
        for line in lines:
            for thing in _things(line):
                places[thing].append(line.number)
        return cls(places)

    def problems(self, line: Line) -> Iterator[Problem]:
        for thing in _things(line):
            others = [number for number in self.places[thing] if number != line.number]
            if others:
                yield Problem("duplicate", f"{thing} stands in line {', '.join(map(str, others[:5]))} too")


def _things(line: Line) -> Iterator[str]:
    """What may stand in one line only."""
    if line.billing and line.service_id:
        yield f"service {line.billing}/{line.service_id}"
    if line.vmid is not None:
        yield f"VM {line.vmid}"
    if line.link is not None:
        yield from (f"address {ip}" for ip in sorted(set(line.link.ips)))


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the store says of the services, VMs and addresses in a file."""

    services: Mapping[Key, Service]
    open: Mapping[Key, list[Operation]]
    dead: Mapping[Key, list[int]]
    owners: Mapping[int, Service] = field(default_factory=dict)
    holders: Mapping[str, Service] = field(default_factory=dict)

    @classmethod
    def of(cls, verbs: Verbs, lines: Iterable[Line]) -> _Stored:
        keys = {_key(line) for line in lines}
        services = {key: service for key in keys if (service := verbs.service(*key)) is not None}
        with_vm = verbs.services_with_vm()
        return cls(
            services,
            {key: verbs.open_operations_of_service(*key) for key in services},
            {key: verbs.tombstones(*key) for key in services},
            {service.vmid: service for service in with_vm if service.vmid is not None},
            {ip: service for service in with_vm for ip in service.ips},
        )

    def problems(self, line: Line, link: Link, asked: Spec | None) -> Iterator[Problem]:
        key = _key(line)
        service, owner = self.services.get(key), self.owners.get(link.vmid)
        if service is not None and service.vmid not in (None, link.vmid):
            words = f"the service has VM {service.vmid}: unlink, move or terminate that one first"
            yield Problem("has_another_vm", words)
        if owner is not None and _key(owner) != key:
            words = f"VM {link.vmid} belongs to service {owner.billing}/{owner.service_id}"
            yield Problem("vmid_taken", words)
        if link.vmid in self.dead.get(key, ()) and owner is None:
            words = f"VM {link.vmid} was this service's and was deleted: one of that id is another machine"
            yield Problem("vm_was_deleted", words)
        for ip in link.ips:
            holder = self.holders.get(ip)
            if holder is not None and _key(holder) != key:
                yield Problem("ip_taken", f"{ip} belongs to service {holder.billing}/{holder.service_id}")
        for operation in self.open.get(key, ()):
            if asked is None or not _asks_the_same(operation, link, asked):
                words = f"{operation.kind} {operation.id} is {operation.state}: let it end, or cancel it"
                yield Problem("under_way", words)

    def outcome(self, line: Line, link: Link, asked: Spec) -> Outcome:
        """What becomes of a line with which nothing is wrong."""
        if self.open.get(_key(line)):
            return Outcome.UNDER_WAY
        service = self.services.get(_key(line))
        is_there = (
            service is not None
            and service.vmid == link.vmid
            and service.plan == link.plan
            and service.spec is not None
            and service.spec.same_size(asked)
            and (not link.ips or set(link.ips) == set(service.ips))
            and link.hostname in (None, service.hostname)
        )
        return Outcome.THERE_ALREADY if is_there else Outcome.LINK


def _key(named: Line | Service) -> Key:
    return named.billing, named.service_id


def _asks_the_same(operation: Operation, link: Link, asked: Spec) -> bool:
    args = operation.args
    return (
        operation.kind is Kind.LINK
        and (args["vmid"], args["plan"], args["status"]) == (link.vmid, link.plan, link.status)
        and (args["ips"], args["hostname"]) == (list(link.ips), link.hostname or "")
        and Spec(**args["spec"]).same_size(asked)
    )


def _unseen(link: Link, seen: _Seen | None) -> Iterator[Problem]:
    if seen is None:
        yield Problem("no_such_vm", f"VM {link.vmid} is not in the upstream's list")
    elif seen.config is None:
        yield Problem("not_seen", f"VM {link.vmid} could not be looked at: {seen.error}")
    elif len(set(link.ips)) > seen.config.ip_count:
        words = f"{len(set(link.ips))} addresses are given, VM {link.vmid} has {seen.config.ip_count}"
        yield Problem("too_many_ips", words)


def _differences(asked: Spec, config: VmConfig) -> tuple[Difference, ...]:
    there = as_spec(config, asked.template)
    return tuple(
        Difference(name, getattr(asked, name), getattr(there, name))
        for name in SIZES
        if _size(getattr(asked, name)) != _size(getattr(there, name))
    )


def _size(value: int | str) -> int:
    return disk_megabytes(value) if isinstance(value, str) else value


def _notes(line: Line, seen: _Seen | None, service: Service | None) -> Iterator[str]:
    link = line.link
    if link is None:
        return
    has_it = service is not None and service.vmid == link.vmid
    if has_it and service is not None and service.status.value != link.status:
        yield f"it is {service.status} here, and a link changes the status of no VM that is there already"
    elif seen is not None and seen.runs:
        yield f"VM {link.vmid} runs: a suspended one is stopped within the hour"
    if seen is not None and seen.config is not None and not has_it and len(link.ips) < seen.config.ip_count:
        yield f"{len(link.ips)} of {seen.config.ip_count} addresses are given: the others stay unknown"


def _request(line: Line, actor: str, origin: Origin) -> Request:
    if line.link is None:
        raise LookupError(f"line {line.number} asks for no link")
    return Request(
        line.billing,
        line.service_id,
        Kind.LINK,
        line.link,
        actor,
        is_admin=True,
        quiet=not line.tell,
        origin=origin,
    )
