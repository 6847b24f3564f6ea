"""Some of the engine's tests once more, over PostgreSQL: order, leases, brakes, lost answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.order.conftest import life, make_life  # noqa: F401 - fixtures
from tests.postgres import Postgres


@pytest.fixture
def store_tables(postgres: Postgres) -> dict[str, Any]:
    return {"url": postgres.empty()}
