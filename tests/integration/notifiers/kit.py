"""What the tests of the PostgreSQL notifier share."""

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import asyncpg

from headrace.notifiers.postgres import PostgresNotifier
from headrace.notifiers.postgres_line import APPLICATION

MINE = f"""
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = '{APPLICATION}' ORDER BY backend_start
"""

Make: TypeAlias = Callable[..., PostgresNotifier]
Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - other processes are asked
            await asyncio.sleep(0.005)


async def sessions(admin: Admin, count: int) -> list[int]:
    """The sessions of notifiers, the oldest first, when there are so many."""
    async with asyncio.timeout(20):
        while len(found := await admin.fetch(MINE)) != count:  # noqa: ASYNC110 - the server is asked
            await asyncio.sleep(0.01)
    return [row["pid"] for row in found]


async def left_behind(pooled: str) -> list[str]:
    """What a session of the pool listens to; a pool gives out first what came back last."""
    connection = await asyncpg.connect(pooled, timeout=10, statement_cache_size=0)
    try:
        return [row[0] for row in await connection.fetch("SELECT pg_listening_channels()")]
    finally:
        await connection.close()
