"""What is offered is carried out at once: the upstream refuses none of it."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import Any

import pytest

from provisioner.engine.accept import Request
from provisioner.engine.looks import Looks
from provisioner.engine.offers import CUSTOMERS, Offers, WhyNot, standing
from provisioner.event import judge_action
from provisioner.operation import Kind, State


class AtOnce(Executor):
    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def offers(world: Any) -> Offers:
    found = world.app.store.read(lambda verbs: standing(verbs, world.app.settings, "shop", "1001"))
    looks = Looks(world.app.store, world.app.upstream, world.clock, AtOnce())
    looks.look("shop", "1001")
    return Offers(found, looks.look("shop", "1001"))


def data_for(kind: Kind, offered: Offers) -> dict[str, Any]:
    match kind:
        case Kind.REINSTALL:
            return {"template": offered.standing.templates[-1]}
        case Kind.RESTORE:
            return {"backup": (offered.look.backups or ())[0]}
        case Kind.SET_RDNS:
            return {"ip": offered.standing.service.ips[0], "hostname": "mail.example.com"}
    return {}


@pytest.fixture
def active(world: Any) -> Any:
    world.app.ticks.refresh_templates()
    world.done(world.order())
    return world


BEFORE: list[list[str]] = [[], ["service.stop"], ["service.backup"], ["service.backup", "service.shutdown"]]


@pytest.mark.parametrize("before", BEFORE, ids=lambda before: " ".join(before) or "new")
@pytest.mark.parametrize("kind", CUSTOMERS)
def test_what_is_offered_succeeds_at_the_first_try(active: Any, kind: Kind, before: list[str]) -> None:
    for event in before:
        active.done(active.event(event))
    offered = offers(active)
    if offered.why_not(kind) is not None:
        assert offered.why_not(kind) in {WhyNot.RUNS, WhyNot.IS_OFF, WhyNot.NO_BACKUP}
        return
    data = judge_action(kind, data_for(kind, offered))
    assert offered.refusal(kind, data) is None
    operation = active.app.accept.action(Request("shop", "1001", kind, data, "panel:shop"))
    assert active.done(operation.id).state is State.SUCCEEDED
    assert active.operation(operation.id).attempts == 1


def test_nothing_is_offered_while_something_is_done(active: Any) -> None:
    reinstall = active.event("service.reinstall")
    active.run(60, until=lambda: active.operation(reinstall).state is State.WAITING)
    offered = offers(active)
    assert {offered.why_not(kind) for kind in CUSTOMERS} == {WhyNot.UNDER_WAY}
    active.done(reinstall)
    assert offers(active).why_not(Kind.REBOOT) is None


def test_plan_narrows_the_templates(worlds: Any) -> None:
    size = {"template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1}
    world = worlds(plans={"vps-s": {**size, "templates": ["Ubuntu20.04", "Gone"]}})
    world.app.ticks.refresh_templates()
    world.done(world.order())
    assert offers(world).standing.templates == ("Debian10.0", "Ubuntu20.04")


def test_unknown_service_stands_nowhere(active: Any) -> None:
    assert active.app.store.read(lambda verbs: standing(verbs, active.app.settings, "shop", "9")) is None
