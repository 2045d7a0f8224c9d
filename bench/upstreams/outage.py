"""A full outage with 10,000 jobs waiting: what the upstream receives, and what counts against the jobs.

Two workers as users run them, on PostgreSQL. A POST is not tried again by the client, so there is no retry budget in
the bound: the calls that open the breaker, those that were under way then, and the probes.
"""

import asyncio
import os
import time

from bench.processes import WorkerTree, wait_for
from bench.upstreams.app import AT_ONCE, BREAKER, PORT_VARIABLE, App
from bench.upstreams.run import Run
from bench.upstreams.service import Service

WORKERS = 2
CHUNK = 2_000
START_S = 60.0
DRAIN_S = 300.0
TARGET = "bench.upstreams.app:hr"
COUNTED = "SELECT coalesce(sum(failures), 0) FROM {table}"


async def _fill(url: str, jobs: int) -> None:
    app = App(url)
    await app.hr.open()
    for first in range(0, jobs, CHUNK):
        await app.hr.enqueue_many([app.pay.call(n) for n in range(first, min(first + CHUNK, jobs))])
    await app.hr.close()


async def _half_opens(url: str) -> int:
    """How often it was tried: a generation opens, the next one tries."""
    app = App(url)
    found = await app.hr.upstreams()
    await app.hr.close()
    return (found[0].generation - 1) // 2 if found else 0


def measure(run: Run) -> None:
    scale = run.scale
    url = run.postgres.create_database()

    def count(sql: str) -> int:
        return int(run.postgres.sql(sql, url.rpartition("/")[2].partition("?")[0]))

    asyncio.run(_fill(url, scale.outage_jobs))
    with Service(hold_s=0.005, failing=True) as service:
        os.environ[PORT_VARIABLE] = str(service.port)
        folder = run.folder("outage")
        workers = [WorkerTree(url, folder, app=TARGET) for _ in range(WORKERS)]
        try:
            wait_for(lambda: service.received, "a first call", START_S)
            time.sleep(scale.outage_s)
            tries = asyncio.run(_half_opens(url))
            received = service.received
            tries_after = asyncio.run(_half_opens(url))
            service.failing = False
            began = time.monotonic()
            wait_for(
                lambda: count("SELECT count(*) FROM headrace_history WHERE state = 3") >= scale.outage_jobs,
                "all of them",
                DRAIN_S,
                0.2,
            )
            drained_s = time.monotonic() - began
        finally:
            for each in workers:
                each.stop()
    bound = BREAKER.minimum_number_of_calls + AT_ONCE - 1
    bound += BREAKER.permitted_number_of_calls_in_half_open_state * max(tries, tries_after)
    put = run.put
    put("upstream.outage_jobs", scale.outage_jobs)
    put("upstream.outage_s", scale.outage_s, 1)
    put("upstream.outage_half_opens", tries)
    put("upstream.outage_calls", received)
    put("upstream.outage_calls_bound", bound)
    put("upstream.outage_calls_over_bound", max(0, received - bound))
    put("upstream.outage_most_in_flight", service.most)
    put("upstream.outage_drained_s", drained_s, 1)
    put("upstream.outage_failed_jobs", count("SELECT count(*) FROM headrace_history WHERE state = 4"))
    counted = sum(count(COUNTED.format(table=table)) for table in ("headrace_job", "headrace_history"))
    put("upstream.failures_counted", counted)
