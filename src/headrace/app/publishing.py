"""What a Headrace says to brokers: events, by an outbox in the store."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from headrace.app.brokers import SETTINGS
from headrace.app.outcomes import STATES, OutcomeTable
from headrace.app.sinks import statuses
from headrace.core.errors import UsageError
from headrace.core.event import Event
from headrace.core.sink_record import SinkStatus
from headrace.core.states import JobState
from headrace.ports.post import Post
from headrace.runtime.context import current_attempt, run_now
from headrace.runtime.publishing import NO_OUTBOX, Address, Given, Prepared, Publisher, Receiver

if TYPE_CHECKING:
    from headrace.app.brokers import Brokers
    from headrace.app.task import Task
    from headrace.ports.store import Store

T = TypeVar("T")
INSTEAD: Final = "await hr.publish(…)"


class Publishing(ABC):
    """The words of `Headrace` that are about events."""

    brokers: "Brokers"
    publisher: Publisher
    outlets: OutcomeTable

    @property
    @abstractmethod
    def store(self) -> "Store":
        """Where the outbox is."""

    @abstractmethod
    async def open(self) -> None:
        """Open the store."""

    @abstractmethod
    def wait(self, work: Coroutine[Any, Any, T], instead: str) -> T:
        """Block this thread until `work` is done on the app's loop."""

    def knows_broker(self, name: str) -> bool:
        """Whether there may be a broker of this name: this process need not have its URL."""
        return name in SETTINGS or name in self.brokers.known()

    @property
    def post(self) -> Post:
        """The store's side that keeps events.

        Raises:
            UsageError: it keeps none.
        """
        store = self.store
        if not isinstance(store, Post):
            raise UsageError(NO_OUTBOX)
        return store

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
        id: uuid.UUID | str | None = None,  # noqa: A002 - CloudEvents' word
        structured: bool = False,
        using: object | None = None,
    ) -> uuid.UUID:
        """Publish an event: when this returns it is durable in the outbox, or, with `using`, part of your transaction.

        A worker then sends it to the broker of `address`, at least once and always under the same id; events with the
        same `key` go out in order. `event` is a `CloudEvent`, `bytes` (as they are), or anything that JSON can carry,
        Pydantic's models too. With a `type` it goes out as a CloudEvent of this type: its attributes in headers, or,
        `structured`, all of it as one JSON document. `id` makes it the same event when it is published again: who
        reads it can tell.

        Returns: the event's id.

        Raises:
            UsageError: an address or an option that cannot be.
            InvalidEvent: no CloudEvent is like this.
            NotEncodable: JSON cannot carry it.
            PayloadTooLarge: over the bound for events.
            StoreUnavailable: it is published or not; with `using`, your transaction is lost.
        """
        given = Given(key, type, subject, headers or {}, content_type, structured)
        prepared = self.publisher.prepare(event, given, id)
        if isinstance(address, Receiver):
            await address.take(prepared, using)
            return prepared.id
        made = self._made(address, prepared)
        await self.open()
        if using is None:
            await self.post.publish([made])
        else:
            _ = self.post
            await self.store.join(using).publish([made])
        return prepared.id

    def publish_sync(
        self,
        address: Address | Receiver,
        event: object,
        *,
        key: str | None = None,
        type: str | None = None,  # noqa: A002 - CloudEvents' word
        subject: str | None = None,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
        id: uuid.UUID | str | None = None,  # noqa: A002 - CloudEvents' word
        structured: bool = False,
        using: object | None = None,
    ) -> uuid.UUID:
        """As `publish`, blocking; for `def` endpoints, threads and scripts. `using` is a synchronous connection.

        Raises:
            UsageError: called where an event loop runs.
        """
        given = Given(key, type, subject, headers or {}, content_type, structured)
        prepared = self.publisher.prepare(event, given, id)
        if isinstance(address, Receiver):
            address.take_sync(prepared, using)
            return prepared.id
        made = self._made(address, prepared)
        self.wait(self.open(), INSTEAD)
        if using is None:
            self.wait(self.post.publish([made]), INSTEAD)
        else:
            _ = self.post
            run_now(self.store.join(using).publish([made]))
        return prepared.id

    def outcomes(
        self,
        address: Address | Receiver,
        *,
        tasks: "Iterable[Task[..., Any] | str] | None" = None,
        states: Iterable[JobState | str] = STATES,
        data: Literal["summary", "result"] = "summary",
        name: str | None = None,
    ) -> None:
        """Have the ends of jobs told as CloudEvents of the types `headrace.job.succeeded`, `….failed`, `….cancelled`.

        Of jobs that are enqueued from here on, of these tasks, or of all. The event's subject is the job's id; its data
        says task, queue, state, attempts, tags, when and why, and, with `data="result"`, what the task returned. It is
        published once, when the job has ended for the first time; a job that is made ready again afterwards has been
        told. Define it wherever jobs are enqueued and in the workers, under one `name`, which promises are kept by; by
        default it says the broker and the place there.

        Raises:
            InvalidConfig: a definition that cannot work, or another one of this name.
        """
        self.outlets.add(address, tasks=tasks, states=states, with_result=data == "result", name=name)

    async def sinks(self) -> list[SinkStatus]:
        """Every sink that had an event, by name: what waits for it, and how it stands."""
        await self.open()
        return await statuses(self.store)

    def _made(self, address: Address, prepared: Prepared) -> Event:
        attempt = current_attempt.get()
        return self.publisher.event(address, prepared, None if attempt is None else attempt.traceparent)
