"""Running what is enqueued, with a real worker, until nothing is left that could run."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from headrace.app import Headrace
from headrace.app.limits import ahead_of
from headrace.app.workers import EMBEDDED, build, worker_id
from headrace.core.model import JobFilter, JobId, Outcome
from headrace.core.states import JobState
from headrace.core.worker_events import Woken
from headrace.runtime.attempt import Attempt
from headrace.runtime.bodies import Bodies
from headrace.runtime.worker import Worker
from headrace.testing.clock import ManualClock

LOOK_S = 0.002
LOOK_S_MAX = 0.05
LEASE_S = 3600.0
PAGE = 500
PROMOTE_BATCH = 500


class _Counting(Bodies):
    """Knows how many bodies it has run."""

    count = 0

    async def run(self, attempt: Attempt) -> Outcome | None:
        """Run one more."""
        self.count += 1
        return await super().run(attempt)


@asynccontextmanager
async def working(hr: Headrace, bodies: Callable[..., Bodies] = Bodies) -> AsyncGenerator[Worker]:
    """A real worker on this loop, without the thread that renews leases: a test is shorter than its lease."""
    await hr.open()
    hr.registry.check()
    worker = build(hr, worker_id(), EMBEDDED, bodies=bodies, lease_s=LEASE_S, rates=False)
    running = asyncio.get_running_loop().create_task(worker.run())
    try:
        await asyncio.sleep(0)  # it has begun, and so can be told to end
        yield worker
    finally:
        if not running.done():
            await worker.drain(0.0)
        await running


async def drain(hr: Headrace, *, until: float | timedelta = 0.0, timeout: float = 30.0) -> int:  # noqa: ASYNC109 - a test's own patience
    """Run every ready job, and those that they enqueue, until none is left; how many attempts there were.

    Jobs that become due within `until` are run too: with a `ManualClock`, it is moved to each of
    them; with a real one, they are waited for. Paused queues and unknown tasks stay as they are, and
    the rates of tasks do not hold.

    Raises:
        TimeoutError: jobs were still running after `timeout` (real) seconds.
    """
    until_s = until.total_seconds() if isinstance(until, timedelta) else until
    end = hr.clock.now() + until_s
    made: list[_Counting] = []

    def bodies(*parts: Any, **named: Any) -> Bodies:
        made.append(_Counting(*parts, **named))
        return made[-1]

    async with asyncio.timeout(timeout), working(hr, bodies) as worker:
        while (next_due_s := await _until_idle(hr, worker)) is not None and hr.clock.now() + next_due_s <= end:
            if isinstance(hr.clock, ManualClock):
                hr.clock.advance(next_due_s)
            else:
                await hr.clock.sleep(next_due_s)
    return made[0].count


async def _until_idle(hr: Headrace, worker: Worker) -> float | None:
    """Wait until nothing runs or could run; how long until the next job is due (None: none is)."""
    wait_s = LOOK_S
    while True:
        promoted, next_due_s = await hr.store.promote(PROMOTE_BATCH)
        if not promoted and not await _busy(hr):
            return next_due_s
        worker.post(Woken())
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, LOOK_S_MAX)


async def _busy(hr: Headrace) -> bool:
    """Whether something runs, or is ready and could run here."""
    queues = await hr.store.queues()
    if any(queue.counts.get(JobState.RUNNING) for queue in queues):
        return True
    open_queues = {queue.name for queue in queues if not queue.paused and queue.counts.get(JobState.READY)}
    counted = [queue.counts for queue in queues]
    waiting = sum(queue.counts.get(JobState.READY, 0) for queue in queues)
    after: JobId | None = None
    while open_queues:
        page = await hr.store.find(JobFilter(state=JobState.READY), after=after, limit=PAGE)
        waiting -= len(page.jobs)
        for job in page.jobs:
            if job.task in hr.registry and job.queue in open_queues and await ahead_of(hr, job) is None:
                return True
        if page.next_after is None:
            break
        after = page.next_after
    # A job that was claimed or given back between the two looks was in neither.
    seen_all = not open_queues or waiting <= 0
    return not seen_all or [queue.counts for queue in await hr.store.queues()] != counted
