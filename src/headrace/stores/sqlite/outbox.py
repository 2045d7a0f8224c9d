"""Events out: the outboxes of sinks, and promises of what will be told.

Invariant: places rise in the order of commits, for one transaction at a time writes, and none is used twice.
"""

import json
from collections.abc import Sequence
from typing import Final

from headrace.core.errors import LeaseLost
from headrace.core.event import Event, Outgoing
from headrace.core.model import Lease
from headrace.core.relay_events import Refusal
from headrace.ports.post import PUBLISHED_S, WAITING_MAX, OutboxPage, Parked, Promise, PromisePage, SinkRecord
from headrace.stores.sqlite.faults import encodable
from headrace.stores.sqlite.sql import query
from headrace.stores.sqlite.tx import MICRO, Row, Tx

_GUARD: Final = query("append_guard")
_SINK_ID: Final = query("sink_id")
_SINK_INSERT: Final = query("sink_insert")
_SINKS: Final = query("sinks")
_INSERT: Final = query("outbox_insert")
_PICK: Final = query("outgoing_pick")
_OUTGOING: Final = query("outgoing")
_PUBLISHED_INSERT: Final = query("published_insert")
_SENT: Final = query("sent")
_REFUSED: Final = query("refused")
_PARKED: Final = query("parked")
_UNPARK: Final = query("unpark")
_UNPARK_ALL: Final = query("unpark_all")
_DROP: Final = query("drop_parked")
_PROMISED: Final = query("promised")
_KEEP: Final = query("promise_keep")
PUBLISHED: Final = 0
"""The number under which `seen` has the ids of events that were published once; no source has it."""


def publish(tx: Tx, events: Sequence[Event], guard: Lease | None, *, once: bool) -> list[bool]:
    """Put events into the outboxes of their sinks, in this order: all or none.

    Raises:
        LeaseLost: the attempt of `guard` does not run any more; nothing was written.
        NotEncodable: an event has text that cannot be kept; nothing was written.
    """
    if guard is not None and tx.one(_GUARD, (guard.id, guard.fence)) is None:
        raise LeaseLost(f"the attempt of {guard.id.hex()} does not run any more: nothing was published")
    expired = tx.now - int(PUBLISHED_S * MICRO)
    new = [not once or tx.run(_PUBLISHED_INSERT, (PUBLISHED, event.id, tx.now, expired)) > 0 for event in events]
    _put(tx, [event for event, is_new in zip(events, new, strict=True) if is_new])
    return new


@encodable("an event's sink, target, key or headers")
def _put(tx: Tx, events: Sequence[Event]) -> None:
    numbers = {name: _number(tx, name) for name in {event.sink: None for event in events}}
    tx.many(
        _INSERT,
        [(numbers[event.sink], event.id, tx.now, event.key, event.target, event.head, event.body) for event in events],
    )
    tx.hints.update(f"sink:{name}" for name in numbers)


def _number(tx: Tx, sink: str) -> int:
    row = tx.one(_SINK_ID, (sink,)) or tx.one(_SINK_INSERT, (sink,))
    assert row is not None  # noqa: S101 - an INSERT with RETURNING answers
    return int(row[0])


def outgoing(tx: Tx, sink: str, after: int, limit: int, bytes_max: int, *, without: Sequence[str]) -> OutboxPage:
    """The events that wait for a sink, beyond a place, in order; how large they are is looked at first."""
    left_out = json.dumps(list(without))
    found = tx.all(_PICK, (sink, after, left_out, limit + 1))
    count = size = 0
    for _, bytes_ in found[:limit]:
        size += bytes_
        if count and size > bytes_max:
            break
        count += 1
    if not count:
        return OutboxPage(more=bool(found))
    rows = tx.all(_OUTGOING, (sink, after, left_out, found[count - 1][0]))
    events = tuple(Outgoing(row[0], _event(sink, row), row[6]) for row in rows)
    return OutboxPage(events, more=count < len(found))


def _event(sink: str, row: Row) -> Event:
    _, id_, key, target, head, body, *_ = row
    return Event(id_, sink, target, key, head, body)


def sent(tx: Tx, sink: str, done: Sequence[int], refused: Sequence[Refusal]) -> None:
    """Take events that were confirmed out of the outbox, and note those that were refused."""
    tx.many(_SENT, [(sink, place) for place in done])
    tx.many(_REFUSED, [(sink, refusal.place, refusal.why, int(refusal.parked)) for refusal in refused])


def parked(tx: Tx, sink: str, after: int, limit: int) -> list[Parked]:
    """The parked events of a sink beyond a place, in order."""
    return [
        Parked(row[0], _event(sink, row), row[6], row[7] or "", max(0.0, (tx.now - row[8]) / MICRO))
        for row in tx.all(_PARKED, (sink, after, limit))
    ]


def unpark(tx: Tx, sink: str, places: Sequence[int] | None) -> int:
    """Let parked events go again, at their old places; None: all of them. How many."""
    count = tx.run(_UNPARK_ALL, (sink,)) if places is None else tx.many(_UNPARK, [(sink, place) for place in places])
    if count:
        tx.hints.add(f"sink:{sink}")
    return max(0, count)


def drop(tx: Tx, sink: str, places: Sequence[int]) -> int:
    """Take parked events out of the outbox for good; how many were there and parked."""
    return max(0, tx.many(_DROP, [(sink, place) for place in places]))


def sinks(tx: Tx) -> list[SinkRecord]:
    """Every sink that had an event, by name."""
    return [
        SinkRecord(name, waiting, None if at is None else max(0.0, (tx.now - at) / MICRO), parked_)
        for name, waiting, at, parked_ in tx.all(_SINKS, (WAITING_MAX,))
    ]


def promised(tx: Tx, after: Promise | None, limit: int) -> PromisePage:
    """Look at `limit` promises beyond one, in order: those of jobs that have ended."""
    job, name = (b"", "") if after is None else (after.job, after.name)
    looked = [(Promise(row[0], row[1]), row[2]) for row in tx.all(_PROMISED, (job, name, limit))]
    ended = tuple(promise for promise, has_ended in looked if has_ended)
    return PromisePage(ended, looked[-1][0] if len(looked) == limit else None)


def keep_promises(tx: Tx, kept: Sequence[tuple[Promise, Event | None]]) -> int:
    """Publish what was promised, and be free of it: all or none; how many by this call."""
    mine = [event for promise, event in kept if tx.run(_KEEP, (promise.job, promise.name)) > 0]
    _put(tx, [event for event in mine if event is not None])
    return len(mine)
