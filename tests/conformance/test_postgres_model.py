"""The PostgreSQL store against the memory store: the same calls, in any order, the same answers."""

from collections.abc import Callable

import pytest

from headrace.ports.store import StoreSettings
from headrace.stores.postgres import PostgresStore
from headrace.testing.conformance import ManualTime, PostModelConformance, StoreModelConformance
from servers.postgres import Postgres
from tests.conformance.ground import Ground


class TestAgainstMemory(StoreModelConformance):
    walks = 10  # each asks a server a thousand things

    @pytest.fixture
    def make_fresh_store(self, time: ManualTime, postgres: Postgres) -> Callable[[StoreSettings], PostgresStore]:
        ground = Ground(postgres, time.wall)
        return lambda settings: PostgresStore(ground.fresh(), settings, wall=time.wall)


class TestPostAgainstMemory(PostModelConformance):
    walks = 10

    @pytest.fixture
    def make_fresh_store(self, time: ManualTime, postgres: Postgres) -> Callable[[StoreSettings], PostgresStore]:
        ground = Ground(postgres, time.wall)
        return lambda settings: PostgresStore(ground.fresh(), settings, wall=time.wall)
