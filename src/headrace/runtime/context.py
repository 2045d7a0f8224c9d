"""What a running task is handed: its job, its feed, and the words to steer with.

Invariant: a context writes nothing by itself; everything goes through its `Channel`, which guards
it with `(job, fence)`.
"""

import asyncio
import uuid
from collections.abc import Coroutine, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, TypeVar

from headrace.core.errors import Full, UsageError
from headrace.core.event import stable_id
from headrace.core.model import ClaimedJob, Json, UpdateKind
from headrace.runtime.channel import Channel
from headrace.runtime.durations import Duration, seconds
from headrace.runtime.encode import encode
from headrace.runtime.publishing import Address, Given, Prepared, Publisher, Receiver, stable
from headrace.runtime.steering import Abandon, RetryAfter, Snooze

T = TypeVar("T")
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

ITEM_BYTES_MAX = 64 << 10
ITEM_KEY_CHARS_MAX = 256
MESSAGE_CHARS_MAX = 2_000
SNOOZE_S_MAX = 366 * 86_400.0
_LEVELS = ("debug", "info", "warning", "error")


class AttemptContext:
    """What both contexts tell and how both steer."""

    __slots__ = (
        "_channel",
        "_degraded",
        "_emitted",
        "_item_bytes_max",
        "_job",
        "_published",
        "_publisher",
        "_succeeded",
        "call_turns",
        "deadline_at",
    )

    def __init__(
        self,
        job: ClaimedJob,
        channel: Channel,
        deadline_at: float | None,
        *,
        item_bytes_max: int = ITEM_BYTES_MAX,
        publisher: Publisher | None = None,
    ) -> None:
        """`deadline_at` is the job's deadline in wall-clock seconds; without a `publisher`, it publishes nothing."""
        self.deadline_at = deadline_at
        self.call_turns: dict[str, set[int]] = {}  # of calls to upstreams that have landed; see `calling_attempt`
        self._degraded: list[str] = []
        self._job = job
        self._channel = channel
        self._emitted = set(job.emitted)
        self._item_bytes_max = item_bytes_max
        self._publisher = publisher
        self._published = 0
        self._succeeded = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.task} {self.id} attempt {self.attempt}>"

    # -- the job ------------------------------------------------------------------------------

    @property
    def id(self) -> uuid.UUID:
        """The job's id."""
        return uuid.UUID(bytes=self._job.id)

    @property
    def task(self) -> str:
        """The task's name."""
        return self._job.task

    @property
    def queue(self) -> str:
        """The queue that the job came from."""
        return self._job.queue

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._job.attempt

    @property
    def failures(self) -> int:
        """How many attempts have failed before this one; crashes, snoozes and give-backs don't count."""
        return self._job.failures

    @property
    def max_attempts(self) -> int:
        """How many failures end the job."""
        return self._job.max_attempts

    @property
    def fence(self) -> int:
        """Rises with every claim of this job; hand it to systems that can refuse an older one."""
        return self._job.fence

    @property
    def tags(self) -> tuple[str, ...]:
        """The job's tags."""
        return self._job.tags

    @property
    def traceparent(self) -> str | None:
        """The trace that the job belongs to, as W3C Trace Context writes it."""
        return self._job.traceparent

    @property
    def degraded(self) -> tuple[str, ...]:
        """The upstreams that a fallback stood in for, so far in this attempt."""
        return tuple(self._degraded)

    @property
    def deadline(self) -> datetime | None:
        """When the job must have ended, if it has a deadline. Jobs enqueued from here inherit it."""
        return None if self.deadline_at is None else datetime.fromtimestamp(self.deadline_at, UTC)

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was asked to stop: cancel, timeout, shutdown or a lost lease.

        A coroutine is interrupted anyway; a thread has to look.
        """
        return self._channel.cancelled

    def emitted(self, key: str) -> bool:
        """Whether this job, in this attempt or an earlier one, has emitted an item with this key."""
        return key in self._emitted

    # -- steering -----------------------------------------------------------------------------

    def snooze(self, delay: Duration, reason: str = "") -> Snooze:
        """`raise ctx.snooze(60)`: another attempt after `delay`; no failure is counted."""
        return Snooze(seconds("snooze(delay)", delay, most=SNOOZE_S_MAX), reason)

    def retry(self, after: Duration | None = None, reason: str = "") -> RetryAfter:
        """`raise ctx.retry(after=5)`: a failure that counts, with a delay of your own."""
        return RetryAfter(None if after is None else seconds("retry(after)", after, most=SNOOZE_S_MAX), reason)

    def abandon(self, reason: str) -> Abandon:
        """`raise ctx.abandon("no such invoice")`: the job fails now, whatever `Retry` says."""
        return Abandon(reason)

    # -- what goes to the feed ------------------------------------------------------------------

    def _progress_data(self, done: float, total: float | None, message: str | None) -> Json:
        shown = None if message is None else message[:MESSAGE_CHARS_MAX]
        return encode({"done": done, "total": total, "message": shown}, "progress", self._item_bytes_max)

    def _item_data(self, item: object, key: str | None) -> Json:
        if key is not None and not 0 < len(key) <= ITEM_KEY_CHARS_MAX:
            raise UsageError(f"an item's key has 1 to {ITEM_KEY_CHARS_MAX} characters, not {len(key)}")
        return encode({"key": key, "data": item}, "an item", self._item_bytes_max)

    def _log_data(self, message: str, level: LogLevel) -> Json:
        if level not in _LEVELS:
            raise UsageError(f"a log level is one of {', '.join(_LEVELS)}, not {level!r}")
        return encode({"level": level, "message": message}, "a log line", self._item_bytes_max)

    async def _emit(self, item: object, key: str | None) -> None:
        if key is not None and key in self._emitted:
            return
        await self._add(UpdateKind.ITEM, self._item_data(item, key), key)
        if key is not None:
            self._emitted.add(key)

    def _degraded_line(self, upstream: str) -> Json | None:
        """What the feed is told of a fallback's result; None: it was told before."""
        if upstream in self._degraded:
            return None
        self._degraded.append(upstream)
        return self._log_data(f"degraded: a fallback stood in for the upstream {upstream!r}", "warning")

    async def _add(self, kind: UpdateKind, data: Json, key: str | None) -> None:
        if await self._channel.emit(kind, data, key) < 0:
            raise Full("this job's feed is full: it takes no more items or log lines")

    def _prepared(self, event: object, given: Given, once: str | None) -> tuple[Publisher, Prepared]:
        """The event under the id that it has in every attempt of this job."""
        publisher = self._publisher
        if publisher is None:
            raise UsageError("this context cannot publish: its task is not known to a Headrace")
        if once is not None and not 0 < len(once) <= ITEM_KEY_CHARS_MAX:
            raise UsageError(f"once has 1 to {ITEM_KEY_CHARS_MAX} characters, not {len(once)}")
        name = f"#{self._published}" if once is None else f"={once}"
        prepared = stable(publisher.prepare(event, given), stable_id(self._job.id, name))
        self._published += once is None
        return publisher, prepared

    async def _succeed(self, result: object, using: object | None) -> None:
        if self._succeeded:
            raise UsageError("this attempt has already succeeded; that is final")
        await self._channel.succeed(result, using)
        self._succeeded = True


class JobContext(AttemptContext):
    """What an `async def` task is handed as its first argument."""

    __slots__ = ()

    async def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Show how far the attempt is; the latest wins, and some may never be shown."""
        self._channel.progress(self._progress_data(done, total, message))

    async def emit(self, item: object, *, key: str | None = None) -> None:
        """Add an item to the feed: kept, in order; durable when this returns.

        With a key it is kept once per job: a later emit under the same key does nothing.

        Raises:
            NotEncodable: JSON cannot carry it.
            PayloadTooLarge: over the bound for items.
            Full: the feed is at its bound.
            LeaseLost: this attempt must stop; nothing was written.
        """
        await self._emit(item, key)

    async def log(self, message: str, level: LogLevel = "info") -> None:
        """Add a line to the feed, for people; kept like an item."""
        await self._add(UpdateKind.LOG, self._log_data(message, level), None)

    async def note_degraded(self, upstream: str) -> None:
        """Say that a fallback stood in for this upstream: `degraded`, and a line in the feed, once an attempt."""
        line = self._degraded_line(upstream)
        if line is not None:
            await self._add(UpdateKind.LOG, line, None)

    async def succeed(self, result: T, *, using: object | None = None) -> T:
        """End the job as succeeded, now and for good; returns `result`, to be returned.

        With `using`, a database session or connection: your writes, the result and the success land
        in that transaction, which this commits; a commit whose answer was lost is looked up. Whatever
        the task does afterwards, even an exception, changes nothing any more.

        Raises:
            LeaseLost: nothing was written, yours neither.
            StoreUnavailable: your transaction is lost: repeat it in a new one, or let the attempt
                fail. Should the lost one have landed after all, the new one is rolled back.
        """
        await self._succeed(result, using)
        return result

    async def publish(
        self,
        address: Address | Receiver,
        event: object,
        *,
        key: str | None = None,
        type: str | None = None,  # noqa: A002 - CloudEvents' word
        subject: str | None = None,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
        structured: bool = False,
        once: str | None = None,
        using: object | None = None,
    ) -> uuid.UUID:
        """Publish an event, as `Headrace.publish`: once for this job, however many attempts come here.

        What makes it the same event in another attempt is `once`, or, without it, how many were published without one
        before it in the attempt. With `using`, it lands with that transaction, as with `succeed`, or not at all. To a
        webhook, the fence is looked at just before, and not in the transaction that writes the delivery.

        Returns: the event's id, which is the same in every attempt.

        Raises:
            UsageError, InvalidEvent, NotEncodable, PayloadTooLarge: as `Headrace.publish`.
            LeaseLost: this attempt must stop; nothing was written.
            StoreUnavailable: to repeat it is safe.
        """
        given = Given(key, type, subject, headers or {}, content_type, structured)
        publisher, prepared = self._prepared(event, given, once)
        if isinstance(address, Receiver):
            await self._channel.check()
            await address.take(prepared, using)
        else:
            await self._channel.publish(publisher.event(address, prepared, self.traceparent), using)
        return prepared.id


class SyncJobContext(AttemptContext):
    """What a `def` task is handed as its first argument: the same words, blocking."""

    __slots__ = ("_loop",)

    def __init__(
        self,
        job: ClaimedJob,
        channel: Channel,
        deadline_at: float | None,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        item_bytes_max: int = ITEM_BYTES_MAX,
        publisher: Publisher | None = None,
    ) -> None:
        """`loop` is the channel's, running in another thread; None for a channel that never waits."""
        super().__init__(job, channel, deadline_at, item_bytes_max=item_bytes_max, publisher=publisher)
        self._loop = loop

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """As `JobContext.progress`."""
        data = self._progress_data(done, total, message)
        if self._loop is None:
            self._channel.progress(data)
        else:
            self._loop.call_soon_threadsafe(self._channel.progress, data)

    def emit(self, item: object, *, key: str | None = None) -> None:
        """As `JobContext.emit`."""
        self._wait(self._emit(item, key))

    def log(self, message: str, level: LogLevel = "info") -> None:
        """As `JobContext.log`."""
        self._wait(self._add(UpdateKind.LOG, self._log_data(message, level), None))

    def note_degraded(self, upstream: str) -> None:
        """As `JobContext.note_degraded`."""
        line = self._degraded_line(upstream)
        if line is not None:
            self._wait(self._add(UpdateKind.LOG, line, None))

    def succeed(self, result: T, *, using: object | None = None) -> T:
        """As `JobContext.succeed`; `using` is a synchronous session or connection of this thread."""
        self._wait_with(using, self._succeed(result, using))
        return result

    def publish(
        self,
        address: Address | Receiver,
        event: object,
        *,
        key: str | None = None,
        type: str | None = None,  # noqa: A002 - CloudEvents' word
        subject: str | None = None,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
        structured: bool = False,
        once: str | None = None,
        using: object | None = None,
    ) -> uuid.UUID:
        """As `JobContext.publish`; `using` is a synchronous session or connection of this thread."""
        given = Given(key, type, subject, headers or {}, content_type, structured)
        publisher, prepared = self._prepared(event, given, once)
        if isinstance(address, Receiver):
            self._wait(self._channel.check())
            address.take_sync(prepared, using)
        else:
            made = publisher.event(address, prepared, self.traceparent)
            self._wait_with(using, self._channel.publish(made, using))
        return prepared.id

    def _wait_with(self, using: object | None, work: Coroutine[Any, Any, None]) -> None:
        if using is None:
            self._wait(work)
        else:
            run_now(work)  # here, since the connection is this thread's

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            return run_now(work)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends.

    Raises:
        UsageError: it wanted to wait.
    """
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    work.close()
    raise UsageError("this would have to wait, and there is no event loop here to wait on")


current_attempt: ContextVar[JobContext | SyncJobContext | None] = ContextVar("headrace_attempt", default=None)
"""The attempt whose body runs here: jobs enqueued from it inherit its deadline."""
