"""The PostgreSQL store against the public suites, on a manual clock and on its own."""

from collections.abc import Callable

import pytest

from headrace.ports.store import StoreSettings
from headrace.stores.postgres import PostgresStore
from headrace.testing.conformance import ManualTime, StoreConformance, StoreTime, VaultConformance
from servers.pgbouncer import PgBouncer

MakePostgres = Callable[[StoreSettings], PostgresStore]


class TestManualClock(StoreConformance, VaultConformance):
    @pytest.fixture
    def time(self) -> ManualTime:
        return ManualTime()

    @pytest.fixture
    def make_store(self, time: ManualTime, postgres_url: str) -> MakePostgres:
        return lambda settings: PostgresStore(postgres_url, settings, wall=time.wall)


class TestOwnClock(StoreConformance, VaultConformance):
    @pytest.fixture
    def time(self) -> StoreTime:
        return StoreTime()

    @pytest.fixture
    def make_store(self, postgres_url: str) -> MakePostgres:
        return lambda settings: PostgresStore(postgres_url, settings)


class TestThroughAPooler(StoreConformance):
    """Sessions are lent by transaction: no prepared statements, no lock of a session's own."""

    @pytest.fixture
    def time(self) -> ManualTime:
        return ManualTime()

    @pytest.fixture
    def make_store(self, time: ManualTime, postgres_url: str, pgbouncer: PgBouncer) -> MakePostgres:
        return lambda settings: PostgresStore(pgbouncer.url(postgres_url), settings, wall=time.wall)
