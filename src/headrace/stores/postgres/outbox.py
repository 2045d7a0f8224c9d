"""Events that go out: their outboxes, and outcomes of jobs that were promised."""

from collections.abc import Sequence
from typing import Final

from asyncpg.pgproto.pgproto import UUID

from headrace.core.errors import LeaseLost
from headrace.core.event import Event, Outgoing
from headrace.core.model import Lease
from headrace.core.relay_events import Refusal
from headrace.ports.post import PUBLISHED_S, WAITING_MAX, OutboxPage, Parked, Promise, PromisePage, SinkRecord
from headrace.stores.postgres.heads import Heads
from headrace.stores.postgres.marks import Mark, Marks
from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import Tx

_PUBLISH: Final = query("publish")
_OUTGOING: Final = query("outgoing")
_MARK: Final = query("mark_outbox")
_SENT: Final = query("sent")
_REFUSED: Final = query("refused")
_PARKED: Final = query("parked")
_UNPARK: Final = query("unpark")
_UNPARK_ALL: Final = query("unpark_all")
_DROP: Final = query("drop_parked")
_SINKS: Final = query("sinks")
_PROMISED: Final = query("promised")
_KEEP: Final = query("promise_keep")
_FIRST: Final = Promise(bytes(16), "")  # no promise is before it


async def publish(tx: Tx, events: Sequence[Event], guard: Lease | None, *, once: bool) -> list[bool]:
    """Put events into the outboxes of their sinks; per event whether it is there by this call.

    Raises:
        LeaseLost: the attempt of `guard` does not run any more; nothing was written.
    """
    (row,) = await tx.all(
        _PUBLISH,
        tx.now,
        None if guard is None else str(UUID(guard.id)),
        None if guard is None else guard.fence,
        PUBLISHED_S if once else None,
        [UUID(event.id) for event in events],
        [event.sink for event in events],
        [event.key for event in events],
        [event.target for event in events],
        [event.head for event in events],
        [event.body for event in events],
    )
    if row[0] is None:
        raise LeaseLost("the attempt that publishes does not run any more: nothing was published")
    published: list[bool] = list(row[0])
    tx.hints.update(f"sink:{event.sink}" for event, new in zip(events, published, strict=True) if new)
    return published


async def outgoing(  # noqa: PLR0917 - as the port has them
    tx: Tx, heads: Heads[int], marks: Marks, sink: str, after: int, limit: int, bytes_max: int, without: Sequence[str]
) -> OutboxPage:
    """The events that wait for a sink, beyond a place, in order."""
    settled = marks.settled(Mark(*(await tx.all(_MARK))[0]))  # before the look, which so sees all up to there
    begin, began = heads.begin(sink, after), heads.clock()
    rows = await tx.all(_OUTGOING, sink, begin, limit, bytes_max, list(without))
    whole = not begin and not without
    first, last = (rows[0][0] - 1, rows[-1][0]) if rows else (None, None)
    heads.looked(sink, first, last, began if whole else None)
    events = tuple(
        [
            Outgoing(place, Event(id_.bytes, sink, target, key, head, body), failures)
            for place, id_, key, target, head, body, failures, _ in rows
        ]
    )
    return OutboxPage(events, bool(rows and rows[-1][7]), settled)


async def sent(tx: Tx, sink: str, done: Sequence[int], refused: Sequence[Refusal]) -> None:
    """Take confirmed events out, and note refused ones."""
    if done:
        await tx.all(_SENT, sink, list(done))
    if refused:
        columns = ([r.place for r in refused], [r.why for r in refused], [r.parked for r in refused])
        await tx.all(_REFUSED, sink, *columns)


async def parked(tx: Tx, sink: str, after: int, limit: int) -> list[Parked]:
    """The parked events of a sink beyond a place, in order."""
    rows = await tx.all(_PARKED, tx.now, sink, after, limit)
    return [
        Parked(place, Event(id_.bytes, sink, target, key, head, body), failures, why, max(0.0, age_s))
        for place, id_, key, target, head, body, failures, why, age_s in rows
    ]


async def unpark(tx: Tx, sink: str, places: Sequence[int] | None) -> int:
    """Let parked events go again; how many."""
    rows = await (tx.all(_UNPARK_ALL, sink) if places is None else tx.all(_UNPARK, sink, list(places)))
    count = len(rows)
    if count:
        tx.hints.add(f"sink:{sink}")
    return count


async def drop(tx: Tx, sink: str, places: Sequence[int]) -> int:
    """Take parked events out for good; how many were there."""
    return len(await tx.all(_DROP, sink, list(places)))


async def sinks(tx: Tx) -> list[SinkRecord]:
    """Every sink that had an event, by name."""
    return [
        SinkRecord(name, waiting, None if age_s is None else max(0.0, age_s), parked)
        for name, waiting, age_s, parked in await tx.all(_SINKS, tx.now, WAITING_MAX)
    ]


async def promised(tx: Tx, heads: Heads[Promise], after: Promise | None, limit: int) -> PromisePage:
    """Look at promises beyond one: those of jobs that have ended."""
    begin, began = heads.begin("", after or _FIRST), heads.clock()
    rows = await tx.all(_PROMISED, UUID(begin.job), begin.name, limit)
    looked = [Promise(row[0].bytes, row[1]) for row in rows]
    first, last = (Promise(looked[0].job, ""), looked[-1]) if looked else (None, None)
    heads.looked("", first, last, began if begin is _FIRST else None)
    ended = tuple(promise for promise, row in zip(looked, rows, strict=True) if row[2])
    return PromisePage(ended, last if len(rows) == limit else None)


async def keep_promises(tx: Tx, kept: Sequence[tuple[Promise, Event | None]]) -> int:
    """Publish what was promised, and be free of it; how many by this call."""
    wanted = sorted(kept, key=lambda one: one[0])  # two who keep the same do not wait for each other in a circle
    rows = await tx.all(_KEEP, [UUID(promise.job) for promise, _ in wanted], [promise.name for promise, _ in wanted])
    free = {Promise(row[0].bytes, row[1]) for row in rows}
    events = [event for promise, event in kept if event is not None and promise in free]
    if events:
        await publish(tx, events, None, once=False)
    return len(free)
