"""Several processes on one file; one that is killed in the middle."""

import sqlite3
import subprocess
import sys
import time
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


# Opens, or migrates, the file at the instant at which all the others do.
OPENER = """
import asyncio, sys, time
from pathlib import Path
from headrace.stores.sqlite import SqliteStore
from headrace.stores.sqlite.migrating import migrate_file

async def opened(path):
    store = SqliteStore(path)
    await store.open()
    await store.close()

print("ready", flush=True)
for path, at in [line.rsplit(" ", 1) for line in sys.stdin]:
    time.sleep(max(0.0, float(at) - time.time()))
    if sys.argv[1] == "migrate":
        migrate_file(Path(path), force=False)
    else:
        asyncio.run(opened(path))
"""


def test_a_new_file_is_opened_by_many_processes_at_one_instant(tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", OPENER, does] for does in ("open", "open", "open", "migrate")]
    pipe = subprocess.PIPE
    openers = [subprocess.Popen(each, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for each in commands]
    for opener in openers:
        assert opener.stdout is not None
        assert opener.stdout.readline() == "ready\n"
    at = time.time() + 0.1
    files = "".join(f"{tmp_path / f'{n}.db'} {at + n * 0.1}\n" for n in range(20))
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write(files)
        opener.stdin.close()
        opener.stdin = None
    assert [(opener.communicate(timeout=50)[1], opener.returncode) for opener in openers] == [("", 0)] * 4


async def test_two_processes_open_and_enqueue_at_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    processes = [producer(path, 10, 30) for _ in range(2)]  # on a file that neither has made yet
    ids: list[str] = []
    ended = [(process.communicate(timeout=50)[0], process.returncode) for process in processes]
    for output, code in ended:
        assert code == 0
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
