"""One Headrace on a SQLite file with short waits, and another program that holds the file's write lock."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from headrace import Headrace
from headrace.settings import Settings

DEADLINE_S = 30.0


@pytest.fixture
async def hr(tmp_path: Path) -> AsyncIterator[Headrace]:
    """Not open yet."""
    made = Headrace(
        settings=Settings(
            store=f"sqlite:///{tmp_path}/jobs.db", poll_s=0.2, grace_s=0.2, kill_grace_s=0.2, busy_timeout_s=0.3
        )
    )
    yield made
    await made.close()


@pytest.fixture
def locked(tmp_path: Path) -> Callable[[], AbstractContextManager[None]]:
    """Hold the write lock of the file for the length of a `with`."""

    @contextmanager
    def hold() -> Generator[None]:
        other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None, timeout=5.0)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()

    return hold


@pytest.fixture
def until() -> Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]:
    """Wait for a condition, with a deadline."""

    async def wait(condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not await condition():  # noqa: ASYNC110 - the store is asked
                await asyncio.sleep(0.01)

    return wait
