"""Adding jobs: each id once, live or ended, and each `(task, key)` once while its job holds it."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from asyncpg.pgproto.pgproto import UUID

from headrace.core.errors import Conflict
from headrace.core.model import Enqueued, NewJob
from headrace.stores.encoding import state_of
from headrace.stores.postgres.lines import Line, LineName
from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import Tx, instant

_ENQUEUE: Final = query("enqueue")
_LINE: Final = query("line")
_PROMISE: Final = query("promise_insert")
_V7: Final = 7


async def enqueue(
    tx: Tx,
    jobs: Sequence[NewJob],
    numbers: Sequence[int],
    key_retention_s: float,
    notify: tuple[str | None, str | None] = (None, None),
) -> list[Enqueued]:
    """Add jobs, all or none; `numbers` are their lines'. `notify`: channel and message that go out with them.

    Where a job has promises, `tx` is one transaction.

    Raises:
        Conflict: a key is held by a job with another digest; nothing was written.
    """
    keyed = any(job.key is not None for job in jobs)
    (row,) = await tx.all(
        _ENQUEUE,
        tx.now,
        since(jobs),
        key_retention_s,
        [UUID(job.id) for job in jobs],
        numbers,
        [job.delay_s if job.delay_s > 0 else None for job in jobs],
        [None if job.run_at is None else instant(job.run_at) for job in jobs],
        [job.deadline_s for job in jobs],
        [None if job.deadline_at is None else instant(job.deadline_at) for job in jobs],
        [job.max_attempts for job in jobs],
        [job.timeout_s for job in jobs],
        [job.signature for job in jobs],
        [job.traceparent for job in jobs],
        [tags_of(job) for job in jobs],
        [job.args for job in jobs],
        [job.key for job in jobs] if keyed else None,
        [job.key_digest for job in jobs] if keyed else None,
        all(job.fresh for job in jobs),
        *notify,
    )
    states, landed, ends, created = row[:4]
    if row[4] is not None:
        at: int = row[4]
        job, holder = jobs[at - 1], row[5]
        raise Conflict(
            f"the key {job.key!r} of task {job.task!r} belongs to a job with other arguments", UUID(holder).bytes
        )
    tx.hints.update(hints_of(jobs))
    if landed is None:
        answers = [Enqueued(job.id, state_of(state), 1, created=True) for job, state in zip(jobs, states, strict=True)]
    else:
        answers = [
            Enqueued(UUID(id_).bytes, state_of(state), end, created=new)
            for id_, state, end, new in zip(landed, states, ends, created, strict=True)
        ]
    await _promise(tx, [job for job, answer in zip(jobs, answers, strict=True) if job.promises and answer.created])
    return answers


async def _promise(tx: Tx, jobs: Sequence[NewJob]) -> None:
    """Keep what is owed of these new jobs."""
    if jobs:
        promises = [(UUID(job.id), name) for job in jobs for name in job.promises]
        await tx.all(_PROMISE, [job for job, _ in promises], [name for _, name in promises], tx.now)


def hints_of(jobs: Sequence[NewJob]) -> set[str]:
    """What others are told of new jobs."""
    return {f"queue:{job.queue}" for job in jobs}


def names(jobs: Iterable[NewJob]) -> list[LineName]:
    """The lines that jobs stand in."""
    return [(job.queue, job.task, job.lane_key, job.priority) for job in jobs]


async def line(tx: Tx, name: LineName) -> Line:
    """A line's number, made if it is new; to be remembered only once it was committed."""
    queue, task, key, priority = name
    (row,) = await tx.all(_LINE, queue, task, key, priority)
    return Line(row[0], row[1], name)


def tags_of(job: NewJob) -> str | None:
    """A job's tags, as the functions take them."""
    return json.dumps(job.tags, ensure_ascii=False) if job.tags else None


def since(jobs: Sequence[NewJob]) -> datetime | None:
    """No job of these can have ended before: when the oldest id was made."""
    if any(job.id[6] >> 4 != _V7 for job in jobs):
        return None
    return instant(min(int.from_bytes(job.id[:6]) for job in jobs) / 1000)
