"""Slots: a lease ends with its holders, or at its instant."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.core.model import ClaimRequest, Pool, Suspicion, WorkerRecord
from headrace.stores.sqlite import SqliteStore
from headrace.stores.sqlite.slots import Slots
from headrace.testing.conformance.store_base import new_job

# A supervisor that takes a slot and hands it to a child; both wait until they are killed.
SUPERVISOR = """
import subprocess, sys, time
from pathlib import Path
from headrace.stores.sqlite.slots import Slots
slots = Slots(Path(sys.argv[1]), time.monotonic)
slots.open()
slots.take("w", 1000.0)
fd = slots.fd("w")
code = (
    "import sys, time; from pathlib import Path; from headrace.stores.sqlite.slots import Slots;"
    "slots = Slots(Path(sys.argv[1]), time.monotonic); slots.adopt('w', int(sys.argv[2]));"
    "print('adopted', flush=True); time.sleep(60)"
)
child = subprocess.Popen(
    [sys.executable, "-c", code, sys.argv[1], str(fd)], pass_fds=[fd], stdout=subprocess.PIPE
)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""


# A worker that claims what there is, and waits until it is killed.
WORKER = """
import asyncio, sys
from pathlib import Path
from headrace.core.model import ClaimRequest, Pool, WorkerRecord
from headrace.stores.sqlite import SqliteStore
async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    await store.register(WorkerRecord("w", "here", 1, "worker", "1", None, {"charge": ""}, 10, 0.0), 1000.0)
    answer = await store.exchange("w", (), ClaimRequest((Pool(frozenset({"charge"}), 10),)))
    print(len(answer.claimed), flush=True)
    sys.stdin.read()
asyncio.run(main())
"""


def claiming(path: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", WORKER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def eventually(condition: Callable[[], object], deadline_s: float = 30.0) -> None:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < deadline_s
        time.sleep(0.005)


def slots(directory: Path, clock: Time) -> Slots:
    made = Slots(directory, clock)
    made.open()
    return made


def test_a_slot_is_alive_until_its_lease_ends(tmp_path: Path) -> None:
    clock = Time()
    ours, theirs = slots(tmp_path, clock), slots(tmp_path, clock)
    ours.take("host/1 é", 10.0)
    assert theirs.alive("host/1 é")
    clock.now += 9.0
    assert ours.renew("host/1 é", 10.0)
    clock.now += 9.0
    assert theirs.alive("host/1 é")
    clock.now += 1.0
    assert not theirs.alive("host/1 é")
    assert not ours.renew("host/1 é", 10.0)  # what ended stays ended
    ours.close()


def test_a_slot_is_free_when_its_holder_closes(tmp_path: Path) -> None:
    clock = Time()
    ours, theirs = slots(tmp_path, clock), slots(tmp_path, clock)
    ours.take("w", 10.0)
    ours.close()
    assert not theirs.alive("w")
    assert not theirs.alive("unknown")
    assert not theirs.renew("unknown", 1.0)


def test_a_slot_that_was_taken_away_is_lost(tmp_path: Path) -> None:
    clock = Time()
    ours, theirs = slots(tmp_path, clock), slots(tmp_path, clock)
    ours.take("w", 10.0)
    theirs.remove("w")
    assert not ours.renew("w", 10.0)
    ours.take("w", 10.0)
    assert ours.renew("w", 10.0)
    theirs.take("w", 10.0)  # the same name again, elsewhere: the newer one counts
    assert not ours.renew("w", 10.0)
    assert theirs.renew("w", 10.0)
    ours.close()
    assert theirs.alive("w")
    theirs.close()


def test_one_worker_may_register_twice_at_once(tmp_path: Path) -> None:
    clock = Time()
    ours, theirs = slots(tmp_path, clock), slots(tmp_path, clock)
    together = threading.Barrier(2)

    def take(worker: str) -> None:
        together.wait(10.0)
        ours.take(worker, 10.0)

    for number in range(100):
        worker = f"w{number}"
        threads = [threading.Thread(target=take, args=(worker,), daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10.0)
        assert not any(thread.is_alive() for thread in threads)
        assert ours.renew(worker, 10.0)
        assert theirs.alive(worker)
        ours.remove(worker)
    assert not list(tmp_path.iterdir())
    ours.close()


@pytest.mark.parametrize("first", ["supervisor", "child"])
def test_the_lock_falls_when_both_holders_are_dead(tmp_path: Path, first: str) -> None:
    ours = Slots(tmp_path, time.monotonic)
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert supervisor.stdout is not None
    assert supervisor.stdin is not None
    child = int(supervisor.stdout.readline())
    order = [supervisor.pid, child] if first == "supervisor" else [child, supervisor.pid]
    try:
        assert ours.alive("w")
        os.kill(order[0], signal.SIGKILL)
        if first == "supervisor":
            supervisor.wait()
        time.sleep(0.05)
        assert ours.alive("w")
    finally:
        os.kill(order[1], signal.SIGKILL)
        supervisor.wait()
        supervisor.stdout.close()
        supervisor.stdin.close()
    eventually(lambda: not ours.alive("w"))  # the lease would last for a quarter of an hour


async def test_a_neighbour_reaps_a_dead_worker_at_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    store = SqliteStore(path)
    await store.open()
    jobs = [new_job() for _ in range(3)]
    await store.enqueue(jobs)
    worker = claiming(path)
    assert worker.stdout is not None
    assert worker.stdin is not None
    try:
        assert worker.stdout.readline() == b"3\n"
        assert (await store.reap()).workers == ()
        worker.kill()
        worker.wait()
        reaped = await store.reap()
        assert reaped.workers == ("w",)
        assert set(reaped.jobs) == {job.id for job in jobs}
        assert not list((store.directory / "workers").iterdir())
        other = WorkerRecord("other", "here", 1, "worker", "1", None, {"charge": ""}, 10, 0.0)
        await store.register(other, 1000.0)
        wanted = ClaimRequest((Pool(frozenset({"charge"}), 10),), suspicion=(Suspicion.SHARED,))
        assert len((await store.exchange("other", (), wanted)).claimed) == 3
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()
        worker.stdin.close()
        await store.close()


async def test_renewal_is_not_blocked_by_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    store = SqliteStore(path)
    await store.open()
    await store.register(WorkerRecord("w", "here", 1, "worker", "1", None, {"charge": ""}, 10, 0.0), 1000.0)
    await store.enqueue([new_job()])
    answer = await store.exchange("w", (), ClaimRequest((Pool(frozenset({"charge"}), 1),)))
    await store.cancel([answer.claimed[0].id])
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    renewed = await store.renew("w", 1000.0)
    assert not renewed.lost
    assert [lease.id for lease in renewed.cancels] == [answer.claimed[0].id]
    connection.close()
    await store.close()
