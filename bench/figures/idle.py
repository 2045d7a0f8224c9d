"""What a worker costs that has nothing to do: CPU of each process of its tree, in % of one core."""

import asyncio
import time
from pathlib import Path

from bench.app import App
from bench.fleet import at_rest
from bench.processes import WorkerTree, cpu_s, rss_mb
from bench.run import Run, median, store_url


async def _window(tree: WorkerTree, seconds: float) -> dict[int, float]:
    """Of each process, CPU in % of one core over so many seconds."""
    before = {pid: cpu_s(pid) for pid in tree.pids}
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    after = {pid: cpu_s(pid) for pid in tree.pids}
    elapsed = time.perf_counter() - started
    if before.keys() != after.keys():
        raise AssertionError("a process of an idle worker ended")
    return {pid: 100 * (used - before[pid]) / elapsed for pid, used in after.items()}


async def _idle(folder: Path, run: Run) -> None:
    app = App(store_url(folder))
    await app.hr.open()
    with WorkerTree(store_url(folder), folder) as tree:
        await at_rest(app, 1, 1, run.scale.rest_s)
        await (await app.stamp.enqueue(time.time())).result(timeout=30)
        await asyncio.sleep(run.scale.idle_settle_s)
        roles = {worker.pid: worker.role for worker in await app.hr.workers()} | {tree.pid: "supervisor"}
        windows = [await _window(tree, run.scale.idle_s) for _ in range(run.scale.runs)]
        rss = sum(rss_mb(pid) for pid in tree.pids)
    for pid in windows[0]:
        run.put(f"sqlite.idle_cpu_{roles.get(pid, 'other')}_pct", median(window[pid] for window in windows))
    run.put("sqlite.idle_cpu_pct", median(sum(window.values()) for window in windows))
    run.put("sqlite.idle_rss_mb", rss, 0)
    run.put("sqlite.idle_processes", len(windows[0]))
    await app.hr.close()


def measure(run: Run) -> None:
    asyncio.run(_idle(run.folder("idle"), run))
