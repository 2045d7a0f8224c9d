"""Connections that cannot be joined, or only otherwise: what is told of each."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress

import asyncpg
import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from headrace.core.errors import LeaseLost, StoreUnavailable, StoreUnusable, UsageError
from headrace.core.model import SettleResult
from headrace.core.states import JobState
from headrace.stores.postgres import PostgresStore
from servers.postgres import Postgres
from tests.integration.joins.kit import ASYNC, SYNC, Shop, User, dialect, migrate, now, sessions

Kind = Callable[[str], AbstractAsyncContextManager[User]]


# -- where it leads -----------------------------------------------------------------------------------


async def test_a_database_without_the_tables_is_refused(postgres: Postgres, shop: Shop, some: Kind) -> None:
    async with some(postgres.url()) as user:
        with pytest.raises(UsageError, match=r"does not lead to the jobs in .*Connect it there"):
            await shop.store.join(user.using).enqueue([shop.job()])
        await user.rollback()


async def test_a_database_with_other_jobs_is_refused(postgres_url: str, shop: Shop, some: Kind) -> None:
    await migrate(postgres_url)
    settle = await shop.claimed()
    async with some(postgres_url) as user:
        joined = shop.store.join(user.using)
        with pytest.raises(UsageError, match="it is connected to the database " + postgres_url.rpartition("/")[2]):
            await joined.enqueue([shop.job()])
        with pytest.raises(UsageError, match="does not lead"):
            await joined.settle(settle)
        await user.execute("SELECT 1")  # its transaction is none the worse
        await user.rollback()


async def test_a_schema_that_is_not_searched_is_refused(shop: Shop, some: Kind) -> None:
    async with some(shop.url) as user:
        joined = shop.store.join(user.using)
        await joined.enqueue([shop.job()])
        await user.execute("SET LOCAL search_path = pg_catalog")
        with pytest.raises(UsageError, match="search_path"):
            await joined.enqueue([shop.job()])


async def test_a_role_without_the_rights_is_told_which(postgres: Postgres, shop: Shop, some: Kind) -> None:
    role = f"clerk_{shop.amount}"
    postgres.create_role(role, "open sesame")
    url = postgres.url(shop.url.rpartition("/")[2], role, "open sesame")
    async with some(url) as user:
        with pytest.raises(StoreUnusable, match="GRANT what is missing"):
            await shop.store.join(user.using).enqueue([shop.job()])
        await user.rollback()
    tables = (
        "headrace_meta, headrace_queue, headrace_line, headrace_job, headrace_job_key, headrace_history, headrace_feed"
    )
    postgres.sql(
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables}, headrace_attempt TO {role};"
        f"GRANT USAGE ON SEQUENCE headrace_place TO {role}",
        shop.url.rpartition("/")[2],
    )
    async with some(url) as user:
        settle = await shop.claimed()
        await shop.store.join(user.using).enqueue([shop.job(key="k", key_digest="d", priority=4)])
        joined = shop.store.join(user.using)
        assert await joined.settle(settle) is SettleResult.SETTLED
        await joined.commit()


async def test_a_read_only_transaction_is_refused(shop: Shop, some: Kind) -> None:
    async with some(shop.url) as user:
        await user.execute("SET TRANSACTION READ ONLY")
        with pytest.raises(StoreUnavailable, match="read-only"):
            await shop.store.join(user.using).enqueue([shop.job()])


async def test_a_store_that_is_not_open_joins_nothing(shop: Shop, some: Kind) -> None:
    async with some(shop.url) as user:
        with pytest.raises(StoreUnavailable, match="not open"):
            PostgresStore(shop.url).join(user.using)


@pytest.fixture(params=["asyncpg", "psycopg", "async psycopg", "asyncpg AsyncSession", "psycopg2 Session"])
def some(request: pytest.FixtureRequest) -> Kind:
    """One of each driver."""
    return (SYNC | ASYNC)[request.param]


# -- what it is ---------------------------------------------------------------------------------------


class Base(DeclarativeBase): ...


class Payment(Base):
    __tablename__ = "payment"
    amount: Mapped[int] = mapped_column(primary_key=True)


async def test_what_is_no_connection_is_refused(shop: Shop) -> None:
    pool = asyncpg.create_pool(shop.url, min_size=0)
    engine = create_engine(dialect(shop.url, "psycopg"))
    memory = sqlite3.connect(":memory:")
    for odd in (object(), pool, engine, memory, shop.url):
        with pytest.raises(UsageError, match=r"psycopg\.AsyncConnection.*AsyncSession"):
            shop.store.join(odd)
    memory.close()


async def test_another_dialect_or_driver_is_refused(shop: Shop) -> None:
    engine = create_engine("sqlite://")
    with Session(engine) as session, pytest.raises(UsageError, match=r"sqlite by pysqlite.*postgresql\+asyncpg"):
        shop.store.join(session)
    engine.dispose()


async def test_a_session_that_is_bound_by_class_is_refused_and_its_connection_is_not(shop: Shop) -> None:
    engine = create_engine(dialect(shop.url, "psycopg"))
    with Session(binds={Payment: engine}) as session:
        with pytest.raises(UsageError, match="pass the connection"):
            shop.store.join(session)
        job = shop.job()
        await shop.store.join(session.connection(bind_arguments={"mapper": Payment})).enqueue([job])
        session.commit()
    engine.dispose()
    assert await shop.record(job.id) is not None


# -- autocommit ---------------------------------------------------------------------------------------


async def test_asyncpg_outside_of_a_transaction_is_refused(shop: Shop) -> None:
    connection = await asyncpg.connect(shop.url)
    joined = shop.store.join(connection)
    with pytest.raises(UsageError, match=r"async with connection\.transaction\(\)"):
        await joined.enqueue([shop.job()])
    async with connection.transaction():
        job = shop.job()
        await joined.enqueue([job])
    await connection.close()
    assert await shop.record(job.id) is not None


async def test_psycopg_in_autocommit_mode_is_refused(shop: Shop) -> None:
    with psycopg.connect(shop.url, autocommit=True) as connection:
        joined = shop.store.join(connection)
        with pytest.raises(UsageError, match=r"with connection\.transaction\(\)"):
            now(joined.enqueue([shop.job()]))
        with connection.transaction():
            job = shop.job()
            now(joined.enqueue([job]))
    async with await psycopg.AsyncConnection.connect(shop.url, autocommit=True) as other:
        with pytest.raises(UsageError, match=r"with connection\.transaction\(\)"):
            await shop.store.join(other).enqueue([shop.job()])
        async with other.transaction():
            second = shop.job()
            await shop.store.join(other).enqueue([second])
    assert None not in await shop.store.get([job.id, second.id])


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
async def test_sqlalchemy_in_autocommit_mode_is_refused(shop: Shop, driver: str) -> None:
    engine = create_engine(dialect(shop.url, driver), isolation_level="AUTOCOMMIT")
    with Session(engine) as session, pytest.raises(UsageError, match="AUTOCOMMIT"):
        await shop.store.join(session).enqueue([shop.job()])
    engine.dispose()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_sqlalchemy_in_async_autocommit_mode_is_refused(shop: Shop, driver: str) -> None:
    engine = create_async_engine(dialect(shop.url, driver)).execution_options(isolation_level="AUTOCOMMIT")
    async with AsyncSession(engine) as session:
        with pytest.raises(UsageError, match="AUTOCOMMIT"):
            await shop.store.join(session).enqueue([shop.job()])
    await engine.dispose()


# -- what its user made of it -------------------------------------------------------------------------


async def test_asyncpg_may_have_been_taught_other_types(shop: Shop) -> None:
    connection = await asyncpg.connect(shop.url)
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    await connection.set_type_codec("uuid", encoder=str, decoder=str, schema="pg_catalog", format="text")
    await connection.set_type_codec("timestamptz", encoder=str, decoder=str, schema="pg_catalog", format="text")
    settle = await shop.claimed()
    job = shop.job(key="k", key_digest="d", tags=("a",), run_at=2e9)
    async with connection.transaction():
        joined = shop.store.join(connection)
        assert [answer.id for answer in await joined.enqueue([job, shop.job(key="k", key_digest="d")])] == [job.id] * 2
        assert await joined.settle(settle) is SettleResult.SETTLED
    await connection.close()
    assert (await shop.record(job.id)).state is JobState.SCHEDULED
    assert (await shop.record(settle.id)).state is JobState.SUCCEEDED


async def test_psycopg_may_make_its_rows_otherwise(shop: Shop) -> None:
    with psycopg.connect(shop.url, row_factory=dict_row, cursor_factory=psycopg.ClientCursor) as connection:
        connection.adapters.register_dumper(str, psycopg.types.string.StrBinaryDumper)
        jobs = [shop.job(key="k", key_digest="d"), shop.job(key="k", key_digest="d")]
        assert [answer.id for answer in now(shop.store.join(connection).enqueue(jobs))] == [jobs[0].id] * 2
        connection.commit()
    assert (await shop.record(jobs[0].id)).state is JobState.READY


async def test_psycopg_in_a_pipeline(shop: Shop) -> None:
    job = shop.job()
    with psycopg.connect(shop.url) as connection, connection.pipeline():
        connection.execute("SELECT 1")
        now(shop.store.join(connection).enqueue([job]))
        connection.commit()
    assert await shop.record(job.id) is not None


async def test_sqlalchemy_may_stream_and_echo_its_results(shop: Shop) -> None:
    engine = create_engine(dialect(shop.url, "psycopg2")).execution_options(stream_results=True)
    with Session(engine) as session:
        job = shop.job()
        await shop.store.join(session).enqueue([job])
        session.commit()
    engine.dispose()
    assert await shop.record(job.id) is not None


async def test_a_savepoint_that_is_rolled_back_takes_the_job_with_it(shop: Shop) -> None:
    async with sessions("psycopg")(shop.url) as user:
        session: Session = user.using
        kept, lost = shop.job(), shop.job(priority=3)
        await shop.store.join(session).enqueue([kept])
        savepoint = session.begin_nested()
        await shop.store.join(session).enqueue([lost])
        savepoint.rollback()
        session.commit()
    assert await shop.record(kept.id) is not None
    assert await shop.record(lost.id) is None


# -- blocks of the user's around a success ------------------------------------------------------------


async def test_the_block_of_an_asyncpg_transaction_ends_quietly_after_the_commit(shop: Shop) -> None:
    settle = await shop.claimed()
    async with asyncpg.create_pool(shop.url, min_size=1, max_size=1) as pool:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("INSERT INTO payment VALUES ($1)", shop.amount)
            joined = shop.store.join(connection)
            await joined.settle(settle)
            await joined.commit()
        async with pool.acquire() as connection:
            assert await connection.fetchval("SELECT count(*) FROM payment WHERE amount = $1", shop.amount) == 1
    assert (await shop.record(settle.id)).state is JobState.SUCCEEDED


async def test_the_block_of_an_asyncpg_transaction_ends_quietly_after_the_rollback(shop: Shop) -> None:
    async with asyncpg.create_pool(shop.url, min_size=1, max_size=1) as pool:
        with suppress(LeaseLost):
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("INSERT INTO payment VALUES ($1)", shop.amount)
                await shop.store.join(connection).rollback()
                raise LeaseLost
        async with pool.acquire() as connection, connection.transaction():
            pass
    assert await shop.payments() == 0


@pytest.mark.parametrize("autocommit", [True, False])
async def test_the_block_of_a_psycopg_transaction_ends_quietly(shop: Shop, *, autocommit: bool) -> None:
    settle = await shop.claimed()
    with psycopg.connect(shop.url, autocommit=autocommit) as connection:
        with connection.transaction():
            connection.execute("INSERT INTO payment VALUES (%s)", (shop.amount,))
            joined = shop.store.join(connection)
            now(joined.settle(settle))
            now(joined.commit())
        with suppress(LeaseLost), connection.transaction():
            connection.execute("INSERT INTO payment VALUES (%s)", (shop.amount,))
            now(shop.store.join(connection).rollback())
            raise LeaseLost
        with connection.transaction():
            connection.execute("SELECT 1")
    assert await shop.payments() == 1
    assert (await shop.record(settle.id)).state is JobState.SUCCEEDED


async def test_the_block_of_a_session_ends_quietly(shop: Shop) -> None:
    settle = await shop.claimed()
    engine = create_async_engine(dialect(shop.url, "asyncpg"))
    async with AsyncSession(engine) as session:
        async with session.begin():
            session.add(Payment(amount=shop.amount))
            joined = shop.store.join(session)
            await joined.settle(settle)
            await joined.commit()
        with suppress(LeaseLost):
            async with session.begin():
                session.add(Payment(amount=shop.amount))
                await shop.store.join(session).rollback()
                raise LeaseLost
    await engine.dispose()
    assert await shop.payments() == 1
    assert (await shop.record(settle.id)).state is JobState.SUCCEEDED


async def test_what_a_session_cannot_write_is_told_by_its_own_error(shop: Shop) -> None:
    settle = await shop.claimed()
    engine = create_async_engine(dialect(shop.url, "asyncpg"))
    async with AsyncSession(engine) as session:
        session.add(Payment(amount=None))
        joined = shop.store.join(session)
        await joined.settle(settle)
        with pytest.raises(IntegrityError):
            await joined.commit()
        await joined.rollback()
    await engine.dispose()
    assert (await shop.record(settle.id)).state is JobState.RUNNING


async def test_what_a_deferred_constraint_refuses_is_told_by_its_own_error(shop: Shop, some: Kind) -> None:
    settle = await shop.claimed()
    async with some(shop.url) as user:
        await user.execute("CREATE TEMPORARY TABLE sale (n integer UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        await user.execute("INSERT INTO sale VALUES (1), (1)")
        joined = shop.store.join(user.using)
        assert await joined.settle(settle) is SettleResult.SETTLED
        with pytest.raises((asyncpg.UniqueViolationError, psycopg.errors.UniqueViolation, IntegrityError)):
            await joined.commit()
        await joined.rollback()
    assert (await shop.record(settle.id)).state is JobState.RUNNING


# -- where it is used ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["asyncpg", "async psycopg", "asyncpg AsyncSession", "psycopg AsyncConnection"])
async def test_an_asynchronous_one_is_refused_where_nothing_can_wait(shop: Shop, kind: str) -> None:
    async with ASYNC[kind](shop.url) as user:
        told: list[Exception] = []

        def script() -> None:
            try:
                now(shop.store.join(user.using).enqueue([shop.job()]))
            except UsageError as error:
                told.append(error)

        thread = threading.Thread(target=script)
        thread.start()
        thread.join()
        assert "is asynchronous" in str(told[0])
        await user.rollback()


async def test_an_asyncpg_connection_in_other_hands_says_so(shop: Shop) -> None:
    async with ASYNC["asyncpg"](shop.url) as user:
        busy = asyncio.get_running_loop().create_task(user.execute("SELECT pg_sleep(0.2)"))
        await asyncio.sleep(0)
        with pytest.raises(UsageError, match="another operation is in progress"):
            await shop.store.join(user.using).enqueue([shop.job()])
        await busy
    async with asyncpg.create_pool(shop.url, min_size=1, max_size=1) as pool:
        async with pool.acquire() as connection:
            pass
        with pytest.raises(StoreUnavailable, match="released back to the pool"):
            await shop.store.join(connection).enqueue([shop.job()])


async def test_no_values_are_shown_in_an_error(shop: Shop, some: Kind) -> None:
    async with some(shop.url) as user:
        await user.execute("SET LOCAL statement_timeout = 1")
        with pytest.raises(StoreUnavailable) as caught:
            await shop.store.join(user.using).enqueue([shop.job(args='["hunter2"]', priority=at) for at in range(1000)])
        assert "hunter2" not in str(caught.value)
        assert "\n" not in str(caught.value)
