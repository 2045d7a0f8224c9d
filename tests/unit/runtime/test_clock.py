"""The system's clocks."""

import time

import pytest

from headrace.ports.clock import Clock
from headrace.runtime.clock import SystemClock


async def test_it_is_the_system_s_and_sleeps_as_long_as_told() -> None:
    clock: Clock = SystemClock()
    assert clock.wall() == pytest.approx(time.time(), abs=5)
    before = clock.now()
    assert before == pytest.approx(time.monotonic(), abs=5)
    await clock.sleep(-1)
    await clock.sleep(0.02)
    assert 0.02 <= clock.now() - before < 5
