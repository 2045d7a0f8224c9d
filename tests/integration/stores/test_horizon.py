"""What holds vacuum back on a real server: named, with the statement that ends it, which does."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import TypeAlias

import asyncpg
import pytest

from headrace.ports.vacuum import Laggard
from headrace.stores.postgres import PostgresStore
from headrace.stores.postgres.horizon import laggards
from headrace.stores.postgres.inspection import examine
from headrace.stores.postgres.tx import Row, Tx
from servers.postgres import Postgres
from servers.server import MissingError

Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
OLD_S = 0.3


@pytest.fixture(scope="module")
def prepared(missing: object) -> Iterator[Postgres]:
    """A server that takes prepared transactions."""
    try:
        server = Postgres({"max_prepared_transactions": "5"})
    except MissingError as error:
        assert callable(missing)
        missing(str(error))
        raise
    with server:
        yield server


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresStore]:
    made = PostgresStore(postgres_url)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def session(stack: AsyncExitStack, url: str, *statements: str) -> Session:
    connection = await asyncpg.connect(url, timeout=10, server_settings={"application_name": "psql"})
    stack.callback(connection.terminate)
    for statement in statements:
        await connection.execute(statement)
    return connection


async def found(store: PostgresStore, count: int, older_than_s: float = OLD_S) -> list[Laggard]:
    """The laggards, when there are so many."""
    async with asyncio.timeout(20):
        while len(told := await store.laggards(older_than_s)) != count:  # noqa: ASYNC110 - the server is asked
            await asyncio.sleep(0.05)
    return told


async def test_sessions_that_keep_a_snapshot_are_named_and_ended(
    store: PostgresStore, stack: AsyncExitStack, postgres_url: str
) -> None:
    assert await store.laggards(0.0) == []
    reader = await session(stack, postgres_url, "BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT FROM headrace_job")
    writer = await session(stack, postgres_url, "CREATE TABLE mine (x int)", "BEGIN", "INSERT INTO mine VALUES (1)")
    await session(stack, postgres_url, "BEGIN", "SELECT 1")  # keeps nothing
    told = await found(store, 2)
    pids = [connection.get_server_pid() for connection in (reader, writer)]
    assert sorted(laggard.remedy for laggard in told) == sorted(f"SELECT pg_terminate_backend({pid})" for pid in pids)
    for laggard in told:
        assert "(psql of postgres, idle in transaction, its last statement 0 s ago)" in laggard.name
        assert laggard.age_s is not None
        assert OLD_S <= laggard.age_s < 20
    assert await store.laggards(60.0) == []
    admin = await session(stack, postgres_url)
    for laggard in told:
        await admin.execute(laggard.remedy)
    await found(store, 0, 0.0)


async def test_the_doctor_sees_them_too(
    stack: AsyncExitStack, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.stores.postgres.inspection.LAGGARD_S", 0.0)
    await session(stack, postgres_url, "BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1")
    (laggard,) = (await examine(postgres_url, lambda: 0.0)).laggards
    assert "psql of postgres" in laggard.name


async def test_another_database_does_not_matter(
    store: PostgresStore, stack: AsyncExitStack, postgres: Postgres
) -> None:
    await session(stack, postgres.url(), "BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1")
    assert await store.laggards(0.0) == []


async def test_a_prepared_transaction(prepared: Postgres, stack: AsyncExitStack) -> None:
    url = prepared.url()
    store = PostgresStore(url)
    await store.open()
    stack.push_async_callback(store.close)
    connection = await session(stack, url, "BEGIN", "CREATE TABLE mine (x int)", "PREPARE TRANSACTION 'it''s'")
    (laggard,) = await found(store, 1)
    assert laggard.name == "prepared transaction it's of postgres"
    assert laggard.remedy == "ROLLBACK PREPARED 'it''s'"
    await connection.execute(laggard.remedy)
    assert await store.laggards(0.0) == []


async def test_a_slot_that_keeps_nothing(store: PostgresStore, stack: AsyncExitStack, postgres_url: str) -> None:
    connection = await session(stack, postgres_url, "SELECT pg_create_physical_replication_slot('spare', true)")
    try:
        assert await store.laggards(0.0) == []
    finally:
        await connection.execute("SELECT pg_drop_replication_slot('spare')")


class Told(Tx):
    """A transaction on a server that says so."""

    def __init__(self, *rows: Row) -> None:
        super().__init__(None)
        self.rows = rows

    async def all(self, sql: str, *params: object) -> tuple[Row, ...]:
        return self.rows


async def test_what_tells_no_time() -> None:
    """Slots and standbys that keep rows need a standby; what the server would say of them is made up here."""
    tx = Told(
        ("slot", "east", "physical", None, None, 100_000),
        ("slot", "near", "physical", None, None, 99_999),
        ("idle slot", "gone", "physical", None, None, 7),
        ("standby", "4711", "west", None, None, 200_000),
        ("session", "42", "psql of bob", None, None, 99_999),
        ("session", "43", "psql of bob", None, None, 100_000),
    )
    assert [(each.name, each.remedy) for each in await laggards(tx, 60.0)] == [
        ("physical replication slot east", "SELECT pg_drop_replication_slot('east'), if nobody needs it"),
        (
            "physical replication slot gone, which nobody uses",
            "SELECT pg_drop_replication_slot('gone'), if nobody needs it",
        ),
        ("standby west (walsender 4711)", "end the long queries on it, or turn off its hot_standby_feedback"),
        ("session 43 (psql of bob)", "SELECT pg_terminate_backend(43)"),
    ]
