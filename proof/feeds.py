"""What is wrong with what a reader saw of a feed: from offset 1 to the end, each once, in order, nothing missing."""

from collections.abc import Iterator, Sequence
from typing import Final

from proof.evidence import Followed, JobRow, Seen

NUMBERED: Final = frozenset({"state", "item", "log", "end"})
"""Kinds with an offset of their own; progress carries the last one."""


def feed_fault(feed: Followed, row: JobRow | None) -> str | None:
    """The first thing that is wrong; None: nothing."""
    if row is None:
        return "the job is unknown"
    return next(_faults(feed, row), None)


def _faults(feed: Followed, row: JobRow) -> Iterator[str]:
    if feed.places_lost:
        yield f"{feed.places_lost} times its place was lost"
    yield from _out_of_order(feed.seen)
    last = sum(seen.kind in NUMBERED for seen in feed.seen)
    if not feed.seen or feed.seen[-1].kind != "end":
        yield f"no end after offset {last}"
    if last != row.feed_end:
        yield f"it ended at {last}, the database says {row.feed_end}"
    items = [seen.key for seen in feed.seen if seen.kind == "item"]
    if len(items) != row.items or len(items) != len(set(items)):
        yield f"items {items}, the database has {row.items}"


def _out_of_order(updates: Sequence[Seen]) -> Iterator[str]:
    last = 0
    for seen in updates:
        due = last + 1 if seen.kind in NUMBERED else last
        if seen.offset != due:
            yield f"{seen.kind} at offset {seen.offset} where {due} was due"
        last = due
