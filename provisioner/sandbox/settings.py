"""What can be set on a sandbox, and how JSON becomes a checked record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from provisioner.errors import RequestInvalid
from provisioner.service import disk_megabytes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FailNextJob:
    """How the next job fails: with which output, and whether its work was done all the same."""

    error: str = "0xa3: timeout"
    after_vm: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """The sandbox's settings; durations are seconds, `max_mem` is MB, `max_disk` as in `10G`."""

    token: str = field(default="sandbox-token", repr=False)
    token_refused: bool = False
    latency: float = 0.0  # before every call
    templates: tuple[str, ...] = ("Debian10.0", "Ubuntu18.04", "Ubuntu20.04", "CentOS8")
    job_queued: float = 0.5
    job_executing: float = 1.5
    hang_jobs: bool = False  # jobs begin but none ends, until it is false again
    fail_next_job: FailNextJob | None = None
    listed: Literal["executing", "finished"] = "executing"  # when a new VM comes to be
    list_lag: float = 0.0  # a new VM is in the list only so much later
    reuse_vmids: bool = False  # a new VM gets the least free vmid, a deleted one's too
    shutdown_delay: float | None = 1.0  # null: the guest never obeys
    backup_duration: float = 2.0
    restore_duration: float = 2.0
    change_answer: Literal["true", "job"] = "true"
    stopped_word: str = "stopped"  # documented is only "running"
    backup_done_word: str = "finished"  # documented is only "pending"
    max_cpu_cores: int = 64
    max_mem: int = 262_144
    max_disk: str = "4T"
    max_ip_count: int = 32

    def __post_init__(self) -> None:
        disk_megabytes(self.max_disk)


@dataclass(frozen=True, slots=True)
class ForeignVm:
    """A VM that no job of this sandbox made: `mem` in MB, `vmid` null for the next free one."""

    cpu_cores: int = 1
    mem: int = 1024
    disk: str = "10G"
    ip_count: int = 1
    template: str = "Debian10.0"
    vmid: int | None = None
    power: Literal["running", "stopped"] = "running"

    def __post_init__(self) -> None:
        disk_megabytes(self.disk)


def built(record: type[T], values: Mapping[str, Any], over: T | None = None) -> T:
    """A dataclass from JSON values, all checked against its annotations.

    :param record: the dataclass; its numbers are never negative.
    :param over: an instance whose other values are kept; without it, the defaults.
    :raises RequestInvalid: for an unknown name or a value of the wrong kind; it names the key.
    """
    hints = get_type_hints(record)
    if unknown := sorted(set(values) - set(hints)):
        raise RequestInvalid(f"{unknown[0]}: unknown; known are {', '.join(sorted(hints))}")
    typed = {name: _typed(hints[name], value, name) for name, value in values.items()}
    try:
        return record(**typed) if over is None else replace(over, **typed)  # type: ignore[type-var]
    except ValueError as problem:
        raise RequestInvalid(str(problem)) from None


def _typed(hint: Any, value: Any, name: str) -> Any:
    """The value as the annotation has it: lists become tuples, objects become records."""
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        return tuple(_typed(get_args(hint)[0], entry, name) for entry in value)
    for kind in get_args(hint) if get_origin(hint) is UnionType else (hint,):
        if is_dataclass(kind) and isinstance(kind, type) and isinstance(value, Mapping):
            return built(kind, value)
        if _fits(kind, value):
            return value
    raise RequestInvalid(f"{name}: {value!r} does not fit, needed is {_words(hint)}")


def _fits(kind: Any, value: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind is float:
        return type(value) in (int, float) and 0 <= value < math.inf
    if kind is int:
        return type(value) is int and value >= 0
    return type(value) is kind


def _words(hint: Any) -> str:
    """What would be right, in JSON's words."""
    if get_origin(hint) is UnionType:
        return " or ".join(_words(kind) for kind in get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    names = {
        str: "a string",
        bool: "true or false",
        float: "a number from 0",
        int: "an integer from 0",
        NoneType: "null",
    }
    return names.get(hint, "a list of strings" if get_origin(hint) is tuple else "an object")
