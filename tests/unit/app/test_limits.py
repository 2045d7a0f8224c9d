"""Limits through the user's surface: bodies in embedded workers, and in the testing kit."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator

import pytest

from headrace import Headrace, Job, JobContext, Limit, RateLimit, Retry
from headrace.app.limits import limit_of
from headrace.settings import Settings
from headrace.testing import ManualClock, drain, inline

DEADLINE_S = 30.0


@pytest.fixture
async def hr() -> AsyncIterator[Headrace]:
    """On a memory store, with rare polls: what waits for a limit is told, not found."""
    made = Headrace(settings=Settings(store="memory://", poll_s=20.0, grace_s=0.1, kill_grace_s=0.2))
    yield made
    await made.close()


async def test_workers_together_run_no_more_than_the_limit_of_each_key_and_as_many(hr: Headrace) -> None:
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()

    @hr.task(concurrency=Limit(3, key="tenant"))
    async def charge(ctx: JobContext, tenant: str) -> None:
        running[tenant] += 1
        most[tenant] = max(most[tenant], running[tenant])
        await asyncio.sleep(0.005)
        running[tenant] -= 1

    async with hr.embedded(3):
        jobs = await hr.enqueue_many([charge.call(tenant) for tenant in "abab" for _ in range(20)])
        for job in jobs:
            await job.result(timeout=DEADLINE_S)
    assert most == {"a": 3, "b": 3}


async def test_a_rate_spreads_starts_and_nobody_sleeps_longer(hr: Headrace) -> None:
    started: list[float] = []

    @hr.task(rate=RateLimit(50, per=1, burst=1))
    async def call(ctx: JobContext) -> None:
        started.append(time.monotonic())

    async with hr.embedded(2):
        for job in await hr.enqueue_many([call.call() for _ in range(25)]):
            await job.result(timeout=DEADLINE_S)
    assert 0.45 < started[-1] - started[0] < 2.0


async def test_a_thread_s_end_frees_its_slot_for_another_worker(hr: Headrace) -> None:
    @hr.task(concurrency=Limit(1))
    def alone() -> None:
        time.sleep(0.01)

    @hr.task()
    async def other() -> None: ...

    async with hr.embedded(2):
        jobs = await hr.enqueue_many([*[alone.call() for _ in range(10)], *[other.call() for _ in range(50)]])
        for job in jobs:
            await job.result(timeout=DEADLINE_S)


async def test_a_job_that_a_limit_keeps_back_says_so(hr: Headrace) -> None:
    @hr.task(concurrency=Limit(1, key="tenant"))
    async def charge(ctx: JobContext, tenant: str) -> None:
        await asyncio.sleep(60)

    @hr.task(rate=RateLimit(1, per=3600))
    async def call(ctx: JobContext) -> None: ...

    async def said(job: Job[None]) -> str | None:
        (record,) = await hr.store.get([job.id.bytes])
        assert record is not None
        return await limit_of(hr, record)

    async with hr.embedded():
        first, second = await charge.enqueue("acme"), await charge.enqueue("acme")
        await (await call.enqueue()).result(timeout=DEADLINE_S)
        later = await call.enqueue()
        async with asyncio.timeout(DEADLINE_S):
            while await said(second) is None or await said(later) is None:  # noqa: ASYNC110 - the store is asked
                await asyncio.sleep(0.01)
        assert await said(second) == "1 attempt of 'charge' of the key 'acme' runs, which is its limit"
        assert (await said(later) or "").startswith("the rate of 'call' lets the next one start in 3")
        assert await said(first) is None


async def test_the_testing_kit_keeps_to_limits_and_leaves_rates_out() -> None:
    hr = Headrace("memory://", clock=ManualClock())
    most = running = 0

    @hr.task(concurrency=Limit(2), rate=RateLimit(1, per=3600))
    async def call(ctx: JobContext) -> int:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return 1

    await hr.enqueue_many([call.call() for _ in range(10)])
    assert await drain(hr) == 10
    assert most <= 2
    await hr.close()
    async with inline(hr):
        assert await (await call.enqueue()).result() == 1


# -- ordered tasks ---------------------------------------------------------------------------


async def test_jobs_of_a_key_run_one_after_the_other_in_order(hr: Headrace) -> None:
    running: Counter[str] = Counter()
    seen: defaultdict[str, list[int]] = defaultdict(list)

    @hr.task(ordered_by="tenant", retry=Retry(max_attempts=3, initial=0.001))
    async def charge(ctx: JobContext, tenant: str, number: int) -> None:
        assert not running[tenant]
        running[tenant] += 1
        await asyncio.sleep(0.001)
        running[tenant] -= 1
        if number % 5 == 1 and ctx.attempt == 1:
            raise RuntimeError
        seen[tenant].append(number)

    async with hr.embedded(3):
        jobs = await hr.enqueue_many([charge.call(tenant, number) for number in range(12) for tenant in "abcd"])
        for job in jobs:
            await job.result(timeout=DEADLINE_S)
    assert seen == {tenant: list(range(12)) for tenant in "abcd"}


async def test_a_job_that_waits_for_its_turn_says_for_whom(hr: Headrace) -> None:
    @hr.task(ordered_by="tenant")
    async def charge(ctx: JobContext, tenant: str) -> None:
        raise ctx.snooze(3600)

    async with hr.embedded():
        first, second, other = [await charge.enqueue(tenant) for tenant in ("acme", "acme", "globex")]
        async with asyncio.timeout(DEADLINE_S):
            while (await other.refresh()).state != "scheduled":  # noqa: ASYNC110 - the store is asked
                await asyncio.sleep(0.01)
        (record,) = await hr.store.get([second.id.bytes])
        assert record is not None
        said = await limit_of(hr, record)
        assert said == f"the job {first.id} of its key, or of one that shares its lane, has begun and not ended"
        await first.cancel()  # and nobody polls: the next one is told
        async with asyncio.timeout(DEADLINE_S):
            while (await second.refresh()).state != "scheduled":  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)


async def test_the_testing_kit_keeps_the_order_and_leaves_what_waits_for_its_turn() -> None:
    hr = Headrace("memory://", clock=ManualClock())
    seen: list[int] = []

    @hr.task(ordered_by="tenant")
    async def charge(ctx: JobContext, tenant: str, number: int) -> None:
        if number == 2 and ctx.attempt == 1:
            raise ctx.snooze(60)
        seen.append(number)

    await hr.enqueue_many([charge.call("acme", number) for number in range(5)])
    assert await drain(hr) == 3
    assert seen == [0, 1]
    assert await drain(hr, until=60) == 3
    assert seen == list(range(5))
    await hr.close()
    async with inline(hr):
        await charge.enqueue("acme", 2)
        assert (await charge.enqueue("acme", 3)).state == "ready"
