"""Rows of the tables as the values of `core.model`."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from headrace.core.model import JobRecord, Json, Suspicion, Update, UpdateKind
from headrace.core.states import JobState
from headrace.core.story import Story
from headrace.stores.encoding import failure_of, state_of
from headrace.stores.postgres.tx import Row, seconds

_MICRO: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Kept:
    """A job as read: its record, and what its feed needs besides."""

    record: JobRecord
    story: Story


def kept(row: Row, now: datetime | None, result_retention_s: float) -> Kept:
    """From a row of `get` or a page of `find`; `now` is the store's clock, None: the database's, in the row."""
    state = state_of(row[3])
    finished_at = row[19]
    result: Json | None = row[24]
    at: datetime = row[30] if now is None else now
    expired = (
        state is JobState.SUCCEEDED
        and finished_at is not None
        and (result is None or finished_at + timedelta(seconds=result_retention_s) <= at)
    )
    result = None if expired else result
    failure = failure_of(row[25])
    created_at: float = row[16].timestamp()
    record = JobRecord(
        id=row[0].bytes, task=row[1], queue=row[2], state=state, args=row[4], priority=row[5], key=row[6],
        tags=tuple(row[7] or ()), attempt=row[8], failures=row[9], crashes=row[10], snoozes=row[11],
        max_attempts=row[12], fence=row[13], offset=row[14], timeout_s=row[15], created_at=created_at,
        run_at=seconds(row[17]), started_at=seconds(row[18]), finished_at=seconds(finished_at),
        deadline_at=seconds(row[20]), worker=row[21], suspect=Suspicion(row[22]), cancelling=row[23],
        result=result, failure=failure, progress=row[26], result_expired=expired,
    )  # fmt: skip
    story = Story(
        state=state,
        attempt=record.attempt,
        offset=record.offset,
        created_at=created_at,
        first_due_at=seconds(row[27]),
        first_claimed_at=seconds(row[28]),
        first_claim_offset=row[29],
        finished_at=record.finished_at,
        result=result,
        failure=failure,
        result_expired=expired,
    )
    return Kept(record, story)


def updates_of(text: Json | None) -> list[Update]:
    """From the last column of `read_updates`."""
    rows: list[tuple[int, str, int, str, int]] = [] if text is None else json.loads(text)
    return [Update(offset, UpdateKind(kind), attempt, data, at / _MICRO) for offset, kind, attempt, data, at in rows]
