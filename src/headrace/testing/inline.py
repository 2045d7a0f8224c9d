"""Enqueue and run in one: what a test uses that wants a task's effects and not its queue."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from headrace.app import Headrace
from headrace.app.limits import ahead_of
from headrace.core.model import Enqueued, JobId, JobRecord, Outcome
from headrace.core.states import JobState
from headrace.runtime.attempt import Attempt
from headrace.runtime.bodies import Bodies
from headrace.runtime.registry import TaskDef
from headrace.runtime.steering import Steer
from headrace.testing.drain import working
from headrace.testing.memory import memory

UNDER_WAY = (JobState.READY, JobState.RUNNING)
LOOK_S = 0.05
"""How often to look where no hint comes."""


class _Watching(Bodies):
    """Keeps the exception that ended each attempt."""

    def __init__(self, raised: dict[JobId, BaseException], *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        self._kept = raised

    async def _ended_by(self, error: BaseException, task: TaskDef, attempt: Attempt) -> Outcome | None:
        if not attempt.settled and not isinstance(error, Steer | asyncio.CancelledError):
            self._kept[attempt.job.id] = error
        return await super()._ended_by(error, task, attempt)


@asynccontextmanager
async def inline(hr: Headrace, *, propagate: bool = True) -> AsyncGenerator[Headrace]:
    """Inside, `enqueue` returns when the job's first attempt has ended; `await job.result()` is at once.

    Jobs run in this process by a real worker on an empty memory store. An exception of the task
    comes out of `enqueue`; without `propagate` it ends the attempt as it would in production. A job
    that is due later, snoozed, or of an ordered task and behind such a one, is returned as it is.
    """
    raised: dict[JobId, BaseException] = {}

    def bodies(*parts: Any, **named: Any) -> Bodies:
        return _Watching(raised, *parts, **named)

    async def finish(landed: Sequence[Enqueued]) -> None:
        for each in landed:
            await _ended(hr, each.id)
            error = raised.pop(each.id, None)
            if error is not None and propagate:
                raise error

    with memory(hr):
        async with working(hr, bodies):
            hr.after_enqueue = finish
            try:
                yield hr
            finally:
                hr.after_enqueue = None


async def _ended(hr: Headrace, job: JobId) -> None:
    news = asyncio.Event()
    release: Callable[[], None] = hr.feed.follow(job, news.set)
    try:
        while True:
            (record,) = await hr.store.get([job])
            if record is None or record.state not in UNDER_WAY or await _is_behind(hr, record):
                return
            try:
                async with asyncio.timeout(LOOK_S):
                    await news.wait()
            except TimeoutError:
                continue
            news.clear()
    finally:
        release()


async def _is_behind(hr: Headrace, record: JobRecord) -> bool:
    """Whether the job before it in its ordered lane is due later."""
    ahead = await ahead_of(hr, record)
    return ahead is not None and ahead.state is JobState.SCHEDULED
