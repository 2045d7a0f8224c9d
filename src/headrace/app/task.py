"""A registered function: still a function, and the words that enqueue it."""

import hashlib
import inspect
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, final, overload

from headrace.app.options import PLAIN, Options, changed, keep_order
from headrace.core.model import NewJob
from headrace.runtime.context import JobContext, SyncJobContext, current_attempt
from headrace.runtime.durations import Duration
from headrace.runtime.registry import TaskDef

if TYPE_CHECKING:
    from headrace.app.headrace import Headrace
    from headrace.app.job import Job

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@final
@dataclass(slots=True)
class Call(Generic[R_co]):
    """A call that was checked and not yet enqueued; for `Headrace.enqueue_many`."""

    definition: TaskDef
    args: str
    options: Options


class BoundTask(Generic[P, R]):
    """A task with options: immutable, and enqueued by the same words."""

    def __init__(self, hr: "Headrace", definition: TaskDef, options: Options = PLAIN) -> None:
        """Made by `Headrace.task` and `options`."""
        self.definition = definition
        self._hr = hr
        self._options = options

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> "Job[R]":
        """Enqueue a job; when this returns it is durable, or, with `using`, part of your transaction.

        Raises:
            InvalidArguments: which of them, and why.
            NotEncodable: JSON cannot carry one.
            PayloadTooLarge: over the bound.
            Conflict: the key belongs to a job with other arguments.
            Shed, Full: its queue was declared (`Headrace.queue`) and is overloaded or full. With `using` too, before
                anything is written: your transaction is as it was.
            StoreUnavailable: it may come back. Under a `key`, enqueueing again cannot double the job.
        """
        return await self._hr.submit(self._call(args, kwargs))

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> "Job[R]":
        """As `enqueue`, blocking; for `def` endpoints, threads and scripts.

        Raises:
            UsageError: called where an event loop runs.
        """
        return self._hr.submit_sync(self._call(args, kwargs), f"await {self.definition.fn.__name__}.enqueue(…)")

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """The call, checked, for `Headrace.enqueue_many`."""
        return self._call(args, kwargs)

    def options(
        self,
        *,
        delay: Duration | None = None,
        run_at: datetime | None = None,
        queue: str | None = None,
        priority: int | None = None,
        key: str | None = None,
        tags: Iterable[str] | None = None,
        timeout: Duration | None = None,
        deadline: Duration | datetime | None = None,
        using: object | None = None,
    ) -> "BoundTask[P, R]":
        """The same task with these options; what is not given stays as it was.

        `delay` (at most 366 days) or `run_at` say when it is due. `priority` is -1000 to 1000, higher
        first. A `key` (at most 256 characters) makes the enqueue idempotent. `tags` are at most 20
        of at most 64 characters. `timeout` is per attempt, `deadline` for the job: a duration from
        now, or an instant. `using` is a database session or connection to write through.

        Raises:
            UsageError: names the option and its bounds.
        """
        options = changed(
            self._options,
            delay=delay,
            run_at=run_at,
            queue=queue,
            priority=priority,
            key=key,
            tags=tags,
            timeout=timeout,
            deadline=deadline,
            using=using,
        )
        return BoundTask(self._hr, self.definition, options)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call[R]:
        return Call(self.definition, self.definition.encode_args(args, kwargs), self._options)


class Task(BoundTask[P, R]):
    """A registered function; calling it calls the function."""

    def __init__(self, hr: "Headrace", definition: TaskDef) -> None:
        """Made by `Headrace.task`."""
        super().__init__(hr, definition)
        update_wrapper(self, definition.fn)

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    @property
    def name(self) -> str:
        """What jobs of it are filed under."""
        return self.definition.name

    @property
    def queue(self) -> str:
        """The queue that its jobs go to."""
        return self.definition.queue

    @property
    def function(self) -> Callable[..., Any]:
        """The function as it was written."""
        return self.definition.fn

    @property
    def headrace(self) -> "Headrace":
        """The Headrace that it is registered with."""
        return self._hr

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function: no job, no worker."""
        return self.definition.fn(*args, **kwargs)


if TYPE_CHECKING:
    # What checkers see of the four kinds of function, so that calling one is checked too.
    class AsyncTask(Task[P, R]):
        """An `async def` with a context."""

        def __call__(self, ctx: JobContext, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
            """Call the function."""
            ...

    class SyncTask(Task[P, R]):
        """A `def` with a context."""

        def __call__(self, ctx: SyncJobContext, /, *args: P.args, **kwargs: P.kwargs) -> R:
            """Call the function."""
            ...

    class PlainAsyncTask(Task[P, R]):
        """An `async def` without a context."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
            """Call the function."""
            ...

    class PlainTask(Task[P, R]):
        """A `def` without a context."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
            """Call the function."""
            ...


class TaskDecorator(Protocol):
    """What `hr.task(…)` returns: the context disappears from what callers give.

    The first form that fits is meant; that later ones fit too is what the checkers are told to allow.
    """

    @overload
    def __call__(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self, fn: Callable[Concatenate[JobContext, P], Awaitable[R]], /
    ) -> "AsyncTask[P, R]": ...
    @overload
    def __call__(self, fn: Callable[Concatenate[SyncJobContext, P], R], /) -> "SyncTask[P, R]": ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, fn: Callable[P, Awaitable[R]], /
    ) -> "PlainAsyncTask[P, R]": ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> "PlainTask[P, R]": ...


def new_job(call: Call[Any], hr: "Headrace") -> NewJob:
    """The job that this call becomes, with an id of its own."""
    definition, options = call.definition, call.options
    if definition.ordered:
        keep_order(definition, options)
    now_at = hr.clock.wall()
    job = NewJob(
        hr.ids.make(now_at, os.urandom(8)),
        definition.name,
        options.queue or definition.queue,
        call.args,
        definition.priority if options.priority is None else options.priority,
        options.delay_s,
        options.run_at,
        definition.timeout_s if options.timeout_s is None else options.timeout_s,
        options.deadline_s,
        options.deadline_at,
        definition.retry.max_attempts,
        options.key,
        "",
        definition.lane_key(call.args),
        options.tags,
        definition.signature,
        fresh=True,
    )
    if hr.outlets:
        job.promises = hr.outlets.of(definition.name)
    if options.key is not None:
        job.key_digest = hashlib.sha256(call.args.encode()).hexdigest()
    parent = current_attempt.get()
    if parent is not None and parent.deadline_at is not None:
        _inherit(job, parent.deadline_at, now_at)
    return job


def _inherit(job: NewJob, parent_at: float, now_at: float) -> None:
    """A job's deadline is never later than that of the job that enqueued it."""
    own = [
        at for at in (job.deadline_at, None if job.deadline_s is None else now_at + job.deadline_s) if at is not None
    ]
    job.deadline_at, job.deadline_s = min([parent_at, *own]), None


def local_names(depth: int) -> dict[str, Any]:
    """The names around the caller's function, for annotations of tasks that stand inside functions."""
    frame = inspect.currentframe()
    for _ in range(depth):
        frame = None if frame is None else frame.f_back
    return {} if frame is None or frame.f_locals is frame.f_globals else dict(frame.f_locals)
