"""A million jobs held by an open breaker on PostgreSQL: what it costs to open and to close, and what others notice."""

import asyncio
import time

import asyncpg

from bench.run import median, percentile
from bench.upstreams.run import Run
from headrace import Headrace, Task
from headrace.core.model import ClaimRequest, GivenBack, Pool, Settle, WorkerRecord

CLAIM = 10
SETTLE_S = 0.5
COPIED = (
    "INSERT INTO headrace_job ({columns}) SELECT {values} FROM headrace_job, generate_series(1, $1) WHERE args = $2"
)


async def nothing(n: int) -> None:
    """The body of both tasks."""


class App:
    """A task that needs the upstream, and one that does not."""

    def __init__(self, url: str) -> None:
        self.hr = Headrace(url)
        bank = self.hr.upstream("bank")
        self.held: Task[[int], None] = self.hr.task("held", needs=[bank])(nothing)
        self.other: Task[[int], None] = self.hr.task("other")(nothing)


async def _fill(url: str, rows: int) -> None:
    """One job by the program, and so many more like it by SQL."""
    app = App(url)
    await app.hr.open()
    await app.held.enqueue(0)
    await app.hr.close()
    connection = await asyncpg.connect(url)
    found = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'headrace_job'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    columns = [row["attname"] for row in found]
    new = {"id": "gen_random_uuid()", "seq": "nextval('headrace_place')"}
    sql = COPIED.format(columns=", ".join(columns), values=", ".join(new.get(each, each) for each in columns))
    args = await connection.fetchval("SELECT args FROM headrace_job")
    await connection.execute(sql, rows - 1, args, timeout=600)
    await connection.execute("VACUUM ANALYZE headrace_job", timeout=600)
    await connection.execute("CHECKPOINT", timeout=600)
    await connection.close()


async def _turns(url: str, count: int) -> tuple[list[float], list[float]]:
    """Seconds of opening and of closing, as the process sees it that does it."""
    app = App(url)
    await app.hr.open()
    opens, closes = [], []
    for _ in range(count):
        for waits, to in ((opens, "open"), (closes, "close")):
            began = time.perf_counter()
            await app.hr.force_upstream("bank", to)  # type: ignore[arg-type]
            waits.append(time.perf_counter() - began)
    await app.hr.force_upstream("bank", "open")
    await app.hr.close()
    return opens, closes


async def _claims(url: str, count: int) -> list[float]:
    """Seconds of claims of another task's jobs, one by one, as a worker makes them while the upstream is open."""
    app = App(url)
    await app.hr.open()
    jobs = await app.hr.enqueue_many([app.other.call(n) for n in range(CLAIM)])
    store = app.hr.store
    tasks = {"held": "", "other": ""}
    worker = WorkerRecord("w_bench", "bench", 1, "worker", "0", None, tasks, CLAIM, time.time())
    await store.register(worker, 60.0)
    request = ClaimRequest((Pool(frozenset({"other"}), CLAIM),))
    waits: list[float] = []
    begun = time.perf_counter()
    while len(waits) < count:
        started = time.perf_counter()
        answer = await store.exchange(worker.id, (), request)
        if started - begun > SETTLE_S:
            waits.append(time.perf_counter() - started)
        if len(answer.claimed) != CLAIM:
            raise AssertionError(f"claimed {len(answer.claimed)} of {CLAIM}")
        back = tuple(Settle(job.id, job.fence, GivenBack(started=False)) for job in answer.claimed)
        await store.exchange(worker.id, back, None)
    await store.cancel([job.id.bytes for job in jobs])
    await store.unregister(worker.id)
    await app.hr.close()
    return waits


def measure(run: Run) -> None:
    scale = run.scale
    alone, beside = run.postgres.create_database(), run.postgres.create_database()
    asyncio.run(_fill(beside, scale.held_jobs))
    opens, closes = asyncio.run(_turns(beside, scale.turns))
    asyncio.run(_turns(alone, 1))
    p99: dict[str, list[float]] = {alone: [], beside: []}
    for pair in range(scale.claim_pairs):
        for url in sorted(p99, reverse=bool(pair % 2)):
            p99[url].append(percentile(asyncio.run(_claims(url, scale.claims)), 0.99))
    put = run.put
    put("upstream.hold_jobs", scale.held_jobs)
    put("upstream.hold_open_ms", 1e3 * median(opens))
    put("upstream.hold_close_ms", 1e3 * median(closes))
    put("upstream.hold_most_ms", 1e3 * max(opens + closes))
    put("upstream.hold_1m_ms", 1e3 * max(median(opens), median(closes)))
    put("upstream.hold_claim_p99_alone_ms", 1e3 * median(p99[alone]))
    put("upstream.hold_claim_p99_beside_ms", 1e3 * median(p99[beside]))
    ratios = [with_held / without for with_held, without in zip(p99[beside], p99[alone], strict=True)]
    put("upstream.hold_claim_p99_ratio", median(ratios))
