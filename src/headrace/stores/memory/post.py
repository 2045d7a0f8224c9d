"""The post of the memory store: bookmarks, seen ids, letters, outboxes, promises and chores."""

import math
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import islice

from headrace.core.errors import LeaseLost
from headrace.core.event import Event, Outgoing
from headrace.core.message import Bookmark
from headrace.core.model import JobId, Lease
from headrace.core.relay_events import Refusal
from headrace.core.states import JobState
from headrace.ports.post import (
    PUBLISHED_S,
    WAITING_MAX,
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
from headrace.stores.memory.board import Board
from headrace.stores.memory.vault import MemoryVault


@dataclass(slots=True)
class SourceRow:
    """What is known of one source: its bookmarks by part, and when each digest was first seen."""

    bookmarks: dict[str, Bookmark] = field(default_factory=dict[str, Bookmark])
    seen: dict[bytes, float] = field(default_factory=dict[bytes, float])
    taken_at: float | None = None


@dataclass(slots=True)
class EventRow:
    """An event in an outbox."""

    event: Event
    at: float
    failures: int = 0
    why: str = ""
    parked: bool = False


@dataclass(slots=True)
class ChoreRow:
    """Who does a chore, and until when."""

    doer: str
    term: int
    ends_at: float


class MemoryPost(MemoryVault, ABC):
    """The post, in dictionaries under the store's lock."""

    def __init__(self, wall: Callable[[], float]) -> None:
        """`wall` tells seconds since the epoch."""
        super().__init__(wall)
        self._sources: dict[str, SourceRow] = {}
        self._outboxes: dict[str, dict[int, EventRow]] = {}
        self._place = 0
        self._published: dict[bytes, float] = {}
        self._chores: dict[str, ChoreRow] = {}

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[tuple[Board, float]]:
        """The board and the instant of a verb."""

    # -- messages in --------------------------------------------------------------------------

    async def receive(self, source: str, intake: Intake) -> Received:
        """Make jobs of messages and move the source's bookmarks: all of it, or nothing."""
        with self._transaction() as (board, now):
            known = self._sources.setdefault(source, SourceRow())
            stand = {part: known.bookmarks[part].next if part in known.bookmarks else None for part in intake.marks}
            moved = {part: stand[part] for part, mark in intake.marks.items() if stand[part] != mark.known}
            if moved:
                return Received(moved=moved)
            for part, mark in intake.marks.items():
                known.bookmarks[part] = Bookmark(mark.next, mark.at_ms)
            if intake.arrivals or intake.marks:
                known.taken_at = now
            added: list[bool] = []
            for arrival in intake.arrivals:
                new = arrival.job.id not in board.rows and arrival.digest not in known.seen
                added.append(new)
                if arrival.digest is not None:
                    known.seen.setdefault(arrival.digest, now)
                if new:
                    board.add(arrival.job, now)
                    if arrival.letter is not None:
                        board.letters[arrival.job.id] = replace(arrival.letter, source=source)
            return Received(tuple(added))

    async def bookmarks(self, source: str) -> dict[str, Bookmark]:
        """How far this source has read, by part."""
        with self._transaction():
            known = self._sources.get(source)
            return {} if known is None else dict(known.bookmarks)

    async def put_bookmark(self, source: str, part: str, place: int | None) -> None:
        """Set where a source goes on in a part, or forget it."""
        with self._transaction():
            known = self._sources.setdefault(source, SourceRow())
            if place is None:
                known.bookmarks.pop(part, None)
            else:
                known.bookmarks[part] = Bookmark(place)

    async def forget_seen(self, source: str, older_s: float, limit: int) -> int:
        """Forget the digests that were first seen longer ago, at most `limit`; how many."""
        with self._transaction() as (_, now):
            known = self._sources.get(source)
            return 0 if known is None else _forget(known.seen, now - older_s, limit)

    async def letter(self, job: JobId) -> Letter | None:
        """The message of which this job was made."""
        with self._transaction() as (board, _):
            return board.letters.get(job)

    # -- events out ---------------------------------------------------------------------------

    async def publish(self, events: Sequence[Event], guard: Lease | None = None, *, once: bool = False) -> list[bool]:
        """Put events into the outboxes of their sinks, in this order: all or none."""
        with self._transaction() as (board, now):
            if guard is not None:
                row = board.rows.get(guard.id)
                if row is None or row.state is not JobState.RUNNING or row.fence != guard.fence:
                    raise LeaseLost(f"the attempt of {guard.id.hex()} does not run any more: nothing was published")
            return [self._put(board, event, now, once=once) for event in events]

    def _put(self, board: Board, event: Event, now: float, *, once: bool) -> bool:
        if once:
            if self._published.get(event.id, -math.inf) > now - PUBLISHED_S:
                return False
            self._published[event.id] = now
        self._place += 1
        self._outboxes.setdefault(event.sink, {})[self._place] = EventRow(event, now)
        board.hints.add(f"sink:{event.sink}")
        return True

    async def outgoing(
        self, sink: str, after: int, limit: int, bytes_max: int, without: Sequence[str] = ()
    ) -> OutboxPage:
        """The events that wait for a sink, beyond a place, in order."""
        with self._transaction():
            waiting = (
                Outgoing(place, row.event, row.failures)
                for place, row in sorted(self._outboxes.get(sink, {}).items())
                if place > after and not row.parked and row.event.key not in without
            )
            events: list[Outgoing] = []
            size = 0
            for out in waiting:
                size += len(out.event.body)
                if len(events) >= limit or (events and size > bytes_max):
                    return OutboxPage(tuple(events), more=True)
                events.append(out)
            return OutboxPage(tuple(events))

    async def sent(self, sink: str, done: Sequence[int], refused: Sequence[Refusal] = ()) -> None:
        """Take events that were confirmed out of the outbox, and note those that were refused."""
        with self._transaction():
            rows = self._outboxes.get(sink, {})
            for place in done:
                rows.pop(place, None)
            for refusal in refused:
                row = rows.get(refusal.place)
                if row is not None:
                    row.failures, row.why, row.parked = row.failures + 1, refusal.why, refusal.parked

    async def parked(self, sink: str, after: int, limit: int) -> list[Parked]:
        """The parked events of a sink beyond a place, in order."""
        with self._transaction() as (_, now):
            rows = sorted(self._outboxes.get(sink, {}).items())
            found = ((place, row) for place, row in rows if place > after and row.parked)
            return [
                Parked(place, row.event, row.failures, row.why, now - row.at) for place, row in islice(found, limit)
            ]

    async def unpark(self, sink: str, places: Sequence[int] | None) -> int:
        """Let parked events go again, at their old places; None: all of them. How many."""
        with self._transaction() as (board, _):
            rows = self._parked(sink, places)
            for place in rows:
                row = self._outboxes[sink][place]
                row.failures, row.parked = 0, False
            if rows:
                board.hints.add(f"sink:{sink}")
            return len(rows)

    async def drop(self, sink: str, places: Sequence[int]) -> int:
        """Take parked events out of the outbox for good; how many were there and parked."""
        with self._transaction():
            rows = self._parked(sink, places)
            for place in rows:
                del self._outboxes[sink][place]
            return len(rows)

    def _parked(self, sink: str, places: Sequence[int] | None) -> list[int]:
        rows = self._outboxes.get(sink, {})
        return [place for place, row in rows.items() if row.parked and (places is None or place in places)]

    # -- promises -----------------------------------------------------------------------------

    async def promised(self, after: Promise | None, limit: int) -> PromisePage:
        """Look at `limit` promises beyond one, in order: those of jobs that have ended."""
        with self._transaction() as (board, _):
            begin = 0 if after is None else bisect_right(board.promises, after)
            looked = board.promises[begin : begin + limit]
            ended = tuple(promise for promise in looked if board.rows[promise.job].state.terminal)
            return PromisePage(ended, looked[-1] if len(looked) == limit else None)

    async def keep_promises(self, kept: Sequence[tuple[Promise, Event | None]]) -> int:
        """Publish what was promised, and be free of it: all or none; how many by this call."""
        with self._transaction() as (board, now):
            count = 0
            for promise, event in kept:
                at = bisect_left(board.promises, promise)
                if at == len(board.promises) or board.promises[at] != promise:
                    continue
                del board.promises[at]
                count += 1
                if event is not None:
                    self._put(board, event, now, once=False)
            return count

    # -- chores -------------------------------------------------------------------------------

    async def take_chore(self, name: str, doer: str, lease_s: float) -> int | None:
        """Be the one who does this, or stay it; the term."""
        with self._transaction() as (_, now):
            chore = self._chores.setdefault(name, ChoreRow(doer, 1, now))
            if chore.doer != doer:
                if chore.ends_at > now:
                    return None
                chore.doer, chore.term = doer, chore.term + 1
            chore.ends_at = now + lease_s
            return chore.term

    async def leave_chore(self, name: str, doer: str) -> None:
        """Let others do this at once."""
        with self._transaction() as (_, now):
            chore = self._chores.get(name)
            if chore is not None and chore.doer == doer:
                chore.ends_at = min(chore.ends_at, now)

    # -- looks --------------------------------------------------------------------------------

    async def sources(self) -> list[SourceRecord]:
        """Every source that has taken something, or has bookmarks, by name."""
        with self._transaction() as (_, now):
            return [
                SourceRecord(
                    name,
                    dict(sorted(row.bookmarks.items())),
                    None if row.taken_at is None else now - row.taken_at,
                )
                for name, row in sorted(self._sources.items())
                if row.bookmarks or row.taken_at is not None
            ]

    async def sinks(self) -> list[SinkRecord]:
        """Every sink that had an event, by name."""
        with self._transaction() as (_, now):
            records: list[SinkRecord] = []
            for name, rows in sorted(self._outboxes.items()):
                waiting = [row.at for _, row in sorted(rows.items()) if not row.parked]
                age_s = now - waiting[0] if waiting else None
                parked = len(rows) - len(waiting)
                records.append(SinkRecord(name, min(len(waiting), WAITING_MAX), age_s, min(parked, WAITING_MAX)))
            return records

    def _prune_post(self, now: float, limit: int) -> int:
        return _forget(self._published, now - PUBLISHED_S, limit)


def _forget(seen: dict[bytes, float], before: float, limit: int) -> int:
    old = list(islice((digest for digest, at in seen.items() if at < before), limit))
    for digest in old:
        del seen[digest]
    return len(old)
