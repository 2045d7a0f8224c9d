"""A farm: a store, and trees of processes on it."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # as the programs of these tests see their modules

from kit import Farm, farm_on

from tests.effort import effort
from tests.integration.web.conftest import impatient, serve

__all__ = ["impatient", "serve"]

STORES = effort(["postgres_url"], at_night=["sqlite_url", "postgres_url"])  # by day the ledger kills on SQLite


@pytest.fixture(params=STORES, ids=lambda url: url.removesuffix("_url"))
async def farm(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Farm]:
    async with farm_on(request.getfixturevalue(request.param), tmp_path) as farm:
        yield farm
