"""The memory store: the contract of `ports.store` at its plainest.

Invariant: every verb runs whole under one lock, so that each is a transaction; nothing awaits.
"""

import secrets
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from headrace.core.errors import Conflict, StoreUnavailable, UsageError
from headrace.core.limits import ScopeState
from headrace.core.load import LoadAsked, QueueLoad
from headrace.core.model import (
    AttemptRecord,
    ClaimRequest,
    Enqueued,
    Exchanged,
    FeedPage,
    FeedWrite,
    JobFilter,
    JobId,
    JobPage,
    JobRecord,
    Json,
    Lease,
    NewJob,
    QueueRecord,
    Reaped,
    Renewed,
    Settle,
    SettleResult,
    Update,
    UpdateKind,
    WorkerId,
    WorkerRecord,
)
from headrace.core.outcomes import judge_crash
from headrace.core.states import TRANSITIONS, JobEvent, JobState
from headrace.core.story import tell
from headrace.ports.store import Amendment, Capabilities, Joined, StoreSettings
from headrace.stores.memory.board import Board
from headrace.stores.memory.chores import prune, queue_load, queue_records, worker_records
from headrace.stores.memory.post import MemoryPost
from headrace.stores.memory.rows import Key, Row, Worker

T = TypeVar("T")
FEED_FULL = -1


class MemoryStore(MemoryPost):
    """Jobs in this process's memory; they end with the process."""

    capabilities = Capabilities(durable=False, shared=False, joins=False)

    def __init__(
        self,
        settings: StoreSettings | None = None,
        *,
        wall: Callable[[], float],
        notify: Callable[[Iterable[str]], None] | None = None,
        wants: Callable[[str], bool] | None = None,
    ) -> None:
        """`wall` tells seconds since the epoch; `notify` and `wants` are a notifier's."""
        super().__init__(wall)
        self._settings = settings if settings is not None else StoreSettings()
        self._board = Board(self._settings)
        self._notify = notify
        self._wants = wants
        self._open = False
        self.epoch = secrets.token_hex(4)

    async def open(self) -> None:
        """Ready at once."""
        self._open = True

    async def close(self) -> None:
        """Refuse further work; what is in memory stays for another `open`."""
        self._open = False

    @contextmanager
    def _transaction(self) -> Generator[tuple[Board, float]]:
        """The board and the instant of this verb; its hints go out when the lock is free again."""
        if not self._open:
            raise StoreUnavailable("the memory store is not open")
        with self._lock:
            yield self._board, self._wall()
            hints = self._board.take_hints()
        if self._notify is not None:
            wants_jobs = self._wants is None or self._wants("job:")
            wanted = [hint for hint in hints if wants_jobs or not hint.startswith("job:")]
            if wanted:
                self._notify(wanted)

    # -- jobs ---------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """Add jobs, all or none; an id or a live key that was seen before adds nothing."""
        with self._transaction() as (board, now):
            keys: dict[tuple[str, str], Key] = {}
            coming: set[JobId] = set()
            landed: list[JobId] = []
            for job in jobs:
                known = job.id in coming or job.id in board.rows
                landed.append(job.id if known else self._landing(board, keys, job, now))
                coming.add(landed[-1])
            answers: list[Enqueued] = []
            for job, at in zip(jobs, landed, strict=True):
                row, created = board.rows.get(at), False
                if row is None:
                    row, created = board.add(job, now), True
                answers.append(Enqueued(row.job.id, row.state, row.offset, created))
            board.keys.update(keys)
            return answers

    def _landing(self, board: Board, keys: dict[tuple[str, str], Key], job: NewJob, now: float) -> JobId:
        """The id that a new job lands on; `keys` are those that the batch takes."""
        if job.key is None:
            return job.id
        name = (job.task, job.key)
        held = keys.get(name, board.keys.get(name))
        if held is None or (held.expires_at is not None and held.expires_at <= now):
            keys[name] = Key(job.id, job.key_digest)
            return job.id
        if held.digest != job.key_digest:
            message = f"the key {job.key!r} of task {job.task!r} belongs to a job with other arguments"
            raise Conflict(message, held.id)
        return held.id

    async def exchange(self, worker: WorkerId, settles: Sequence[Settle], claim: ClaimRequest | None) -> Exchanged:
        """Settle ended attempts, then claim."""
        with self._transaction() as (board, now):
            settled = tuple(self._settle(board, settle, now) for settle in settles)
            known = board.workers.get(worker)
            rows, more, next_start_s = list[Row](), False, None
            if claim is not None and known is not None:
                rows, more, next_start_s = board.claim(known, claim, now)
            claimed = tuple(row.claimed(now) for row in rows)
            return Exchanged(settled, claimed, board.next_due_s(now), more, next_start_s)

    def _settle(self, board: Board, settle: Settle, now: float) -> SettleResult:
        row = board.rows.get(settle.id)
        if row is None:
            return SettleResult.LOST
        if row.settled_fence == settle.fence:
            return SettleResult.REPEATED
        if row.state is not JobState.RUNNING or row.fence != settle.fence:
            return SettleResult.LOST
        board.settle(row, settle.outcome, now)
        return SettleResult.SETTLED

    async def reconcile(self, worker: WorkerId, held: Sequence[Lease]) -> int:
        """Give back what this worker was given and does not know of."""
        with self._transaction() as (board, now):
            known, leases = board.workers.get(worker), set(held)
            rows = [] if known is None else list(known.running.values())
            unknown = [row for row in rows if Lease(row.job.id, row.fence) not in leases]
            for row in unknown:
                board.give_back(row, now, started=False)
            return len(unknown)

    async def append(self, writes: Sequence[FeedWrite]) -> list[int | None]:
        """Add items, logs and progress to feeds of running jobs."""
        with self._transaction() as (board, now):
            return [self._append(board, write, now) for write in writes]

    def _append(self, board: Board, write: FeedWrite, now: float) -> int | None:
        row = board.rows.get(write.id)
        if row is None or row.state is not JobState.RUNNING or row.fence != write.fence:
            return None
        if write.kind is UpdateKind.PROGRESS:
            row.progress = Update(row.offset, UpdateKind.PROGRESS, row.attempt, write.data, now)
        elif write.key is not None and write.key in row.emitted:
            return row.emitted[write.key]
        elif row.items >= self._settings.items_max:
            return FEED_FULL
        else:
            row.items += 1
            row.keep(write.kind, write.data, now)
            if write.key is not None:
                row.emitted[write.key] = row.offset
        board.grown.add(row.job.id)
        return row.offset

    async def get(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """The jobs, in order; None for unknown ones."""
        with self._transaction() as (board, now):
            rows = [board.rows.get(job_id) for job_id in ids]
            return [None if row is None else self._record(row, now) for row in rows]

    async def find(self, where: JobFilter, *, after: JobId | None = None, limit: int = 50) -> JobPage:
        """Jobs that match, newest first, live and ended."""
        with self._transaction() as (board, now):
            end = len(board.ids) if after is None else bisect_left(board.ids, after)
            older = (board.rows[board.ids[at]] for at in range(end - 1, -1, -1))
            rows = list(islice((row for row in older if _matches(row, where)), limit + 1))
            jobs = tuple(self._record(row, now) for row in rows[:limit])
            return JobPage(jobs, jobs[-1].id if len(rows) > limit else None)

    async def attempts(self, job: JobId) -> list[AttemptRecord]:
        """Every attempt of one job, in order; the running one last."""
        with self._transaction() as (board, _):
            row = board.rows.get(job)
            return [] if row is None else list(row.attempts)

    async def read_updates(self, job: JobId, after: int, limit: int) -> FeedPage | None:
        """Up to `limit` updates with offsets above `after`, in order; None: unknown job."""
        with self._transaction() as (board, now):
            row = board.rows.get(job)
            if row is None:
                return None
            story = row.story(now, self._settings.result_retention_s)
            return FeedPage(self.epoch, row.offset, tell(story, row.kept, after, limit), row.progress, row.state)

    async def offsets(self, jobs: Sequence[JobId]) -> dict[JobId, int]:
        """Where these feeds end now; unknown ones are left out."""
        with self._transaction() as (board, _):
            return {job_id: board.rows[job_id].offset for job_id in jobs if job_id in board.rows}

    async def cancel(self, jobs: Sequence[JobId]) -> list[JobState | None]:
        """Cancel waiting jobs at once; ask running ones to stop."""
        with self._transaction() as (board, now):
            return [self._change(board, job_id, now, board.cancel) for job_id in jobs]

    async def retry(self, jobs: Sequence[JobId]) -> list[JobState | None]:
        """Make failed and cancelled jobs ready again."""
        with self._transaction() as (board, now):

            def revive(row: Row, now: float) -> None:
                if (row.state, JobEvent.REVIVE) in TRANSITIONS:
                    board.revive(row, now)

            return [self._change(board, job_id, now, revive) for job_id in jobs]

    def _change(self, board: Board, job_id: JobId, now: float, change: Callable[[Row, float], None]) -> JobState | None:
        row = board.rows.get(job_id)
        if row is None:
            return None
        change(row, now)
        return row.state

    async def edit(self, job: JobId, args: Json) -> JobState | None:
        """Give a failed job other arguments."""
        with self._transaction() as (board, _):
            row = board.rows.get(job)
            if row is None:
                return None
            if row.state is JobState.FAILED:
                row.job = replace(row.job, args=args)
            return row.state

    def join(self, using: object) -> Joined:
        """Refuse: there is no database to share a transaction with."""
        raise UsageError(
            f"using={type(using).__name__}: the memory store has no transactions to join; "
            "open the application on a database (for example sqlite:///headrace.db) to use `using=`"
        )

    def _record(self, row: Row, now: float) -> JobRecord:
        return row.record(now, self._settings.result_retention_s)

    # -- workers ------------------------------------------------------------------------------

    async def register(self, worker: WorkerRecord, lease_s: float) -> None:
        """Make the worker known and give it its lease; again for changes."""
        with self._transaction() as (board, now):
            known = board.workers.get(worker.id)
            if known is None:
                board.workers[worker.id] = Worker(worker, now + lease_s)
            else:
                known.record, known.lease_ends_at = worker, now + lease_s

    async def renew(self, worker: WorkerId, lease_s: float) -> Renewed:
        """Extend the lease and read the cancels; a lease that ended stays ended."""
        with self._transaction() as (board, now):
            known = board.workers.get(worker)
            if known is None or known.lease_ends_at <= now:
                return Renewed((), lost=True)
            known.lease_ends_at = now + lease_s
            return Renewed(tuple(Lease(row.job.id, row.fence) for row in known.running.values() if row.cancelling))

    async def unregister(self, worker: WorkerId) -> None:
        """The worker ended in order: jobs that it still held are given back."""
        with self._transaction() as (board, now):
            known = board.workers.get(worker)
            if known is not None:
                for row in list(known.running.values()):
                    board.give_back(row, now, started=True)
                del board.workers[worker]

    async def reap(self, dead: Sequence[WorkerId] = ()) -> Reaped:
        """Free the jobs of workers that are known `dead` or whose lease ended."""
        with self._transaction() as (board, now):
            named = set(dead)
            gone = [w for w in board.workers.values() if w.record.id in named or w.lease_ends_at <= now]
            freed = [row for worker in gone for row in list(worker.running.values())]
            for row in freed:
                self._crash(board, row, now)
            for worker in gone:
                del board.workers[worker.record.id]
            return Reaped(
                workers=tuple(worker.record.id for worker in gone),
                jobs=tuple(row.job.id for row in freed),
                suspects=sum(bool(row.suspect) and not row.state.terminal for row in freed),
                quarantined=sum(row.state is JobState.FAILED for row in freed),
            )

    def _crash(self, board: Board, row: Row, now: float) -> None:
        verdict = judge_crash(
            suspect=row.suspect,
            crashes=row.crashes,
            cancelling=row.cancelling,
            crashes_max=self._settings.crashes_max,
            backoff_s=self._settings.crash_backoff_s,
        )
        board.end_attempt(row, verdict, now)

    async def workers(self) -> list[WorkerRecord]:
        """Every worker that is registered, with what it runs now."""
        with self._transaction() as (board, now):
            return worker_records(board, now)

    # -- queues and chores --------------------------------------------------------------------

    async def queues(self) -> list[QueueRecord]:
        """Every queue that has or had jobs, or was paused, by name."""
        with self._transaction() as (board, now):
            return queue_records(board, now)

    async def scopes(self, names: Sequence[str]) -> list[ScopeState]:
        """Of each scope of limits how many attempts run, how far its rate is ahead, and whose turn it is."""
        with self._transaction() as (board, now):
            found = [board.limits.state(name) for name in names]
            return [ScopeState(running, None if at is None else at - now, holder) for running, at, holder in found]

    async def loads(self, asked: Sequence[LoadAsked]) -> list[QueueLoad]:
        """How much waits in these queues, in order."""
        with self._transaction() as (board, now):
            return [queue_load(board, each, now) for each in asked]

    async def pause(self, queue: str, *, paused: bool) -> None:
        """Hold or release a queue."""
        with self._transaction() as (board, _):
            board.queues[queue] = paused
            if not paused:
                board.hints.add(f"queue:{queue}")

    async def promote(self, limit: int) -> tuple[int, float | None]:
        """Make due jobs ready; how many, and how long until the next is due."""
        with self._transaction() as (board, now):
            return board.promote(limit, now), board.next_due_s(now)

    async def prune(self, limit: int) -> int:
        """Delete what is past its retention, at most `limit` rows; how many."""
        with self._transaction() as (board, now):
            pruned = prune(board, now, limit)
            pruned += self._prune_replays(now, limit - pruned)
            return pruned + self._prune_post(now, limit - pruned)

    # -- upstreams ------------------------------------------------------------------------------

    async def upstreams(self) -> tuple[float, Mapping[str, Json]]:
        """Every upstream's document, and the instant."""
        with self._transaction() as (board, now):
            return now, dict(board.upstreams)

    async def amend(self, upstream: str, change: Callable[[Json | None, float], Amendment[T]]) -> T:
        """Turn an upstream's document into the next."""
        with self._transaction() as (board, now):
            amendment = change(board.upstreams.get(upstream), now)
            if amendment.document is not None:
                board.upstreams[upstream] = amendment.document
            if amendment.tell:
                board.hints.add("upstream")
            return amendment.answer


def _matches(row: Row, where: JobFilter) -> bool:
    return (
        (where.task is None or row.job.task == where.task)
        and (where.queue is None or row.job.queue == where.queue)
        and (where.state is None or row.state is where.state)
        and (where.tag is None or where.tag in row.job.tags)
        and (where.created_after is None or row.created_at >= where.created_after)
        and (where.created_before is None or row.created_at < where.created_before)
    )
