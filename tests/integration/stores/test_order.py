"""Ordered tasks on real databases: claimers in many processes' places at once, late commits, hints for turns."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest

from headrace.core.limits import Limit, TaskLimit
from headrace.core.model import Failed, Failure, JobId, Retried, Settle, Succeeded
from headrace.ports.store import StoreSettings
from headrace.stores.memory import MemoryStore
from headrace.stores.postgres import PostgresStore
from headrace.stores.sqlite import SqliteStore
from headrace.testing.conformance.store_base import FullStore, ManualTime, ids_of, new_job, opened, register, request

Make: TypeAlias = Callable[..., FullStore]
ORDERED = TaskLimit("charge", ordered=True)
NO = Failure("E", "no")
JOBS, KEYS = 600, 20


async def race(stores: list[FullStore], limit: TaskLimit) -> None:
    """Twelve claimers, each as if in a process of its own, while jobs are enqueued; every third attempt is repeated."""
    keys: dict[JobId, str] = {}
    enqueued: defaultdict[str, list[JobId]] = defaultdict(list)
    started: defaultdict[str, list[JobId]] = defaultdict(list)
    running: Counter[str] = Counter()
    fences = done = 0

    async def produce() -> None:
        for first in range(0, JOBS, 50):
            jobs = [new_job(lane_key=f"{number % KEYS:02x}") for number in range(first, first + 50)]
            for job in jobs:
                keys[job.id] = job.lane_key
                enqueued[job.lane_key].append(job.id)
            await stores[first % len(stores)].enqueue(jobs)

    async def work(number: int) -> None:
        nonlocal done, fences
        mine, name, settles = stores[number % len(stores)], f"worker-{number}", list[Settle]()
        await register(mine, name)
        while done < JOBS:
            for entry in settles:
                running[keys[entry.id]] -= 1
                done += not isinstance(entry.outcome, Retried)
            answer = await mine.exchange(name, settles, replace(request(5), limits=(limit,)))
            settles = []
            for job in answer.claimed:
                key = keys[job.id]
                running[key] += 1
                assert running[key] == 1, "beside another one"
                if job.id not in started[key]:
                    started[key].append(job.id)
                assert started[key][-1] == job.id, "a later one has begun before it ended"
                fences += 1
                outcome = (
                    Retried(NO)
                    if job.fence == 1 and fences % 3 == 0
                    else Failed(NO)
                    if fences % 5 == 0
                    else Succeeded()
                )
                settles.append(Settle(job.id, job.fence, outcome))
            await asyncio.sleep(0.001)
        if settles:
            await mine.exchange(name, settles, None)

    async with asyncio.timeout(60):
        await asyncio.gather(produce(), *(work(number) for number in range(12)))
    assert started == enqueued


@pytest.mark.timeout(150)
@pytest.mark.parametrize("limit", [ORDERED, replace(ORDERED, concurrency=Limit(4))], ids=["ordered", "and limited"])
async def test_claimers_of_many_processes_keep_the_order(postgres_url: str, limit: TaskLimit) -> None:
    stores: list[FullStore] = [PostgresStore(postgres_url) for _ in range(4)]
    for each in stores:
        await each.open()
    await race(stores, limit)
    for each in stores:
        await each.close()


async def test_who_comes_after_a_late_commit_does_not_pass_it(postgres_url: str) -> None:
    asked = replace(request(5), limits=(ORDERED,))
    connection = await asyncpg.connect(postgres_url)
    async with opened(lambda settings: PostgresStore(postgres_url, settings)) as store:
        await register(store)
        first, late, next_one = (new_job(lane_key="00") for _ in range(3))
        await store.enqueue([first])  # so that their line is there for all
        transaction = connection.transaction()
        await transaction.start()
        await store.join(connection).enqueue([late])
        settles: list[Settle] = []
        for _ in range(6):  # others go on, and floors rise
            await store.enqueue([new_job(lane_key="00")])
            (claimed,) = (await store.exchange("worker-1", settles, asked)).claimed
            settles = [Settle(claimed.id, claimed.fence, Succeeded())]
            await asyncio.sleep(0.06)
        await transaction.commit()
        await store.enqueue([next_one])
        order: list[JobId] = []
        for _ in range(3):  # one was enqueued more than was claimed
            (claimed,) = (await store.exchange("worker-1", settles, asked)).claimed
            order.append(claimed.id)
            settles = [Settle(claimed.id, claimed.fence, Succeeded())]
        assert order[0] == late.id
        assert order[-1] == next_one.id
    await connection.close()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param == "memory":
        return lambda **options: MemoryStore(StoreSettings(), wall=ManualTime().wall, **options)
    if request.param == "sqlite":
        return lambda **options: SqliteStore(tmp_path / "jobs.db", **options)
    url: str = request.getfixturevalue("postgres_url")
    return lambda **options: PostgresStore(url, **options)


@pytest.mark.parametrize("end", ["settled", "cancelled"])
async def test_a_turn_that_ends_is_hinted_at(make: Make, end: str) -> None:
    hints: list[str] = []
    store = make(notify=hints.extend)
    await store.open()
    for worker in ("worker-1", "worker-2"):
        await register(store, worker)
    asked = replace(request(1), limits=(ORDERED,))
    await store.enqueue([new_job() for _ in range(2)])
    (job,) = (await store.exchange("worker-1", (), asked)).claimed
    assert (await store.exchange("worker-2", (), asked)).claimed == ()
    if end == "cancelled":
        await store.exchange("worker-1", [Settle(job.id, job.fence, Retried(NO, 1000.0))], None)
        hints.clear()
        await store.cancel([job.id])
    else:
        hints.clear()
        await store.exchange("worker-1", [Settle(job.id, job.fence, Succeeded())], None)
    await asyncio.sleep(0)  # whoever waits for the answer has it first
    assert any(hint in {"queue:", "queue:billing"} for hint in hints)
    assert len((await store.exchange("worker-2", (), asked)).claimed) == 1
    await store.close()


async def test_a_turn_that_ends_while_another_lane_is_taken_is_hinted_at(make: Make) -> None:
    hints: list[str] = []
    store = make(notify=hints.extend)
    await store.open()
    await register(store)
    asked = replace(request(1), limits=(ORDERED,))
    await store.enqueue([new_job(lane_key="a") for _ in range(2)])
    (job,) = (await store.exchange("worker-1", (), asked)).claimed
    other = new_job(lane_key="b")
    await store.enqueue([other])
    hints.clear()
    answer = await store.exchange("worker-1", [Settle(job.id, job.fence, Succeeded())], asked)
    assert ids_of(answer.claimed) == [other.id]
    await asyncio.sleep(0)  # whoever waits for the answer has it first
    assert "queue:billing" in hints
    await store.close()
