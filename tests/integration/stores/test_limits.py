"""Limits on real databases: claimers in many processes' places at once, thousands of keys, hints for freed slots."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest

from headrace.core.limits import Limit, RateLimit, TaskLimit
from headrace.core.model import Settle, Succeeded
from headrace.ports.store import StoreSettings
from headrace.stores.memory import MemoryStore
from headrace.stores.postgres import PostgresStore
from headrace.stores.sqlite import SqliteStore
from headrace.testing.conformance.store_base import (
    FullStore,
    ManualTime,
    claim,
    new_job,
    opened,
    register,
    request,
)

Make: TypeAlias = Callable[..., FullStore]
EACH = TaskLimit("charge", Limit(3, key="tenant"))
ALL = TaskLimit("charge", Limit(4), RateLimit(2_000, per=1, burst=100, key="tenant"))


async def race(store: FullStore, others: list[FullStore], limit: TaskLimit, most: int) -> None:
    """Twelve claimers, each as if in a process of its own, until 600 jobs are done."""
    stores = [store, *others]
    jobs = [new_job(lane_key=f"tenant-{number % 3}") for number in range(600)]
    await store.enqueue(jobs)
    tenants = {job.id: "all" if limit is ALL else job.lane_key for job in jobs}
    running: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    done = 0

    async def work(number: int) -> None:
        nonlocal done
        mine, name, settles = stores[number % len(stores)], f"worker-{number}", list[Settle]()
        await register(mine, name)
        while done < 600:
            for entry in settles:
                running[tenants[entry.id]] -= 1
            answer = await mine.exchange(name, settles, replace(request(5), limits=(limit,)))
            for job in answer.claimed:
                tenant = tenants[job.id]
                running[tenant] += 1
                seen[tenant] = max(seen[tenant], running[tenant])
            done += len(answer.claimed)
            await asyncio.sleep(0.001)
            settles = [Settle(job.id, job.fence, Succeeded()) for job in answer.claimed]
        await mine.exchange(name, settles, None)

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(number) for number in range(12)))
    assert done == 600
    assert 1 < max(seen.values()) <= most, seen


@pytest.mark.timeout(150)
@pytest.mark.parametrize(("limit", "most"), [(EACH, 3), (ALL, 4)], ids=["each key", "all keys"])
@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
async def test_claimers_of_many_processes_never_pass_a_limit(
    postgres_url: str, limit: TaskLimit, most: int, isolation: str
) -> None:
    connection = await asyncpg.connect(postgres_url)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'")
    try:
        async with opened(lambda settings: PostgresStore(postgres_url, settings)) as store:
            others: list[FullStore] = [PostgresStore(postgres_url) for _ in range(3)]
            for each in others:
                await each.open()
            await race(store, others, limit, most)
            for each in others:
                await each.close()
            assert await connection.fetchval("SELECT count(*) FROM headrace_slot") <= most * 3  # the last ones only
    finally:
        await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_isolation")
        await connection.close()


@pytest.mark.timeout(150)
@pytest.mark.parametrize("limited", [False, True])
async def test_of_thousands_of_keys_a_late_one_is_served(postgres_url: str, *, limited: bool) -> None:
    limits = (TaskLimit("charge", Limit(1, key="tenant")),) if limited else ()
    async with opened(lambda settings: PostgresStore(postgres_url, settings)) as store:
        await register(store)
        keys = [f"tenant-{number:05}" for number in range(3_000)]
        await store.enqueue([new_job(lane_key=key, args="[]") for key in keys])
        served = 0
        if limited:  # each runs one: whatever else waits is kept back
            for _ in range(4):
                answer = await store.exchange("worker-1", (), replace(request(1_000), limits=limits))
                served += len(answer.claimed)
            assert served == 3_000
        await store.enqueue([new_job(lane_key=key, args="[]") for key in keys])
        late = new_job(lane_key="tenant-99999", args="[]")
        await store.enqueue([late])
        claimed: list[bytes] = []
        for _ in range(1 if limited else 3_001):
            answer = await store.exchange("worker-1", (), replace(request(100), limits=limits))
            claimed += [job.id for job in answer.claimed]
            if late.id in claimed:
                break
        assert late.id in claimed
        assert len(claimed) <= 3_100  # one round, and no key twice before the last had its turn


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param == "memory":
        return lambda **options: MemoryStore(StoreSettings(), wall=ManualTime().wall, **options)
    if request.param == "sqlite":
        return lambda **options: SqliteStore(tmp_path / "jobs.db", **options)
    url: str = request.getfixturevalue("postgres_url")
    return lambda **options: PostgresStore(url, **options)


async def test_a_slot_that_nobody_took_again_is_hinted_at(make: Make) -> None:
    hints: list[str] = []
    store = make(notify=hints.extend)
    await store.open()
    await register(store)
    await register(store, "worker-2")
    limits = (TaskLimit("charge", Limit(1)),)
    asked = replace(request(1), limits=limits)
    await store.enqueue([new_job() for _ in range(2)])
    (job,) = (await store.exchange("worker-1", (), asked)).claimed
    assert (await store.exchange("worker-2", (), asked)).claimed == ()
    hints.clear()
    await store.exchange("worker-1", [Settle(job.id, job.fence, Succeeded())], None)
    await asyncio.sleep(0)  # whoever waits for the answer has it first
    assert "queue:billing" in hints
    (job,) = (await store.exchange("worker-2", (), asked)).claimed
    hints.clear()
    await store.reap(["worker-2"])
    assert any(hint.startswith("queue:") for hint in hints)
    await store.close()


async def test_the_end_of_a_job_without_limits_is_not_hinted_at(make: Make) -> None:
    hints: list[str] = []
    store = make(notify=hints.extend)
    await store.open()
    await register(store)
    await store.enqueue([new_job() for _ in range(2)])
    (job,) = await claim(store, 1)
    hints.clear()
    await store.exchange("worker-1", [Settle(job.id, job.fence, Succeeded())], None)
    await asyncio.sleep(0)  # whoever waits for the answer has it first
    assert not any(hint.startswith("queue:") for hint in hints)
    await store.close()
