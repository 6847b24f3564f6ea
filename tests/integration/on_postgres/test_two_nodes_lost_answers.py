"""What became of a call whose answer was lost, where every step may be another node's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from provisioner.sandbox import BillingStub, Sandbox, SandboxServer
from tests.conftest import BILLING_SECRET, Clock, World, tables
from tests.integration import test_lost_answers as of_one_node
from tests.integration.test_lost_answers import (  # noqa: F401
    held,
    test_adopted_vm_gets_new_credentials,
    test_answer_that_is_out_may_claim_the_job,
    test_lost_order_is_held_at_once,
    test_lost_reinstall_is_nobodys_evidence,
    test_orders_lost_together_get_a_vm_each,
    test_other_orders_wait_for_the_unknown_one,
    test_reused_vmid_is_a_new_vm,
)
from tests.short_line import shorten


class Nodes(World):
    """Two nodes on one database; each thing that is done is done by the other one."""

    def open(self) -> None:
        super().open()
        first = self.app
        super().open()
        self.apps = [first, self.app]
        self._turns = itertools.cycle(self.apps)

    def step(self) -> bool:
        self.app = next(self._turns)
        return super().step()


@pytest.fixture
def worlds(
    tmp_path: Path, clock: Clock, store_tables: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., World]]:
    servers: list[SandboxServer | BillingStub] = []
    shorten(monkeypatch, servers)
    with ExitStack() as stack:

        def make(**over: dict[str, Any]) -> World:
            upstream = stack.enter_context(SandboxServer(Sandbox(clock)))
            billing = stack.enter_context(BillingStub([BILLING_SECRET], clock=clock))
            servers.extend((upstream, billing))
            settings = {"store": store_tables, **tables(upstream.base_url, billing.callback_url)}
            for name, values in over.items():
                settings[name] = {**settings.get(name, {}), **values}
            world = Nodes(tmp_path, clock, upstream, billing, settings)
            for app in world.apps:
                stack.callback(app.close)
            return world

        yield make


# How an answer is lost is sorted within the call, which is one node's: test_lost_answers.py tries every way.


def test_unheard_order_is_found_and_taken(world: World) -> None:
    of_one_node.test_unheard_order_is_found_and_taken(world, of_one_node.DONE_UNHEARD[0])


def test_order_never_made_is_sent_again(world: World) -> None:
    of_one_node.test_order_never_made_is_sent_again(world, of_one_node.NOT_DONE[0])
