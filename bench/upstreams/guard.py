"""A healthy call: what the guard costs over the bare await, and what it asks of the store."""

import asyncio
import json
import subprocess
import time

from bench.peers.environments import UnavailableError, python
from bench.processes import ROOT
from bench.run import median
from bench.upstreams.run import Run
from headrace import Headrace

PEERS = ("purgatory", "pybreaker", "aiobreaker")
PROGRAM = ROOT / "bench" / "upstreams" / "breakers.py"
FLUSH_S = 2.5
"""After which PostgreSQL has counted what was committed."""
FAILED_S = 300.0


async def nothing() -> None:
    """What is called."""


async def _costs(hr: Headrace, runs: int, calls: int) -> dict[str, list[float]]:
    """Microseconds of a bare call, and what a block and a guarded function add to their neighbour."""
    bank = hr.upstream("bank")

    @bank.guard
    async def guarded() -> None:
        """As `nothing`."""

    found: dict[str, list[float]] = {"bare": [], "guard": [], "guard_function": []}
    for _ in range(runs):
        began = time.perf_counter()
        for _ in range(calls):
            await nothing()
        between = time.perf_counter()
        for _ in range(calls):
            async with bank:
                await nothing()
        third = time.perf_counter()
        for _ in range(calls):
            await guarded()
        ended = time.perf_counter()
        bare = 1e6 * (between - began) / calls
        found["bare"].append(bare)
        found["guard"].append(1e6 * (third - between) / calls - bare)
        found["guard_function"].append(1e6 * (ended - third) / calls - bare)
        await asyncio.sleep(0.01)  # as other tasks would
    return found


async def _calls_for(hr: Headrace, seconds: float) -> int:
    bank = hr.upstream("bank")
    calls, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(100):
            async with bank:
                await nothing()
        calls += 100
        await asyncio.sleep(0)
    return calls


def _transactions(run: Run, database: str) -> int:
    time.sleep(FLUSH_S)
    found = run.postgres.sql(f"SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '{database}'")
    return int(found)


async def _statements(run: Run) -> tuple[int, int, int]:
    """Healthy calls, and the transactions of the process while it makes them, and as long without."""
    url = run.postgres.create_database()
    database = url.rpartition("/")[2].partition("?")[0]
    seconds = run.scale.statements_s
    hr = Headrace(url)
    hr.upstream("bank")
    await hr.open()
    await _calls_for(hr, 0.1)
    before = await asyncio.to_thread(_transactions, run, database)
    calls = await _calls_for(hr, seconds)
    between = await asyncio.to_thread(_transactions, run, database)
    await asyncio.sleep(seconds)
    after = await asyncio.to_thread(_transactions, run, database)
    await hr.close()
    return calls, between - before, after - between


async def _own(run: Run) -> None:
    hr = Headrace(f"sqlite:///{run.folder('guard') / 'headrace.db'}")
    hr.upstream("bank")
    await hr.open()
    costs = await _costs(hr, run.scale.guard_runs, run.scale.guard_calls)
    await hr.close()
    for name, each in costs.items():
        run.put(f"upstream.{name}_us", median(each))
        run.put(f"upstream.{name}_least_us", min(each))
    calls, busy, idle = await _statements(run)
    run.put("upstream.statements_calls", calls)
    run.put("upstream.statements_with_calls", busy)
    run.put("upstream.statements_without", idle)
    run.put("upstream.statements_per_call", (busy - idle) / calls)


def measure_peers(run: Run) -> None:
    try:
        environment = python("breakers")
    except UnavailableError as why:
        run.keys["upstream.peers.failed"] = str(why)
        print(f"  without the peers: {why}")
        return
    scale = run.scale
    for name in PEERS:
        done = subprocess.run(
            [environment.program("python"), "-P", PROGRAM, name, str(scale.guard_runs), str(scale.guard_calls)],
            capture_output=True,
            text=True,
            check=False,
            timeout=FAILED_S,
        )
        if done.returncode:
            run.keys[f"upstream.{name}.failed"] = done.stderr.strip().splitlines()[-1]
            continue
        run.keys[f"upstream.{name}.version"] = environment.versions[name]
        for figure, value in json.loads(done.stdout).items():
            run.put(f"upstream.{name}.{figure}", value)


def measure(run: Run) -> None:
    asyncio.run(_own(run))
