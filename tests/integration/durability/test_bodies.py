"""Bodies that end in odd ways: the job must end, and the slot must come back."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from headrace import Headrace, JobContext, Retry, SyncJobContext
from headrace.core.states import JobState

DEADLINE_S = 30.0
Locked = Callable[[], AbstractContextManager[None]]


async def test_a_thread_whose_iterator_is_at_its_end_fails_and_frees_its_slot(hr: Headrace) -> None:
    @hr.task(retry=Retry(max_attempts=1))
    def empty() -> int:
        nothing: Iterator[int] = iter(())
        return next(nothing)

    job = await empty.enqueue()
    async with hr.embedded():
        async with asyncio.timeout(DEADLINE_S):
            while not (await job.refresh()).state.terminal:  # noqa: ASYNC110 - the store is asked
                await asyncio.sleep(0.01)
        assert job.state is JobState.FAILED


async def test_an_error_that_cannot_be_printed_fails_the_job(hr: Headrace) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    @hr.task(retry=Retry(max_attempts=1))
    async def raises() -> None:
        raise Mute

    job = await raises.enqueue()
    async with hr.embedded():
        async with asyncio.timeout(DEADLINE_S):
            while not (await job.refresh()).state.terminal:  # noqa: ASYNC110 - the store is asked
                await asyncio.sleep(0.01)
        assert job.state is JobState.FAILED


async def test_what_runs_while_the_store_is_locked_burns_no_attempt(
    hr: Headrace, locked: Locked, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    started, go = asyncio.Event(), asyncio.Event()

    @hr.task()
    async def speaks(ctx: JobContext) -> int:
        started.set()
        await go.wait()
        await ctx.emit({"step": 1})
        await ctx.progress(1, 2)
        return await ctx.succeed(ctx.attempt)

    async with hr.embedded():
        job = await speaks.enqueue()
        await asyncio.wait_for(started.wait(), DEADLINE_S)
        with locked():
            go.set()
            await asyncio.sleep(1.0)  # more than three times what a write waits for the lock
        assert await job.result(timeout=DEADLINE_S) == 1
        updates = await hr.store.read_updates(job.id.bytes, 0, 100)
        assert updates is not None
        assert [update.kind.value for update in updates.updates].count("item") == 1


async def test_what_runs_in_a_thread_waits_for_the_store_too(hr: Headrace, locked: Locked) -> None:
    started, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    @hr.task()
    def works(ctx: SyncJobContext) -> int:
        loop.call_soon_threadsafe(started.set)
        assert go.wait(DEADLINE_S)
        ctx.emit("one")
        return ctx.attempt

    async with hr.embedded():
        job = await works.enqueue()
        await asyncio.wait_for(started.wait(), DEADLINE_S)
        with locked():
            go.set()
            await asyncio.sleep(1.0)
        assert await job.result(timeout=DEADLINE_S) == 1
