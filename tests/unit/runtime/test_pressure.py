"""What live feeds give up while their event loop is late."""

import asyncio
import logging

import pytest

from headrace.runtime.clock import SystemClock
from headrace.runtime.pressure import LOOK_EVERY_S, Pressure


class Late(SystemClock):
    """A clock of a loop that comes back so late from each sleep."""

    def __init__(self) -> None:
        self.late_s = 0.0
        self.at = 0.0

    def now(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds + self.late_s
        await asyncio.sleep(0)


async def passes(clock: Late, seconds: float) -> None:
    """So much time, or until nobody lets it pass."""
    until, still = clock.at + seconds, 0
    while clock.at < until and still < 5:
        before = clock.at
        await asyncio.sleep(0)
        still = 0 if clock.at > before else still + 1


async def test_it_goes_up_after_a_while_and_down_again_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Late()
    pressure = Pressure(clock)
    with pressure.watched(), pressure.watched():
        await passes(clock, 5)
        assert (pressure.level, pressure.pace_s, pressure.closed) == (0, 0.0, False)
        clock.late_s = 0.3
        await passes(clock, 0.6)
        assert pressure.level == 0, "not for one long turn"
        await passes(clock, 2)
        assert (pressure.level, pressure.pace_s, pressure.closed) == (1, 1.0, False)
        clock.late_s = 1.5
        await passes(clock, 8)
        assert (pressure.level, pressure.pace_s, pressure.closed) == (2, 3.0, True)
        clock.late_s = 0.1
        await passes(clock, 30)
        assert pressure.level == 1, "it is still as late as a loop that only just manages"
        clock.late_s = 0.01
        await passes(clock, 10)
        assert pressure.level == 0
    told = [(record.levelname, record.getMessage().partition("; ")[2]) for record in caplog.records]
    assert [level for level, _ in told] == ["WARNING", "WARNING", "INFO", "INFO"]
    assert told[1][1] == "readers are told of news every 3 s, and further ones are asked to come back"


async def test_one_long_turn_is_no_pressure() -> None:
    clock = Late()
    pressure = Pressure(clock)
    with pressure.watched():
        for _ in range(20):
            clock.late_s = 5.0
            await passes(clock, LOOK_EVERY_S)
            clock.late_s = 0.0
            await passes(clock, 3 * LOOK_EVERY_S)
            assert pressure.level == 0


def test_a_loop_that_has_ended_leaves_no_pressure_to_the_next() -> None:
    clock = Late()
    pressure = Pressure(clock)

    async def serve() -> int:
        with pressure.watched():
            await passes(clock, 20)
            return pressure.level

    clock.late_s = 2.0
    assert asyncio.run(serve()) == 2
    assert not pressure.closed
    abandoned = asyncio.new_event_loop()
    assert abandoned.run_until_complete(serve()) == 2
    abandoned.close()
    assert not pressure.closed
    clock.late_s = 0.0
    assert asyncio.run(serve()) == 0


async def test_without_readers_nothing_is_watched_once_it_is_over() -> None:
    clock = Late()
    pressure = Pressure(clock)
    clock.late_s = 2.0
    with pressure.watched():
        await passes(clock, 20)
    assert pressure.closed, "the last reader has gone; the loop is as late as before"
    await passes(clock, 20)
    assert pressure.closed
    clock.late_s = 0.0
    await passes(clock, 20)
    assert pressure.level == 0
    at = clock.at
    await passes(clock, 5)
    assert clock.at == at, "nobody looks any more"
    with pressure.watched():
        clock.late_s = 2.0
        await passes(clock, 20)
        assert pressure.closed, "and again with the next reader"
