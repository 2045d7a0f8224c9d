"""Workers: what is known of them, what they run, and what becomes of it when they die."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from headrace.core.model import GivenBack, JobId, Lease, Reaped, Suspicion, WorkerId, WorkerRecord
from headrace.core.outcomes import judge, judge_crash
from headrace.core.states import JobEvent
from headrace.ports.store import StoreSettings
from headrace.stores.sqlite.settle import Live, end_attempt
from headrace.stores.sqlite.sql import query
from headrace.stores.sqlite.tx import MICRO, Tx

_PUT: Final = query("worker_put")
_KNOWN: Final = query("worker_known")
_ALL_KNOWN: Final = query("workers_known")
_GONE: Final = query("worker_gone")
_CANCELS: Final = query("worker_cancels")
_WORKERS: Final = query("workers")
_RUNS: Final = query("live_by_worker")


@dataclass(slots=True)
class _Tally:
    workers: list[WorkerId]
    jobs: list[JobId]
    suspects: int = 0
    quarantined: int = 0


def register(tx: Tx, worker: WorkerRecord) -> None:
    """Make the worker known, or renew what is known of it."""
    tx.run(
        _PUT,
        (
            worker.id,
            worker.host,
            worker.pid,
            worker.role,
            worker.version,
            None if worker.queues is None else json.dumps(worker.queues),
            json.dumps(dict(worker.tasks)),
            worker.concurrency,
            int(worker.started_at * MICRO),
            worker.supervisor_pid,
            int(worker.draining),
        ),
    )


def cancels(tx: Tx, worker: WorkerId) -> tuple[Lease, ...] | None:
    """What somebody asked this worker to stop; None: it is not known, or gone."""
    if tx.one(_KNOWN, (worker,)) is None:
        return None
    return tuple(Lease(job, fence) for job, fence in tx.all(_CANCELS, (worker,)))


def known(tx: Tx) -> list[WorkerId]:
    """The workers that are known and not gone."""
    return [row[0] for row in tx.all(_ALL_KNOWN)]


def unregister(tx: Tx, worker: WorkerId) -> None:
    """The worker ended in order: jobs that it still held are given back."""
    row = tx.one(_KNOWN, (worker,))
    if row is None:
        return
    for live in _running(tx, row[0]):
        verdict = judge(GivenBack(started=True), cancelling=bool(live.cancelling))
        end_attempt(tx, live, verdict, settled_fence=live.settled_fence)
    tx.run(_GONE, (row[0], tx.now))


def reconcile(tx: Tx, worker: WorkerId, held: frozenset[Lease]) -> int:
    """Give back what this worker was given and does not know of; how many."""
    row = tx.one(_KNOWN, (worker,))
    running = [] if row is None else _running(tx, row[0])
    unknown = [live for live in running if Lease(live.id, live.fence) not in held]
    for live in unknown:
        verdict = judge(GivenBack(started=False), cancelling=bool(live.cancelling))
        end_attempt(tx, live, verdict, settled_fence=live.settled_fence)
    return len(unknown)


def reap(tx: Tx, dead: Sequence[WorkerId], settings: StoreSettings) -> Reaped:
    """Free the jobs of dead workers."""
    tally = _Tally([], [])
    for worker in dead:
        row = tx.one(_KNOWN, (worker,))
        if row is None:
            continue
        for live in _running(tx, row[0]):
            _crash(tx, live, settings, tally)
        tx.run(_GONE, (row[0], tx.now))
        tally.workers.append(worker)
    if tally.jobs:
        tx.hints.add("queue:")  # what ended for good may have held a slot of a limit
    return Reaped(tuple(tally.workers), tuple(tally.jobs), tally.suspects, tally.quarantined)


def _crash(tx: Tx, live: Live, settings: StoreSettings, tally: _Tally) -> None:
    verdict = judge_crash(
        suspect=Suspicion(live.suspect),
        crashes=live.crashes,
        cancelling=bool(live.cancelling),
        crashes_max=settings.crashes_max,
        backoff_s=settings.crash_backoff_s,
    )
    end_attempt(tx, live, verdict, settled_fence=live.settled_fence)
    tally.jobs.append(live.id)
    tally.quarantined += verdict.event is JobEvent.QUARANTINE
    tally.suspects += verdict.event in {JobEvent.CRASH, JobEvent.CRASH_ALONE}


def _running(tx: Tx, number: int) -> list[Live]:
    return [Live(*row) for row in tx.all(_RUNS, (number,))]


def records(tx: Tx, alive: Callable[[WorkerId], bool]) -> list[WorkerRecord]:
    """Every known worker, by id."""
    return [
        WorkerRecord(
            id=row[0],
            host=row[1],
            pid=row[2],
            role=row[3],
            version=row[4],
            queues=None if row[5] is None else tuple(json.loads(row[5])),
            tasks=json.loads(row[6]),
            concurrency=row[7],
            started_at=row[8] / MICRO,
            supervisor_pid=row[9],
            alive=alive(row[0]),
            draining=bool(row[10]),
            running=row[11],
        )
        for row in tx.all(_WORKERS)
    ]
