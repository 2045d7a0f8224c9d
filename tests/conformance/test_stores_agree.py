"""Random walks over every verb: a store answers as the memory store does."""

from itertools import count
from pathlib import Path

import pytest

from headrace.stores.memory import MemoryStore
from headrace.stores.sqlite import SqliteStore
from headrace.testing.conformance import MakeStore, ManualTime, StoreModelConformance


class TestMemory(StoreModelConformance):
    """The walk itself is sound: the model gives the same answers twice."""

    @pytest.fixture
    def make_fresh_store(self, time: ManualTime) -> MakeStore:
        return lambda settings: MemoryStore(settings, wall=time.wall)


class TestSqlite(StoreModelConformance):
    @pytest.fixture
    def make_fresh_store(self, time: ManualTime, tmp_path: Path) -> MakeStore:
        numbers = count()
        return lambda settings: SqliteStore(tmp_path / f"{next(numbers)}.db", settings, wall=time.wall)
