"""Writing in the user's transaction: both land, or neither."""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from headrace.core.errors import Conflict, LeaseLost, StoreUnavailable, UsageError
from headrace.core.event import Event
from headrace.core.model import ClaimRequest, Lease, NewJob, Pool, Settle, SettleResult, Succeeded, WorkerRecord
from headrace.core.states import JobState
from headrace.runtime.context import run_now
from headrace.stores.sqlite import SqliteStore
from headrace.testing.conformance.store_base import new_job

CREATE = "CREATE TABLE payment (amount INTEGER)"
PAY = "INSERT INTO payment VALUES (7)"
COUNT = "SELECT count(*) FROM payment"
WORKER = WorkerRecord("w", "here", 1, "worker", "1", None, {"charge": ""}, 10, 0.0)


Verb = Callable[[], Any]


class User:
    """A user's connection of one kind: what the tests do with it."""

    def __init__(
        self, using: Any, pay: Callable[[], Any], commit: Callable[[], Any], rollback: Callable[[], Any]
    ) -> None:
        self.using = using
        self._pay, self._commit, self._rollback = pay, commit, rollback

    async def pay(self) -> None:
        await _maybe(self._pay())

    async def commit(self) -> None:
        await _maybe(self._commit())

    async def rollback(self) -> None:
        await _maybe(self._rollback())


async def _maybe(answer: Any) -> None:
    if isinstance(answer, Awaitable):
        await answer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    await store.register(WORKER, 1000.0)
    connection = sqlite3.connect(path)
    connection.execute(CREATE)
    connection.close()
    yield store
    await store.close()


@pytest.fixture(
    params=["sqlite3", "session", "scoped_session", "connection", "async_session", "async_scoped", "async_connection"]
)
async def user(request: pytest.FixtureRequest, path: Path, store: SqliteStore) -> AsyncIterator[User]:
    if request.param == "sqlite3":
        raw = sqlite3.connect(path)
        yield User(raw, lambda: raw.execute(PAY), raw.commit, raw.rollback)
        raw.close()
    elif request.param.startswith("async"):
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        if request.param == "async_session":
            async with AsyncSession(engine) as session:
                yield User(session, lambda: session.execute(text(PAY)), session.commit, session.rollback)
        elif request.param == "async_scoped":
            scoped = async_scoped_session(async_sessionmaker(engine), lambda: 0)
            yield User(scoped, lambda: scoped.execute(text(PAY)), scoped.commit, scoped.rollback)
            await scoped.remove()
        else:
            async with engine.connect() as conn:
                yield User(conn, lambda: conn.execute(text(PAY)), conn.commit, conn.rollback)
        await engine.dispose()
    else:
        sync = create_engine(f"sqlite:///{path}")
        if request.param == "session":
            with Session(sync) as session_:
                yield User(session_, lambda: session_.execute(text(PAY)), session_.commit, session_.rollback)
        elif request.param == "scoped_session":
            scope = scoped_session(sessionmaker(sync))
            yield User(scope, lambda: scope.execute(text(PAY)), scope.commit, scope.rollback)
            scope.remove()
        else:
            with sync.connect() as conn_:
                yield User(conn_, lambda: conn_.execute(text(PAY)), conn_.commit, conn_.rollback)
        sync.dispose()


def payments(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute(COUNT).fetchone()[0])
    finally:
        connection.close()


async def claimed(store: SqliteStore, job: NewJob) -> Settle:
    await store.enqueue([job])
    answer = await store.exchange("w", (), ClaimRequest((Pool(frozenset({"charge"}), 1),)))
    return Settle(job.id, answer.claimed[0].fence, Succeeded('"paid"'))


async def test_a_commit_lands_both(store: SqliteStore, user: User, path: Path) -> None:
    job = new_job(key="k", key_digest="d")
    await user.pay()
    (answer,) = await store.join(user.using).enqueue([job])
    assert answer.created
    assert await store.get([job.id]) == [None]
    await user.commit()
    assert payments(path) == 1
    (record,) = await store.get([job.id])
    assert record is not None
    assert record.state is JobState.READY


async def test_enqueue_first_then_the_users_own_write(store: SqliteStore, user: User, path: Path) -> None:
    jobs = [new_job(), new_job(queue="new queue", task="new task")]
    await store.join(user.using).enqueue(jobs)
    await user.pay()
    await user.commit()
    assert payments(path) == 1
    assert None not in await store.get([job.id for job in jobs])


async def test_a_rollback_lands_neither(store: SqliteStore, user: User, path: Path) -> None:
    job = new_job(queue="new queue")
    await user.pay()
    await store.join(user.using).enqueue([job])
    await user.rollback()
    assert payments(path) == 0
    assert await store.get([job.id]) == [None]
    assert (await store.enqueue([job]))[0].created  # no lane or number of the lost transaction is remembered
    assert (await store.queues())[0].name == "new queue"


async def test_a_conflict_leaves_the_users_transaction_usable(store: SqliteStore, user: User, path: Path) -> None:
    await store.enqueue([new_job(key="k", key_digest="d")])
    await user.pay()
    with pytest.raises(Conflict):
        await store.join(user.using).enqueue([new_job(key="k", key_digest="other")])
    await user.commit()
    assert payments(path) == 1


async def test_a_success_lands_with_the_writes(store: SqliteStore, user: User, path: Path) -> None:
    settle = await claimed(store, new_job())
    await user.pay()
    joined = store.join(user.using)
    assert await joined.settle(settle) is SettleResult.SETTLED
    await joined.commit()
    assert payments(path) == 1
    (record,) = await store.get([settle.id])
    assert record is not None
    assert (record.state, record.result) == (JobState.SUCCEEDED, '"paid"')
    assert (await store.exchange("w", [settle], None)).settled == (SettleResult.REPEATED,)


async def test_a_success_that_is_rolled_back_leaves_the_job_running(store: SqliteStore, user: User, path: Path) -> None:
    settle = await claimed(store, new_job())
    await user.pay()
    joined = store.join(user.using)
    assert await joined.settle(settle) is SettleResult.SETTLED
    await joined.rollback()
    assert payments(path) == 0
    (record,) = await store.get([settle.id])
    assert record is not None
    assert record.state is JobState.RUNNING
    assert (await store.exchange("w", [settle], None)).settled == (SettleResult.SETTLED,)


async def test_a_lost_lease_writes_nothing(store: SqliteStore, user: User) -> None:
    settle = await claimed(store, new_job())
    await store.reap(["w"])
    joined = store.join(user.using)
    assert await joined.settle(settle) is SettleResult.LOST
    await joined.rollback()


async def test_ones_own_session_that_holds_the_lock_is_named(store: SqliteStore, user: User) -> None:
    await user.pay()
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="using=session"):
        await store.enqueue([new_job()])
    assert time.monotonic() - started < 3
    await user.rollback()
    await store.enqueue([new_job()])


@pytest.mark.parametrize("user", ["async_session", "async_scoped", "async_connection"], indirect=True)
async def test_an_asynchronous_one_is_refused_where_nothing_can_wait(store: SqliteStore, user: User) -> None:
    def thread() -> None:
        run_now(store.join(user.using).enqueue([new_job()]))

    with pytest.raises(UsageError, match="is asynchronous"):
        await asyncio.to_thread(thread)


async def test_events_land_with_the_writes(store: SqliteStore, user: User, path: Path) -> None:
    settle = await claimed(store, new_job())
    lease = Lease(settle.id, settle.fence)
    mine, other = event("kafka"), event("nats")
    await user.pay()
    joined = store.join(user.using)
    assert await joined.publish([mine, other, mine], lease, once=True) == [True, True, False]
    assert await waiting(store, "kafka") == []
    await user.commit()
    assert payments(path) == 1
    assert (await waiting(store, "kafka"), await waiting(store, "nats")) == ([mine], [other])
    assert await store.publish([mine], once=True) == [False]


async def test_events_are_rolled_back_with_the_writes(store: SqliteStore, user: User, path: Path) -> None:
    mine = event("kafka")
    await user.pay()
    assert await store.join(user.using).publish([mine], once=True) == [True]
    await user.rollback()
    assert (payments(path), await waiting(store, "kafka"), await store.sinks()) == (0, [], [])
    assert await store.publish([mine], once=True) == [True]


async def test_an_attempt_that_lost_its_lease_publishes_nothing(store: SqliteStore, user: User, path: Path) -> None:
    settle = await claimed(store, new_job())
    await user.pay()
    with pytest.raises(LeaseLost):
        await store.join(user.using).publish([event("kafka")], Lease(settle.id, settle.fence + 1))
    await user.commit()
    assert (payments(path), await waiting(store, "kafka")) == (1, [])


def event(sink: str) -> Event:
    return Event(os.urandom(16), sink, "orders", "k", body=b"\x00")


async def waiting(store: SqliteStore, sink: str) -> list[Event]:
    return [out.event for out in (await store.outgoing(sink, 0, 10, 1 << 20)).events]


async def test_hints_ring_after_the_commit(path: Path, user: User) -> None:
    rung: list[str] = []
    store = SqliteStore(path, notify=rung.extend)
    await store.open()
    try:
        joined = store.join(user.using)
        await joined.enqueue([new_job(queue="mail")])
        rung.clear()
        await joined.commit()
        assert "queue:mail" in rung
    finally:
        await store.close()


async def test_a_session_rings_by_itself_when_its_user_commits(path: Path, store: SqliteStore) -> None:
    rung: list[str] = []
    ringing = SqliteStore(path, notify=rung.extend)
    await ringing.open()
    engine = create_engine(f"sqlite:///{path}")
    try:
        with Session(engine) as session:
            session.execute(text(PAY))
            await ringing.join(session).enqueue([new_job(queue="mail")])
            with session.begin_nested():
                session.execute(text(PAY))
            assert rung == []
            session.commit()
            assert rung == ["queue:mail"]
            session.execute(text(PAY))
            session.commit()
            assert rung == ["queue:mail"]
    finally:
        engine.dispose()
        await ringing.close()


async def test_another_file_is_refused(store: SqliteStore, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.db")
    with pytest.raises(UsageError, match=r"other\.db.*app\.db"):
        store.join(other)
    other.close()
    memory = sqlite3.connect(":memory:")
    with pytest.raises(UsageError, match="in memory"):
        store.join(memory)
    memory.close()
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'other.db'}")
    async with AsyncSession(engine) as session:
        with pytest.raises(UsageError, match=r"other\.db.*app\.db"):
            await store.join(session).enqueue([new_job()])
    await engine.dispose()


async def test_the_same_file_by_another_name_is_accepted(store: SqliteStore, path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path.parent)
    connection = sqlite3.connect(link / path.name)
    job = new_job()
    await store.join(connection).enqueue([job])
    connection.commit()
    connection.close()
    assert await store.get([job.id]) != [None]


async def test_a_connection_in_autocommit_mode_is_refused(store: SqliteStore, path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(UsageError, match="BEGIN IMMEDIATE"):
        await store.join(connection).enqueue([new_job()])
    connection.execute("BEGIN IMMEDIATE")
    joined = store.join(connection)
    job = new_job()
    await joined.enqueue([job])
    await joined.commit()
    connection.close()
    assert await store.get([job.id]) != [None]


async def test_what_is_no_connection_is_refused(store: SqliteStore) -> None:
    with pytest.raises(UsageError, match="AsyncSession"):
        store.join(object())


async def test_a_stale_read_transaction_is_told_to_repeat(store: SqliteStore, path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("BEGIN")
    connection.execute(COUNT).fetchall()
    await store.enqueue([new_job()])
    with pytest.raises(StoreUnavailable, match="roll it back and repeat"):
        await store.join(connection).enqueue([new_job()])
    connection.close()


class Base(DeclarativeBase): ...


class Account(Base):
    __tablename__ = "account"
    name: Mapped[str] = mapped_column(primary_key=True)


async def test_what_a_session_cannot_write_is_told_by_its_own_error(store: SqliteStore, path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    settle = await claimed(store, new_job())
    with Session(engine) as session:
        session.execute(text("INSERT INTO account VALUES ('ada')"))
        session.add(Account(name="ada"))
        joined = store.join(session)
        await joined.settle(settle)
        with pytest.raises(IntegrityError):
            await joined.commit()
    engine.dispose()
    (record,) = await store.get([settle.id])
    assert record is not None
    assert record.state is JobState.RUNNING


async def test_what_a_deferred_constraint_refuses_is_told_by_its_own_error(store: SqliteStore, path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA foreign_keys = on")
    connection.execute("CREATE TABLE shop (id INTEGER PRIMARY KEY)")
    connection.execute("CREATE TABLE sale (shop INTEGER REFERENCES shop DEFERRABLE INITIALLY DEFERRED)")
    settle = await claimed(store, new_job())
    connection.execute("INSERT INTO sale VALUES (7)")
    joined = store.join(connection)
    await joined.settle(settle)
    with pytest.raises(sqlite3.IntegrityError):
        await joined.commit()
    await joined.rollback()
    connection.close()
    (record,) = await store.get([settle.id])
    assert record is not None
    assert record.state is JobState.RUNNING
