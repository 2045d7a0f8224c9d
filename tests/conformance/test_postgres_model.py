"""The PostgreSQL store against the memory store: the same calls, in any order, the same answers."""

from collections.abc import Callable, Iterator

import pytest

from headrace.ports.store import StoreSettings
from headrace.stores.postgres import PostgresStore
from headrace.testing.conformance import ManualTime, StoreModelConformance
from servers.postgres import Postgres


class TestAgainstMemory(StoreModelConformance):
    @pytest.fixture
    def make_fresh_store(
        self, time: ManualTime, postgres: Postgres
    ) -> Iterator[Callable[[StoreSettings], PostgresStore]]:
        urls: list[str] = []

        def make(settings: StoreSettings) -> PostgresStore:
            urls.append(postgres.create_database())
            return PostgresStore(urls[-1], settings, wall=time.wall)

        yield make
        for url in urls:
            postgres.drop_database(url)
