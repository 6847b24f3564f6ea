"""Where a retried operation goes on: where it failed, but what it judged then is judged anew.

Weeks may lie between. Whatever was sent and may still come of it is looked for first; where nothing is under
way the operation begins anew, and state, size and brake are judged as for one that was asked for now.
"""

from __future__ import annotations

from typing import Any

from provisioner.operation import Kind, Operation
from provisioner.operations import FIRST

_WAKE = frozenset({"start", "on"})
_POWER = frozenset({"shutdown", "watch", "stop"}) | _WAKE  # harmless to repeat: only what is there counts
_SEND = frozenset({"send", "restore"})  # it was not sent, or nothing came of it
_ALWAYS_ANEW = frozenset({Kind.TERMINATE, Kind.SUSPEND, Kind.UNSUSPEND})
_WAKING = frozenset({Kind.UNSUSPEND, Kind.CREATE})  # what brings a VM back whose terminate was taken back
_OF_A_TERMINATE = ("hooked", "lifted", "attempt", "was", "delete_sent")


def goes_on(operation: Operation) -> dict[str, Any]:
    """The step, the memo and the rest of the operation's fields with which a retry begins."""
    step = _step(operation)
    begins_anew = step == FIRST and operation.kind is not Kind.CREATE
    return {"step": step, "memo": _memo(operation), "sent": operation.sent and not begins_anew}


def _step(operation: Operation) -> str:
    kind, step = operation.kind, operation.step
    if kind in _ALWAYS_ANEW:
        return FIRST
    if kind is Kind.CREATE:
        return FIRST if step in _POWER else step
    if kind is Kind.CHANGE and step in _POWER | {"settle_power"}:
        return "confirm"
    return FIRST if step in _SEND else step


def _memo(operation: Operation) -> dict[str, Any]:
    """Without what was waited for: a grace counts from now. What went down is not shut down again."""
    memo = operation.memo
    if operation.kind is Kind.TERMINATE:
        return {name: memo[name] for name in _OF_A_TERMINATE if name in memo}
    went_down = operation.kind in _WAKING and operation.step in _WAKE
    return {name: value for name, value in memo.items() if went_down or name != "shutdown_at"}
