"""Controls a sandbox that runs in another process."""

from __future__ import annotations

import json
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from provisioner.errors import NotFound, RequestInvalid, WrongState

ERRORS = {404: NotFound, 409: WrongState, 422: RequestInvalid}


class SandboxClient:
    """The control methods of `Sandbox`, over HTTP and with the same errors.

    :param control_url: as `SandboxServer.control_url` has it.
    :param timeout_s: of each call.
    :raises OSError: from every method, if nobody listens.
    """

    def __init__(self, control_url: str, timeout_s: float = 10.0) -> None:
        place = urlsplit(control_url)
        self._address = place.netloc
        self._path = place.path.rstrip("/")
        self._timeout_s = timeout_s

    def state(self) -> dict[str, Any]:
        """VMs (with their present passwords), jobs, counts of calls, settings and faults."""
        return self._call("GET", "state")

    def calls(self) -> list[dict[str, Any]]:
        """Each call that the reseller API's side has seen."""
        calls: list[dict[str, Any]] = self._call("GET", "calls")["calls"]
        return calls

    def fault(self, **rule: Any) -> None:
        """Adds a fault (`faults.Rule`); :raises RequestInvalid: for what is no rule."""
        self._call("POST", "faults", rule)

    def clear_faults(self) -> None:
        self._call("DELETE", "faults")

    def settings(self, /, **changes: Any) -> dict[str, Any]:
        """Sets what is named and returns all settings; :raises RequestInvalid: for what does not fit."""
        return self._call("POST", "settings", changes)

    def add_vm(self, /, **values: Any) -> dict[str, Any]:
        """Puts a foreign VM on the account; :raises WrongState: if its vmid is taken."""
        return self._call("POST", "vms", values)

    def remove_vm(self, vmid: int) -> None:
        """:raises NotFound: if there is none."""
        self._call("DELETE", f"vms/{vmid}")

    def power(self, vmid: int, power: str) -> None:
        """Turns a VM `running` or `stopped`; :raises NotFound: if there is none."""
        self._call("POST", f"vms/{vmid}/power", {"power": power})

    def _call(self, method: str, path: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
        body = None if values is None else json.dumps(values)
        with closing(HTTPConnection(self._address, timeout=self._timeout_s)) as connection:
            connection.request(method, f"{self._path}/{path}", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        if response.status in ERRORS:
            raise ERRORS[response.status](answer["error"]["message"])
        return answer
