"""Pages of a listing on PostgreSQL, where each looks at no more rows than a test has time to make."""

from collections.abc import AsyncIterator

import pytest

from headrace.core.model import JobFilter, JobId, Succeeded
from headrace.core.states import JobState
from headrace.stores.postgres import PostgresStore, jobs
from headrace.testing.conformance.store_base import claim, enqueue_claimed, ids_of, new_job, register, settle


@pytest.fixture
async def store(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresStore]:
    monkeypatch.setattr(jobs, "SCAN_FIRST", 1)
    monkeypatch.setattr(jobs, "SCAN_MAX", 6)
    made = PostgresStore(postgres_url)
    await made.open()
    await register(made)
    yield made
    await made.close()


async def test_running_jobs_are_found_behind_all_that_wait(store: PostgresStore) -> None:
    running = [(await enqueue_claimed(store)).id for _ in range(3)]
    await store.enqueue([new_job() for _ in range(20)])
    page = await store.find(JobFilter(state=JobState.RUNNING), limit=3)
    assert (ids_of(page.jobs), page.next_after) == (running[::-1], None)


async def test_pages_have_each_job_once_whatever_matches(store: PostgresStore) -> None:
    made = [new_job(tags=["vip"] if n % 9 == 0 else []) for n in range(40)]
    await store.enqueue(made)
    for job in await claim(store, 20):
        await settle(store, job, Succeeded())
    assert await every(store, JobFilter()) == [job.id for job in made][::-1]
    assert await every(store, JobFilter(tag="vip")) == [job.id for job in made if job.tags][::-1]
    ended = await every(store, JobFilter(state=JobState.SUCCEEDED))
    assert sorted(ended + await every(store, JobFilter(state=JobState.READY))) == sorted(job.id for job in made)


async def every(store: PostgresStore, where: JobFilter) -> list[JobId]:
    found: list[JobId] = []
    page = await store.find(where, limit=3)
    found += ids_of(page.jobs)
    while page.next_after is not None:
        page = await store.find(where, after=page.next_after, limit=3)
        found += ids_of(page.jobs)
    return found
