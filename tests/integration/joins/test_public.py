"""`using=` as users write it: enqueued in their transaction, run by a worker, ended in theirs."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

import psycopg
import pytest
from fastapi import Depends, FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from headrace import Headrace, Injected, Job, JobContext, LeaseLost, Retry, StoreUnavailable, SyncJobContext, UsageError
from tests.integration.joins.cutter import Cutter
from tests.integration.joins.kit import Shop, dialect

NOW = Retry(max_attempts=3, initial=0.0)
PAY = text("INSERT INTO payment VALUES (:amount)")


@pytest.fixture
async def hr(shop_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Headrace]:
    monkeypatch.setitem(os.environ, "HEADRACE_STORE", shop_url)
    hr = Headrace()
    yield hr
    await hr.close()


@pytest.fixture
async def engine(shop_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(dialect(shop_url, "asyncpg"))
    yield engine
    await engine.dispose()


async def test_sqlalchemy_on_asyncpg_from_an_endpoint_to_the_success(
    hr: Headrace, engine: AsyncEngine, shop: Shop
) -> None:
    async def session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session

    Opened = Annotated[AsyncSession, Depends(session)]  # noqa: N806 - a type
    attempts: list[int] = []

    @hr.task(shop.task, queue=shop.task, retry=NOW)
    async def charge(ctx: JobContext, amount: int, *, session: Opened = Injected) -> str:
        attempts.append(ctx.attempt)
        await ctx.progress(1, 2)
        await session.execute(PAY, {"amount": amount})
        if ctx.attempt == 1:
            raise ValueError("not yet")
        await ctx.succeed("paid", using=session)
        raise ValueError("too late to matter")

    app = FastAPI()
    hr.install(app)

    @app.post("/charge", status_code=202)
    async def start(session: Opened, *, fails: bool = False) -> Job[str]:
        async with session.begin():
            await session.execute(PAY, {"amount": shop.amount})
            job = await charge.options(using=session, key=f"of {fails}").enqueue(shop.amount)
            if fails:
                raise RuntimeError("no")
            return job

    transport = ASGITransport(app, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://localhost") as client, hr.embedded(1):
        assert (await client.post("/charge", params={"fails": True})).status_code == 500
        answer = await client.post("/charge")
        assert answer.status_code == 202
        assert await hr.job(answer.json()["id"], str).result(timeout=20) == "paid"
    assert attempts == [1, 2]
    assert await shop.payments() == 2  # the endpoint's and the attempt's that succeeded
    assert len(await hr.jobs(queue=shop.task)) == 1


async def test_psycopg_from_a_script_to_the_success_in_a_thread(hr: Headrace, shop: Shop) -> None:
    @hr.task(shop.task, queue=shop.task, retry=NOW)
    def charge(ctx: SyncJobContext, amount: int) -> str:
        with psycopg.connect(shop.url) as connection, connection.transaction():
            connection.execute("INSERT INTO payment VALUES (%s)", (amount,))
            if ctx.attempt == 1:
                raise ValueError("not yet")
            return ctx.succeed("paid", using=connection)

    def script() -> Iterator[Job[str]]:
        with psycopg.connect(shop.url) as connection:
            connection.execute("INSERT INTO payment VALUES (%s)", (shop.amount,))
            yield charge.options(using=connection).enqueue_sync(shop.amount)
        with psycopg.connect(shop.url) as connection:
            yield charge.options(using=connection).enqueue_sync(shop.amount)
            connection.rollback()

    job, lost = await asyncio.to_thread(lambda: list(script()))
    async with hr.embedded(1):
        assert await job.result(timeout=20) == "paid"
    assert await shop.payments() == 2
    assert [found.id for found in await hr.jobs(queue=shop.task)] == [job.id]
    assert lost.id != job.id


async def test_many_at_once(hr: Headrace, engine: AsyncEngine, shop: Shop) -> None:
    @hr.task(shop.task, queue=shop.task)
    async def charge(amount: int) -> int:
        return amount

    async with AsyncSession(engine) as session, session.begin():
        bound = charge.options(using=session)
        jobs = await hr.enqueue_many([bound.call(amount) for amount in range(500)])
        assert await hr.jobs(queue=shop.task) == []
    async with hr.embedded(1):
        assert [await job.result(timeout=30) for job in jobs] == list(range(500))


async def test_an_attempt_that_lost_its_lease_lands_nothing(hr: Headrace, engine: AsyncEngine, shop: Shop) -> None:
    told: list[str] = []

    @hr.task(shop.task, queue=shop.task, retry=NOW)
    async def charge(ctx: JobContext) -> str:
        async with AsyncSession(engine) as session:
            await session.execute(PAY, {"amount": shop.amount})
            if not told:
                told.append("began")
                await hr.store.reap([worker.id for worker in await hr.store.workers()])
                with pytest.raises(LeaseLost):
                    await ctx.succeed("paid", using=session)
                told.append("lost")
                raise RuntimeError("whatever it does now")
            return await ctx.succeed("paid", using=session)

    job = await charge.enqueue()
    async with hr.embedded(1):
        assert await job.result(timeout=30) == "paid"
    assert told == ["began", "lost"]
    assert await shop.payments() == 1


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_commit_without_an_answer_is_resolved(hr: Headrace, shop: Shop, cut: str) -> None:
    attempts: list[int] = []
    raised: list[Exception] = []
    with Cutter(shop.url) as way:
        engine = create_async_engine(dialect(way.url, "asyncpg"))

        @hr.task(shop.task, queue=shop.task, retry=NOW)
        async def charge(ctx: JobContext) -> str:
            attempts.append(ctx.attempt)
            async with AsyncSession(engine) as session:
                await session.execute(PAY, {"amount": shop.amount})
                if ctx.attempt == 1:
                    way.cut = "before" if cut == "before" else "after"
                try:
                    return await ctx.succeed("paid", using=session)
                except StoreUnavailable as error:
                    raised.append(error)
                    raise

        job = await charge.enqueue()
        async with hr.embedded(1):
            assert await job.result(timeout=30) == "paid"
        await engine.dispose()
    assert way.cuts == 1
    assert await shop.payments() == 1
    assert (attempts, len(raised)) == (([1, 2], 1) if cut == "before" else ([1], 0))


async def test_what_nobody_can_wait_for_is_refused(hr: Headrace, engine: AsyncEngine, shop: Shop) -> None:
    @hr.task(shop.task, queue=shop.task)
    async def charge() -> None: ...

    async with AsyncSession(engine) as session:
        with pytest.raises(UsageError, match="is asynchronous"):
            await asyncio.to_thread(charge.options(using=session).enqueue_sync)
