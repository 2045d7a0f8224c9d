"""What an app defines on its `Headrace`: tasks, and the upstreams that they call."""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, cast

from headrace.app.options import QUEUE_CHARS_MAX, TIMEOUT_S_MAX, TIMEOUT_S_MIN, check_name, check_priority
from headrace.app.services import Services
from headrace.app.task import Task, TaskDecorator, local_names
from headrace.app.upstream import SNOOZES_MAX, Upstream, define, names_of
from headrace.core.breaker import Breaker
from headrace.core.budget import RetryBudget
from headrace.core.bulkhead import Adaptive
from headrace.core.classify import Classify
from headrace.core.errors import InvalidConfig
from headrace.core.limits import KeyOf, Limit, RateLimit
from headrace.core.order import LANES, MessageKey
from headrace.core.retry import Retry
from headrace.ports.clock import Clock
from headrace.runtime.calling import NO_FALLBACK
from headrace.runtime.durations import Duration, seconds
from headrace.runtime.publishing import Publisher
from headrace.runtime.registry import Policies, Registry, TaskDef
from headrace.settings import Settings

if TYPE_CHECKING:
    from headrace.app.celery_compat import CeleryCompat
    from headrace.app.headrace import Headrace

NAME_CHARS_MAX: Final = 200


class Definitions:
    """The part of `Headrace` that definitions are made by."""

    settings: Settings
    clock: Clock
    registry: Registry
    publisher: Publisher
    services: Services

    @cached_property
    def celery_compat(self) -> "CeleryCompat":
        """In place of `Celery(…)`, for modules whose tasks were written for Celery: `app = hr.celery_compat`."""
        from headrace.app.celery_compat import CeleryCompat

        return CeleryCompat(cast("Headrace", self))

    # -- tasks ----------------------------------------------------------------------------------

    def task(
        self,
        name: str | None = None,
        *,
        queue: str = "default",
        retry: Retry | None = None,
        timeout: Duration | None = None,
        priority: int = 0,
        public: bool = False,
        cpu: bool = False,
        memory_limit: int | None = None,
        needs: Iterable[Upstream | str] = (),
        concurrency: Limit | None = None,
        rate: RateLimit | None = None,
        fair_by: KeyOf | None = None,
        ordered_by: KeyOf | MessageKey | None = None,
        ordered_lanes: int = LANES,
    ) -> TaskDecorator:
        """Register a function: `@hr.task()` above `async def charge(ctx: JobContext, invoice_id: int)`.

        `name` is by default the function's. `retry` is by default `Retry()`, five
        attempts. `timeout` is per attempt, by default 10 minutes. Only a `public` task can be
        enqueued over HTTP. `cpu` runs a `def` in a child process, with at most `memory_limit` bytes.
        `needs` are upstreams without which it cannot run: while one of them is open, its jobs are held.
        `concurrency` and `rate` limit it over all workers; `fair_by`, a parameter's name or a function
        of some, makes jobs of different values take turns. Their keys are the same one, if they have any.
        `ordered_by`, a key too, runs the jobs of one value one after the other, in the order in which they were
        enqueued: the next one starts when the one before has ended for good, with all its retries. Values share
        `ordered_lanes` (1 to 256) lanes, and wait for each other in one; change their number while nothing waits.

        Raises:
            InvalidConfig: a function or a policy that cannot work; says what to write instead.
            DuplicateTask: the name is taken; says by what.
        """
        if name is not None and not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidConfig("write @hr.task() with parentheses")
        if memory_limit is not None and (not cpu or memory_limit <= 0):
            raise InvalidConfig("memory_limit is a number of bytes above 0, for cpu=True tasks")
        policies = Policies(
            queue=check_name("queue", queue, QUEUE_CHARS_MAX),
            retry=Retry() if retry is None else retry,
            timeout_s=self.settings.task_timeout_s
            if timeout is None
            else seconds("timeout", timeout, least=TIMEOUT_S_MIN, most=TIMEOUT_S_MAX),
            priority=check_priority(priority),
            public=public,
            cpu=cpu,
            memory_limit_bytes=memory_limit,
            args_bytes_max=self.settings.args_bytes_max,
            result_bytes_max=self.settings.result_bytes_max,
            item_bytes_max=self.settings.item_bytes_max,
            needs=names_of(needs),
            concurrency=concurrency,
            rate=rate,
            fair_by=fair_by,
            ordered_by=ordered_by,
            ordered_lanes=ordered_lanes,
            publisher=self.publisher,
        )

        def register(fn: Callable[..., Any]) -> Task[..., Any]:
            return self._registered(fn, name, policies, local_names(2))

        return cast("TaskDecorator", register)

    def define(
        self, fn: Callable[..., Any], names: dict[str, Any], ordered_by: KeyOf | MessageKey | None
    ) -> Task[..., Any]:
        """Register a function as a task, every policy but its order at its default; `names` are those around it."""
        settings = self.settings
        policies = Policies(
            timeout_s=settings.task_timeout_s,
            args_bytes_max=settings.args_bytes_max,
            result_bytes_max=settings.result_bytes_max,
            item_bytes_max=settings.item_bytes_max,
            publisher=self.publisher,
            ordered_by=ordered_by,
        )
        return self._registered(fn, None, policies, names)

    def _registered(
        self, fn: Callable[..., Any], name: str | None, policies: Policies, names: dict[str, Any]
    ) -> Task[..., Any]:
        given = name or str(getattr(fn, "__name__", repr(fn)))
        definition = TaskDef(check_name("a task's name", given, NAME_CHARS_MAX), fn, policies, names)
        self.registry.add(definition)
        return Task(cast("Headrace", self), definition)

    def upstream(
        self,
        name: str,
        *,
        breaker: Breaker | None = None,
        max_concurrency: int | Adaptive | None = None,
        rate: RateLimit | None = None,
        timeout: Duration | None = None,
        retry_budget: RetryBudget | None = None,
        fallback: Any = NO_FALLBACK,
        classify: Classify | None = None,
        snoozes_max: int = SNOOZES_MAX,
    ) -> Upstream:
        """A service that jobs and request handlers call, behind one breaker and one set of limits for the whole fleet.

        `max_concurrency` bounds the calls under way at once, fleet-wide; with an `Adaptive`, those of each
        process, at a number that it finds. `rate` bounds how many begin. `timeout` is per call. A job that
        fails because of an upstream that it needs is snoozed, at most `snoozes_max` times.

        Raises:
            InvalidConfig: a policy that cannot work, or another definition of the same name.
        """
        return define(
            self.services.upstreams,
            name,
            breaker=Breaker() if breaker is None else breaker,
            max_concurrency=max_concurrency,
            rate=rate,
            timeout=timeout,
            retry_budget=retry_budget,
            fallback=fallback,
            classify=classify,
            snoozes_max=snoozes_max,
            clock=self.clock,
        )
