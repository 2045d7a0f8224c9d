"""Several processes on one file; one that is killed in the middle."""

import sqlite3
import subprocess
import sys
from pathlib import Path

from headrace.stores.sqlite import SqliteStore

# Callers that enqueue without end, and print each id when it is durable.
PRODUCER = """
import asyncio, sys
from headrace.stores.sqlite import SqliteStore
from headrace.testing.conformance.store_base import new_job

async def caller(store, count):
    while count:
        job = new_job(queue=f"queue {count % 7}")
        (answer,) = await store.enqueue([job])
        assert answer.created
        sys.stdout.write(job.id.hex() + "\\n")
        sys.stdout.flush()
        count -= 1

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    await asyncio.gather(*(caller(store, int(sys.argv[3])) for _ in range(int(sys.argv[2]))))
    await store.close()

asyncio.run(main())
"""


def producer(path: Path, callers: int, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PRODUCER, str(path), str(callers), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_two_processes_open_and_enqueue_at_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    processes = [producer(path, 10, 30) for _ in range(2)]  # on a file that neither has made yet
    ids: list[str] = []
    for process in processes:
        output, _ = process.communicate(timeout=50)
        assert process.returncode == 0
        ids += output.split()
    assert len(set(ids)) == 600
    store = SqliteStore(path)
    await store.open()
    assert None not in await store.get([bytes.fromhex(job) for job in ids])
    assert [queue.name for queue in await store.queues()] == [f"queue {n}" for n in range(7)]
    await store.close()


async def test_what_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    ids: list[str] = []
    for _ in range(3):
        process = producer(path, 20, -1)
        assert process.stdout is not None
        ids += [process.stdout.readline().strip() for _ in range(300)]
        process.kill()  # it has written more than was read: a group is under way
        ids += [line for line in process.stdout.read().split("\n")[:-1] if len(line) == 32]
        process.wait()
        process.stdout.close()
    store = SqliteStore(path)
    await store.open()
    assert len(ids) >= 900
    assert None not in await store.get([bytes.fromhex(job) for job in ids])
    await store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    whole = "SELECT count(*) FROM headrace_job LEFT JOIN headrace_call USING (n) WHERE args IS NULL"
    assert connection.execute(whole).fetchone() == (0,)
    connection.close()
