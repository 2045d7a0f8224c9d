"""What a claim and a reap look through while a held snapshot keeps every dead row, and that they miss nothing."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from headrace.core.model import ClaimedJob, Lease, Settle, Succeeded
from headrace.stores.postgres import PostgresStore
from headrace.stores.postgres.claim import survey
from headrace.stores.postgres.sql import query
from headrace.testing.conformance.store_base import WORKER, new_job, register, request

ROUNDS, BATCH = 20, 500


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresStore]:
    made = PostgresStore(postgres_url)
    await made.open()
    await register(made)
    yield made
    await made.close()


@asynccontextmanager
async def transaction(url: str, begin: str = "BEGIN") -> AsyncIterator["asyncpg.Connection[Any]"]:
    connection = await asyncpg.connect(url)
    await connection.execute(begin)
    try:
        yield connection
    finally:
        connection.terminate()


def dear(store: PostgresStore) -> None:
    """The next survey is one of everything, after one that was dear."""
    lines = store._lines
    lines._marking, lines._whole_at = True, float("-inf")
    lines._surveyed_at = lines._survey_at = float("-inf")


async def work(store: PostgresStore, count: int = BATCH) -> list[ClaimedJob]:
    """Jobs that come and are done; and a survey of everything."""
    await store.enqueue([new_job() for _ in range(count)])
    dear(store)
    claimed = list[ClaimedJob]()
    again = True
    while again:
        answer = await store.exchange(WORKER, [], request(count + 1))
        claimed += answer.claimed
        again = answer.again
    await store.exchange(WORKER, [Settle(job.id, job.fence, Succeeded("1")) for job in claimed], None)
    return claimed


def proven(store: PostgresStore) -> int:
    return max(line.proven for line in store._lines._by_number.values())


async def pages(url: str, call: str, *arguments: object) -> int:
    """How many pages a statement looks at, the second time: the first leaves hints."""
    connection = await asyncpg.connect(url)
    try:
        for _ in range(2):
            (plan,) = await connection.fetchrow(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {call}", *arguments)
    finally:
        await connection.close()
    found: Mapping[str, Any] = json.loads(plan)[0]["Plan"]
    return int(found["Shared Hit Blocks"] + found["Shared Read Blocks"])


async def test_what_commits_late_is_found_although_others_have_been_served_for_long(
    store: PostgresStore, postgres_url: str
) -> None:
    await work(store)
    async with transaction(postgres_url) as late:
        job = new_job()
        await store.join(late).enqueue([job])
        place = await late.fetchval("SELECT seq FROM headrace_job WHERE id = $1::uuid", job.id.hex())
        for _ in range(5):
            assert await work(store)
        assert proven(store) < place, "it is still under way"
        await late.execute("COMMIT")
    assert job.id in [each.id for each in await work(store)]
    for _ in range(3):
        await work(store)
    assert proven(store) > place


async def test_what_is_under_way_when_surveys_begin_to_be_marked_is_waited_for(
    store: PostgresStore, postgres_url: str
) -> None:
    await work(store)
    async with transaction(postgres_url) as late:  # the youngest transaction that there is
        await store.join(late).enqueue([new_job()])
        place = await late.fetchval("SELECT max(seq) FROM headrace_job")
        for _ in range(3):
            dear(store)
            await store._each(lambda tx: survey(tx, store._lines))
        assert proven(store) < place


async def test_a_survey_of_everything_passes_over_what_is_proven_to_be_dead(
    store: PostgresStore, postgres_url: str
) -> None:
    async with transaction(postgres_url, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM headrace_job"):
        for _ in range(ROUNDS):
            await work(store)
        (line,) = store._lines._by_number.values()
        whole = await pages(postgres_url, query("survey"), [], [])
        passing = await pages(postgres_url, query("survey"), [line.number], [line.proven])
    assert passing < whole / 5


async def test_what_a_worker_runs_is_found_without_what_it_ran(store: PostgresStore, postgres_url: str) -> None:
    await store.enqueue([new_job()])
    (running,) = (await store.exchange(WORKER, [], request(1))).claimed
    async with transaction(postgres_url, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM headrace_job"):
        for _ in range(ROUNDS):
            await work(store)
        runs = query("live_by_worker")
        number = await number_of(postgres_url)
        whole = await pages(postgres_url, runs, number, 0)
        await store.exchange(WORKER, [Settle(running.id, running.fence, Succeeded("1"))], None)
        await store.enqueue([new_job()])
        (running,) = (await store.exchange(WORKER, [], request(1))).claimed
        assert await store.reconcile(WORKER, [Lease(running.id, running.fence)]) == 0
        passing = await pages(postgres_url, runs, number, await runs_from(postgres_url))
        assert passing < whole / 5
        await store.enqueue([new_job() for _ in range(3)])
        later = (await store.exchange(WORKER, [], request(3))).claimed
        freed = await store.reap([WORKER])
    assert set(freed.jobs) == {running.id, *(job.id for job in later)}, "all that it ran, before and since"


async def test_what_a_worker_does_not_know_of_is_given_back_though_it_knows_of_older(store: PostgresStore) -> None:
    await store.enqueue([new_job() for _ in range(3)])
    first, lost, last = (await store.exchange(WORKER, [], request(3))).claimed
    held = [Lease(first.id, first.fence), Lease(last.id, last.fence)]
    assert await store.reconcile(WORKER, held) == 1
    assert await store.reconcile(WORKER, held) == 0
    again = (await store.exchange(WORKER, [], request(3))).claimed
    assert [job.id for job in again] == [lost.id]
    assert await store.reconcile(WORKER, []) == 3, "nothing that it was given is out of sight"


async def number_of(url: str) -> int:
    return await one(url, "SELECT n FROM headrace_worker WHERE id = $1")


async def runs_from(url: str) -> int:
    return await one(url, "SELECT runs_from FROM headrace_worker WHERE id = $1")


async def one(url: str, call: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        found: int = await connection.fetchval(call, WORKER)
    finally:
        await connection.close()
    return found
