"""What the memory store counts and deletes."""

from collections import Counter
from dataclasses import replace
from itertools import islice

from headrace.core.load import LineLoad, LoadAsked, QueueLoad, gathered
from headrace.core.model import QueueRecord, Suspicion, WorkerRecord
from headrace.core.states import JobState
from headrace.stores.memory.board import Board


def worker_records(board: Board, now: float) -> list[WorkerRecord]:
    """Every registered worker, by id."""
    return [
        replace(worker.record, alive=now < worker.lease_ends_at, running=len(worker.running))
        for _, worker in sorted(board.workers.items())
    ]


def queue_records(board: Board, now: float) -> list[QueueRecord]:
    """Every queue, by name."""
    counts: dict[str, Counter[JobState]] = {name: Counter() for name in board.queues}
    oldest: dict[str, float] = {}
    for row in board.rows.values():
        counts[row.job.queue][row.state] += 1
        if row.state is JobState.READY:
            oldest[row.job.queue] = max(oldest.get(row.job.queue, 0.0), now - row.ready_at)
    return [QueueRecord(name, board.queues[name], counts[name], oldest.get(name)) for name in sorted(board.queues)]


def queue_load(board: Board, asked: LoadAsked, now: float) -> QueueLoad:
    """How much waits in one queue."""
    mine = [row for row in board.rows.values() if row.job.queue == asked.queue]
    ready = [row for row in mine if row.state is JobState.READY and row.suspect is Suspicion.NONE]
    ready.sort(key=lambda row: (-row.job.priority, row.seq))
    lines = [
        LineLoad(
            row.job.task,
            row.job.priority,
            int(at < asked.jobs_max),
            int(at < asked.jobs_max and now - row.ready_at >= asked.since_s),
            max(0.0, now - row.ready_at),
        )
        for at, row in enumerate(ready)
    ]
    scheduled = sum(row.state is JobState.SCHEDULED for row in mine)
    lines.append(LineLoad("", 0, 0, 0, None, min(scheduled, asked.jobs_max)))
    return gathered(asked.queue, lines, paused=board.queues.get(asked.queue, False))


def prune(board: Board, now: float, limit: int) -> int:
    """Delete at most `limit` ended jobs and keys that are past their retention; how many."""
    kept_since = now - board.settings.retention_s
    old = (row for row in board.ended.values() if row.finished_at is not None and row.finished_at <= kept_since)
    rows = list(islice(old, limit))
    for row in rows:
        board.forget(row)
    expired = (name for name, key in board.keys.items() if key.expires_at is not None and key.expires_at <= now)
    keys = list(islice(expired, limit - len(rows)))
    for name in keys:
        del board.keys[name]
    return len(rows) + len(keys)
