"""Feeds: what running attempts add, and what readers read."""

from collections.abc import Sequence
from typing import Final

from headrace.core.model import AttemptOutcome, AttemptRecord, FeedPage, FeedWrite, JobId, UpdateKind
from headrace.core.states import JobState
from headrace.core.story import tell
from headrace.stores.encoding import failure_of
from headrace.stores.sqlite.jobs import get_one
from headrace.stores.sqlite.rows import progress_of, seconds, update_of
from headrace.stores.sqlite.sql import query
from headrace.stores.sqlite.tx import MICRO, Row, Tx

_GUARD: Final = query("append_guard")
_KEY: Final = query("append_key")
_RAISE: Final = query("append_raise")
_PROGRESS_PUT: Final = query("progress_put")
_FEED_INSERT: Final = query("feed_insert")
_FEED_READ: Final = query("feed_read")
_PROGRESS_READ: Final = query("progress_read")
_ATTEMPTS_KEPT: Final = query("attempts_kept")
_ATTEMPT_RUNNING: Final = query("attempt_running")
_ATTEMPT_SUCCEEDED: Final = query("attempt_succeeded")
_OFFSET_LIVE: Final = query("offset_live")
_OFFSET_ENDED: Final = query("offset_ended")
FEED_FULL: Final = -1


def append(tx: Tx, writes: Sequence[FeedWrite], items_max: int) -> list[int | None]:
    """Add items, logs and progress to feeds of running jobs; per write the feed's offset after it."""
    answers: list[int | None] = []
    jobs: dict[tuple[JobId, int], list[int] | None] = {}  # number, attempt, feed's end, items
    progress: dict[int, Row] = {}
    raised: set[tuple[JobId, int]] = set()
    for write in writes:
        lease = (write.id, write.fence)
        if lease not in jobs:
            row = tx.one(_GUARD, lease)
            jobs[lease] = None if row is None else list(row)
        job = jobs[lease]
        if job is None:
            answers.append(None)
            continue
        n, attempt, end, items = job
        if write.kind is UpdateKind.PROGRESS:
            progress[n] = (n, write.fence, attempt, end, tx.now, write.data)
            tx.grown.append(write.id)
            answers.append(end)
            continue
        before = tx.one(_KEY, (n, write.key)) if write.key is not None else None
        if before is not None:
            answers.append(before[0])
        elif items >= items_max:
            answers.append(FEED_FULL)
        else:
            tx.run(_FEED_INSERT, (n, end + 1, write.kind.value, attempt, tx.now, write.key, write.data))
            job[2:] = end + 1, items + 1
            raised.add(lease)
            tx.grown.append(write.id)
            answers.append(end + 1)
    if raised:
        ends = [job for lease in raised if (job := jobs[lease]) is not None]
        tx.many(_RAISE, [(n, end, items) for n, _, end, items in ends])
    if progress:
        tx.many(_PROGRESS_PUT, list(progress.values()))
    return answers


def read_updates(tx: Tx, job: JobId, after: int, limit: int, retention_s: float) -> FeedPage | None:
    """Up to `limit` updates with offsets above `after`, in order, of no epoch yet; None: unknown job."""
    kept = get_one(tx, job, retention_s)
    if kept is None:
        return None
    record = kept.record
    rows = [update_of((row[0], row[1], row[2], row[3], row[4])) for row in tx.all(_FEED_READ, (kept.n, after, limit))]
    progress = tx.one(_PROGRESS_READ, (kept.n, record.fence)) if record.state is JobState.RUNNING else None
    return FeedPage(
        "",
        record.offset,
        tell(kept.story, rows, after, limit),
        None if progress is None else progress_of(progress),
        record.state,
    )


def attempts(tx: Tx, job: JobId) -> list[AttemptRecord]:
    """Every attempt of one job, in order; the running one last."""
    last = tx.one(_ATTEMPT_RUNNING, (job,))
    outcome, ended_at = AttemptOutcome.RUNNING, None
    if last is None:
        last = tx.one(_ATTEMPT_SUCCEEDED, (job,))
        if last is None:
            return []
        outcome, ended_at = AttemptOutcome.SUCCEEDED, seconds(last[5])
    n, attempt, fence, worker, started_at = last[:5]
    records = [
        AttemptRecord(
            row[0], row[1], row[2], row[3] / MICRO, row[4] / MICRO, AttemptOutcome(row[5]), failure_of(row[6])
        )
        for row in tx.all(_ATTEMPTS_KEPT, (n,))
    ]
    if fence is not None:
        records.append(AttemptRecord(attempt, fence, worker, started_at / MICRO, ended_at, outcome))
    return records


def offsets(tx: Tx, jobs: Sequence[JobId]) -> dict[JobId, int]:
    """Where these feeds end now; unknown ones are left out."""
    ends: dict[JobId, int] = {}
    for job in jobs:
        row = tx.one(_OFFSET_LIVE, (job,)) or tx.one(_OFFSET_ENDED, (job,))
        if row is not None:
            ends[job] = row[0]
    return ends
