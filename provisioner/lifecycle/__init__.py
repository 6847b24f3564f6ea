"""The users' own Python functions around operations: `before_<kind>`, `after_<kind>` and `after_failed`.

They are looked for, by name, in the files of the directory that `[hooks]` names, and called with those of the
arguments `operation` and `service` that they take. They are given facts, never passwords, and copies of them.
`hooks/lifecycle/README.md` is their documentation.
"""

from __future__ import annotations

import copy
import inspect
import traceback
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.delivery import iso
from provisioner.operation import Kind, Operation
from provisioner.service import Service

if TYPE_CHECKING:
    import pluggy

HELD_CODE = "hook"
MOST_WORDS = 500  # characters of what a hook raised: enough to act on, few enough for a timeline

ARGUMENTS = ("operation", "service")
HOOKS = frozenset(
    {"after_failed"} | {f"{moment}_{kind.value}" for moment in ("before", "after") for kind in Kind}
)


@dataclass(frozen=True, slots=True)
class OperationFacts:
    """What a hook may know of an operation. Times are ISO 8601, UTC; `args` is what was asked.

    `error_code` and `error_message`, in words for the operator, are empty unless it failed or was cancelled.
    """

    id: str
    kind: str
    state: str
    billing: str
    service_id: str
    args: dict[str, Any]
    actor: str
    created_at: str
    error_code: str
    error_message: str


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What a hook may know of a service. `spec` has template, cpu_cores, mem (MB), disk, ip_count."""

    billing: str
    service_id: str
    status: str
    plan: str
    spec: dict[str, Any]
    vmid: int | None
    ips: tuple[str, ...]
    hostname: str
    client_id: str
    created_at: str


@dataclass(frozen=True, slots=True)
class HookError:
    """A hook that raised: which function, in which file and line (0: none of it), and what it said."""

    file: str
    line: int
    function: str
    message: str

    def __str__(self) -> str:
        return f"{self.function} in {place_of(self.file, self.line)}: {self.message}"


@dataclass(slots=True)
class Lifecycle:
    """The hooks that were found, and the files that did not load: `left_out`, and `problems`, a line each."""

    _plugins: pluggy.PluginManager | None = None  # None where no directory is named
    problems: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def before(
        self, operation: Operation, service: Service, lifted: Collection[str] = ()
    ) -> HookError | None:
        """Asks each `before_<kind>` in the order of the files' names, until one objects.

        :param lifted: the files whose objection a person has overruled; they are not asked again.
        :returns: the first objection, which holds the operation.
        """
        return next(self._call(f"before_{operation.kind}", operation, service, lifted), None)

    def after(self, operation: Operation, service: Service, *, failed: bool) -> list[HookError]:
        """Tells each `after_<kind>`, or `after_failed`; returns what they raised."""
        return list(self._call(_after(operation.kind, failed=failed), operation, service))

    def has_after(self, kind: Kind, *, failed: bool) -> bool:
        """Whether anybody is to be told."""
        return bool(self._implementations(_after(kind, failed=failed)))

    def has_any(self) -> bool:
        return bool(self.files)

    def _call(
        self, name: str, operation: Operation, service: Service, without: Collection[str] = ()
    ) -> Iterator[HookError]:
        """Each by itself, with facts of its own: one hook must not disturb another, nor the operation."""
        for hook in self._implementations(name):
            if hook.plugin_name in without:
                continue
            facts = {"operation": _operation_facts(operation), "service": _service_facts(service)}
            try:
                hook.function(**{argument: facts[argument] for argument in taken_by(hook.function)})
            except BaseException as error:  # also sys.exit(): the worker's thread must live on
                line = line_of(error, getattr(hook.plugin, "__file__", ""))
                yield HookError(hook.plugin_name, line, name, words_of(error))

    def _implementations(self, name: str) -> list[pluggy.HookImpl]:
        if self._plugins is None:
            return []
        caller: pluggy.HookCaller = getattr(self._plugins.hook, name)
        return caller.get_hookimpls()


def load(directory: Path | None) -> Lifecycle:
    """Loads the Python files of a directory, in the order of their names; those with `_` first are left out.

    :param directory: what `[hooks] directory` names, None for nothing.
    :returns: the hooks; `problems` says which files did not load and why. A file with a problem is left out.
    :raises SettingsError: it is no folder, or none that may be read: no veto is to be missed for that.
    """
    if directory is None:
        return Lifecycle()
    from provisioner.lifecycle.loading import load_from  # noqa: PLC0415 - most have none

    return load_from(directory)


def taken_by(hook: Callable[..., object]) -> list[str]:
    """Those of the arguments that a hook takes."""
    parameters = inspect.signature(hook).parameters
    return [argument for argument in ARGUMENTS if argument in parameters]


def _after(kind: Kind, *, failed: bool) -> str:
    return "after_failed" if failed else f"after_{kind}"


def words_of(error: BaseException) -> str:
    """What was raised, bounded and in printable characters: no store refuses it, no terminal obeys it."""
    try:
        said = str(error)
    except Exception:
        said = ""
    words = f"{type(error).__name__}: {said}" if said else type(error).__name__
    shown = "".join(character if character.isprintable() else " " for character in words[:MOST_WORDS])
    return shown if len(words) <= MOST_WORDS else f"{shown[:-1]}…"


def line_of(error: BaseException, file: str) -> int:
    """The line of that file that raised, or called what did; 0 for none of it."""
    line = 0
    for frame, at in traceback.walk_tb(error.__traceback__):
        line = at if frame.f_code.co_filename == file else line
    return line


def place_of(file: str | Path, line: int) -> str:
    return f"{file}, line {line}" if line else f"{file}"


def _operation_facts(operation: Operation) -> OperationFacts:
    return OperationFacts(
        operation.id,
        operation.kind.value,
        operation.state.value,
        operation.billing,
        operation.service_id,
        copy.deepcopy(operation.args),
        operation.actor,
        iso(operation.created_at),
        operation.error_code,
        operation.error_detail,
    )


def _service_facts(service: Service) -> ServiceFacts:
    return ServiceFacts(
        service.billing,
        service.service_id,
        service.status.value,
        service.plan,
        service.spec.as_dict() if service.spec else {},
        service.vmid,
        service.ips,
        service.hostname,
        service.client_id,
        iso(service.created_at),
    )
