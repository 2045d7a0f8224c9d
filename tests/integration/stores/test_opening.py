"""Opening a database: eight at once make one schema, and a role with no more than its rights works."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator

import asyncpg
import pytest

from headrace.core.errors import StoreUnusable
from headrace.core.event import Event
from headrace.core.message import Mark
from headrace.core.model import ClaimRequest, Lease, Pool, Settle, SettleResult, Snoozed, Succeeded
from headrace.core.states import JobState
from headrace.ports.post import Arrival, Intake
from headrace.stores import migrate
from headrace.stores.postgres import PostgresStore, days
from headrace.stores.postgres.server import look
from headrace.testing.conformance.store_base import new_job, worker_record
from servers.postgres import Postgres

AT_ONCE = 8
OPEN = """
import asyncio, sys
from headrace.stores.postgres import PostgresStore

async def main(store):
    await store.open()
    print(store.epoch, flush=True)
    await store.close()

store = PostgresStore(sys.argv[1])
print("here", flush=True)
sys.stdin.readline()
asyncio.run(main(store))
"""
ROWS = "SELECT json_agg(number ORDER BY number) FROM headrace_schema_migration"
LAST_DAY = "SELECT max(relname) FROM pg_class WHERE relname ~ '^headrace_history_[0-9]+$'"
DAYS = "SELECT count(*) FROM pg_class WHERE relname ~ '^headrace_history_[0-9]+$'"


def rows(postgres: Postgres, url: str) -> list[int]:
    found: list[int] = json.loads(postgres.sql(ROWS, url.rpartition("/")[2]))
    return found


@pytest.mark.parametrize("_", range(3))
async def test_eight_stores_at_once_make_one_schema(_: int, postgres: Postgres, postgres_url: str) -> None:
    stores = [PostgresStore(postgres_url) for _ in range(AT_ONCE)]
    await asyncio.gather(*(store.open() for store in stores))
    assert len({store.epoch for store in stores}) == 1
    assert rows(postgres, postgres_url) == [1, 2, 3]
    await asyncio.gather(*(store.enqueue([new_job()]) for store in stores))
    await asyncio.gather(*(store.close() for store in stores))


async def test_a_second_look_sees_what_another_made_since_the_first(postgres: Postgres, postgres_url: str) -> None:
    """The server's caches know a name that was not there as such until the transaction ends."""
    connection = await asyncpg.connect(postgres_url, timeout=30)
    try:
        async with connection.transaction():
            assert (await look(connection)).home is None
            postgres.sql("CREATE TABLE headrace_schema_migration (number int)", postgres_url.rpartition("/")[2])
            seen = await look(connection)
            assert (seen.home, seen.reads, seen.owns) == ("public", True, True)
    finally:
        await connection.close()


def test_eight_processes_at_once_make_one_schema(postgres: Postgres, postgres_url: str) -> None:
    argv = [sys.executable, "-c", OPEN, postgres_url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(argv, text=True, **pipes) for _ in range(AT_ONCE)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=50) for process in processes]
    assert [errors for _, errors in said if errors] == []
    assert len({epoch for epoch, _ in said}) == 1
    assert rows(postgres, postgres_url) == [1, 2, 3]
    assert postgres.sql(DAYS, postgres_url.rpartition("/")[2]) == str(days.AHEAD + 1)


# -- a role that owns nothing -------------------------------------------------------------------------


@pytest.fixture
def owner_url(postgres: Postgres, postgres_url: str) -> Iterator[str]:
    """A database whose schema belongs to `owner`; `app` may do what the page on production grants."""
    name = postgres_url.rpartition("/")[2]
    for role in ("owner", "app"):
        postgres.create_role(role, "s3cret")
    by_owner = "ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA headrace GRANT"
    for statement in (
        "CREATE SCHEMA headrace AUTHORIZATION owner",
        f"ALTER ROLE owner IN DATABASE {name} SET search_path = headrace",
        f"ALTER ROLE app IN DATABASE {name} SET search_path = public, headrace",
        "GRANT USAGE ON SCHEMA headrace TO app",
        f"{by_owner} SELECT, INSERT, UPDATE, DELETE ON TABLES TO app",
        f"{by_owner} USAGE ON SEQUENCES TO app",
    ):
        postgres.sql(statement, name)
    yield postgres.url(name, "owner", "s3cret")
    postgres.sql("DROP SCHEMA headrace CASCADE", name)
    for role in ("owner", "app"):
        postgres.sql(f"DROP OWNED BY {role}", name)
        postgres.sql(f"DROP ROLE {role}")


async def test_a_role_that_owns_nothing_works(postgres: Postgres, owner_url: str) -> None:
    url, name = owner_url.replace("//owner:", "//app:"), owner_url.rpartition("/")[2]
    with pytest.raises(StoreUnusable, match="may not make them in the schema headrace"):
        await PostgresStore(url).open()
    await asyncio.to_thread(migrate.apply, owner_url)
    assert postgres.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'headrace'", name) > "0"
    for statement in (
        "CREATE TABLE headrace.headrace_later (a int)",
        "ALTER TABLE headrace.headrace_later OWNER TO owner",
    ):
        postgres.sql(statement, name)  # of a later version, and not granted
    store = PostgresStore(url)
    await store.open()
    jobs = [new_job(key=f"k{number}") for number in range(3)]
    await store.enqueue(jobs)
    await store.register(worker_record("w_1"), 30.0)
    claim = ClaimRequest((Pool(frozenset({"charge"}), 10),))
    done, later, asked = (await store.exchange("w_1", (), claim)).claimed
    ends = [Settle(done.id, done.fence, Succeeded("1")), Settle(later.id, later.fence, Snoozed(5.0))]
    assert set((await store.exchange("w_1", ends, None)).settled) == {SettleResult.SETTLED}
    await store.cancel([asked.id])
    assert (await store.renew("w_1", 30.0)).cancels == (Lease(asked.id, asked.fence),)
    await store.unregister("w_1")
    await store.pause("billing", paused=True)
    await store.secret("x", b"y")
    await store.receive("kafka:a:g", Intake([Arrival(new_job(promises=("a",)), b"1" * 16)], {"0": Mark(None, 1)}))
    await store.publish([Event(b"1" * 16, "kafka", "a")], once=True)
    await store.sent("kafka", [(await store.outgoing("kafka", 0, 1, 1)).events[0].place])
    assert await store.forget_seen("kafka:a:g", -1.0, 10) == 1
    assert await store.take_chore("sink:kafka", "me", 1.0) == 1
    assert [record.state for record in await store.get([done.id]) if record is not None] == [JobState.SUCCEEDED]
    last = postgres.sql(LAST_DAY, name)
    postgres.sql(f"DROP TABLE headrace.{last}", name)
    assert await store.prune(100) == 0, "and no complaint that it may not make the day again"
    assert postgres.sql(DAYS, name) == str(days.AHEAD)
    await store.close()


async def test_what_the_owner_does_once_a_day(postgres: Postgres, owner_url: str) -> None:
    name = owner_url.rpartition("/")[2]
    await asyncio.to_thread(migrate.apply, owner_url)
    last = postgres.sql(LAST_DAY, name)
    postgres.sql(f"DROP TABLE headrace.{last}", name)
    assert (await asyncio.to_thread(migrate.apply, owner_url)).applied == ()
    assert postgres.sql(f"SELECT to_regclass('headrace.{last}') IS NOT NULL", name) == "t"
