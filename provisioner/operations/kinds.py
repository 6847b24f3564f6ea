"""Which steps each kind of operation has."""

from __future__ import annotations

from collections.abc import Mapping

from provisioner.operation import Kind
from provisioner.operations import (
    Steps,
    backup,
    change,
    create,
    link,
    power,
    reinstall,
    reset_password,
    set_rdns,
    suspend,
    terminate,
    unsuspend,
)

STEPS: Mapping[Kind, Steps] = {
    Kind.CREATE: create.STEPS,
    Kind.LINK: link.STEPS,
    Kind.CHANGE: change.STEPS,
    Kind.SUSPEND: suspend.STEPS,
    Kind.UNSUSPEND: unsuspend.STEPS,
    Kind.TERMINATE: terminate.STEPS,
    Kind.START: power.STEPS,
    Kind.SHUTDOWN: power.STEPS,
    Kind.STOP: power.STEPS,
    Kind.REBOOT: power.REBOOT_STEPS,
    Kind.FORCE_REBOOT: power.REBOOT_STEPS,
    Kind.REINSTALL: reinstall.STEPS,
    Kind.RESET_PASSWORD: reset_password.STEPS,
    Kind.SET_RDNS: set_rdns.STEPS,
    Kind.BACKUP: backup.BACKUP_STEPS,
    Kind.RESTORE: backup.RESTORE_STEPS,
}
