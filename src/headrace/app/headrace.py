"""The facade: enqueue, look-ups, life; thin over the store, the registry and the services."""

import asyncio
import importlib
import os
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from headrace.app.adapters import KeepingStore
from headrace.app.brokers import Brokers
from headrace.app.consuming import Consuming, SourceTable
from headrace.app.gate import Gate
from headrace.app.job import Job
from headrace.app.listing import listed
from headrace.app.options import from_json
from headrace.app.outcomes import OutcomeTable
from headrace.app.publishing import Publishing
from headrace.app.queues import Queues
from headrace.app.services import Services
from headrace.app.task import Call, Task, new_job
from headrace.app.upstream import check_needs, force, records
from headrace.app.webhooks import Webhook, Webhooks
from headrace.core.errors import UnknownTask, UsageError
from headrace.core.fleet import Force
from headrace.core.fleet_record import UpstreamRecord
from headrace.core.ids import IdMaker
from headrace.core.model import Enqueued, JobFilter, NewJob, WorkerRecord
from headrace.core.source_record import SourceStatus
from headrace.core.states import JobState
from headrace.ports.clock import Clock
from headrace.ports.notifier import Notifier
from headrace.ports.vault import Vault
from headrace.runtime.arguments import Results
from headrace.runtime.clock import SystemClock
from headrace.runtime.context import current_attempt, run_now
from headrace.runtime.depends import Overrides
from headrace.runtime.durations import instant
from headrace.runtime.publishing import Publisher
from headrace.runtime.reader import FeedReader
from headrace.runtime.registry import Registry
from headrace.settings import Settings
from headrace.stores.urls import shown_url

if TYPE_CHECKING:
    from headrace.runtime.worker import Worker

R = TypeVar("R")
T = TypeVar("T")

CALLS_MAX: Final = 10_000
PREFIX: Final = "/headrace"
"""Where `install` mounts it, unless told otherwise."""


class Headrace(Webhooks, Consuming, Queues, Publishing):
    """Durable background jobs on one store."""

    def __init__(
        self,
        store: str | None = None,
        *,
        settings: Settings | None = None,
        auth: Callable[..., Any] | None = None,
        origins: Sequence[str] = (),
        prefix: str = PREFIX,
        spool: str | os.PathLike[str] | None = None,
        notifier: str | Notifier | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Nothing is opened or written before the first use.

        `store` is `sqlite:///path`, `postgresql://user@host/database` or `memory://`; without it, `HEADRACE_STORE` or
        `sqlite:///headrace.db`. `auth` is a dependency on `HTTPConnection` that returns the app's own
        user; `origins` may open the WebSocket. `spool` is a directory on a local disk that takes enqueues while the
        store is out of reach. `notifier` is as `HEADRACE_NOTIFIER`, or an object of your own for this process. `clock`
        replaces the system's, for tests.

        Raises:
            InvalidConfig: a setting that cannot work.
        """
        if settings is None:
            settings = Settings() if store is None else Settings(store=store)
        elif store is not None:
            settings = settings.model_copy(update={"store": store})
        if spool is not None:
            settings = settings.model_copy(update={"spool": os.fspath(spool)})
        if isinstance(notifier, str):
            settings, notifier = settings.model_copy(update={"notifier": notifier}), None
        self.settings = settings
        self.auth = auth
        self.origins = tuple(origins)
        self.prefix = prefix
        self.clock: Clock = SystemClock() if clock is None else clock
        self.registry = Registry()
        self.endpoints: dict[str, Webhook] = {}
        self.publisher = Publisher(
            settings.event_source, settings.event_bytes_max, wall=self._wall, knows=self.knows_broker
        )
        self.outlets = OutcomeTable(self.publisher)
        self.ids = IdMaker()
        self.brokers = Brokers(settings)
        self.sources = SourceTable(settings, self._wall, self.ids, self.outlets.of)
        self.host: Any = None  # the FastAPI app that it is installed on
        self.services = Services(settings, self.clock, moved=clock is not None, notifier=notifier)
        self.gate = Gate(lambda: self.store, self.clock, lambda: self.services.metrics.observer)
        self.gate.is_held = self._is_held
        self.after_enqueue: Callable[[Sequence[Enqueued]], Awaitable[None]] | None = None  # for the testing kit

    def __repr__(self) -> str:
        return f"<Headrace {shown_url(self.settings.store)}: {len(self.registry)} tasks>"

    # -- parts ----------------------------------------------------------------------------------

    @property
    def store(self) -> KeepingStore:
        """Where the jobs live; not necessarily open."""
        return self.services.store

    @property
    def vault(self) -> Vault:
        """Secrets, API keys and idempotency records, beside the jobs."""
        return self.services.store

    @property
    def notifier(self) -> Notifier:
        """The bell between processes."""
        return self.services.notifier

    @property
    def feed(self) -> FeedReader:
        """Follows feeds."""
        return self.services.feed

    def overrides(self) -> Overrides:
        """The host app's `dependency_overrides`."""
        found: Overrides = getattr(self.host, "dependency_overrides", {})
        return found

    # -- life -----------------------------------------------------------------------------------

    async def open(self) -> None:
        """Check the tasks and open the store, once, from any event loop; every verb does it by itself.

        Raises:
            InvalidConfig: a task whose definition cannot work.
            SchemaMismatch, StoreUnusable, StoreUnavailable: the store cannot be used; says why.
        """
        self.check()
        await self.services.open()

    async def reach(self) -> None:
        """As `open`; but with a spool, a store that is out of reach is no error: enqueues are spooled."""
        if self.services.home is not asyncio.get_running_loop():
            await self.services.spooling.reach(self.open)

    def check(self) -> None:
        """Check every definition.

        Raises:
            InvalidConfig: one that cannot work.
        """
        self.registry.check()
        self.sources.check()
        check_needs(self.registry, self.services.upstreams)

    async def close(self) -> None:
        """Finish what is being written and let go of everything. Idempotent."""
        await self.services.close()
        self.services.portal.close()

    def close_sync(self) -> None:
        """As `close`, blocking; for scripts that used the `_sync` words."""
        self.wait(self.services.close(), "await hr.close()")
        self.services.portal.close()

    def install(self, app: Any, *, workers: int = 0, prefix: str | None = None) -> None:
        """Put the routes, the live feed and the dashboard under the prefix of a FastAPI app.

        Wraps the app's lifespan. `workers` run embedded workers beside the API.
        """
        # The one call upwards: `web` knows `app`, and only an app that serves HTTP needs to load it.
        importlib.import_module("headrace.web.install").install(self, app, workers=workers, prefix=prefix)

    def embedded(self, count: int = 1) -> AbstractAsyncContextManager[None]:
        """Run workers on this event loop for the length of an `async with`."""
        from headrace.app.workers import embedded

        return embedded(self, count)

    def worker(self, worker_id: str, role: str, **options: Any) -> "Worker":
        """A worker on the open store, to be run; see `app.workers.build`."""
        from headrace.app.workers import build

        self.check()
        return build(self, worker_id, role, **options)

    # -- enqueue --------------------------------------------------------------------------------

    async def enqueue_many(self, calls: Sequence[Call[R]]) -> list[Job[R]]:
        """Enqueue calls made by `task.call(…)`: one transaction, all or none; the jobs in order.

        Raises:
            UsageError: over 10,000 of them, or not all with the same `using`.
            Conflict: a key belongs to a job with other arguments; none was enqueued.
            Shed, Full: a queue that was declared is overloaded or full; none was enqueued.
            StoreUnavailable: none was enqueued.
        """
        if len(calls) > CALLS_MAX:
            raise UsageError(f"at most {CALLS_MAX:,} calls at once, not {len(calls):,}")
        if not calls:
            return []
        using = calls[0].options.using
        if any(call.options.using is not using for call in calls):
            raise UsageError("all calls of one enqueue_many need the same using=, since it is one transaction")
        jobs = [new_job(call, self) for call in calls]
        landed = await self.write(jobs, using)
        return [self._job(call, each) for call, each in zip(calls, landed, strict=True)]

    async def enqueue_raw(
        self, task: str, args: Mapping[str, Any], options: Mapping[str, Any] | None = None
    ) -> tuple[Job[Any], bool]:
        """Enqueue what came as JSON; the job, and whether it is new.

        Raises:
            UnknownTask: no such task is registered here.
            InvalidArguments, NotEncodable, PayloadTooLarge, UsageError, Conflict: as `enqueue`.
        """
        job = await self.submit(self.raw_call(task, args, options))
        return job, job.created

    def raw_call(self, task: str, args: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> Call[Any]:
        """A call that came as JSON, checked."""
        definition = self.registry.get(task)
        return Call(definition, definition.encode_named(args), from_json(dict(options or {})))

    async def submit(self, call: Call[R]) -> Job[R]:
        """Enqueue one call."""
        job = new_job(call, self)
        landed = await self.write([job], call.options.using)
        return self._job(call, landed[0])

    def submit_sync(self, call: Call[R], instead: str) -> Job[R]:
        """Enqueue one call, blocking; `instead` is what a coroutine writes."""
        landed = self.write_sync([new_job(call, self)], call.options.using, instead)
        return self._job(call, landed[0])

    def write_sync(self, jobs: list[NewJob], using: object | None, instead: str) -> list[Enqueued]:
        """As `write`, blocking; `instead` is what a coroutine writes."""
        if using is None:
            return self.wait(self.write(jobs), instead)
        self.wait(self.open(), instead)
        self.wait(self.admit(jobs), instead)
        landed = run_now(self.store.join(using).enqueue(jobs))
        self.services.metrics.observer.enqueued(jobs, landed)
        return landed

    def wait(self, work: Coroutine[Any, Any, T], instead: str) -> T:
        """Block this thread until `work` is done on the app's loop.

        Raises:
            UsageError: this thread runs an event loop; `instead` is what to write.
        """
        return self.services.wait(work, instead)

    async def write(self, jobs: list[NewJob], using: object | None = None) -> list[Enqueued]:
        """Write new jobs, all or none; where each landed. Every enqueue comes here, but a blocking one with `using`."""
        spooling = self.services.spooling
        if using is None and spooling.spool is not None:
            return await spooling.enqueue(jobs, self._store)
        return await self._store(jobs, using)

    async def _store(self, jobs: list[NewJob], using: object | None = None) -> list[Enqueued]:
        services = self.services
        if services.home is not asyncio.get_running_loop():  # the way of every enqueue: one comparison
            await self.open()
        await self.admit(jobs)
        store = services.store
        landed = await (store.enqueue(jobs) if using is None else store.join(using).enqueue(jobs))
        services.metrics.observer.enqueued(jobs, landed)
        if self.after_enqueue is not None and using is None:
            await self.after_enqueue(landed)
        return landed

    async def admit(self, jobs: Sequence[NewJob]) -> None:
        """Refuse jobs for which their queue has no room by its policy, before anything of them is written."""
        if self.gate.declared:
            await self.gate.admit(jobs, nested=current_attempt.get() is not None)

    def _wall(self) -> float:
        """Of the clock that holds now: a test may have another."""
        return self.clock.wall()

    def _is_held(self, task: str) -> bool:
        return task in self.registry and self.services.upstreams.hold(self.registry.get(task).needs)

    def _job(self, call: Call[R], landed: Enqueued) -> Job[R]:
        definition = call.definition
        job: Job[R] = Job(
            self, landed.id, definition.decode_result, task=definition.name, args=call.args, created=landed.created
        )
        return job.landed(landed.state, landed.offset)

    # -- look-ups ---------------------------------------------------------------------------------

    @overload
    def job(self, job_id: uuid.UUID | str, result: type[R]) -> Job[R]: ...
    @overload
    def job(self, job_id: uuid.UUID | str, result: None = None) -> Job[Any]: ...
    def job(self, job_id: uuid.UUID | str, result: Any = None) -> Job[Any]:
        """The job of this id, whose result is a `result`; it is looked up when it is asked something.

        Raises:
            UsageError: not the id of a job.
        """
        try:
            found = job_id if isinstance(job_id, uuid.UUID) else uuid.UUID(job_id)
        except ValueError:
            raise UsageError(f"a job's id is a UUID, not {job_id!r}") from None
        decode = Results("job", Any if result is None else result).decode
        return Job(self, found.bytes, decode)

    async def jobs(
        self,
        *,
        task: "Task[..., R] | str | None" = None,
        queue: str | None = None,
        state: JobState | str | None = None,
        tag: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        after: Job[Any] | None = None,
        limit: int | None = None,
    ) -> list[Job[R]]:
        """Jobs that match, newest first; the last one is the next page's `after`.

        Where fewer than `limit` match, all of the history is looked through.

        Raises:
            UsageError: a bound or a state that there is not.
        """
        limit = self.settings.page_size if limit is None else limit
        if not 0 < limit <= self.settings.page_size_max:
            raise UsageError(f"limit is between 1 and {self.settings.page_size_max}, not {limit}")
        where = JobFilter(
            task=task.name if isinstance(task, Task) else task,
            queue=queue,
            state=_state(state),
            tag=tag,
            created_after=None if created_after is None else instant("created_after", created_after),
            created_before=None if created_before is None else instant("created_before", created_before),
        )
        await self.open()
        records = await listed(self.store, where, None if after is None else after.id.bytes, limit)
        return [Job[R](self, found.id, self._decoder(found.task)).looked_up(found) for found in records]

    def _decoder(self, task: str) -> Callable[[str], Any]:
        try:
            return self.registry.get(task).decode_result
        except UnknownTask:
            return Results(task, Any).decode

    async def upstreams(self) -> list[UpstreamRecord]:
        """Every upstream that any process has had, by name."""
        await self.open()
        return await records(self.store)

    async def force_upstream(self, name: str, to: Force) -> UpstreamRecord:
        """Set an upstream's breaker by hand, for the whole fleet: "open", "close" or "disable".

        Raises:
            UnknownUpstream: there is none of this name.
        """
        await self.open()
        return await force(self.store, name, to, self.services.upstreams.guards)

    async def source_status(self) -> list[SourceStatus]:
        """How every source stands, by name."""
        from headrace.app.source_status import statuses

        await self.open()
        return await statuses(self.store, self.sources)

    async def workers(self) -> list[WorkerRecord]:
        """Every worker that is known, with what it runs now."""
        await self.open()
        return await self.store.workers()


def _state(state: JobState | str | None) -> JobState | None:
    if state is None:
        return None
    try:
        return JobState(state)
    except ValueError:
        raise UsageError(f"a state is one of {', '.join(JobState)}, not {state!r}") from None
