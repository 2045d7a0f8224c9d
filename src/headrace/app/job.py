"""A job as the application holds it: awaitable, watchable, and right in the app's OpenAPI."""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, final

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from headrace.app.spooling import WHY, Spooling
from headrace.core.errors import (
    IllegalTransition,
    JobCancelled,
    JobFailed,
    JobTimedOut,
    PositionLost,
    ResultExpired,
    StoreUnavailable,
    UnknownJob,
    UsageError,
)
from headrace.core.feed import Position
from headrace.core.model import Cause, Failure, JobId, JobRecord, Json, UpdateKind
from headrace.core.model import Update as StoredUpdate
from headrace.core.states import JobState, ShownState, SpoolState
from headrace.runtime.durations import Duration, seconds
from headrace.runtime.views import links

if TYPE_CHECKING:
    from headrace.app.headrace import Headrace

R_co = TypeVar("R_co", covariant=True)

NO_EPOCH = "spooled"  # of no store: who comes with it is given a snapshot
DISCONNECT_S = 0.5
WAIT_S_MAX = 366 * 86_400.0
TOKEN_S_MAX = 366 * 86_400.0
_EXPIRES = {Cause.TIMEOUT, Cause.DEADLINE}


class Client(Protocol):
    """Who waits for an answer: FastAPI's `Request`."""

    async def is_disconnected(self) -> bool:
        """Whether it has gone away."""
        ...


class JobAnswer(BaseModel):
    """What an endpoint that returns a `Job` answers with."""

    id: uuid.UUID
    state: ShownState
    position: str
    token: str | None
    links: dict[str, str]


@final
@dataclass(frozen=True, slots=True)
class Update:
    """One entry of a job's feed; `position` is where a reader goes on after it."""

    position: str
    kind: UpdateKind
    attempt: int
    data: Any
    at: datetime


@final
class Job(Generic[R_co]):
    """One enqueued call of a task. What it knows is as of the last `refresh`."""

    __slots__ = ("_args", "_decode", "_hr", "_id", "_offset", "_state", "created", "record", "task")

    def __init__(
        self,
        hr: "Headrace",
        job_id: JobId,
        decode: Callable[[Json], Any],
        *,
        task: str = "",
        args: Json | None = None,
        created: bool = False,
    ) -> None:
        """Made by `enqueue`, `Headrace.job` and `Headrace.jobs`."""
        self._hr = hr
        self._id = job_id
        self._decode = decode
        self._args = args
        self._state: ShownState | None = None
        self._offset = 0
        self.task = task  # the task's name; empty until it is known
        self.created = created  # False: its key, or its id, was enqueued before
        self.record: JobRecord | None = None  # all that was known at the last refresh

    def __repr__(self) -> str:
        state = "not looked up" if self._state is None else self._state.value
        return f"<Job {self.id} {self.task or 'of an unknown task'}: {state}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self._id == other._id

    def __hash__(self) -> int:
        return hash(self._id)

    @property
    def headrace(self) -> "Headrace":
        """Where it was enqueued."""
        return self._hr

    # -- what it is -----------------------------------------------------------------------------

    @property
    def id(self) -> uuid.UUID:
        """A UUIDv7, made where the job was enqueued."""
        return uuid.UUID(bytes=self._id)

    @property
    def state(self) -> ShownState:
        """Its state as of the last refresh; `spooled` until the store can take it.

        Raises:
            UsageError: it was never looked up.
        """
        if self._state is None:
            raise UsageError("this job was not looked up yet: await job.refresh() first")
        return self._state

    @property
    def position(self) -> str:
        """Where its feed ended at the last refresh; a reader that starts here misses nothing after."""
        return str(Position(self._hr.store.epoch or NO_EPOCH, self._offset))

    @property
    def args(self) -> dict[str, Any]:
        """Its arguments, as JSON has them.

        Raises:
            UsageError: it was never looked up.
        """
        if self._args is None:
            raise UsageError("this job was not looked up yet: await job.refresh() first")
        found: dict[str, Any] = json.loads(self._args)
        return found

    @property
    def links(self) -> dict[str, str]:
        """Where it is found under the prefix."""
        return links(self._id, self._hr.prefix)

    def token(self, ttl: Duration | None = None) -> str:
        """A signed token that lets a browser follow this one job; for 15 minutes unless told otherwise.

        Raises:
            UsageError: the Headrace is not open, so that the signing secret is not known.
        """
        ttl_s = None if ttl is None else seconds("ttl", ttl, least=1.0, most=TOKEN_S_MAX)
        signer = self._hr.services.signer
        if signer is None:
            raise UsageError("the signing secret is in the store: await hr.open() before asking for a token")
        return signer.for_jobs([self._id], ttl_s=ttl_s)

    # -- what becomes of it -----------------------------------------------------------------------

    async def refresh(self) -> "Job[R_co]":
        """Look it up again; returns itself.

        Raises:
            UnknownJob: it is not in the store (yet: its transaction may be open; or no more).
            Conflict, UsageError: it was spooled, and the store refused it.
        """
        if self._spooling.holds(self._id):
            return self.landed(SpoolState.SPOOLED, 0)
        await self._hr.open()
        await self._look()
        return self

    async def result(
        self,
        timeout: Duration | None = None,  # noqa: ASYNC109 - a public word of the spec
        *,
        cancel_on_disconnect: Client | None = None,
    ) -> R_co:
        """Wait until it has ended; what the task returned.

        With `cancel_on_disconnect=request` (FastAPI's, of the endpoint that waits) the job is cancelled, as by
        `cancel`, within a second after the client of that request has gone away: for work that is of no use to anybody
        else. A `timeout` cancels nothing. Behind a middleware of Starlette's `BaseHTTPMiddleware`, which is what
        `@app.middleware("http")` makes, nobody is seen to go away; write it as plain ASGI.

        Raises:
            JobFailed: with the last failure's message and cause.
            JobTimedOut: its attempt's timeout or its own deadline passed.
            JobCancelled: somebody cancelled it, or the client went away.
            ResultExpired: it succeeded, but its result is past its retention.
            TimeoutError: it had not ended after `timeout`; it goes on.
            UnknownJob: there is no such job.
        """
        timeout_s = None if timeout is None else seconds("timeout", timeout, most=WAIT_S_MAX)
        async with asyncio.timeout(timeout_s):
            await self._spooling.gone(self._id)
            await self._hr.open()
            record = await self._ended(cancel_on_disconnect)
        value: R_co = self._value(record)
        return value

    def result_sync(self, timeout: Duration | None = None) -> R_co:
        """As `result`, blocking."""
        return self._hr.wait(self.result(timeout), "await job.result(…)")

    async def cancel(self) -> JobState:
        """Cancel it: a waiting job ends at once, a running one is asked to stop. The state after.

        Raises:
            UnknownJob: there is no such job.
        """
        self._need_stored()
        await self._hr.open()
        (state,) = await self._hr.store.cancel([self._spooling.landed(self._id)])
        if state is JobState.RUNNING:
            self._hr.notifier.publish(("cancel",))
        return (await self._look()).state

    async def retry(self) -> JobState:
        """Make a failed or cancelled job ready again, failures counted from 0. The state after.

        Raises:
            IllegalTransition: it did neither fail nor was it cancelled.
            UnknownJob: there is no such job.
        """
        self._need_stored()
        await self._hr.open()
        before = (await self._look()).state
        if before not in (JobState.FAILED, JobState.CANCELLED):
            raise IllegalTransition(f"a job that is {before.value} cannot be retried; only a failed or cancelled one")
        await self._hr.store.retry([self._spooling.landed(self._id)])
        return (await self._look()).state

    async def updates(self, after: str | None = None) -> AsyncGenerator[Update, None]:
        """Every update in order, from the beginning or after a position, up to the job's end.

        Raises:
            PositionLost: `after` is of a history that is gone; start without it.
            UnknownJob: there is no such job.
        """
        await self._spooling.gone(self._id)
        await self._hr.open()
        position = Position(self._hr.store.epoch, 0) if after is None else Position.parse(after)
        epoch, offset = position.epoch, position.offset
        async for told in self._hr.feed.updates(self._spooling.landed(self._id), position):
            if isinstance(told, StoredUpdate):
                offset = told.offset
                at = datetime.fromtimestamp(told.at, UTC)
                yield Update(str(Position(epoch, offset)), told.kind, told.attempt, json.loads(told.data), at)
            elif not told.recovered:
                raise PositionLost("this position is of a history that is gone; start without one")

    # -- inside -------------------------------------------------------------------------------

    @property
    def _spooling(self) -> Spooling:
        return self._hr.services.spooling

    def _need_stored(self) -> None:
        if self._spooling.holds(self._id):
            raise StoreUnavailable(WHY)

    def landed(self, state: ShownState, offset: int) -> "Job[R_co]":
        """An enqueue's answer."""
        self._state, self._offset = state, offset
        return self

    def looked_up(self, record: JobRecord) -> "Job[R_co]":
        """A store's answer."""
        self.record, self.task, self._args = record, record.task, record.args
        self._state, self._offset = record.state, record.offset
        return self

    async def _look(self) -> JobRecord:
        (record,) = await self._hr.store.get([self._spooling.landed(self._id)])
        if record is None:
            raise UnknownJob(f"no job {self.id} is in the store")
        self.looked_up(record)
        return record

    async def _ended(self, client: Client | None) -> JobRecord:
        news = asyncio.Event()
        release = self._hr.feed.follow(self._spooling.landed(self._id), news.set)
        try:
            while True:
                record = await self._look()
                if record.state.terminal:
                    return record
                while not await _heard(news, None if client is None else DISCONNECT_S):
                    if client is not None and await client.is_disconnected():
                        await self.cancel()
                        raise JobCancelled(f"job {self.id} ({self.task}) was cancelled: its client went away")
                news.clear()
        finally:
            release()

    def _value(self, record: JobRecord) -> Any:
        if record.state is JobState.CANCELLED:
            raise JobCancelled(f"job {self.id} ({record.task}) was cancelled")
        if record.state is JobState.FAILED:
            failure = record.failure or Failure("headrace.Unknown", "its failure was not kept")
            message = f"{failure.type}: {failure.message}"
            if failure.cause in _EXPIRES:
                raise JobTimedOut(message)
            raise JobFailed(message, failure.cause.value)
        if record.result_expired or record.result is None:
            raise ResultExpired(f"job {self.id} succeeded, but its result is past its retention")
        return self._decode(record.result)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Any `Job[…]` is the same few fields."""
        del source
        answer = handler.generate_schema(JobAnswer)
        told = core_schema.plain_serializer_function_ser_schema(_answer, return_schema=answer)
        return core_schema.json_or_python_schema(
            core_schema.is_instance_schema(Job), core_schema.is_instance_schema(Job), serialization=told
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """That of `JobAnswer`."""
        serialization: Any = schema.get("serialization")
        return handler(serialization["return_schema"])


async def _heard(news: asyncio.Event, within_s: float | None) -> bool:
    try:
        async with asyncio.timeout(within_s):
            return await news.wait()
    except TimeoutError:
        return False


def _answer(job: Job[Any]) -> JobAnswer:
    token = None if job.headrace.services.signer is None else job.token()
    return JobAnswer(id=job.id, state=job.state, position=job.position, token=token, links=job.links)
