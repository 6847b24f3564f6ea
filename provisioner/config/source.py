"""From config.toml to the settings, or to every mistake in it at once (contract, section 2)."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from provisioner.config import renamed
from provisioner.config.agreement import Loc, Problem, Tables, disagreements
from provisioner.config.renamed import with_present_names
from provisioner.config.settings import PLATFORMS, AnyBilling, Settings, StoreSettings
from provisioner.config.values import kind, shown
from provisioner.errors import SettingsError

_DEEPEST = 6  # [billing.shop.panel] and a list are four; what is deeper is no key of ours


Tell = Callable[[str], None]


def load(path: Path, environ: Mapping[str, str], warn: Tell = lambda line: None) -> Settings:
    """The settings that the file at `path` holds.

    :param path: config.toml; paths in it are relative to its folder.
    :param environ: where `"env:NAME"` is looked up.
    :param warn: is told of each key that stands there under a former name, a line each.
    :raises SettingsError: if the file is missing, no TOML, or holds anything wrong; `problems` has every
        mistake, one line each: file, key, what is wrong, what would be right; never a secret's value.
    """
    return parse(_read(path), name=str(path), folder=path.parent, environ=environ, warn=warn)


def parse(
    tables: Tables,
    *,
    name: str,
    folder: Path,
    environ: Mapping[str, str],
    warn: Tell = lambda line: None,
) -> Settings:
    """The settings that tables, read from TOML, hold.

    :param name: what mistakes name as the file.
    :param folder: what paths are relative to, and `environ` where `"env:NAME"` is looked up.
    :param warn: as for `load`.
    :raises SettingsError: as `load`.
    """
    unread: dict[Loc, str] = {}
    tables, former, doubled = with_present_names(tables, renamed.RENAMED)
    for loc, words in former:
        warn(f"{name}: {_place(loc, tables)}: {words}")
    tables = _replaced(tables, (), folder, environ, unread)
    settings, wrong = _validated(tables, folder)
    wrong = [(loc, words) for loc, words in wrong if not _within(loc, unread)]
    problems = [*doubled, *unread.items(), *wrong, *disagreements(tables)]
    if settings is None or problems:
        lines = (f"{name}: {_place(loc, tables)}: {words}" for loc, words in problems)
        raise SettingsError(list(dict.fromkeys(lines)))
    return settings


def store_at(url: str, folder: Path, environ: Mapping[str, str]) -> StoreSettings:
    """A store that is named outside of any file, as `[store] url` would name it.

    :param folder: what a relative path is relative to.
    :raises SettingsError: it is no such address.
    """
    unread: dict[Loc, str] = {}
    tables = _replaced({"store": {"url": url}}, (), folder, environ, unread)
    try:
        if not unread:
            return StoreSettings.model_validate(tables["store"], context={"folder": folder})
        problems = list(unread.values())
    except ValidationError as error:
        problems = [fault["msg"] for fault in error.errors(include_url=False, include_input=False)]
    raise SettingsError([f"the store's address {problem}" for problem in problems])


def _read(path: Path) -> dict[str, Any]:
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")
        return tomllib.loads(text)
    except FileNotFoundError:
        words = "is missing; `provisioner init` writes one"
    except OSError as error:
        words = f"cannot be read: {error.strerror}; must be a file that this user may read"
    except UnicodeDecodeError as error:
        words = f"is no UTF-8 at byte {error.start}; must be saved as UTF-8"
    except RecursionError:
        words = "is nested too deeply; must be as config.example.toml shows"
    except ValueError as error:
        last = f"at line {len(text.splitlines())}, the last"
        words = f"is no TOML: {str(error).replace('at end of document', last)}"
    raise SettingsError([f"{path}: {words}"])


def _replaced(value: Any, loc: Loc, folder: Path, environ: Mapping[str, str], unread: dict[Loc, str]) -> Any:
    """`value` with its `env:` and `file:` strings read; an unreadable one is None, and why is in `unread`."""
    if isinstance(value, dict) and len(loc) < _DEEPEST:
        return {key: _replaced(item, (*loc, key), folder, environ, unread) for key, item in value.items()}
    if isinstance(value, list) and len(loc) < _DEEPEST:
        return [_replaced(item, (*loc, place), folder, environ, unread) for place, item in enumerate(value)]
    try:
        return _referred(value, folder, environ) if isinstance(value, str) else value
    except LookupError as error:
        unread[loc] = error.args[0]
        return None


def _referred(text: str, folder: Path, environ: Mapping[str, str]) -> str:
    name = text.partition(":")[2]
    if text.startswith("env:"):
        if name not in environ:
            raise LookupError(f"names the environment variable {shown(name)}, which is not set; must be set")
        return environ[name]
    return _content(folder / name) if text.startswith("file:") else text


def _content(path: Path) -> str:
    try:
        if not path.is_file():  # a device or a pipe would be read for ever
            raise LookupError(f"names {shown(str(path))}, which is no file; must be a file with the value")
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
        raise LookupError(f"names {shown(str(path))}, which {why}; must be readable for this user") from None
    except UnicodeDecodeError:
        raise LookupError(f"names {shown(str(path))}, which is no text; must be UTF-8") from None
    return content.removesuffix("\n")


def _validated(tables: Tables, folder: Path) -> tuple[Settings | None, list[Problem]]:
    try:
        return Settings.model_validate(tables, context={"folder": folder}), []
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        return None, [_problem(fault["type"], fault["loc"], fault["msg"], tables) for fault in faults]


def _problem(fault: str, loc: Loc, words: str, tables: Tables) -> Problem:
    place = loc
    if loc[0] == "billing" and len(loc) > 3 and loc[2] in PLATFORMS:
        place = (*loc[:2], *loc[3:])  # pydantic puts the platform between the name and the key
    if fault == "extra_forbidden":
        words = f"is no known key; {_known(loc)}"
    elif fault != "wrong_value":
        words = f"is {kind(_value(loc, tables))}; must be a table"
    elif loc[2:] == ("[key]",):
        place = loc[:2]  # pydantic's mark for the key itself
    return place, words


def _known(loc: Loc) -> str:
    """Which key may have been meant by the unknown one at `loc`."""
    table: Any = Settings
    for part in loc[:-1]:
        if get_origin(table) is Mapping:
            table = get_args(table)[1]
        elif table is AnyBilling:
            table = PLATFORMS[str(part)]
        else:
            table = table.model_fields[part].annotation
    close = get_close_matches(str(loc[-1]), table.model_fields, n=1)
    return f"did you mean {close[0]}?" if close else f"must be one of {', '.join(table.model_fields)}"


def _within(loc: Loc, places: Iterable[Loc]) -> bool:
    return any(loc[: len(place)] == place for place in places)


def _value(loc: Loc, tables: Tables) -> object:
    """What stands at `loc`; None where nothing does."""
    found: Any = tables
    for part in loc:
        keyed = isinstance(found, dict) and part in found
        found = found[part] if keyed or (isinstance(found, list) and isinstance(part, int)) else None
    return found


def _place(loc: Loc, tables: Tables) -> str:
    """A key's path as people write it: `[billing.shop] secrets (item 2)`."""
    keys = [shown(part) for part in loc if isinstance(part, str)]
    if isinstance(_value(loc, tables), dict):
        return f"[{'.'.join(keys)}]"
    table = f"[{'.'.join(keys[:-1])}] " if keys[1:] else ""
    item = f" (item {loc[-1] + 1})" if isinstance(loc[-1], int) else ""
    return f"{table}{keys[-1]}{item}"
