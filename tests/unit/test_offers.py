"""What a customer may have done, by how the service stands and what was last seen of its VM."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provisioner.engine.looks import Look
from provisioner.engine.offers import CUSTOMERS, Offers, Standing, WhyNot
from provisioner.event_models import Bare, Reinstall, Restore, SetRdns
from provisioner.operation import Kind, Operation, State
from provisioner.service import Service, ServiceStatus

NOW = 1_800_000_000_000
SERVICE = Service(
    billing="shop", service_id="1001", seq=1, status=ServiceStatus.ACTIVE, plan="vps-s", spec=None,
    config=None, vmid=4001, ips=("192.0.2.10", "2001:db8::1"), ips_complete=True, hostname="web1.example.com",
    client_id="7",
    suspend_reason="", locked=False, ran_before_suspend=None, created_at=NOW, updated_at=NOW,
)  # fmt: skip
OPERATION = Operation(
    id="op_1", seq=1, billing="shop", service_id="1001", kind=Kind.REBOOT, state=State.WAITING, step="look",
    args={}, memo={}, sent=True, attempts=1, failures=0, claims=1, next_run_at=NOW, failing_since=None,
    expires_at=None, error_code="", error_message="", error_detail="", job_id="", vmid=4001, actor="x",
    event="",
    approvals=(), created_at=NOW, updated_at=NOW,
)  # fmt: skip
STANDING = Standing(SERVICE, templates=("Debian10.0", "Ubuntu20.04"))
RUNNING = Look(4001, at=NOW, state="running", uptime_s=60, backups=(1_700_000_000,), backups_at=NOW)
OFF = replace(RUNNING, state="stopped", uptime_s=0)
POWER = {Kind.SHUTDOWN, Kind.STOP, Kind.REBOOT, Kind.FORCE_REBOOT, Kind.RESET_PASSWORD}


def offered(standing: Standing = STANDING, look: Look = RUNNING) -> set[Kind]:
    offers = Offers(standing, look)
    return {kind for kind in Kind if offers.why_not(kind) is None}


def test_running_server_offers_all_but_a_start() -> None:
    assert offered() == set(CUSTOMERS) - {Kind.START}
    assert Offers(STANDING, RUNNING).why_not(Kind.START) is WhyNot.RUNS


def test_server_that_is_off_offers_a_start_alone_of_what_needs_power() -> None:
    assert offered(look=OFF) == set(CUSTOMERS) - POWER
    assert {Offers(STANDING, OFF).why_not(kind) for kind in POWER} == {WhyNot.IS_OFF}


@pytest.mark.parametrize("kind", sorted(set(Kind) - set(CUSTOMERS)))
def test_what_costs_or_ends_something_is_never_offered(kind: Kind) -> None:
    assert Offers(STANDING, RUNNING).why_not(kind) is WhyNot.NOT_OFFERED


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (ServiceStatus.PENDING, WhyNot.PENDING),
        (ServiceStatus.SUSPENDED, WhyNot.SUSPENDED),
        (ServiceStatus.TERMINATING, WhyNot.TERMINATING),
        (ServiceStatus.TERMINATED, WhyNot.TERMINATED),
        (ServiceStatus.FAILED, WhyNot.FAILED),
    ],
)
def test_only_an_active_service_offers_anything(status: ServiceStatus, why: WhyNot) -> None:
    offers = Offers(replace(STANDING, service=replace(SERVICE, status=status)), RUNNING)
    assert {offers.why_not(kind) for kind in CUSTOMERS} == {why}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"under_way": (OPERATION,)}, WhyNot.UNDER_WAY),
        ({"under_way": (replace(OPERATION, state=State.HELD),)}, WhyNot.HELD),
        ({"is_paused": True}, WhyNot.MAINTENANCE),
        ({"service": replace(SERVICE, vmid=None)}, WhyNot.PENDING),
    ],
)
def test_nothing_is_offered_meanwhile(change: dict[str, Any], why: WhyNot) -> None:
    offers = Offers(replace(STANDING, **change), RUNNING)
    assert {offers.why_not(kind) for kind in CUSTOMERS} == {why}


@pytest.mark.parametrize(
    "look",
    [
        Look(4001),
        replace(RUNNING, state="migrating"),
        replace(RUNNING, problem="no answer"),
        replace(RUNNING, at=NOW - 1),
    ],
    ids=["never seen", "another word", "unreachable", "before the last operation"],
)
def test_power_is_not_offered_unless_it_was_seen_since(look: Look) -> None:
    standing = replace(STANDING, last=replace(OPERATION, state=State.SUCCEEDED))
    assert {Offers(standing, look).why_not(kind) for kind in POWER | {Kind.START}} == {WhyNot.NOT_SEEN}


def test_restore_needs_a_backup_that_is_listed() -> None:
    assert Offers(STANDING, replace(RUNNING, backups=None)).why_not(Kind.RESTORE) is WhyNot.NOT_SEEN
    assert Offers(STANDING, replace(RUNNING, backups=())).why_not(Kind.RESTORE) is WhyNot.NO_BACKUP
    offers = Offers(STANDING, RUNNING)
    assert offers.refusal(Kind.RESTORE, Restore(backup=1_700_000_000)) is None
    assert offers.refusal(Kind.RESTORE, Restore(backup=1_700_000_001)) is WhyNot.NOT_A_BACKUP


def test_reinstall_needs_a_template_of_the_list() -> None:
    assert Offers(replace(STANDING, templates=()), RUNNING).why_not(Kind.REINSTALL) is WhyNot.NO_TEMPLATE
    offers = Offers(STANDING, RUNNING)
    assert offers.refusal(Kind.REINSTALL, Reinstall(template="Debian10.0")) is None
    assert offers.refusal(Kind.REINSTALL, Reinstall(template="Windows")) is WhyNot.NOT_A_TEMPLATE
    assert offers.refusal(Kind.REINSTALL, Reinstall()) is WhyNot.NOT_A_TEMPLATE


@pytest.mark.parametrize(
    ("ip", "why"),
    [("192.0.2.10", None), ("2001:db8:0:0::1", None), ("192.0.2.11", WhyNot.NOT_ITS_ADDRESS)],
)
def test_reverse_name_needs_an_address_of_its_own(ip: str, why: WhyNot | None) -> None:
    asked = SetRdns.model_validate({"ip": ip, "hostname": "mail.example.com"})
    assert Offers(STANDING, RUNNING).refusal(Kind.SET_RDNS, asked) is why


def test_reverse_name_needs_an_address_that_is_known() -> None:
    standing = replace(STANDING, service=replace(SERVICE, ips=()))
    assert Offers(standing, RUNNING).why_not(Kind.SET_RDNS) is WhyNot.NO_ADDRESS


def test_what_is_not_offered_is_refused_whatever_is_asked() -> None:
    assert Offers(STANDING, OFF).refusal(Kind.REBOOT, Bare()) is WhyNot.IS_OFF
    assert Offers(STANDING, RUNNING).refusal(Kind.TERMINATE, Bare()) is WhyNot.NOT_OFFERED
