"""What two stores that were called alike must show alike."""

from dataclasses import replace
from typing import Any

from headrace.core.model import JobFilter, JobId
from headrace.core.states import JobState
from headrace.testing.conformance.store_base import FullStore

LIVE = (JobState.SCHEDULED, JobState.READY, JobState.RUNNING)


async def look_at(store: FullStore, ids: list[JobId], told: list[JobId], since: float) -> Any:
    """Records, ends of feeds, a list, queues, workers; of those in `told` feeds and attempts too."""
    return [
        await store.get(ids),
        await store.offsets(ids),
        await store.find(JobFilter(task="charge"), limit=3),
        await _queues(store),
        await _workers(store),
        [await _story(store, job_id, since) for job_id in told],
    ]


async def _queues(store: FullStore) -> Any:
    return [
        (queue.name, queue.paused, [queue.counts.get(state, 0) for state in LIVE], queue.oldest_ready_s)
        for queue in await store.queues()
    ]


async def _workers(store: FullStore) -> Any:
    return sorted((worker.id, worker.running) for worker in await store.workers() if worker.alive)


async def _story(store: FullStore, job_id: JobId, since: float) -> Any:
    page = await store.read_updates(job_id, 0, 1000)
    attempts = [
        # Who ran it may be forgotten: a worker that is gone is kept no longer than an ended job.
        replace(attempt, worker=None) if attempt.ended_at is not None and attempt.ended_at <= since else attempt
        for attempt in await store.attempts(job_id)
    ]
    return None if page is None else replace(page, epoch=""), attempts
