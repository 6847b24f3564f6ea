"""The VMs that were there before an order was sent: apart from what each step writes, as long as needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from provisioner.engine.retention import Retention
from provisioner.errors import RequestInvalid
from provisioner.operation import State
from provisioner.operations.there_before import LISTED
from provisioner.service import Spec
from provisioner.store.verbs import Verbs
from provisioner.upstream import Job
from provisioner.upstream.client import UpstreamClient
from tests.conftest import World
from tests.integration.test_lost_answers import (  # noqa: F401
    POST,
    decisions,
    held,
    knows_jobs,
    leftover,
    lose,
    there_before,
)

YEARS_S = 3 * 365 * 86_400.0


def noted(world: World, order: str) -> str:
    return world.app.store.read(lambda verbs: verbs.mark(order, LISTED))


def rewrite(world: World, order: str, vmids: list[int] | None, mark: str) -> None:
    """Has its memo and its mark say this."""

    def unit(verbs: Verbs) -> None:
        operation: Any = verbs.operation(order)
        changed = replace(operation, memo={**operation.memo, LISTED: vmids})
        verbs.save_operation(changed, fence=operation.claims)
        verbs.set_mark(order, LISTED, mark, world.clock())

    world.app.store.write(unit)


def as_an_earlier_version(world: World, order: str) -> None:
    """Has it noted as a version noted it that knew the memo alone."""
    rewrite(world, order, json.loads(noted(world, order)), "")


def test_memo_is_as_small_on_a_full_account(world: World) -> None:
    for _ in range(100):
        world.sandbox.add_vm()
    lose(world)
    order = world.order()
    world.idle()
    assert len(json.dumps(world.operation(order).memo)) < 300
    assert len(there_before(world, order) or ()) == 100


@pytest.mark.parametrize("earlier", [False, True])
def test_order_never_made_is_sent_again_beside_a_like_vm(world: World, earlier: bool) -> None:
    """The list tells that the VM of the asked size is another's."""
    knows_jobs(world)
    like = world.sandbox.add_vm()["vmid"]
    lose(world, "drop_before")
    order = world.order()
    world.idle()
    if earlier:
        as_an_earlier_version(world, order)
    assert there_before(world, order) == {4001, like}
    assert world.done(order).state is State.SUCCEEDED
    assert decisions(world, order) == ["wait", "send_again"]


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("kind", ["retry", "order.paid", "service.terminate"])
def test_leftover_is_told_from_a_like_vm(leftover: tuple[World, str], kind: str, earlier: bool) -> None:  # noqa: F811
    world, order = leftover
    if earlier:
        as_an_earlier_version(world, order)
    after = world.event(kind, plan="vps-s") if kind != "retry" else order
    if kind == "retry":
        world.app.commands.retry(order, "anna")
    stopped = world.done(after)
    assert (stopped.error_code, stopped.memo["set_aside"]) == ("leftover_vm", [4002])


def test_what_an_earlier_version_noted_since_counts(world: World) -> None:
    """It knows the memo alone, so it leaves the mark as it was when it sends again."""
    knows_jobs(world)
    like = world.sandbox.add_vm()["vmid"]
    lose(world, "drop_before")
    order = world.order()
    world.idle()
    rewrite(world, order, [4001, like], "[4001]")
    assert there_before(world, order) == {4001, like}
    assert world.done(order).state is State.SUCCEEDED
    assert decisions(world, order) == ["wait", "send_again"]


def test_earlier_version_stops_at_what_it_cannot_read(world: World) -> None:
    """It asks whether the memo has a list, without which nothing was sent, and takes it for one."""
    lose(world)
    order = world.order()
    world.idle()
    memo = world.operation(order).memo
    assert "listed" in memo
    with pytest.raises(TypeError):
        set(memo["listed"])


def test_nothing_follows_from_evidence_that_is_gone(world: World) -> None:
    knows_jobs(world)
    lose(world, "drop_before")
    order = world.order()
    world.idle()
    rewrite(world, order, None, "")
    stopped = world.done(order)
    assert (stopped.state, stopped.error_code) == (State.HELD, "create_lost")
    assert "not on record" in stopped.error_detail
    assert world.calls(POST) == 2
    world.app.commands.approve(order, "anna", choice="send_again")
    assert world.done(order).state is State.SUCCEEDED
    assert world.calls(POST) == 3


def test_vm_of_others_is_not_adopted_where_evidence_is_gone(held: tuple[World, str]) -> None:  # noqa: F811
    """Nobody can say any more whether it was there before the order was sent, and to adopt it erases it."""
    world, order = held
    rewrite(world, order, None, "")
    strangers = world.sandbox.add_vm()["vmid"]
    with pytest.raises(RequestInvalid, match="not on record"):
        world.app.commands.approve(order, "anna", choice="adopt", vmid=strangers)
    assert strangers in world.vmids()


@pytest.mark.parametrize("kind", ["order.paid", "service.terminate"])
def test_leftover_is_a_persons_where_evidence_is_gone(leftover: tuple[World, str], kind: str) -> None:  # noqa: F811
    world, order = leftover
    rewrite(world, order, None, "")
    after = world.event(kind, plan="vps-s")
    stopped = world.done(after)
    assert (stopped.state, stopped.error_code) == (State.HELD, "leftover_vm")
    assert "not on record" in stopped.error_detail
    world.app.commands.approve(after, "anna", choice="send_again" if kind == "order.paid" else "")
    assert world.done(after).state is State.SUCCEEDED
    assert world.calls(POST) == (3 if kind == "order.paid" else 2)


def test_evidence_ends_when_the_vm_is_known(world: World) -> None:
    order = world.order()
    world.idle()
    assert noted(world, order) == "[]"
    done = world.done(order)
    assert (done.state, LISTED in done.memo, noted(world, order)) == (State.SUCCEEDED, False, "")


@pytest.mark.parametrize("choice", ["not_mine", "send_again"])
def test_evidence_outlives_a_persons_choice(held: tuple[World, str], choice: str) -> None:  # noqa: F811
    """Whose VM shows after the choice is told by it."""
    world, order = held
    world.app.commands.approve(order, "anna", choice=choice)
    assert there_before(world, order) == {4001}


def test_evidence_lives_as_long_as_it_may_be_asked_for(leftover: tuple[World, str]) -> None:  # noqa: F811
    world, order = leftover
    world.clock.advance(YEARS_S)
    Retention(world.app.settings, world.app.store, world.clock).prune()
    assert there_before(world, order) == {4001}
    world.app.commands.retry(order, "anna")
    assert world.done(order).error_code == "leftover_vm"


def test_other_marks_end(world: World) -> None:
    order = world.order()
    world.app.store.write(lambda verbs: verbs.set_mark(order, "mail", "done", world.clock()))
    world.clock.advance(YEARS_S)
    Retention(world.app.settings, world.app.store, world.clock).prune()
    assert world.app.store.read(lambda verbs: verbs.mark(order, "mail")) == ""


def test_nobody_whose_lease_is_over_writes_evidence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker has sent it since: what it noted stays."""
    order = world.order()
    real = world.app.upstream.servers

    def overtaken(**options: Any) -> frozenset[int]:
        monkeypatch.setattr(world.app.upstream, "servers", real)
        world.clock.advance(1000)
        world.sandbox.add_vm()
        lose(world)
        assert world.step()
        return real(**options)

    monkeypatch.setattr(world.app.upstream, "servers", overtaken)
    assert world.step()
    assert noted(world, order) == "[4001]"
    assert world.calls(POST) == 1


def test_job_that_names_a_vm_of_before_is_a_persons(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be bound and handed over, and deleted with the service: a stranger's, perhaps."""
    stranger, look = world.sandbox.add_vm()["vmid"], UpstreamClient.job

    def job(client: UpstreamClient, job_id: str) -> Job:
        found = look(client, job_id)
        return replace(found, output=found.output and replace(found.output, vmid=stranger))

    monkeypatch.setattr(UpstreamClient, "job", job)
    order = world.done(world.order())
    assert (order.state, order.error_code) == (State.HELD, "vmid_taken")
    assert f"VM {stranger}, which was there before the order was sent" in order.error_detail
    assert world.service().vmid is None
    world.run(60, until=lambda: bool(world.told()))
    assert [one.type for one in world.told()] == ["operation.held"]
    monkeypatch.undo()
    world.app.commands.approve(order.id, "anna")
    assert world.done(order.id).state is State.SUCCEEDED
    assert world.service().vmid not in (None, stranger)


def test_vm_that_was_deleted_meanwhile_has_left_its_id(
    worlds: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, ask = worlds(safety={"terminate_grace": 0}), UpstreamClient.create
    world.done(world.order("old"))
    world.sandbox.settings(reuse_vmids=True)
    freed = world.service("old").vmid

    def create(client: UpstreamClient, spec: Spec) -> str:
        assert world.done(world.event("service.terminate", "old")).state is State.SUCCEEDED
        return ask(client, spec)

    monkeypatch.setattr(UpstreamClient, "create", create)
    order = world.order("new")
    assert world.step()
    monkeypatch.undo()
    assert freed in (there_before(world, order) or ())
    assert world.done(order).state is State.SUCCEEDED
    assert world.service("new").vmid == freed
