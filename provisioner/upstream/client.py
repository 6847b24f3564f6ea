"""The reseller API's client: the port's methods.

Over what a call goes and its answer comes is `line/`; what an answer means is decided in `answers.py`, what
may be seen of it in `redact.py`.
"""

from __future__ import annotations

import copy
import functools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

from provisioner.errors import SettingsError, UpstreamError
from provisioner.line import Lines, date_s
from provisioner.line.places import Places
from provisioner.redact import scrubber
from provisioner.service import Spec
from provisioner.upstream import BackupStatus, Call, Job, Upstream, VmConfig, VmStatus
from provisioner.upstream.answers import (
    Answer,
    Ask,
    CallKind,
    describe,
    is_job_id,
    judge,
    read_backup_status,
    read_backups,
    read_change,
    read_config,
    read_done,
    read_job,
    read_job_id,
    read_password,
    read_status,
    read_templates,
    read_vmids,
)
from provisioner.upstream.shared import Shared

T = TypeVar("T")

CREATE = Ask("POST", "datacenter/server", CallKind.CREATE, read_job_id)


class UpstreamClient(Upstream):
    """The `Upstream` port over HTTP (reseller-api.txt), for one account; safe to use from many threads.

    :param base_url: the API's address, such as `https://reseller.example.com/api/v1`.
    :param token: the account's bearer token.
    :param timeout_s: seconds for the whole of one call: name, connection, request and answer.
    :param max_concurrency: calls in flight at once; others wait for a place, at most `timeout_s` too.
    :param record: is told each call, failed ones included, in the caller's thread before the method ends.
    :raises SettingsError: if the address or the token cannot be sent as they are.

    Every method raises the errors of `UpstreamError` as `answers.judge` sorts them.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        timeout_s: float,
        max_concurrency: int,
        record: Callable[[Call], None] | None = None,
    ) -> None:
        problems = [*_address_problems(base_url), *_token_problems(token)]
        if problems:
            raise SettingsError(problems)
        self._base_url = base_url.rstrip("/")
        headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
        }
        self._lines = Lines(
            headers,
            timeout_s=timeout_s,
            max_concurrency=max_concurrency,
            tls=base_url.lower().startswith("https:"),
        )
        self._timeout_s = timeout_s
        self._creates = Places(max_concurrency)
        self._lists: Shared[Answer] = Shared(2 * timeout_s)  # a call waits for its place, then for its answer
        self._scrub = scrubber((token,))
        self._records = (record,) if record else ()

    def recording(self, record: Callable[[Call], None]) -> UpstreamClient:
        """The same client, which also reports each call to `record`; it shares connections and places."""
        view = copy.copy(self)
        view._records = (*self._records, record)
        return view

    def close(self) -> None:
        """Closes idle connections now and those of calls in flight as they end, for all views."""
        self._lines.close()

    def job(self, job_id: str) -> Job:
        """`GET job/{jobId}`.

        :raises ValueError: if that can be no job's id.
        """
        if not is_job_id(job_id):
            raise ValueError("a job's id has 1 to 64 of ASCII letters, digits and ._-, and not dots alone")
        read = functools.partial(read_job, scrub=self._scrub)
        return self._call(Ask("GET", f"job/{job_id}", CallKind.REPEATABLE, read, secret=True))

    def servers(self, *, shared: bool = False) -> frozenset[int]:
        """`GET datacenter/server`."""
        ask = Ask("GET", "datacenter/server", CallKind.REPEATABLE, read_vmids)
        return self._call(ask, shared=self._lists if shared else None)

    def templates(self) -> tuple[str, ...]:
        """`GET datacenter/templates`."""
        return self._call(Ask("GET", "datacenter/templates", CallKind.REPEATABLE, read_templates))

    @contextmanager
    def room_for_create(self) -> Iterator[None]:
        """See `Upstream.room_for_create`."""
        if not self._creates.take(self._timeout_s):
            none = Answer(trouble=f"others are being sent for more than {self._timeout_s:g} s", sent=False)
            judge(CREATE, none, now_s=time.time())
        try:
            yield
        finally:
            self._creates.give_back()

    def create(self, spec: Spec) -> str:
        """`POST datacenter/server`; returns the job's id."""
        body = {
            "template": spec.template,
            "cpuCores": spec.cpu_cores,
            "mem": spec.mem,
            "disk": spec.disk,
            "ipCount": spec.ip_count,
        }
        return self._call(CREATE, body)

    def status(self, vmid: int) -> VmStatus:
        """`GET datacenter/server/{sid}/status`."""
        return self._call(_get(vmid, "status", read_status))

    def config(self, vmid: int) -> VmConfig:
        """`GET datacenter/server/{sid}/config`."""
        return self._call(_get(vmid, "config", read_config))

    def delete(self, vmid: int, *, force: bool = False) -> None:
        """`POST datacenter/server/{sid}/delete`; `force` deletes it even while it runs."""
        self._call(_once("POST", vmid, "delete", read_done), {"force": force})

    def set_rdns(self, vmid: int, ip: str, hostname: str) -> None:
        """`POST datacenter/server/{sid}/rdns`."""
        ask = Ask("POST", _path(vmid, "rdns"), CallKind.REPEATABLE, read_done)
        self._call(ask, {"ip": ip, "hostname": hostname})

    def change(
        self,
        vmid: int,
        *,
        cpu_cores: int | None = None,
        mem: int | None = None,
        disk: str | None = None,
        ip_count: int | None = None,
    ) -> str | None:
        """`PUT datacenter/server/{sid}/change` with what is given, `mem` in MB; returns a job id or None."""
        asked = {"cpuCores": cpu_cores, "mem": mem, "disk": disk, "ipCount": ip_count}
        given = {name: value for name, value in asked.items() if value is not None}
        return self._call(_again(vmid, "change", read_change), given)

    def start(self, vmid: int) -> None:
        """`PUT datacenter/server/{sid}/start`."""
        self._call(_again(vmid, "start", read_done))

    def shutdown(self, vmid: int) -> None:
        """`PUT datacenter/server/{sid}/shutdown`."""
        self._call(_again(vmid, "shutdown", read_done))

    def stop(self, vmid: int) -> None:
        """`PUT datacenter/server/{sid}/stop`."""
        self._call(_again(vmid, "stop", read_done))

    def reboot(self, vmid: int) -> None:
        """`PUT datacenter/server/{sid}/reboot`."""
        self._call(_once("PUT", vmid, "reboot", read_done))

    def force_reboot(self, vmid: int) -> None:
        """`PUT datacenter/server/{sid}/reboot/force`."""
        self._call(_once("PUT", vmid, "reboot/force", read_done))

    def reinstall(self, vmid: int, template: str | None = None) -> str:
        """`PUT datacenter/server/{sid}/reinstall`; returns the job's id."""
        body = None if template is None else {"template": template}
        return self._call(_once("PUT", vmid, "reinstall", read_job_id), body)

    def reset_password(self, vmid: int) -> str:
        """`PUT datacenter/server/{sid}/password/reset`; returns the new root password."""
        return self._call(_once("PUT", vmid, "password/reset", read_password, secret=True))

    def backups(self, vmid: int) -> tuple[int, ...]:
        """`GET datacenter/server/{sid}/backups/list`; Unix times in seconds."""
        return self._call(_get(vmid, "backups/list", read_backups))

    def backup_status(self, vmid: int) -> BackupStatus:
        """`GET datacenter/server/{sid}/backups/status`."""
        return self._call(_get(vmid, "backups/status", read_backup_status))

    def create_backup(self, vmid: int) -> None:
        """`PUT datacenter/server/{sid}/backups/create`."""
        self._call(_once("PUT", vmid, "backups/create", read_done))

    def restore_backup(self, vmid: int, backup: int) -> None:
        """`POST datacenter/server/{sid}/backups/restore`; `backup` is a Unix time in seconds."""
        self._call(_once("POST", vmid, "backups/restore", read_done), {"backup": backup})

    def _call(
        self, ask: Ask[T], body: dict[str, Any] | None = None, *, shared: Shared[Answer] | None = None
    ) -> T:
        began_s, is_shared = time.monotonic(), False
        if shared is None:
            answer = self._carry(ask, body)
        else:
            answer, is_shared = self._carry_shared(ask, shared)
        outcome = "ok"
        try:
            return judge(ask, answer, now_s=time.time(), scrub=self._scrub)
        except UpstreamError as error:
            outcome = error.code
            raise
        finally:
            took_ms = round((time.monotonic() - began_s) * 1000)
            summary, date = describe(ask, answer, self._scrub), date_s(answer.date)
            call = Call(ask.method, ask.path, answer.status, outcome, summary, took_ms, date, is_shared)
            for record in self._records:
                record(call)

    def _carry(self, ask: Ask[Any], body: dict[str, Any] | None = None) -> Answer:
        sent = None if body is None else json.dumps(body).encode()
        received = self._lines.carry(ask.method, f"{self._base_url}/{ask.path}", sent, fresh=ask.once)
        return Answer(**vars(received))

    def _carry_shared(self, ask: Ask[Any], shared: Shared[Answer]) -> tuple[Answer, bool]:
        """What came back, and whether to another's call; each judges it for himself, and reports it."""
        try:
            return shared.answer(lambda: self._carry(ask))
        except TimeoutError:
            return Answer(trouble="the call before it, which is waited for, does not end", sent=False), True


def _path(vmid: int, verb: str) -> str:
    return f"datacenter/server/{vmid:d}/{verb}"


def _get(vmid: int, verb: str, read: Callable[[object], T]) -> Ask[T]:
    return Ask("GET", _path(vmid, verb), CallKind.REPEATABLE, read)


def _again(vmid: int, verb: str, read: Callable[[object], T]) -> Ask[T]:
    return Ask("PUT", _path(vmid, verb), CallKind.REPEATABLE, read)


def _once(method: str, vmid: int, verb: str, read: Callable[[object], T], secret: bool = False) -> Ask[T]:
    return Ask(method, _path(vmid, verb), CallKind.ONCE, read, secret)


def _address_problems(base_url: str) -> Iterator[str]:
    """What keeps this from being the API's address; a login in it would replace the token."""
    try:
        parts = urlsplit(base_url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole or "@" in base_url or "?" in base_url or "#" in base_url:
        yield "upstream.base_url: an address such as https://host/api/v1, with no login, query or fragment"


def _token_problems(token: str) -> Iterator[str]:
    if not token or not all("!" <= char <= "~" for char in token):
        yield "upstream.token: printable ASCII characters without spaces"
