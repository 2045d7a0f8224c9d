"""What a guard keeps of callers that go away, and what a process without workers does with permits."""

import asyncio
from collections.abc import Callable

import pytest

from headrace.core.breaker import Breaker
from headrace.core.fleet import BreakerState, Fleet, Terms
from headrace.notifiers.local import LocalNotifier
from headrace.runtime.clock import SystemClock
from headrace.runtime.guard import UpstreamGuard, UpstreamPolicy
from headrace.runtime.upstreams import Upstreams
from headrace.stores.memory import MemoryStore

FAST = Breaker(
    minimum_number_of_calls=1,
    sliding_window_size=1,
    wait_duration_in_open_state=0.1,
    permitted_number_of_calls_in_half_open_state=2,
)


class Process:
    """One process with one upstream."""

    def __init__(self, terms: Terms) -> None:
        clock = SystemClock()
        self.store = MemoryStore(wall=clock.wall)
        self.service = Upstreams(
            self.store, LocalNotifier(None), clock, open_=self.open, wait=lambda work, _: work.close()
        )
        self.guard: UpstreamGuard = self.service.add("bank", UpstreamPolicy(terms))

    async def open(self) -> None:
        await self.store.open()
        self.service.start()

    async def document(self) -> Fleet:
        at, documents = await self.store.upstreams()
        return Fleet.of(documents.get("bank"), at)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_who_is_cancelled_in_line_leaves_it() -> None:
    process = Process(Terms(max_concurrency=1))
    await process.open()
    guard = process.guard
    first = await guard.acquire()
    waiting = asyncio.ensure_future(guard.acquire())
    await until(lambda: guard.core.slots.waiting)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert guard.core.slots.waiting == 0
    assert not guard._waiting
    first.succeeded()
    (await guard.acquire()).succeeded()
    assert guard.core.in_flight == 0
    await process.service.stop()


async def test_a_turn_of_one_who_is_cancelled_goes_to_the_next() -> None:
    process = Process(Terms(max_concurrency=1))
    await process.open()
    guard = process.guard
    first = await guard.acquire()
    one = asyncio.ensure_future(guard.acquire())
    await until(lambda: guard.core.slots.waiting == 1)
    two = asyncio.ensure_future(guard.acquire())
    await until(lambda: guard.core.slots.waiting == 2)
    first.succeeded()  # it is the turn of `one`
    one.cancel()
    (await asyncio.wait_for(two, 1)).succeeded()
    await process.service.stop()


async def test_a_permit_that_came_too_late_for_its_caller_goes_back() -> None:
    process = Process(Terms(FAST))
    await process.open()
    guard = process.guard
    (await guard.acquire()).failed()
    await until(lambda: guard.core.state is BreakerState.OPEN and not guard.core.tripped)
    await until(lambda: guard.core.ask_permits(process.service.now(), 2))
    process.service.poke()
    await until(lambda: guard.core.free_permits == 2)
    assert len((await process.document()).permits) == 2
    await until(lambda: not guard.core.free_permits)
    async with asyncio.timeout(5):
        while (await process.document()).permits:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await process.service.stop()
