"""Tasks that were written for Celery, run by Headrace: the decorator and the verbs that their modules use.

A thin layer to move by, over `Headrace.task`: it adds no state and no behaviour of its own. What Celery has and this
has not is refused, with what to write instead.
"""

import functools
import inspect
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from headrace.app.job import Job
from headrace.core.errors import InvalidConfig, UsageError
from headrace.core.limits import RateLimit
from headrace.core.retry import MAX_ATTEMPTS, Retry
from headrace.core.states import JobState
from headrace.runtime.context import SyncJobContext
from headrace.runtime.durations import Duration

if TYPE_CHECKING:
    from headrace.app.headrace import Headrace
    from headrace.app.task import BoundTask

Errors: TypeAlias = Iterable[type[BaseException]]

PER_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
STATES: Final = {
    "scheduled": "PENDING",
    "ready": "PENDING",
    "spooled": "PENDING",
    "running": "STARTED",
    "succeeded": "SUCCESS",
    "failed": "FAILURE",
    "cancelled": "REVOKED",
}
_ALWAYS_SO: Final = frozenset(
    [
        "acks_late",
        "acks_on_failure_or_timeout",
        "ignore_result",
        "pydantic",
        "reject_on_worker_lost",
        "send_events",
        "store_errors_even_if_ignored",
        "throws",
        "track_started",
        "trail",
        "typing",
    ]
)
"""Options of Celery that say what Headrace does anyway, or that change nothing that it does."""
_INSTEAD: Final = {
    "base": "write what the class did into the function",
    "link": "enqueue the next task where this one ends",
    "link_error": "follow failed jobs by `hr.jobs(state='failed')` or the job's feed",
    "chain": "enqueue the next task where this one ends",
    "exchange": "name a queue: queue=",
    "routing_key": "name a queue: queue=",
    "s": "call delay or apply_async; a task enqueues the next one where it ends",
    "si": "call delay or apply_async; a task enqueues the next one where it ends",
    "signature": "call delay or apply_async; a task enqueues the next one where it ends",
    "chunks": "hr.enqueue_many with a call for each chunk",
    "map": "hr.enqueue_many with a call for each",
    "starmap": "hr.enqueue_many with a call for each",
    "send_task": "import the task and call its delay",
    "add_periodic_task": "let cron, or Celery's beat as long as it runs, enqueue it",
    "on_after_configure": "let cron, or Celery's beat as long as it runs, enqueue it",
    "conf": "settings are HEADRACE_*; what belongs to a task stands at the task",
    "config_from_object": "settings are HEADRACE_*; what belongs to a task stands at the task",
    "autodiscover_tasks": "import the modules that define tasks where the app is made",
    "control": "the command line and the page: headrace jobs, queues, workers",
}
_running: ContextVar[SyncJobContext | None] = ContextVar("headrace-celery-task", default=None)


class Request:
    """What `self.request` tells a task of its job; outside one, that there is none."""

    def __init__(self, ctx: SyncJobContext | None) -> None:
        """Of an attempt."""
        self.id: str | None = None if ctx is None else str(ctx.id)
        self.retries = 0 if ctx is None else ctx.failures
        self.called_directly = ctx is None
        self.expires = None if ctx is None else ctx.deadline
        self.delivery_info: dict[str, str | None] = {"routing_key": None if ctx is None else ctx.queue}


class CeleryTask:
    """A task with Celery's verbs; with `bind=True` its function is given this as `self`."""

    def __init__(self, hr: "Headrace", fn: Callable[..., Any], options: Mapping[str, Any]) -> None:
        """Register `fn`.

        Raises:
            InvalidConfig: an option that means nothing here; says what to write instead.
            DuplicateTask: the name is taken.
        """
        options = dict(options)
        self._fn: Final = fn
        self._bind: Final = bool(options.pop("bind", False))
        self.name: Final[str] = options.pop("name", None) or f"{fn.__module__}.{fn.__name__}"
        if inspect.iscoroutinefunction(fn):
            raise InvalidConfig(f"task {self.name}: Celery has no async def; write @hr.task() above it")
        self.max_retries: Final[int] = _retries(options)
        self.default_retry_delay: Final[float] = options.pop("default_retry_delay", 180.0)
        self._expires: Final[Duration | datetime | None] = options.pop("expires", None)
        rate, timeout = _rate(options.pop("rate_limit", None)), _timeout(options)
        retry = _retry(options, self.max_retries, self.default_retry_delay)
        queue, priority = options.pop("queue", None) or "default", options.pop("priority", None) or 0
        _refuse(f"task {self.name}", options)
        decorate = hr.task(self.name, queue=queue, retry=retry, timeout=timeout, priority=priority, rate=rate)
        self.task: Final = decorate(self._body())
        self.enqueue: Final = self.task.enqueue
        self.options: Final = self.task.options
        self.call: Final = self.task.call
        functools.update_wrapper(self, fn)

    def __repr__(self) -> str:
        return f"<CeleryTask {self.name}>"

    def __getattr__(self, name: str) -> NoReturn:
        raise _missing(f"task {self.__dict__.get('name', '')}", name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function: no job, no worker."""
        return self._fn(self, *args, **kwargs) if self._bind else self._fn(*args, **kwargs)

    def _body(self) -> Callable[..., Any]:
        """What a worker runs: the function behind Headrace's context."""
        call, given = self.__call__, list(inspect.signature(self._fn).parameters.values())[self._bind :]

        @functools.wraps(self._fn)
        def body(ctx: SyncJobContext, *args: Any, **kwargs: Any) -> Any:
            mark = _running.set(ctx)
            try:
                return call(*args, **kwargs)
            finally:
                _running.reset(mark)

        context = inspect.Parameter("headrace_ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=SyncJobContext)
        body.__signature__ = inspect.Signature([context, *given])  # type: ignore[attr-defined]
        names = {each.name for each in given} | {"return"}
        kept = {name: hint for name, hint in self._fn.__annotations__.items() if name in names}
        body.__annotations__ = {"headrace_ctx": SyncJobContext, **kept}
        return body

    # -- enqueue ----------------------------------------------------------------------------------

    def delay(self, *args: Any, **kwargs: Any) -> "CeleryResult":
        """Enqueue it, blocking.

        Raises:
            UsageError: called where an event loop runs; in a coroutine, `await task.enqueue(…)`.
        """
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        task_id: str | None = None,
        countdown: Duration | None = None,
        eta: datetime | None = None,
        expires: Duration | datetime | None = None,
        queue: str | None = None,
        priority: int | None = None,
        time_limit: Duration | None = None,
        **others: Any,
    ) -> "CeleryResult":
        """Enqueue it with options, blocking. `task_id` becomes the job's key: the same one again adds no second job.

        Raises:
            UsageError: an option that means nothing here; says what to write instead.
        """
        for name in ("ignore_result", "retry", "retry_policy", "shadow", "soft_time_limit"):
            others.pop(name, None)
        if others:
            raise _missing(f"task {self.name}", next(iter(others)), UsageError)
        bound: BoundTask[..., Any] = self.options(
            key=task_id,
            delay=countdown,
            run_at=eta,
            deadline=self._expires if expires is None else expires,
            queue=queue,
            priority=priority,
            timeout=time_limit,
        )
        return CeleryResult(bound.enqueue_sync(*(args or ()), **(kwargs or {})))

    # -- inside a task ----------------------------------------------------------------------------

    @property
    def request(self) -> Request:
        """The job that runs here."""
        return Request(_running.get())

    def retry(
        self, *, exc: BaseException | None = None, countdown: Duration | None = None, max_retries: int | None = None
    ) -> NoReturn:
        """Fail this attempt and try again after `countdown`; it raises by itself, `raise self.retry()` reads better.

        After `max_retries` the job has failed, with `exc` if that is given; one above the task's own counts as that.
        """
        ctx = _running.get()
        most = self.max_retries if max_retries is None else min(max_retries, self.max_retries)
        if ctx is None:
            raise UsageError("retry is for a task that a worker runs") if exc is None else exc
        why = "" if exc is None else f"{type(exc).__name__}: {exc}"
        if ctx.failures >= most:
            raise ctx.abandon(why or f"it failed {most + 1} times") from exc
        raise ctx.retry(self.default_retry_delay if countdown is None else countdown, why) from exc

    def update_state(self, state: str | None = None, meta: Mapping[str, Any] | None = None) -> None:
        """Show progress: `current` (or `done`), `total` and `status` of `meta`; nothing outside a job."""
        ctx, meta = _running.get(), meta or {}
        if ctx is not None:
            done = meta.get("current", meta.get("done", 0))
            ctx.progress(done, meta.get("total"), str(meta.get("status") or state or ""))


class CeleryResult:
    """A job with the words of Celery's `AsyncResult`; all of them block."""

    def __init__(self, job: Job[Any]) -> None:
        """Of a job."""
        self.job: Final = job

    def __repr__(self) -> str:
        return f"<CeleryResult {self.id}>"

    @property
    def id(self) -> str:
        """The job's id."""
        return str(self.job.id)

    @property
    def state(self) -> str:
        """PENDING, STARTED, SUCCESS, FAILURE or REVOKED, looked up now."""
        return STATES[self._now().state]

    status = state

    @property
    def result(self) -> Any:
        """What the task returned, looked up now; None if it has not succeeded."""
        return self.job.result_sync() if self.successful() else None

    def get(self, timeout: Duration | None = None) -> Any:
        """Wait for the result; raises as `Job.result` does, not with the task's own exception."""
        return self.job.result_sync(timeout)

    def ready(self) -> bool:
        """Whether it has ended."""
        return self.state in ("SUCCESS", "FAILURE", "REVOKED")

    def successful(self) -> bool:
        """Whether it has succeeded."""
        return self._now().state is JobState.SUCCEEDED

    def failed(self) -> bool:
        """Whether it has failed."""
        return self._now().state is JobState.FAILED

    def revoke(self, *, terminate: bool = True, signal: str | None = None, wait: bool = False) -> None:
        """Cancel it; one that runs is always asked to stop."""
        del terminate, signal, wait
        self.job.headrace.wait(self.job.cancel(), "await result.job.cancel()")

    def forget(self) -> None:
        """Nothing: results have their retention."""

    def _now(self) -> Job[Any]:
        return self.job.headrace.wait(self.job.refresh(), "await result.job.refresh()")


class CeleryCompat:
    """What modules that define tasks ask of `app`, in place of `Celery(…)`."""

    def __init__(self, hr: "Headrace") -> None:
        """Tasks go to this Headrace."""
        self._hr: Final = hr

    def __getattr__(self, name: str) -> NoReturn:
        raise _missing("celery_compat", name)

    def task(self, *given: Callable[..., Any], **options: Any) -> Any:
        """`@app.task` or `@app.task(bind=True, …)`: register a function; returns its `CeleryTask`.

        Raises:
            InvalidConfig: an option that means nothing here; says what to write instead.
        """
        if not given:
            return functools.partial(CeleryTask, self._hr, options=options)
        (fn,) = given
        return CeleryTask(self._hr, fn, options)

    shared_task = task

    def AsyncResult(self, id: str) -> CeleryResult:  # noqa: A002, N802 - Celery's words
        """The job of this id."""
        return CeleryResult(self._hr.job(uuid.UUID(id)))


def _missing(who: str, name: str, kind: type[Exception] = AttributeError) -> Exception:
    instead = _INSTEAD.get(name, "docs/how-to/from-celery.md lists what moves and what does not")
    return kind(f"{who} has no {name!r}: {instead}")


def _refuse(who: str, options: Mapping[str, Any]) -> None:
    if (serializer := options.get("serializer")) not in (None, "json"):
        raise InvalidConfig(f"{who}: arguments are JSON, not {serializer}: drop serializer=")
    for name in options:
        if name not in _ALWAYS_SO and name != "serializer":
            raise _missing(who, name, InvalidConfig)


def _retries(options: dict[str, Any]) -> int:
    automatic: dict[str, Any] = options.get("retry_kwargs") or {}
    most: int | None = automatic.get("max_retries", options.pop("max_retries", 3))
    return MAX_ATTEMPTS - 1 if most is None else min(most, MAX_ATTEMPTS - 1)


def _retry(options: dict[str, Any], max_retries: int, delay_s: float) -> Retry:
    """Only what `autoretry_for` lists is tried again by itself; what `self.retry` asks for is not Headrace's choice."""
    errors: Errors = options.pop("autoretry_for", None) or ()
    never: Errors = options.pop("dont_autoretry_for", None) or ()
    backoff, cap = options.pop("retry_backoff", False), options.pop("retry_backoff_max", 600)
    automatic: dict[str, Any] = options.pop("retry_kwargs", None) or {}
    jitter, plain_s = options.pop("retry_jitter", True), automatic.get("countdown", delay_s)
    again = (
        Retry(max_retries + 1, float(backoff), 2.0, cap, bool(jitter))
        if backoff
        else Retry(max_retries + 1, plain_s, 1.0, plain_s, jitter=False)
    )
    others = () if Exception in tuple(errors) else (Exception,)
    return replace(again, give_up_on=(*never, *others), rules=dict.fromkeys(errors, again))


def _rate(limit: str | float | None) -> RateLimit | None:
    """`"10/m"`, `"10/s"`, `"10/h"`, or a number a second."""
    if limit is None or limit == 0:
        return None
    text, _, unit = str(limit).partition("/")
    try:
        count, per_s = float(text), PER_S[unit or "s"]
    except (ValueError, KeyError):
        raise InvalidConfig(f"rate_limit {limit!r} is not like '10/s', '10/m' or '10/h'") from None
    return RateLimit(int(count), per_s) if count == int(count) else RateLimit(1, per_s / count)


def _timeout(options: dict[str, Any]) -> Duration | None:
    hard: Duration | None = options.pop("time_limit", None)
    soft: Duration | None = options.pop("soft_time_limit", None)
    return soft if hard is None else hard
