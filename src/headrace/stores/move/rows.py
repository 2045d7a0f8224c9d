"""Rows of the file as rows of the database: what is read, and what becomes of it.

Invariant: columns are read and written in the order in which they are named here.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from asyncpg.pgproto.pgproto import UUID

Row: TypeAlias = tuple[Any, ...]

# Both begin alike, so that one function turns the common part.
_COMMON_READ: Final = """
    call.created_at, call.first_due_at, job.first_claimed_at, job.started_at, job.deadline_at, call.timeout_s, job.lane,
    job.priority, job.fence, job.settled_fence, job.attempt, job.failures, job.crashes, job.snoozes, call.max_attempts,
    job.feed_end, job.items, job.first_claim_offset, job.state, job.suspect, call.key, call.tags, call.signature,
    call.traceparent, job.failure, call.args, job_key.digest, job.worker, job.id"""
_COMMON_FROM: Final = """
    CROSS JOIN headrace_call AS call ON call.n = job.n CROSS JOIN headrace_lane AS lane ON lane.id = job.lane
    LEFT JOIN headrace_job_key AS job_key
        ON job_key.task = lane.task AND job_key.key = call.key AND job_key.job = job.id"""


def _reading(table: str, *own: str) -> str:
    return f"SELECT job.seq, job.n, {_COMMON_READ}, {', '.join(own)} FROM headrace_{table} AS job {_COMMON_FROM}"  # noqa: S608 - ours


ENDED: Final = _reading("history", "job.finished_at", "job.result")
LIVE: Final = _reading("job", "job.run_at", "job.cancelling")
_AT: Final = 2  # where the common part begins

COMMON_COLUMNS: Final = (
    "id", "created_at", "first_due_at", "first_claimed_at", "started_at", "deadline_at", "timeout_s", "line", "fence",
    "settled_fence", "attempt", "failures", "crashes", "snoozes", "max_attempts", "feed_end", "items",
    "first_claim_offset", "state", "suspect", "key", "tags", "signature", "traceparent", "failure", "args", "worker",
)  # fmt: skip
ENDED_COLUMNS: Final = (*COMMON_COLUMNS, "finished_at", "result")
LIVE_COLUMNS: Final = (*COMMON_COLUMNS, "seq", "due_at", "cancelling")

FEED: Final = (
    "SELECT n, feed_offset, attempt, at, kind, key, data FROM headrace_feed AS feed "
    "WHERE n IN (SELECT value FROM json_each(?)) ORDER BY n, feed_offset"
)
FEED_COLUMNS: Final = ("job", "feed_offset", "attempt", "at", "kind", "key", "data")
ATTEMPTS: Final = (
    "SELECT n, fence, attempt, worker, started_at, ended_at, outcome, failure FROM headrace_attempt AS attempt "
    "WHERE n IN (SELECT value FROM json_each(?)) ORDER BY n, fence"
)
ATTEMPT_COLUMNS: Final = ("job", "fence", "attempt", "worker", "started_at", "ended_at", "outcome", "failure")

_SUCCEEDED: Final = 3
_SCHEDULED: Final = 0
_PLAIN_END: Final = 3  # where the feed of a job ends that succeeded at once: its row tells all of it
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """What a row of a live or ended job refers to."""

    lane: int
    priority: int
    worker: int | None
    key: str | None
    digest: str | None


def place(row: Row) -> Place:
    """Of a row of `LIVE` or `ENDED`."""
    return Place(row[_AT + 6], row[_AT + 7], row[_AT + 27], row[_AT + 20], row[_AT + 26])


def identity(row: Row) -> UUID:
    """The job's id."""
    return UUID(row[_AT + 28])


def made(row: Row) -> int:
    """When the job was, in microseconds since the epoch."""
    return int(row[_AT])


def size(row: Row) -> int:
    """About how many bytes it has."""
    long = (row[_AT + 24], row[_AT + 25], row[-1])
    return 300 + sum(len(text) for text in long if isinstance(text, str))


def has_more(row: Row) -> bool:
    """Whether updates or attempts may be kept beside the row."""
    return not (row[_AT + 18] == _SUCCEEDED and row[_AT + 15] == _PLAIN_END)


def common(row: Row, line: int, worker: int | None) -> Row:
    """The columns that live and ended jobs share; `line` and `worker` are the database's numbers."""
    c = row[_AT:]
    return (
        UUID(c[28]), at(c[0]), when(c[1]), when(c[2]), when(c[3]), when(c[4]), c[5], line, *c[8:20], c[20],
        None if c[21] is None else json.loads(c[21]), *c[22:26], worker,
    )  # fmt: skip


def ended(row: Row, line: int, worker: int | None) -> Row:
    """An ended job, in the order of `ENDED_COLUMNS`."""
    return (*common(row, line, worker), at(row[-2]), row[-1])


def live(row: Row, line: int, worker: int | None) -> Row:
    """A live job, in the order of `LIVE_COLUMNS`; its place in line says since when a ready one is ready."""
    run_at = row[-2] if row[_AT + 18] == _SCHEDULED else row[0]
    return (*common(row, line, worker), row[0], when(run_at), bool(row[-1]))


def update(row: Row, job: UUID) -> Row:
    """An update, in the order of `FEED_COLUMNS`."""
    return (job, row[1], row[2], at(row[3]), *row[4:])


def attempt(row: Row, job: UUID, worker: int | None) -> Row:
    """An attempt, in the order of `ATTEMPT_COLUMNS`."""
    return (job, row[1], row[2], worker, at(row[4]), at(row[5]), *row[6:])


def at(micros: int) -> datetime:
    """An instant, to the microsecond."""
    return _EPOCH + timedelta(microseconds=micros)


def when(micros: int | None) -> datetime | None:
    """An instant that may not be."""
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)


Turn: TypeAlias = Callable[[Row, int, int | None], Row]
