"""The side of a store where messages come in and events go out.

Rules for every implementation, beside those of `ports.store`:

- What comes in lands with its jobs: bookmarks, digests and letters are in the transaction that adds them, so that a
  message is a job and taken, or neither.
- What goes out stays in the outbox until its sink has confirmed it; nothing here sends.
- An outbox is in the order of its places. Of two transactions that do not overlap, the events of the first have the
  lower places; those of one transaction are in the order in which they were given. A transaction that overlapped may
  land below a place that was read already: who reads an outbox looks from its beginning now and then.
- `publish` and whatever puts an event back into its row rings `sink:<name>` once it is committed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from headrace.core.event import Event, Outgoing
from headrace.core.message import Bookmark, Mark
from headrace.core.model import JobId, Json, Lease, NewJob
from headrace.core.relay_events import Refusal

PUBLISHED_S: Final = 7 * 86_400.0
"""For so long the id of an event that was published once is remembered."""
WAITING_MAX: Final = 10_000
"""No more events of one sink are counted."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that does not fit its task, as it came.

    `place` is where it is at the broker, `size` how many bytes its body had there; of a body over the limit, `body` is
    its beginning. `headers` is a JSON object of text.
    """

    source: str
    why: str
    content_type: str | None = None
    headers: Json = "{}"
    place: str = ""
    size: int = 0
    body: bytes = field(default=b"", repr=False)

    @property
    def truncated(self) -> bool:
        """Whether the rest of the body was not kept."""
        return len(self.body) < self.size


@dataclass(frozen=True, slots=True)
class Arrival:
    """The job that a message becomes: without a key, and with an id that is the same when the intake is repeated.

    `digest` is what is remembered of the message's id; None: it has none, or a bookmark does without. `letter` is kept
    with the job.
    """

    job: NewJob
    digest: bytes | None = None
    letter: Letter | None = None


@dataclass(frozen=True, slots=True)
class Intake:
    """What a source brings at once: jobs in the order of their messages, and how its bookmarks move by it."""

    arrivals: Sequence[Arrival] = ()
    marks: Mapping[str, Mark] = field(default_factory=dict[str, Mark])


@dataclass(frozen=True, slots=True)
class Received:
    """What became of an intake: per arrival, whether its job was added now.

    If bookmarks `moved`, nothing was written: of each part whose bookmark does not stand where the intake thought, it
    says where it stands; None: there is none.
    """

    added: tuple[bool, ...] = ()
    moved: Mapping[str, int | None] = field(default_factory=dict[str, int | None])


@dataclass(frozen=True, slots=True)
class OutboxPage:
    """Events that wait, by their places; `more`: there are others beyond.

    What is committed later has no place up to `settled`; None: nor up to the last of these.
    """

    events: tuple[Outgoing, ...] = ()
    more: bool = False
    settled: int | None = None


@dataclass(frozen=True, slots=True)
class Parked:
    """An event that its sink has refused too often: a person lets it go again, or drops it."""

    place: int
    event: Event
    failures: int
    why: str
    age_s: float


@dataclass(frozen=True, slots=True, order=True)
class Promise:
    """That the end of a job will be told; `name` says which outcome it is for."""

    job: JobId
    name: str


@dataclass(frozen=True, slots=True)
class PromisePage:
    """Promises of jobs that have ended; go on after `next_after`, and from the beginning if it is None."""

    ended: tuple[Promise, ...] = ()
    next_after: Promise | None = None


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """What the store knows of a source: its bookmarks by part, and how long ago it last took something, to a second."""

    name: str
    bookmarks: Mapping[str, Bookmark] = field(default_factory=dict[str, Bookmark])
    taken_age_s: float | None = None  # None: nothing yet


@dataclass(frozen=True, slots=True)
class SinkRecord:
    """What waits for a sink: `age_s` of the first. Parked ones are counted apart; both up to `WAITING_MAX`."""

    name: str
    waiting: int = 0
    age_s: float | None = None
    parked: int = 0


@runtime_checkable
class Post(Protocol):
    """A store that keeps bookmarks, letters, an outbox, promises and who does which chore."""

    # -- messages in --------------------------------------------------------------------------

    async def receive(self, source: str, intake: Intake) -> Received:
        """Make jobs of messages and move the source's bookmarks: all of it, or nothing.

        A job whose digest was seen from this source, or comes twice in this intake, is not added, and neither is its
        letter; nor is one whose id was seen before. Two that bring the same digest at the same time add it once. Where
        a mark's bookmark does not stand at its `known`, nothing at all is written, and `moved` says where those stand.
        Jobs are ready in the order of their arrivals, and rung for as after `enqueue`.

        Returns: `added` has one entry per arrival, in order; it is empty if bookmarks moved.

        Raises:
            StoreUnavailable: repeat the same intake, with the same ids. If it was written already, its digests or ids
                are found, or `moved` has the `next` of its own marks.
            NotEncodable, PayloadTooLarge, StoreError (no subclass): the store will never take one of these as it is;
                nothing was written.
        """
        ...

    async def bookmarks(self, source: str) -> dict[str, Bookmark]:
        """How far this source has read, by part; empty for an unknown one."""
        ...

    async def put_bookmark(self, source: str, part: str, place: int | None) -> None:
        """Set where a source goes on in a part, or forget it (None). Whoever reads there now finds that it moved."""
        ...

    async def forget_seen(self, source: str, older_s: float, limit: int) -> int:
        """Forget the digests that were first seen longer ago, at most `limit`; how many.

        A message that is delivered after that becomes a job again: only for a source that was taken from for a
        whole window since, with all that its broker had, may this be done, or for one that nobody takes from.
        """
        ...

    async def letter(self, job: JobId) -> Letter | None:
        """The message of which this job was made; None: it fitted its task, or the job is unknown."""
        ...

    # -- events out ---------------------------------------------------------------------------

    async def publish(self, events: Sequence[Event], guard: Lease | None = None, *, once: bool = False) -> list[bool]:
        """Put events into the outboxes of their sinks, in this order: all or none.

        With a `guard` they are written only while that attempt runs. With `once`, an event whose id was published so
        within `PUBLISHED_S` is not published again, also within one call.

        Returns: per event whether it is in the outbox by this call.

        Raises:
            LeaseLost: the attempt of `guard` does not run any more; nothing was written.
            StoreUnavailable: they are written or not. To repeat it is safe with `once`; without, an event may go out
                twice, under the same id.
        """
        ...

    async def outgoing(
        self, sink: str, after: int, limit: int, bytes_max: int, without: Sequence[str] = ()
    ) -> OutboxPage:
        """The events that wait for a sink, beyond a place (0: from the first), in order; parked ones are left out.

        At most `limit` events, and of at most `bytes_max` bytes of bodies, but at least one; none whose key is one of
        `without`.
        """
        ...

    async def sent(self, sink: str, done: Sequence[int], refused: Sequence[Refusal] = ()) -> None:
        """Take events that were confirmed out of the outbox, and note those that were refused.

        Places that are not there (any more) are passed over, so that it may be repeated; a refusal then may count
        twice. A parked event stays, and is not among the outgoing.
        """
        ...

    async def parked(self, sink: str, after: int, limit: int) -> list[Parked]:
        """The parked events of a sink beyond a place, in order."""
        ...

    async def unpark(self, sink: str, places: Sequence[int] | None) -> int:
        """Let parked events go again, at their old places, as if never refused; None: all of them. How many."""
        ...

    async def drop(self, sink: str, places: Sequence[int]) -> int:
        """Take parked events out of the outbox for good; how many were there and parked."""
        ...

    # -- promises -----------------------------------------------------------------------------

    async def promised(self, after: Promise | None, limit: int) -> PromisePage:
        """Look at `limit` promises beyond one, in order: those of jobs that have ended.

        `NewJob.promises` are made when the job is added; an enqueue that lands on another job makes none.
        """
        ...

    async def keep_promises(self, kept: Sequence[tuple[Promise, Event | None]]) -> int:
        """Publish what was promised (None: there is nothing to tell), and be free of it: all or none.

        A promise that is not there (any more) publishes nothing, so that of two who keep one, one does.

        Returns: how many were kept by this call.
        """
        ...

    # -- chores -------------------------------------------------------------------------------

    async def take_chore(self, name: str, doer: str, lease_s: float) -> int | None:
        """Be the one who does this, for `lease_s` from now, or stay it.

        Returns: the term, which rises when the doer changes; None: another does it, and its lease has not ended.

        Raises:
            StoreUnavailable: the lease was given or not; who is not certain does nothing.
        """
        ...

    async def leave_chore(self, name: str, doer: str) -> None:
        """Let others do this at once; nothing happens if `doer` does not do it."""
        ...

    # -- looks --------------------------------------------------------------------------------

    async def sources(self) -> list[SourceRecord]:
        """Every source that has taken something, or has bookmarks, by name."""
        ...

    async def sinks(self) -> list[SinkRecord]:
        """Every sink that had an event, by name."""
        ...
