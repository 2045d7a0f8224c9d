"""Queues and chores: holds, counts, promotion, retention, the days of the history."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from headrace.core.limits import ScopeState
from headrace.core.load import LineLoad, LoadAsked, QueueLoad, gathered
from headrace.core.model import QueueRecord
from headrace.ports.post import PUBLISHED_S
from headrace.ports.store import StoreSettings
from headrace.stores.encoding import state_of
from headrace.stores.postgres.lines import Lines
from headrace.stores.postgres.settle import woke
from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import Row, Tx

if TYPE_CHECKING:
    from headrace.core.states import JobState

_PAUSE: Final = query("queue_pause")
_QUEUES: Final = query("queues")
_COUNT_LIVE: Final = query("count_live")
_COUNT_ENDED: Final = query("count_ended")
_HISTORY_SIZE: Final = query("history_size")
_OLDEST: Final = query("oldest_ready")
_SCOPES: Final = query("scopes")
_LOAD: Final = query("load")
_PROMOTE: Final = query("promote")
_NEXT_DUE: Final = query("next_due")
_META_GET: Final = query("meta_get")
_META_PUT: Final = query("meta_put")
_LINKED: Final = query("prune_linked")
_SEEN: Final = query("prune_seen")
_RESULTS: Final = query("prune_results")
_REPLAYS: Final = query("prune_replays")
_WORKERS: Final = query("prune_workers")
_LETTERS: Final = query("prune_letters")
_PROMISES: Final = query("prune_promises")
_PUBLISHED: Final = query("prune_published")
_PRUNED_TO_PUT: Final = query("pruned_to_put")
_OTHER: Final = query("prune_other")
PRUNE_LOCK: Final = 0x5072756E  # "Prun"
_BEGIN_PRUNE: Final = "SELECT pg_try_advisory_xact_lock($1), clock_timestamp()"
_RESULTS_PRUNED_TO: Final = "results_pruned_to"
_ENDED_MAX: Final = 200_000  # ended jobs that are worth counting
_LOOK_MAX: Final = 10_000  # letters and promises at a time: old ones may be of jobs that live
_DEAR: Final = 50_000  # from so many jobs on
_SHARE: Final = 20  # so that a page which asks all the time costs at most a twentieth of a core


async def scopes(tx: Tx, names: Sequence[str]) -> list[ScopeState]:
    """Of each scope of limits how many attempts run, how far its rate is ahead, and whose turn it is."""
    found = await tx.all(_SCOPES, list(names), tx.now)
    return [ScopeState(row[0], row[1], None if row[2] is None else row[2].bytes) for row in found]


async def pause(tx: Tx, queue: str, *, paused: bool) -> None:
    """Hold or release a queue."""
    await tx.all(_PAUSE, queue, paused)
    if not paused:
        tx.hints.add(f"queue:{queue}")


class Counts:
    """How many jobs each queue has in each state; what was dear to count is told again for a while."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` measures how long counting takes."""
        self._clock = clock
        self._known: tuple[list[Row], list[Row]] = ([], [])
        self._until = 0.0

    async def queues(self, tx: Tx) -> list[QueueRecord]:
        """Every queue that has or had jobs, or was paused, by name."""
        counted, ready_for = await self._count(tx)
        held = await tx.all(_QUEUES)
        counts: dict[str, dict[JobState, int]] = {row[0]: {} for row in held}
        for name, state, jobs in counted:
            counts.setdefault(name, {})[state_of(state)] = jobs
        oldest = {name: max(0.0, round(age_s, 3)) for name, age_s in ready_for}
        return [QueueRecord(name, paused, counts[name], oldest.get(name)) for name, paused in held]

    async def _count(self, tx: Tx) -> tuple[list[Row], list[Row]]:
        started = self._clock()
        if started < self._until:
            return self._known
        counted = list(await tx.all(_COUNT_LIVE))
        size = await tx.one(_HISTORY_SIZE)
        if size is not None and size[0] <= _ENDED_MAX:
            counted += await tx.all(_COUNT_ENDED)
        known = (counted, list(await tx.all(_OLDEST, tx.now)))
        ended = self._clock()
        dear = sum(row[2] for row in counted) > _DEAR
        self._known, self._until = known, ended + (_SHARE * (ended - started) if dear else 0.0)
        return known


async def loads(tx: Tx, asked: Sequence[LoadAsked]) -> list[QueueLoad]:
    """How much waits in these queues, in order."""
    names = [each.queue for each in asked]
    most, since = [each.jobs_max for each in asked], [each.since_s for each in asked]
    lines: dict[int, list[LineLoad]] = {at: [] for at, _ in enumerate(asked)}
    held: set[int] = set()
    for at, paused, task, priority, ready, older, oldest_s, scheduled in await tx.all(
        _LOAD, tx.now, names, most, since
    ):
        if paused:
            held.add(at - 1)
        if task is not None:
            age_s = None if oldest_s is None else max(0.0, oldest_s)
            lines[at - 1].append(LineLoad(task, priority, ready, older, age_s, scheduled))
    return [gathered(name, lines[at], paused=at in held) for at, name in enumerate(names)]


async def promote(tx: Tx, lines: Lines, limit: int) -> tuple[int, float | None]:
    """Make due jobs ready, the longest due first; how many, and how long until the next is due."""
    due = await tx.all(_PROMOTE, tx.now, limit)
    for number in {row[1] for row in due}:
        woke(tx, lines, number)
    if due:
        lines.promoted()
    tx.grown += [row[0].bytes for row in due]
    row = await tx.one(_NEXT_DUE, tx.now)
    return len(due), None if row is None or row[0] is None else max(0.0, row[0])


async def prune(tx: Tx, limit: int, settings: StoreSettings) -> int:
    """Delete what is past its retention, at most `limit` rows; how many.

    Jobs that left more than their row are deleted one by one. The others count as deleted at once,
    and their rows go with their day. While another process does this, there is nothing to do.
    """
    ((mine, clock),) = await tx.all(_BEGIN_PRUNE, PRUNE_LOCK)
    if not mine:
        return 0
    now = clock if tx.now is None else tx.now
    kept_since = now - timedelta(seconds=settings.retention_s)
    count = len(await tx.all(_LINKED, kept_since, limit))
    if count < limit:
        seen = await tx.one(_SEEN, kept_since, limit - count)
        count += 0 if seen is None else seen[0]
        await tx.all(_PRUNED_TO_PUT, kept_since.isoformat())
        await tx.all(_OTHER, limit)
    if count < limit:
        count += len(await tx.all(_REPLAYS, now, limit - count))
    if count < limit and settings.result_retention_s < settings.retention_s:
        count += await _prune_results(tx, limit - count, now - timedelta(seconds=settings.result_retention_s))
    count += await _prune_post(tx, limit - count, kept_since, now)
    await tx.all(_WORKERS, kept_since)
    return count


async def _prune_post(tx: Tx, limit: int, kept_since: datetime, now: datetime) -> int:
    """What came with jobs that are gone, and ids of events that were published once, at most `limit` rows."""
    count = 0
    for sql in (_LETTERS, _PROMISES):
        if count < limit:
            count += len(await tx.all(sql, kept_since, _LOOK_MAX, limit - count))
    if count < limit:
        count += len(await tx.all(_PUBLISHED, now - timedelta(seconds=PUBLISHED_S), limit - count))
    return count


async def _prune_results(tx: Tx, limit: int, kept_since: datetime) -> int:
    before = await tx.one(_META_GET, _RESULTS_PRUNED_TO)
    start = datetime.fromtimestamp(0, UTC) if before is None else datetime.fromisoformat(before[0])
    count = len(await tx.all(_RESULTS, start, kept_since, limit))
    if count < limit:
        await tx.all(_META_PUT, _RESULTS_PRUNED_TO, kept_since.isoformat())
    return count
