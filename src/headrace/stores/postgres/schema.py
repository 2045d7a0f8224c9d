"""The schema of a database: which migrations it had, which are to come, and doing them.

Invariant: a migration is applied whole or not at all, by one process at a time: under an advisory lock.
"""

import secrets
from typing import TYPE_CHECKING, Final

from headrace.core.errors import StoreUnusable
from headrace.stores.migrations import Migration, Plan, compared, program_version
from headrace.stores.migrations import migrations as known

if TYPE_CHECKING:
    from headrace.stores.postgres.loop_pool import Connection

OLDEST: Final = 130_000  # PostgreSQL 13
LOCK: Final = 0x48656164  # "Head": of whoever migrates
_HAS_OURS: Final = "SELECT to_regclass('headrace_schema_migration') IS NOT NULL"
_STRANGERS: Final = (
    "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace "
    "AND relkind IN ('r', 'p', 'S') AND relname ~ '^headrace_' LIMIT 1"
)
_APPLIED: Final = "SELECT number, version FROM headrace_schema_migration ORDER BY number"
_RECORD: Final = (
    "INSERT INTO headrace_schema_migration (number, name, applied_at, version) VALUES ($1, $2, clock_timestamp(), $3)"
)
_EPOCH_PUT: Final = "INSERT INTO headrace_meta (key, value) VALUES ('epoch', $1) ON CONFLICT (key) DO NOTHING"
_EPOCH_GET: Final = "SELECT value FROM headrace_meta WHERE key = 'epoch'"


def migrations() -> tuple[Migration, ...]:
    """Every migration of this version, in order."""
    return known("headrace.stores.postgres")


async def plan(connection: "Connection") -> Plan:
    """Compare a database with this version.

    Raises:
        StoreUnusable: the server is too old.
    """
    server = int(await connection.fetchval("SHOW server_version_num"))
    if server < OLDEST:
        raise StoreUnusable(f"the server is PostgreSQL {server // 10_000}; headrace needs 13 or newer: upgrade it")
    applied: list[tuple[int, str]] = []
    if await connection.fetchval(_HAS_OURS):
        applied = [(row[0], row[1]) for row in await connection.fetch(_APPLIED)]
    return compared(migrations(), applied)


async def apply(connection: "Connection", where: str) -> Plan:
    """Apply what is pending, inside the caller's transaction; what was applied.

    Raises:
        StoreUnusable: tables of another program have our names.
    """
    await connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
    found = await plan(connection)
    if found.found > found.wanted:
        return found
    if not found.found:
        stranger = await connection.fetchval(_STRANGERS)
        if stranger is not None:
            raise StoreUnusable(
                f"the database {where} has a table {stranger} that is not headrace's: use another database, or another "
                "schema through the user's search_path"
            )
    for migration in found.pending:
        await connection.execute(migration.sql)
        await connection.execute(_RECORD, migration.number, migration.name, program_version())
    await connection.execute(_EPOCH_PUT, secrets.token_hex(4))
    return found


async def epoch(connection: "Connection") -> str:
    """The name of this history of offsets."""
    return str(await connection.fetchval(_EPOCH_GET))
