"""Behind a pooler that lends its sessions by transaction: the user's connection, the store's, or both."""

import asyncpg
import psycopg
import pytest

from headrace.core.errors import StoreUnavailable
from headrace.core.model import SettleResult
from headrace.core.states import JobState
from servers.pgbouncer import PgBouncer
from tests.integration.joins.kit import Shop, now


@pytest.mark.parametrize("pooled", ["user", "both"])
async def test_jobs_are_written_by_a_pooled_connection(shop_url: str, pgbouncer: PgBouncer, pooled: str) -> None:
    by_pooler = pgbouncer.url(shop_url)
    shop = Shop(by_pooler if pooled == "both" else shop_url)
    await shop.open()
    try:
        for _ in range(10):  # more often than it takes psycopg to prepare a statement
            one, two = await shop.claimed(), await shop.claimed(priority=1)
            jobs = [shop.job(key="k", key_digest="d"), shop.job(key="k", key_digest="d", priority=9)]
            with psycopg.connect(by_pooler, prepare_threshold=None) as connection:
                now(shop.store.join(connection).enqueue(jobs))
                assert now(shop.store.join(connection).publish([shop.event()], once=True)) == [True]
                joined = shop.store.join(connection)
                assert now(joined.settle(one)) is SettleResult.SETTLED
                now(joined.commit())
            raw = await asyncpg.connect(by_pooler, statement_cache_size=0)
            async with raw.transaction():
                await shop.store.join(raw).enqueue(jobs)
                assert await shop.store.join(raw).publish([shop.event()]) == [True]
                assert await shop.store.join(raw).settle(two) is SettleResult.SETTLED
            await raw.close()
            assert [(await shop.record(each.id)).state for each in (one, two)] == [JobState.SUCCEEDED] * 2
            await shop.store.cancel([jobs[0].id])
        assert len(await shop.waiting()) == 20
    finally:
        await shop.store.close()


async def test_its_locks_are_waited_for_so_long_and_no_longer(shop_url: str, pgbouncer: PgBouncer) -> None:
    shop = Shop(pgbouncer.url(shop_url))
    await shop.open()
    try:
        settle = await shop.claimed()
        with psycopg.connect(shop.url, prepare_threshold=None) as connection:
            now(shop.store.join(connection).settle(settle))
            with pytest.raises(StoreUnavailable, match="your own session's"):
                await shop.store.cancel([settle.id])
            connection.commit()
    finally:
        await shop.store.close()
