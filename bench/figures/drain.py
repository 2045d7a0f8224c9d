"""A backlog of no-op async jobs through one worker process; beside it the floor and Huey, in turn."""

import asyncio
import time
from pathlib import Path

from bench import floor, huey_queue
from bench.app import App
from bench.meter import Meter
from bench.processes import WorkerTree, wait_for
from bench.run import Run, median, store_path, store_url
from bench.tables import Probe

BATCH = 1_000
DRAIN_S = 300.0


async def _fill(store: str, count: int) -> float:
    app = App(store)
    await app.hr.open()
    started = time.perf_counter()
    for first in range(0, count, BATCH):
        await app.hr.enqueue_many([app.noop.call(n) for n in range(first, min(first + BATCH, count))])
    rate = count / (time.perf_counter() - started)
    await app.hr.close()
    return rate


def fill(folder: Path, count: int) -> float:
    """Enqueue a backlog through the program; jobs per second."""
    return asyncio.run(_fill(store_url(folder), count))


def drain(folder: Path, count: int) -> float:
    """Start a worker on a backlog; body starts per second from the first to the last."""
    meter = Meter(folder / "meter")
    meter.reset()
    probe = Probe(store_path(folder))
    before = probe.ended()
    with WorkerTree(store_url(folder), folder):
        wait_for(lambda: probe.ended() >= before + count, f"{count} jobs ended", DRAIN_S, every_s=0.05)
    probe.close()
    if meter.count != count:
        raise AssertionError(f"{count} jobs ended, {meter.count} bodies started")
    return meter.rate


def measure(run: Run) -> None:
    count = run.scale.drain_jobs
    fills, drains, batches = [], [], []
    floors: list[floor.Floor] = []
    hueys: list[huey_queue.HueyRates] = []
    for _ in range(run.scale.runs):
        folder = run.folder("drain")
        fills.append(fill(folder, count))
        drains.append(drain(folder, count))
        probe = Probe(store_path(folder))
        batches.append(probe.batch())
        probe.close()
        batch = max(1, round(median(batches)))
        floors.append(floor.measure(run.folder("floor"), count, batch, run.synchronous))
        hueys.append(huey_queue.measure(run.folder("huey"), run.scale.huey_jobs))
    put = run.put
    put("sqlite.drain_per_s", median(drains), 0)
    put("sqlite.drain_worst_per_s", min(drains), 0)
    put("sqlite.drain_jobs", count)
    put("sqlite.drain_runs", run.scale.runs)
    put("sqlite.drain_batch", median(batches), 1)
    put("sqlite.drain_to_floor", median(drains) / median(floor.drain for floor in floors))
    put("sqlite.enqueue_many_per_s", median(fills), 0)
    put("sqlite.enqueue_many_batch", BATCH)
    put("floor.insert_per_s", median(floor.insert for floor in floors), 0)
    put("floor.claim_settle_per_s", median(floor.claim_settle for floor in floors), 0)
    put("floor.lifecycle_per_s", median(floor.lifecycle for floor in floors), 0)
    put("floor.python_per_s", median(floor.python for floor in floors), 0)
    put("floor.drain_per_s", median(floor.drain for floor in floors), 0)
    put("floor.batch", max(1, round(median(batches))))
    put("huey.enqueue_per_s", median(rates.enqueue for rates in hueys), 0)
    put("huey.drain_per_s", median(rates.drain for rates in hueys), 0)
    put("huey.drain_jobs", run.scale.huey_jobs)
