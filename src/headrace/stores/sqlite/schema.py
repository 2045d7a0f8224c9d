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
from headrace.stores.migrations import Migration, Plan, compared, program_version
from headrace.stores.migrations import migrations as known
from headrace.stores.sqlite.faults import is_busy
from headrace.stores.sqlite.moving import check_here
from headrace.stores.sqlite.tx import MICRO

T = TypeVar("T")
_HAS_OURS: Final = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'headrace_schema_migration'"
_APPLIED: Final = "SELECT number, version FROM headrace_schema_migration ORDER BY number"
_RECORD: Final = "INSERT INTO headrace_schema_migration (number, name, applied_at, version) VALUES (?, ?, ?, ?)"
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
    applied: list[tuple[int, str]] = []
    if connection.execute(_HAS_OURS).fetchone() is not None:
        applied = connection.execute(_APPLIED).fetchall()
        check_here(connection, connection.execute("PRAGMA database_list").fetchone()[2])
    return compared(migrations(), applied)


def apply(connection: sqlite3.Connection, wall: Callable[[], float], *, busy_timeout_s: float = 5.0) -> Plan:
    """Apply what is pending; what was applied.

    Raises:
        SchemaMismatch: the file is of a newer version.
        sqlite3.Error: to be mapped by the caller; nothing was applied.
    """

    def work() -> Plan:
        found = plan(connection)
        if found.found > found.wanted:
            return found
        for migration in found.pending:
            for statement in _statements(migration.sql):
                connection.execute(statement)
            connection.execute(_RECORD, (migration.number, migration.name, int(wall() * MICRO), program_version()))
        connection.execute(_EPOCH_PUT, (secrets.token_hex(4),))
        return found

    return locked(connection, work, busy_timeout_s)


def locked(
    connection: sqlite3.Connection, work: Callable[[], T], busy_timeout_s: float, *, pause_s: float = 0.005
) -> T:
    """Do something under the write lock, in one transaction; `pause_s` lies between two tries.

    Raises:
        StoreUnavailable: another process held the lock for all that time.
    """
    started = _now()
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            break
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            if _now() - started >= busy_timeout_s:
                raise StoreUnavailable("the database is locked by another program; end its transaction") from error
        _sleep(pause_s)
    try:
        answer = work()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return answer


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
