"""The SQLite store against the memory store: the same calls, in any order, the same answers."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from headrace.ports.store import StoreSettings
from headrace.stores.sqlite import SqliteStore
from headrace.testing.conformance import ManualTime, PostModelConformance, StoreModelConformance


class TestAgainstMemory(StoreModelConformance):
    @pytest.fixture
    def make_fresh_store(self, time: ManualTime, tmp_path: Path) -> Callable[[StoreSettings], SqliteStore]:
        numbers = count()
        return lambda settings: SqliteStore(tmp_path / f"jobs-{next(numbers)}.db", settings, wall=time.wall)


class TestPostAgainstMemory(PostModelConformance):
    @pytest.fixture
    def make_fresh_store(self, time: ManualTime, tmp_path: Path) -> Callable[[StoreSettings], SqliteStore]:
        numbers = count()
        return lambda settings: SqliteStore(tmp_path / f"jobs-{next(numbers)}.db", settings, wall=time.wall)
