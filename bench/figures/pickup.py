"""An idle worker in another process: from the wall clock before an enqueue to the start of the body."""

import asyncio
import time
from pathlib import Path

from bench.app import App
from bench.fleet import at_rest
from bench.processes import WorkerTree
from bench.run import Run, median, percentile, store_url

WARM_JOBS = 5


async def _send(folder: Path, run: Run) -> list[float]:
    app = App(store_url(folder))
    await app.hr.open()
    with WorkerTree(store_url(folder), folder):
        await at_rest(app, 1, 1, run.scale.rest_s)
        for _ in range(WARM_JOBS):
            await (await app.stamp.enqueue(time.time())).result(timeout=30)
        jobs = []
        due = time.perf_counter()
        for _ in range(run.scale.pickup_jobs):
            due += run.scale.pickup_every_s
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            jobs.append(await app.stamp.enqueue(time.time()))
        waits = [await job.result(timeout=30) for job in jobs]
    await app.hr.close()
    return waits


def measure(run: Run) -> None:
    waits = asyncio.run(_send(run.folder("pickup"), run))
    put = run.put
    put("sqlite.pickup_p50_ms", 1e3 * median(waits))
    put("sqlite.pickup_p99_ms", 1e3 * percentile(waits, 0.99))
    put("sqlite.pickup_max_ms", 1e3 * max(waits))
    put("sqlite.pickup_jobs", len(waits))
