"""The same drain and the same claims on an empty file and beside a large history and a large schedule.

The two take turns, and what counts is the median of the ratios of neighbours: a machine that is busier now than a
minute ago changes both.
"""

import asyncio
import time
from pathlib import Path

from bench import tables
from bench.app import App
from bench.figures.drain import drain, fill
from bench.run import Run, median, store_path, store_url
from headrace.core.model import ClaimRequest, GivenBack, Pool, Settle, WorkerRecord

CLAIM = 100
FAR = 365 * 86_400 * tables.MICRO
CHUNK = 50_000


async def _seed(folder: Path) -> None:
    """One job through the program, so that the file and the lane are there."""
    app = App(store_url(folder))
    await app.hr.open()
    await app.noop.options(delay=7 * 86_400).enqueue(0)
    await app.hr.close()


def grow(folder: Path, rows: int) -> None:
    """So many finished and so many scheduled jobs, by raw SQL."""
    connection = tables.connect(store_path(folder), "OFF")
    connection.execute("PRAGMA cache_size = -200000")
    lane = connection.execute(f"SELECT lane FROM {tables.JOB}").fetchone()[0]
    first = connection.execute(f"SELECT max(n) + 1 FROM {tables.CALL}").fetchone()[0]
    now = tables.wall_micros()
    connection.execute("BEGIN")
    for start in range(0, rows, CHUNK):
        numbers = range(first + start, first + min(rows, start + CHUNK))
        tables.add_ended(connection, numbers, lane, now)
    first += rows
    for start in range(0, rows, CHUNK):
        numbers = range(first + start, first + min(rows, start + CHUNK))
        tables.add_jobs(connection, numbers, lane, tables.STATE_SCHEDULED, now + FAR)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.close()


async def claims(folder: Path, count: int) -> float:
    """Seconds of one claim of 100 jobs, durable; the median. They are given back each time."""
    app = App(store_url(folder))
    await app.hr.open()
    store = app.hr.store
    await app.hr.enqueue_many([app.noop.call(n) for n in range(CLAIM)])
    name = next(name for name in app.hr.registry.names() if name.endswith("noop"))
    worker = WorkerRecord("w_bench", "bench", 1, "worker", "0", None, {name: ""}, CLAIM, time.time())
    await store.register(worker, 60.0)
    request = ClaimRequest((Pool(frozenset({name}), CLAIM),))
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
    await app.hr.close()
    return median(waits)


def measure(run: Run) -> None:
    scale = run.scale
    folders = {"empty": run.folder("growth-empty"), "large": run.folder("growth-large")}
    for folder in folders.values():
        asyncio.run(_seed(folder))
    grow(folders["large"], scale.growth_rows)
    drains: dict[str, list[float]] = {name: [] for name in folders}
    waits: dict[str, list[float]] = {name: [] for name in folders}
    for pair in range(scale.growth_pairs):
        for name in sorted(folders, reverse=bool(pair % 2)):
            folder = folders[name]
            waits[name].append(asyncio.run(claims(folder, scale.growth_claims)))
            fill(folder, scale.growth_jobs)
            drains[name].append(drain(folder, scale.growth_jobs))
    by_claim = median(large / empty for large, empty in zip(waits["large"], waits["empty"], strict=True))
    by_drain = median(empty / large for large, empty in zip(drains["large"], drains["empty"], strict=True))
    put = run.put
    put("sqlite.claim_growth_ratio", max(by_claim, by_drain))
    put("sqlite.claim_growth_latency_ratio", by_claim)
    put("sqlite.claim_growth_drain_ratio", by_drain)
    for name in folders:
        put(f"sqlite.claim_{name}_ms", 1e3 * median(waits[name]))
        put(f"sqlite.drain_{name}_per_s", median(drains[name]), 0)
    put("sqlite.growth_rows", 2 * scale.growth_rows)
