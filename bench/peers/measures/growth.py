"""Headrace alone: claims and drains beside many ready, scheduled, held and finished jobs, made by its public API.

The ready ones are of a task that no worker here runs, the held ones of a paused queue. An empty queue and the large one
take turns; what counts is the median of the ratios of neighbours.
"""

import asyncio
import dataclasses
import time

from bench.peers.harness import Harness, Place
from bench.peers.peer import Peer
from bench.peers.queues import bodies
from bench.peers.results import Figures
from bench.run import median, percentile
from headrace import Headrace, Task
from headrace.core.model import ClaimRequest, GivenBack, Pool, Settle, WorkerRecord

TASK = "noop"
STRANGE = "strange"
HELD = "held"
CHUNK = 2_000
CLAIM = 100
FAR_S = 7 * 86_400
FINISH_S = 300.0
FILL = 100_000
SETTLE_S = 0.5
"""So long claims are made before they are timed: a process that has just come does not know yet where lines begin."""


def _app(place: Place) -> tuple[Headrace, Task[[float], None]]:
    hr = Headrace(place.url)
    return hr, hr.task(name=TASK)(bodies.noop)


async def _fill(place: Place, rows: int) -> None:
    """So many jobs that are due in a week, that nobody runs, and that are held."""
    hr, noop = _app(place)
    strange = hr.task(name=STRANGE)(bodies.noop)
    await hr.open()
    await hr.pause(HELD)
    for task in (noop.options(delay=FAR_S), strange, noop.options(queue=HELD)):
        for first in range(0, rows, CHUNK):
            await hr.enqueue_many([task.call(n) for n in range(first, min(first + CHUNK, rows))])
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


async def _claims(place: Place, count: int) -> list[float]:
    """Seconds of claims of 100 jobs, durable, one by one. They are given back each time."""
    hr, noop = _app(place)
    await hr.open()
    await hr.enqueue_many([noop.call(n) for n in range(CLAIM)])
    store = hr.store
    worker = WorkerRecord("w_bench", "bench", 1, "worker", "0", None, {TASK: ""}, CLAIM, time.time())
    await store.register(worker, 60.0)
    request = ClaimRequest((Pool(frozenset({TASK}), CLAIM),))
    waits: list[float] = []
    begun = time.perf_counter()
    while len(waits) < count:
        started = time.perf_counter()
        answer = await store.exchange(worker.id, (), request)
        if started - begun > SETTLE_S:
            waits.append(time.perf_counter() - started)
        if len(answer.claimed) != CLAIM:
            raise AssertionError(f"claimed {len(answer.claimed)} of {CLAIM}")
        back = tuple(Settle(job.id, job.fence, GivenBack(started=False)) for job in answer.claimed)
        await store.exchange(worker.id, back, None)
    await store.cancel([job.id for job in answer.claimed])
    await store.unregister(worker.id)
    await hr.close()
    return waits


def measure(harness: Harness, peer: Peer) -> Figures:
    scale = harness.scale
    with harness.place(peer) as empty, harness.place(peer) as large:
        _drain(empty, "first", 1)
        _drain(large, "history", scale.growth_rows)
        asyncio.run(_fill(large, scale.growth_rows))
        places = {"empty": empty, "large": large}
        drains: dict[str, list[float]] = {name: [] for name in places}
        waits: dict[str, list[list[float]]] = {name: [] for name in places}
        for pair in range(scale.growth_pairs):
            for name in sorted(places, reverse=bool(pair % 2)):
                waits[name].append(asyncio.run(_claims(places[name], scale.growth_claims)))
                drains[name].append(_drain(places[name], f"pair-{pair}", scale.growth_jobs))
    p99 = {name: [percentile(each, 0.99) for each in waits[name]] for name in places}
    by_claim = median(large / empty for large, empty in zip(p99["large"], p99["empty"], strict=True))
    by_drain = median(empty / large for large, empty in zip(drains["large"], drains["empty"], strict=True))
    return {
        "ratio": max(by_claim, by_drain),
        "claim_p99_ratio": by_claim,
        "drain_ratio": by_drain,
        "empty_per_s": median(drains["empty"]),
        "large_per_s": median(drains["large"]),
        "claim_empty_ms": 1e3 * median(wait for each in waits["empty"] for wait in each),
        "claim_large_ms": 1e3 * median(wait for each in waits["large"] for wait in each),
        "claim_p99_empty_ms": 1e3 * median(p99["empty"]),
        "claim_p99_large_ms": 1e3 * median(p99["large"]),
        "rows": 4 * scale.growth_rows,
    }
