"""Every error that Headrace raises, split by what the caller should do.

```text
HeadraceError                code: stable, on the wire; transient: the same call may work later
├── UsageError               the caller's mistake; never retried
│   ├── UnknownTask · DuplicateTask · InvalidArguments · NotEncodable · PayloadTooLarge
│   ├── UnknownJob · UnknownUpstream · IllegalTransition · InvalidConfig
│   └── UnknownWebhook · InvalidEvent · InvalidWebhook
├── StoreError
│   ├── StoreUnavailable     transient: busy, full, out of reach
│   ├── StoreUnusable        read-only, not a database, no rights: needs a person
│   │   └── StoreMoved       its jobs are elsewhere now; says where
│   ├── LeaseLost            the attempt may not write any more; stop now
│   ├── Conflict             the key belongs to another job (its id is in `job_id`)
│   └── SchemaMismatch       says found, wanted and the command to run
├── NotifierError            never leaves the runtime
├── BridgeError              a broker's source or sink; never leaves the runtime
│   ├── BridgeUnavailable    transient: out of reach, or the connection is lost
│   └── BridgeRefused        wrong password, no such queue: needs a person
├── Rejected                 a policy refused; the call did not run
│   ├── Full                 a bound was reached
│   ├── Shed                 the queue is overloaded; come again in `retry_in` seconds
│   ├── BreakerOpen          the upstream's breaker lets nothing through
│   └── RateLimited          the rate is used up
├── JobError                 what a waiter for a result sees
│   ├── JobFailed · JobCancelled · JobTimedOut
│   └── ResultExpired
└── FeedError
    ├── PositionLost         take a snapshot
    └── SlowConsumer         come back and resume from your position
```
"""

import re
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from headrace.core.admission import Room

_PLAIN: Final = re.compile(r"[a-z0-9_-]+")
_SHOWN_CHARS_MAX: Final = 40


class HeadraceError(Exception):
    """Base of all; `code` is stable and appears on the wire as the problem's `type`."""

    code: ClassVar[str] = "error"
    transient: ClassVar[bool] = False


class UsageError(HeadraceError):
    """The caller's mistake: the same call fails again until it is changed."""

    code = "usage"


class UnknownTask(UsageError):
    """No task of this name is registered here."""

    code = "unknown-task"


class DuplicateTask(UsageError):
    """Two functions were registered under one task name."""

    code = "duplicate-task"


class InvalidArguments(UsageError):
    """Arguments that do not fit the task; `fields` says which and why."""

    code = "invalid-arguments"

    def __init__(self, message: str, fields: tuple[tuple[str, str], ...] = ()) -> None:
        """`fields` pairs a dotted field path with the reason."""
        super().__init__(message)
        self.fields = fields


class NotEncodable(UsageError):
    """A value that JSON text cannot carry (a type, NUL, a lone surrogate)."""

    code = "not-encodable"


class PayloadTooLarge(UsageError):
    """Arguments, result or item over their size limit."""

    code = "payload-too-large"


class UnknownJob(UsageError):
    """No job of this id is in the store: never enqueued, or past its retention."""

    code = "unknown-job"


class UnknownUpstream(UsageError):
    """No process has ever had an upstream of this name."""

    code = "unknown-upstream"


class UnknownWebhook(UsageError):
    """No process has ever had a webhook of this name."""

    code = "unknown-webhook"


class IllegalTransition(UsageError):
    """The job's state does not allow this (see the table in `core/states.py`)."""

    code = "illegal-transition"


class InvalidConfig(UsageError):
    """A setting or definition that cannot work; the message names it and the remedy."""

    code = "invalid-config"


class InvalidEvent(UsageError):
    """What is no CloudEvent of version 1.0; `attribute` is what it fails by, and the message says what to write."""

    code = "invalid-event"

    def __init__(self, attribute: str, why: str) -> None:
        """`why` goes on after the attribute's name, which is shown if it can be one."""
        plain = _PLAIN.fullmatch(attribute) and len(attribute) <= _SHOWN_CHARS_MAX
        super().__init__(f"{attribute if plain else ascii(attribute[:_SHOWN_CHARS_MAX])} {why}")
        self.attribute = attribute


class InvalidWebhook(UsageError):
    """A delivery that is not to be believed; the message says by what, and nothing of a secret."""

    code = "invalid-webhook"


class StoreError(HeadraceError):
    """The store could not do it."""

    code = "store"


class StoreUnavailable(StoreError):
    """The store is busy, full or out of reach: nothing was written, or it will be found by a retry."""

    code = "store-unavailable"
    transient = True


class StoreUnusable(StoreError):
    """The store needs a person: read-only, not a database, missing rights."""

    code = "store-unusable"


class StoreMoved(StoreUnusable):
    """The jobs of this store have moved to another one: nothing is read or written here any more."""

    code = "store-moved"


class LeaseLost(StoreError):
    """The attempt no longer holds its lease: nothing was written, and nothing it writes will be."""

    code = "lease-lost"


class Conflict(StoreError):
    """The key is taken by a job with other arguments."""

    code = "conflict"

    def __init__(self, message: str, job_id: bytes) -> None:
        """`job_id` is the job that holds the key."""
        super().__init__(message)
        self.job_id = job_id


class SchemaMismatch(StoreError):
    """The store's schema is not this version's; the message says which command mends it."""

    code = "schema-mismatch"


class NotifierError(HeadraceError):
    """A hint could not be sent or heard; slower, never wrong."""

    code = "notifier"
    transient = True


class BridgeError(HeadraceError):
    """A broker could not give or take messages; they wait there, or in the outbox."""

    code = "bridge"


class BridgeUnavailable(BridgeError):
    """The broker is out of reach, or the connection is lost: another may do."""

    code = "bridge-unavailable"
    transient = True


class BridgeRefused(BridgeError):
    """The broker will refuse until a person mends it; the message names what, and the remedy."""

    code = "bridge-refused"


class Rejected(HeadraceError):
    """A policy refused, and the call did not run.

    `retry_in` says in how many seconds it is worth another try, `upstream` whose policy it was; None: unknown, none.
    """

    code = "rejected"
    transient = True

    def __init__(
        self,
        message: str = "",
        *,
        retry_in: float | None = None,
        upstream: str | None = None,
        rooms: "tuple[Room, ...]" = (),
    ) -> None:
        """`rooms` is what is left of the bounds of the queue that refused."""
        super().__init__(message)
        self.retry_in = retry_in
        self.upstream = upstream
        self.rooms = rooms


class Full(Rejected):
    """A stated bound was reached."""

    code = "full"


class Shed(Rejected):
    """The queue is overloaded: jobs of this priority would come too late, and are refused for now."""

    code = "shed"


class BreakerOpen(Rejected):
    """The upstream's breaker is open, or half open with every permit out."""

    code = "breaker-open"


class RateLimited(Rejected):
    """The rate is used up for now."""

    code = "rate-limited"


class JobError(HeadraceError):
    """The job did not give the result that was waited for."""

    code = "job"


class JobFailed(JobError):
    """The job ended as failed; the message carries its last failure."""

    code = "job-failed"

    def __init__(self, message: str, cause: str = "error") -> None:
        """`cause` is a `Cause` value: error, timeout, deadline, crashed, abandoned, arguments."""
        super().__init__(message)
        self.cause = cause


class JobCancelled(JobError):
    """The job was cancelled."""

    code = "job-cancelled"


class JobTimedOut(JobError):
    """The job failed because its attempt's timeout or its own deadline passed."""

    code = "job-timed-out"


class ResultExpired(JobError):
    """The job ended, but its result is past its retention."""

    code = "result-expired"


class FeedError(HeadraceError):
    """The feed cannot go on from here."""

    code = "feed"


class PositionLost(FeedError):
    """The position is of another epoch or past the end: take a snapshot."""

    code = "position-lost"


class SlowConsumer(FeedError):
    """The reader is too slow: come back and resume from the last position."""

    code = "slow-consumer"
    transient = True
