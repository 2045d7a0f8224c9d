"""Durable single enqueues: concurrent callers in one process, each awaiting its own; no worker beside them."""

import asyncio
import time
from pathlib import Path

from bench.app import App
from bench.run import Run, median, percentile, store_path, store_url
from bench.tables import JOB, Probe


async def _call(app: App, until: float, waits: list[float]) -> None:
    while (started := time.perf_counter()) < until:
        await app.noop.enqueue(len(waits))
        waits.append(time.perf_counter() - started)


async def _enqueue(folder: Path, seconds: float, callers: int) -> tuple[float, list[float]]:
    app = App(store_url(folder))
    await app.hr.open()
    await app.noop.enqueue(0)
    waits: list[float] = []
    started = time.perf_counter()
    await asyncio.gather(*[_call(app, started + seconds, waits) for _ in range(callers)])
    rate = len(waits) / (time.perf_counter() - started)
    await app.hr.close()
    probe = Probe(store_path(folder))
    kept = probe.count(JOB)
    probe.close()
    if kept != len(waits) + 1:
        raise AssertionError(f"{len(waits) + 1} enqueues returned, {kept} jobs are there")
    return rate, waits


def measure(run: Run) -> None:
    scale = run.scale
    together = [asyncio.run(_enqueue(run.folder("enqueue"), scale.enqueue_s, scale.callers)) for _ in range(scale.runs)]
    alone, alone_waits = asyncio.run(_enqueue(run.folder("enqueue"), scale.enqueue_s, 1))
    put = run.put
    put("sqlite.enqueue_100_callers_per_s", median(rate for rate, _ in together), 0)
    put("sqlite.enqueue_callers", scale.callers)
    put("sqlite.enqueue_100_callers_p50_ms", 1e3 * median(wait for _, waits in together for wait in waits))
    put("sqlite.enqueue_100_callers_p99_ms", 1e3 * percentile([w for _, waits in together for w in waits], 0.99))
    put("sqlite.enqueue_1_caller_per_s", alone, 0)
    put("sqlite.enqueue_1_caller_p50_ms", 1e3 * median(alone_waits))
