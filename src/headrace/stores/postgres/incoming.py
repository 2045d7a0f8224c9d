"""Messages that become jobs: one statement, whatever they bring; and what is remembered of them.

A source's jobs are alike, so what is the same of all is sent once: see `_shared`.
"""

from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from asyncpg.pgproto.pgproto import UUID

from headrace.core.errors import NotEncodable, PayloadTooLarge, StoreError
from headrace.core.message import Bookmark
from headrace.core.model import JobId, NewJob
from headrace.ports.post import Intake, Letter, Received, SourceRecord
from headrace.stores.postgres.enqueue import names, since, tags_of
from headrace.stores.postgres.faults import sqlstate
from headrace.stores.postgres.lines import LineName
from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import Tx, instant

T = TypeVar("T")
_RECEIVE: Final = query("receive")
_BOOKMARKS: Final = query("bookmarks")
_BOOKMARK_PUT: Final = query("bookmark_put")
_BOOKMARK_DROP: Final = query("bookmark_drop")
_FORGET_SEEN: Final = query("forget_seen")
_LETTER: Final = query("letter")
_SOURCES: Final = query("sources")
_EARLIEST: Final = datetime.fromtimestamp(0, UTC)
_LATE: Final = timedelta(minutes=5)  # no intake takes longer to commit
_NOT_TEXT: Final = {"22021", "22P05"}  # NUL; what the encoding does not have
_BEYOND_A_LIMIT: Final = "54"


async def receive(tx: Tx, source: str, intake: Intake, numbers: dict[LineName, int]) -> Received:
    """Make jobs of messages and move bookmarks: all of it, or nothing; `numbers` are those of the jobs' lines."""
    arrivals = intake.arrivals
    jobs = [arrival.job for arrival in arrivals]
    digests = [None if arrival.digest is None else UUID(arrival.digest) for arrival in arrivals]
    marks = sorted(intake.marks.items())
    letters = [(at, arrival.letter) for at, arrival in enumerate(arrivals, 1) if arrival.letter is not None]
    promises = [(at, name) for at, job in enumerate(jobs, 1) if job.promises for name in job.promises]
    fresh = all(job.fresh for job in jobs)
    (row,) = await tx.all(
        _RECEIVE,
        tx.now,
        None if fresh else since(jobs),
        fresh,
        source,
        [part for part, _ in marks] or None,
        [mark.known for _, mark in marks],
        [mark.next for _, mark in marks],
        [mark.at_ms for _, mark in marks],
        [UUID(job.id) for job in jobs],
        _any(digests),
        _numbered(jobs, numbers),
        *_columns(jobs),
        [at for at, _ in promises],
        [name for _, name in promises] or None,
        *_letters(letters),
    )
    if row[1] is not None:
        return Received(moved=dict(zip(row[1], row[2], strict=True)))
    added = (True,) * len(jobs) if row[0] is None else tuple(row[0])
    if any(added):
        tx.hints.update(f"queue:{queue}" for queue, *_ in numbers)
    return Received(added)


async def fitting(written: Awaitable[T]) -> T:
    """What the database refuses for what is in it, as a source or a publisher hears it.

    Raises:
        NotEncodable, PayloadTooLarge: it will never take this; nothing was written.
    """
    try:
        return await written
    except StoreError as error:
        if (sqlstate(error) or "") in _NOT_TEXT or _cannot_go_over(error.__cause__):
            raise NotEncodable(f"there is text that the database cannot keep: {error}") from error
        if (sqlstate(error) or "")[:2] == _BEYOND_A_LIMIT:
            raise PayloadTooLarge(f"this is larger than the database takes: {error}") from error
        raise
    except UnicodeEncodeError as error:
        raise NotEncodable(f"there is text that is not Unicode: {error.reason}") from error


def _cannot_go_over(error: BaseException | None) -> bool:
    """Whether the driver could not write text down: it has a lone surrogate."""
    while error is not None and not isinstance(error, UnicodeEncodeError):
        error = error.__cause__
    return error is not None


def _numbered(jobs: Sequence[NewJob], numbers: dict[LineName, int]) -> list[int]:
    if len(numbers) == 1:
        return [*numbers.values()] * len(jobs)
    return [numbers[name] for name in names(jobs)]


def _columns(jobs: Sequence[NewJob]) -> tuple[object, ...]:
    """From the delay to the arguments, as `headrace_receive_1` takes them."""
    return (
        _any([job.delay_s if job.delay_s > 0 else None for job in jobs]),
        _any([None if job.run_at is None else instant(job.run_at) for job in jobs]),
        _any([job.deadline_s for job in jobs]),
        _any([None if job.deadline_at is None else instant(job.deadline_at) for job in jobs]),
        _shared([job.max_attempts for job in jobs]),
        _shared([job.timeout_s for job in jobs]),
        _shared([job.signature for job in jobs]),
        _any([job.traceparent for job in jobs]),
        _any([tags_of(job) for job in jobs]),
        [job.args for job in jobs],
    )


def _letters(letters: Sequence[tuple[int, Letter]]) -> tuple[object, ...]:
    if not letters:
        return (None,) * 7
    return (
        [at for at, _ in letters],
        [letter.why for _, letter in letters],
        [letter.content_type for _, letter in letters],
        [letter.headers for _, letter in letters],
        [letter.place for _, letter in letters],
        [letter.size for _, letter in letters],
        [letter.body for _, letter in letters],
    )


def _any(values: list[T | None]) -> list[T | None] | None:
    """None where there is nothing in it."""
    return None if values.count(None) == len(values) else values


def _shared(values: list[T]) -> list[T]:
    """One where all are the same."""
    return values[:1] if values and values.count(values[0]) == len(values) else values


# -- what is remembered -----------------------------------------------------------------------


async def bookmarks(tx: Tx, source: str) -> dict[str, Bookmark]:
    """How far this source has read, by part."""
    return {row[0]: Bookmark(row[1], row[2]) for row in await tx.all(_BOOKMARKS, source)}


async def put_bookmark(tx: Tx, source: str, part: str, place: int | None) -> None:
    """Set where a source goes on in a part, or forget it."""
    if place is None:
        await tx.all(_BOOKMARK_DROP, source, part)
    else:
        await tx.all(_BOOKMARK_PUT, source, part, place)


async def forget_seen(tx: Tx, forgotten: dict[str, datetime], source: str, older_s: float, limit: int) -> int:
    """Forget digests that were first seen longer ago; how many. `forgotten` tells where those begin that are left.

    A held snapshot keeps the others for long, and they are not to be waded through each time.
    """
    start = forgotten.get(source, _EARLIEST)
    rows = await tx.all(_FORGET_SEEN, tx.now, source, older_s, limit, start)
    if rows:
        forgotten[source] = max(start, max(row[0] for row in rows) - _LATE)
    return len(rows)


async def letter(tx: Tx, job: JobId) -> Letter | None:
    """The message of which this job was made, if it did not fit its task."""
    row = await tx.one(_LETTER, UUID(job))
    if row is None:
        return None
    source, why, content_type, headers, place, size, body = row
    return Letter(source, why, content_type, headers, place, size, bytes(body))


async def sources(tx: Tx) -> list[SourceRecord]:
    """Every source that has taken something, or has bookmarks, by name."""
    found: dict[str, tuple[float | None, dict[str, Bookmark]]] = {}
    for name, age_s, part, place, last_ms in await tx.all(_SOURCES, tx.now):
        _, known = found.setdefault(name, (None if age_s is None else max(0.0, age_s), {}))
        if part is not None:
            known[part] = Bookmark(place, last_ms)
    return [SourceRecord(name, known, age_s) for name, (age_s, known) in found.items()]
