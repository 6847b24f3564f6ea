"""Settings that have another name now: the former one is read, with a warning, for one minor version.

A rename is one line in `RENAMED`; a test says when the line has to go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.config.agreement import Loc, Problem, Tables

ANY = "*"  # stands for every name in a table of tables, such as [billing.*]


@dataclass(frozen=True, slots=True)
class Renamed:
    """A key that moved within its table.

    :param table: the names that lead to the table; `ANY` for each name that people choose.
    :param since: the version that renamed it, such as `0.2`; the next minor version knows it no more.
    """

    table: Loc
    before: str
    now: str
    since: str


RENAMED: Sequence[Renamed] = ()


def with_present_names(
    tables: Tables, renamed: Sequence[Renamed]
) -> tuple[dict[str, Any], list[Problem], list[Problem]]:
    """The tables with each former name replaced by the present one.

    :returns: the tables, the warnings, and the mistakes: a key that stands there under both names.
    """
    warnings: list[Problem] = []
    mistakes: list[Problem] = []
    for one in renamed:
        tables = _replaced(tables, one, one.table, (), warnings, mistakes)
    return dict(tables), warnings, mistakes


def _replaced(
    table: Any, one: Renamed, ahead: Loc, behind: Loc, warnings: list[Problem], mistakes: list[Problem]
) -> Any:
    if not isinstance(table, dict):
        return table  # its own check names what is wrong with it
    if ahead:
        names = list(table) if ahead[0] == ANY else [name for name in table if name == ahead[0]]
        inner = {
            name: _replaced(table[name], one, ahead[1:], (*behind, name), warnings, mistakes)
            for name in names
        }
        return {**table, **inner}
    if one.before not in table:
        return table
    if one.now in table:
        mistakes.append(((*behind, one.before), f"is the former name of {one.now}, which is there too"))
        return {key: value for key, value in table.items() if key != one.before}
    words = f"is called {one.now} since version {one.since}; the next one knows only that"
    warnings.append(((*behind, one.before), words))
    return {one.now if key == one.before else key: value for key, value in table.items()}
