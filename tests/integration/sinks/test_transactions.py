"""An event that was published with a transaction of the user's goes out with its commit, and not without."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psycopg

from headrace import Headrace, JobContext, Retry, kafka
from headrace.bridges.memory import MemoryBroker
from headrace.settings import Settings


@asynccontextmanager
async def sending(url: str) -> AsyncIterator[tuple[Headrace, MemoryBroker]]:
    hr, broker = Headrace(settings=Settings(store=url, poll_s=0.1)), MemoryBroker()
    broker.topic("orders")
    hr.broker("kafka", broker)
    async with hr.embedded():
        yield hr, broker
    await hr.close()


def arrived(broker: MemoryBroker) -> list[bytes]:
    return [record.body for record in broker.topics["orders"][0]]


async def until(broker: MemoryBroker, bodies: list[bytes]) -> None:
    async with asyncio.timeout(15):
        while len(arrived(broker)) < len(bodies):  # noqa: ASYNC110 - a relay brings it about
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)
    assert arrived(broker) == bodies


async def test_with_sqlite3(tmp_path: Path) -> None:
    async with sending(f"sqlite:///{tmp_path / 'db'}") as (hr, broker):
        mine = sqlite3.connect(tmp_path / "db")
        await hr.publish(kafka("orders"), "rolled back", using=mine)
        mine.rollback()
        await hr.publish(kafka("orders"), 1, using=mine)
        await hr.publish(kafka("orders"), 2, using=mine)
        await asyncio.sleep(0.3)
        assert arrived(broker) == []
        mine.commit()
        await until(broker, [b"1", b"2"])
        mine.close()


async def test_with_asyncpg(postgres_url: str) -> None:
    async with sending(postgres_url) as (hr, broker):
        await hr.publish(kafka("orders"), 0)
        mine = await asyncpg.connect(postgres_url)
        dropped = mine.transaction()
        await dropped.start()
        await hr.publish(kafka("orders"), "rolled back", using=mine)
        await dropped.rollback()
        early = await asyncpg.connect(postgres_url)
        open_first = early.transaction()
        await open_first.start()
        await hr.publish(kafka("orders"), 2, using=early)  # an earlier place, and a later commit
        async with mine.transaction():
            await hr.publish(kafka("orders"), 1, using=mine)
        await until(broker, [b"0", b"1"])
        await open_first.commit()
        await until(broker, [b"0", b"1", b"2"])
        await early.close()
        await mine.close()


async def test_with_psycopg_blocking(postgres_url: str) -> None:
    async with sending(postgres_url) as (hr, broker):

        def blocking() -> None:
            with psycopg.connect(postgres_url) as mine:
                hr.publish_sync(kafka("orders"), 1, using=mine)
                mine.rollback()
                hr.publish_sync(kafka("orders"), 2, using=mine)

        await asyncio.to_thread(blocking)
        await until(broker, [b"2"])


async def test_an_attempt_publishes_with_its_success_or_not_at_all(postgres_url: str) -> None:
    async with sending(postgres_url) as (hr, broker):

        @hr.task(name="charge", retry=Retry(initial=0.05))
        async def charge(ctx: JobContext, order: int) -> int:
            mine = await asyncpg.connect(postgres_url)
            try:
                async with mine.transaction():
                    await ctx.publish(kafka("orders"), {"attempt": ctx.attempt}, using=mine)
                    if ctx.attempt == 1:
                        raise RuntimeError("no")
                    return await ctx.succeed(order, using=mine)
            finally:
                await mine.close()

        job = await charge.enqueue(7)
        assert await job.result(timeout=20) == 7
        await until(broker, [b'{"attempt":2}'])
