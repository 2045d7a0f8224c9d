import asyncio

import pytest

from headrace.ports.clock import Clock
from headrace.testing.clock import ManualClock


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_both_clocks_move_only_together_and_forward() -> None:
    manual = ManualClock(wall=100.0)
    clock: Clock = manual
    assert (clock.now(), clock.wall()) == (0.0, 100.0)
    manual.advance(2.5)
    assert (clock.now(), clock.wall()) == (2.5, 102.5)
    with pytest.raises(ValueError, match="forward"):
        manual.advance(-1)


async def test_sleepers_wake_in_the_order_of_their_ends() -> None:
    clock, woken = ManualClock(), []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    async with asyncio.TaskGroup() as group:
        for name, seconds in (("late", 3), ("soon", 1), ("also soon", 1)):
            group.create_task(sleeper(name, seconds))
        await turns()
        assert clock.next_wake_s() == 1
        clock.advance(0.9)
        await turns()
        assert woken == []
        clock.advance(0.1)
        await turns()
        assert woken == ["soon", "also soon"]
        assert clock.next_wake_s() == 2
        clock.advance(10)
    assert woken == ["soon", "also soon", "late"]
    assert clock.next_wake_s() is None


@pytest.mark.parametrize("seconds", [0, -1])
async def test_nothing_to_sleep(seconds: float) -> None:
    await ManualClock().sleep(seconds)


async def test_a_sleeper_that_was_cancelled_is_forgotten() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1))
    await turns()
    task.cancel()
    await turns()
    assert clock.next_wake_s() is None
    clock.advance(1)
