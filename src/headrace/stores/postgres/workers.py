"""Workers: what is known of them, what they run, and what becomes of it when they die."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from headrace.core.model import GivenBack, JobId, Lease, Reaped, Renewed, Suspicion, WorkerId, WorkerRecord
from headrace.core.outcomes import Verdict, judge, judge_crash
from headrace.core.states import JobEvent
from headrace.ports.store import StoreSettings
from headrace.stores.postgres.lines import Lines
from headrace.stores.postgres.settle import End, end_attempts
from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import Row, Tx, instant

_PUT: Final = query("worker_put")
_LEASE_PUT: Final = query("lease_put")
_RENEW: Final = query("renew")
_LOCK: Final = query("worker_lock")
_GONE: Final = query("worker_gone")
_RUNS_FROM: Final = query("worker_runs_from")
_WORKERS: Final = query("workers")
_RUNS: Final = query("live_by_worker")


@dataclass(slots=True)
class Live:
    """What a verdict on a running job needs to know; fields in the order of `live_by_worker`."""

    id: JobId
    line: int
    state: int
    suspect: int
    cancelling: bool
    fence: int
    crashes: int
    attempt: int
    feed_end: int
    claim: int


async def register(tx: Tx, worker: WorkerRecord, lease_s: float, holder: int | None) -> int | None:
    """Make the worker known, or renew what is known of it, and give it its lease; who holds that."""
    (row,) = await tx.all(
        _PUT,
        worker.id,
        worker.host,
        worker.pid,
        worker.role,
        worker.version,
        None if worker.queues is None else list(worker.queues),
        json.dumps(dict(worker.tasks)),
        worker.concurrency,
        instant(worker.started_at),
        worker.supervisor_pid,
        worker.draining,
    )
    (lease,) = await tx.all(_LEASE_PUT, row[0], tx.now, lease_s, holder)
    kept: int | None = lease[0]
    return kept


async def renew(tx: Tx, worker: WorkerId, lease_s: float, holder: int | None) -> Renewed:
    """Extend the lease and read the cancels."""
    rows = await tx.all(_RENEW, worker, tx.now, lease_s, holder)
    if not rows:
        return Renewed((), lost=True)
    return Renewed(tuple(Lease(row[1].bytes, row[2]) for row in rows if row[1] is not None))


async def unregister(tx: Tx, lines: Lines, worker: WorkerId) -> None:
    """The worker ended in order: jobs that it still held are given back."""
    row = await tx.one(_LOCK, worker)
    if row is not None:
        await _give_back(tx, lines, await _running(tx, row), started=True)
        await tx.all(_GONE, row[0], tx.now)


async def reconcile(tx: Tx, lines: Lines, worker: WorkerId, held: frozenset[Lease]) -> int:
    """Give back what this worker was given and does not know of; how many.

    What it runs then is remembered by its oldest claim: the rows of older ones are dead, and a held snapshot may keep
    so many of them that nobody could look through them any more.
    """
    row = await tx.one(_LOCK, worker)
    if row is None:
        return 0
    runs = await _running(tx, row)
    known = [live for live in runs if Lease(live.id, live.fence) in held]
    unknown = [live for live in runs if Lease(live.id, live.fence) not in held]
    count = await _give_back(tx, lines, unknown, started=False)
    await tx.all(_RUNS_FROM, row[0], min((live.claim for live in known), default=None))
    return count


async def _give_back(tx: Tx, lines: Lines, lives: Sequence[Live], *, started: bool) -> int:
    verdict = judge(GivenBack(started), cancelling=False)
    return len(await end_attempts(tx, lines, [End(live.id, live.fence, verdict, settles=False) for live in lives]))


async def reap(tx: Tx, lines: Lines, worker: WorkerId, settings: StoreSettings) -> Reaped:
    """Free the jobs of one dead worker."""
    row = await tx.one(_LOCK, worker)
    if row is None:
        return Reaped((), (), 0, 0)
    lives = await _running(tx, row)
    verdicts = [_crash(live, settings) for live in lives]
    ends = [End(live.id, live.fence, verdict, settles=False) for live, verdict in zip(lives, verdicts, strict=True)]
    await end_attempts(tx, lines, ends)
    if ends:
        tx.hints.add("queue:")  # what ended for good may have held a slot of a limit
    await tx.all(_GONE, row[0], tx.now)
    events = [verdict.event for verdict in verdicts]
    return Reaped(
        (worker,),
        tuple(live.id for live in lives),
        sum(event in {JobEvent.CRASH, JobEvent.CRASH_ALONE} for event in events),
        sum(event is JobEvent.QUARANTINE for event in events),
    )


def _crash(live: Live, settings: StoreSettings) -> Verdict:
    return judge_crash(
        suspect=Suspicion(live.suspect),
        crashes=live.crashes,
        cancelling=live.cancelling,
        crashes_max=settings.crashes_max,
        backoff_s=settings.crash_backoff_s,
    )


async def _running(tx: Tx, worker: Row) -> list[Live]:
    """What a worker runs, of which `worker_lock` has told."""
    return [_live(row) for row in await tx.all(_RUNS, *worker)]


def _live(row: Row) -> Live:
    return Live(row[0].bytes, *row[1:])


async def records(tx: Tx) -> list[WorkerRecord]:
    """Every known worker, by id."""
    return [
        WorkerRecord(
            id=row[0],
            host=row[1],
            pid=row[2],
            role=row[3],
            version=row[4],
            queues=None if row[5] is None else tuple(row[5]),
            tasks=json.loads(row[6]),
            concurrency=row[7],
            started_at=row[8].timestamp(),
            supervisor_pid=row[9],
            alive=row[12],
            draining=row[10],
            running=row[11],
        )
        for row in await tx.all(_WORKERS, tx.now)
    ]
