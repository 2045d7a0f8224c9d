"""SIGKILL while a job runs: how long until its body starts again, elsewhere.

Supervised: the worker process dies, its supervisor has one in reserve. Tree: every process of one
`headrace worker` dies at once, another `headrace worker` is on the same file.
"""

import asyncio
import time
from pathlib import Path

from bench.app import App
from bench.fleet import at_rest
from bench.processes import TooSlowError, WorkerTree, kill
from bench.run import Run, median, store_url
from bench.scale import Scale

START_S = 30.0
AGAIN_S = 60.0


class Held:
    """One job that holds on; the starts of its body."""

    def __init__(self, folder: Path, n: int) -> None:
        self.n = n
        self._started = folder / f"started-{n}"
        self._release = folder / f"release-{n}"

    def starts(self) -> list[tuple[int, float]]:
        """Pid and wall time of each."""
        if not self._started.exists():
            return []
        lines = self._started.read_text("ascii").splitlines()
        return [(int(pid), float(at)) for pid, at in (line.split() for line in lines)]

    async def started(self, times: int, seconds: float) -> tuple[int, float]:
        """Wait for so many starts; the last of them."""
        give_up = time.monotonic() + seconds
        while len(starts := self.starts()) < times:
            if time.monotonic() >= give_up:
                raise TooSlowError(f"start {times} of the body: not within {seconds:.0f} s")
            await asyncio.sleep(0.005)
        return starts[-1]

    def release(self) -> None:
        self._release.touch()


async def supervised(folder: Path, scale: Scale) -> list[float]:
    app = App(store_url(folder))
    await app.hr.open()
    waits = []
    with WorkerTree(store_url(folder), folder):
        for n in range(scale.kills):
            held = Held(folder, n)
            await at_rest(app, 1, 1, scale.rest_s)
            job = await app.hold.enqueue(n)
            pid, _ = await held.started(1, START_S)
            killed_at = kill(pid)
            _, again_at = await held.started(2, AGAIN_S)
            waits.append(again_at - killed_at)
            held.release()
            await job.result(timeout=START_S)
    await app.hr.close()
    return waits


async def tree(folder: Path, scale: Scale) -> list[float]:
    app = App(store_url(folder))
    await app.hr.open()
    waits = []
    trees = [WorkerTree(store_url(folder), folder) for _ in range(2)]
    try:
        for n in range(scale.kills):
            held = Held(folder, n)
            await at_rest(app, 2, 2, scale.rest_s)
            job = await app.hold.enqueue(n)
            pid, _ = await held.started(1, START_S)
            victim = next(tree for tree in trees if pid in tree.pids)
            killed_at = victim.kill()
            _, again_at = await held.started(2, AGAIN_S)
            waits.append(again_at - killed_at)
            held.release()
            await job.result(timeout=START_S)
            trees.remove(victim)
            if n + 1 < scale.kills:
                trees.append(WorkerTree(store_url(folder), folder))
    finally:
        for each in trees:
            each.stop()
    await app.hr.close()
    return waits


def measure(run: Run) -> None:
    put = run.put
    for name, work in (("supervised", supervised), ("tree", tree)):
        waits = asyncio.run(work(run.folder(f"rerun-{name}"), run.scale))
        put(f"sqlite.rerun_{name}_s", median(waits))
        put(f"sqlite.rerun_{name}_max_s", max(waits))
    put("sqlite.rerun_kills", run.scale.kills)
