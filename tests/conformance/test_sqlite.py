"""The SQLite store against the public suites, on a manual clock and on its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.ports.store import StoreSettings
from headrace.stores.sqlite import SqliteStore
from headrace.testing.conformance import ManualTime, PostConformance, StoreConformance, StoreTime, VaultConformance
from headrace.testing.conformance.store_claim import ClaimSuite
from headrace.testing.conformance.store_settle import SettleSuite
from headrace.testing.conformance.store_workers import WorkersSuite
from tests.effort import effort

OF_TIME = effort(
    (ClaimSuite, SettleSuite, WorkersSuite), at_night=(StoreConformance, VaultConformance, PostConformance)
)
MakeSqlite = Callable[[StoreSettings], SqliteStore]


class TestManualClock(StoreConformance, VaultConformance, PostConformance):
    @pytest.fixture
    def time(self) -> ManualTime:
        return ManualTime()

    @pytest.fixture
    def make_store(self, time: ManualTime, tmp_path: Path) -> MakeSqlite:
        return lambda settings: SqliteStore(tmp_path / "jobs.db", settings, wall=time.wall)


class TestOwnClock(*OF_TIME):
    @pytest.fixture
    def time(self) -> StoreTime:
        return StoreTime()

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeSqlite:
        return lambda settings: SqliteStore(tmp_path / "jobs.db", settings)
