"""What a simulated world saw happen. Checkers judge these events; the printed timeline is made of them.

Two kinds of witness: the store's side tells each write at the instant at which it was applied
(whether or not its answer arrives), and the processes tell what they did and were told.
"""

from dataclasses import dataclass
from typing import TypeAlias

from headrace.core.feed import Position
from headrace.core.model import (
    ClaimedJob,
    Enqueued,
    FeedWrite,
    JobId,
    Lease,
    NewJob,
    Outcome,
    Settle,
    SettleResult,
    Suspicion,
    Update,
    WorkerId,
    WorkerRecord,
)
from headrace.core.states import JobState
from headrace.testing.sim.call_events import CallEvent
from headrace.testing.sim.strain_events import StrainEvent

# --- what the store applied, in order ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Added:
    """An enqueue was applied to `job`; `answer` says where it landed."""

    job: NewJob
    answer: Enqueued


@dataclass(frozen=True, slots=True)
class Settled:
    """A settle was applied, or refused: `result` tells."""

    worker: WorkerId
    settle: Settle
    result: SettleResult


@dataclass(frozen=True, slots=True)
class Claimed:
    """A worker was given a job. `job` must not be changed; `suspicion` is what the claim asked for."""

    worker: WorkerId
    job: ClaimedJob
    suspicion: tuple[Suspicion, ...]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """A worker named all that it knows of; `count` others were given back unstarted."""

    worker: WorkerId
    held: frozenset[Lease]
    count: int


@dataclass(frozen=True, slots=True)
class Appended:
    """An item, log line or progress was offered; `offset` as `Store.append` answers."""

    write: FeedWrite
    offset: int | None


@dataclass(frozen=True, slots=True)
class CancelApplied:
    """Somebody asked to cancel; `state` is the state after."""

    job: JobId
    state: JobState | None


@dataclass(frozen=True, slots=True)
class RetryApplied:
    """A person made an ended job ready again; `state` is the state after, `before` the one before."""

    job: JobId
    before: JobState | None
    state: JobState | None


@dataclass(frozen=True, slots=True)
class Registered:
    """A worker has a lease for `lease_s`."""

    worker: WorkerRecord
    lease_s: float


@dataclass(frozen=True, slots=True)
class Renewed:
    """A lease was asked to be extended by `lease_s`; `lost`: it had ended."""

    worker: WorkerId
    lease_s: float
    cancels: tuple[Lease, ...]
    lost: bool


@dataclass(frozen=True, slots=True)
class Unregistered:
    """A worker ended in order; what it held was given back as started."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Reaped:
    """`workers` were found dead (`named`: those that the caller said were), and their jobs freed.

    `freed` pairs each with the state that it is in now.
    """

    named: tuple[WorkerId, ...]
    workers: tuple[WorkerId, ...]
    freed: tuple[tuple[JobId, JobState], ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """A user's transaction was committed: the effect of `(job, fence)` and its success, or neither."""

    job: JobId
    fence: int
    result: SettleResult


# --- what processes did and were told --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attempted:
    """A producer begins to enqueue `job`."""

    job: NewJob


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A producer was told that its job is durable."""

    job: NewJob
    answer: Enqueued


@dataclass(frozen=True, slots=True)
class Started:
    """A body began to run."""

    job: JobId
    fence: int
    attempt: int
    worker: WorkerId
    node: str


@dataclass(frozen=True, slots=True)
class Returned:
    """A body has ended; `outcome` is what its worker will settle (None: it settled itself)."""

    job: JobId
    fence: int
    worker: WorkerId
    node: str
    outcome: Outcome | None
    lease_lost: bool


@dataclass(frozen=True, slots=True)
class Emitted:
    """A body was told that the item of its step `number` is durable."""

    job: JobId
    fence: int
    key: str | None
    number: int


@dataclass(frozen=True, slots=True)
class Succeeded:
    """A body was told that its success is durable."""

    job: JobId
    fence: int


@dataclass(frozen=True, slots=True)
class Stood:
    """A reader was told where it stands; `snapshot` says whether what came before was replaced."""

    reader: str
    job: JobId
    position: Position
    recovered: bool


@dataclass(frozen=True, slots=True)
class Saw:
    """A reader was given an update."""

    reader: str
    job: JobId
    update: Update


@dataclass(frozen=True, slots=True)
class Dialled:
    """A browser opens a connection to a process; `line` numbers it."""

    reader: str
    line: int
    node: str


@dataclass(frozen=True, slots=True)
class Linked:
    """A process begins to serve a connection."""

    line: int
    node: str


@dataclass(frozen=True, slots=True)
class Heard:
    """A connection was handed a frame of its browser."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Framed:
    """A connection begins to send a frame."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Taken:
    """The frame that a connection was sending is through."""

    line: int


@dataclass(frozen=True, slots=True)
class Closing:
    """A connection sends its close."""

    line: int
    code: int


@dataclass(frozen=True, slots=True)
class Unlinked:
    """A process is done with a connection; `left` is what it still holds of it, in words."""

    line: int
    left: str


@dataclass(frozen=True, slots=True)
class HungUp:
    """A browser knows that its connection is over."""

    reader: str
    line: int
    code: int


@dataclass(frozen=True, slots=True)
class Puzzled:
    """A browser was told what the protocol rules out."""

    reader: str
    text: str


@dataclass(frozen=True, slots=True)
class Up:
    """A process began."""

    node: str


@dataclass(frozen=True, slots=True)
class Died:
    """A process ended; `worker` is the worker it ran, `code` its exit code (negative: a signal)."""

    node: str
    worker: WorkerId | None
    code: int


@dataclass(frozen=True, slots=True)
class Fault:
    """The world was made worse, or better."""

    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """A line of a process's log."""

    node: str
    text: str


Event: TypeAlias = (
    Added
    | Settled
    | Claimed
    | Reconciled
    | Appended
    | CancelApplied
    | RetryApplied
    | Registered
    | Renewed
    | Unregistered
    | Reaped
    | Joined
    | Attempted
    | Acknowledged
    | Started
    | Returned
    | Emitted
    | Succeeded
    | Stood
    | Saw
    | Dialled
    | Linked
    | Heard
    | Framed
    | Taken
    | Closing
    | Unlinked
    | HungUp
    | Puzzled
    | Up
    | Died
    | Fault
    | Said
    | CallEvent
    | StrainEvent
)
