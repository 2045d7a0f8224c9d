"""The writer: groups, failures that stay alone, a log that stays bounded."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from headrace.core.errors import StoreUnavailable
from headrace.core.model import NewJob
from headrace.stores.sqlite import SqliteStore
from headrace.stores.sqlite.enqueue import enqueue
from headrace.stores.sqlite.tx import Tx
from headrace.stores.sqlite.writer import Writer
from headrace.testing.conformance.store_base import new_job


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "jobs.db")
    await store.open()
    yield store
    await store.close()


def writer_of(store: SqliteStore) -> Writer:
    assert store._writer is not None
    return store._writer


@contextlib.asynccontextmanager
async def held(writer: Writer) -> AsyncIterator[None]:
    """The writer stands in an operation meanwhile, so that what comes is grouped behind it."""
    started, leave = threading.Event(), threading.Event()

    def stand(_: Tx) -> None:
        started.set()
        leave.wait(10)

    standing = asyncio.ensure_future(writer.run(stand))
    await asyncio.to_thread(started.wait, 10)
    yield
    leave.set()
    await standing


def size(path: Path) -> int:
    return path.stat().st_size


def adding(job: NewJob, seen: list[int], error: Exception | None = None) -> Callable[[Tx], None]:
    def op(tx: Tx) -> None:
        seen.append(id(tx.ledger))
        enqueue(tx, [job], 0.0)
        if error is not None:
            raise error

    return op


async def test_a_failing_operation_takes_no_neighbour_with_it(store: SqliteStore) -> None:
    writer = writer_of(store)
    jobs = [new_job(queue=f"queue {n}") for n in range(5)]
    async with held(writer):
        calls = [
            asyncio.ensure_future(writer.run(adding(job, [], ValueError("no") if n == 2 else None)))
            for n, job in enumerate(jobs)
        ]
        await asyncio.sleep(0)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), type(None), ValueError, type(None), type(None)]
    there = [record is not None for record in await store.get([job.id for job in jobs])]
    assert there == [True, True, False, True, True]
    await store.enqueue(jobs)  # the lane that the failed one made is not remembered
    assert [queue.name for queue in await store.queues()] == [f"queue {n}" for n in range(5)]


async def test_a_failure_alone_leaves_nothing(store: SqliteStore) -> None:
    job = new_job()
    with pytest.raises(ValueError, match="no"):
        await writer_of(store).run(adding(job, [], ValueError("no")))
    assert await store.get([job.id]) == [None]
    assert (await store.enqueue([job]))[0].created


async def test_those_who_wait_are_committed_together(store: SqliteStore) -> None:
    writer = writer_of(store)
    commits: list[str] = []
    writer._connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    async with held(writer):
        calls = [asyncio.ensure_future(store.enqueue([new_job()])) for _ in range(50)]
        await asyncio.sleep(0)
    await asyncio.gather(*calls)
    assert len(commits) == 2  # of the one that stood, and of all others


async def test_callers_come_from_plain_threads_too(store: SqliteStore) -> None:
    job = new_job()
    await asyncio.to_thread(writer_of(store).run_sync, adding(job, []))
    assert await store.get([job.id]) != [None]


async def test_hints_are_rung_once_a_commit_and_only_for_what_landed(tmp_path: Path) -> None:
    rung: list[tuple[str, ...]] = []
    store = SqliteStore(tmp_path / "jobs.db", notify=lambda hints: rung.append(tuple(sorted(hints))))
    await store.open()
    writer = writer_of(store)
    async with held(writer):
        calls = [
            asyncio.ensure_future(writer.run(adding(new_job(queue="a"), []))),
            asyncio.ensure_future(writer.run(adding(new_job(queue="b"), [], ValueError("no")))),
            asyncio.ensure_future(writer.run(adding(new_job(queue="c"), []))),
        ]
        await asyncio.sleep(0)
    await asyncio.gather(*calls, return_exceptions=True)
    assert rung == [("queue:a", "queue:c")]
    await store.close()


async def test_feed_hints_only_when_somebody_wants_them(tmp_path: Path) -> None:
    rung: list[str] = []
    wanted = True
    store = SqliteStore(tmp_path / "jobs.db", notify=rung.extend, wants=lambda prefix: wanted and prefix == "job:")
    await store.open()
    jobs = [new_job() for _ in range(101)]
    await store.enqueue(jobs)
    await store.cancel([jobs[0].id])
    assert rung == ["queue:billing", f"job:{jobs[0].id.hex()}"]
    rung.clear()
    await store.cancel([job.id for job in jobs])
    assert len(rung) == 100
    await store.retry([job.id for job in jobs])
    assert sorted(rung[100:]) == ["job:*", "queue:billing"]
    rung.clear()
    wanted = False
    await store.cancel([job.id for job in jobs])
    assert rung == []
    await store.close()


async def test_what_waits_at_close_is_written(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "jobs.db")
    await store.open()
    writer = writer_of(store)
    jobs = [new_job() for _ in range(20)]
    async with held(writer):
        calls = [asyncio.ensure_future(store.enqueue([job])) for job in jobs]
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(store.close())
        await asyncio.sleep(0)
    await closing
    await asyncio.gather(*calls)
    with pytest.raises(StoreUnavailable):
        await store.enqueue([new_job()])
    await store.open()
    assert None not in await store.get([job.id for job in jobs])
    await store.close()


async def test_the_log_stays_bounded(store: SqliteStore) -> None:
    log = Path(f"{store.path}-wal")
    largest = 0
    for _ in range(60):
        await store.enqueue([new_job() for _ in range(500)])
        largest = max(largest, size(log))
    assert size(store.path) > 2_000_000
    assert largest < 6_000_000


async def test_what_is_left_of_the_log_is_copied_when_nobody_writes(store: SqliteStore) -> None:
    before = store.path.stat().st_size
    await store.enqueue([new_job() for _ in range(200)])
    assert store.path.stat().st_size == before
    deadline = time.monotonic() + 10
    while store.path.stat().st_size == before:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
