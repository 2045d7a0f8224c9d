"""The values that cross the seams: new jobs, claims, outcomes, records.

Durations (`_s`) are seconds, instants (`_at`) wall-clock seconds since the epoch as the store saw them; JSON is text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TypeAlias

from headrace.core.limits import TaskLimit
from headrace.core.states import JobState, ShownState

JobId: TypeAlias = bytes  # the 16 of a UUIDv7
WorkerId: TypeAlias = str
Json: TypeAlias = str


class Cause(StrEnum):
    """Why a job failed."""

    ERROR = "error"
    TIMEOUT = "timeout"
    DEADLINE = "deadline"
    CRASHED = "crashed"
    ABANDONED = "abandoned"
    UPSTREAM = "upstream"
    ARGUMENTS = "arguments"


class AttemptOutcome(StrEnum):
    """How one attempt ended, as its row in the attempts list says."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    RETRY = "retry"
    FAILED = "failed"
    SNOOZED = "snoozed"
    CANCELLED = "cancelled"
    CRASHED = "crashed"
    GIVEN_BACK = "given_back"


@dataclass(frozen=True, slots=True)
class Failure:
    """One error, as kept: `type` is the dotted class, `fingerprint` groups alike ones."""

    type: str
    message: str
    cause: Cause = Cause.ERROR
    traceback: str = ""
    fingerprint: str = ""


# --- outcomes: what the worker settles -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The attempt's result as JSON text."""

    result: Json = "null"


@dataclass(frozen=True, slots=True)
class Retried:
    """A failure that counts, and another attempt after `delay_s` (0: ready at once)."""

    failure: Failure
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """The last failure: the job ends as failed."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Snoozed:
    """Not now: again after `delay_s`; no failure is counted."""

    delay_s: float
    reason: str = ""
    failure: Failure | None = None  # of an upstream that the task needs, which is why


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job ends as cancelled."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class GivenBack:
    """Ready again at once, no failure; unless `started`, the attempt's number is given back too."""

    started: bool


Outcome: TypeAlias = Succeeded | Retried | Failed | Snoozed | Cancelled | GivenBack


@dataclass(slots=True)
class Settle:
    """End the attempt that holds `(id, fence)` with `outcome`."""

    id: JobId
    fence: int
    outcome: Outcome


class SettleResult(StrEnum):
    """What became of one settle."""

    SETTLED = "settled"
    REPEATED = "repeated"  # the same fence had settled before: the earlier answer was lost
    LOST = "lost"  # another claim or a reap came first; nothing was written


# --- enqueue and claim -------------------------------------------------------------------------


@dataclass(slots=True)
class NewJob:
    """A job to be enqueued; the caller makes the id, so that repeating it cannot double the job."""

    id: JobId
    task: str
    queue: str
    args: Json
    priority: int = 0  # higher runs first within its lane
    delay_s: float = 0.0
    run_at: float | None = None  # an instant that the user named; else now + delay_s
    timeout_s: float = 600.0
    deadline_s: float | None = None
    deadline_at: float | None = None
    max_attempts: int = 1
    key: str | None = None
    key_digest: str = ""  # of the arguments; set with `key`
    lane_key: str = ""
    tags: tuple[str, ...] = ()
    signature: str = ""  # of the task's parameters, as the producer knows them
    traceparent: str | None = None
    fresh: bool = False  # the id was made for this one call of enqueue: no job of it can have ended before
    promises: tuple[str, ...] = ()  # of outcomes that are told when it has ended (see `ports.post`)


@dataclass(frozen=True, slots=True)
class Enqueued:
    """The job that an enqueue landed on: `created` is False when it (or its key) was there before."""

    id: JobId
    state: ShownState  # a store's is never `spooled`
    offset: int
    created: bool


@dataclass(frozen=True, slots=True)
class Pool:
    """Tasks that share one kind of slot, and how many more jobs of them the worker takes."""

    tasks: frozenset[str]
    limit: int
    limited: int | None = None  # of tasks with limits, which are not to wait behind slots; None: as many


class Suspicion(IntEnum):
    """How often workers have died on a job, and so in whose company it runs; true for a suspect."""

    NONE = 0
    SHARED = 1  # once, beside others: it runs among suspects
    ALONE = 2  # again, among suspects: it runs alone, and now a crash counts


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What a worker can take now; `queues` None means all. `suspicion`: of which kinds, in rising order."""

    pools: tuple[Pool, ...]
    queues: frozenset[str] | None = None
    suspicion: tuple[Suspicion, ...] = (Suspicion.NONE,)
    limits: tuple[TaskLimit, ...] = ()


@dataclass(slots=True)
class ClaimedJob:
    """One job under lease. `(id, fence)` guards every write of this attempt."""

    id: JobId
    fence: int
    task: str
    queue: str
    args: Json
    attempt: int
    failures: int
    crashes: int
    snoozes: int
    max_attempts: int
    timeout_s: float
    deadline_in_s: float | None  # what is left of the job's deadline; may be negative
    tags: tuple[str, ...]
    signature: str
    offset: int
    suspect: Suspicion = Suspicion.NONE
    traceparent: str | None = None
    emitted: frozenset[str] = frozenset()  # keys of the items that earlier attempts emitted
    waited_s: float | None = None  # how long it was ready before this claim, true to the ms; None: unknown


@dataclass(frozen=True, slots=True)
class Exchanged:
    """The answer to `exchange`: one `SettleResult` per settle, in order, and the claimed jobs.

    `more`: ready work was left for want of room; `again`: a part of where some may be was not looked at yet.
    """

    settled: tuple[SettleResult, ...]
    claimed: tuple[ClaimedJob, ...]
    next_due_s: float | None = None  # until the next scheduled job is due; None: none is scheduled
    more: bool = False
    next_start_s: float | None = None  # until a rate lets the next ready one start; None: none waits for one
    again: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's right to run one job for now."""

    id: JobId
    fence: int


# --- feed --------------------------------------------------------------------------------------


class UpdateKind(StrEnum):
    """What an update tells."""

    STATE = "state"
    PROGRESS = "progress"
    LOG = "log"
    ITEM = "item"
    END = "end"


@dataclass(frozen=True, slots=True)
class Update:
    """One entry of a feed. Progress has no offset of its own: it carries the last one."""

    offset: int
    kind: UpdateKind
    attempt: int
    data: Json
    at: float


@dataclass(frozen=True, slots=True)
class FeedWrite:
    """What a running attempt adds to its feed; only `item` and `log` raise the offset."""

    id: JobId
    fence: int
    kind: UpdateKind
    data: Json
    key: str | None = None


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Updates after a position, in order; `offset` is where the feed ended, `progress` the running attempt's latest."""

    epoch: str  # names the history that the offsets belong to
    offset: int
    updates: tuple[Update, ...]
    progress: Update | None
    state: JobState


# --- records -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JobRecord:
    """Everything the store knows of one job, live or ended.

    `failure` is the latest one while the job waits or runs; an ended job has it only if it failed.
    `worker` and `progress` are those of the running attempt.
    """

    id: JobId
    task: str
    queue: str
    state: JobState
    args: Json
    priority: int
    key: str | None
    tags: tuple[str, ...]
    attempt: int
    failures: int
    crashes: int
    snoozes: int
    max_attempts: int
    fence: int
    offset: int
    timeout_s: float
    created_at: float
    run_at: float | None  # when it is due, for scheduled ones
    started_at: float | None  # of the latest attempt
    finished_at: float | None
    deadline_at: float | None
    worker: WorkerId | None
    suspect: Suspicion
    cancelling: bool
    result: Json | None
    failure: Failure | None
    progress: Json | None = None
    result_expired: bool = False


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One start of the job's body."""

    attempt: int
    fence: int
    worker: WorkerId | None
    started_at: float
    ended_at: float | None
    outcome: AttemptOutcome
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a listing or a bulk retry means; None is any."""

    task: str | None = None
    queue: str | None = None
    state: JobState | None = None
    tag: str | None = None
    created_after: float | None = None
    created_before: float | None = None


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs, newest first, and where the next page starts (None: this was the last)."""

    jobs: tuple[JobRecord, ...]
    next_after: JobId | None


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """One process that runs attempts."""

    id: WorkerId
    host: str
    pid: int  # 0 while it starts
    role: str  # worker | suspects | embedded
    version: str
    queues: tuple[str, ...] | None
    tasks: Mapping[str, str]  # name -> signature
    concurrency: int
    started_at: float
    supervisor_pid: int | None = None
    alive: bool = True
    draining: bool = False
    running: int = 0


@dataclass(frozen=True, slots=True)
class QueueRecord:
    """One queue and how much is in it; `oldest_ready_s` is the age of its oldest ready job."""

    name: str
    paused: bool
    counts: Mapping[JobState, int] = field(default_factory=dict[JobState, int])
    oldest_ready_s: float | None = None


@dataclass(frozen=True, slots=True)
class Reaped:
    """What a reap freed: the dead workers, their jobs, and how many of those are suspects now."""

    workers: tuple[WorkerId, ...]
    jobs: tuple[JobId, ...]
    suspects: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class Renewed:
    """The answer to `renew`: attempts of this worker that someone asked to cancel."""

    cancels: tuple[Lease, ...]
    lost: bool = False  # the lease had ended; its jobs are or will be someone else's
