"""Jobs as people see and change them: get, find, cancel, retry, edit."""

from collections.abc import Sequence
from typing import Final

from headrace.core.model import JobFilter, JobId, JobPage, Json
from headrace.core.states import JobState
from headrace.core.story import former_end, state_data
from headrace.stores.encoding import CANCELLED, FAILED, NUMBERS, RUNNING, state_of
from headrace.stores.sqlite.rows import Kept, kept
from headrace.stores.sqlite.settle import Live, finish, tell
from headrace.stores.sqlite.sql import query
from headrace.stores.sqlite.tx import MICRO, Row, Tx

_GET_LIVE: Final = query("get_live")
_GET_ENDED: Final = query("get_ended")
_FIND_LIVE: Final = query("find_live")
_FIND_RUNNING: Final = query("find_running")
_FIND_ENDED: Final = query("find_ended")
_FIND_UNHAPPY: Final = query("find_unhappy")
_BOUND_LIVE: Final = query("find_bound_live")
_BOUND_ENDED: Final = query("find_bound_ended")
_BOUND_UNHAPPY: Final = query("find_bound_unhappy")
_LIVE_BY_ID: Final = query("live_by_id")
_CANCEL_ASK: Final = query("cancel_ask")
_LANDED_ENDED: Final = query("landed_ended")
_REVIVE: Final = query("revive")
_HISTORY_DELETE: Final = query("history_delete")
_FEED_INSERT: Final = query("feed_insert")
_EDIT: Final = query("edit")

SCAN_MAX: Final = 20_000  # rows that one page of a listing looks at
_END_OF_IDS: Final = b"\xff" * 17


def get_one(tx: Tx, job: JobId, retention_s: float) -> Kept | None:
    """One job, live or ended."""
    row = tx.one(_GET_LIVE, (job,)) or tx.one(_GET_ENDED, (job,))
    return None if row is None else kept(row, tx.now, int(retention_s * MICRO))


def find(tx: Tx, where: JobFilter, after: JobId | None, limit: int, retention_s: float) -> JobPage:
    """A page of jobs, newest first; it may be short, with more to come, where few of many match."""
    start = _END_OF_IDS if after is None else after
    parts = _parts(where.state)
    rows: list[Row] = []
    floor = b""
    for sql, bound_sql in parts:
        found = tx.all(sql, (start, *_terms(where), SCAN_MAX, limit + 1))
        rows += found
        if len(found) <= limit and bound_sql:
            state = () if where.state is None or bound_sql is not _BOUND_UNHAPPY else (NUMBERS[where.state],)
            bound = tx.one(bound_sql, (start, SCAN_MAX - 1, *state))
            floor = max(floor, b"" if bound is None else bound[0])
    rows = sorted((row for row in rows if row[0] >= floor), key=lambda row: row[0], reverse=True)
    retention = int(retention_s * MICRO)
    records = tuple(kept(row, tx.now, retention).record for row in rows[:limit])
    if len(rows) > limit:
        return JobPage(records, records[-1].id)
    return JobPage(records, floor or None)


def _parts(state: JobState | None) -> list[tuple[str, str]]:
    """The statements that find jobs of this state, each with the one that tells where its scan stopped."""
    if state is None:
        return [(_FIND_LIVE, _BOUND_LIVE), (_FIND_ENDED, _BOUND_ENDED)]
    if state is JobState.RUNNING:
        return [(_FIND_RUNNING, "")]
    if not state.terminal:
        return [(_FIND_LIVE, _BOUND_LIVE)]
    if state is JobState.SUCCEEDED:
        return [(_FIND_ENDED, _BOUND_ENDED)]
    return [(_FIND_UNHAPPY, _BOUND_UNHAPPY)]


def _terms(where: JobFilter) -> Row:
    return (
        where.task,
        where.queue,
        None if where.state is None else NUMBERS[where.state],
        where.tag,
        None if where.created_after is None else int(where.created_after * MICRO),
        None if where.created_before is None else int(where.created_before * MICRO),
    )


def cancel(tx: Tx, jobs: Sequence[JobId]) -> list[JobState | None]:
    """Cancel waiting jobs at once; ask running ones to stop."""
    return [_cancel_one(tx, job) for job in jobs]


def _cancel_one(tx: Tx, job: JobId) -> JobState | None:
    row = tx.one(_LIVE_BY_ID, (job,))
    if row is None:
        return _ended_state(tx, job)
    live = Live(*row)
    if live.state == RUNNING:
        tx.run(_CANCEL_ASK, (live.n,))
        tx.hints.add("cancel")
        return JobState.RUNNING
    finish(tx, live.n, JobState.CANCELLED, (None, live.settled_fence, 0, 0, 0, 0))
    tx.grown.append(job)
    if live.fence:  # it may have had the turn of an ordered lane
        tx.hints.add(f"queue:{tx.lane_name(live.lane)[0]}")
    return JobState.CANCELLED


def _ended_state(tx: Tx, job: JobId) -> JobState | None:
    row = tx.one(_LANDED_ENDED, (job,))
    return None if row is None else state_of(row[0])


def retry(tx: Tx, jobs: Sequence[JobId], retention_s: float) -> list[JobState | None]:
    """Make failed and cancelled jobs ready again, failures and crashes counted from 0."""
    return [_retry_one(tx, job, retention_s) for job in jobs]


def _retry_one(tx: Tx, job: JobId, retention_s: float) -> JobState | None:
    job_kept = get_one(tx, job, retention_s)
    if job_kept is None:
        return None
    record = job_kept.record
    if NUMBERS[record.state] not in {FAILED, CANCELLED}:
        return record.state
    tx.run(_REVIVE, (job, tx.ledger.place(tx.now), tx.now))
    tx.run(_HISTORY_DELETE, (job,))
    end = former_end(job_kept.story)
    at = round(end.at * MICRO)
    tx.run(_FEED_INSERT, (job_kept.n, end.offset, end.kind.value, end.attempt, at, None, end.data))
    tell(tx, job_kept.n, end.offset + 1, record.attempt, state_data(JobState.READY, record.attempt))
    tx.hints.add(f"queue:{record.queue}")
    tx.grown.append(job)
    return JobState.READY


def edit(tx: Tx, job: JobId, args: Json) -> JobState | None:
    """Give a failed job other arguments; its state."""
    if tx.run(_EDIT, (job, args)):
        return JobState.FAILED
    row = tx.one(_LIVE_BY_ID, (job,))
    return _ended_state(tx, job) if row is None else state_of(row[3])
