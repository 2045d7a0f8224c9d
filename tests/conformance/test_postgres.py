"""The PostgreSQL store against the public suites, on a manual clock and on its own."""

from collections.abc import Callable, Iterator

import pytest

from headrace.ports.store import StoreSettings
from headrace.stores.postgres import PostgresStore
from headrace.testing.conformance import ManualTime, PostConformance, StoreConformance, StoreTime, VaultConformance
from headrace.testing.conformance.store_claim import ClaimSuite
from headrace.testing.conformance.store_enqueue import EnqueueSuite
from headrace.testing.conformance.store_settle import SettleSuite
from headrace.testing.conformance.store_workers import WorkersSuite
from servers.pgbouncer import PgBouncer
from servers.postgres import Postgres
from tests.conformance.ground import Ground
from tests.effort import effort

OF_TIME = effort((ClaimSuite, SettleSuite, WorkersSuite), at_night=(StoreConformance, VaultConformance))
MakePostgres = Callable[[StoreSettings], PostgresStore]


@pytest.fixture(scope="module")
def manual_ground(postgres: Postgres) -> Iterator[Ground]:
    with Ground(postgres, ManualTime().wall) as ground:
        yield ground


@pytest.fixture(scope="module")
def ground(postgres: Postgres) -> Iterator[Ground]:
    with Ground(postgres, None) as ground:
        yield ground


class TestManualClock(StoreConformance, VaultConformance, PostConformance):
    @pytest.fixture
    def time(self) -> ManualTime:
        return ManualTime()

    @pytest.fixture
    def make_store(self, time: ManualTime, manual_ground: Ground) -> MakePostgres:
        url = manual_ground.fresh()
        return lambda settings: PostgresStore(url, settings, wall=time.wall)


class TestOwnClock(*OF_TIME):
    @pytest.fixture
    def time(self) -> StoreTime:
        return StoreTime()

    @pytest.fixture
    def make_store(self, ground: Ground) -> MakePostgres:
        url = ground.fresh()
        return lambda settings: PostgresStore(url, settings)


class TestThroughAPooler(EnqueueSuite, ClaimSuite, SettleSuite, WorkersSuite, PostConformance):
    """Sessions are lent by transaction: no prepared statements, no lock of a session's own. The verbs that write."""

    @pytest.fixture
    def time(self) -> ManualTime:
        return ManualTime()

    @pytest.fixture
    def make_store(self, time: ManualTime, manual_ground: Ground, pgbouncer: PgBouncer) -> MakePostgres:
        url = pgbouncer.url(manual_ground.fresh())
        return lambda settings: PostgresStore(url, settings, wall=time.wall)
