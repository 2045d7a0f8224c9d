"""Users' connections of every kind that PostgreSQL is written through, and a shop whose payments they write."""

import inspect
import itertools
import os
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import asyncpg
import psycopg
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from headrace.core.event import Event
from headrace.core.model import (
    ClaimRequest,
    Enqueued,
    Lease,
    NewJob,
    Pool,
    Settle,
    SettleResult,
    Succeeded,
    WorkerRecord,
)
from headrace.ports.store import Joined
from headrace.stores.postgres import PostgresStore
from headrace.testing.conformance.store_base import new_job

T = TypeVar("T")
_numbers = itertools.count(1)


class User:
    """A connection of one kind: what the tests do with it."""

    def __init__(
        self, using: Any, execute: Callable[[str], Any], commit: Callable[[], Any], rollback: Callable[[], Any]
    ) -> None:
        self.using = using
        self._execute, self._commit, self._rollback = execute, commit, rollback

    async def execute(self, sql: str) -> None:
        await _maybe(self._execute(sql))

    async def pay(self, amount: int) -> None:
        await self.execute(f"INSERT INTO payment VALUES ({amount})")

    async def commit(self) -> None:
        await _maybe(self._commit())

    async def rollback(self) -> None:
        await _maybe(self._rollback())


async def _maybe(answer: Any) -> None:
    if inspect.isawaitable(answer):
        await answer


def now(work: Coroutine[Any, Any, T]) -> T:
    """The answer of what may not suspend."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    work.close()
    raise AssertionError("it suspended")


class Now:
    """A `Joined` of a synchronous connection: nothing of it may suspend."""

    def __init__(self, joined: Joined) -> None:
        self._joined = joined

    async def enqueue(self, jobs: list[NewJob]) -> list[Enqueued]:
        return now(self._joined.enqueue(jobs))

    async def settle(self, settle: Settle) -> SettleResult:
        return now(self._joined.settle(settle))

    async def publish(self, events: list[Event], guard: Lease | None = None, *, once: bool = False) -> list[bool]:
        return now(self._joined.publish(events, guard, once=once))

    async def commit(self) -> None:
        now(self._joined.commit())

    async def rollback(self) -> None:
        now(self._joined.rollback())


# -- kinds --------------------------------------------------------------------------------------------


@asynccontextmanager
async def raw_asyncpg(url: str) -> AsyncIterator[User]:
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    yield User(connection, connection.execute, transaction.commit, transaction.rollback)
    connection.terminate()


@asynccontextmanager
async def pooled_asyncpg(url: str) -> AsyncIterator[User]:
    pool = await asyncpg.create_pool(url, min_size=1, max_size=1)
    connection = await pool.acquire()
    transaction = connection.transaction(isolation="read_committed")
    await transaction.start()
    yield User(connection, connection.execute, transaction.commit, transaction.rollback)
    pool.terminate()


@asynccontextmanager
async def sync_psycopg(url: str) -> AsyncIterator[User]:
    with psycopg.connect(url) as connection:
        yield User(connection, connection.execute, connection.commit, connection.rollback)


@asynccontextmanager
async def async_psycopg(url: str) -> AsyncIterator[User]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        yield User(connection, connection.execute, connection.commit, connection.rollback)


def dialect(url: str, driver: str) -> str:
    """The URL as SQLAlchemy reads it."""
    return url.replace("postgresql://", f"postgresql+{driver}://")


def sessions(driver: str) -> Callable[[str], AbstractAsyncContextManager[User]]:
    @asynccontextmanager
    async def kind(url: str) -> AsyncIterator[User]:
        engine = create_engine(dialect(url, driver))
        with Session(engine) as session:
            yield User(session, lambda sql: session.execute(text(sql)), session.commit, session.rollback)
        engine.dispose()

    return kind


def scoped_sessions(driver: str) -> Callable[[str], AbstractAsyncContextManager[User]]:
    @asynccontextmanager
    async def kind(url: str) -> AsyncIterator[User]:
        engine = create_engine(dialect(url, driver))
        session = scoped_session(sessionmaker(engine))
        yield User(session, lambda sql: session.execute(text(sql)), session.commit, session.rollback)
        session.remove()
        engine.dispose()

    return kind


def connections(driver: str) -> Callable[[str], AbstractAsyncContextManager[User]]:
    @asynccontextmanager
    async def kind(url: str) -> AsyncIterator[User]:
        engine = create_engine(dialect(url, driver))
        with engine.connect() as connection:
            yield User(connection, lambda sql: connection.execute(text(sql)), connection.commit, connection.rollback)
        engine.dispose()

    return kind


def async_sessions(driver: str) -> Callable[[str], AbstractAsyncContextManager[User]]:
    @asynccontextmanager
    async def kind(url: str) -> AsyncIterator[User]:
        engine = create_async_engine(dialect(url, driver))
        async with AsyncSession(engine) as session:
            yield User(session, lambda sql: session.execute(text(sql)), session.commit, session.rollback)
        await engine.dispose()

    return kind


def async_scoped_sessions(driver: str) -> Callable[[str], AbstractAsyncContextManager[User]]:
    @asynccontextmanager
    async def kind(url: str) -> AsyncIterator[User]:
        engine = create_async_engine(dialect(url, driver))
        session = async_scoped_session(async_sessionmaker(engine), lambda: 0)
        yield User(session, lambda sql: session.execute(text(sql)), session.commit, session.rollback)
        await session.remove()
        await engine.dispose()

    return kind


def async_connections(driver: str) -> Callable[[str], AbstractAsyncContextManager[User]]:
    @asynccontextmanager
    async def kind(url: str) -> AsyncIterator[User]:
        engine = create_async_engine(dialect(url, driver))
        async with engine.connect() as connection:
            yield User(connection, lambda sql: connection.execute(text(sql)), connection.commit, connection.rollback)
        await engine.dispose()

    return kind


SYNC: Final[dict[str, Callable[[str], AbstractAsyncContextManager[User]]]] = {"psycopg": sync_psycopg} | {
    f"{driver} {kind}": make(driver)
    for driver in ("psycopg", "psycopg2")
    for kind, make in {"Session": sessions, "scoped_session": scoped_sessions, "Connection": connections}.items()
}
ASYNC: Final[dict[str, Callable[[str], AbstractAsyncContextManager[User]]]] = {
    "asyncpg": raw_asyncpg,
    "asyncpg pool": pooled_asyncpg,
    "async psycopg": async_psycopg,
} | {
    f"{driver} {kind}": make(driver)
    for driver in ("asyncpg", "psycopg")
    for kind, make in {
        "AsyncSession": async_sessions,
        "async_scoped_session": async_scoped_sessions,
        "AsyncConnection": async_connections,
    }.items()
}


# -- the shop -----------------------------------------------------------------------------------------


async def migrate(url: str) -> None:
    """Make the tables, as whoever opens a store first does."""
    store = PostgresStore(url)
    await store.open()
    await store.close()


@dataclass
class Shop:
    """A store, its hints, and names that no other test has."""

    url: str
    rung: list[str] = field(default_factory=list)
    task: str = field(default_factory=lambda: f"charge-{uuid.uuid4().hex}")
    amount: int = field(default_factory=lambda: next(_numbers))

    def __post_init__(self) -> None:
        self.store = PostgresStore(self.url, notify=self.rung.extend)
        self.worker = f"worker of {self.task}"

    async def open(self) -> None:
        await self.store.open()
        await self.store.register(WorkerRecord(self.worker, "here", 1, "worker", "1", None, {}, 10, 0.0), 1000.0)

    def job(self, **options: Any) -> NewJob:
        return new_job(**{"task": self.task, "queue": f"queue of {self.task}", **options})

    async def claimed(self, **options: Any) -> Settle:
        """A job under way, and its success."""
        job = self.job(**options)
        await self.store.enqueue([job])
        answer = await self.store.exchange(self.worker, (), ClaimRequest((Pool(frozenset({self.task}), 1),)))
        assert [claimed.id for claimed in answer.claimed] == [job.id]
        return Settle(job.id, answer.claimed[0].fence, Succeeded('"paid"'))

    def event(self, body: bytes = b"\x00\xff", key: str | None = None, sink: str = "") -> Event:
        return Event(os.urandom(16), sink or f"sink of {self.task}", "ö % $1", key, '{"a":"100 %s"}', body)

    async def waiting(self, sink: str = "") -> list[Event]:
        """The events of this test that wait."""
        page = await self.store.outgoing(sink or f"sink of {self.task}", 0, 1_000, 1 << 30)
        return [out.event for out in page.events]

    async def payments(self) -> int:
        """How many of this test's have landed."""
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetchval("SELECT count(*) FROM payment WHERE amount = $1", self.amount)
        finally:
            await connection.close()

    async def throw_users_out(self) -> None:
        """Have the server end every connection but the store's."""
        connection = await asyncpg.connect(self.url)
        others = "datname = current_database() AND application_name <> 'headrace' AND pid <> pg_backend_pid()"
        try:
            await connection.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}")
        finally:
            await connection.close()

    async def record(self, job: bytes) -> Any:
        (found,) = await self.store.get([job])
        return found
