"""Upstreams where there is more than one event loop, or process, or a stop at a bad moment."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from headrace import Breaker, BreakerOpen, Headrace, JobState, Retry
from headrace.core.fleet import BreakerState
from tests.integration.upstreams.kit import DownError, Fleet, state_of

Until = Callable[..., Awaitable[None]]
BREAKER = Breaker(
    minimum_number_of_calls=2, wait_duration_in_open_state=1, permitted_number_of_calls_in_half_open_state=1, ramp=0
)


def test_a_loop_that_has_ended_is_followed_by_another(tmp_path: Path) -> None:
    hr = Headrace(f"sqlite:///{tmp_path / 'headrace.db'}")
    bank = hr.upstream("bank", breaker=BREAKER, max_concurrency=2)

    async def fails() -> None:
        for _ in range(2):
            with pytest.raises(DownError):
                async with bank:
                    raise DownError

    async def works() -> BreakerState | None:
        await asyncio.sleep(1.1)
        async with bank:
            pass
        await asyncio.sleep(0.3)
        state = await state_of(hr)
        await hr.close()
        return state

    asyncio.run(fails())  # and does not close it
    with pytest.raises(BreakerOpen), bank:
        pass
    assert asyncio.run(works()) is BreakerState.CLOSED


async def test_a_worker_hears_of_upstreams_that_live_on_another_loop(fleet: Fleet, until: Until) -> None:
    hr = fleet.join()
    bank = hr.upstream("bank", breaker=BREAKER)

    def blocking() -> None:
        with bank:
            pass

    await asyncio.to_thread(blocking)  # from here on they live on a thread's loop
    ran = 0

    @hr.task(needs=[bank])
    async def charge() -> None:
        nonlocal ran
        ran += 1

    async with hr.embedded(1):
        await (await charge.enqueue()).result(timeout=10)
        await hr.force_upstream("bank", "open")
        await asyncio.sleep(0.8)
        job = await charge.enqueue()
        await asyncio.sleep(0.5)
        assert (await job.refresh()).state is JobState.READY
        await hr.force_upstream("bank", "close")
        await job.result(timeout=10)
    assert ran == 2


async def test_a_process_that_ends_leaves_its_slots_to_the_next(fleet: Fleet) -> None:
    for _ in range(3):
        hr = fleet.join()
        bank = hr.upstream("bank", max_concurrency=2)
        async with asyncio.timeout(3), bank:
            pass
        await hr.close()


async def test_a_stop_while_an_outcome_is_being_decided_loses_nothing(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    hr = fleet.join()
    bank = hr.upstream("bank")
    asked = asyncio.Event()

    @hr.task(needs=[bank], retry=Retry(max_attempts=1, initial=0.01))
    async def charge() -> None:
        async with bank:
            raise DownError

    async with hr.embedded(1):
        read = hr.store.attempts

        async def slow(job: bytes) -> Any:
            asked.set()
            await asyncio.sleep(1.5)
            return await read(job)

        monkeypatch.setattr(hr.store, "attempts", slow)
        job = await charge.enqueue()
        async with asyncio.timeout(10):
            await asked.wait()
            await job.cancel()
            while (await job.refresh()).state is not JobState.CANCELLED:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
        (worker,) = await hr.workers()
        assert worker.running == 0


async def test_a_forked_process_has_a_name_of_its_own(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    hr = fleet.join()
    hr.upstream("bank")
    service = hr.services.upstreams
    parent = service.process
    monkeypatch.setattr(service, "_pid", os.getpid() + 1)  # as if this were its child
    await hr.open()
    assert service.process != parent
    async with asyncio.timeout(5):
        while not (await hr.store.upstreams())[1]:  # noqa: ASYNC110 - of the store
            await asyncio.sleep(0.02)
    (document,) = (await hr.store.upstreams())[1].values()
    assert service.process in document
    assert parent not in document
