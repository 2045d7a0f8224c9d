"""The side of the store where messages come in and events go out; see `ports.post`.

Invariant: what a verb writes is one transaction, and `receive` and `publish` one round trip.
"""

from collections.abc import Sequence
from typing import Final

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
from headrace.stores.postgres import incoming, outbox
from headrace.stores.postgres.base import PostgresBase
from headrace.stores.postgres.enqueue import names
from headrace.stores.postgres.sql import query

_CHORE_TAKE: Final = query("chore_take")
_CHORE_LEAVE: Final = query("chore_leave")


class PostgresPost(PostgresBase):
    """Bookmarks, letters, outboxes, promises, and who does which chore."""

    # -- messages in --------------------------------------------------------------------------

    async def receive(self, source: str, intake: Intake) -> Received:
        """Make jobs of messages and move the source's bookmarks: all of it, or nothing."""
        if not (intake.arrivals or intake.marks):
            return Received()
        wanted = sorted(set(names(arrival.job for arrival in intake.arrivals)))
        # New lines are made apart, since they stay whatever becomes of their jobs.
        numbers = dict(zip(wanted, await self._numbers(wanted), strict=True))
        received = await incoming.fitting(self._each_again(lambda tx: incoming.receive(tx, source, intake, numbers)))
        if any(received.added):
            self._lines.woke(wanted)
        return received

    async def bookmarks(self, source: str) -> dict[str, Bookmark]:
        """How far this source has read, by part; empty for an unknown one."""
        return await self._each(lambda tx: incoming.bookmarks(tx, source))

    async def put_bookmark(self, source: str, part: str, place: int | None) -> None:
        """Set where a source goes on in a part, or forget it (None)."""
        await self._each_again(lambda tx: incoming.put_bookmark(tx, source, part, place))

    async def forget_seen(self, source: str, older_s: float, limit: int) -> int:
        """Forget the digests that were first seen longer ago, at most `limit`; how many."""
        return await self._each_again(lambda tx: incoming.forget_seen(tx, self._forgotten, source, older_s, limit))

    async def letter(self, job: JobId) -> Letter | None:
        """The message of which this job was made; None: it fitted its task, or the job is unknown."""
        return await self._each(lambda tx: incoming.letter(tx, job))

    # -- events out ---------------------------------------------------------------------------

    async def publish(self, events: Sequence[Event], guard: Lease | None = None, *, once: bool = False) -> list[bool]:
        """Put events into the outboxes of their sinks, in this order: all or none."""
        if not events:
            return []
        return await incoming.fitting(self._each_again(lambda tx: outbox.publish(tx, events, guard, once=once)))

    async def outgoing(
        self, sink: str, after: int, limit: int, bytes_max: int, without: Sequence[str] = ()
    ) -> OutboxPage:
        """The events that wait for a sink, beyond a place, in order; parked ones are left out."""
        heads, marks = self._outboxes, self._marks
        return await self._each(lambda tx: outbox.outgoing(tx, heads, marks, sink, after, limit, bytes_max, without))

    async def sent(self, sink: str, done: Sequence[int], refused: Sequence[Refusal] = ()) -> None:
        """Take events that were confirmed out of the outbox, and note those that were refused."""
        run = self._write if done and refused else self._each_again
        await run(lambda tx: outbox.sent(tx, sink, done, refused))

    async def parked(self, sink: str, after: int, limit: int) -> list[Parked]:
        """The parked events of a sink beyond a place, in order."""
        return await self._each(lambda tx: outbox.parked(tx, sink, after, limit))

    async def unpark(self, sink: str, places: Sequence[int] | None) -> int:
        """Let parked events go again, at their old places; None: all of them. How many."""
        return await self._each_again(lambda tx: outbox.unpark(tx, sink, places))

    async def drop(self, sink: str, places: Sequence[int]) -> int:
        """Take parked events out of the outbox for good; how many were there and parked."""
        return await self._each_again(lambda tx: outbox.drop(tx, sink, places))

    # -- promises -----------------------------------------------------------------------------

    async def promised(self, after: Promise | None, limit: int) -> PromisePage:
        """Look at `limit` promises beyond one, in order: those of jobs that have ended."""
        return await self._each(lambda tx: outbox.promised(tx, self._promises, after, limit))

    async def keep_promises(self, kept: Sequence[tuple[Promise, Event | None]]) -> int:
        """Publish what was promised, and be free of it: all or none. How many were kept by this call."""
        return await self._write(lambda tx: outbox.keep_promises(tx, kept)) if kept else 0

    # -- chores -------------------------------------------------------------------------------

    async def take_chore(self, name: str, doer: str, lease_s: float) -> int | None:
        """Be the one who does this, for `lease_s` from now, or stay it; the term, or None."""
        row = await self._each_again(lambda tx: tx.one(_CHORE_TAKE, tx.now, name, doer, lease_s))
        return None if row is None else row[0]

    async def leave_chore(self, name: str, doer: str) -> None:
        """Let others do this at once; nothing happens if `doer` does not do it."""
        await self._each_again(lambda tx: tx.all(_CHORE_LEAVE, name, doer))

    # -- looks --------------------------------------------------------------------------------

    async def sources(self) -> list[SourceRecord]:
        """Every source that has taken something, or has bookmarks, by name."""
        return await self._each(incoming.sources)

    async def sinks(self) -> list[SinkRecord]:
        """Every sink that had an event, by name."""
        return await self._each(outbox.sinks)
