"""Connections to one database: a pool for each event loop that asks, with what a pooler in between needs.

asyncpg's connections belong to a loop, and the store is called from several: the app's, a lease
keeper's thread, a script's.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import asyncpg

from headrace.core.errors import HeadraceError, StoreUnavailable
from headrace.stores.postgres.faults import ERRORS, mapped, shown, sqlstate, unreached
from headrace.stores.postgres.loop_pool import CONNECT_S, Connection, LoopPool

COMMAND_S: Final = 30.0  # for one statement, waiting for locks included; the server ends it too
LOCK_S: Final = 5.0
IDLE_IN_TRANSACTION_S: Final = 5.0  # a process that is stopped in the middle lets go of its locks
_LIMITS: Final = {
    "statement_timeout": COMMAND_S,
    "lock_timeout": LOCK_S,
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_S,
}
# A plan is kept, and may have been made while a table was empty that is full now.
_PLANNER: Final = {"enable_seqscan": "off", "enable_material": "off", "jit": "off"}
_SESSION: Final = {name: str(int(limit_s * 1000)) for name, limit_s in _LIMITS.items()} | _PLANNER
# Each statement of a function is to see what others have committed, whatever the database's own default.
_ISOLATION: Final = {"default_transaction_isolation": "read committed"}
_SET_LOCAL: Final = "".join(f"SET LOCAL {name} = {limit};" for name, limit in _SESSION.items())
_POOLER: Final = {"08P01", "26000", "42P05"}  # startup parameters refused; a statement of another's session


class Pools:
    """Connections to one database."""

    def __init__(self, url: str, *, size: int) -> None:
        """Nothing is connected yet; `size` is the most connections of one loop."""
        self.where = shown(url)
        self.pooled = False  # whether a transaction pooler stands in between
        self._url = url
        self._size = size
        self._lock = threading.Lock()
        self._of: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopPool] = WeakKeyDictionary()
        self._closed = False

    async def open(self) -> None:
        """Connect once, and learn whether a pooler stands in between.

        Raises:
            StoreError: it cannot be reached, or refuses.
        """
        self._closed = False
        await self.fetch("SELECT $1::integer", 1)

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """A connection outside any transaction; errors of the driver come out as ours."""
        mine = self._mine()
        try:
            connection = await mine.take()
            try:
                yield connection
            except BaseException as error:
                mine.give_back(connection, error)
                raise
            mine.give_back(connection)
        except HeadraceError:
            raise
        except ERRORS as error:
            raise await self._told(mine, error) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """A connection inside a transaction, which is committed at the end."""
        async with self.connection() as connection:
            await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED;" + (_SET_LOCAL if self.pooled else ""))
            try:
                yield connection
            except BaseException:
                if not connection.is_closed():
                    with contextlib.suppress(*ERRORS):
                        await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    async def fetch(self, sql: str, *params: object) -> list[Any]:
        """The rows of one statement, which is a transaction of its own."""
        for again in (True, False):
            before = self.pooled
            try:
                if self.pooled:
                    async with self.transaction() as connection:
                        return await connection.fetch(sql, *params)
                return await self._fetch(sql, params)
            except HeadraceError:
                if not again or before == self.pooled:
                    raise  # else: refused before anything ran, because of the pooler that we know of now
        raise AssertionError

    async def _fetch(self, sql: str, params: tuple[object, ...]) -> list[Any]:
        """As within `connection`, and at less cost: every statement of the hot path comes here."""
        mine = self._mine()
        try:
            connection = await mine.take()
            try:
                rows = await connection.fetch(sql, *params)
            except BaseException as error:
                mine.give_back(connection, error)
                raise
            mine.give_back(connection)
        except HeadraceError:
            raise
        except ERRORS as error:
            raise await self._told(mine, error) from error
        return rows

    async def _told(self, mine: LoopPool, error: Exception) -> HeadraceError:
        """An error of the driver as ours, and what it tells of a pooler."""
        if not self.pooled and sqlstate(error) in _POOLER:
            self.pooled = True
            await self._replace(mine)
        return mapped(error, self.where)

    async def close(self) -> None:
        """Close every loop's connections; other loops that still run close theirs."""
        self._closed = True
        with self._lock:
            pools = list(self._of.items())
            self._of.clear()
        here = asyncio.get_running_loop()
        for loop, pool in pools:
            if loop is here:
                await pool.close()
            elif loop.is_running():
                with contextlib.suppress(RuntimeError, TimeoutError):
                    await asyncio.wait_for(
                        asyncio.wrap_future(asyncio.run_coroutine_threadsafe(pool.close(), loop)), CONNECT_S
                    )

    def _mine(self) -> LoopPool:
        if self._closed:
            raise StoreUnavailable(f"the store {self.where} is not open")
        loop = asyncio.get_running_loop()
        with self._lock:
            found = self._of.get(loop)
            if found is None:
                found = self._of[loop] = LoopPool(self._connect, self._size)
            return found

    async def _connect(self) -> Connection:
        """A connection; one as a pooler takes it, where that refuses what a server would take."""
        try:
            return await self._connected()
        except asyncpg.PostgresError as error:
            if self.pooled or sqlstate(error) not in _POOLER:
                raise
            self.pooled = True
            return await self._connected()
        except (ValueError, OverflowError) as error:
            raise unreached(error, self.where) from error

    async def _connected(self) -> Connection:
        return await asyncpg.connect(
            self._url,
            timeout=CONNECT_S,
            command_timeout=COMMAND_S + 1.0,
            statement_cache_size=0 if self.pooled else 100,
            server_settings={"application_name": "headrace"} | ({} if self.pooled else _SESSION | _ISOLATION),
        )

    async def _replace(self, old: LoopPool) -> None:
        with self._lock:
            self._of.pop(asyncio.get_running_loop(), None)
        await old.close()
