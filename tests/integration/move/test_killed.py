"""A mover that is killed, at whatever moment, harms nobody; the same command goes on."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from headrace.core.errors import StoreMoved, StoreUnavailable
from headrace.core.model import Failed, Succeeded
from headrace.stores.sqlite import SqliteStore
from headrace.testing.conformance import store_base as suite
from tests.effort import effort
from tests.integration.move import kit

pytestmark = pytest.mark.timeout(240)  # a process for each time that it is killed
ROOT = Path(__file__).parents[3]


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "jobs.db", kit.SETTINGS)
    await store.open()
    yield store
    await store.close()


async def run(path: Path, url: str, fatal: int) -> bool:
    """Move, killed at the write of that number; whether it came to its end."""
    script = Path(__file__).with_name("killed.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, path, url, str(fatal),
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    if process.returncode == -9:
        return False
    assert process.returncode == 0, said.decode()
    return True


async def use(file: SqliteStore, told: kit.Filled) -> bool:
    """The file is used again, at the latest when the hold has lapsed; False: its jobs are elsewhere."""
    job = suite.new_job(queue="lively", key=f"k{len(told.jobs)}", key_digest="d")

    async def enqueued() -> bool:
        try:
            return bool(await file.enqueue([job]))
        except StoreUnavailable:
            return False

    try:
        await kit.until(enqueued, 10)
    except StoreMoved:
        return False
    told.also(job)

    async def claimed() -> list[suite.ClaimedJob]:
        return await suite.claim(file, 3, queues=["lively"])

    for at, each in enumerate(await kit.until(claimed, 10)):
        await suite.settle(file, each, Failed(kit.FAILURE) if at else Succeeded("1"))
    await file.retry(told.jobs[:3])
    return True


@pytest.mark.parametrize(
    ("fatals", "used"),
    [
        pytest.param(range(3, 400, effort(33, at_night=11)), True, id="early, in use"),
        pytest.param(range(20, 400, effort(51, at_night=17)), True, id="later, in use"),
        pytest.param([110, *range(1, 90, effort(9, at_night=4))], False, id="copied, then at each end"),
    ],
)
async def test_killed_again_and_again(file: SqliteStore, postgres_url: str, fatals: Sequence[int], used: bool) -> None:
    told = await kit.fill(file)
    kills = 0
    for fatal in (*fatals, 0):
        if await run(file.path, postgres_url, fatal):
            break
        kills += 1
        if used:
            await use(file, told)
    assert kills >= 3
    with pytest.raises(StoreMoved):
        await file.enqueue([suite.new_job()])
    await file.close()
    with sqlite3.connect(file.path) as connection:
        assert connection.execute("DELETE FROM headrace_meta WHERE key = 'moved_to'").rowcount == 1
    connection.close()
    await file.open()
    store = await kit.target_of(postgres_url)
    try:
        assert await kit.pictures(store, told.jobs) == await kit.pictures(file, told.jobs)
        assert store.epoch == file.epoch
        assert (await store.enqueue([suite.new_job()]))[0].created
    finally:
        await store.close()
