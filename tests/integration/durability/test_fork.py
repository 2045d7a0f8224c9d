"""A process that forks after it used its Headrace: the child is told so, and never waits for threads it has not got."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import asyncio, os, signal, sys, threading
from headrace import Headrace, UsageError

hr = Headrace("sqlite:///" + sys.argv[1])

@hr.task()
async def work(n: int) -> int:
    return n

def blocking(n):
    return work.enqueue_sync(n)

def awaiting(n):
    return asyncio.run(work.enqueue(n))

if sys.argv[2] == "served":  # an app whose loop runs in another thread
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(work.enqueue(1), loop).result()
else:
    blocking(1)
enqueue = {"blocking": blocking, "awaiting": awaiting}[sys.argv[3]]
pid = os.fork()
if pid == 0:
    signal.alarm(30)  # a child that waits for ever is not left behind
    try:
        enqueue(2)
    except UsageError as error:
        os._exit(7 if "fork" in str(error) else 1)
    os._exit(0)
_, status = os.waitpid(pid, 0)
enqueue(3)
print(os.waitstatus_to_exitcode(status), sum(len(page) for page in [asyncio.run(hr.jobs())]), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("home", ["served", "portal"])
@pytest.mark.parametrize("words", ["blocking", "awaiting"])
def test_a_forked_child_is_refused_and_its_parent_goes_on(tmp_path: Path, home: str, words: str) -> None:
    (tmp_path / "app.py").write_text(SCRIPT)
    ended = subprocess.run(
        [sys.executable, tmp_path / "app.py", tmp_path / "jobs.db", home, words],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (ended.stdout, ended.returncode) == ("7 2\n", 0), ended.stderr
