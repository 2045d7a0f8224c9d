"""Workers inside another process: they run jobs, hear cancels, and are replaced when their lease is lost."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import pytest

from headrace import Headrace, JobContext, PayloadTooLarge
from headrace.core.states import JobState
from headrace.settings import Settings

DEADLINE_S = 30.0


@pytest.fixture
async def hr() -> AsyncIterator[Headrace]:
    """One on a memory store, with short waits."""
    made = Headrace(
        settings=Settings(store="memory://", poll_s=0.05, grace_s=0.1, kill_grace_s=0.2, blocked_loop_s=0.1)
    )
    yield made
    await made.close()


async def test_runs_jobs_and_leaves_no_worker_behind(hr: Headrace) -> None:
    @hr.task()
    async def add(ctx: JobContext, one: int, two: int) -> int:
        return one + two

    async with hr.embedded(2):
        assert await (await add.enqueue(1, 2)).result(timeout=DEADLINE_S) == 3
        assert {worker.role for worker in await hr.workers()} == {"embedded"}
    assert await hr.workers() == []


async def test_a_lease_that_is_renewed_lets_jobs_begin_for_longer_than_it_lasts(hr: Headrace) -> None:
    hr.settings = hr.settings.model_copy(update={"embedded_lease_s": 1.0})

    @hr.task()
    async def quick(ctx: JobContext) -> int:
        return ctx.attempt

    async with hr.embedded():
        await asyncio.sleep(1.2)
        assert await (await quick.enqueue()).result(timeout=DEADLINE_S) == 1


async def test_a_cancel_reaches_a_running_attempt(hr: Headrace) -> None:
    @hr.task()
    async def waits(ctx: JobContext) -> None:
        await asyncio.sleep(60)

    async with hr.embedded():
        job = await waits.enqueue()
        async with asyncio.timeout(DEADLINE_S):
            while (await job.refresh()).state is not JobState.RUNNING:  # noqa: ASYNC110 - the store is asked
                await asyncio.sleep(0.01)
            await job.cancel()
            while (await job.refresh()).state is not JobState.CANCELLED:  # noqa: ASYNC110 - the store is asked
                await asyncio.sleep(0.01)


async def test_one_that_lost_its_lease_is_replaced_and_its_job_runs_again(
    hr: Headrace, caplog: pytest.LogCaptureFixture
) -> None:
    @hr.task()
    async def second(ctx: JobContext) -> int:
        if ctx.attempt == 1:
            await asyncio.sleep(60)
        return ctx.attempt

    async with hr.embedded():
        job = await second.enqueue()
        async with asyncio.timeout(DEADLINE_S):
            while (await job.refresh()).state is not JobState.RUNNING:  # noqa: ASYNC110 - the store is asked
                await asyncio.sleep(0.01)
        (before,) = await hr.workers()
        await hr.store.reap([before.id])
        assert await job.result(timeout=DEADLINE_S) == 2
        (after,) = await hr.workers()
        assert after.id != before.id
    assert "lost its lease" in caplog.text


async def test_a_task_that_blocks_the_loop_is_named(hr: Headrace, caplog: pytest.LogCaptureFixture) -> None:
    @hr.task()
    async def blocks(ctx: JobContext) -> None:
        time.sleep(1.0)  # noqa: ASYNC251 - that is the fault

    caplog.set_level(logging.WARNING)
    async with hr.embedded():
        await (await blocks.enqueue()).result(timeout=DEADLINE_S)
    assert "task blocks has blocked the event loop" in caplog.text


async def test_items_are_bounded_by_the_setting() -> None:
    hr = Headrace(settings=Settings(store="memory://", item_bytes_max=2_000, grace_s=0.1))

    @hr.task()
    async def emits(ctx: JobContext, size: int) -> str:
        try:
            await ctx.emit("x" * size)
        except PayloadTooLarge as error:
            return str(error)
        return "kept"

    async with hr.embedded():
        assert await (await emits.enqueue(1_000)).result(timeout=DEADLINE_S) == "kept"
        assert "2,000" in await (await emits.enqueue(3_000)).result(timeout=DEADLINE_S)
    await hr.close()
