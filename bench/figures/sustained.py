"""Producer and worker side by side: how many jobs end per second while the backlog does not grow.

The producer is this process: 100 concurrent callers that stop for a moment whenever more than
`BACKLOG` jobs are waiting, so that the slower side sets the rate. It is measured twice: callers that
await single enqueues, and callers that enqueue `MANY` at a time.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from bench.app import App
from bench.fleet import at_rest
from bench.processes import WorkerTree
from bench.run import Run, store_path, store_url
from bench.tables import Probe

BACKLOG = 5_000
MANY = 50
SAMPLE_S = 0.02


@dataclass(frozen=True, slots=True)
class Sustained:
    """Per second, over the time after the warm-up; the backlog at its largest, and what it grew by."""

    rate: float
    backlog_max: int
    growth: int


class Producer:
    """The callers, what they have enqueued, and what the store says has ended."""

    def __init__(self, app: App, probe: Probe, batch: int) -> None:
        self._app = app
        self._probe = probe
        self._batch = batch
        self._stop = False
        self.added = 0
        self.ended = 0

    async def call(self) -> None:
        """One caller."""
        app, batch = self._app, self._batch
        while not self._stop:
            if self.added - self.ended > BACKLOG:
                await asyncio.sleep(0.005)
            elif batch == 1:
                await app.noop.enqueue(self.added)
                self.added += 1
            else:
                await app.hr.enqueue_many([app.noop.call(n) for n in range(batch)])
                self.added += batch

    def look(self) -> None:
        self.ended = self._probe.ended()

    def stop(self) -> None:
        self._stop = True


async def _produce(app: App, probe: Probe, run: Run, batch: int) -> Sustained:
    scale = run.scale
    before = probe.ended()
    await app.noop.enqueue(0)
    started = await _until(probe, before + 1)
    producer = Producer(app, probe, batch)
    producer.added = before + 1
    callers = [asyncio.create_task(producer.call()) for _ in range(scale.callers)]
    samples: list[tuple[float, int, int]] = []
    while (now := time.perf_counter()) < started + scale.sustained_warm_s + scale.sustained_s:
        producer.look()
        if now >= started + scale.sustained_warm_s:
            samples.append((now, producer.ended, producer.added - producer.ended))
        await asyncio.sleep(SAMPLE_S)
    producer.stop()
    await asyncio.gather(*callers)
    await _until(probe, producer.added)
    (first_at, first_ended, first_backlog), (last_at, last_ended, last_backlog) = samples[0], samples[-1]
    rate = (last_ended - first_ended) / (last_at - first_at)
    return Sustained(rate, max(backlog for _, _, backlog in samples), last_backlog - first_backlog)


async def _both(folder: Path, run: Run) -> tuple[Sustained, Sustained]:
    """Callers that enqueue one by one, then callers that enqueue many at a time, to the same worker."""
    app = App(store_url(folder))
    await app.hr.open()
    probe = Probe(store_path(folder))
    with WorkerTree(store_url(folder), folder):
        await at_rest(app, 1, 1, run.scale.rest_s)
        singles = await _produce(app, probe, run, 1)
        many = await _produce(app, probe, run, MANY)
    await app.hr.close()
    probe.close()
    return singles, many


async def _until(probe: Probe, count: int) -> float:
    give_up = time.perf_counter() + 60.0
    while probe.ended() < count:
        if time.perf_counter() > give_up:
            raise AssertionError(f"{probe.ended()} of {count} jobs ended")
        await asyncio.sleep(0.01)
    return time.perf_counter()


def measure(run: Run) -> None:
    singles, many = asyncio.run(_both(run.folder("sustained"), run))
    put = run.put
    put("sqlite.sustained_per_s", many.rate, 0)
    put("sqlite.sustained_batch", MANY)
    put("sqlite.sustained_backlog_max", many.backlog_max)
    put("sqlite.sustained_backlog_growth", many.growth)
    put("sqlite.sustained_singles_per_s", singles.rate, 0)
    put("sqlite.sustained_singles_backlog_max", singles.backlog_max)
    put("sqlite.sustained_callers", run.scale.callers)
    put("sqlite.sustained_s", run.scale.sustained_s)
