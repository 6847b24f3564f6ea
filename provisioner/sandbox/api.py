"""The reseller API's 20 endpoints over HTTP: paths, parameters and the form of answers (reseller-api.txt)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from provisioner.sandbox import refusals
from provisioner.sandbox.refusals import Refusal
from provisioner.sandbox.upstream import Sandbox
from provisioner.sandbox.wire import Answer
from provisioner.service import Spec, disk_megabytes

PREFIX = "/api/v1"

T = TypeVar("T")


class Parameters:
    """The body's parameters; null counts as not given.

    :raises Refusal: 0xb1 for what is no JSON object; its methods, for a value of the wrong type.
    """

    def __init__(self, body: bytes) -> None:
        try:
            values = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            raise refusals.invalid("body") from None
        if not isinstance(values, dict):
            raise refusals.invalid("body")
        self._values: dict[str, Any] = values

    def maybe(self, name: str, kind: type[T]) -> T | None:
        value = self._values.get(name)
        if value is None:
            return None
        if type(value) is not kind:
            raise refusals.invalid(name)
        return value

    def needed(self, name: str, kind: type[T], status: int = 400) -> T:
        """:param status: of the refusal where it is missing."""
        value = self.maybe(name, kind)
        if value is None:
            raise refusals.missing(name, status)
        return value

    def size(self) -> dict[str, Any]:
        """cpuCores, mem (MB), disk and ipCount in our words, as far as they are given."""
        size = {
            "cpu_cores": self._amount("cpuCores"),
            "mem": self._amount("mem"),
            "disk": self._disk(),
            "ip_count": self._amount("ipCount"),
        }
        return {name: value for name, value in size.items() if value is not None}

    def spec(self) -> Spec:
        """The spec of a new VM, all of it needed."""
        template = self.needed("template", str)
        for name, kind in (("cpuCores", int), ("mem", int), ("disk", str), ("ipCount", int)):
            self.needed(name, kind)
        return Spec(template=template, **self.size())

    def _amount(self, name: str) -> int | None:
        amount = self.maybe(name, int)
        if amount is not None and amount < 1:
            raise refusals.invalid(name)
        return amount

    def _disk(self) -> str | None:
        disk = self.maybe("disk", str)
        try:
            disk_megabytes(disk or "1G")
        except ValueError:
            raise refusals.invalid("disk") from None
        return disk


class Route:
    """One endpoint; `call` gets the sandbox, the id in the path (or "") and the parameters."""

    def __init__(self, method: str, path: str, call: Callable[[Sandbox, str, Parameters], object]) -> None:
        self.method = method
        self.path = path
        self.call = call
        self.pattern = re.compile(re.sub(r"{\w+}", "([^/]+)", path))

    def which(self, path: str) -> str:
        """The id in a path that this route has."""
        found = self.pattern.fullmatch(path)
        return found[1] if found and self.pattern.groups else ""


def _on_vm(method: str, tail: str, call: Callable[[Sandbox, int, Parameters], object]) -> Route:
    return Route(
        method,
        f"/datacenter/server/{{sid}}/{tail}",
        lambda sandbox, sid, given: call(sandbox, _number(sid, refusals.no_vm(sid)), given),
    )


def _number(text: str, otherwise: Refusal) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise otherwise
    return int(text)


def _rdns(sandbox: Sandbox, vmid: int, given: Parameters) -> bool:
    # The documentation answers a missing parameter with 401 here.
    return sandbox.set_rdns(vmid, given.needed("ip", str, 401), given.needed("hostname", str, 401))


ROUTES = (
    Route("GET", "/job/{jobId}", lambda box, number, _: box.job(_number(number, refusals.no_job()))),
    Route("GET", "/datacenter/templates", lambda box, _, __: box.templates()),
    Route("GET", "/datacenter/server", lambda box, _, __: box.servers()),
    Route("POST", "/datacenter/server", lambda box, _, given: box.create(given.spec())),
    _on_vm("GET", "status", lambda box, vmid, _: box.status(vmid)),
    _on_vm("GET", "config", lambda box, vmid, _: box.config(vmid)),
    _on_vm(
        "POST", "delete", lambda box, vmid, given: box.delete(vmid, force=given.maybe("force", bool) or False)
    ),
    _on_vm("POST", "rdns", _rdns),
    _on_vm("PUT", "change", lambda box, vmid, given: box.change(vmid, **given.size())),
    _on_vm("PUT", "start", lambda box, vmid, _: box.start(vmid)),
    _on_vm("PUT", "shutdown", lambda box, vmid, _: box.shutdown(vmid)),
    _on_vm("PUT", "stop", lambda box, vmid, _: box.stop(vmid)),
    _on_vm("PUT", "reboot", lambda box, vmid, _: box.reboot(vmid)),
    _on_vm("PUT", "reboot/force", lambda box, vmid, _: box.force_reboot(vmid)),
    _on_vm("PUT", "reinstall", lambda box, vmid, given: box.reinstall(vmid, given.maybe("template", str))),
    _on_vm("PUT", "password/reset", lambda box, vmid, _: box.reset_password(vmid)),
    _on_vm("GET", "backups/list", lambda box, vmid, _: box.backups(vmid)),
    _on_vm("GET", "backups/status", lambda box, vmid, _: box.backup_status(vmid)),
    _on_vm("PUT", "backups/create", lambda box, vmid, _: box.create_backup(vmid)),
    _on_vm(
        "POST",
        "backups/restore",
        lambda box, vmid, given: box.restore_backup(vmid, given.maybe("backup", int)),
    ),
)


def endpoint(method: str, path: str) -> str:
    """The endpoint's name in the counts: `GET /job/{jobId}`, or `unknown`; `path` without the prefix."""
    return next((f"{method} {each.path}" for each in _at(path) if each.method == method), "unknown")


def answer(sandbox: Sandbox, method: str, path: str, authorization: str, body: bytes) -> Answer:
    """Carries out one call; `path` without the prefix, `authorization` is the header's value.

    A path that no endpoint has gets an HTML page, 404 or 405: frameworks judge the path before the token.
    """
    there = _at(path)
    route = next((each for each in there if each.method == method), None)
    if route is None:
        return Answer.page(405 if there else 404)
    try:
        if not sandbox.admits(authorization):
            raise refusals.unauthorized()
        return Answer.json(200, {"result": route.call(sandbox, route.which(path), Parameters(body))})
    except Refusal as refusal:
        return Answer.json(refusal.status, {"result": False, "error": refusal.error})


def _at(path: str) -> list[Route]:
    return [route for route in ROUTES if route.pattern.fullmatch(path)]
