"""Messages in: their jobs, the bookmarks of their sources, digests of what was seen, letters."""

from typing import Final

from headrace.core.message import Bookmark
from headrace.core.model import JobId
from headrace.ports.post import Intake, Letter, Received, SourceRecord
from headrace.stores.sqlite.enqueue import enqueue
from headrace.stores.sqlite.faults import encodable
from headrace.stores.sqlite.sql import query
from headrace.stores.sqlite.tx import MICRO, Row, Tx

_SOURCE_ID: Final = query("source_id")
_SOURCE_INSERT: Final = query("source_insert")
_SOURCE_TAKEN: Final = query("source_taken")
_SOURCES: Final = query("sources")
_BOOKMARK_GET: Final = query("bookmark_get")
_BOOKMARK_PUT: Final = query("bookmark_put")
_BOOKMARK_DROP: Final = query("bookmark_drop")
_BOOKMARKS: Final = query("bookmarks")
_SEEN_INSERT: Final = query("seen_insert")
FORGET_SEEN: Final = query("forget_seen")
_LETTER_INSERT: Final = query("letter_insert")
_LETTER: Final = query("letter")


def receive(tx: Tx, source: str, intake: Intake, key_retention_s: float) -> Received:
    """Make jobs of messages and move bookmarks: all of it, or nothing.

    Raises:
        NotEncodable: one of them has text that cannot be kept; nothing was written.
    """
    number = _number(tx, source)
    moved = {part: at for part, mark in intake.marks.items() if (at := _stands(tx, number, part)) != mark.known}
    if moved:
        return Received(moved=moved)
    return _take(tx, number, intake, key_retention_s)


@encodable("a message's arguments or headers")
def _take(tx: Tx, number: int, intake: Intake, key_retention_s: float) -> Received:
    if not intake.arrivals and not intake.marks:
        return Received()
    tx.run(_SOURCE_TAKEN, (number, tx.now))
    tx.many(_BOOKMARK_PUT, [(number, part, mark.next, mark.at_ms) for part, mark in intake.marks.items()])
    new = [
        arrival.digest is None or tx.run(_SEEN_INSERT, (number, arrival.digest, tx.now)) > 0
        for arrival in intake.arrivals
    ]
    coming = [arrival for arrival, is_new in zip(intake.arrivals, new, strict=True) if is_new]
    landed = iter(enqueue(tx, [arrival.job for arrival in coming], key_retention_s))
    added = tuple(is_new and next(landed).created for is_new in new)
    letters: list[Row] = []
    for arrival, is_added in zip(intake.arrivals, added, strict=True):
        letter = arrival.letter
        if is_added and letter is not None:
            told = (letter.why, letter.content_type, letter.headers, letter.place, letter.size, letter.body)
            letters.append((arrival.job.id, number, *told))
    tx.many(_LETTER_INSERT, letters)
    return Received(added)


def _number(tx: Tx, source: str) -> int:
    row = tx.one(_SOURCE_ID, (source,)) or tx.one(_SOURCE_INSERT, (source,))
    assert row is not None  # noqa: S101 - an INSERT with RETURNING answers
    return int(row[0])


def _stands(tx: Tx, number: int, part: str) -> int | None:
    row = tx.one(_BOOKMARK_GET, (number, part))
    return None if row is None else int(row[0])


def bookmarks(tx: Tx, source: str) -> dict[str, Bookmark]:
    """How far a source has read, by part."""
    return {part: Bookmark(next_, last_ms) for part, next_, last_ms in tx.all(_BOOKMARKS, (source,))}


def put_bookmark(tx: Tx, source: str, part: str, place: int | None) -> None:
    """Set where a source goes on in a part, or forget it."""
    number = _number(tx, source)
    if place is None:
        tx.run(_BOOKMARK_DROP, (number, part))
    else:
        tx.run(_BOOKMARK_PUT, (number, part, place, None))


def forget_seen(tx: Tx, source: str, older_s: float, limit: int) -> int:
    """Forget the digests that were first seen longer ago, at most `limit`; how many."""
    row = tx.one(_SOURCE_ID, (source,))
    return 0 if row is None else tx.run(FORGET_SEEN, (row[0], tx.now - int(older_s * MICRO), limit))


def letter(tx: Tx, job: JobId) -> Letter | None:
    """The message of which a job was made."""
    row = tx.one(_LETTER, (job,))
    return None if row is None else Letter(*row)


def sources(tx: Tx) -> list[SourceRecord]:
    """Every source that has taken something, or has bookmarks, by name."""
    found: dict[str, tuple[int | None, dict[str, Bookmark]]] = {}
    for name, taken_at, part, next_, last_ms in tx.all(_SOURCES):
        _, known = found.setdefault(name, (taken_at, {}))
        if part is not None:
            known[part] = Bookmark(next_, last_ms)
    return [
        SourceRecord(name, known, None if taken_at is None else max(0.0, (tx.now - taken_at) / MICRO))
        for name, (taken_at, known) in found.items()
    ]
