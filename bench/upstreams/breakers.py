"""A breaker of the peers in its own environment: `python breakers.py NAME RUNS CALLS` prints its figures.

The guard on a healthy call, and how many of 100 callers it lets through at once when it is half-open.
"""

import asyncio
import contextlib
import datetime as dt
import json
import statistics
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

CALLERS = 100
HOLD_S = 0.05
OPEN_S = 0.3
MINIMUM = 5
ROUNDS = 5


class Upstream:
    """Counts the calls that are under way."""

    def __init__(self) -> None:
        self.failing = True
        self.most = self._now = 0
        self._lock = threading.Lock()

    def begin(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)

    def end(self) -> None:
        with self._lock:
            self._now -= 1
        if self.failing:
            raise OSError("down")

    async def call(self) -> None:
        self.begin()
        await asyncio.sleep(0 if self.failing else HOLD_S)
        self.end()

    def call_sync(self) -> None:
        self.begin()
        time.sleep(0 if self.failing else HOLD_S)
        self.end()


async def nothing() -> None:
    """What is called."""


def nothing_sync() -> None:
    """What is called in a thread."""


async def costs(guarded: Callable[[], Awaitable[Any]], runs: int, calls: int) -> dict[str, float]:
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        for _ in range(calls):
            await nothing()
        between = time.perf_counter()
        for _ in range(calls):
            await guarded()
        ended = time.perf_counter()
        found.append(((ended - between) - (between - began)) / calls)
    return told(found)


def told(seconds: list[float]) -> dict[str, float]:
    return {"guard_us": 1e6 * statistics.median(seconds), "guard_least_us": 1e6 * min(seconds)}


async def half_open(call: Callable[[Callable[[], Awaitable[None]]], Awaitable[Any]]) -> int:
    """How many of 100 callers are under way at once when the breaker is tried again."""
    most = 0
    for _ in range(ROUNDS):
        upstream = Upstream()
        for _ in range(MINIMUM + 1):
            with contextlib.suppress(Exception):
                await call(upstream.call)
        await asyncio.sleep(OPEN_S * 1.2)
        upstream.failing, upstream.most = False, 0
        await asyncio.gather(*(call(upstream.call) for _ in range(CALLERS)), return_exceptions=True)
        most = max(most, upstream.most)
    return most


async def purgatory(runs: int, calls: int) -> dict[str, float]:
    from purgatory import AsyncCircuitBreakerFactory  # noqa: PLC0415 - of three, the one that is asked for

    breaker = await AsyncCircuitBreakerFactory().get_breaker("bank")

    async def guarded() -> None:
        async with breaker:
            await nothing()

    tried = await AsyncCircuitBreakerFactory().get_breaker("shaky", threshold=MINIMUM, ttl=OPEN_S)

    async def call(target: Callable[[], Awaitable[None]]) -> None:
        async with tried:
            await target()

    return {**await costs(guarded, runs, calls), "half_open_in_flight": await half_open(call)}


async def aiobreaker(runs: int, calls: int) -> dict[str, float]:
    from aiobreaker import CircuitBreaker  # noqa: PLC0415

    breaker = CircuitBreaker()
    tried = CircuitBreaker(fail_max=MINIMUM, timeout_duration=dt.timedelta(seconds=OPEN_S))
    return {
        **await costs(lambda: breaker.call_async(nothing), runs, calls),
        "half_open_in_flight": await half_open(tried.call_async),
    }


async def pybreaker(runs: int, calls: int) -> dict[str, float]:
    from pybreaker import CircuitBreaker  # noqa: PLC0415

    return await asyncio.to_thread(_pybreaker, CircuitBreaker, runs, calls)


def _pybreaker(make: Any, runs: int, calls: int) -> dict[str, float]:
    breaker = make()
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        for _ in range(calls):
            nothing_sync()
        between = time.perf_counter()
        for _ in range(calls):
            breaker.call(nothing_sync)
        ended = time.perf_counter()
        found.append(((ended - between) - (between - began)) / calls)
    tried = make(fail_max=MINIMUM, reset_timeout=OPEN_S)
    most = 0
    for _ in range(ROUNDS):
        upstream = Upstream()
        for _ in range(MINIMUM + 1):
            with contextlib.suppress(Exception):
                tried.call(upstream.call_sync)
        time.sleep(OPEN_S * 1.2)
        upstream.failing, upstream.most = False, 0
        with ThreadPoolExecutor(CALLERS) as pool:
            for one in [pool.submit(tried.call, upstream.call_sync) for _ in range(CALLERS)]:
                one.exception()
        most = max(most, upstream.most)
    return {**told(found), "half_open_in_flight": most}


if __name__ == "__main__":
    measure = {"purgatory": purgatory, "aiobreaker": aiobreaker, "pybreaker": pybreaker}[sys.argv[1]]
    print(json.dumps(asyncio.run(measure(int(sys.argv[2]), int(sys.argv[3])))))
