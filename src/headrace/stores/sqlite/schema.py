"""The schema of a file: which migrations it had, which are to come, and doing them.

Invariant: a migration is applied whole or not at all, by one process, under the write lock.
"""

import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from headrace.core.errors import StoreUnavailable
from headrace.stores.migrations import Applied, Elder, Migrated, Migration, Plan, compared, ready, records
from headrace.stores.migrations import migrations as known
from headrace.stores.migrations import script as written
from headrace.stores.sqlite.faults import is_busy
from headrace.stores.sqlite.moving import check_here
from headrace.stores.sqlite.tx import MICRO

T = TypeVar("T")
_HAS_OURS: Final = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'headrace_schema_migration'"
_APPLIED: Final = "SELECT number, version, compatible_from FROM headrace_schema_migration ORDER BY number"
_RECORD: Final = (
    "INSERT INTO headrace_schema_migration (number, name, applied_at, version, compatible_from) VALUES (?, ?, ?, ?, ?)"
)
_NOW: Final = f"CAST(round((julianday('now') - 2440587.5) * 86400 * {MICRO}) AS INTEGER)"
_EPOCH_PUT: Final = "INSERT INTO headrace_meta (key, value) VALUES ('epoch', ?) ON CONFLICT (key) DO NOTHING"
_EPOCH_GET: Final = "SELECT value FROM headrace_meta WHERE key = 'epoch'"
_now = time.monotonic  # noqa: TID251 - waits for the lock of another process that opens the file at once
_sleep = time.sleep  # noqa: TID251 - as above


def migrations() -> tuple[Migration, ...]:
    """Every migration of this version, in order."""
    return known("headrace.stores.sqlite")


def nothing() -> Plan:
    """The plan of a file that is not there."""
    return compared(migrations(), [])


def plan(connection: sqlite3.Connection) -> Plan:
    """Compare a file with this version.

    Raises:
        StoreMoved: its jobs are elsewhere.
    """
    applied: list[Applied] = []
    if connection.execute(_HAS_OURS).fetchone() is not None:
        applied = [Applied(*row) for row in connection.execute(_APPLIED)]
        check_here(connection, connection.execute("PRAGMA database_list").fetchone()[2])
    return compared(migrations(), applied)


def apply(
    connection: sqlite3.Connection,
    wall: Callable[[], float],
    *,
    where: str = "the database",
    elders: Callable[[sqlite3.Connection], tuple[Elder, ...]] = lambda _: (),
    busy_timeout_s: float = 5.0,
) -> Migrated:
    """Apply what is pending, as far as `elders`, the living workers of an older version, allow.

    Raises:
        SchemaMismatch: the file is of a newer version.
        sqlite3.Error: to be mapped by the caller; nothing was applied.
    """

    def work() -> Migrated:
        found = plan(connection)
        found.check_newer(where)
        old = elders(connection) if found.found else ()
        steps = ready(found, old)
        for migration, record in records(found, steps):
            for statement in _statements(migration.sql):
                connection.execute(statement)
            row = (migration.number, migration.name, int(wall() * MICRO), record.version, record.compatible_from)
            connection.execute(_RECORD, row)
        connection.execute(_EPOCH_PUT, (secrets.token_hex(4),))
        return Migrated(found, steps, found.pending[len(steps) :], old)

    return locked(connection, work, busy_timeout_s)


def script(found: Plan, elders: tuple[Elder, ...]) -> tuple[Migrated, str]:
    """What `apply` would do, and the SQL of it, for the program sqlite3."""
    steps = ready(found, elders)
    lines = written(found, steps, _NOW, secrets.token_hex(4))
    text = "\n".join(["PRAGMA journal_mode = WAL;", "BEGIN IMMEDIATE;", *lines, "COMMIT;", ""]) if steps else ""
    return Migrated(found, steps, found.pending[len(steps) :], elders), text


def locked(
    connection: sqlite3.Connection, work: Callable[[], T], busy_timeout_s: float, *, pause_s: float = 0.005
) -> T:
    """Do something under the write lock, in one transaction; `pause_s` lies between two tries.

    Raises:
        StoreUnavailable: another process held the lock for all that time.
    """
    patiently(lambda: connection.execute("BEGIN IMMEDIATE"), busy_timeout_s, pause_s=pause_s)
    try:
        answer = work()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return answer


def patiently(work: Callable[[], T], busy_timeout_s: float, *, pause_s: float = 0.005) -> T:
    """Do something again until nobody's lock is in its way: SQLite itself does not wait for each of its locks.

    Raises:
        StoreUnavailable: a lock was held for all that time.
    """
    started = _now()
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            if _now() - started >= busy_timeout_s:
                raise StoreUnavailable("the database is locked by another program; end its transaction") from error
        _sleep(pause_s)


def epoch(connection: sqlite3.Connection) -> str:
    """The name of this history of offsets."""
    return str(connection.execute(_EPOCH_GET).fetchone()[0])


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for part in re.split(r"(?<=;)", script):
        statement += part
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
