"""What holds of the system whatever becomes of a notifier: it is only slower.

An app and a worker, each with a notifier of its own, on one store: jobs end, a cancel arrives, a scheduled job comes,
a feed has no gap; with hints that are all dropped, repeated, late and out of order, or whose server dies in the middle.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headrace.app import Headrace, Job
from headrace.core.model import UpdateKind
from headrace.core.states import JobState
from headrace.ports.notifier import Notifier
from headrace.runtime.context import JobContext
from headrace.settings import Settings
from headrace.testing.bells import LossyNotifier
from headrace.testing.conformance.notifier import MakeNotifier, Outage

JOBS = 200
ITEMS = 20
DELAY_S = 0.3
CANCEL_S = 2.0  # a second, on a machine that does something else too
WITHIN_S = 30.0
APP, WORKER = 1, 2  # seeds


@dataclass(slots=True)
class Fleet:
    """An app, and a worker in the same process that only the store and a notifier connect with it."""

    app: Headrace
    tasks: dict[str, Any]
    worker: Headrace


class NotifierSystemConformance:
    """Inherit it with `make_notifier`, as `NotifierConformance` has it.

    `store`: the URL of an empty store; a SQLite file if it is not given.
    """

    @pytest.fixture
    def store(self, tmp_path: Path) -> str:
        """A file."""
        return f"sqlite:///{tmp_path / 'jobs.db'}"

    async def test_work_is_done_when_every_hint_is_dropped(self, make_notifier: MakeNotifier, store: str) -> None:
        """The app knows that it hears nothing; the worker believes that it hears."""
        async with _fleet(store, lambda seed: _lossy(make_notifier, seed, drop=1.0, working=seed == WORKER)) as fleet:
            await _work(fleet)

    async def test_work_is_done_once_when_hints_are_repeated_late_and_out_of_order(
        self, make_notifier: MakeNotifier, store: str
    ) -> None:
        """Each job has one attempt."""
        async with _fleet(store, lambda seed: _lossy(make_notifier, seed, repeat=1.0, delay_s=0.5)) as fleet:
            await _work(fleet)


class ServedNotifierSystemConformance(NotifierSystemConformance):
    """The same, for a notifier with an `outage`, as `ServedNotifierConformance` has it."""

    async def test_work_is_done_while_the_server_dies_and_comes_back(
        self, make_notifier: MakeNotifier, store: str, outage: Outage
    ) -> None:
        """Before, meanwhile and after."""
        async with _fleet(store, lambda _: make_notifier()) as fleet:
            await _work(fleet)
            await asyncio.to_thread(outage.down)
            try:
                await _work(fleet)
            finally:
                back = asyncio.create_task(asyncio.to_thread(outage.up))
                await _work(fleet)
                await back
            async with asyncio.timeout(WITHIN_S):
                while not (fleet.app.notifier.working and fleet.worker.notifier.working):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await _work(fleet)


def _lossy(make: MakeNotifier, seed: int, **how: Any) -> Notifier:
    return LossyNotifier(make(), random.Random(seed), **how)  # noqa: S311 - the same again at every run


@asynccontextmanager
async def _fleet(store: str, make: Callable[[int], Notifier]) -> AsyncGenerator[Fleet]:
    settings = Settings(store=store, poll_s=0.1, embedded_lease_s=5.0, concurrency=20)
    app, worker = (Headrace(settings=settings, notifier=make(seed)) for seed in (APP, WORKER))
    tasks = _tasks(app)
    _tasks(worker)
    try:
        async with worker.embedded():
            yield Fleet(app, tasks, worker)
    finally:
        await app.close()
        await worker.close()


def _tasks(hr: Headrace) -> dict[str, Any]:
    @hr.task(name="square")
    async def square(ctx: JobContext, number: int) -> int:
        assert ctx.attempt == 1
        return number * number

    @hr.task(name="stay")
    async def stay(ctx: JobContext) -> None:  # noqa: ARG001 - so that a cancel reaches it
        await asyncio.Event().wait()

    @hr.task(name="tell")
    async def tell(ctx: JobContext) -> None:
        for number in range(ITEMS):
            await ctx.emit(number)
            await asyncio.sleep(0.005)

    return {"square": square, "stay": stay, "tell": tell}


async def _work(fleet: Fleet) -> None:
    """Everything that hints make quick, in a time that does not depend on them."""
    async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
        group.create_task(_many(fleet))
        group.create_task(_cancelled(fleet))
        group.create_task(_scheduled(fleet))
        group.create_task(_followed(fleet))


async def _many(fleet: Fleet) -> None:
    jobs = await fleet.app.enqueue_many([fleet.tasks["square"].call(number) for number in range(JOBS)])
    for number, job in enumerate(jobs):
        assert await job.result() == number * number


async def _cancelled(fleet: Fleet) -> None:
    job = await fleet.tasks["stay"].enqueue()
    await _reaches(job, JobState.RUNNING)
    began = time.monotonic()
    await job.cancel()
    await _reaches(job, JobState.CANCELLED)
    assert time.monotonic() - began < CANCEL_S


async def _reaches(job: Job[Any], state: JobState) -> None:
    while (await job.refresh()).state is not state:  # noqa: ASYNC110 - the store is asked, no hint
        await asyncio.sleep(0.01)


async def _scheduled(fleet: Fleet) -> None:
    began = time.monotonic()
    job = await fleet.tasks["square"].options(delay=DELAY_S).enqueue(3)
    assert await job.result() == 3 * 3
    assert time.monotonic() - began >= DELAY_S


async def _followed(fleet: Fleet) -> None:
    job = await fleet.tasks["tell"].enqueue()
    told = [update async for update in job.updates()]
    items: list[Any] = [update.data for update in told if update.kind is UpdateKind.ITEM]
    assert [item["data"] for item in items] == list(range(ITEMS))
    assert told[-1].kind is UpdateKind.END
