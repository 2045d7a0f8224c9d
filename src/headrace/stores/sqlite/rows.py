"""Rows of the tables as the values of `core.model`, and back."""

import json
from dataclasses import dataclass
from typing import Any

from headrace.core.model import JobRecord, Json, Suspicion, Update, UpdateKind
from headrace.core.states import JobState
from headrace.core.story import Story
from headrace.stores.encoding import failure_of, state_of
from headrace.stores.sqlite.tx import MICRO, Row


def seconds(micros: int | None) -> float | None:
    """An instant as the contract speaks of it."""
    return None if micros is None else micros / MICRO


def tags_of(text: Json | None) -> tuple[str, ...]:
    """Kept tags."""
    return () if text is None else tuple(json.loads(text))


@dataclass(frozen=True, slots=True)
class Kept:
    """A job as read: its record, and what its feed needs besides."""

    n: int
    record: JobRecord
    story: Story


def kept(row: Row, now: int, result_retention: int) -> Kept:
    """From a row of `get_live`, `get_ended` or a page of `find`; `now` in microseconds."""
    state = state_of(row[3])
    finished_at: int | None = row[19]
    result: Json | None = row[24]
    expired = (
        state is JobState.SUCCEEDED
        and finished_at is not None
        and (result is None or finished_at + result_retention <= now)
    )
    result = None if expired else result
    failure = failure_of(row[25])
    record = JobRecord(
        id=row[0], task=row[1], queue=row[2], state=state, args=row[4], priority=row[5], key=row[6],
        tags=tags_of(row[7]), attempt=row[8], failures=row[9], crashes=row[10], snoozes=row[11],
        max_attempts=row[12], fence=row[13], offset=row[14], timeout_s=row[15], created_at=row[16] / MICRO,
        run_at=seconds(row[17]), started_at=seconds(row[18]), finished_at=seconds(finished_at),
        deadline_at=seconds(row[20]), worker=row[21], suspect=Suspicion(row[22]), cancelling=bool(row[23]),
        result=result, failure=failure, progress=row[26], result_expired=expired,
    )  # fmt: skip
    story = Story(
        state=state,
        attempt=record.attempt,
        offset=record.offset,
        created_at=record.created_at,
        first_due_at=seconds(row[28]),
        first_claimed_at=seconds(row[29]),
        first_claim_offset=row[30],
        finished_at=record.finished_at,
        result=result,
        failure=failure,
        result_expired=expired,
    )
    return Kept(row[27], record, story)


def update_of(row: tuple[int, str, int, str, int]) -> Update:
    """From a row of `feed_read`."""
    return Update(row[0], UpdateKind(row[1]), row[2], row[3], row[4] / MICRO)


def progress_of(row: Any) -> Update:
    """From a row of `progress_read`."""
    return Update(row[0], UpdateKind.PROGRESS, row[1], row[2], row[3] / MICRO)
