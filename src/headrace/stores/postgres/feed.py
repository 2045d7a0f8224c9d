"""Feeds: what running attempts add, and what readers read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from asyncpg.pgproto.pgproto import UUID

from headrace.core.model import AttemptOutcome, AttemptRecord, FeedPage, FeedWrite, JobId, Update, UpdateKind
from headrace.core.states import JobState
from headrace.core.story import tell
from headrace.stores.encoding import failure_of
from headrace.stores.postgres.rows import kept, updates_of
from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import Tx, seconds

if TYPE_CHECKING:
    from datetime import datetime

_GUARD: Final = query("append_guard")
_KEYS: Final = query("append_keys")
_RAISE: Final = query("append_raise")
_PROGRESS_PUT: Final = query("progress_put")
_FEED_INSERT: Final = query("feed_insert")
_READ: Final = query("read_updates")
_ATTEMPTS: Final = query("attempts")
_OFFSETS: Final = query("offsets")
FEED_FULL: Final = -1


@dataclass(slots=True)
class _Growing:
    """A feed while a batch is added to it."""

    attempt: int
    end: int
    items: int
    progress: tuple[int, str] | None = None
    raised: bool = False


async def append(tx: Tx, writes: Sequence[FeedWrite], items_max: int) -> list[int | None]:
    """Add items, logs and progress to feeds of running jobs; per write the feed's offset after it."""
    leases = list(dict.fromkeys((write.id, write.fence) for write in writes))
    rows = await tx.all(_GUARD, [UUID(id_) for id_, _ in leases], [fence for _, fence in leases], tx.now)
    feeds = {(row[0].bytes, row[1]): _Growing(row[2], row[3], row[4]) for row in rows}
    now: datetime | None = rows[0][5] if rows else None
    keyed = [write for write in writes if write.key is not None and (write.id, write.fence) in feeds]
    emitted: dict[tuple[JobId, str], int] = {}
    if keyed:
        found = await tx.all(_KEYS, [UUID(write.id) for write in keyed], [write.key for write in keyed])
        emitted = {(row[0].bytes, row[1]): row[2] for row in found}
    answers: list[int | None] = []
    new: list[tuple[UUID, int, str, int, str | None, str]] = []
    for write in writes:
        feed = feeds.get((write.id, write.fence))
        answers.append(None if feed is None else _add(tx, feed, write, emitted, new, items_max))
    if new:
        ids, offsets, kinds, attempts, keys, data = zip(*new, strict=True)
        await tx.all(
            _FEED_INSERT,
            list(ids),
            list(offsets),
            list(kinds),
            list(attempts),
            [now] * len(new),
            list(keys),
            list(data),
        )
    raised = [(id_, feed) for (id_, _), feed in feeds.items() if feed.raised]
    if raised:
        await tx.all(
            _RAISE,
            [UUID(id_) for id_, _ in raised],
            [feed.end for _, feed in raised],
            [feed.items for _, feed in raised],
        )
    latest = [(UUID(id_), *feed.progress) for (id_, _), feed in feeds.items() if feed.progress is not None]
    if latest:
        ids, offsets, data = zip(*latest, strict=True)
        await tx.all(_PROGRESS_PUT, list(ids), list(offsets), list(data), now)
    return answers


def _add(  # noqa: PLR0917 - what one batch has in hand
    tx: Tx, feed: _Growing, write: FeedWrite, emitted: dict[tuple[JobId, str], int],
    new: list[tuple[UUID, int, str, int, str | None, str]], items_max: int,
) -> int:  # fmt: skip
    if write.kind is UpdateKind.PROGRESS:
        feed.progress = (feed.end, write.data)
        tx.grown.append(write.id)
        return feed.end
    before = None if write.key is None else emitted.get((write.id, write.key))
    if before is not None:
        return before
    if feed.items >= items_max:
        return FEED_FULL
    feed.end, feed.items, feed.raised = feed.end + 1, feed.items + 1, True
    if write.key is not None:
        emitted[write.id, write.key] = feed.end
    new.append((UUID(write.id), feed.end, write.kind.value, feed.attempt, write.key, write.data))
    tx.grown.append(write.id)
    return feed.end


async def read_updates(tx: Tx, job: JobId, after: int, limit: int, retention_s: float) -> FeedPage | None:
    """Up to `limit` updates with offsets above `after`, in order, of no epoch yet; None: unknown job."""
    row = await tx.one(_READ, UUID(job), after, limit)
    if row is None:
        return None
    story = kept(row, tx.now, retention_s)
    record = story.record
    progress = None
    if record.state is JobState.RUNNING and record.progress is not None:
        progress = Update(row[31], UpdateKind.PROGRESS, record.attempt, record.progress, row[32].timestamp())
    return FeedPage("", record.offset, tell(story.story, updates_of(row[33]), after, limit), progress, record.state)


async def attempts(tx: Tx, job: JobId) -> list[AttemptRecord]:
    """Every attempt of one job, in order; the running one last."""
    return [
        AttemptRecord(
            row[0], row[1], row[2], row[3].timestamp(), seconds(row[4]), AttemptOutcome(row[5]), failure_of(row[6])
        )
        for row in await tx.all(_ATTEMPTS, UUID(job))
    ]


async def offsets(tx: Tx, jobs: Sequence[JobId]) -> dict[JobId, int]:
    """Where these feeds end now; unknown ones are left out."""
    ends = {row[0].bytes: row[1] for row in await tx.all(_OFFSETS, [UUID(job) for job in jobs])}
    return {job: ends[job] for job in jobs if job in ends}
