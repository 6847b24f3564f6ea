"""The upstream port: what the service may ask of the account's VMs, and the types of the answers.

The one adapter is `client.py`. Every method may raise the errors of `UpstreamError`, which say what the
caller does next: `UpstreamUnavailable` (try later), `UpstreamOutcomeUnknown` (look before sending again) and
`UpstreamRefused` with `TokenRefused`, `VmNotFound` and `JobNotFound` (contract, section 6, promise 5).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from provisioner.service import Spec


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to log in to a VM. The password never shows in a repr, so no log line can print it."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, password=…)"


@dataclass(frozen=True, slots=True)
class JobOutput:
    """What a finished job tells; fields that it left out are None or empty."""

    vmid: int | None
    ips: tuple[str, ...]
    credentials: Credentials | None


@dataclass(frozen=True, slots=True)
class Job:
    """One look at a job (`GET job/{id}`); `progress` runs from 0 to 1.

    `status` is the upstream's word. `error_code` and `error` are set when it failed.
    """

    status: str
    progress: float
    output: JobOutput | None
    error_code: str = ""
    error: str = ""

    @property
    def finished(self) -> bool:
        return self.status == "finished"

    @property
    def failed(self) -> bool:
        return self.status == "failed"


@dataclass(frozen=True, slots=True)
class VmStatus:
    """`GET status`: memory in bytes, uptime in seconds, net in bytes since the start."""

    state: str
    uptime: int
    cpu: float
    mem: int
    memfree: int
    netin: int
    netout: int


@dataclass(frozen=True, slots=True)
class VmConfig:
    """`GET config` in our names: `mem` in MB, `disk` such as `10G`."""

    cpu_cores: int
    mem: int
    disk: str
    ip_count: int


@dataclass(frozen=True, slots=True)
class BackupStatus:
    """`GET backups/status`; `progress` runs from 0 to 1."""

    status: str
    progress: float


@dataclass(frozen=True, slots=True)
class Call:
    """One call made, for the timeline: `path` without the base, `status` 0 where no answer came.

    `outcome` is `ok`, or the `code` of the error that was raised; `summary` is redacted at capture. `date_s`
    is the answer's `Date` in seconds since the epoch, None where it has none. `shared` says that another made
    the call, who reports it as well.
    """

    method: str
    path: str
    status: int
    outcome: str
    summary: str
    duration_ms: int
    date_s: float | None = None
    shared: bool = False


class Upstream(Protocol):
    """The reseller API's 20 endpoints (reseller-api.txt), one method each."""

    def recording(self, record: Callable[[Call], None]) -> Upstream:
        """The same upstream, which also reports each call to `record`, failed ones included."""

    def job(self, job_id: str) -> Job: ...
    def servers(self, *, shared: bool = False) -> frozenset[int]:
        """The vmids on the account. A list that is not one is an error, never an empty one.

        :param shared: the list may be one that others have asked for, too, if it was begun after this was
            asked: what was true before is in it. For what is noted before a create, and for nothing else. A
            list before harm is its own look: one wrong answer must not destroy many VMs.
        """

    def templates(self) -> tuple[str, ...]: ...
    def room_for_create(self) -> AbstractContextManager[None]:
        """Room for one that is about to be sent, until it is answered: for no more of them than calls may be
        in flight. Where this process ends meanwhile, each of them is one to look for, or to ask a person of.

        :raises UpstreamUnavailable: there was none within the time of a call.
        """

    def create(self, spec: Spec) -> str:
        """Asks for a new VM over a fresh connection; returns the job's id."""

    def status(self, vmid: int) -> VmStatus: ...
    def config(self, vmid: int) -> VmConfig: ...
    def delete(self, vmid: int, *, force: bool = False) -> None: ...
    def set_rdns(self, vmid: int, ip: str, hostname: str) -> None: ...
    def change(
        self,
        vmid: int,
        *,
        cpu_cores: int | None = None,
        mem: int | None = None,
        disk: str | None = None,
        ip_count: int | None = None,
    ) -> str | None:
        """Asks for another size; returns a job's id where the answer has one, else None."""

    def start(self, vmid: int) -> None: ...
    def shutdown(self, vmid: int) -> None: ...
    def stop(self, vmid: int) -> None: ...
    def reboot(self, vmid: int) -> None: ...
    def force_reboot(self, vmid: int) -> None: ...
    def reinstall(self, vmid: int, template: str | None = None) -> str:
        """Asks for a reinstall (the same template where none is given); returns the job's id."""

    def reset_password(self, vmid: int) -> str:
        """Returns the new root password."""

    def backups(self, vmid: int) -> tuple[int, ...]:
        """The backups' times, in Unix seconds, as the upstream lists them."""

    def backup_status(self, vmid: int) -> BackupStatus: ...
    def create_backup(self, vmid: int) -> None: ...
    def restore_backup(self, vmid: int, backup: int) -> None: ...
