"""At half-open: several processes with 100 callers each, and never more than the permitted in flight.

The upstream fails every call, so that each half-open ends open, and the next one follows; it counts what is in
flight itself.
"""

import asyncio
import time

from bench.processes import TooSlowError
from bench.upstreams.fleet import Fleet
from bench.upstreams.process import PERMITTED
from bench.upstreams.run import Run
from bench.upstreams.service import Service
from headrace import Headrace

HOLD_S = 0.05
START_S = 60.0


async def _rounds(run: Run, hr: Headrace, service: Service) -> tuple[int, float]:
    """How many half-opens there were, in how many seconds; counted from the first open one on."""

    async def generation() -> int:
        found = await hr.upstreams()
        return found[0].generation if found else 0

    end = time.monotonic() + START_S
    while await generation() < 2 or service.in_flight > PERMITTED:
        if time.monotonic() > end:
            raise TooSlowError("it has not opened")
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)  # the first calls, of when it was closed, are over
    began, first = time.monotonic(), await generation()
    service.most = service.in_flight
    service.received = 0
    rounds = 0
    while time.monotonic() - began < run.scale.half_open_s and rounds < run.scale.half_open_rounds:
        await asyncio.sleep(0.05)
        rounds = (await generation() - first) // 2
    return rounds, time.monotonic() - began


async def _measure(run: Run, url: str, name: str) -> None:
    scale = run.scale
    hr = Headrace(url)
    await hr.open()
    log = run.folder(f"half-open-{name}") / "log"
    with (
        Service(hold_s=HOLD_S, failing=True) as service,
        Fleet(scale.processes, "half_open", url, log, port=service.port, callers=scale.callers) as fleet,
    ):
        for _ in range(scale.processes):
            fleet.next(START_S)
        rounds, seconds = await _rounds(run, hr, service)
        most, received = service.most, service.received
    await hr.close()
    run.put("upstream.half_open_rounds", rounds)
    run.put("upstream.half_open_s", seconds, 1)
    run.put("upstream.half_open_callers", scale.processes * scale.callers)
    run.put("upstream.half_open_permitted", PERMITTED)
    run.put("upstream.half_open_in_flight", most)
    run.put("upstream.half_open_calls_per_round", received / max(rounds, 1))
    run.put("upstream.half_open_excess", max(0, most - PERMITTED))


def measure(run: Run) -> None:
    asyncio.run(_measure(run, run.postgres.create_database(), "postgres"))
