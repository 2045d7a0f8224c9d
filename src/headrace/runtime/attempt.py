"""One attempt under way: what its context writes through, and how it is stopped."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeAlias, TypeVar

from headrace.core.errors import HeadraceError, LeaseLost, StoreUnavailable, UsageError
from headrace.core.event import Event
from headrace.core.model import (
    Cause,
    ClaimedJob,
    FeedWrite,
    GivenBack,
    Json,
    Lease,
    Outcome,
    Settle,
    SettleResult,
    Succeeded,
    UpdateKind,
    WorkerId,
)
from headrace.core.states import JobState
from headrace.core.worker_events import StopReason
from headrace.ports.notifier import Notifier
from headrace.ports.post import Post
from headrace.ports.store import Joined, Store
from headrace.runtime.feedwriter import FeedWriter
from headrace.runtime.publishing import NO_OUTBOX

logger = logging.getLogger(__name__)

NOT_BEGUN = GivenBack(started=False)
ANSWER_S = 30.0  # after this, a settle counts as unanswered

T = TypeVar("T")

Closer: TypeAlias = Callable[[], Awaitable[None]]


class Runner(Protocol):
    """Runs the body of an attempt; never raises."""

    async def run(self, attempt: "Attempt") -> Outcome | None:
        """The outcome to settle; None: the attempt settled itself."""
        ...


class Ending(Protocol):
    """Is told that an attempt's body has really ended."""

    def __call__(self, attempt: "Attempt") -> None:
        """Once per attempt."""
        ...


class Attempt:
    """A running attempt. It is the `Channel` of its context."""

    __slots__ = (
        "_begun",
        "_feeds",
        "_loop",
        "_notifier",
        "_store",
        "_task",
        "_worker",
        "closer",
        "encode_result",
        "interruptible",
        "job",
        "mark",
        "outcome",
        "settled",
        "stopping",
    )

    def __init__(self, job: ClaimedJob, store: Store, feeds: FeedWriter, worker: WorkerId, notifier: Notifier) -> None:
        """Not begun yet."""
        self.job = job
        self.mark = 0.0  # the observer's, for its end
        self.outcome: Outcome | None = None
        self.stopping: StopReason | None = None
        self.settled = False  # by `succeed`: final, whatever the body does afterwards
        self.interruptible = True  # a thread is not
        self.encode_result: Callable[[object], Json] | None = None
        self.closer: Closer | None = None  # cleans up what the body was given
        self._store = store
        self._feeds = feeds
        self._worker = worker
        self._notifier = notifier
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun = False

    def __str__(self) -> str:
        """As log lines name it."""
        return f"job {self.job.id.hex()} ({self.job.task}, attempt {self.job.attempt})"

    @property
    def lease(self) -> Lease:
        """What guards its writes."""
        return Lease(self.job.id, self.job.fence)

    # -- life -------------------------------------------------------------------------------------

    def begin(
        self, loop: asyncio.AbstractEventLoop, bodies: Runner, ended: "Ending", may: Callable[[], bool] = lambda: True
    ) -> None:
        """Run the body if it still `may` in the next turn; `ended` is told once, when it has really ended."""
        self._loop = loop
        self._task = loop.create_task(self._run(bodies, ended, may))

    async def _run(self, bodies: Runner, ended: "Ending", may: Callable[[], bool]) -> None:
        self._begun = True
        self.outcome = await bodies.run(self) if may() else NOT_BEGUN
        self._task = None  # its context holds this attempt: a circle would be left to the garbage collector
        ended(self)

    def stop(self, reason: StopReason) -> None:
        """Ask the body to stop: a coroutine and a child process are interrupted, a thread sees the flag."""
        if self.stopping is None or reason is StopReason.LOST:
            self.stopping = reason
        # A task that is cancelled before its first step never runs, and would never be told as ended.
        if self._begun and self._task is not None and self.interruptible and not self.settled:
            self._task.cancel()

    async def close(self) -> None:
        """Clean up what the body was given, once."""
        closer, self.closer = self.closer, None
        if closer is None:
            return
        try:
            await closer()
        except Exception:
            logger.exception("%s: cleaning up after it failed; its outcome stands", self)

    async def snoozes_for_upstreams(self) -> int:
        """How often an upstream's failure has sent this job back to wait; 0 where the store does not say."""
        if not self.job.snoozes:
            return 0
        with contextlib.suppress(HeadraceError, TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                attempts = await self._store.attempts(self.job.id)
            return sum(each.failure is not None and each.failure.cause is Cause.UPSTREAM for each in attempts)
        return 0

    # -- the context's channel -------------------------------------------------------------------

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to stop, for whatever reason."""
        return self.stopping is not None

    @property
    def lease_lost(self) -> bool:
        """Whether its writes are refused."""
        return self.stopping is StopReason.LOST

    def progress(self, data: Json) -> None:
        """Note progress; on the worker's loop."""
        if not self.settled:
            self._feeds.progress(self.job.id, self.job.fence, data)

    async def emit(self, kind: UpdateKind, data: Json, key: str | None) -> int:
        """Add to the feed; durable when it returns."""
        if self.lease_lost:
            raise LeaseLost("this attempt lost its lease; stop now")
        return await self._feeds.add(FeedWrite(self.job.id, self.job.fence, kind, data, key))

    async def succeed(self, result: object, using: object | None) -> None:
        """Settle as succeeded, now and for good; with `using`, in that transaction, which it commits.

        It waits for a store that is away: the fence makes it safe to ask again. Only the transaction
        of `using` is not begun a second time; if an earlier one of this attempt has landed, it is
        rolled back.

        Raises:
            LeaseLost: nothing was written; the transaction is rolled back.
            StoreUnavailable: the transaction of `using` is lost, or this was asked to stop meanwhile.
        """
        if self.settled or self.encode_result is None:
            raise UsageError("this attempt has already succeeded; that is final")
        settle = Settle(self.job.id, self.job.fence, Succeeded(self.encode_result(result)))
        if using is None:
            answer = await self._settle_alone(settle)
        else:
            answer = await self._settle_in(self._store.join(using), settle)
        if answer is SettleResult.LOST:
            self.stopping = StopReason.LOST
            raise LeaseLost("this attempt lost its lease; nothing was written")
        self.settled = True

    async def check(self) -> None:
        """Ask the store whether this attempt runs.

        Raises:
            LeaseLost: it does not.
        """
        self._may_publish()
        (record,) = await self._store.get([self.job.id])
        if record is None or (record.fence, record.state) != (self.job.fence, JobState.RUNNING):
            raise LeaseLost("this attempt lost its lease; nothing was published")

    def _may_publish(self) -> None:
        if self.settled:
            raise UsageError("this attempt has already succeeded; publish before that, or with the same using=")
        if self.lease_lost:
            raise LeaseLost("this attempt lost its lease; nothing was published")

    async def publish(self, event: Event, using: object | None) -> None:
        """Put an event into its outbox while this attempt runs, once for its id.

        Raises:
            LeaseLost: nothing was written.
            StoreUnavailable: to repeat it is safe.
        """
        self._may_publish()
        store = self._store
        if not isinstance(store, Post):
            raise UsageError(NO_OUTBOX)
        into = store if using is None else self._store.join(using)
        await into.publish([event], self.lease, once=True)

    async def _settle_alone(self, settle: Settle) -> SettleResult:
        while True:
            try:
                async with asyncio.timeout(ANSWER_S):
                    return (await self._store.exchange(self._worker, (settle,), None)).settled[0]
            except TimeoutError as error:
                if self.stopping is not None:
                    raise StoreUnavailable("the store does not answer") from error
                # Whatever became of it, the fence makes it safe to ask again.
            except StoreUnavailable as error:
                if self.stopping is not None:
                    raise
                await self._feeds.wait_for_store(error)

    async def _settle_in(self, joined: Joined, settle: Settle) -> SettleResult:
        answer = await joined.settle(settle)
        if answer is not SettleResult.SETTLED:  # lost; or repeated: what landed before was not these writes
            await joined.rollback()
            return answer
        try:
            await joined.commit()
        except StoreUnavailable:
            if not await self._on_its_loop(self._committed()):
                raise
        if self._notifier.wants("job:"):
            self._notifier.publish((f"job:{self.job.id.hex()}",))
        return answer

    async def _on_its_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """A thread, which the body of a `def` task is in, waits for the worker's loop to do it."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if self._loop is None or running is self._loop:
            return await work
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _committed(self) -> bool:
        """Whether a commit whose answer was lost went through: the fence tells, once the store can be asked."""
        while True:
            try:
                async with asyncio.timeout(ANSWER_S):
                    (record,) = await self._store.get([self.job.id])
            except (StoreUnavailable, TimeoutError) as error:
                if self.stopping is not None:
                    raise StoreUnavailable("the store does not say whether this has succeeded") from error
                if isinstance(error, StoreUnavailable):
                    await self._feeds.wait_for_store(error)
            else:
                return record is not None and record.fence == self.job.fence and record.state is JobState.SUCCEEDED
