"""The long runs: many random walks against the model, and many processes killed while they commit."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from headrace.ports.store import StoreSettings
from headrace.stores.sqlite import SqliteStore
from headrace.testing.conformance import ManualTime, StoreModelConformance

KILLS = 60
READ_BEFORE_KILL = 200
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3_600)]

# Callers that enqueue without end, and print each id when it is durable.
PRODUCER = """
import asyncio, sys
from headrace.stores.sqlite import SqliteStore
from headrace.testing.conformance.store_base import new_job

async def caller(store):
    while True:
        job = new_job()
        await store.enqueue([job])
        print(job.id.hex(), flush=True)

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    await asyncio.gather(*(caller(store) for _ in range(20)))

asyncio.run(main())
"""


class TestLongWalks(StoreModelConformance):
    """SQLite answers as the memory store does, whatever is asked in whatever order."""

    walks = 1_000

    @pytest.fixture
    def make_fresh_store(self, time: ManualTime, tmp_path: Path) -> Callable[[StoreSettings], SqliteStore]:
        numbers = count()
        return lambda settings: SqliteStore(tmp_path / f"jobs-{next(numbers)}.db", settings, wall=time.wall)


def acknowledged_until_killed(path: Path) -> set[str]:
    """The ids that a producer said were durable before it was killed."""
    command = [sys.executable, "-c", PRODUCER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ids = {process.stdout.readline().strip() for _ in range(READ_BEFORE_KILL)}
        process.kill()
        return ids | {line for line in process.stdout.read().split("\n")[:-1] if len(line) == 32}


async def test_whatever_was_acknowledged_survives_many_kills(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    ids: set[str] = set()
    for _ in range(KILLS):
        ids |= acknowledged_until_killed(path)
    assert len(ids) >= KILLS * READ_BEFORE_KILL
    store = SqliteStore(path)
    await store.open()
    found = await store.get([bytes.fromhex(job) for job in sorted(ids)])
    await store.close()
    assert None not in found
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
