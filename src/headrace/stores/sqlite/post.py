"""The post of the SQLite store: every verb in one transaction of the writer, or one look of a reader."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from headrace.core.event import Event
from headrace.core.message import Bookmark
from headrace.core.model import JobId, Lease
from headrace.core.relay_events import Refusal
from headrace.ports.post import (
    Intake,
    Letter,
    OutboxPage,
    Parked,
    Promise,
    PromisePage,
    Received,
    SinkRecord,
    SourceRecord,
)
from headrace.ports.store import StoreSettings
from headrace.stores.sqlite import incoming, outbox
from headrace.stores.sqlite.sql import query
from headrace.stores.sqlite.tx import MICRO, Tx

T = TypeVar("T")
_CHORE_TAKE: Final = query("chore_take")
_CHORE_LEAVE: Final = query("chore_leave")


class SqlitePost(ABC):
    """What a store on SQLite does with messages and events."""

    _settings: StoreSettings

    @abstractmethod
    async def _write(self, op: Callable[[Tx], T]) -> T:
        """A transaction of the writer's."""

    @abstractmethod
    async def _read(self, question: Callable[[Tx], T]) -> T:
        """A look."""

    # -- messages in --------------------------------------------------------------------------

    async def receive(self, source: str, intake: Intake) -> Received:
        """Make jobs of messages and move the source's bookmarks: all of it, or nothing."""
        retention_s = self._settings.key_retention_s
        return await self._write(lambda tx: incoming.receive(tx, source, intake, retention_s))

    async def bookmarks(self, source: str) -> dict[str, Bookmark]:
        """How far this source has read, by part."""
        return await self._read(lambda tx: incoming.bookmarks(tx, source))

    async def put_bookmark(self, source: str, part: str, place: int | None) -> None:
        """Set where a source goes on in a part, or forget it."""
        await self._write(lambda tx: incoming.put_bookmark(tx, source, part, place))

    async def forget_seen(self, source: str, older_s: float, limit: int) -> int:
        """Forget the digests that were first seen longer ago, at most `limit`; how many."""
        return await self._write(lambda tx: incoming.forget_seen(tx, source, older_s, limit))

    async def letter(self, job: JobId) -> Letter | None:
        """The message of which this job was made."""
        return await self._read(lambda tx: incoming.letter(tx, job))

    async def sources(self) -> list[SourceRecord]:
        """Every source that has taken something, or has bookmarks, by name."""
        return await self._read(incoming.sources)

    # -- events out ---------------------------------------------------------------------------

    async def publish(self, events: Sequence[Event], guard: Lease | None = None, *, once: bool = False) -> list[bool]:
        """Put events into the outboxes of their sinks, in this order: all or none."""
        return await self._write(lambda tx: outbox.publish(tx, events, guard, once=once))

    async def outgoing(
        self, sink: str, after: int, limit: int, bytes_max: int, without: Sequence[str] = ()
    ) -> OutboxPage:
        """The events that wait for a sink, beyond a place, in order."""
        return await self._read(lambda tx: outbox.outgoing(tx, sink, after, limit, bytes_max, without=without))

    async def sent(self, sink: str, done: Sequence[int], refused: Sequence[Refusal] = ()) -> None:
        """Take events that were confirmed out of the outbox, and note those that were refused."""
        await self._write(lambda tx: outbox.sent(tx, sink, done, refused))

    async def parked(self, sink: str, after: int, limit: int) -> list[Parked]:
        """The parked events of a sink beyond a place, in order."""
        return await self._read(lambda tx: outbox.parked(tx, sink, after, limit))

    async def unpark(self, sink: str, places: Sequence[int] | None) -> int:
        """Let parked events go again, at their old places; None: all of them. How many."""
        return await self._write(lambda tx: outbox.unpark(tx, sink, places))

    async def drop(self, sink: str, places: Sequence[int]) -> int:
        """Take parked events out of the outbox for good; how many were there and parked."""
        return await self._write(lambda tx: outbox.drop(tx, sink, places))

    async def sinks(self) -> list[SinkRecord]:
        """Every sink that had an event, by name."""
        return await self._read(outbox.sinks)

    async def promised(self, after: Promise | None, limit: int) -> PromisePage:
        """Look at `limit` promises beyond one, in order: those of jobs that have ended."""
        return await self._read(lambda tx: outbox.promised(tx, after, limit))

    async def keep_promises(self, kept: Sequence[tuple[Promise, Event | None]]) -> int:
        """Publish what was promised, and be free of it: all or none; how many by this call."""
        return await self._write(lambda tx: outbox.keep_promises(tx, kept))

    # -- chores -----------------------------------------------------------------------------------

    async def take_chore(self, name: str, doer: str, lease_s: float) -> int | None:
        """Be the one who does this, or stay it; the term."""

        def take(tx: Tx) -> int | None:
            row = tx.one(_CHORE_TAKE, (name, doer, tx.now + int(lease_s * MICRO), tx.now))
            return None if row is None else int(row[0])

        return await self._write(take)

    async def leave_chore(self, name: str, doer: str) -> None:
        """Let others do this at once."""
        await self._write(lambda tx: tx.run(_CHORE_LEAVE, (name, doer, tx.now)))
