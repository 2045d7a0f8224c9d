"""A context for calling a task's function directly, which records what the function says."""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from headrace.core.errors import LeaseLost
from headrace.core.event import Event
from headrace.core.model import ClaimedJob, Json, UpdateKind
from headrace.runtime.clock import SystemClock
from headrace.runtime.context import JobContext, SyncJobContext
from headrace.runtime.publishing import Publisher


@dataclass(slots=True)
class Recorder:
    """A channel that keeps what is written, and a test's switches."""

    cancelled: bool = False
    lease_lost: bool = False
    progressed: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    items: list[Any] = field(default_factory=list[Any])
    logs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    results: list[object] = field(default_factory=list[object])
    usings: list[object | None] = field(default_factory=list[object | None])
    events: list[Event] = field(default_factory=list[Event])

    def progress(self, data: Json) -> None:
        """Keep every progress, not only the latest."""
        self.progressed.append(json.loads(data))

    async def emit(self, kind: UpdateKind, data: Json, key: str | None) -> int:
        """Keep an item or a log line.

        Raises:
            LeaseLost: the test says so.
        """
        del key
        self._check()
        value = json.loads(data)
        if kind is UpdateKind.ITEM:
            self.items.append(value["data"])
        else:
            self.logs.append(value)
        return len(self.items) + len(self.logs)

    async def succeed(self, result: object, using: object | None) -> None:
        """Keep the result; nothing is committed.

        Raises:
            LeaseLost: the test says so.
        """
        self._check()
        self.results.append(result)
        self.usings.append(using)

    async def check(self) -> None:
        """Whether it may write what is written elsewhere.

        Raises:
            LeaseLost: the test says that it may not.
        """
        self._check()

    async def publish(self, event: Event, using: object | None) -> None:
        """Keep an event; nothing is sent.

        Raises:
            LeaseLost: the test says so.
        """
        del using
        self._check()
        self.events.append(event)

    def _check(self) -> None:
        if self.lease_lost:
            raise LeaseLost("this test says that the lease is lost")


class RecordedContext(JobContext):
    """A `JobContext` without a job; `recorded` is what was said through it."""

    __slots__ = ("recorded",)

    def __init__(self, job: ClaimedJob, recorded: Recorder) -> None:
        """Made by `context`."""
        super().__init__(job, recorded, None, publisher=_publisher())
        self.recorded = recorded


class RecordedSyncContext(SyncJobContext):
    """A `SyncJobContext` without a job; `recorded` is what was said through it."""

    __slots__ = ("recorded",)

    def __init__(self, job: ClaimedJob, recorded: Recorder) -> None:
        """Made by `sync_context`."""
        super().__init__(job, recorded, None, publisher=_publisher())
        self.recorded = recorded


def context(
    *,
    attempt: int = 1,
    max_attempts: int = 5,
    task: str = "task",
    queue: str = "default",
    tags: tuple[str, ...] = (),
    emitted: frozenset[str] = frozenset(),
    cancelled: bool = False,
) -> RecordedContext:
    """A context to call an `async def` task with: `await charge(context(attempt=2), 7)`."""
    job = _job(attempt=attempt, max_attempts=max_attempts, task=task, queue=queue, tags=tags, emitted=emitted)
    return RecordedContext(job, Recorder(cancelled))


def sync_context(
    *,
    attempt: int = 1,
    max_attempts: int = 5,
    task: str = "task",
    queue: str = "default",
    tags: tuple[str, ...] = (),
    emitted: frozenset[str] = frozenset(),
    cancelled: bool = False,
) -> RecordedSyncContext:
    """A context to call a `def` task with: `resize(sync_context(), "a.jpg")`."""
    job = _job(attempt=attempt, max_attempts=max_attempts, task=task, queue=queue, tags=tags, emitted=emitted)
    return RecordedSyncContext(job, Recorder(cancelled))


def _publisher() -> Publisher:
    return Publisher(wall=SystemClock().wall)


def _job(
    *, attempt: int, max_attempts: int, task: str, queue: str, tags: tuple[str, ...], emitted: frozenset[str]
) -> ClaimedJob:
    return ClaimedJob(
        id=uuid.uuid4().bytes,
        fence=attempt,
        task=task,
        queue=queue,
        args="{}",
        attempt=attempt,
        failures=attempt - 1,
        crashes=0,
        snoozes=0,
        max_attempts=max_attempts,
        timeout_s=600.0,
        deadline_in_s=None,
        tags=tags,
        signature="",
        offset=1,
        emitted=emitted,
    )
