"""At half-open: several processes with 100 callers each, and never more than the permitted in flight.

The upstreams fail every call, so that each half-open ends open, and the next one follows after a second; each of them
counts what is in flight itself.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence

from bench.processes import TooSlowError
from bench.upstreams.fleet import Fleet
from bench.upstreams.process import PERMITTED
from bench.upstreams.run import Run
from bench.upstreams.service import Service
from headrace import Headrace

HOLD_S = 0.05
START_S = 60.0


async def _generations(hr: Headrace) -> list[int]:
    return [each.generation for each in await hr.upstreams()]


async def _rounds(run: Run, hr: Headrace, services: Sequence[Service]) -> tuple[int, float]:
    """How many half-opens there were, in how many seconds; counted from when all were open."""
    end = time.monotonic() + START_S
    while len(found := await _generations(hr)) < len(services) or min(found) < 2:
        if time.monotonic() > end:
            raise TooSlowError("they have not opened")
        await asyncio.sleep(0.05)
    await asyncio.sleep(2)  # the first calls, of when they were closed, are over
    began, first = time.monotonic(), sum(await _generations(hr))
    for each in services:
        each.most, each.received = each.in_flight, 0
    rounds = 0
    while time.monotonic() - began < run.scale.half_open_s and rounds < run.scale.half_open_rounds:
        await asyncio.sleep(0.05)
        rounds = (sum(await _generations(hr)) - first) // 2
    return rounds, time.monotonic() - began


async def _measure(run: Run, url: str) -> None:
    scale = run.scale
    hr = Headrace(url)
    await hr.open()
    log = run.folder("half-open") / "log"
    with contextlib.ExitStack() as stack:
        services = [stack.enter_context(Service(hold_s=HOLD_S, failing=True)) for _ in range(scale.half_open_upstreams)]
        ports = [each.port for each in services]
        fleet = stack.enter_context(Fleet(scale.processes, "half_open", url, log, ports=ports, callers=scale.callers))
        for _ in range(scale.processes):
            fleet.next(START_S)
        rounds, seconds = await _rounds(run, hr, services)
        most, received = max(each.most for each in services), sum(each.received for each in services)
    await hr.close()
    run.put("upstream.half_open_rounds", rounds)
    run.put("upstream.half_open_s", seconds, 1)
    run.put("upstream.half_open_upstreams", scale.half_open_upstreams)
    run.put("upstream.half_open_callers", scale.processes * scale.callers)
    run.put("upstream.half_open_permitted", PERMITTED)
    run.put("upstream.half_open_in_flight", most)
    run.put("upstream.half_open_calls_per_round", received / max(rounds, 1))
    run.put("upstream.half_open_excess", max(0, most - PERMITTED))


def measure(run: Run) -> None:
    asyncio.run(_measure(run, run.postgres.create_database()))
