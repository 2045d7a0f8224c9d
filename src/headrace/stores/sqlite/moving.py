"""A file whose jobs go over to another store: its marks, and the triggers that watch and stop its writers.

Invariant: what holds others up stands in the file, so that it does for every program; and until the
jobs have moved it ends by itself, at `held_until`. Whoever changes marks holds the write lock.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

from headrace.core.errors import HeadraceError, StoreMoved, StoreUnavailable
from headrace.stores.sqlite.sql import query

MOVING: Final = "headrace is moving this file to "
MOVED: Final = "headrace has moved this file to "
HELD_UNTIL: Final = "held_until"  # microseconds since the epoch
LOG_MAX: Final = 10_000_000  # changes; a log that is full says so, and the copy starts over

_META_GET: Final = query("meta_get")
_META_PUT: Final = query("meta_put")
_HELD_PUT: Final = query("held_put")
_MOVED_TO: Final = "moved_to"
_RECORD: Final = "move"
_FOR_EVER: Final = 2**62
_TABLES: Final = (
    "queue", "lane", "call", "job", "history", "job_key", "feed", "progress", "attempt", "worker", "secret", "api_key",
    "idempotency", "source", "bookmark", "seen", "letter", "sink", "outbox", "promise", "chore",
)  # fmt: skip
_COPIED_WHOLE: Final = ("source", "bookmark", "sink")
_NOW: Final = "CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)"
_IN_FORCE: Final = f"(SELECT CAST(value AS INTEGER) FROM headrace_meta WHERE key = '{HELD_UNTIL}') > {_NOW}"  # noqa: S608 - ours
_ROOM: Final = f"(SELECT coalesce(max(seq) - min(seq), 0) FROM headrace_move_log) < {LOG_MAX}"  # noqa: S608 - ours

# What each change notes: a job by its id, arguments by the job's number, an idempotency record by its key, what was
# seen by source and digest, an event by its place; of tables that are copied whole, that something changed. A letter
# comes and goes with its job.
_JOB: Final = "INSERT INTO headrace_move_log (job) SELECT {row}.id"
_CALL: Final = "INSERT INTO headrace_move_log (n) SELECT {row}.n"
_REPLAY: Final = "INSERT INTO headrace_move_log (scope, key) SELECT {row}.scope, {row}.key"
_PROMISED: Final = "INSERT INTO headrace_move_log (job) SELECT {row}.job"
_SEEN: Final = "INSERT INTO headrace_move_log (n, job) SELECT {row}.source, {row}.digest"
_EVENT: Final = "INSERT INTO headrace_move_log (key) SELECT {row}.n"
_CHANGED: Final = "INSERT INTO headrace_move_log (seq) SELECT NULL"
_WATCHED: Final = (
    ("job", "INSERT", _JOB),  # that it leaves the table is noted where it comes to the history
    ("job", "UPDATE", _JOB),
    ("history", "INSERT", _JOB),
    ("history", "UPDATE", _JOB),
    ("history", "DELETE", _JOB),
    ("call", "UPDATE OF args", _CALL),
    ("idempotency", "INSERT", _REPLAY),
    ("idempotency", "UPDATE", _REPLAY),
    ("idempotency", "DELETE", _REPLAY),
    ("promise", "DELETE", _PROMISED),
    ("seen", "INSERT", _SEEN),
    ("seen", "UPDATE", _SEEN),
    ("seen", "DELETE", _SEEN),
    ("outbox", "INSERT", _EVENT),
    ("outbox", "UPDATE", _EVENT),
    ("outbox", "DELETE", _EVENT),
    *((table, change, _CHANGED) for table in _COPIED_WHOLE for change in ("INSERT", "UPDATE", "DELETE")),
)


@dataclass(frozen=True, slots=True)
class Record:
    """A move that began: its id, the target without its password, and the history's end at that moment."""

    id: str
    to: str
    history_end: int


def record(connection: sqlite3.Connection) -> Record | None:
    """The move that began and was not given up."""
    row = connection.execute(_META_GET, (_RECORD,)).fetchone()
    return None if row is None else Record(**json.loads(row[0]))


def moved_to(cursor: sqlite3.Connection | sqlite3.Cursor) -> str | None:
    """Where the jobs have moved to; None: they are here."""
    row = cursor.execute(_META_GET, (_MOVED_TO,)).fetchone()
    return None if row is None else str(row[0])


def check_here(cursor: sqlite3.Connection | sqlite3.Cursor, path: str) -> None:
    """Refuse a file whose jobs are elsewhere.

    Raises:
        StoreMoved: says where.
    """
    to = moved_to(cursor)
    if to is not None:
        raise _moved(path, to)


def refusal(message: str, path: str) -> HeadraceError | None:
    """What a trigger of ours meant; None: it is none of ours."""
    if message.startswith(MOVING):
        to = message.removeprefix(MOVING)
        return StoreUnavailable(f"the jobs of {path} are being moved to {to} just now: repeat in a few seconds")
    return _moved(path, message.removeprefix(MOVED)) if message.startswith(MOVED) else None


def _moved(path: str, to: str) -> StoreMoved:
    return StoreMoved(f"the jobs of {path} have moved to {to}: set HEADRACE_STORE to it and start again")


# -- changes of the marks, each inside a transaction of the caller's ------------------------------


def begin(connection: sqlite3.Connection, move_id: str, to: str) -> Record:
    """Note every change from here on."""
    give_up(connection)
    (end,) = connection.execute("SELECT coalesce(max(seq), 0) FROM headrace_history").fetchone()
    begun = Record(move_id, to, end)
    connection.execute(
        "CREATE TABLE headrace_move_log (seq INTEGER PRIMARY KEY, job BLOB, n INTEGER, scope TEXT, key TEXT)"
    )
    connection.execute("INSERT INTO headrace_move_log (seq) VALUES (0)")  # the last one stays, so that `seq` rises
    for table, change, note in _WATCHED:
        name = f"headrace_move_note_{table}_{change.partition(' ')[0].lower()}"
        noted = note.format(row="OLD" if change == "DELETE" else "NEW")
        connection.execute(f"CREATE TRIGGER {name} AFTER {change} ON headrace_{table} BEGIN {noted} WHERE {_ROOM}; END")
    connection.execute(_META_PUT, (_RECORD, json.dumps(asdict(begun))))
    return begun


def hold(connection: sqlite3.Connection, until: int) -> None:
    """Claims find nothing until that instant, nor does anybody write, once stopped."""
    connection.execute(_HELD_PUT, (HELD_UNTIL, str(until)))


def stop(connection: sqlite3.Connection, to: str, *, why: str = MOVING) -> None:
    """Nobody writes any more, as long as the file is held."""
    _drop_triggers(connection, "headrace_move_stop_")
    said = (why + to).replace("'", "''")
    for table in _TABLES:
        for change in ("INSERT", "UPDATE", "DELETE"):
            name = f"headrace_move_stop_{table}_{change.lower()}"
            connection.execute(
                f"CREATE TRIGGER {name} BEFORE {change} ON headrace_{table} "
                f"WHEN {_IN_FORCE} BEGIN SELECT RAISE(ABORT, '{said}'); END"
            )


def let_go(connection: sqlite3.Connection) -> None:
    """Claims and writes go on; changes are still noted, so that the move can be taken up again."""
    connection.execute("DELETE FROM headrace_meta WHERE key = ?", (HELD_UNTIL,))
    _drop_triggers(connection, "headrace_move_stop_")


def give_up(connection: sqlite3.Connection) -> None:
    """Nothing of the move is left."""
    let_go(connection)
    _drop_triggers(connection, "headrace_move_note_")
    connection.execute("DROP TABLE IF EXISTS headrace_move_log")
    connection.execute("DELETE FROM headrace_meta WHERE key = ?", (_RECORD,))


def finish(connection: sqlite3.Connection, to: str) -> None:
    """The jobs are elsewhere, for good; the record stays."""
    stop(connection, to, why=MOVED)
    _drop_triggers(connection, "headrace_move_note_")
    connection.execute("DROP TABLE headrace_move_log")
    hold(connection, _FOR_EVER)
    connection.execute(_META_PUT, (_MOVED_TO, to))


def log_end(connection: sqlite3.Connection) -> int:
    """The last change that was noted."""
    return int(connection.execute("SELECT max(seq) FROM headrace_move_log").fetchone()[0])


def log_full(connection: sqlite3.Connection) -> bool:
    """Whether changes may be missing."""
    return not connection.execute(f"SELECT {_ROOM}").fetchone()[0]


def trim_log(connection: sqlite3.Connection, upto: int) -> bool:
    """Forget changes that were followed, but for the last one; False: some may be missing, so nothing was forgotten."""
    if log_full(connection):
        return False
    connection.execute("DELETE FROM headrace_move_log WHERE seq < ?", (upto,))
    return True


def _drop_triggers(connection: sqlite3.Connection, prefix: str) -> None:
    for name in list(_triggers(connection, prefix)):
        connection.execute(f"DROP TRIGGER {name}")


def _triggers(connection: sqlite3.Connection, prefix: str) -> Iterator[str]:
    sql = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND substr(name, 1, ?) = ?"
    for (name,) in connection.execute(sql, (len(prefix), prefix)):
        yield name
