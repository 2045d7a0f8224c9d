"""The schema of a database: which migrations it had, which are to come, and doing them.

Invariant: what is applied is applied whole or not at all, by one process at a time: under an advisory lock.
"""

import secrets
from typing import TYPE_CHECKING, Final

import asyncpg

from headrace.core.errors import StoreUnusable
from headrace.stores.migrations import (
    Applied,
    Elder,
    Migrated,
    Migration,
    Plan,
    compared,
    is_elder,
    made,
    program_version,
    ready,
    records,
)
from headrace.stores.migrations import migrations as known
from headrace.stores.migrations import script as written
from headrace.stores.postgres.server import Seen, check_rights, look
from headrace.stores.postgres.sql import query

if TYPE_CHECKING:
    from headrace.stores.postgres.loop_pool import Connection

LOCK: Final = 0x48656164  # "Head": of whoever migrates
MIGRATE_S: Final = 6 * 3600.0  # for all of it; waiting for a lock has its own bound
_STRANGERS: Final = (
    "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace "
    "AND relkind IN ('r', 'p', 'S', 'v', 'm', 'f') AND relname ~ '^headrace_' ORDER BY relname LIMIT 1"
)
_APPLIED: Final = "SELECT number, version, compatible_from FROM headrace_schema_migration ORDER BY number"
_RECORD: Final = (
    "INSERT INTO headrace_schema_migration (number, name, applied_at, version, compatible_from) "
    "VALUES ($1, $2, clock_timestamp(), $3, $4)"
)
_ELDERS: Final = query("elders")
_EPOCH_PUT: Final = "INSERT INTO headrace_meta (key, value) VALUES ('epoch', $1) ON CONFLICT (key) DO NOTHING"
_EPOCH_GET: Final = "SELECT value FROM headrace_meta WHERE key = 'epoch'"


def migrations() -> tuple[Migration, ...]:
    """Every migration of this version, in order."""
    return known("headrace.stores.postgres")


async def plan(connection: "Connection", where: str) -> Plan:
    """Compare a database with this version.

    Raises:
        StoreUnusable: the server is too old, or what has our name is not ours.
    """
    seen = await look(connection)
    seen.check(where)
    if seen.home is None:
        return compared(migrations(), [])
    try:
        rows = await connection.fetch(_APPLIED)
    except asyncpg.UndefinedColumnError as error:
        raise StoreUnusable(_strange(where, "headrace_schema_migration")) from error
    return compared(migrations(), [Applied(row[0], row[1], row[2]) for row in rows])


async def prepare(connection: "Connection", where: str) -> bool:
    """Make the tables where there are none, and see that this version and this user can work; whether it made them.

    Raises:
        SchemaMismatch: they are of an older or a newer version.
        StoreUnusable: the server is too old, a right is missing, or tables of another program have our names.
        StoreUnavailable: it is read-only.
    """
    seen = await look(connection)
    seen.check(where)
    seen.check_writes(where)
    found = await plan(connection, where)
    if not found.found:
        if (await apply(connection, where)).applied:
            return True
        found = await plan(connection, where)  # another process was first
    found.check(where)
    await check_rights(connection, seen, made(migrations()), where)
    return False


async def apply(connection: "Connection", where: str, *, force: bool = False) -> Migrated:
    """Apply what is pending, inside the caller's transaction; `force`: whoever is at work.

    Raises:
        SchemaMismatch: the database is of a newer version.
        StoreUnusable: tables of another program have our names, or a right is missing.
        StoreUnavailable: it is read-only.
    """
    seen = await look(connection)
    seen.check(where)
    seen.check_writes(where)
    await connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
    found = await plan(connection, where)
    found.check_newer(where)
    if not found.found:
        await check_room(connection, seen, where)
    steps, elders = await _steps(connection, found, force=force)
    if steps:
        await connection.execute("SET LOCAL statement_timeout = 0")
    for migration, record in records(found, steps):
        await connection.execute(migration.sql, timeout=MIGRATE_S)
        await connection.execute(_RECORD, migration.number, migration.name, record.version, record.compatible_from)
    if not found.found:
        await connection.execute(_EPOCH_PUT, secrets.token_hex(4))
    return Migrated(found, steps, found.pending[len(steps) :], elders)


async def check_room(connection: "Connection", seen: Seen, where: str) -> None:
    """Refuse a database in which our tables cannot be made.

    Raises:
        StoreUnusable: tables of another program have our names, or a right is missing.
    """
    stranger = await connection.fetchval(_STRANGERS)
    if stranger is not None:
        raise StoreUnusable(_strange(where, stranger))
    seen.check_creates(where)


async def script(connection: "Connection", where: str, *, force: bool = False) -> tuple[Migrated, str]:
    """What `apply` would do, and the SQL of it, for psql; changes nothing."""
    found = await plan(connection, where)
    found.check_newer(where)
    steps, elders = await _steps(connection, found, force=force)
    waiting = found.pending[len(steps) :]
    if not steps:
        return Migrated(found, (), waiting, elders), ""
    lines = [
        "BEGIN;",
        f"DO $$ BEGIN PERFORM pg_advisory_xact_lock({LOCK}); END $$;",
        "SET LOCAL statement_timeout = 0;",
        *written(found, steps, "clock_timestamp()", secrets.token_hex(4)),
    ]
    if not found.found:
        lines.append(f"\n-- The first days of the history.\n{query('days_first')};")
    return Migrated(found, steps, waiting, elders), "\n".join([*lines, "COMMIT;", ""])


async def _steps(
    connection: "Connection", found: Plan, *, force: bool
) -> tuple[tuple[Migration, ...], tuple[Elder, ...]]:
    """What may be applied now, and for whom the rest has to wait."""
    if force or not found.found or all(migration.expands for migration in found.pending):
        return found.pending, ()
    rows = await connection.fetch(_ELDERS)
    elders = tuple(Elder(row[0], row[1], row[2], row[3]) for row in rows if is_elder(row[3], program_version()))
    return ready(found, elders), elders


async def epoch(connection: "Connection") -> str:
    """The name of this history of offsets."""
    return str(await connection.fetchval(_EPOCH_GET))


def _strange(where: str, table: str) -> str:
    return (
        f"the database {where} has a table {table} that is not headrace's: use another database, or another schema"
        " through the user's search_path"
    )
