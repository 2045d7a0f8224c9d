"""What becomes of running trees when their PostgreSQL restarts, throws them out, is full or takes no writes."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, closing
from pathlib import Path

import farm_tasks
import psycopg
import pytest
from kit import Farm, farm_on

from headrace.app.adapters import adapters
from headrace.core.errors import StoreUnavailable
from headrace.core.states import JobState
from headrace.runtime.clock import SystemClock
from headrace.settings import Settings
from headrace.stores.postgres import PostgresStore
from servers.postgres import Postgres

pytestmark = pytest.mark.timeout(120)
KICK = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> AsyncIterator[Postgres]:
    """A server of its own, which the tests restart; the session's says whether there is one at all."""
    del postgres
    with Postgres(settings={"max_connections": "60"}) as server:
        yield server


@pytest.fixture
async def farm(server: Postgres, tmp_path: Path) -> AsyncIterator[Farm]:
    async with farm_on(server.create_database(), tmp_path) as farm:
        yield farm


async def enqueued(farm: Farm, count: int) -> list[bytes]:
    """Jobs that were acknowledged, whatever happens to the database."""
    jobs: list[bytes] = []
    for number in range(count):
        async with asyncio.timeout(30):
            while True:
                try:
                    jobs.append(await farm.enqueue(farm_tasks.quick, number=number))
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0.05)
    return jobs


async def all_ended(farm: Farm, jobs: list[bytes], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while True:
            try:
                records = await farm.store.get(jobs)
            except StoreUnavailable:
                records = []
            if records and all(record is not None and record.state is JobState.SUCCEEDED for record in records):
                return
            await asyncio.sleep(0.1)


def kick(farm: Farm) -> None:
    with psycopg.connect(farm.url, autocommit=True) as connection:
        connection.execute(KICK)


def restart(server: Postgres, farm: Farm) -> None:
    del farm
    server.restart("fast")


def kill(server: Postgres, farm: Farm) -> None:
    del farm
    server.kill()
    server.start()


def kicked(server: Postgres, farm: Farm) -> None:
    del server
    kick(farm)


@pytest.mark.parametrize("fault", [restart, kill, kicked])
async def test_what_is_acknowledged_ends_and_what_runs_goes_on(
    farm: Farm, server: Postgres, fault: Callable[[Postgres, Farm], None]
) -> None:
    await farm.tree()
    await farm.tree()
    long = await farm.enqueue(farm_tasks.waits, seconds=6.0)
    await farm.wrote("waits")
    jobs = await enqueued(farm, 50)
    feeding = asyncio.ensure_future(enqueued(farm, 300))
    for _ in range(3):
        await asyncio.sleep(0.5)
        await asyncio.to_thread(fault, server, farm)
    jobs += await feeding
    await all_ended(farm, [*jobs, long])
    record = await farm.get(long)
    assert (record.attempt, record.crashes) == (1, 0)  # it was alive all the time: nobody ran it again
    assert len(farm.lines("waits")) == 1


async def test_outcomes_wait_for_a_server_that_takes_no_writes(farm: Farm, server: Postgres) -> None:
    await farm.tree()
    job = await farm.enqueue(farm_tasks.waits, seconds=1.0)
    await farm.wrote("waits")
    server.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    server.sql("SELECT pg_reload_conf()")
    try:
        await asyncio.sleep(2.0)
        with pytest.raises(StoreUnavailable, match="read-only"):
            await farm.enqueue(farm_tasks.quick, number=1)
        assert (await farm.get(job)).state is JobState.RUNNING
    finally:
        server.sql("ALTER SYSTEM RESET default_transaction_read_only")
        server.sql("SELECT pg_reload_conf()")
    record = await farm.ended(job)
    assert (record.state, record.attempt) == (JobState.SUCCEEDED, 1)


async def test_no_connection_left_is_unavailable_and_passes(farm: Farm, server: Postgres) -> None:
    await farm.tree()
    await farm.ended(await farm.enqueue(farm_tasks.quick, number=0))
    with ExitStack() as taken:
        taken_all = False
        while not taken_all:
            try:
                taken.enter_context(closing(psycopg.connect(farm.url)))
            except psycopg.OperationalError:
                taken_all = True
        await asyncio.gather(*(farm.store.workers() for _ in range(12)))  # by the connections that it has
        job = await farm.enqueue(farm_tasks.quick, number=1)
        newcomer, _ = adapters(Settings(store=farm.url), SystemClock(), moved=False)
        with pytest.raises(StoreUnavailable, match="max_connections"):
            await newcomer.open()
        await newcomer.close()
    assert (await farm.ended(job)).state is JobState.SUCCEEDED


async def test_a_process_that_stops_in_the_middle_of_a_transaction_lets_go_of_its_locks(farm: Farm) -> None:
    job = await farm.enqueue(farm_tasks.quick, number=1, delay_s=3600)
    stuck, _ = adapters(Settings(store=farm.url), SystemClock(), moved=False)
    await stuck.open()
    locked, go_on = asyncio.Event(), asyncio.Event()

    async def stands_still() -> None:
        assert isinstance(stuck, PostgresStore)
        async with stuck._pools.transaction() as connection:
            await connection.execute("UPDATE headrace_job SET feed_end = feed_end")
            locked.set()
            await go_on.wait()

    standing = asyncio.ensure_future(stands_still())
    await locked.wait()
    began, answers = time.monotonic(), list[JobState | None]()
    async with asyncio.timeout(30):
        while not answers:
            try:
                answers = await farm.store.cancel([job])
            except StoreUnavailable:  # its lock is waited for, and not without end
                assert time.monotonic() - began > 1
    assert (answers, (await farm.get(job)).state) == ([JobState.CANCELLED], JobState.CANCELLED)
    go_on.set()
    with pytest.raises(StoreUnavailable):
        await standing
    await stuck.close()
