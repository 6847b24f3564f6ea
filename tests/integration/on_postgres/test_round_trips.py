"""What an acceptance costs on a database that is not on the same machine: how often it is asked."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.conftest import World


def test_order_takes_few_round_trips(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written goes with what is asked next, or with the unit's end: three looks, not eighteen."""
    world.order("first")
    asked: list[Any] = []
    real = psycopg.Connection.execute

    def execute(connection: Any, query: Any, *args: Any, **options: Any) -> Any:
        asked.append(query)
        return real(connection, query, *args, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", execute)
    world.order("second")
    assert 3 <= len(asked) <= 8, asked
