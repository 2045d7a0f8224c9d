"""The memory store against itself: the walk is sound if the model gives the same answers twice."""

import pytest

from headrace.stores.memory import MemoryStore
from headrace.testing.conformance import MakeStore, ManualTime, StoreModelConformance


class TestAgainstItself(StoreModelConformance):
    @pytest.fixture
    def make_fresh_store(self, time: ManualTime) -> MakeStore:
        return lambda settings: MemoryStore(settings, wall=time.wall)
