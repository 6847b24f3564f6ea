"""What a customer may read of an operation; these words never name who runs the servers behind them."""

from __future__ import annotations

from collections.abc import Mapping

from provisioner.operation import Kind, Operation, State

DOING: Mapping[Kind, str] = {
    Kind.CREATE: "Your server is being set up.",
    Kind.LINK: "Your server is being connected.",
    Kind.CHANGE: "Your server is being changed.",
    Kind.SUSPEND: "Your server is being suspended.",
    Kind.UNSUSPEND: "Your server is being reactivated.",
    Kind.TERMINATE: "Your server is being terminated.",
    Kind.START: "Your server is being started.",
    Kind.SHUTDOWN: "Your server is being shut down.",
    Kind.STOP: "Your server is being stopped.",
    Kind.REBOOT: "Your server is being restarted.",
    Kind.FORCE_REBOOT: "Your server is being restarted.",
    Kind.REINSTALL: "Your server is being reinstalled.",
    Kind.RESET_PASSWORD: "A new password is being set.",
    Kind.SET_RDNS: "The host name of your server is being set.",
    Kind.BACKUP: "A backup of your server is being made.",
    Kind.RESTORE: "A backup of your server is being restored.",
}

DONE = "Done."
HELD = "The provider checks this before it goes on."


def message(operation: Operation) -> str:
    """How an operation stands, in one sentence."""
    match operation.state:
        case State.HELD:
            return operation.error_message or HELD
        case State.FAILED | State.CANCELLED:
            return operation.error_message
        case State.DELIVERING | State.SUCCEEDED:
            return DONE
    return DOING[operation.kind]
