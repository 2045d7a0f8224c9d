"""Limits over several worker processes, as the bodies themselves see them."""

import json
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

SHOP = """
import asyncio, json, os, sys, time
from headrace import Headrace, JobContext, Limit, RateLimit
from headrace.settings import Settings

hr = Headrace(settings=Settings(store=sys.argv[1], poll_s=20.0, concurrency=10))

def note(*words):
    fd = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, (json.dumps([time.monotonic(), os.getpid(), *words]) + "\\n").encode())
    os.close(fd)

@hr.task(concurrency=Limit(2, key="tenant"))
async def charge(ctx: JobContext, tenant: str) -> None:
    note("begin", tenant)
    await asyncio.sleep(0.02)
    note("end", tenant)
    if ctx.attempt == 1 and ctx.id.bytes[-1] % 4 == 0:
        raise ctx.retry(after=0.05)

@hr.task(rate=RateLimit(20, per=1, burst=4))
async def call(ctx: JobContext, number: int) -> None:
    note("call", number)

@hr.task()
async def other(ctx: JobContext, number: int) -> None:
    note("other", number)

async def main() -> None:
    await hr.open()
    if sys.argv[3] == "enqueue":
        await hr.enqueue_many([charge.call(tenant) for tenant in "abc" for _ in range(40)])
        await hr.enqueue_many([call.call(number) for number in range(50)])
    else:
        async with hr.embedded(2):
            note("up")
            while any(not job.state.terminal for job in await hr.jobs(limit=200)):
                await other.enqueue(1)
                await asyncio.sleep(0.05)
    await hr.close()

asyncio.run(main())
"""
DEADLINE_S = 60.0


def run(url: str, directory: Path, workers: int) -> tuple[list[list[object]], float]:
    """What the bodies wrote, in order, and how long it took."""
    script, log = directory / "shop.py", directory / "log"
    script.write_text(SHOP)
    command = [sys.executable, str(script), url, str(log)]
    subprocess.run([*command, "enqueue"], check=True, timeout=DEADLINE_S)
    began = time.monotonic()
    processes = [subprocess.Popen([*command, "work"], stderr=subprocess.PIPE, text=True) for _ in range(workers)]
    for process in processes:
        _, said = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, said
    lines = sorted(json.loads(line) for line in log.read_text().splitlines())
    return lines, time.monotonic() - began


def most_at_once(lines: list[list[object]]) -> dict[str, int]:
    running: defaultdict[str, int] = defaultdict(int)
    most: defaultdict[str, int] = defaultdict(int)
    for _, _, word, *args in lines:
        if word in {"begin", "end"}:
            tenant = str(args[0])
            running[tenant] += 1 if word == "begin" else -1
            most[tenant] = max(most[tenant], running[tenant])
    return dict(most)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_processes_keep_to_the_limits_and_use_them_up(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    lines, took_s = run(url, tmp_path, 2)
    assert most_at_once(lines) == dict.fromkeys("abc", 2)
    begun = [line for line in lines if line[2] == "begin"]
    assert len(begun) >= 120
    assert len({line[1] for line in lines if line[2] != "up"}) == 2  # both processes worked
    calls = [float(str(line[0])) for line in lines if line[2] == "call"]
    assert len(calls) == 50
    for first in range(len(calls)):
        for last in range(first, len(calls)):
            # A body starts some moments after its claim.
            assert last - first + 1 <= 4 + 20 * (calls[last] - calls[first] + 0.3) + 1
    # 46 calls at 20 a second are what takes longest; hardly more means that nobody slept while something might run.
    spent_s = max(float(str(line[0])) for line in lines if line[2] in {"begin", "call"}) - min(calls)
    assert 2.0 < spent_s < 6.0, (spent_s, took_s)
