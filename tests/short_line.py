"""Calls of a sandbox in this process without the wire, which is most of what a call costs.

What comes over the wire is for the tests of the clients, and for those with real processes. Here a call goes
the short way only where its answer would be a plain one: with a fault waiting for it, while the server is
down or slow, the wire carries it as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from provisioner.line import Lines, Received
from provisioner.sandbox import BillingStub, SandboxServer
from provisioner.sandbox.wire import Answer, Exchange


class Short:
    """An exchange whose answer is handed over as it is."""

    answer: Answer

    def __init__(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> None:
        self.method = method
        self.path = urlsplit(url).path
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body

    def wait(self, seconds: float) -> None:
        assert not seconds

    last = wait

    def send(self, answer: Answer) -> None:
        self.answer = answer


def is_plain(server: SandboxServer | BillingStub, method: str, url: str) -> bool:
    """Whether it would answer this at once and as it should."""
    if server._listener._thread is None:
        return False
    if isinstance(server, BillingStub):
        return server._plan.status is not None and not server._slow_s
    path = url.removeprefix(server.base_url)
    met = [each for each in server.sandbox.faults._waiting if each.rule.matches(method, path)]
    return not server.sandbox.latency and all(0 < each.rule.times <= each.met for each in met)


def shorten(patch: pytest.MonkeyPatch, servers: list[SandboxServer | BillingStub]) -> None:
    """Has all calls of these go the short way from now on, where there is one."""
    carry = Lines.carry

    def shortly(lines: Lines, method: str, url: str, body: bytes | None = None, **more: Any) -> Received:
        for server in servers:
            if url.startswith(f"{server._listener.url}/") and is_plain(server, method, url):
                exchange = Short(method, url, {**lines._headers, **(more.get("headers") or {})}, body or b"")
                server._serve(cast(Exchange, exchange))
                answer = exchange.answer
                return Received(answer.status, answer.body, answer.headers.get("Retry-After", ""))
        return carry(lines, method, url, body, **more)

    patch.setattr(Lines, "carry", shortly)
