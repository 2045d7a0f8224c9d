"""Jobs as people see and change them: get, find, cancel, retry, edit."""

from collections.abc import Sequence
from typing import Final

from asyncpg.pgproto.pgproto import UUID

from headrace.core.model import JobFilter, JobId, JobPage, JobRecord, Json
from headrace.core.states import JobState
from headrace.core.story import former_end, state_data
from headrace.stores.encoding import NUMBERS, RUNNING, state_of
from headrace.stores.postgres.rows import Kept, kept
from headrace.stores.postgres.sql import query, within
from headrace.stores.postgres.tx import Row, Tx, instant

_GET: Final = query("get")
_FIND_LIVE: Final = query("find_live")
_FIND_ENDED: Final = query("find_ended")
_FIND: Final = f"({_FIND_LIVE}) UNION ALL ({_FIND_ENDED})"  # one look, lest a job that ends be seen twice or never
# By the indexes that have only them; OFFSET keeps off the walk of all ids.
_FIND_RUNNING: Final = within(
    _FIND_LIVE, "headrace_job AS job", "(SELECT * FROM headrace_job WHERE state = 2 OFFSET 0) AS job"
)
# The sum keeps off the walk of all that failed by their time: with old statistics, they would look like a handful.
_FIND_UNHAPPY: Final = within(
    within(_FIND_ENDED, "($4::smallint IS NULL OR state = $4)", "state > 3 AND state = $4::smallint"),
    "finished_at > headrace_pruned_to()",
    "finished_at + interval '0' > headrace_pruned_to()",
)
_LOCK: Final = query("live_lock")
_CANCEL_ASK: Final = query("cancel_ask")
_CANCEL_WAITING: Final = query("cancel_waiting")
_STATES: Final = query("states")
_HISTORY_LOCK: Final = query("history_lock")
_REVIVE: Final = query("revive")
_FEED_INSERT: Final = query("feed_insert")
_EDIT: Final = query("edit")

_SCANNED: Final = 31  # the column that the last row of a scan has alone
SCAN_MAX: Final = 20_000  # rows that one page of a listing looks at
SCAN_FIRST: Final = 8  # for each one wanted, of which most often enough match; only where not, SCAN_MAX are looked at
_END_OF_IDS: Final = UUID(b"\xff" * 16)
_START_OF_IDS: Final = bytes(16)


async def get(tx: Tx, ids: Sequence[JobId], retention_s: float) -> list[Kept | None]:
    """Jobs, live or ended, in order."""
    rows = await tx.all(_GET, [UUID(id_) for id_ in ids])
    found = {row[0].bytes: kept(row, tx.now, retention_s) for row in rows}
    return [found.get(id_) for id_ in ids]


async def find(tx: Tx, where: JobFilter, after: JobId | None, limit: int, retention_s: float) -> JobPage:
    """A page of jobs, newest first; it may be short, with more to come, where few of many match."""
    start = _END_OF_IDS if after is None else UUID(after)
    state = None if where.state is None else NUMBERS[where.state]
    terms = (
        where.task,
        where.queue,
        state,
        where.tag,
        None if where.created_after is None else instant(where.created_after),
        None if where.created_before is None else instant(where.created_before),
    )
    few = min(SCAN_FIRST * (limit + 1), SCAN_MAX)
    page = _page(tx, await tx.all(_statement(where.state), start, *terms, few, limit + 1), few, limit, retention_s)
    if len(page.jobs) == limit or page.next_after is None:
        return page
    rows = await tx.all(_statement(where.state), start, *terms, SCAN_MAX, limit + 1)
    return _page(tx, rows, SCAN_MAX, limit, retention_s)


def _statement(state: JobState | None) -> str:
    if state is None:
        return _FIND
    if not state.terminal:
        return _FIND_RUNNING if state is JobState.RUNNING else _FIND_LIVE
    return _FIND_ENDED if state is JobState.SUCCEEDED else _FIND_UNHAPPY


def _page(tx: Tx, rows: Sequence[Row], scan: int, limit: int, retention_s: float) -> JobPage:
    records: list[JobRecord] = []
    floor, found = _START_OF_IDS, 0
    for row in rows:
        if row[_SCANNED] is None:
            records.append(kept(row, tx.now, retention_s).record)
            found += 1
            continue
        if row[_SCANNED] >= scan and found <= limit:
            floor = max(floor, row[0].bytes)
        found = 0
    records = sorted((record for record in records if record.id >= floor), key=lambda record: record.id, reverse=True)
    if len(records) > limit:
        return JobPage(tuple(records[:limit]), records[limit - 1].id)
    return JobPage(tuple(records), None if floor == _START_OF_IDS else floor)


async def cancel(tx: Tx, jobs: Sequence[JobId]) -> list[JobState | None]:
    """Cancel waiting jobs at once; ask running ones to stop."""
    rows = await tx.all(_LOCK, [UUID(id_) for id_ in jobs])
    live = {row[0].bytes: row[2] for row in rows}
    running = [id_ for id_, state in live.items() if state == RUNNING]
    waiting = [id_ for id_, state in live.items() if state != RUNNING]
    if running:
        await tx.all(_CANCEL_ASK, [UUID(id_) for id_ in running])
        tx.hints.add("cancel")
    if waiting:
        await tx.all(_CANCEL_WAITING, [UUID(id_) for id_ in waiting], tx.now)
        tx.grown += waiting
    if any(row[2] != RUNNING and row[5] for row in rows):  # one that has started may have had the turn of a lane
        tx.hints.add("queue:")
    return await states(tx, jobs)


async def states(tx: Tx, jobs: Sequence[JobId]) -> list[JobState | None]:
    """The states of jobs, in order; None for unknown ones."""
    found = {row[0].bytes: state_of(row[1]) for row in await tx.all(_STATES, [UUID(id_) for id_ in jobs])}
    return [found.get(id_) for id_ in jobs]


async def retry(tx: Tx, jobs: Sequence[JobId], retention_s: float) -> list[JobState | None]:
    """Make failed and cancelled jobs ready again, failures and crashes counted from 0."""
    return [await _retry_one(tx, job, retention_s) for job in jobs]


async def _retry_one(tx: Tx, job: JobId, retention_s: float) -> JobState | None:
    if await tx.one(_HISTORY_LOCK, UUID(job)) is None:
        return (await states(tx, [job]))[0]
    (found,) = await get(tx, [job], retention_s)
    revived = None if found is None else await tx.one(_REVIVE, UUID(job), tx.now)
    if found is None or revived is None:
        return (await states(tx, [job]))[0]
    record = found.record
    end = former_end(found.story)
    attempt = record.attempt
    data = state_data(JobState.READY, attempt)
    await tx.all(
        _FEED_INSERT,
        [UUID(job)] * 2,
        [end.offset, end.offset + 1],
        [end.kind.value, "state"],
        [end.attempt, attempt],
        [instant(end.at), revived[1]],
        [None, None],
        [end.data, data],
    )
    tx.hints.add(f"queue:{record.queue}")
    tx.grown.append(job)
    return JobState.READY


async def edit(tx: Tx, job: JobId, args: Json) -> JobState | None:
    """Give a failed job other arguments; its state."""
    if await tx.all(_EDIT, UUID(job), args):
        return JobState.FAILED
    return (await states(tx, [job]))[0]
