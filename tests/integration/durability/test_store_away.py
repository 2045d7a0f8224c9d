"""A store that is full, moved or gone for a while: outcomes wait in memory, and are settled when it is back."""

import asyncio
import sqlite3
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from headrace import Headrace, JobContext

DEADLINE_S = 30.0


@contextmanager
def moved(path: Path) -> Generator[None]:
    files = [path, Path(f"{path}-wal"), Path(f"{path}-shm")]
    for file in files:
        file.rename(f"{file}.away")
    yield
    for file in files:
        Path(f"{file}.away").rename(file)


@contextmanager
def full(hr: Headrace) -> Generator[None]:
    connection: sqlite3.Connection = hr.store._writer._connection  # type: ignore[attr-defined]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    yield
    connection.execute("PRAGMA max_page_count = 1000000")


@pytest.mark.parametrize("fault", ["full", "moved"])
async def test_outcomes_wait_until_the_store_is_back(
    hr: Headrace, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    faults: dict[str, Callable[[], AbstractContextManager[None]]] = {
        "full": lambda: full(hr),
        "moved": lambda: moved(tmp_path / "jobs.db"),
    }
    started, go = 0, asyncio.Event()

    @hr.task()
    async def works(ctx: JobContext) -> str:
        nonlocal started
        started += 1
        await go.wait()
        return f"{ctx.attempt}" + "x" * 20_000  # more than a page has room for

    jobs = [await works.enqueue() for _ in range(5)]
    async with hr.embedded():
        async with asyncio.timeout(DEADLINE_S):
            while started < 5:  # noqa: ASYNC110 - the bodies count
                await asyncio.sleep(0.01)
        with faults[fault]():
            go.set()
            async with asyncio.timeout(DEADLINE_S):
                while "exchange with the store failed" not in caplog.text:  # noqa: ASYNC110 - the log says so
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
        results = [await job.result(timeout=DEADLINE_S) for job in jobs]
    assert {result[:2] for result in results} == {"1x"}
    assert started == 5
