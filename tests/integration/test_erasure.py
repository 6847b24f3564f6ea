"""A customer is forgotten; that there was a service is not."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from provisioner.errors import NotFound, WrongState
from provisioner.service import ServiceStatus

NAME, HOST, CLIENT, REASON = "Erika Musterfrau", "erika.example.com", "client-4711", "Erika did not pay"


def erase(world: Any, service_id: str = "1001", *, dry: bool = False) -> Any:
    return world.app.erasure.erase("shop", service_id, "admin:anna", dry=dry)


def dump(world: Any) -> str:
    with closing(sqlite3.connect(world.app.settings.store.path)) as connection:
        return "\n".join(connection.iterdump())


@pytest.fixture
def over(world: Any) -> Any:
    """A world with a whole life behind it."""
    client = {"id": CLIENT, "name": NAME, "address": "Heidestraße 17, Köln"}
    world.done(world.order(hostname=HOST, client=client))
    world.done(world.event("service.set_rdns", ip=world.service().ips[0], hostname=f"mail.{HOST}"))
    world.done(world.event("service.suspend", reason=REASON))
    world.done(world.event("service.terminate", immediate=True))
    world.idle()
    return world


def test_clients_name_is_never_stored(world: Any) -> None:
    world.done(world.order(hostname=HOST, client={"id": CLIENT, "name": NAME}, note=NAME))
    assert NAME not in dump(world)
    assert CLIENT in dump(world)


def test_rejected_event_is_replayed_as_it_was_judged(world: Any) -> None:
    data = {"service_id": "1", "plan": "vps-s", "options": {"cores": 2}, "client": {"id": "7", "name": NAME}}
    body = json.dumps({"type": "order.paid", "data": data, "name": NAME}).encode()
    first = world.app.accept.webhook("shop", "evt-1", body)
    assert first.status == 422
    event = json.loads(first.body)["event"]
    again = world.app.accept.replay(event, "admin:anna")
    assert json.loads(again.body)["error"] == json.loads(first.body)["error"]
    assert NAME not in dump(world)


def test_replayed_event_that_comes_again_is_known(world: Any) -> None:
    data = {"service_id": "1", "plan": "new", "client": {"id": "7", "name": NAME}}
    body = json.dumps({"type": "order.paid", "data": data}).encode()
    event = json.loads(world.app.accept.webhook("shop", "evt-1", body).body)["event"]
    plans = world.tables["plans"]
    plans["new"] = plans["vps-s"]
    world.reopen()
    assert world.app.accept.replay(event, "admin:anna").status == 202
    assert world.app.accept.webhook("shop", "evt-1", body).status == 200


def test_erased_customer_is_nowhere(over: Any) -> None:
    ips = over.service().ips or ("192.0.2.",)
    before = dump(over)
    assert HOST in before
    assert CLIENT in before
    erased = erase(over)
    assert (erased.operations, erased.events) == (5, 4)
    after = dump(over)
    for word in (HOST, CLIENT, REASON, NAME, *ips):
        assert word not in after, word


def test_erased_customers_marks_are_gone(over: Any) -> None:
    """A WHMCS's addresses are noted for the activity log, by the terminate that emptied them."""
    store = over.app.store
    operations = store.read(lambda verbs: verbs.operations_of_service("shop", "1001"))
    store.write(lambda verbs: verbs.set_mark(operations[-1].id, "ips", "198.51.100.7", over.clock.now))
    assert "198.51.100.7" in dump(over)
    erase(over)
    assert "198.51.100.7" not in dump(over)


def test_erased_service_stays_terminated(over: Any) -> None:
    erase(over)
    assert over.service().status is ServiceStatus.TERMINATED
    body = json.dumps({"type": "order.paid", "data": {"service_id": "1001", "plan": "vps-s"}}).encode()
    assert over.app.accept.webhook("shop", "evt-new", body).status == 422
    again = over.order(recreate=True)
    over.done(again)
    assert over.service().status is ServiceStatus.ACTIVE


def test_ids_of_erased_events_are_still_known(over: Any) -> None:
    erase(over)
    body = json.dumps({"type": "service.suspend", "data": {"service_id": "1001", "reason": REASON}}).encode()
    assert over.app.accept.webhook("shop", "evt-3", body).status == 200


def test_erasing_again_harms_nothing(over: Any) -> None:
    erase(over)
    erase(over)


def test_dry_run_takes_nothing(over: Any) -> None:
    before = dump(over)
    assert erase(over, dry=True).events == 4
    assert dump(over) == before


def test_living_service_is_not_erased(world: Any) -> None:
    world.done(world.order())
    with pytest.raises(WrongState, match="is active: terminate it first"):
        erase(world)
    with pytest.raises(NotFound):
        erase(world, "nobody")


def test_service_with_untold_messages_is_not_erased(world: Any) -> None:
    world.done(world.order())
    world.billing.go_down()
    world.event("service.terminate", immediate=True)
    world.run(60)
    with pytest.raises(WrongState, match="still to be told"):
        erase(world)


def test_failed_order_is_erased(world: Any) -> None:
    world.sandbox.settings(max_mem=512)
    world.done(world.order(hostname=HOST))
    assert world.service().status is ServiceStatus.FAILED
    world.idle()
    for operation in world.app.store.read(lambda verbs: verbs.open_operations_of_service("shop", "1001")):
        if operation.kind == "set_rdns":
            world.app.commands.cancel(operation.id, "admin:anna")
    world.idle()
    erase(world)
    assert HOST not in dump(world)
