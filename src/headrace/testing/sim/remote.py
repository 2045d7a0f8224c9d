"""The store as one simulated process reaches it: every call takes time, and may be lost on either way.

A write is applied whole, at one instant, and told to the world as it was applied, whether or not
its answer arrives; a request that is under way when its caller dies or gives up may still be applied.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from headrace.core.errors import HeadraceError, StoreUnavailable, UsageError
from headrace.core.event import Event
from headrace.core.limits import ScopeState
from headrace.core.load import LoadAsked, QueueLoad
from headrace.core.model import (
    AttemptRecord,
    ClaimRequest,
    Enqueued,
    Exchanged,
    FeedPage,
    FeedWrite,
    JobFilter,
    JobId,
    JobPage,
    JobRecord,
    Json,
    Lease,
    NewJob,
    QueueRecord,
    Reaped,
    Renewed,
    Settle,
    SettleResult,
    WorkerId,
    WorkerRecord,
)
from headrace.core.states import JobState
from headrace.ports.store import Amendment, Capabilities
from headrace.testing.sim.server import NEVER_S
from headrace.testing.sim.sessions import Session

if TYPE_CHECKING:
    import asyncio

    from headrace.testing.sim.node import Node
    from headrace.testing.sim.server import StoreServer

T = TypeVar("T")


class Request:
    """One call on its way to the server and back."""

    def __init__(
        self, node: "Node", server: "StoreServer", verb: str, args: tuple[Any, ...], named: dict[str, Any]
    ) -> None:
        """It leaves at once; its caller may die or give up meanwhile."""
        self.future: asyncio.Future[Any] = node.loop.create_future()
        self._node = node
        self._server = server
        self._call = (verb, args, named)
        self._trip = server.trip(verb)
        self._timeline = node.machine.timeline
        self._timeline.after(self._trip.there_s, self._arrive)

    def _arrive(self) -> None:
        server, trip = self._server, self._trip
        if server.refuses(self._node) or trip.request_lost:
            self._give_up("the store does not answer")
            return
        if server.frozen_until > self._timeline.now:  # everything waits in line
            self._timeline.at(server.frozen_until, self._arrive)
            return
        value, error = None, None
        try:
            value = server.apply(*self._call)
        except HeadraceError as refused:
            error = refused
        if trip.answer_lost:
            self._give_up("the answer of the store was lost")
        else:
            self._timeline.after(trip.back_s, partial(self._answer, value, error))

    def _give_up(self, text: str) -> None:
        if self._trip.gives_up_s != NEVER_S:
            self._timeline.after(self._trip.gives_up_s, partial(self._answer, None, StoreUnavailable(text)))

    def _answer(self, value: object, error: Exception | None) -> None:
        if self._node.dead or self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(value)


class RemoteStore:
    """A `ports.store.Store` of one process."""

    capabilities = Capabilities(durable=True, shared=True, joins=True)

    def __init__(self, node: "Node", server: "StoreServer") -> None:
        """The process and the server that it talks to."""
        self._node = node
        self._server = server

    @property
    def epoch(self) -> str:
        """As the server's."""
        return self._server.backend.epoch

    async def open(self) -> None:
        """It is open."""

    async def close(self) -> None:
        """Nothing is held."""

    async def call(self, verb: str, *args: Any, **named: Any) -> Any:
        """Ask the server; the fault of the moment decides what is lost.

        Raises:
            StoreUnavailable: it was applied or not.
        """
        return await Request(self._node, self._server, verb, args, named).future

    # -- jobs ---------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """As `Store.enqueue`."""
        result: list[Enqueued] = await self.call("enqueue", tuple(jobs))
        return result

    async def exchange(self, worker: WorkerId, settles: Sequence[Settle], claim: ClaimRequest | None) -> Exchanged:
        """As `Store.exchange`."""
        result: Exchanged = await self.call("exchange", worker, tuple(settles), claim)
        return result

    async def reconcile(self, worker: WorkerId, held: Sequence[Lease]) -> int:
        """As `Store.reconcile`."""
        result: int = await self.call("reconcile", worker, tuple(held))
        return result

    async def append(self, writes: Sequence[FeedWrite]) -> list[int | None]:
        """As `Store.append`."""
        result: list[int | None] = await self.call("append", tuple(writes))
        return result

    async def get(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """As `Store.get`."""
        result: list[JobRecord | None] = await self.call("get", tuple(ids))
        return result

    async def find(self, where: JobFilter, *, after: JobId | None = None, limit: int = 50) -> JobPage:
        """As `Store.find`."""
        result: JobPage = await self.call("find", where, after=after, limit=limit)
        return result

    async def attempts(self, job: JobId) -> list[AttemptRecord]:
        """As `Store.attempts`."""
        result: list[AttemptRecord] = await self.call("attempts", job)
        return result

    async def read_updates(self, job: JobId, after: int, limit: int) -> FeedPage | None:
        """As `Store.read_updates`."""
        result: FeedPage | None = await self.call("read_updates", job, after, limit)
        return result

    async def offsets(self, jobs: Sequence[JobId]) -> dict[JobId, int]:
        """As `Store.offsets`."""
        result: dict[JobId, int] = await self.call("offsets", tuple(jobs))
        return result

    async def cancel(self, jobs: Sequence[JobId]) -> list[JobState | None]:
        """As `Store.cancel`."""
        result: list[JobState | None] = await self.call("cancel", tuple(jobs))
        return result

    async def retry(self, jobs: Sequence[JobId]) -> list[JobState | None]:
        """As `Store.retry`."""
        result: list[JobState | None] = await self.call("retry", tuple(jobs))
        return result

    async def edit(self, job: JobId, args: Json) -> JobState | None:
        """As `Store.edit`."""
        result: JobState | None = await self.call("edit", job, args)
        return result

    def join(self, using: object) -> "JoinedSession":
        """Bind to a `Session` of this world."""
        if not isinstance(using, Session):
            raise UsageError(f"using={type(using).__name__}: a simulated store joins a simulated session")
        return JoinedSession(self, using)

    # -- workers, queues and chores -------------------------------------------------------------

    async def register(self, worker: WorkerRecord, lease_s: float) -> None:
        """As `Store.register`."""
        await self.call("register", worker, lease_s)

    async def renew(self, worker: WorkerId, lease_s: float) -> Renewed:
        """As `Store.renew`."""
        result: Renewed = await self.call("renew", worker, lease_s)
        return result

    async def unregister(self, worker: WorkerId) -> None:
        """As `Store.unregister`."""
        await self.call("unregister", worker)

    async def reap(self, dead: Sequence[WorkerId] = ()) -> Reaped:
        """As `Store.reap`."""
        result: Reaped = await self.call("reap", tuple(dead))
        return result

    async def workers(self) -> list[WorkerRecord]:
        """As `Store.workers`."""
        result: list[WorkerRecord] = await self.call("workers")
        return result

    async def queues(self) -> list[QueueRecord]:
        """As `Store.queues`."""
        result: list[QueueRecord] = await self.call("queues")
        return result

    async def scopes(self, names: Sequence[str]) -> list[ScopeState]:
        """As `Store.scopes`."""
        result: list[ScopeState] = await self.call("scopes", tuple(names))
        return result

    async def loads(self, asked: Sequence[LoadAsked]) -> list[QueueLoad]:
        """As `Store.loads`."""
        result: list[QueueLoad] = await self.call("loads", tuple(asked))
        return result

    async def pause(self, queue: str, *, paused: bool) -> None:
        """As `Store.pause`."""
        await self.call("pause", queue, paused=paused)

    async def promote(self, limit: int) -> tuple[int, float | None]:
        """As `Store.promote`."""
        result: tuple[int, float | None] = await self.call("promote", limit)
        return result

    async def prune(self, limit: int) -> int:
        """As `Store.prune`."""
        result: int = await self.call("prune", limit)
        return result

    async def upstreams(self) -> tuple[float, Mapping[str, Json]]:
        """As `Store.upstreams`."""
        result: tuple[float, Mapping[str, Json]] = await self.call("upstreams")
        return result

    async def amend(self, upstream: str, change: Callable[[Json | None, float], Amendment[T]]) -> T:
        """As `Store.amend`."""
        result: T = await self.call("amend", upstream, change)
        return result


class JoinedSession:
    """A `ports.store.Joined`: the user's writes and the settle land together, when it is committed."""

    def __init__(self, store: RemoteStore, session: Session) -> None:
        """Nothing is written yet."""
        self._store = store
        self._session = session
        self._settle: Settle | None = None

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """Refuse: no simulated body does this."""
        del jobs
        raise UsageError("a simulated session only settles")

    async def settle(self, settle: Settle) -> SettleResult:
        """Whether the attempt still holds its job; it is written by `commit`."""
        self._settle = settle
        (record,) = await self._store.get([settle.id])
        held = record is not None and record.state is JobState.RUNNING and record.fence == settle.fence
        return SettleResult.SETTLED if held else SettleResult.LOST

    async def publish(self, events: Sequence[Event], guard: Lease | None = None, *, once: bool = False) -> list[bool]:
        """Refuse: no simulated body does this."""
        del events, guard, once
        raise UsageError("a simulated session only settles")

    async def commit(self) -> None:
        """Commit the effect and the success, or neither."""
        result: SettleResult = await self._store.call("commit", self._session, self._settle)
        if result is SettleResult.LOST:
            raise StoreUnavailable("the transaction was rolled back")

    async def rollback(self) -> None:
        """Nothing was written."""
