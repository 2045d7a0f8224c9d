"""What `headrace migrate` does to a database, on a connection of its own."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from headrace.stores.migrations import Migrated, Plan
from headrace.stores.postgres import days, schema
from headrace.stores.postgres.pool import Pools
from headrace.stores.postgres.tx import ConnectionTx


async def plan_database(url: str) -> Plan:
    """What a database has and lacks."""
    async with _pools(url) as pools, pools.connection() as connection:
        return await schema.plan(connection, pools.where)


async def migrate_database(url: str, *, force: bool) -> Migrated:
    """Apply what is pending to a database, and make the next days of its history."""
    async with _pools(url) as pools, pools.transaction() as connection:
        migrated = await schema.apply(connection, pools.where, force=force)
        await days.keep(ConnectionTx(connection, None))
        return migrated


async def script_database(url: str, *, force: bool) -> tuple[Migrated, str]:
    """What `migrate_database` would do, and the SQL of it."""
    async with _pools(url) as pools, pools.connection() as connection:
        return await schema.script(connection, pools.where, force=force)


@asynccontextmanager
async def _pools(url: str) -> AsyncGenerator[Pools]:
    pools = Pools(url, size=1)
    try:
        yield pools
    finally:
        await pools.close()
