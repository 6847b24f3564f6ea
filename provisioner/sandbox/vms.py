"""A VM as the API shows it, and the addresses that VMs get."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from provisioner.sandbox.jobs import Job
from provisioner.service import Spec

# The three networks for documentation, then a private one for whoever needs more.
NETWORKS = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "10.0.0.0/8")


def addresses() -> Iterator[str]:
    """Addresses that nobody else has, none of them twice."""
    for network in NETWORKS:
        yield from map(str, ipaddress.IPv4Network(network).hosts())


def new_password() -> str:
    return secrets.token_urlsafe(12)


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup: its time in Unix seconds, and when (ms) it comes into the list."""

    time: int
    ready_at: int


@dataclass(slots=True, kw_only=True)
class Vm:
    """One VM. Times are milliseconds since the epoch; `started_at` None means off."""

    vmid: int
    spec: Spec
    ips: list[str]
    made_by: int | None
    listed_at: int
    password: str = field(default_factory=new_password, repr=False)
    started_at: int | None = None
    stops_at: int | None = None
    restored_at: int = 0
    job: Job | None = field(default=None, repr=False)
    rdns: dict[str, str] = field(default_factory=dict)
    backups: list[Backup] = field(default_factory=list)

    def running(self, now: int) -> bool:
        return self.started_at is not None and (self.stops_at is None or now < self.stops_at)

    def uptime(self, now: int) -> int:
        """Seconds since the last start, 0 when off."""
        return (now - self.started_at) // 1000 if self.started_at is not None and self.running(now) else 0

    def start(self, now: int) -> None:
        self.started_at, self.stops_at = now, None

    def stop(self) -> None:
        self.started_at = self.stops_at = None

    def busy(self, now: int) -> bool:
        """Whether a job or a restore is at work on it."""
        return now < self.restored_at or (self.job is not None and self.job.is_open)

    def backing_up(self, now: int) -> bool:
        return any(now < backup.ready_at for backup in self.backups)

    def backup_times(self, now: int) -> list[int]:
        """The finished backups' Unix times, newest first."""
        return sorted((backup.time for backup in self.backups if backup.ready_at <= now), reverse=True)

    def back_up(self, now: int, takes_ms: int) -> None:
        """Begins a backup named by this second, or by the next one that none has yet."""
        newest = max((backup.time for backup in self.backups), default=0)
        self.backups.append(Backup(max(now // 1000, newest + 1), now + takes_ms))

    def resize(self, spec: Spec, fresh: Iterator[str]) -> None:
        """Takes the new size; more IPs are assigned, fewer are ignored."""
        self.ips += [next(fresh) for _ in range(spec.ip_count - len(self.ips))]
        self.spec = spec

    def status(self, now: int, stopped_word: str) -> dict[str, Any]:
        """`GET status`: memory in bytes, uptime in seconds; plausible figures, the same for the same time."""
        running, uptime, mem = self.running(now), self.uptime(now), self.spec.mem * 1024 * 1024
        used = mem * 44 // 100 if running else 0
        return {
            "cpu": 0.02 if running else 0,
            "mem": used,
            "memfree": mem - used,
            "netin": uptime * 45,
            "netout": uptime * 41,
            "uptime": uptime,
            "state": "running" if running else stopped_word,
        }

    def config(self) -> dict[str, Any]:
        """`GET config`, in the words that the API reads it with."""
        return {
            "cpuCount": self.spec.cpu_cores,
            "mem": self.spec.mem,
            "disk": self.spec.disk,
            "ipCount": len(self.ips),
        }

    def access(self) -> dict[str, Any]:
        """The output of a finished create or reinstall."""
        return {"vmid": self.vmid, "ips": list(self.ips), "user": "root", "password": self.password}

    def facts(self, now: int) -> dict[str, Any]:
        """Everything about it, for the control API; the present password too."""
        return {
            "vmid": self.vmid,
            "template": self.spec.template,
            "config": {
                "cpu_cores": self.spec.cpu_cores,
                "mem": self.spec.mem,
                "disk": self.spec.disk,
                "ip_count": len(self.ips),
            },
            "power": "running" if self.running(now) else "stopped",
            "uptime": self.uptime(now),
            "password": self.password,
            "ips": list(self.ips),
            "rdns": dict(self.rdns),
            "backups": self.backup_times(now),
            "made_by": self.made_by,
            "listed": self.listed_at <= now,
            "busy": self.busy(now),
        }
