"""The store: the truth about jobs. Few verbs, each over a batch, each in one durable transaction.

Rules for every implementation:

- *Durations cross this seam, instants do not*: the store owns wall time. (`run_at` and
  `deadline_at` are instants that a user named, or that a parent job carried.)
- A verb that returned is durable at the store's stated durability. One that raised
  `StoreUnavailable` was written wholly or not at all, and repeating it is safe: `enqueue` by the
  caller's ids, `exchange` by the fences.
- A verb returns or raises within a time that the adapter bounds (waiting for locks and for the network
  included). Only a worker's `exchange` has a second bound above it, since a worker must not stand still.
- Every claim raises the job's fence. `(id, fence)` guards settle and append; a fence is never reused.
- One bad entry of a batch never holds up the others.
- Calls may come from any event loop and are safe to cancel: the write then happens or not, and a
  claim whose answer nobody took is given back by `reconcile`, or ends with the worker's lease.
- The transition table of `core.states` is law; `core.outcomes` decides what becomes of an ended
  attempt, and `core.story` tells the updates that need no feed row.
- A job that somebody asked to cancel never waits again: where its attempt's end (retry, snooze,
  give-back, crash) would send it back to wait, the job ends as cancelled.
- A job that becomes ready (again) takes the last place of its lane, behind equal priorities.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from headrace.core.event import Event
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
    WorkerId,
    WorkerRecord,
)
from headrace.core.states import JobState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can do beyond the contract; asked, never guessed."""

    durable: bool  # survives the process
    shared: bool  # other processes can open it
    joins: bool  # `join` accepts a user's connection


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Retention and bounds, all finite; defaults are documented in the settings reference."""

    retention_s: float = 7 * 86_400.0  # of ended jobs, their attempts and feeds
    result_retention_s: float = 7 * 86_400.0  # of results; afterwards `result_expired`
    key_retention_s: float = 86_400.0  # of keys after their job ended
    items_max: int = 10_000  # items and logs of one job's feed
    crashes_max: int = 3  # alone, before quarantine
    crash_backoff_s: float = 1.0  # doubled per counted crash, at most 60 s
    lease_s: float = 10.0  # of a worker whose supervisor went silent


@dataclass(frozen=True, slots=True)
class Amendment(Generic[T]):
    """What becomes of an upstream's document (None: it stays as it is), and what the one who amended it is told.

    `tell` rings `upstream` for the others.
    """

    answer: T
    document: Json | None = None
    tell: bool = False


class Joined(Protocol):
    """Writes that land with a transaction of the user's: all of it or nothing.

    With a synchronous connection the coroutines never suspend.
    """

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """As `Store.enqueue`, inside the user's transaction, which stays open."""
        ...

    async def settle(self, settle: Settle) -> SettleResult:
        """As one settle of `Store.exchange`, in the user's transaction; `commit` follows, and gives its hints."""
        ...

    async def publish(self, events: Sequence[Event], guard: Lease | None = None, *, once: bool = False) -> list[bool]:
        """As `Post.publish`, inside the user's transaction, which stays open; only where the store is a `Post`."""
        ...

    async def commit(self) -> None:
        """Commit the user's transaction.

        Raises:
            StoreUnavailable: whether it committed is unknown; read the fence to know.
        """
        ...

    async def rollback(self) -> None:
        """Roll the user's transaction back."""
        ...


class Store(Protocol):
    """Where jobs live."""

    @property
    def capabilities(self) -> Capabilities:
        """What this store can do."""
        ...

    @property
    def epoch(self) -> str:
        """Names this history of offsets (after `open`); changes when the history was lost."""
        ...

    async def open(self) -> None:
        """Connect and check the schema; a new, empty store is migrated at once.

        Raises:
            SchemaMismatch: older (says `headrace migrate`) or newer (says which version to install).
            StoreUnusable: not a database, read-only, no rights.
        """
        ...

    async def close(self) -> None:
        """Finish the writes that are under way and let go of everything. Idempotent."""
        ...

    # -- jobs ---------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """Add jobs, all or none; an id that was seen before, ended or not, is not added again.

        That holds while the job's record is kept. An id is looked at before its key. A `(task, key)`
        with the same `key_digest` lands on the job that holds it, also within one batch. A key lives
        as long as its job and `key_retention_s` beyond its end, but never longer than the job's own
        record; whoever comes later takes it over. `run_at` goes before `delay_s`; of two deadlines
        the earlier counts.

        Returns: one entry per job, in order, with the state and feed's end of the job it landed on.

        Raises:
            Conflict: a `(task, key)` is held by a job with another `key_digest`; nothing was added.
            StoreUnavailable: repeat it with the same ids.
        """
        ...

    async def exchange(self, worker: WorkerId, settles: Sequence[Settle], claim: ClaimRequest | None) -> Exchanged:
        """Settle ended attempts, then claim: one transaction.

        A settle is guarded by `(id, fence, running)`, whichever worker brings it, and idempotent
        for its fence: `repeated` if this fence was the last that a settle ended, whatever outcome
        it brings now, else `lost`. Claims go over the non-empty lanes that are not held (paused
        queue), a fair share to each in turn, what one does not use to the others, and by
        `(priority highest first, seq)` inside one. The pools of a request share no task. Only ready
        jobs are claimed: due ones become ready by `promote`, and `next_due_s` is 0 while any waits
        for it. A worker unknown to the store, or reaped, claims nothing.
        Whoever is told `again` asks again at once: a store that has found something may put off for one
        claim what it looks at now and then, so that a job starts before that.

        Of tasks with `limits` a claim takes no more than these leave room for, whatever others claim at
        the same time: of `concurrency` count the attempts that were claimed under such a limit and still
        run, of `rate` such claims. What they keep back stays ready, and is no `more`; nor is what a
        pool's `limited` leaves. Where a rate alone keeps something back, `next_start_s` says for how long.

        In the lanes of an `ordered` task jobs take turns, by task and key, over all queues. A job that was claimed
        under it has its turn until it ends for good, in whatever states it is meanwhile, and while it has nobody
        else there is claimed. Where nobody has it, the first ready one of the lane is next, suspects and others in
        one line; a claim that does not take such a one takes none. A job that ended and is made ready again goes on
        in its turn if nobody took one since.
        """
        ...

    async def reconcile(self, worker: WorkerId, held: Sequence[Lease]) -> int:
        """Give back what the store thinks this worker runs and the worker does not know of.

        For claims whose answer was lost: they are given back as not started. `held` names all that
        the worker knows of, with its fence: what runs, what waits, and what is still to be settled.
        A claim of the same job under another fence is none of it. Returns how many were given back.
        """
        ...

    async def append(self, writes: Sequence[FeedWrite]) -> list[int | None]:
        """Add items, logs and progress to feeds of running jobs.

        Returns: per write the feed's offset after it (an item whose key was emitted before keeps
            its old offset), or None: the lease is lost and nothing was written, or -1: the feed
            is at `items_max` and this item or log was not written. Progress always fits; it carries
            the offset at which it was made and ends with its attempt.
        """
        ...

    async def get(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """The jobs, in order; None for unknown ones."""
        ...

    async def find(self, where: JobFilter, *, after: JobId | None = None, limit: int = 50) -> JobPage:
        """Jobs that match, newest id first, live and ended; `after` is the previous page's `next_after`.

        `created_after` is included, `created_before` is not.
        """
        ...

    async def attempts(self, job: JobId) -> list[AttemptRecord]:
        """Every attempt of one job, in order; the running one last.

        What was given back unstarted was no attempt and is not here.
        """
        ...

    async def read_updates(self, job: JobId, after: int, limit: int) -> FeedPage | None:
        """Up to `limit` updates with offsets above `after`, in order; None: unknown job.

        Enqueue, every claim, every end of an attempt, promotion and revival are one `state` update
        each, except the job's end, which is its `end`. A request to cancel and an edit tell nothing.
        """
        ...

    async def offsets(self, jobs: Sequence[JobId]) -> dict[JobId, int]:
        """Where these feeds end now; cheap, for readers that poll. Unknown ones are left out."""
        ...

    async def cancel(self, jobs: Sequence[JobId]) -> list[JobState | None]:
        """Cancel waiting jobs at once; ask running ones to stop.

        Returns: the state after, per job: `running` means that it was asked; None: unknown.
        """
        ...

    async def retry(self, jobs: Sequence[JobId]) -> list[JobState | None]:
        """Make failed and cancelled jobs ready again: failures, crashes and snoozes count from 0.

        Attempts are numbered on. The former end stays in the feed, as a `state` at its offset. A
        deadline that has passed is lifted. The job holds its key again, unless another took it over.
        A suspect (one in quarantine) stays a suspect.

        Returns: the state after, per job (unchanged where the table has no such edge).
        """
        ...

    async def edit(self, job: JobId, args: Json) -> JobState | None:
        """Give a failed job other arguments; the state tells whether it was one. None: unknown."""
        ...

    def join(self, using: object) -> Joined:
        """Bind to a user's session or connection.

        Raises:
            UsageError: not a kind this store knows, or not on the same database.
        """
        ...

    # -- workers ------------------------------------------------------------------------------

    async def register(self, worker: WorkerRecord, lease_s: float) -> None:
        """Make the worker known and give it its lease; again for changes (draining), or after a reap."""
        ...

    async def renew(self, worker: WorkerId, lease_s: float) -> Renewed:
        """Extend the lease and read the cancels; never blocked by a writer.

        A lease that ended stays ended, reaped or not: `lost`, as for an unknown worker.
        """
        ...

    async def unregister(self, worker: WorkerId) -> None:
        """The worker ended in order: jobs that it still held are given back as started, no suspicion."""
        ...

    async def reap(self, dead: Sequence[WorkerId] = ()) -> Reaped:
        """Free the jobs of workers that are known `dead`, whose holder died, or whose lease ended.

        A job held by a crashed worker becomes a suspect, ready at once, and one that crashed among
        suspects runs alone. A crash alone counts: the job is scheduled with back-off, or at
        `crashes_max` failed with cause `crashed`.
        It stays a suspect until an attempt of it is settled with an outcome of its own (not given
        back).
        """
        ...

    async def workers(self) -> list[WorkerRecord]:
        """Every worker that is registered, with what it runs now; not `alive` once its lease ended."""
        ...

    # -- queues and chores ----------------------------------------------------------------------

    async def queues(self) -> list[QueueRecord]:
        """Every queue that has or had jobs, or was paused, by name.

        The live states are counted exactly; ended ones only where that is cheap.
        """
        ...

    async def scopes(self, names: Sequence[str]) -> list[ScopeState]:
        """Of each scope of limits (see `core.limits`) how many attempts run, and how far its rate is ahead of now.

        Of a rate under which nothing has started yet, None. Of the turns of an ordered lane (`turn_of`), the job that
        has its turn. Cheap: it reads only what runs there.
        """
        ...

    async def loads(self, asked: Sequence[LoadAsked]) -> list[QueueLoad]:
        """How much waits in these queues, in order; the cost is bounded by `jobs_max`, whatever waits.

        Of each queue at most `jobs_max` ready jobs are counted, those of the highest priorities first, and as many
        scheduled ones; the age of the oldest is told for every task and priority. Suspects are left out. Of a queue
        with more than 2,000 lines (tasks, keys, priorities) only so many are looked at.
        """
        ...

    async def pause(self, queue: str, *, paused: bool) -> None:
        """Hold or release a queue: O(1), whatever waits in it."""
        ...

    async def promote(self, limit: int) -> tuple[int, float | None]:
        """Make due jobs ready, at most `limit`, the longest due first.

        Returns: how many, and how long until the next is due (0: some are; None: none is scheduled).
        """
        ...

    async def prune(self, limit: int) -> int:
        """Delete what is past its retention, at most `limit` rows; how many (0: nothing is left).

        Ended jobs with their feeds, attempts and keys; results; idempotency records. An expired key
        may stay as long as its job, and stops nobody. Live jobs are never pruned. A result past its
        retention is read as `result_expired`.
        """
        ...

    # -- upstreams ------------------------------------------------------------------------------

    async def upstreams(self) -> tuple[float, Mapping[str, Json]]:
        """Every upstream's document, by name, and the instant at which they were read."""
        ...

    async def amend(self, upstream: str, change: Callable[[Json | None, float], Amendment[T]]) -> T:
        """Let `change` turn an upstream's document (None: there is none yet) into the next: one transaction.

        It is given the store's instant, must be pure, and may be called more than once. Amendments of
        one upstream go one after the other, over all processes.

        Returns: what `change` answered to the document that it was written over.

        Raises:
            StoreUnavailable: it was written or not; `change` must bear being repeated.
        """
        ...
