"""Adding jobs: each id once, live or ended, and each `(task, key)` once while its job holds it."""

import json
from collections.abc import Sequence
from typing import Final

from headrace.core.errors import Conflict
from headrace.core.model import Enqueued, JobId, NewJob
from headrace.core.states import JobState
from headrace.stores.encoding import READY, SCHEDULED, state_of
from headrace.stores.sqlite.sql import query
from headrace.stores.sqlite.tx import MICRO, Row, Tx

_CALL_LAST: Final = query("call_last")
_JOB_INSERT: Final = query("job_insert")
_CALL_INSERT: Final = query("call_insert")
_JOB_ADDED: Final = query("job_added")
_PROMISE_INSERT: Final = query("promise_insert")
_LANDED_LIVE: Final = query("landed_live")
_LANDED_ENDED: Final = query("landed_ended")
_KEY_HOLDER: Final = query("key_holder")
_KEY_TAKE: Final = query("key_take")


def enqueue(tx: Tx, jobs: Sequence[NewJob], key_retention_s: float) -> list[Enqueued]:
    """Add jobs, all or none.

    Raises:
        Conflict: a key is held by a job with another digest; nothing was written.
    """
    if all(job.key is None for job in jobs):
        return _insert(tx, jobs)
    landings = _landings(tx, jobs, int(key_retention_s * MICRO))
    own = [job for job, landing in zip(jobs, landings, strict=True) if landing == job.id]
    created = {job.id for job, landed in zip(own, _insert(tx, own), strict=True) if landed.created}
    for job in own:
        if job.key is not None and job.id in created:
            tx.run(_KEY_TAKE, (job.task, job.key, job.id, job.key_digest))
    answers: list[Enqueued] = []
    for job, landing in zip(jobs, landings, strict=True):
        new = landing == job.id and landing in created
        created.discard(landing)
        answers.append(_landed(tx, landing, created=new))
    return answers


def _landings(tx: Tx, jobs: Sequence[NewJob], retention: int) -> list[JobId]:
    """The id that each job lands on: its own, or that of the job which holds its key."""
    taken: dict[tuple[str, str], tuple[JobId, str]] = {}
    landings: dict[int, JobId] = {}
    own: set[JobId] = set()
    for at, job in enumerate(jobs):
        landings[at] = job.id
        if job.key is None or job.id in own or _is_known(tx, job.id):
            own.add(job.id)
            continue
        name = (job.task, job.key)
        holder = taken.get(name) or _holder(tx, name, retention)
        if holder is None:
            taken[name] = (job.id, job.key_digest)
            own.add(job.id)
        elif holder[1] != job.key_digest:
            message = f"the key {job.key!r} of task {job.task!r} belongs to a job with other arguments"
            raise Conflict(message, holder[0])
        else:
            landings[at] = holder[0]
    return list(landings.values())


def _holder(tx: Tx, name: tuple[str, str], retention: int) -> tuple[JobId, str] | None:
    row = tx.one(_KEY_HOLDER, name)
    if row is None:
        return None
    job, digest, lives, finished_at = row
    if lives or (finished_at is not None and finished_at + retention > tx.now):
        return job, digest
    return None


def _is_known(tx: Tx, job: JobId) -> bool:
    return (tx.one(_LANDED_LIVE, (job,)) or tx.one(_LANDED_ENDED, (job,))) is not None


def _insert(tx: Tx, jobs: Sequence[NewJob]) -> list[Enqueued]:
    if not jobs:
        return []
    last = tx.one(_CALL_LAST)
    base: int = last[0] if last else 0
    now = tx.now
    rows: list[Row] = []
    calls: list[Row] = []
    answers: list[Enqueued] = []
    for n, job in enumerate(jobs, base + 1):
        due = None
        if job.run_at is not None:
            due = int(job.run_at * MICRO)
        elif job.delay_s > 0:
            due = now + int(job.delay_s * MICRO)
        if due is not None and due <= now:
            due = None
        state = READY if due is None else SCHEDULED
        lane = tx.lane((job.queue, job.task, job.lane_key))
        rows.append((n, job.id, lane, state, job.priority, tx.ledger.place(now), due, _deadline(job, now)))
        tags = json.dumps(job.tags, ensure_ascii=False) if job.tags else None
        calls.append(
            (n, now, due, job.max_attempts, job.timeout_s, job.key, tags, job.signature, job.traceparent, job.args)
        )
        answers.append(Enqueued(job.id, state_of(state), 1, created=True))
    if tx.many(_JOB_INSERT, rows) != len(rows):
        added = {row[0] for row in tx.all(_JOB_ADDED, (base,))}
        answers = [
            answer if row[0] in added else _landed(tx, answer.id, created=False)
            for answer, row in zip(answers, rows, strict=True)
        ]
        calls = [call for call in calls if call[0] in added]
    tx.many(_CALL_INSERT, calls)
    promises = [
        (job.id, name)
        for job, answer in zip(jobs, answers, strict=True)
        if job.promises and answer.created
        for name in job.promises
    ]
    if promises:
        tx.many(_PROMISE_INSERT, promises)
    tx.hints.update(f"queue:{queue}" for queue in {job.queue for job in jobs})
    return answers


def _deadline(job: NewJob, now: int) -> int | None:
    after = None if job.deadline_s is None else now + int(job.deadline_s * MICRO)
    at = None if job.deadline_at is None else int(job.deadline_at * MICRO)
    if after is None or at is None:
        return after if at is None else at
    return min(after, at)


def _landed(tx: Tx, job: JobId, *, created: bool) -> Enqueued:
    row = tx.one(_LANDED_LIVE, (job,)) or tx.one(_LANDED_ENDED, (job,))
    if row is None:  # its number is taken by nobody: it was never there
        return Enqueued(job, JobState.READY, 1, created=created)
    return Enqueued(job, state_of(row[0]), row[1], created=created)
