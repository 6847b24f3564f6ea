"""Finds the users' functions in their files."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from provisioner.errors import SettingsError
from provisioner.lifecycle import (
    ARGUMENTS,
    HOOKS,
    Lifecycle,
    OperationFacts,
    ServiceFacts,
    line_of,
    place_of,
    taken_by,
    words_of,
)

PROJECT = "provisioner"


class _ByName(pluggy.PluginManager):
    """Takes a function for a hook by its name alone: a user's file needs no import of ours."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        return {} if name in HOOKS and inspect.isfunction(getattr(plugin, name)) else None


def load_from(directory: Path) -> Lifecycle:
    """See `load`."""
    plugins = _ByName(PROJECT)
    plugins.add_hookspecs(_specification())
    lifecycle = Lifecycle(plugins)
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix == ".py" and path.name[0] != "_")
    except OSError as error:
        words = (
            f"names {directory}, which cannot be read: {error.strerror}; must be a folder with Python files"
        )
        raise SettingsError([f"[hooks] directory: {words}"]) from None
    for path in paths:
        try:
            plugins.register(_module(path), name=path.name)
            lifecycle.files.append(path.name)
        except (Exception, SystemExit) as error:  # whatever a user's file does
            lifecycle.left_out.append(path.name)
            lifecycle.problems.append(f"{place_of(path, line_of(error, str(path)))}: {words_of(error)}")
    return lifecycle


def _module(path: Path) -> ModuleType:
    """The file, run as a module that `sys.modules` knows, as dataclasses in it need.

    It is not imported, for an import leaves a `__pycache__` in a folder that is not ours.
    """
    module = ModuleType(f"provisioner_hooks_{path.stem}")
    module.__file__ = str(path)
    code = compile(path.read_bytes(), path, "exec", dont_inherit=True)
    sys.modules[module.__name__] = module
    try:
        exec(code, vars(module))  # noqa: S102 - the operator's own file
        for name, value in vars(module).items():
            if name.startswith(("before_", "after_")) and callable(value):
                _check(name, value)
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return module


def _check(name: str, hook: Callable[..., object]) -> None:
    """Refuses what would never be called or never do anything: no veto is to be missed in silence."""
    if name not in HOOKS:
        raise NameError(f"{name} is no hook: there are before_<kind>, after_<kind> and after_failed")
    is_lazy = inspect.iscoroutinefunction(hook) or inspect.isgeneratorfunction(hook)
    if not inspect.isfunction(hook) or is_lazy or inspect.isasyncgenfunction(hook):
        raise TypeError(f"{name} must be a plain function, without async and yield")
    try:
        inspect.signature(hook).bind(**dict.fromkeys(taken_by(hook)))
    except TypeError as error:
        raise TypeError(f"{name}: {error}; a hook is given {' and '.join(ARGUMENTS)}, by name") from None


def _specification() -> type:
    """A function of each hook's name and arguments, as pluggy wants to be told them."""
    mark = pluggy.HookspecMarker(PROJECT)

    def specified(name: str) -> Any:
        def hook(operation: OperationFacts, service: ServiceFacts) -> None: ...

        hook.__name__ = name
        return staticmethod(mark(hook))

    return type("Specification", (), {name: specified(name) for name in HOOKS})
