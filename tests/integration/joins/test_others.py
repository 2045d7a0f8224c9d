"""What happens meanwhile: snapshots of the user's that are old, locks that are held, hints that are waited for."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from headrace.core.errors import StoreUnavailable
from headrace.core.model import FeedWrite, SettleResult, UpdateKind
from headrace.core.states import JobState
from tests.integration.joins.kit import ASYNC, SYNC, Now, Shop, User, now, raw_asyncpg, sessions, sync_psycopg

LEVELS = ["REPEATABLE READ", "SERIALIZABLE"]
SOON_S = 20.0  # a lock is waited for 5 s


@pytest.fixture(params=["asyncpg", "psycopg", "asyncpg AsyncSession", "psycopg2 Session"])
async def user(request: pytest.FixtureRequest, shop: Shop) -> AsyncIterator[User]:
    async with (SYNC | ASYNC)[request.param](shop.url) as user:
        yield user


# -- snapshots ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
async def test_a_transaction_with_one_snapshot_writes_jobs(shop: Shop, user: User, level: str) -> None:
    settle = await shop.claimed()
    await user.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
    await user.pay(shop.amount)
    await shop.store.enqueue([shop.job(key="other", key_digest="d"), shop.job()])
    joined = shop.store.join(user.using)
    job = shop.job(key="k", key_digest="d")
    assert (await joined.enqueue([job]))[0].created
    assert await joined.settle(settle) is SettleResult.SETTLED
    await joined.commit()
    assert await shop.payments() == 1
    assert (await shop.record(job.id)).state is JobState.READY
    assert (await shop.record(settle.id)).state is JobState.SUCCEEDED


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("line", ["old", "new"])
async def test_a_key_that_was_taken_since_its_snapshot_is_told_to_repeat(
    shop: Shop, user: User, line: str, level: str
) -> None:
    if line == "old":
        await shop.store.enqueue([shop.job()])
    await user.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
    await user.pay(shop.amount)
    await shop.store.enqueue([shop.job(key="k", key_digest="d")])
    with pytest.raises(StoreUnavailable, match="same by two at once"):
        await shop.store.join(user.using).enqueue([shop.job(key="k", key_digest="d")])
    await user.rollback()
    assert await shop.payments() == 0


@pytest.mark.parametrize("level", LEVELS)
async def test_a_job_that_moved_since_its_snapshot_is_told_to_repeat(shop: Shop, user: User, level: str) -> None:
    settle = await shop.claimed()
    await user.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
    await user.pay(shop.amount)
    await shop.store.append([FeedWrite(settle.id, settle.fence, UpdateKind.ITEM, '{"is": 1}', None)])
    joined = shop.store.join(user.using)
    with pytest.raises(StoreUnavailable, match="same by two at once"):
        await joined.settle(settle)
    await joined.rollback()
    assert await shop.payments() == 0
    assert (await shop.store.exchange(shop.worker, [settle], None)).settled == (SettleResult.SETTLED,)


@pytest.mark.parametrize("level", LEVELS)
async def test_a_lease_that_was_lost_since_its_snapshot_writes_nothing(shop: Shop, user: User, level: str) -> None:
    settle = await shop.claimed()
    await user.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
    await user.pay(shop.amount)
    await shop.store.reap([shop.worker])
    joined = shop.store.join(user.using)
    with pytest.raises(StoreUnavailable):
        await joined.settle(settle)
    await joined.rollback()
    assert await shop.payments() == 0
    assert (await shop.record(settle.id)).state is JobState.READY


# -- locks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(  # it takes ten seconds
    "user", ["asyncpg", pytest.param("psycopg2 Session", marks=pytest.mark.nightly)], indirect=True
)
async def test_what_a_transaction_holds_is_waited_for_so_long_and_no_longer(shop: Shop, user: User) -> None:
    settle = await shop.claimed()
    joined = shop.store.join(user.using)
    await joined.settle(settle)
    mine = shop.job(key="k", key_digest="d")
    await joined.enqueue([mine])
    began = time.monotonic()
    assert (await shop.record(settle.id)).state is JobState.RUNNING
    assert await shop.store.offsets([settle.id]) == {settle.id: 2}
    free = await shop.claimed(priority=1)
    assert (await shop.store.exchange(shop.worker, [free], None)).settled == (SettleResult.SETTLED,)
    async with raw_asyncpg(shop.url) as other:
        told = await asyncio.gather(
            shop.store.cancel([settle.id]),
            shop.store.append([FeedWrite(settle.id, settle.fence, UpdateKind.ITEM, "{}", None)]),
            shop.store.exchange(shop.worker, [settle], None),
            shop.store.reap([shop.worker]),
            shop.store.enqueue([shop.job(key="k", key_digest="d")]),
            shop.store.join(other.using).enqueue([shop.job(key="k", key_digest="d")]),
            return_exceptions=True,
        )
    assert [type(each) for each in told] == [StoreUnavailable] * 6
    assert all("behind another transaction (your own session's? then pass using=session" in str(each) for each in told)
    assert time.monotonic() - began < SOON_S
    await joined.commit()
    assert (await shop.record(settle.id)).state is JobState.SUCCEEDED
    (again,) = await shop.store.enqueue([shop.job(key="k", key_digest="d")])
    assert (again.id, again.created) == (mine.id, False)


async def test_a_key_that_a_transaction_holds_holds_up_no_other_enqueue(shop: Shop) -> None:
    await shop.store.enqueue([shop.job()])
    async with raw_asyncpg(shop.url) as user:
        await shop.store.join(user.using).enqueue([shop.job(key="held", key_digest="d")])
        keys = ["one", "two", "held", "three", None, None, None]  # the third and the fourth are gathered
        jobs = [shop.job(key=key, key_digest="d" if key else "") for key in keys]
        began = time.monotonic()
        answers = [asyncio.get_running_loop().create_task(shop.store.enqueue([job])) for job in jobs]
        await asyncio.gather(*answers[4:])
        assert time.monotonic() - began < 4  # those without a key have not waited
        told = await asyncio.gather(*answers, return_exceptions=True)
        assert [isinstance(each, StoreUnavailable) for each in told] == [key == "held" for key in keys]
        await user.commit()
    assert [record is None for record in await shop.store.get([job.id for job in jobs])] == [
        key == "held" for key in keys
    ]


async def test_a_thread_that_waits_for_itself_is_told(shop: Shop) -> None:
    async with sync_psycopg(shop.url) as one, sync_psycopg(shop.url) as other:
        await Now(shop.store.join(one.using)).enqueue([shop.job(key="k", key_digest="d")])
        with pytest.raises(StoreUnavailable, match="your own session's"):
            await Now(shop.store.join(other.using)).enqueue([shop.job(key="k", key_digest="d")])


async def test_what_the_user_has_set_stays_set(shop: Shop, user: User) -> None:
    await user.execute("SET LOCAL lock_timeout = '77ms'")
    await user.execute("SET LOCAL enable_seqscan = off")
    await shop.store.join(user.using).enqueue([shop.job(key="k", key_digest="d")])
    await user.execute("SELECT 1 / (current_setting('lock_timeout') = '77ms')::integer")
    await user.execute("SELECT 1 / (current_setting('enable_seqscan') = 'off')::integer")


# -- hints --------------------------------------------------------------------------------------------


async def test_a_session_rings_by_itself_when_its_user_commits(shop: Shop) -> None:
    async with sessions("psycopg")(shop.url) as user:
        session: Session = user.using
        job = shop.job()
        await shop.store.join(session).enqueue([job])
        with session.begin_nested():
            session.execute(text("SELECT 1"))
        assert shop.rung == []
        session.commit()
        assert shop.rung == [f"queue:{job.queue}"]
        session.execute(text("SELECT 1"))
        session.commit()
        assert shop.rung == [f"queue:{job.queue}"]


@pytest.mark.parametrize("kind", ["asyncpg AsyncSession", "psycopg async_scoped_session"])
async def test_an_async_session_rings_by_itself_when_its_user_commits(shop: Shop, kind: str) -> None:
    async with ASYNC[kind](shop.url) as user:
        job = shop.job()
        await shop.store.join(user.using).enqueue([job])
        assert shop.rung == []
        await user.commit()
        assert shop.rung == [f"queue:{job.queue}"]


@pytest.mark.parametrize("kind", ["asyncpg", "async psycopg", "psycopg", "asyncpg AsyncConnection"])
async def test_a_connection_is_rung_for_at_once_and_soon_and_for_a_while(shop: Shop, kind: str) -> None:
    async with (SYNC | ASYNC)[kind](shop.url) as user:
        job = shop.job()
        await shop.store.join(user.using).enqueue([job])
        assert shop.rung == [f"queue:{job.queue}"]
        await user.commit()
        async with asyncio.timeout(5):
            while shop.rung != [f"queue:{job.queue}"] * 2:  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.01)


async def test_a_thread_without_a_loop_is_rung_for_too(shop: Shop) -> None:
    async with sync_psycopg(shop.url) as user:
        job = shop.job()

        await asyncio.to_thread(lambda: now(shop.store.join(user.using).enqueue([job])))
        async with asyncio.timeout(5):
            while shop.rung != [f"queue:{job.queue}"] * 2:  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.01)
