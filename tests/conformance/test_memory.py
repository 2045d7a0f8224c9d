"""The memory store against the public suites, on a manual clock and on the real one."""

import time as wall_clock

import pytest

from headrace.stores.memory import MemoryStore
from headrace.testing.conformance import (
    MakeStore,
    ManualTime,
    PostConformance,
    StoreConformance,
    StoreTime,
    VaultConformance,
)


class OnManualTime:
    @pytest.fixture
    def time(self) -> ManualTime:
        return ManualTime()

    @pytest.fixture
    def make_store(self, time: ManualTime) -> MakeStore:
        return lambda settings: MemoryStore(settings, wall=time.wall)


class OnItsOwnTime:
    @pytest.fixture
    def time(self) -> StoreTime:
        return StoreTime()

    @pytest.fixture
    def make_store(self) -> MakeStore:
        return lambda settings: MemoryStore(settings, wall=wall_clock.time)


class TestStoreOnManualTime(OnManualTime, StoreConformance): ...


class TestStoreOnItsOwnTime(OnItsOwnTime, StoreConformance): ...


class TestVaultOnManualTime(OnManualTime, VaultConformance): ...


class TestVaultOnItsOwnTime(OnItsOwnTime, VaultConformance): ...


class TestPostOnManualTime(OnManualTime, PostConformance): ...


class TestPostOnItsOwnTime(OnItsOwnTime, PostConformance): ...
