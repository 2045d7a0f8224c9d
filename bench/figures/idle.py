"""What a worker costs that has nothing to do: CPU of each process of its tree, in % of one core."""

import asyncio
import time
from pathlib import Path

from bench.app import App
from bench.fleet import at_rest
from bench.processes import WorkerTree, cpu_s, rss_mb
from bench.run import Run, store_url


async def _idle(folder: Path, run: Run) -> None:
    app = App(store_url(folder))
    await app.hr.open()
    with WorkerTree(store_url(folder), folder) as tree:
        await at_rest(app, 1, 1, run.scale.rest_s)
        await (await app.stamp.enqueue(time.time())).result(timeout=30)
        await asyncio.sleep(run.scale.idle_settle_s)
        roles = {worker.pid: worker.role for worker in await app.hr.workers()} | {tree.pid: "supervisor"}
        before = {pid: cpu_s(pid) for pid in tree.pids}
        started = time.perf_counter()
        await asyncio.sleep(run.scale.idle_s)
        elapsed = time.perf_counter() - started
        after = {pid: cpu_s(pid) for pid in tree.pids}
        rss = sum(rss_mb(pid) for pid in after)
        if before.keys() != after.keys():
            raise AssertionError("a process of an idle worker ended")
        for pid, seconds in after.items():
            used = 100 * (seconds - before[pid]) / elapsed
            run.put(f"sqlite.idle_cpu_{roles.get(pid, 'other')}_pct", used)
        run.put("sqlite.idle_cpu_pct", 100 * (sum(after.values()) - sum(before.values())) / elapsed)
        run.put("sqlite.idle_rss_mb", rss, 0)
        run.put("sqlite.idle_processes", len(after))
    await app.hr.close()


def measure(run: Run) -> None:
    asyncio.run(_idle(run.folder("idle"), run))
