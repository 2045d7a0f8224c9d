"""Embedded workers on a real file: they come up, stay, go, and take nobody along."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from headrace import Headrace, StoreMoved
from headrace.stores.sqlite import moving

DEADLINE_S = 30.0
Locked = Callable[[], AbstractContextManager[None]]

POISON = """
import asyncio, json, os, sys
from headrace import Headrace, JobContext
from headrace.settings import Settings

hr = Headrace(settings=Settings(store="sqlite:///" + sys.argv[1], poll_s=0.1, crash_backoff_s=0.05))

@hr.task()
async def poison(ctx: JobContext) -> None:
    await asyncio.sleep(0.1)
    os.kill(os.getpid(), 9)

@hr.task()
async def innocent(ctx: JobContext, n: int) -> int:
    await asyncio.sleep(0.3)
    return n

async def main() -> None:
    await hr.open()
    if sys.argv[2] == "enqueue":
        await hr.enqueue_many([poison.call(), *[innocent.call(n) for n in range(6)]])
    else:
        async with hr.embedded(2):
            while any(not job.state.terminal for job in await hr.jobs()):
                await asyncio.sleep(0.05)
        jobs = await hr.jobs()
        print(json.dumps(sorted(f"{job.task} {job.state.value}" for job in jobs)))
    await hr.close()

asyncio.run(main())
"""


async def test_a_worker_comes_up_when_the_store_was_locked_at_its_start(hr: Headrace, locked: Locked) -> None:
    @hr.task()
    async def one() -> int:
        return 1

    await hr.open()
    job = await one.enqueue()
    with locked():
        started = hr.embedded()
        await started.__aenter__()
        await asyncio.sleep(0.6)  # twice what a write waits for the lock
    try:
        assert await job.result(timeout=DEADLINE_S) == 1
    finally:
        await started.__aexit__(None, None, None)


async def test_leaving_while_a_worker_registers_does_not_hang(hr: Headrace, locked: Locked) -> None:
    await hr.open()
    lock = locked()
    lock.__enter__()
    async with asyncio.timeout(DEADLINE_S):
        async with hr.embedded():
            await asyncio.sleep(0.05)
            asyncio.get_running_loop().call_later(0.1, lock.__exit__, None, None, None)
    assert await hr.workers() == []


async def test_leases_are_kept_after_an_error_that_nobody_expected(
    hr: Headrace, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hr.open()
    renew, calls = hr.store.renew, 0

    async def broken_once(worker: str, lease_s: float) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError(24, "Too many open files")
        return await renew(worker, lease_s)

    monkeypatch.setattr(hr.store, "renew", broken_once)
    async with hr.embedded():
        async with asyncio.timeout(DEADLINE_S):
            while calls < 3:  # noqa: ASYNC110 - the keeper's thread counts
                await asyncio.sleep(0.01)


async def test_workers_end_when_the_jobs_have_moved_and_the_process_stays(
    hr: Headrace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    @hr.task()
    async def long() -> None:
        started.set()
        try:
            await asyncio.sleep(999)
        finally:
            stopped.set()

    await long.enqueue()
    async with hr.embedded(2), asyncio.timeout(DEADLINE_S):
        await started.wait()
        with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None, timeout=5.0)) as mover:
            mover.execute("BEGIN IMMEDIATE")
            moving.begin(mover, "id", "postgresql://there/db")
            moving.finish(mover, "postgresql://there/db")
            mover.execute("COMMIT")
        await stopped.wait()
        while "the workers of this process end" not in caplog.text:  # noqa: ASYNC110 - the log says so
            await asyncio.sleep(0.01)
        with pytest.raises(StoreMoved, match="have moved to postgresql://there/db"):
            await long.enqueue()
        await asyncio.sleep(0.7)  # more than a round of the keeper
    assert caplog.text.count("have moved to") == caplog.text.count("the workers of this process end") == 1, caplog.text


@pytest.mark.timeout(120)
def test_a_poison_job_does_not_take_its_neighbours_into_quarantine(tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(POISON)

    def run(what: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, script, tmp_path / "jobs.db", what],
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert run("enqueue").returncode == 0
    ended = run("work")
    while ended.returncode == -signal.SIGKILL:  # whoever runs the program starts it again
        ended = run("work")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == ["innocent succeeded"] * 6 + ["poison failed"]
