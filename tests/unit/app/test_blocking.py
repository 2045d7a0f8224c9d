"""The blocking twins: from threads and scripts, with and without a loop that the app lives on."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from headrace import Headrace, Job, SyncJobContext, UsageError
from headrace.testing import drain, enqueued


@pytest.fixture(params=["memory", "sqlite"])
def hr(request: pytest.FixtureRequest, tmp_path: Path) -> Headrace:
    return Headrace("memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'jobs.db'}")


def test_a_script_enqueues_waits_and_closes(hr: Headrace) -> None:
    @hr.task()
    def double(ctx: SyncJobContext, n: int) -> int:
        return 2 * n

    job = double.enqueue_sync(21)
    assert job.created
    with pytest.raises(TimeoutError):
        job.result_sync(timeout=0.02)
    assert any(thread.name == "headrace-portal" for thread in threading.enumerate())
    hr.wait(drain(hr), "")
    assert job.result_sync(timeout=30) == 42
    hr.close_sync()
    assert not any(thread.name == "headrace-portal" for thread in threading.enumerate())
    hr.close_sync()


async def test_a_thread_beside_the_apps_loop_uses_that_loop(hr: Headrace) -> None:
    @hr.task()
    def double(ctx: SyncJobContext, n: int) -> int:
        return 2 * n

    await hr.open()

    def endpoint() -> int:
        return double.enqueue_sync(21).result_sync(timeout=30)

    async with hr.embedded():
        assert await asyncio.to_thread(endpoint) == 42
    assert not any(thread.name == "headrace-portal" for thread in threading.enumerate())
    await hr.close()


async def test_a_thread_task_enqueues_and_waits_for_another() -> None:
    hr = Headrace("memory://")

    @hr.task()
    def double(ctx: SyncJobContext, n: int) -> int:
        return 2 * n

    @hr.task()
    def twice(ctx: SyncJobContext, n: int) -> int:
        return double.enqueue_sync(double.enqueue_sync(n).result_sync(timeout=30)).result_sync(timeout=30)

    job = await twice.enqueue(3)
    await drain(hr)
    assert await job.result(timeout=30) == 12


async def test_on_the_event_loop_it_is_refused_with_the_word_to_use(hr: Headrace) -> None:
    @hr.task()
    def double(ctx: SyncJobContext, n: int) -> int:
        return 2 * n

    with pytest.raises(UsageError, match=r"await double.enqueue\(…\)"):
        double.enqueue_sync(1)
    job = await double.enqueue(1)
    with pytest.raises(UsageError, match=r"await job.result\(…\)"):
        job.result_sync()
    assert len(enqueued(double)) == 1
    await hr.close()


def test_a_blocking_enqueue_joins_a_transaction(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    hr = Headrace(f"sqlite:///{path}")

    @hr.task()
    def double(ctx: SyncJobContext, n: int) -> int:
        return 2 * n

    mine = sqlite3.connect(path)
    job: Job[int] = double.options(using=mine).enqueue_sync(1)
    assert job.state == "ready"
    mine.rollback()
    assert enqueued(double) == []
    double.options(using=mine).enqueue_sync(2)
    mine.commit()
    assert [found.args for found in enqueued(double)] == [{"n": 2}]
    mine.close()
    hr.close_sync()


def test_one_headrace_serves_loop_after_loop(hr: Headrace) -> None:
    @hr.task()
    async def work() -> int:
        return 1

    async def once() -> int:
        job = await work.enqueue()
        await drain(hr)
        return await job.result(timeout=30)

    assert [asyncio.run(once()) for _ in range(3)] == [1, 1, 1]
    asyncio.run(hr.close())


def test_threads_that_open_it_at_once_open_it_once(hr: Headrace) -> None:
    @hr.task()
    async def work() -> None: ...

    gate = threading.Barrier(6)
    failed: list[BaseException] = []

    def enqueue() -> None:
        gate.wait()
        try:
            work.enqueue_sync()
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            failed.append(error)

    threads = [threading.Thread(target=enqueue) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(enqueued(work)) == 6
    hr.close_sync()
