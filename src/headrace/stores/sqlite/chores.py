"""Queues and chores: holds, counts, promotion, retention."""

from collections.abc import Callable
from typing import Final

from headrace.core.model import QueueRecord
from headrace.core.states import JobState
from headrace.core.story import state_data
from headrace.ports.post import PUBLISHED_S
from headrace.ports.store import StoreSettings
from headrace.stores.encoding import state_of
from headrace.stores.sqlite.incoming import FORGET_SEEN
from headrace.stores.sqlite.outbox import PUBLISHED
from headrace.stores.sqlite.sql import query
from headrace.stores.sqlite.tx import MICRO, Row, Tx

_PAUSE: Final = query("queue_pause")
_QUEUES: Final = query("queues")
_COUNTS: Final = (query("count_live"), query("count_ended"))
_OLDEST: Final = query("oldest_ready")
_DUE: Final = query("due")
_PROMOTE: Final = query("promote")
_NEXT_DUE: Final = query("next_due")
_FEED_INSERT: Final = query("feed_insert")
_PICK: Final = query("prune_pick")
_FORGET: Final = tuple(query(f"prune_{table}") for table in ("call", "progress", "feed", "attempt"))
_FORGET_KEY: Final = query("prune_key")
_FORGET_LETTER: Final = query("prune_letter")
_FORGET_PROMISES: Final = query("prune_promise")
_FORGET_HISTORY: Final = query("prune_history")
_RESULTS_PICK: Final = query("prune_results_pick")
_RESULTS: Final = query("prune_results")
_REPLAYS: Final = query("prune_replays")
_WORKERS: Final = query("prune_workers")
_META_GET: Final = query("meta_get")
_META_PUT: Final = query("meta_put")
_RESULTS_PRUNED: Final = "results_pruned"
_DEAR_S: Final = 0.05  # from about 100,000 jobs on
_SHARE: Final = 20  # so that a page which asks all the time costs at most a twentieth of a core


def pause(tx: Tx, queue: str, *, paused: bool) -> None:
    """Hold or release a queue."""
    tx.run(_PAUSE, (queue, int(paused)))
    if not paused:
        tx.hints.add(f"queue:{queue}")


class Counts:
    """How many jobs each queue has in each state; what was dear to count is told again for a while."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` measures how long counting takes."""
        self._clock = clock
        self._known: tuple[list[Row], list[Row]] = ([], [])
        self._until = 0.0

    def queues(self, tx: Tx) -> list[QueueRecord]:
        """Every queue that has or had jobs, or was paused, by name."""
        counted, ready_since = self._count(tx)
        held = tx.all(_QUEUES)
        counts: dict[str, dict[JobState, int]] = {name: {} for name, _ in held}
        for name, state, jobs in counted:
            counts[name][state_of(state)] = jobs
        # A place in line is its microsecond, made to rise: milliseconds of it are true.
        oldest = {name: max(0.0, round((tx.now - since) / MICRO, 3)) for name, since in ready_since}
        return [QueueRecord(name, bool(paused), counts[name], oldest.get(name)) for name, paused in held]

    def _count(self, tx: Tx) -> tuple[list[Row], list[Row]]:
        started = self._clock()
        if started < self._until:
            return self._known
        known = ([row for sql in _COUNTS for row in tx.all(sql)], tx.all(_OLDEST))
        ended = self._clock()
        cost = ended - started
        self._known, self._until = known, ended + (_SHARE * cost if cost > _DEAR_S else 0.0)
        return known


def promote(tx: Tx, limit: int) -> tuple[int, float | None]:
    """Make due jobs ready, the longest due first; how many, and how long until the next is due."""
    due = tx.all(_DUE, (tx.now, limit))
    if due:
        data: dict[int, str] = {}
        for _, _, _, attempt, _ in due:
            data.setdefault(attempt, state_data(JobState.READY, attempt))
        tx.many(_PROMOTE, [(row[0], tx.ledger.place(tx.now)) for row in due])
        tx.many(
            _FEED_INSERT,
            [(n, end + 1, "state", attempt, tx.now, None, data[attempt]) for n, _, _, attempt, end in due],
        )
        tx.hints.update(f"queue:{tx.lane_name(lane)[0]}" for lane in {row[2] for row in due})
        tx.grown += [row[1] for row in due]
    return len(due), next_due_s(tx)


def next_due_s(tx: Tx) -> float | None:
    """How long until the next scheduled job is due; None: none is scheduled."""
    row = tx.one(_NEXT_DUE)
    return None if row is None or row[0] is None else max(0.0, (row[0] - tx.now) / MICRO)


def prune(tx: Tx, limit: int, settings: StoreSettings) -> int:
    """Delete what is past its retention, at most `limit` rows; how many."""
    kept_since = tx.now - int(settings.retention_s * MICRO)
    old = [row for row in tx.all(_PICK, (limit,)) if row[3] <= kept_since]
    for seq, n, job, _, lane in old:
        tx.run(_FORGET_KEY, (n, lane, job))
        tx.run(_FORGET_LETTER, (job,))
        tx.run(_FORGET_PROMISES, (job,))
        for sql in _FORGET:
            tx.run(sql, (n,))
        tx.run(_FORGET_HISTORY, (seq,))
    count = len(old)
    if count < limit:
        count += tx.run(_REPLAYS, (tx.now, limit - count))
    if count < limit and settings.result_retention_s < settings.retention_s:
        count += _prune_results(tx, limit - count, tx.now - int(settings.result_retention_s * MICRO))
    if count < limit:
        count += tx.run(FORGET_SEEN, (PUBLISHED, tx.now - int(PUBLISHED_S * MICRO), limit - count))
    tx.run(_WORKERS, (kept_since,))
    return count


def _prune_results(tx: Tx, limit: int, kept_since: int) -> int:
    row = tx.one(_META_GET, (_RESULTS_PRUNED,))
    last = 0 if row is None else int(row[0])
    old = [seq for seq, finished_at in tx.all(_RESULTS_PICK, (last, limit)) if finished_at <= kept_since]
    if old:
        tx.many(_RESULTS, [(seq,) for seq in old])
        tx.run(_META_PUT, (_RESULTS_PRUNED, str(max(old))))
    return len(old)
