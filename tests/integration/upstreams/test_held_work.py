"""Jobs that need a service which is down: held, not burnt, and back by themselves."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from headrace import Breaker, Headrace, InvalidConfig, Job, JobContext, JobState, RateLimited, Retry
from headrace.core.fleet import BreakerState
from headrace.core.model import AttemptOutcome, Cause
from headrace.settings import Settings
from tests.integration.upstreams.kit import DownError, Fleet, Service, state_of

Until = Callable[..., Awaitable[None]]
BREAKER = Breaker(
    minimum_number_of_calls=6,
    wait_duration_in_open_state=1,
    permitted_number_of_calls_in_half_open_state=2,
    ramp=1,
)


class Shop:
    """A Headrace with a task that needs the bank, and one that does not."""

    def __init__(self, hr: Headrace, service: Service, **policies: Any) -> None:
        self.hr = hr
        self.bank = bank = hr.upstream("bank", breaker=BREAKER, timeout=5, **policies)

        @hr.task(needs=[bank], retry=Retry(max_attempts=2, initial=0.1))
        async def charge(ctx: JobContext, n: int) -> int:
            async with bank:
                await service.call()
            return n

        @hr.task()
        async def mail(n: int) -> int:
            return n

        self.charge, self.mail = charge, mail

    async def states(self, jobs: list[Job[int]]) -> Counter[JobState]:
        """How many are in which state."""
        return Counter(each.state for each in await self.hr.store.get([job.id.bytes for job in jobs]) if each)


async def test_an_outage_costs_no_attempts_that_count(fleet: Fleet, until: Until) -> None:
    service = Service(down=True)
    shops = [Shop(fleet.join(), service) for _ in range(2)]
    shop = shops[0]
    async with shop.hr.embedded(1), shops[1].hr.embedded(1):
        jobs = await shop.hr.enqueue_many([shop.charge.call(n) for n in range(60)])
        await until(lambda: _is(shop.hr, BreakerState.OPEN))
        others = await shop.hr.enqueue_many([shop.mail.call(n) for n in range(50)])
        assert [await job.result(timeout=10) for job in others] == list(range(50)), "others are not held"
        await asyncio.sleep(2.5)
        assert service.calls <= 60 + 3 * 2, "what was under way when it opened, and probes"
        before = service.calls
        assert set(await shop.states(jobs)) <= {JobState.READY, JobState.SCHEDULED, JobState.RUNNING}
        service.down = False
        await until(lambda: _all(shop, jobs, JobState.SUCCEEDED), 30)
        assert service.calls == before + 60 + (service.failed - before)
    records = await shop.hr.store.get([job.id.bytes for job in jobs])
    assert {each.failures for each in records if each} == {0}
    failed = [
        attempt
        for job in jobs
        for attempt in await shop.hr.store.attempts(job.id.bytes)
        if attempt.outcome is not AttemptOutcome.SUCCEEDED
    ]
    assert {attempt.outcome for attempt in failed} <= {AttemptOutcome.SNOOZED, AttemptOutcome.GIVEN_BACK}
    snoozed = [attempt for attempt in failed if attempt.outcome is AttemptOutcome.SNOOZED]
    assert snoozed
    assert {attempt.failure.cause for attempt in snoozed if attempt.failure} == {Cause.UPSTREAM}
    assert len(snoozed) == service.failed


async def _is(hr: Headrace, state: BreakerState) -> bool:
    return await state_of(hr) is state


async def _all(shop: Shop, jobs: list[Job[int]], state: JobState) -> bool:
    return await shop.states(jobs) == {state: len(jobs)}


async def test_the_job_says_who_holds_it(fleet: Fleet, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_AUTH", "off")
    hr = Headrace(settings=Settings(store=fleet.url))
    fleet.members.append(hr)
    shop = Shop(hr, Service())
    app = FastAPI()
    hr.install(app, workers=1)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app, client=("127.0.0.1", 1)), base_url="http://127.0.0.1") as http,
    ):
        await (await shop.charge.enqueue(0)).result(timeout=10)
        assert (await http.post("/headrace/api/upstreams/bank/open")).status_code == 200
        job = await shop.charge.enqueue(1)
        await asyncio.sleep(0.7)
        view = (await http.get(f"/headrace/api/jobs/{job.id}")).json()
        assert view["state"] == "ready"
        (hold,) = view["holds"]
        assert hold["kind"] == "upstream"
        assert (hold["upstream"], hold["state"]) == ("bank", "forced_open")
        assert "opened by hand" in view["why"]
        assert (await http.post("/headrace/api/upstreams/bank/close")).status_code == 200
        assert await job.result(timeout=10) == 1


async def test_the_snoozes_of_an_upstream_have_an_end(fleet: Fleet) -> None:
    service = Service(down=True)
    hr = fleet.join()
    loose = Breaker(failure_rate_threshold=100, minimum_number_of_calls=50)
    bank = hr.upstream("bank", breaker=loose, snoozes_max=2)

    @hr.task(needs=[bank], retry=Retry(max_attempts=2, initial=0.01))
    async def charge(ctx: JobContext) -> None:
        if ctx.attempt == 1:
            raise ctx.snooze(0.01)  # its own, which is not counted
        async with bank:
            await service.call()

    async with hr.embedded(1):
        job = await charge.enqueue()
        with pytest.raises(Exception, match="the bank is down"):
            await job.result(timeout=20)
    kept = [attempt.outcome.value for attempt in await hr.store.attempts(job.id.bytes)]
    assert kept == ["snoozed", "snoozed", "snoozed", "retry", "failed"]


async def test_a_job_is_snoozed_to_the_time_that_it_was_told(fleet: Fleet) -> None:
    hr = fleet.join()
    bank = hr.upstream("bank")

    @hr.task(needs=[bank], retry=Retry(max_attempts=1))
    async def charge() -> None:
        raise RateLimited("too many", retry_in=40, upstream="bank")

    @hr.task(retry=Retry(max_attempts=1))
    async def careless() -> None:
        raise RateLimited("too many", retry_in=40, upstream="bank")

    async with hr.embedded(1):
        job, other = await charge.enqueue(), await careless.enqueue()
        with pytest.raises(Exception, match="too many"):
            await other.result(timeout=10)
        record = None
        async with asyncio.timeout(10):
            while record is None or record.state is not JobState.SCHEDULED:
                (record,) = await hr.store.get([job.id.bytes])
                await asyncio.sleep(0.02)
    assert record.failures == 0
    assert record.run_at is not None
    assert 39 < record.run_at - hr.clock.wall() < 46


async def test_tasks_in_threads_are_held_too(fleet: Fleet, until: Until) -> None:
    hr = fleet.join()
    bank = hr.upstream("bank", breaker=BREAKER, max_concurrency=3)
    down = True

    @hr.task(needs=[bank])
    def charge(n: int) -> int:
        with bank:
            if down:
                raise DownError("down")
        return n

    async with hr.embedded(1):
        jobs = await hr.enqueue_many([charge.call(n) for n in range(20)])
        await until(lambda: _is(hr, BreakerState.OPEN))
        down = False
        assert [await job.result(timeout=30) for job in jobs] == list(range(20))
    assert {each.failures for each in await hr.store.get([job.id.bytes for job in jobs]) if each} == {0}


def test_what_cannot_work_is_refused_where_it_is_written() -> None:
    hr = Headrace("memory://")
    bank = hr.upstream("bank", max_concurrency=3)
    assert hr.upstream("bank", max_concurrency=3).name == "bank", "the same again is no fault"
    with pytest.raises(InvalidConfig, match="'bank' is defined twice, with other policies"):
        hr.upstream("bank", max_concurrency=4)
    with pytest.raises(InvalidConfig, match="minimum_number_of_calls must be at most sliding_window_size"):
        Breaker(sliding_window_size=5, minimum_number_of_calls=6)
    with pytest.raises(InvalidConfig, match="max_concurrency must be a whole number between 1"):
        hr.upstream("other", max_concurrency=0)
    with pytest.raises(InvalidConfig, match="needs is a list of upstreams"):
        hr.task(needs=bank)  # type: ignore[arg-type]
    with pytest.raises(InvalidConfig, match="needs lists upstreams"):
        hr.task(needs=[3])  # type: ignore[list-item]

    @hr.task(needs=["bnak"])
    async def charge() -> None: ...

    with pytest.raises(InvalidConfig, match="needs names no upstream 'bnak'; there are: bank"):
        hr.check()
