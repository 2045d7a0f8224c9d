"""The PostgreSQL store against the memory store: the same calls, in any order, the same answers."""

from collections.abc import Callable, Iterator

import pytest

from headrace.ports.store import StoreSettings
from headrace.stores.postgres import PostgresStore
from headrace.testing.conformance import ManualTime, PostModelConformance, StoreModelConformance
from servers.postgres import Postgres
from tests.conformance.ground import Ground

Make = Callable[[StoreSettings], PostgresStore]


class TestAgainstMemory(StoreModelConformance):
    walks = 10  # each asks a server a thousand things

    @pytest.fixture
    def make_fresh_store(self, time: ManualTime, postgres: Postgres) -> Iterator[Make]:
        with Ground(postgres, time.wall) as ground:
            yield lambda settings: PostgresStore(ground.fresh(), settings, wall=time.wall)


class TestPostAgainstMemory(PostModelConformance):
    walks = 5

    @pytest.fixture
    def make_fresh_store(self, time: ManualTime, postgres: Postgres) -> Iterator[Make]:
        with Ground(postgres, time.wall) as ground:
            yield lambda settings: PostgresStore(ground.fresh(), settings, wall=time.wall)
