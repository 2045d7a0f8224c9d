"""What came in and is to go out, on its way to the database.

What is small goes over whole each time. Digests and events go by pages and then as the log names them; letters and
promises go with their jobs. Chores stay: whoever does one takes it anew.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from asyncpg.pgproto.pgproto import UUID

from headrace.core.model import JobId
from headrace.stores.move import rows
from headrace.stores.move.rows import Row
from headrace.stores.move.source import BYTES_MAX, IDS_MAX, Source
from headrace.stores.postgres.loop_pool import Connection
from headrace.stores.sqlite.outbox import PUBLISHED

SEEN_MAX: Final = 10_000  # of one page
EVENTS_MAX: Final = 1_000

_SOURCES: Final = "SELECT id, name, taken_at FROM headrace_source"
_BOOKMARKS: Final = "SELECT source, part, next, last_ms FROM headrace_bookmark"
_SINKS: Final = "SELECT id, name FROM headrace_sink"
_SEEN_AFTER: Final = (
    "SELECT source, digest, at FROM headrace_seen WHERE (source, digest) > (?, ?) ORDER BY source, digest LIMIT ?"
)
_SEEN: Final = "SELECT source, digest, at FROM headrace_seen WHERE source = ? AND digest = ?"
_EVENT: Final = (
    "SELECT n, sink, id, at, failures, parked, failure, key, target, head, body FROM headrace_outbox AS outbox"
)
_EVENTS_AFTER: Final = f"{_EVENT} WHERE n > ? ORDER BY n LIMIT ?"
_EVENTS: Final = f"{_EVENT} WHERE n = ?"
_LETTERS: Final = (
    "SELECT letter.job, letter.source, why, content_type, headers, place, size, body FROM headrace_letter AS letter "
    "WHERE job IN ({marks})"
)
_LETTER_SOURCES: Final = "SELECT DISTINCT source FROM headrace_letter AS letter WHERE job IN ({marks})"
_PROMISES: Final = "SELECT job, name FROM headrace_promise AS promise WHERE job IN ({marks})"

_SOURCE_PUT: Final = (
    "INSERT INTO headrace_source (name, taken_at) VALUES ($1, $2) "
    "ON CONFLICT (name) DO UPDATE SET taken_at = excluded.taken_at RETURNING id"
)
_SINK_PUT: Final = (
    "INSERT INTO headrace_sink (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id"
)
_SEEN_PUT: Final = (
    "INSERT INTO headrace_seen (source, digest, at) "
    "SELECT * FROM unnest($1::integer[], $2::uuid[], $3::timestamptz[]) ON CONFLICT (source, digest) DO NOTHING"
)
_SEEN_DROP: Final = (
    "DELETE FROM headrace_seen AS seen USING unnest($1::integer[], $2::uuid[]) AS gone (source, digest) "
    "WHERE seen.source = gone.source AND seen.digest = gone.digest"
)
_EVENTS_DROP: Final = (
    "DELETE FROM headrace_outbox WHERE sink = ANY (ARRAY(SELECT id FROM headrace_sink)) AND parked = ANY ('{f,t}') "
    "AND n = ANY ($1::bigint[])"
)
_EVENT_COLUMNS: Final = ("n", "sink", "id", "at", "failures", "parked", "failure", "key", "target", "head", "body")
_LETTER_COLUMNS: Final = ("job", "source", "why", "content_type", "headers", "place", "size", "body", "at")
_PROMISE_COLUMNS: Final = ("job", "name", "at")


class Post:
    """That side of a target. Its numbers of sources and sinks are others than the file's."""

    def __init__(self, connection: Connection) -> None:
        """The session is the target's."""
        self._connection: Final = connection
        self._sources: Final[dict[int, int]] = {PUBLISHED: PUBLISHED}  # by the file's
        self._sinks: Final[dict[int, int]] = {}

    async def put_small(self, source: Source) -> None:
        """Sources with their bookmarks, and sinks, as they are in the file."""
        for number, name, taken_at in source.ask(_SOURCES):
            self._sources[number] = await self._connection.fetchval(_SOURCE_PUT, name, rows.when(taken_at))
        for number, name in source.ask(_SINKS):
            self._sinks[number] = await self._connection.fetchval(_SINK_PUT, name)
        await self._connection.execute("DELETE FROM headrace_bookmark")
        marks = [(self._sources[row[0]], *row[1:]) for row in source.ask(_BOOKMARKS)]
        await self._copy("bookmark", ("source", "part", "next", "last_ms"), marks)

    async def copy(self, source: Source) -> None:
        """All digests and events that are not here yet."""
        last: Row = (-1, b"")
        while found := source.ask(_SEEN_AFTER, (*last, SEEN_MAX)):
            last = found[-1][:2]
            await self._put_seen(source, found)
        place = 0
        while events := _page(source, place):
            place = events[-1][0]
            async with self._connection.transaction():
                await self._put_events(source, events)

    async def replace_seen(self, source: Source, keys: Sequence[tuple[int, bytes]]) -> None:
        """Make these digests what they are in the file: there, or forgotten."""
        if not keys:
            return
        await self._know(source, {number for number, _ in keys}, self._sources)
        async with self._connection.transaction():
            numbers = [self._sources[number] for number, _ in keys]
            await self._connection.execute(_SEEN_DROP, numbers, [UUID(digest) for _, digest in keys])
            await self._put_seen(source, [row for key in keys for row in source.ask(_SEEN, key)])

    async def replace_events(self, source: Source, places: Sequence[int]) -> None:
        """Make the events at these places what they are in the file: there, or gone."""
        left = list(places)
        while left:
            found: list[Row] = []
            some: list[int] = []
            while left and sum(len(row[-1]) for row in found) < BYTES_MAX and len(some) < EVENTS_MAX:
                some.append(left.pop())
                found += source.ask(_EVENTS, (some[-1],))
            async with self._connection.transaction():
                await self._put_events(source, found, some)

    async def add_of_jobs(self, source: Source, made: dict[JobId, int]) -> None:
        """Letters and promises of jobs that were just added; `made`: when each was, in microseconds."""
        jobs = list(made)
        for first in range(0, len(jobs), IDS_MAX):
            some = jobs[first : first + IDS_MAX]
            marks = ",".join("?" * len(some))
            numbers = {row[0] for row in source.ask(_LETTER_SOURCES.format(marks=marks), some)}
            await self._know(source, numbers, self._sources)
            letters = (
                (UUID(row[0]), self._sources[row[1]], *row[2:], rows.at(made[row[0]]))
                for row in source.each(_LETTERS.format(marks=marks), some)
            )
            await self._copy("letter", _LETTER_COLUMNS, letters)
            promises = [
                (UUID(job), name, rows.at(made[job])) for job, name in source.ask(_PROMISES.format(marks=marks), some)
            ]
            await self._copy("promise", _PROMISE_COLUMNS, promises)

    async def _put_seen(self, source: Source, found: Sequence[Row]) -> None:
        if found:
            await self._know(source, {row[0] for row in found}, self._sources)
            numbers = [self._sources[row[0]] for row in found]
            await self._connection.execute(
                _SEEN_PUT, numbers, [UUID(row[1]) for row in found], [rows.at(row[2]) for row in found]
            )

    async def _put_events(self, source: Source, found: Sequence[Row], places: Sequence[int] = ()) -> None:
        await self._know(source, {row[1] for row in found}, self._sinks)
        await self._connection.execute(_EVENTS_DROP, [*places, *(row[0] for row in found)])
        events = [
            (row[0], self._sinks[row[1]], UUID(row[2]), rows.at(row[3]), row[4], bool(row[5]), *row[6:])
            for row in found
        ]
        await self._copy("outbox", _EVENT_COLUMNS, events)

    async def _know(self, source: Source, numbers: Collection[int], known: dict[int, int]) -> None:
        if not known.keys() >= set(numbers):
            await self.put_small(source)

    async def _copy(self, table: str, columns: Sequence[str], records: Iterable[Row]) -> None:
        await self._connection.copy_records_to_table(f"headrace_{table}", records=records, columns=columns)


def outbox_end(source: Source) -> int:
    """The last place that an event of the file was ever given."""
    found = source.ask("SELECT seq FROM sqlite_sequence WHERE name = 'headrace_outbox'")
    return int(found[0][0]) if found else 0


def _page(source: Source, after: int) -> list[Row]:
    """The next events, of not too many bytes."""
    found: list[Row] = []
    length = 0
    for row in source.each(_EVENTS_AFTER, (after, EVENTS_MAX)):
        found.append(row)
        length += len(row[-1])
        if length >= BYTES_MAX:
            break
    return found
