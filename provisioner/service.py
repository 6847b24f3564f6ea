"""A service: one thing sold, with at most one VM, and the spec that was asked for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

DISK = re.compile(r"([1-9][0-9]{0,4})([MGT])")
_MEGABYTES = {"M": 1, "G": 1024, "T": 1024 * 1024}


def disk_megabytes(disk: str) -> int:
    """The size that a disk string such as `10G` names, in MB (1T = 1024G; contract, section 3).

    :raises ValueError: if it is not a whole number from 1 to 99999 with M, G or T.
    """
    match = DISK.fullmatch(disk)
    if match is None:
        raise ValueError(f"{disk!r} is no disk size: a whole number from 1 to 99999 with M, G or T")
    return int(match[1]) * _MEGABYTES[match[2]]


@dataclass(frozen=True, slots=True)
class Spec:
    """What a VM is to be: `mem` in MB, `disk` as the upstream writes it (`10G`)."""

    template: str
    cpu_cores: int
    mem: int
    disk: str
    ip_count: int

    def with_options(self, options: Mapping[str, Any]) -> Spec:
        """This spec with the given options (cpu_cores, mem, disk, ip_count) over it."""
        return replace(self, **options)

    def same_size(self, other: Spec) -> bool:
        """Whether both ask for the same machine, whatever is installed on it."""
        return (self.cpu_cores, self.mem, disk_megabytes(self.disk), self.ip_count) == (
            other.cpu_cores,
            other.mem,
            disk_megabytes(other.disk),
            other.ip_count,
        )

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


class ServiceStatus(StrEnum):
    """What the billing system is told of a service (contract, section 4)."""

    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Service:
    """One service as the store has it. Times are milliseconds since the epoch, UTC.

    `spec` is what was last asked for, `config` what the upstream last showed, which is how its VM is known
    again (its template is not shown by any call). `ips_complete` is false where not all were ever told.
    """

    billing: str
    service_id: str
    seq: int
    status: ServiceStatus
    plan: str
    spec: Spec | None
    config: Spec | None
    vmid: int | None
    ips: tuple[str, ...]
    ips_complete: bool
    hostname: str
    client_id: str
    suspend_reason: str
    locked: bool
    ran_before_suspend: bool | None
    created_at: int
    updated_at: int
