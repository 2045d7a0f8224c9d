"""Headrace alone: claims and drains beside many finished and scheduled jobs, all of them made by its public API.

An empty queue and the large one take turns; what counts is the median of the ratios of neighbours.
"""

import asyncio
import dataclasses
import time

from bench.peers.harness import Harness, Place
from bench.peers.peer import Peer
from bench.peers.queues import bodies
from bench.peers.results import Figures
from bench.run import median
from headrace import Headrace, Task
from headrace.core.model import ClaimRequest, GivenBack, Pool, Settle, WorkerRecord

TASK = "noop"
CHUNK = 2_000
CLAIM = 100
FAR_S = 7 * 86_400
FINISH_S = 300.0
FILL = 100_000


def _app(place: Place) -> tuple[Headrace, Task[[float], None]]:
    hr = Headrace(place.url)
    return hr, hr.task(name=TASK)(bodies.noop)


async def _schedule(place: Place, rows: int) -> None:
    """So many jobs that are due in a week."""
    hr, noop = _app(place)
    later = noop.options(delay=FAR_S)
    await hr.open()
    for first in range(0, rows, CHUNK):
        await hr.enqueue_many([later.call(n) for n in range(first, min(first + CHUNK, rows))])
    await hr.close()


def _drain(place: Place, part: str, count: int) -> float:
    """So many no-op jobs, put in and run to their end by a worker of its own; body starts a second."""
    folder = place.folder / part
    folder.mkdir()
    here = dataclasses.replace(place, folder=folder)
    for first in range(0, count, FILL):
        here.produce("fill", count=min(FILL, count - first))
    with here.worker(here.peer.best) as worker:
        meters = here.meters
        here.watch(lambda: meters.read().count >= count, [worker], f"{count} jobs started", FINISH_S)
        time.sleep(0.5)  # the last outcomes are written
    now = meters.read()
    return (now.count - 1) / (now.last - min(now.starts)) if count > 1 else 0.0


async def _claims(place: Place, count: int) -> float:
    """Seconds of one claim of 100 jobs, durable; the median. They are given back each time."""
    hr, noop = _app(place)
    await hr.open()
    await hr.enqueue_many([noop.call(n) for n in range(CLAIM)])
    store = hr.store
    worker = WorkerRecord("w_bench", "bench", 1, "worker", "0", None, {TASK: ""}, CLAIM, time.time())
    await store.register(worker, 60.0)
    request = ClaimRequest((Pool(frozenset({TASK}), CLAIM),))
    waits = []
    for _ in range(count):
        started = time.perf_counter()
        answer = await store.exchange(worker.id, (), request)
        waits.append(time.perf_counter() - started)
        if len(answer.claimed) != CLAIM:
            raise AssertionError(f"claimed {len(answer.claimed)} of {CLAIM}")
        back = tuple(Settle(job.id, job.fence, GivenBack(started=False)) for job in answer.claimed)
        await store.exchange(worker.id, back, None)
    await store.cancel([job.id for job in answer.claimed])
    await store.unregister(worker.id)
    await hr.close()
    return median(waits)


def measure(harness: Harness, peer: Peer) -> Figures:
    scale = harness.scale
    with harness.place(peer) as empty, harness.place(peer) as large:
        _drain(empty, "first", 1)
        _drain(large, "history", scale.growth_rows)
        asyncio.run(_schedule(large, scale.growth_rows))
        places = {"empty": empty, "large": large}
        drains: dict[str, list[float]] = {name: [] for name in places}
        waits: dict[str, list[float]] = {name: [] for name in places}
        for pair in range(scale.growth_pairs):
            for name in sorted(places, reverse=bool(pair % 2)):
                waits[name].append(asyncio.run(_claims(places[name], scale.growth_claims)))
                drains[name].append(_drain(places[name], f"pair-{pair}", scale.growth_jobs))
    by_claim = median(large / empty for large, empty in zip(waits["large"], waits["empty"], strict=True))
    by_drain = median(empty / large for large, empty in zip(drains["large"], drains["empty"], strict=True))
    return {
        "ratio": max(by_claim, by_drain),
        "claim_ratio": by_claim,
        "drain_ratio": by_drain,
        "empty_per_s": median(drains["empty"]),
        "large_per_s": median(drains["large"]),
        "claim_empty_ms": 1e3 * median(waits["empty"]),
        "claim_large_ms": 1e3 * median(waits["large"]),
        "rows": 2 * scale.growth_rows,
    }
