"""Lifecycle hooks in the engine as it is wired, and the examples of `hooks/lifecycle/` at work."""

from __future__ import annotations

import base64
import copy
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.update
import pytest

from provisioner import app as wiring
from provisioner.cli.check import Finding, findings
from provisioner.engine.deliver import LEASE_MS
from provisioner.errors import StoreUnavailable
from provisioner.lifecycle import load
from provisioner.operation import State
from provisioner.web import create_app
from tests.heard import capture_logs

EXAMPLES = Path(__file__).parents[2] / "hooks" / "lifecycle"
DAY_S = 86_400.0
PATIENCE_S = 60.0

WRITES_DOWN = "import ledger\ndef {name}(operation, service): ledger.calls.append((operation, service))\n"


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that hook files and a test share; `calls` is what the files put down."""
    module = ModuleType("ledger")
    vars(module).update(calls=[], entered=threading.Event(), let_go=threading.Event())
    monkeypatch.setitem(sys.modules, "ledger", module)
    return module


@pytest.fixture
def hooked(worlds: Callable[..., Any], tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Makes a world with hook files, by their names (`.py` is added)."""
    before = {*sys.modules}

    def make(files: dict[str, str], **tables: dict[str, Any]) -> Any:
        folder = tmp_path / "hooks"
        folder.mkdir(exist_ok=True)
        for name, source in files.items():
            (folder / f"{name}.py").write_text(source)
        return worlds(hooks={"directory": str(folder)}, **tables)

    yield make
    for name in {*sys.modules} - before:
        if name.startswith("provisioner_hooks_"):
            del sys.modules[name]


def called(world: Any) -> int:
    """Calls the after-hooks that are due; says for how many deliveries."""
    count = 0
    while (delivery := world.app.deliver.claim_hooks()) is not None:
        world.app.deliver.call_hooks(delivery)
        count += 1
    return count


def hook_errors(world: Any, operation: str) -> list[str]:
    entries = world.app.store.read(lambda verbs: verbs.timeline(operation))
    return [entry.detail["message"] for entry in entries if entry.what == "hook_failed"]


# Before


VETO = """import ledger
def before_create():
    ledger.calls.append(__name__)
    raise ValueError("no")
"""


def test_before_hook_holds_with_its_words(hooked: Callable[..., Any], ledger: ModuleType) -> None:
    world = hooked({"a": VETO})
    held = world.done(world.order())
    assert (held.state, held.error_code) == (State.HELD, "hook")
    assert held.error_detail == "before_create in a.py, line 4: ValueError: no"
    assert world.vmids() == []
    world.idle()
    (told,) = world.told()
    assert (told.type, told.data["kind"]) == ("operation.held", "create")
    assert told.data["error"] == {"code": "hook", "message": "The provider checks this before it goes on."}


def test_approved_operation_is_not_asked_again(hooked: Callable[..., Any], ledger: ModuleType) -> None:
    world = hooked({"a": VETO})
    order = world.order()
    world.done(order)
    world.app.commands.approve(order, "admin:admin")
    assert world.done(order).state is State.SUCCEEDED
    assert ledger.calls == ["provisioner_hooks_a"]
    assert len(world.vmids()) == 1


def test_approval_lifts_one_objection(hooked: Callable[..., Any], ledger: ModuleType) -> None:
    files = {"a": VETO, "b": VETO}
    world = hooked(files)
    order = world.order()
    world.done(order)
    world.app.commands.approve(order, "admin:admin")
    held = world.done(order)
    assert (held.state, held.error_detail) == (
        State.HELD,
        "before_create in b.py, line 4: ValueError: no",
    )
    world.app.commands.approve(order, "admin:admin")
    assert world.done(order).state is State.SUCCEEDED
    assert ledger.calls == ["provisioner_hooks_a", "provisioner_hooks_b"]


def test_cancelled_operation_sends_nothing(hooked: Callable[..., Any], ledger: ModuleType) -> None:
    told = {name: WRITES_DOWN.format(name=name) for name in ("after_failed", "after_create")}
    world = hooked({"a": VETO, **told})
    order = world.order()
    world.done(order)
    world.idle()
    assert ([one.type for one in world.told()], called(world)) == (["operation.held"], 0)
    world.app.commands.cancel(order, "admin:admin")
    world.run()
    assert world.operation(order).state is State.CANCELLED
    assert world.sandbox.calls() == []
    assert called(world) == 1
    operation, _ = ledger.calls[-1]
    assert (operation.state, operation.error_code) == ("cancelled", "cancelled")


def test_before_hook_is_asked_once(hooked: Callable[..., Any], ledger: ModuleType) -> None:
    world = hooked({"a": WRITES_DOWN.format(name="before_terminate")})
    world.done(world.order())
    world.sandbox.fault(method="GET", path="/datacenter/server", kind="error", times=3)
    terminate = world.done(world.event("service.terminate", immediate=True))
    assert (terminate.state, terminate.attempts) == (State.SUCCEEDED, 4)
    assert len(ledger.calls) == 1


@pytest.mark.parametrize("raised", ["SystemExit(3)", "KeyboardInterrupt()", "GeneratorExit()"])
def test_ending_the_program_only_holds(hooked: Callable[..., Any], raised: str) -> None:
    world = hooked({"a": f"def before_create(): raise {raised}"})
    held = world.done(world.order())
    assert (held.state, held.error_code) == (State.HELD, "hook")


def test_hook_changes_nothing_that_was_asked(hooked: Callable[..., Any]) -> None:
    source = (
        "def before_create(operation): operation.args['spec']['mem'] = 99999; operation.args['plan'] = 'x'"
    )
    world = hooked({"a": source})
    order = world.order()
    asked = world.operation(order).args
    assert world.done(order).args == asked
    assert world.sandbox.state()["vms"][0]["config"]["mem"] == 1024


# After


def test_after_hook_waits_for_the_delivery(hooked: Callable[..., Any], ledger: ModuleType) -> None:
    world = hooked({"a": WRITES_DOWN.format(name="after_create")})
    world.billing.go_down()
    order = world.order()
    world.run(until=lambda: world.operation(order).state is State.DELIVERING)
    world.run(30)
    assert (called(world), ledger.calls) == (0, [])
    world.billing.come_up()
    world.done(order)
    assert called(world) == 1
    ((operation, service),) = ledger.calls
    assert (operation.id, operation.state, service.status) == (order, "succeeded", "active")
    assert (service.vmid, list(service.ips)) == (world.service().vmid, list(world.service().ips))
    world.run(DAY_S)
    assert called(world) == 0


def test_after_hook_survives_a_crash(hooked: Callable[..., Any], ledger: ModuleType) -> None:
    world = hooked({"a": WRITES_DOWN.format(name="after_create")})
    world.done(world.order())
    delivery = world.app.deliver.claim_hooks()
    assert delivery is not None
    replace(world.app.deliver, store=Dying(world.app.store)).call_hooks(delivery)
    assert len(ledger.calls) == 1
    world.reopen()
    assert called(world) == 0  # its lease still stands
    world.clock.advance(LEASE_MS / 1000)
    assert (called(world), len(ledger.calls)) == (1, 2)


@dataclass
class Dying:
    """A store whose process ends before it is written to."""

    store: Any

    def read(self, unit: Any) -> Any:
        return self.store.read(unit)

    def write(self, unit: Any) -> Any:
        raise StoreUnavailable("the store did not answer in time")


def test_raising_after_hook_disturbs_nothing(hooked: Callable[..., Any], ledger: ModuleType) -> None:
    world = hooked(
        {"a": "def after_create(): raise SystemExit('tired')", "b": WRITES_DOWN.format(name="after_create")}
    )
    order = world.order()
    world.done(order)
    assert (called(world), len(ledger.calls)) == (1, 1)
    assert hook_errors(world, order) == ["after_create in a.py, line 1: SystemExit: tired"]
    assert world.operation(order).state is State.SUCCEEDED
    assert called(world) == 0


def test_failure_is_told_to_after_failed(hooked: Callable[..., Any], ledger: ModuleType) -> None:
    files = {name: WRITES_DOWN.format(name=name) for name in ("after_failed", "after_create")}
    world = hooked(files)
    world.sandbox.settings(fail_next_job={"error": "0xb0: over the limits"})
    order = world.order()
    world.done(order)
    world.idle()
    assert called(world) == 1
    ((operation, service),) = ledger.calls
    assert (operation.state, operation.error_code, service.status) == ("failed", "0xb0", "failed")
    world.app.commands.retry(order, "admin:admin")
    world.done(order)
    assert called(world) == 1
    assert ledger.calls[-1][0].state == "succeeded"


def test_given_up_delivery_is_a_failure(hooked: Callable[..., Any], ledger: ModuleType) -> None:
    files = {name: WRITES_DOWN.format(name=name) for name in ("after_failed", "after_create")}
    world = hooked(files, retry={"deliveries_give_up_after": 60})
    order = given_up(world)
    assert called(world) == 1
    ((operation, _),) = ledger.calls
    assert (operation.state, operation.error_code) == ("failed", "delivery_failed")
    world.billing.come_up()
    world.app.commands.retry(order, "admin:admin")
    world.done(order)
    assert called(world) == 1
    assert (ledger.calls[-1][0].state, len(ledger.calls)) == ("succeeded", 2)


def test_retry_before_the_hooks_is_posted(hooked: Callable[..., Any], ledger: ModuleType) -> None:
    files = {name: WRITES_DOWN.format(name=name) for name in ("after_failed", "after_create")}
    world = hooked(files, retry={"deliveries_give_up_after": 60})
    order = given_up(world)
    world.app.commands.retry(order, "admin:admin")
    world.billing.come_up()
    assert (called(world), ledger.calls) == (1, [])
    world.idle()
    assert world.operation(order).state is State.SUCCEEDED
    assert (called(world), len(ledger.calls)) == (1, 1)


def test_retry_during_the_hooks_is_posted(hooked: Callable[..., Any], ledger: ModuleType) -> None:
    source = "import ledger\ndef after_failed(operation): ledger.retry(operation.id)\n"
    world = hooked({"a": source}, retry={"deliveries_give_up_after": 60})
    vars(ledger).update(retry=lambda order: world.app.commands.retry(order, "admin:admin"))
    order = given_up(world)
    world.billing.come_up()
    assert (called(world), hook_errors(world, order)) == (1, [])
    world.idle()
    assert world.operation(order).state is State.SUCCEEDED


def given_up(world: Any) -> str:
    world.billing.go_down()
    order: str = world.order()
    world.run(600, until=lambda: world.operation(order).state is State.FAILED)
    return order


def test_nothing_piles_up_without_hooks(hooked: Callable[..., Any], ledger: ModuleType) -> None:
    world = hooked({"a": WRITES_DOWN.format(name="after_suspend")})
    world.done(world.order())
    (world.folder / "hooks" / "b.py").write_text(WRITES_DOWN.format(name="after_create"))
    world.reopen()
    world.done(world.event("service.suspend"))
    assert called(world) == 1
    assert [operation.kind for operation, _ in ledger.calls] == ["suspend"]


def test_hooks_see_no_password(hooked: Callable[..., Any], ledger: ModuleType) -> None:
    names = [f"{moment}_{kind}" for moment in ("before", "after") for kind in ("create", "reset_password")]
    world = hooked({name: WRITES_DOWN.format(name=name) for name in names})
    world.done(world.order())
    created = world.sandbox.state()["vms"][0]["password"]
    world.done(world.event("service.reset_password"))
    called(world)
    assert len(ledger.calls) == 4
    reset = world.sandbox.state()["vms"][0]["password"]
    assert created not in repr(ledger.calls)
    assert reset not in repr(ledger.calls)
    assert {one.data["password"] for one in world.told() if "password" in one.data} == {created, reset}


def test_slow_after_hook_holds_up_no_order(
    hooked: Callable[..., Any], ledger: ModuleType, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(clock), "__call__", lambda _: wiring.wall_clock())
    source = """import ledger
def after_create(service):
    ledger.calls.append(service)
    ledger.entered.set()
    ledger.let_go.wait()
"""
    world = hooked({"a": source}, upstream={"job_poll": 0.1})
    world.sandbox.settings(job_queued=0.0, job_executing=0.0)
    wiring.begin(world.app)
    world.app.worker.start()
    try:
        world.order()
        assert ledger.entered.wait(PATIENCE_S)
        for number in range(2 * wiring.DELIVERY_THREADS):
            world.order(f"{2000 + number}")
        world.billing.wait_for(1 + 2 * wiring.DELIVERY_THREADS, PATIENCE_S)
        assert len(ledger.calls) == 1
    finally:
        ledger.let_go.set()
        world.app.worker.stop()


# Files that do not load


def test_broken_file_is_said_at_start(hooked: Callable[..., Any], ledger: ModuleType) -> None:
    files = {"broken": "def before_create(:", "whole": WRITES_DOWN.format(name="after_create")}
    with capture_logs() as logs:
        world = hooked(files)
    (line,) = [line for line in logs if line["event"] == "hook_not_loaded"]
    assert "broken.py, line 1" in line["problem"]
    assert world.done(world.order()).state is State.SUCCEEDED
    assert (called(world), len(ledger.calls)) == (1, 1)


def test_broken_file_is_a_warning_without_its_words(hooked: Callable[..., Any]) -> None:
    """Anybody may read `/readyz`, and what a file raises may be anything."""
    world = hooked({"whole": "def after_create(): pass", "broken": "raise ValueError('canary')"})
    (warning,) = create_app(wiring.surfaces(world.app)).test_client().get("/readyz").json["warnings"]
    assert warning.startswith("hook_not_loaded: broken.py of [hooks] directory is left out")
    assert "canary" not in warning


def test_check_names_broken_files(hooked: Callable[..., Any]) -> None:
    world = hooked({"whole": "def after_create(): pass", "broken": "def before_teminate(): pass"})
    assert [(one.result, one.message.split("/")[-1]) for one in hook_findings(world)] == [
        ("failed", HOOKS_ARE)
    ]
    (world.folder / "hooks" / "broken.py").unlink()
    assert [(one.result, one.message.split("/")[-1]) for one in hook_findings(world)] == [
        ("ok", "hooks: files: 1")
    ]


HOOKS_ARE = (
    "broken.py: NameError: before_teminate is no hook: there are before_<kind>, after_<kind> and after_failed"
)


def hook_findings(world: Any) -> list[Finding]:
    world.app.close()
    config = world.folder / "config.toml"
    config.touch(mode=0o600)
    found = findings(config, world.app.settings, offline=True)
    return [finding for finding in found if finding.check == "hooks"]


# The examples


def example(name: str) -> dict[str, str]:
    return {name: (EXAMPLES / f"{name}.py").read_text()}


def test_all_examples_load(settled: None, tmp_path: Path) -> None:
    lifecycle = load(EXAMPLES)
    assert lifecycle.problems == []
    assert lifecycle.files == ["dns_record.py", "notify_on_failure.py", "veto_young_termination.py"]


@pytest.mark.parametrize("name", ["DNS_SERVER", "DNS_ZONE", "DNS_KEY", "NOTIFY_URL"])
def test_missing_setting_is_a_problem(settled: None, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    (problem,) = load(EXAMPLES).problems
    assert f"KeyError: '{name}'" in problem


def test_young_service_is_not_terminated(hooked: Callable[..., Any]) -> None:
    world = hooked(example("veto_young_termination"))
    world.done(world.order())
    world.clock.advance(DAY_S - 3600)
    terminate = world.event("service.terminate", immediate=True)
    held = world.done(terminate)
    assert (held.state, held.error_code) == (State.HELD, "hook")
    assert "TooYoung: service 1001 is only 23 h old: approve or cancel its termination" in held.error_detail
    assert len(world.vmids()) == 1
    world.app.commands.approve(terminate, "admin:admin")
    assert world.done(terminate).state is State.SUCCEEDED
    assert world.vmids() == []


def test_vetoed_terminate_can_be_cancelled(hooked: Callable[..., Any]) -> None:
    world = hooked(example("veto_young_termination"))
    world.done(world.order())
    terminate = world.event("service.terminate")
    world.done(terminate)
    world.app.commands.cancel(terminate, "admin:admin")
    world.run()
    assert (world.service().status, len(world.vmids())) == ("active", 1)
    assert world.sandbox.state()["vms"][0]["power"] == "running"


def test_grown_service_is_terminated(hooked: Callable[..., Any]) -> None:
    world = hooked(example("veto_young_termination"))
    world.done(world.order())
    world.clock.now = world.service().created_at + round(DAY_S * 1000)
    assert world.done(world.event("service.terminate", immediate=True)).state is State.SUCCEEDED


def test_order_without_vm_is_terminated(hooked: Callable[..., Any]) -> None:
    world = hooked(example("veto_young_termination"))
    world.sandbox.settings(fail_next_job={"error": "0xb0: over the limits"})
    world.done(world.order())
    assert world.done(world.event("service.terminate")).state is State.SUCCEEDED


class Chat:
    """Takes messages as JSON over HTTP, on a port of the loopback address."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        chat = self

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                chat.messages.append(json.loads(self.rfile.read(length)))
                self.send_response(chat.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing: a test's output is its own."""

        self._server = HTTPServer(("127.0.0.1", 0), Answers)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


# Apprise loads all that it can reach when it is first used, and some of that is old.
loads_apprise = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    with closing(Chat()) as chat:
        monkeypatch.setenv("NOTIFY_URL", chat.address)
        yield chat


@loads_apprise
def test_operator_is_told_of_failure(hooked: Callable[..., Any], chat: Chat) -> None:
    world = hooked(example("notify_on_failure"))
    world.sandbox.settings(fail_next_job={"error": "0xb0: over the limits"})
    order = world.order()
    world.done(order)
    world.idle()
    assert (called(world), hook_errors(world, order)) == (1, [])
    (message,) = chat.messages
    assert (message["title"], message["type"]) == ("create of service 1001 failed", "failure")
    assert message["message"].startswith("0xb0: ")
    assert f"provisioner operations show {order}" in message["message"]


@loads_apprise
def test_operator_is_spared_the_cancelled(hooked: Callable[..., Any], chat: Chat) -> None:
    world = hooked({**example("notify_on_failure"), "veto": "def before_create(): 1 / 0"})
    order = world.order()
    world.done(order)
    world.app.commands.cancel(order, "admin:admin")
    world.idle()
    assert (called(world), chat.messages) == (1, [])


@loads_apprise
def test_refused_message_is_in_the_timeline(hooked: Callable[..., Any], chat: Chat) -> None:
    chat.status = 500
    world = hooked(example("notify_on_failure"))
    world.sandbox.settings(fail_next_job={"error": "0xb0: over the limits"})
    order = world.order()
    world.done(order)
    world.idle()
    called(world)
    (message,) = hook_errors(world, order)
    assert "NotSent: no message went out" in message
    assert chat.address not in message


class NameServer:
    """A zone that takes signed updates over UDP: of RFC 2136 what the example uses, and no more."""

    KEY = "provisioner-key.:" + base64.b64encode(b"a key for the tests of the zone").decode()

    def __init__(self) -> None:
        name, _, secret = self.KEY.partition(":")
        self.records: dict[str, dict[str, set[str]]] = {}
        self.updates = 0
        self.silent = self.refuses = False
        self._keyring = dns.tsigkeyring.from_text({name: secret})
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def of(self, name: str, kind: str) -> set[str]:
        return self.records.get(f"{name}.", {}).get(kind, set())

    def _serve(self) -> None:
        while True:
            wire, sender = self._socket.recvfrom(65535)
            if not wire:
                return
            if not self.silent:
                self._socket.sendto(self._answer(wire), sender)

    def _answer(self, wire: bytes) -> bytes:
        try:
            update = dns.message.from_wire(wire, keyring=self._keyring)
        except (dns.tsig.BadSignature, dns.message.UnknownTSIGKey):
            unsigned = dns.message.from_wire(wire, keyring=False)
            return _refusal(unsigned)
        if not update.had_tsig:
            return _refusal(update)
        assert isinstance(update, dns.update.UpdateMessage)
        self.updates += 1
        answer = dns.message.make_response(update)
        answer.set_rcode(self._judge(update))
        if answer.rcode() == dns.rcode.NOERROR:
            self._apply(update)
        return answer.to_wire()

    def _judge(self, update: dns.update.UpdateMessage) -> dns.rcode.Rcode:
        if self.refuses:
            return dns.rcode.REFUSED
        for asked in update.prerequisite:
            there = self.records.get(asked.name.to_text(), {})
            kind = dns.rdatatype.to_text(asked.rdtype)
            if asked.deleting == dns.rdataclass.NONE and kind == "ANY":
                if there:
                    return dns.rcode.YXDOMAIN
            elif asked.deleting is None:
                if there.get(kind) != {rdata.to_text() for rdata in asked}:
                    return dns.rcode.NXRRSET
            else:
                return dns.rcode.NOTIMP
        return dns.rcode.NOERROR

    def _apply(self, update: dns.update.UpdateMessage) -> None:
        for change in update.update:
            name, kind = change.name.to_text(), dns.rdatatype.to_text(change.rdtype)
            there = self.records.setdefault(name, {})
            if change.deleting == dns.rdataclass.ANY:
                there.pop(kind, None)
            else:
                there.setdefault(kind, set()).update(rdata.to_text() for rdata in change)
            if not there:
                del self.records[name]


def _refusal(update: dns.message.Message) -> bytes:
    refusal = dns.message.Message(id=update.id)
    refusal.flags = dns.flags.QR
    refusal.set_opcode(dns.opcode.UPDATE)
    refusal.set_rcode(dns.rcode.REFUSED)
    return refusal.to_wire()


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    with closing(NameServer()) as server:
        monkeypatch.setenv("DNS_SERVER", "127.0.0.1")
        monkeypatch.setenv("DNS_PORT", str(server.port))
        monkeypatch.setenv("DNS_ZONE", "vps.example.com")
        monkeypatch.setenv("DNS_KEY", server.KEY)
        yield server


@pytest.fixture
def settled(zone: NameServer, chat: Chat) -> None:
    """Everything that the examples read of the environment is there."""


WEB1 = "web1.vps.example.com"
FOREIGN = {f"{WEB1}.": {"A": {"198.51.100.99"}, "TXT": {'"somebody else"'}}}


def test_new_vm_gets_its_records(hooked: Callable[..., Any], zone: NameServer) -> None:
    world = hooked(example("dns_record"))
    order = world.order(hostname=WEB1, options={"ip_count": 2})
    world.done(order)
    addresses = world.service().ips
    with_ipv6 = replace(world.service(), ips=(*addresses, "2001:db8::1"))
    world.app.store.write(lambda verbs: verbs.save_service(with_ipv6))
    assert (called(world), hook_errors(world, order)) == (1, [])
    assert zone.of(WEB1, "A") == {*addresses}
    assert zone.of(WEB1, "AAAA") == {"2001:db8::1"}
    assert len(zone.of(WEB1, "TXT")) == 1


def test_terminated_vm_loses_its_records(hooked: Callable[..., Any], zone: NameServer) -> None:
    world = hooked(example("dns_record"))
    world.done(world.order(hostname=WEB1))
    world.done(world.order("1002", hostname="web2.vps.example.com"))
    called(world)
    terminate = world.event("service.terminate", immediate=True)
    world.done(terminate)
    assert (called(world), hook_errors(world, terminate)) == (1, [])
    assert [*zone.records] == ["web2.vps.example.com."]


def test_told_twice_makes_the_same_records(hooked: Callable[..., Any], zone: NameServer) -> None:
    world = hooked(example("dns_record"))
    order = world.order(hostname=WEB1)
    world.done(order)
    delivery = world.app.deliver.claim_hooks()
    assert delivery is not None
    replace(world.app.deliver, store=Dying(world.app.store)).call_hooks(delivery)
    first = copy.deepcopy(zone.records)
    world.clock.advance(LEASE_MS / 1000)
    assert (called(world), hook_errors(world, order)) == (1, [])
    assert (zone.records, zone.updates) == (first, 3)


def test_foreign_records_stay(hooked: Callable[..., Any], zone: NameServer) -> None:
    world = hooked(example("dns_record"))
    zone.records = copy.deepcopy(FOREIGN)
    order = world.order(hostname=WEB1)
    world.done(order)
    called(world)
    (error,) = hook_errors(world, order)
    assert f"DnsRefused: {WEB1} is somebody else's" in error
    terminate = world.event("service.terminate", immediate=True)
    world.done(terminate)
    assert (called(world), hook_errors(world, terminate)) == (1, [])
    assert zone.records == FOREIGN


@pytest.mark.parametrize("hostname", [None, "www.example.com", "vps.example.com", "evilvps.example.com"])
def test_names_outside_the_zone_are_left(
    hooked: Callable[..., Any], zone: NameServer, hostname: str | None
) -> None:
    world = hooked(example("dns_record"))
    order = world.order(hostname=hostname)
    world.done(order)
    world.done(world.event("service.terminate", immediate=True))
    assert (called(world), hook_errors(world, order), zone.updates) == (2, [], 0)


def test_service_ordered_anew_keeps_its_name(hooked: Callable[..., Any], zone: NameServer) -> None:
    world = hooked(example("dns_record"))
    world.done(world.order(hostname=WEB1))
    called(world)
    world.done(world.event("service.terminate", immediate=True))
    assert world.app.deliver.claim_hooks() is not None  # and the process died with it
    world.done(world.order(hostname=WEB1, recreate=True))
    assert called(world) == 1
    world.clock.advance(LEASE_MS / 1000)
    assert called(world) == 1
    assert zone.of(WEB1, "A") == {*world.service().ips}


def test_terminated_service_gets_no_record(hooked: Callable[..., Any], zone: NameServer) -> None:
    world = hooked(example("dns_record"))
    world.done(world.order(hostname=WEB1))
    assert world.app.deliver.claim_hooks() is not None  # and the process died with it
    world.done(world.event("service.terminate", immediate=True))
    assert called(world) == 1
    world.clock.advance(LEASE_MS / 1000)
    assert (called(world), zone.records) == (1, {})


def test_refusal_is_in_the_timeline(hooked: Callable[..., Any], zone: NameServer) -> None:
    zone.refuses = True
    world = hooked(example("dns_record"))
    order = world.order(hostname=WEB1)
    world.done(order)
    called(world)
    terminate = world.event("service.terminate", immediate=True)
    world.done(terminate)
    called(world)
    for operation in (order, terminate):
        (error,) = hook_errors(world, operation)
        assert error.endswith(f"DnsRefused: the name server answers REFUSED for {WEB1}")


def test_wrong_key_is_in_the_timeline(
    hooked: Callable[..., Any], zone: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DNS_KEY", "provisioner-key.:" + base64.b64encode(b"another key").decode())
    world = hooked(example("dns_record"))
    order = world.order(hostname=WEB1)
    world.done(order)
    called(world)
    (error,) = hook_errors(world, order)
    assert "TSIG" in error
    assert zone.records == {}


def test_silent_name_server_is_in_the_timeline(hooked: Callable[..., Any], zone: NameServer) -> None:
    zone.silent = True
    world = hooked(example("dns_record"))
    sys.modules["provisioner_hooks_dns_record"].TIMEOUT_S = 0.1
    order = world.order(hostname=WEB1)
    world.done(order)
    called(world)
    (error,) = hook_errors(world, order)
    assert "Timeout: " in error
    assert world.operation(order).state is State.SUCCEEDED
