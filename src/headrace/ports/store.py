"""The store: the truth about jobs. Few verbs, each over a batch, each in one durable transaction.

Rules for every implementation:

- *Durations cross this seam, instants do not*: the store owns wall time. (`run_at` and
  `deadline_at` are instants that a user named, or that a parent job carried.)
- A verb that returned is durable at the store's stated durability. One that raised
  `StoreUnavailable` was written wholly or not at all, and repeating it is safe: `enqueue` by the
  caller's ids, `exchange` by the fences.
- Every claim raises the job's fence. `(id, fence)` guards settle and append; a fence is never reused.
- One bad entry of a batch never holds up the others.
- Calls may come from any event loop and are safe to cancel: the write then happens or not, and a
  claim whose answer nobody took is given back by `reconcile`, or ends with the worker's lease.
- The transition table of `core.states` is law.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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
    crashes_max: int = 3  # as a suspect, before quarantine
    crash_backoff_s: float = 1.0  # doubled per counted crash, at most 60 s
    lease_s: float = 10.0  # of a worker whose supervisor went silent


class Joined(Protocol):
    """Writes that land with a transaction of the user's: all of it or nothing.

    With a synchronous connection the coroutines never suspend.
    """

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """As `Store.enqueue`, inside the user's transaction, which stays open."""
        ...

    async def settle(self, settle: Settle) -> SettleResult:
        """As one settle of `Store.exchange`, inside the user's transaction, which stays open."""
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

        Returns: one entry per job, in order.

        Raises:
            Conflict: a `(task, key)` is held by a job with another `key_digest`.
            StoreUnavailable: repeat it with the same ids.
        """
        ...

    async def exchange(self, worker: WorkerId, settles: Sequence[Settle], claim: ClaimRequest | None) -> Exchanged:
        """Settle ended attempts, then claim: one transaction.

        A settle is guarded by `(id, fence, running)`, and idempotent for its fence. Claims go over
        the non-empty lanes that are not held (paused queue), a fair share to each in turn, and by
        `(priority highest first, seq)` inside one. A worker unknown to the store, or reaped, claims
        nothing.
        """
        ...

    async def reconcile(self, worker: WorkerId, held: Sequence[JobId]) -> int:
        """Give back what the store thinks this worker runs and the worker does not know of.

        For claims whose answer was lost. Returns how many were given back.
        """
        ...

    async def append(self, writes: Sequence[FeedWrite]) -> list[int | None]:
        """Add items, logs and progress to feeds of running jobs.

        Returns: per write the feed's offset after it (an item whose key was emitted before keeps
            its old offset), or None: the lease is lost and nothing was written.

        Raises:
            Full: never for the batch; a feed at `items_max` answers with -1 for its writes.
        """
        ...

    async def get(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """The jobs, in order; None for unknown ones."""
        ...

    async def find(self, where: JobFilter, *, after: JobId | None = None, limit: int = 50) -> JobPage:
        """Jobs that match, newest first, live and ended; `after` is the previous page's `next_after`."""
        ...

    async def attempts(self, job: JobId) -> list[AttemptRecord]:
        """Every attempt of one job, in order; the running one last."""
        ...

    async def read_updates(self, job: JobId, after: int, limit: int) -> FeedPage | None:
        """Up to `limit` updates with offsets above `after`, in order; None: unknown job."""
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
        """Make failed and cancelled jobs ready again, failures and crashes counted from 0.

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
        """Make the worker known and give it its lease; again for changes (draining)."""
        ...

    async def renew(self, worker: WorkerId, lease_s: float) -> Renewed:
        """Extend the lease and read the cancels; never blocked by a writer."""
        ...

    async def unregister(self, worker: WorkerId) -> None:
        """The worker ended in order: jobs that it still held are given back, no suspicion."""
        ...

    async def reap(self, dead: Sequence[WorkerId] = ()) -> Reaped:
        """Free the jobs of workers that are known `dead`, whose holder died, or whose lease ended.

        A job held by a crashed worker becomes a suspect, ready at once; one that crashed *as* a
        suspect counts it: scheduled with back-off, or at `crashes_max` failed with cause `crashed`.
        """
        ...

    async def workers(self) -> list[WorkerRecord]:
        """Every worker that is known, with what it runs now."""
        ...

    # -- queues and chores ----------------------------------------------------------------------

    async def queues(self) -> list[QueueRecord]:
        """Every queue that has or had jobs, by name."""
        ...

    async def pause(self, queue: str, *, paused: bool) -> None:
        """Hold or release a queue: O(1), whatever waits in it."""
        ...

    async def promote(self, limit: int) -> tuple[int, float | None]:
        """Make due jobs ready; how many, and how long until the next is due (None: none)."""
        ...

    async def prune(self, limit: int) -> int:
        """Delete what is past its retention, at most `limit` rows; how many."""
        ...
