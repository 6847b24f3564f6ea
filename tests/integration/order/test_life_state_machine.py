"""Services live as hypothesis wishes, and whenever all is calm the account is what was asked for.

The judge is the sandbox's real state. What it should be is worked out here from the events that were sent
and from which of their operations ended well, in the order of promise 3; nothing is asked of the service's
rows but which VM it has. Where something was sent and did not end well, what it touched is nobody's promise.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from provisioner.delivery import DeliveryState
from provisioner.engine.advance import Claimed
from provisioner.errors import RequestInvalid, WrongState
from provisioner.operation import CLAIMABLE, DELIVERY_FAILED, Kind, Operation, State
from provisioner.service import ServiceStatus, disk_megabytes

if TYPE_CHECKING:
    from tests.integration.order.conftest import Life

PROFILE = settings(
    max_examples=10,  # for each seed
    stateful_step_count=60,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # to see a short story of a failure, add Phase.shrink and some minutes
    suppress_health_check=list(HealthCheck),
)
CALM_S = 4 * 86_400.0  # a grace of a day, and what waits behind it, and its retries
PLANS: dict[str, dict[str, Any]] = {
    "vps-s": {"cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1},
    "vps-m": {"cpu_cores": 2, "mem": 4096, "disk": "40G", "ip_count": 1},
    "vps-keep": {"cpu_cores": 1, "mem": 2048, "disk": "5G", "ip_count": 1},
}
ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
SERVICES = st.sampled_from(["1", "2", "3"])
PICKS = st.integers(0, 99)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "cpu_cores": st.integers(1, 4),
        "mem": st.sampled_from([512, 1024, 4096, 16384]),
        "disk": st.sampled_from(["5G", "10G", "20480M", "40G"]),
        "ip_count": st.integers(1, 3),
    },
)
KINDS = {
    "order.paid": 4,
    "service.link": 1,
    "service.upgrade": 3,
    "service.suspend": 3,
    "service.unsuspend": 3,
    "service.terminate": 1,
    "service.start": 2,
    "service.shutdown": 1,
    "service.stop": 2,
    "service.reboot": 1,
    "service.force_reboot": 1,
    "service.reinstall": 2,
    "service.reset_password": 2,
    "service.backup": 2,
    "service.restore": 1,
    "service.set_rdns": 1,
    "service.explode": 1,
}
EVENTS = st.tuples(
    SERVICES, st.sampled_from([kind for kind, often in KINDS.items() for _ in range(often)]), PICKS, OPTIONS
)
FAULTS = ["page", "page_after", "error", "error_after", "drop_before", "drop_after", "truncate", "garbage"]
PATHS = ["/datacenter/server", "/job/*", "*/status", "*/config", "*/delete", "*/change", "*/start", "*/stop"]
PATHS += ["*/shutdown", "*/reinstall", "*/password/reset", "*/backups/*", "*/rdns", "*/reboot*"]


@dataclass(slots=True)
class Expected:
    """What a service is to be. None is unknown: something that touched it was sent and did not end well.

    :param size: of the VM, and `spec` what was asked for last: a link asks for what need not be there.
    :param before: how the VM ran before a terminate that was taken back, until it is back.
    :param is_going_down: a person cancelled the undo of a terminate that had told the guest to shut down:
        whatever is started meanwhile, the guest goes down.
    """

    alive: bool = False
    suspended: bool = False
    runs: bool | None = None
    ran: bool | None = None
    before: bool | None = None
    is_coming_back: bool = False
    is_going_down: bool = False
    size: dict[str, Any] | None = None
    spec: dict[str, Any] | None = None
    password_known: bool = True

    def follow(self, operation: Operation, asked: dict[str, Any], *, sent: bool) -> Expected:
        """What it is to be after the next operation, given what was asked for it."""
        done = operation.state in (State.SUCCEEDED, State.DELIVERING)
        done = done or operation.error_code == DELIVERY_FAILED
        if done and operation.kind is Kind.TERMINATE:
            return Expected()
        if done and not self.alive and operation.kind in (Kind.CREATE, Kind.LINK):
            return _new(operation, asked)
        if done:
            self._done(operation, asked)
        elif operation.kind is Kind.TERMINATE and "was" in operation.memo:
            self._taken_back(cancelled=operation.state is State.CANCELLED)
        elif "undo" in operation.args and operation.error_code != "superseded":
            self.is_coming_back, self.before, self.runs = False, None, None
            self.is_going_down = operation.args["undo"]["stopping"]
        elif sent:
            self._half_done(operation.kind)
        return self

    def _done(self, operation: Operation, asked: dict[str, Any]) -> None:
        match operation.kind:
            case Kind.LINK:
                self.spec = _spec(asked)
            case Kind.CHANGE:
                self._resize(asked)
                self.runs = False if self.suspended else self.runs
            case Kind.SUSPEND if not self.suspended:
                self.ran = True if self.is_coming_back and self.before else self.runs
                self.suspended, self.runs, self.is_going_down = True, False, False
            case Kind.UNSUSPEND if self.suspended and not operation.args.get("as_it_was"):
                self.suspended, self.runs, self.ran = False, self.ran, None
                self.before = self.runs  # that it was off before the terminate was the suspension
            case Kind.START | Kind.REBOOT | Kind.FORCE_REBOOT:
                self.runs = None if self.is_going_down else True
            case Kind.STOP | Kind.SHUTDOWN:
                self.runs, self.is_going_down = False, False
            case Kind.REINSTALL:
                self.runs, self.password_known = True, True
            case Kind.RESET_PASSWORD:
                self.password_known = True
        if "undo" in operation.args and self.is_coming_back:
            self._is_back()

    def _resize(self, asked: dict[str, Any]) -> None:
        base = PLANS[asked["plan"]] if asked.get("plan") else self.spec
        before, self.size = self.size, None
        if base is not None and before is not None:  # what it keeps of an unknown size is unknown as well
            self.size = {**base, **asked.get("options", {})}
            self.size["ip_count"] = max(self.size["ip_count"], before["ip_count"])
            self.size["disk"] = max(self.size["disk"], before["disk"], key=disk_megabytes)
        self.spec = self.size

    def _taken_back(self, *, cancelled: bool) -> None:
        if cancelled and not self.is_coming_back:
            self.is_coming_back, self.before = True, self.runs
        self.runs = None

    def _is_back(self) -> None:
        if not self.suspended:
            self.runs = True if self.before else self.before if self.runs is None else self.runs
        elif self.runs is None:
            # One that was linked as suspended may have run, and was stopped before the undo or was not.
            self.runs = False if self.before is False else None
        self.is_coming_back, self.before = False, None

    def _half_done(self, kind: Kind) -> None:
        if kind in (Kind.START, Kind.STOP, Kind.SHUTDOWN, Kind.SUSPEND, Kind.UNSUSPEND, Kind.REINSTALL):
            self.runs = None
        if kind in (Kind.REINSTALL, Kind.RESET_PASSWORD):
            self.password_known = False
        if kind is Kind.CHANGE:
            self.size = None


def _new(operation: Operation, asked: dict[str, Any]) -> Expected:
    spec = _spec(asked)
    if operation.kind is Kind.LINK:
        suspended = asked["status"] == "suspended"
        linked = Expected(True, suspended, asked["runs"], ran=True, size=asked["size"], spec=spec)
        linked.password_known = False
        return linked
    return Expected(True, runs=True, size=None if "adopt" in operation.memo else spec, spec=spec)


def _spec(asked: dict[str, Any]) -> dict[str, Any]:
    return {**PLANS[asked["plan"]], **asked.get("options", {})}


@dataclass(slots=True)
class Sent:
    """One event that was sent, and what it was answered."""

    service_id: str
    kind: str
    data: dict[str, Any]
    webhook_id: str
    status: int
    operation: str = ""
    body: dict[str, Any] = field(default_factory=dict)


class Lives(RuleBasedStateMachine):
    """Several services on one account that also has VMs of somebody else's."""

    new_life: ClassVar[Callable[..., Life]]

    def __init__(self) -> None:
        super().__init__()
        self.life = type(self).new_life(upstream={"settle": 20}, safety={"max_suspensions_per_hour": 3})
        self.sent: list[Sent] = []
        self.asked: dict[str, dict[str, Any]] = {}
        self.in_hand: list[Claimed] = []
        self.abandoned: set[int] = set()
        self.foreign: dict[int, dict[str, Any]] = {}

    def teardown(self) -> None:
        try:
            self.all_is_calm()
        finally:
            self.life.close()

    @initialize(
        powers=st.lists(st.sampled_from(["running", "stopped"]), min_size=1, max_size=2),
        seconds=st.sampled_from([0.0, 1.0, 10.0]),
    )
    def begin(self, powers: list[str], seconds: float) -> None:
        for power in powers:
            vm = self.life.sandbox.add_vm(cpu_cores=1, mem=1024, disk="10G", power=power)
            self.foreign[vm["vmid"]] = without_uptime(vm)
        for service_id in ("1", "2"):
            self.send("order.paid", service_id, plan="vps-s")
        self.life.wait(seconds)

    # What a billing system sends.

    def send(self, kind: str, service_id: str, **data: Any) -> None:
        webhook_id = f"life-{len(self.sent)}"
        answer = self.life.send(kind, service_id, webhook_id=webhook_id, **data)
        assert answer.status in (202, 422), answer
        sent = Sent(service_id, kind, data, webhook_id, answer.status, body=dict(answer.body))
        if answer.status == 202:
            sent.operation = answer.operation
            self.asked.setdefault(answer.operation, data)
        self.sent.append(sent)

    @rule(events=st.lists(EVENTS, min_size=1, max_size=4))
    def billing_sends(self, events: list[tuple[str, str, int, dict[str, Any]]]) -> None:
        for service_id, kind, pick, options in events:
            self.send(kind, service_id, **self.data(service_id, kind, pick, options))
            if kind == "service.link" and self.sent[-1].operation:
                vm = self.foreign[self.sent[-1].data["vmid"]]
                self.asked[self.sent[-1].operation] |= {
                    "size": vm["config"],
                    "runs": vm["power"] == "running",
                }

    def data(self, service_id: str, kind: str, pick: int, options: dict[str, Any]) -> dict[str, Any]:
        plan = [*PLANS, "vps-xxl"][pick % 10 % 4]
        match kind:
            case "order.paid":
                name = {"hostname": "web1.example.com"} if pick % 2 else {}
                return {"plan": plan, "options": options, "recreate": pick % 3 > 0, **name}
            case "service.upgrade":
                return {"options": options, **({"plan": plan} if pick % 2 else {})}
            case "service.suspend":
                return {"force": pick % 2 == 0, "lock": pick % 5 == 0}
            case "service.terminate":
                return {"immediate": pick % 3 == 0 if pick < 90 else "false"}
            case "service.restore":
                return {"backup": self.backup(service_id) if pick % 3 else 1}
            case "service.set_rdns":
                return {"ip": f"192.0.2.{pick % 5 + 1}", "hostname": "x.example.com"}
            case "service.link":
                vmid = sorted(self.foreign)[pick % len(self.foreign)]
                return {"vmid": vmid, "plan": "vps-s", "status": "suspended" if pick % 2 else "active"}
        return {}

    def backup(self, service_id: str) -> int:
        vms = self.life.vms()
        owned = [one.vmid for one in self.services() if one.service_id == service_id and one.vmid in vms]
        return max([time for vmid in owned for time in vms[vmid]["backups"]], default=1)

    @rule(
        service_id=SERVICES,
        seconds=st.sampled_from([0.0, 1.0, 30.0, 30.0, 3_600.0, 90_000.0]),
        way=st.integers(0, 2),
    )
    def terminate_and_undo(self, service_id: str, seconds: float, way: int) -> None:
        self.send("service.terminate", service_id)
        self.life.wait(seconds)
        if way == 2 and self.sent[-1].operation:
            with suppress(WrongState):
                self.life.app.commands.cancel(self.sent[-1].operation, "admin:anna")
        else:
            undoing = ("service.unsuspend", {}) if way else ("order.paid", {"plan": "vps-s"})
            self.send(undoing[0], service_id, **undoing[1])

    @precondition(lambda self: any(one.operation for one in self.sent))
    @rule(pick=PICKS)
    def same_again(self, pick: int) -> None:
        """The same webhook-id: nothing happens twice."""
        accepted = [one for one in self.sent if one.operation]
        one = accepted[pick % len(accepted)]
        before = self.operations()
        answer = self.life.send(one.kind, one.service_id, webhook_id=one.webhook_id, **plain(one.data))
        assert (answer.status, answer.body) == (200, one.body)
        assert self.operations() == before

    # What a person does.

    @rule(what=st.sampled_from(["retry", "cancel", "approve"]), pick=PICKS, choice=PICKS)
    def command(self, what: str, pick: int, choice: int) -> None:
        states = {
            "retry": {State.FAILED},
            "cancel": {State.HELD, *CLAIMABLE},
            "approve": {State.HELD},
        }[what]
        found = [op for op in self.operations() if op.state in states]
        if not found:
            return
        operation = found[pick % len(found)]
        with suppress(WrongState, RequestInvalid):
            if what == "approve":
                self.approve(operation, choice)
            elif what == "cancel":
                self.life.app.commands.cancel(operation.id, "admin:anna")
            else:
                self.life.app.commands.retry(operation.id, "admin:anna")

    def approve(self, operation: Operation, choice: int) -> None:
        aside = set(operation.memo.get("set_aside", []))
        chosen, vmid = "", None
        if operation.kind is Kind.CREATE and operation.error_code in ("create_lost", "leftover_vm"):
            chosen = ["adopt", "not_mine", "send_again"][choice % 3]
            vmid = min(aside) if aside and chosen == "adopt" else None
        self.life.app.commands.approve(operation.id, "admin:anna", choice=chosen, vmid=vmid)
        if operation.error_code in ("create_lost", "leftover_vm"):
            self.abandoned |= aside - {vmid}

    # What happens by itself.

    @rule(steps=st.integers(1, 12))
    def work(self, steps: int) -> None:
        for _ in range(steps):
            if not self.life.step():
                return

    @rule(seconds=st.sampled_from([0.3, 1.0, 3.0, 10.0, 10.0, 30.0, 300.0, 2_000.0, 90_000.0]))
    def time_passes(self, seconds: float) -> None:
        self.life.wait(seconds)

    @rule()
    def worker_takes(self) -> None:
        """A worker claims something, and is slow, or dies."""
        claimed = self.life.take()
        if claimed is not None:
            self.in_hand.append(claimed)

    @precondition(lambda self: self.in_hand)
    @rule(dies=st.booleans())
    def worker_goes_on(self, dies: bool) -> None:
        claimed = self.in_hand.pop(0)
        if not dies:
            self.life.app.advance.advance(claimed)

    @rule(kind=st.sampled_from(FAULTS), path=st.sampled_from(PATHS), times=st.integers(1, 2))
    def upstream_stumbles(self, kind: str, path: str, times: int) -> None:
        self.life.sandbox.fault(kind=kind, path=path, times=times, error="0xa3: timeout")

    @rule(what=st.sampled_from(["job", "job with a VM", "token", "billing", "billing down", "pause"]))
    def trouble(self, what: str) -> None:
        match what:
            case "token":
                self.life.sandbox.settings(token_refused=True)
            case "billing":
                self.life.billing.answer_with(500, times=3)
            case "billing down":
                self.life.billing.answer_with(503)
            case "pause":
                self.life.app.commands.pause("admin:anna", "")
            case _:
                failure = {"error": "0xa3: timeout", "after_vm": what != "job"}
                self.life.sandbox.settings(fail_next_job=failure)

    @rule()
    def repair(self) -> None:
        self.life.sandbox.clear_faults()
        self.life.sandbox.settings(token_refused=False, fail_next_job=None)
        self.life.billing.answer_with(204)
        self.life.app.commands.resume()

    # What must hold.

    @invariant()
    def foreign_vms_are_untouched(self) -> None:
        there = self.life.vms()
        linked = {service.vmid for service in self.services() if service.vmid is not None}
        ended = {op.args["vmid"] for op in self.operations() if op.kind is Kind.LINK and op.vmid is not None}
        for vmid, vm in self.foreign.items():
            if vmid not in linked | ended:
                assert without_uptime(there[vmid]) == vm

    @invariant()
    def nothing_broke(self) -> None:
        assert [op for op in self.operations() if op.error_code == "internal_error"] == []

    @rule()
    def all_is_calm(self) -> None:
        """Everything works again, and everybody has had time enough."""
        self.repair()
        self.in_hand.clear()
        self.life.wait(CALM_S)
        self.check_operations()
        self.check_deliveries()
        self.check_account()
        for service in self.services():
            self.check_service(service.service_id)

    def check_operations(self) -> None:
        """Every one has ended or is held, or waits for one that is held or for a create that failed."""
        for one in self.sent:
            if one.operation:
                operation = self.life.operation(one.operation)
                assert operation.state in ENDED | {State.HELD} or self.is_held_back(operation), operation

    def is_held_back(self, operation: Operation) -> bool:
        return any(
            before.seq < operation.seq and (before.state is State.HELD or self.is_failed_create(before))
            for before in self.life.operations(operation.service_id)
        )

    def is_failed_create(self, operation: Operation) -> bool:
        """One of a service that had ended already has nothing that could be waited for."""
        is_create = operation.kind is Kind.CREATE and operation.state is State.FAILED
        return is_create and operation.error_code != "terminated"

    def check_deliveries(self) -> None:
        """All of them were taken, those of a service in the order in which they were to be told."""
        for service in self.services():
            rows = [row for op in self.life.operations(service.service_id) for row in self.deliveries(op.id)]
            rows.sort(key=lambda row: row.seq)
            assert {row.state for row in rows} <= {DeliveryState.DONE}
            taken = list(dict.fromkeys(one.webhook_id for one in self.life.told(service.service_id)))
            assert taken == [row.id for row in rows]

    def deliveries(self, operation: str) -> list[Any]:
        return self.life.app.store.read(lambda verbs: verbs.deliveries_of_operation(operation))

    def check_account(self) -> None:
        """One VM for each living service, none for the others, and none that nobody knows of."""
        there = self.life.vms()
        living = {service.vmid for service in self.services() if service.vmid is not None}
        linked = {op.vmid for op in self.operations() if op.kind is Kind.LINK}
        foreign = set(self.foreign) - linked
        assert living | foreign <= set(there)
        assert set(there) - living - foreign - self.abandoned <= set(self.undecided())
        for service in self.services():
            is_alive = service.status in (ServiceStatus.ACTIVE, ServiceStatus.SUSPENDED)
            assert (service.vmid is not None) is (is_alive or service.status is ServiceStatus.TERMINATING)

    def undecided(self) -> Iterator[int]:
        """The VMs that a person is asked about, or will be before anything goes on for that service."""
        jobs = {str(job["jobId"]): job["vmid"] for job in self.life.sandbox.state()["jobs"]}
        for operation in self.operations():
            if operation.state is State.HELD:
                yield from operation.memo.get("set_aside", [])
            if (
                operation.kind is Kind.CREATE
                and self.service_status(operation) is not ServiceStatus.TERMINATED
            ):
                yield jobs.get(operation.job_id) or 0

    def service_status(self, operation: Operation) -> ServiceStatus:
        return self.life.service(operation.service_id).status

    def check_service(self, service_id: str) -> None:
        """Its VM is what was asked for last: size, power, password."""
        expected = Expected()
        for operation in self.life.operations(service_id):
            sent = any(line.what == "intent" for line in self.life.timeline(operation.id))
            expected = expected.follow(operation, self.asked.get(operation.id, {}), sent=sent)
        service = self.life.service(service_id)
        assert (service.vmid is not None) is expected.alive, self.story(service_id)
        if service.vmid is None or service.status is ServiceStatus.TERMINATING:
            return
        vm = self.life.vms()[service.vmid]
        assert (service.status is ServiceStatus.SUSPENDED) is expected.suspended, self.story(service_id)
        if expected.size is not None:
            assert size_of(vm["config"]) == size_of(expected.size), self.story(service_id)
        if expected.runs is not None:
            assert vm["power"] == ("running" if expected.runs else "stopped"), self.story(service_id)
        told = [one.data["password"] for one in self.life.told(service_id) if "password" in one.data]
        if told and expected.password_known:
            assert told[-1] == vm["password"], self.story(service_id)

    def story(self, service_id: str) -> str:
        """What became of each operation, for whoever reads a failure."""
        return "\n".join(
            f"{op.kind} {op.state} {op.error_code} {self.asked.get(op.id, op.args)}"
            for op in self.life.operations(service_id)
        )

    def operations(self) -> list[Operation]:
        found = self.life.app.store.read(lambda verbs: verbs.operations(500, None))
        return sorted(found, key=lambda operation: operation.seq)

    def services(self) -> list[Any]:
        return self.life.app.store.read(lambda verbs: verbs.services(500, None))


def plain(data: dict[str, Any]) -> dict[str, Any]:
    """What was sent, without what is remembered beside it."""
    return {name: value for name, value in data.items() if name not in ("size", "runs")}


def without_uptime(vm: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in vm.items() if name != "uptime"}


def size_of(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, "disk": disk_megabytes(config["disk"])}


@pytest.mark.parametrize("seeds", [1, pytest.param(20, marks=pytest.mark.long)])
def test_lives_end_as_asked(make_life: Callable[..., Life], seeds: int) -> None:
    machine = type("Machine", (Lives,), {"new_life": staticmethod(make_life)})
    for _ in range(seeds):
        number = random.SystemRandom().getrandbits(32)
        print(f"to see this run again: --hypothesis-seed={number}")
        run_machine(seed(number)(machine), settings=PROFILE)
