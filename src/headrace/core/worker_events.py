"""What a worker's core hears (events, past tense) and asks for (effects, imperative)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from headrace.core.limits import TaskLimit
from headrace.core.model import (
    Cause,
    ClaimedJob,
    ClaimRequest,
    Exchanged,
    Failed,
    Failure,
    JobId,
    Lease,
    Outcome,
    Settle,
)


class StopReason(StrEnum):
    """Why a running body is asked to stop."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    DEADLINE = "deadline"
    DRAIN = "drain"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """One kind of slot: which tasks use it, how many run at once, how many may wait behind them."""

    tasks: frozenset[str]
    slots: int
    prefetch_max: int = 0


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many jobs of these tasks a worker may have, running or waiting, while something restrains them; 0: none."""

    tasks: frozenset[str]
    limit: int


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker behaves; all durations are seconds."""

    pools: Mapping[str, PoolSettings]
    queues: frozenset[str] | None = None
    limits: tuple[TaskLimit, ...] = ()  # of the tasks that have some
    suspects: bool | None = False  # None: beside other jobs, those that run alone one at a time
    poll_s: float = 1.0
    poll_max_s: float = 30.0  # while hints are heard, polls that find nothing grow as rare as this
    poll_growth: float = 2.0  # by this factor, which differs from worker to worker
    answer_s: float = 30.0  # after this, an exchange counts as unanswered
    prefetch_s: float = 0.05  # how much work may wait behind the slots
    backoff_s: float = 0.1  # after a failed exchange, doubled up to backoff_max_s
    backoff_max_s: float = 5.0
    reconcile_s: float = 60.0
    lease_look_s: float = 0.25  # while nothing is claimed or begun, since the lease may have ended
    settles_max: int = 10_000  # outcomes kept while the store is away; then nothing is claimed
    needy: frozenset[str] = frozenset()  # tasks that an upstream may come to restrain
    kill_grace_s: float = 10.0  # past timeout, before the supervisor may kill the process


# --- events ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Woken:
    """Something may be claimable; with `suspects`, a suspect too (one is looked for with every poll anyway)."""

    suspects: bool = True


@dataclass(frozen=True, slots=True)
class HintsHeard:
    """Whether hints of other processes are known to arrive from now on; before the first, they are not."""

    works: bool


@dataclass(frozen=True, slots=True)
class Restrained:
    """What upstreams allow from now on; needy tasks that are not named are free. No task is named twice."""

    allowances: tuple[Allowance, ...]


@dataclass(slots=True)
class Ended:
    """The body of `(id, fence)` has ended; without an outcome, it was settled by itself before."""

    id: JobId
    fence: int
    outcome: Outcome | None


@dataclass(slots=True)
class ExchangeAnswered:
    """The answer to `Exchange` number `token`."""

    token: int
    answer: Exchanged


@dataclass(frozen=True, slots=True)
class ExchangeFailed:
    """`Exchange` number `token` raised; unless `transient`, something in it is at fault."""

    token: int
    transient: bool


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The `reconcile` of `Exchange` number `token` has been done; what the exchange comes to is still to be told."""

    token: int


@dataclass(frozen=True, slots=True)
class Promoted:
    """`Promote` made `count` jobs ready; the next is due in `next_due_s`."""

    count: int
    next_due_s: float | None


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Someone asked to cancel these attempts."""

    leases: tuple[Lease, ...]


@dataclass(frozen=True, slots=True)
class LeaseGone:
    """The store refused a write of this attempt: it is somebody else's now."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class LeaseHeld:
    """The worker's own lease surely lasts until then, on its clock; before the first, nothing bounds it."""

    until: float


@dataclass(frozen=True, slots=True)
class DrainAsked:
    """Stop claiming; what still runs after `grace_s` is given back."""

    grace_s: float


Event: TypeAlias = (
    Woken
    | HintsHeard
    | Restrained
    | Ended
    | ExchangeAnswered
    | ExchangeFailed
    | Reconciled
    | Promoted
    | CancelAsked
    | LeaseGone
    | LeaseHeld
    | DrainAsked
)

# --- effects -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Exchange:
    """Call the store's `exchange`, and if `reconcile` is set its `reconcile` with it first."""

    token: int
    settles: tuple[Settle, ...]
    claim: ClaimRequest | None
    reconcile: tuple[Lease, ...] | None = None


@dataclass(slots=True)
class Start:
    """Run the job's body in the pool."""

    job: ClaimedJob
    pool: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask the body to stop; its `Ended` must still come."""

    id: JobId
    fence: int
    reason: StopReason


@dataclass(frozen=True, slots=True)
class Promote:
    """Call the store's `promote`."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The store refuses this outcome alone, and that its job fails for it too; the job will be given back."""

    settle: Settle


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing runs, waits or is left to claim (told to workers of suspects)."""


@dataclass(frozen=True, slots=True)
class Drained:
    """Everything is settled; the worker may end."""


Effect: TypeAlias = Exchange | Start | Stop | Promote | Drop | Idle | Drained

TOO_LATE = Failed(Failure("headrace.JobTimedOut", "the deadline passed before a worker was free", Cause.DEADLINE))
NOT_STORED = Failed(
    Failure(
        "headrace.NotStored",
        "the store refuses what the attempt came to; the worker's log says why",
        Cause.ERROR,
        fingerprint="headrace.NotStored",
    )
)
