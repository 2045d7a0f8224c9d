"""What the upstreams of a worker's tasks allow it."""

import asyncio
import random

from headrace.core.breaker import Breaker
from headrace.core.fleet import BreakerState, Terms
from headrace.runtime.needs import Needs
from tests.unit.runtime.test_upstreams import FAST, Process


async def test_a_worker_for_suspects_gets_its_turn_before_the_breaker_opens_again() -> None:
    brief = Breaker(
        minimum_number_of_calls=1,
        sliding_window_size=1,
        wait_duration_in_open_state=FAST.wait_duration_in_open_state,
        permitted_number_of_calls_in_half_open_state=1,
        max_wait_duration_in_half_open_state=2,
    )
    process = Process(Terms(brief))
    await process.open()
    guard, service = process.guard, process.service
    needs = Needs(service, {"charge": (guard,)}, 4, random.Random(1), others_first=True)
    (await guard.acquire()).failed()
    async with asyncio.timeout(10):
        while guard.core.state is not BreakerState.HALF_OPEN:
            guard.core.ask_permits(service.now(), 1)  # as another worker does, which then has no job for it
            service.poke()
            await asyncio.sleep(0.05)
    guard.core.drop_free_permits(service.now(), 0.0)
    half_open_at, asked_at = service.now(), None
    while guard.core.state is BreakerState.HALF_OPEN and asked_at is None:
        needs.turn(service.now())
        asked_at = service.now() if guard.core._permits.asked else None
        await asyncio.sleep(0.05)
        service.poke()
    assert asked_at is not None
    assert 0.5 < asked_at - half_open_at < 1.5, "the others come first, for half of the time"
    await service.stop()
