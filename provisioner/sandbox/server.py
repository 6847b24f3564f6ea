"""Serves a sandbox over HTTP: the reseller API under /api/v1, the control API under /_sandbox/."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

from provisioner.errors import NotFound, ProvisionerError, RequestInvalid, WrongState
from provisioner.sandbox import api
from provisioner.sandbox.upstream import Sandbox
from provisioner.sandbox.wire import Answer, Exchange, Listener

CONTROL = "/_sandbox"
STATUSES: dict[type[ProvisionerError], int] = {RequestInvalid: 422, NotFound: 404, WrongState: 409}


class SandboxServer:
    """A sandbox on a port of the loopback address, served by threads of its own until it is closed.

    :param sandbox: the account to serve; a new one by default.
    :param port: 0 for any free one.
    :raises OSError: if the port is taken.
    """

    def __init__(self, sandbox: Sandbox | None = None, port: int = 0) -> None:
        self.sandbox = sandbox or Sandbox()
        self._closed = threading.Event()
        self._listener = Listener(self._serve, port)
        self._listener.come_up()

    @property
    def base_url(self) -> str:
        """What `[upstream] base_url` is set to."""
        return self._listener.url + api.PREFIX

    @property
    def control_url(self) -> str:
        return self._listener.url + CONTROL

    def serve_forever(self) -> None:
        """Returns when another thread has closed it."""
        self._closed.wait()

    def go_down(self) -> None:
        """Refuses connections and cuts those it has, the control API's too; the account stays."""
        self._listener.go_down()

    def come_up(self) -> None:
        """Listens again, on the same port."""
        self._listener.come_up()

    def close(self) -> None:
        self._listener.close()
        self._closed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self, exchange: Exchange) -> None:
        if exchange.path.startswith(f"{api.PREFIX}/"):
            self._serve_call(exchange, exchange.path.removeprefix(api.PREFIX))
        elif exchange.path.startswith(f"{CONTROL}/"):
            exchange.send(_controlled(self.sandbox, exchange))
        else:
            exchange.send(Answer.page(404))

    def _serve_call(self, exchange: Exchange, path: str) -> None:
        """One call of the reseller API: noted, met by a fault perhaps, answered."""
        endpoint = api.endpoint(exchange.method, path)
        call = self.sandbox.record.begin(endpoint, exchange.method, path, _readable(exchange.body))
        rule = self.sandbox.faults.take(exchange.method, path)
        exchange.last(self.sandbox.latency)
        authorization = exchange.headers.get("authorization", "")
        process = partial(api.answer, self.sandbox, exchange.method, path, authorization, exchange.body)
        answer = rule.answer(exchange, process) if rule else process()
        status = "dropped" if rule and rule.drops else answer.status
        self.sandbox.record.end(call, status, rule.kind if rule else None)
        if rule:
            rule.send(exchange, answer)
        else:
            exchange.send(answer)


def run(port: int, announce: Callable[[str], None]) -> None:
    """Serves a new sandbox on 127.0.0.1 until it is interrupted (contract, section 1: `sandbox`).

    :param port: 0 for any free one.
    :param announce: told, line by line, where it listens and how to use it.
    :raises OSError: if the port is taken.
    """
    with suppress(KeyboardInterrupt), SandboxServer(port=port) as server:
        announce(f"reseller API: {server.base_url}")
        announce(f"token: {server.sandbox.settings()['token']}")
        announce(f"control API: {server.control_url}/state")
        server.serve_forever()


def _controlled(sandbox: Sandbox, exchange: Exchange) -> Answer:
    """Carries out a call of the control API, which needs no token: it is for this machine only."""
    try:
        path = exchange.path.removeprefix(f"{CONTROL}/").split("/")
        return Answer.json(200, _control(sandbox, exchange.method, path, exchange.body))
    except (RequestInvalid, NotFound, WrongState) as problem:
        error = {"code": problem.code, "message": problem.public}
        return Answer.json(STATUSES[type(problem)], {"error": error})


def _control(sandbox: Sandbox, method: str, path: list[str], body: bytes) -> dict[str, Any]:
    result: dict[str, Any] = {}
    match method, path:
        case "GET", ["state"]:
            result = sandbox.state()
        case "GET", ["calls"]:
            result = {"calls": sandbox.calls()}
        case "POST", ["faults"]:
            sandbox.faults.add(*_rules(body))
        case "DELETE", ["faults"]:
            sandbox.clear_faults()
        case "POST", ["settings"]:
            result = sandbox.settings(**_values(body))
        case "POST", ["vms"]:
            result = sandbox.add_vm(**_values(body))
        case "DELETE", ["vms", vmid]:
            sandbox.remove_vm(_vmid(vmid))
        case "POST", ["vms", vmid, "power"]:
            sandbox.power(_vmid(vmid), _values(body).get("power", ""))
        case _:
            raise NotFound(f"the control API has no {method} {CONTROL}/{'/'.join(path)}")
    return result


def _values(body: bytes) -> dict[str, Any]:
    values = _json(body)
    if not isinstance(values, dict):
        raise RequestInvalid("the body is not a JSON object")
    return values


def _rules(body: bytes) -> list[dict[str, Any]]:
    """One rule or a list of them."""
    rules = _json(body)
    rules = rules if isinstance(rules, list) else [rules]
    if not all(isinstance(rule, dict) for rule in rules):
        raise RequestInvalid("the body is neither a rule nor a list of rules")
    return rules


def _json(body: bytes) -> Any:
    try:
        return json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise RequestInvalid("the body is not JSON") from None


def _vmid(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise NotFound(f"there is no VM {text}")
    return int(text)


def _readable(body: bytes) -> Any:
    """The body for the list of calls: parsed, or as text, or null for none."""
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")
