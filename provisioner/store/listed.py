"""What lists show of a row: those columns alone are read, and a page of them is made in a fifth of the time
that it takes with all that was asked and all that the steps remember.

Fields stand in the order in which they are read; those that are not as the database has them come last.
"""

from __future__ import annotations

from typing import NamedTuple

from provisioner.operation import Kind, State
from provisioner.service import ServiceStatus, Spec


class ListedOperation(NamedTuple):
    """See `Operation`, whose fields these are."""

    id: str
    seq: int
    billing: str
    service_id: str
    attempts: int
    next_run_at: int
    error_code: str
    error_detail: str
    job_id: str
    vmid: int | None
    actor: str
    created_at: int
    updated_at: int
    kind: Kind
    state: State


class ListedService(NamedTuple):
    """See `Service`, whose fields these are."""

    billing: str
    service_id: str
    seq: int
    plan: str
    vmid: int | None
    hostname: str
    client_id: str
    suspend_reason: str
    created_at: int
    updated_at: int
    status: ServiceStatus
    spec: Spec | None
    ips: tuple[str, ...]
    ips_complete: bool
    locked: bool


class ListedEvent(NamedTuple):
    """See `StoredEvent`, whose fields these are; what came and what was answered may be large."""

    id: str
    seq: int
    billing: str
    webhook_id: str
    state: str
    type: str
    service_id: str
    operation: str
    code: str
    message: str
    received_at: int
