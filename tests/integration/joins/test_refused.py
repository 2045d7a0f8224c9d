"""An enqueue that its queue's policy refuses leaves the caller's transaction as it was."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from headrace import Full, Headrace


@pytest.mark.parametrize("blocking", [False, True])
def test_a_refusal_writes_nothing_and_breaks_nothing(tmp_path: Path, blocking: bool) -> None:
    hr = Headrace(f"sqlite:///{tmp_path / 'jobs.db'}")
    hr.queue("default", depth_max=1)

    @hr.task()
    def charge(n: int) -> int:
        return n

    def enqueue(n: int) -> None:
        bound = charge.options(using=mine)
        if blocking:
            bound.enqueue_sync(n)
        else:
            loop.run(bound.enqueue(n))

    with asyncio.Runner() as loop:
        loop.run(hr.open())
        if blocking:
            loop.run(hr.close())
            hr.wait(hr.open(), "")
        with closing(sqlite3.connect(tmp_path / "jobs.db")) as mine:
            mine.execute("CREATE TABLE invoice (id INTEGER)")
            enqueue(1)
            mine.commit()
            mine.execute("INSERT INTO invoice VALUES (7)")
            with pytest.raises(Full):
                enqueue(2)
            assert mine.in_transaction
            mine.commit()
            assert mine.execute("SELECT id FROM invoice").fetchall() == [(7,)]
            assert mine.execute("SELECT count(*) FROM headrace_job").fetchall() == [(1,)]
        if not blocking:
            loop.run(hr.close())
    hr.close_sync()
