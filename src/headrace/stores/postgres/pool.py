"""Connections: a pool for each event loop that asks, with what a pooler in between needs.

asyncpg's connections belong to a loop, and the store is called from several: the app's, a lease
keeper's thread, a script's. Invariant: a loop's pool is closed before its loop is.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import asyncpg

from headrace.core.errors import HeadraceError, StoreUnavailable
from headrace.stores.postgres.faults import mapped, shown, sqlstate

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

CONNECT_S: Final = 10.0
COMMAND_S: Final = 30.0  # for one statement, waiting for locks included; the server ends it too
LOCK_S: Final = 5.0
IDLE_IN_TRANSACTION_S: Final = 5.0  # a process that is stopped in the middle lets go of its locks
_LIMITS: Final = {
    "statement_timeout": COMMAND_S,
    "lock_timeout": LOCK_S,
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_S,
}
_SESSION: Final = {name: str(int(limit_s * 1000)) for name, limit_s in _LIMITS.items()}
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
        self._of: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopPool] = WeakKeyDictionary()
        self._closed = False

    async def open(self) -> None:
        """Connect once, and learn whether a pooler stands in between.

        Raises:
            StoreError: it cannot be reached, or refuses.
        """
        self._closed = False
        async with self.connection() as connection:
            await connection.fetchval("SELECT $1::integer", 1)

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """A connection outside any transaction; errors of the driver come out as ours."""
        mine = self._mine()
        try:
            pool = await mine.pool()
            async with pool.acquire(timeout=CONNECT_S) as connection:
                yield connection
        except HeadraceError:
            raise
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            if not self.pooled and sqlstate(error) in _POOLER:
                self.pooled = True
                await self._replace(mine)
            raise mapped(error, self.where) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """A connection inside a transaction, which is committed at the end."""
        async with self.connection() as connection:
            await connection.execute("BEGIN;" + (_SET_LOCAL if self.pooled else ""))
            try:
                yield connection
            except BaseException:
                if not connection.is_closed():
                    with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
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
                async with self.connection() as connection:
                    return await connection.fetch(sql, *params)
            except HeadraceError:
                if not again or before == self.pooled:
                    raise  # else: refused before anything ran, because of the pooler that we know of now
        raise AssertionError

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

    def _mine(self) -> "_LoopPool":
        if self._closed:
            raise StoreUnavailable(f"the store {self.where} is not open")
        loop = asyncio.get_running_loop()
        with self._lock:
            found = self._of.get(loop)
            if found is None:
                found = self._of[loop] = _LoopPool(self._url, self._size, pooled=self.pooled)
            return found

    async def _replace(self, old: "_LoopPool") -> None:
        with self._lock:
            self._of.pop(asyncio.get_running_loop(), None)
        await old.close()


class _LoopPool:
    """The pool of one loop, made when it is first used."""

    def __init__(self, url: str, size: int, *, pooled: bool) -> None:
        self._url = url
        self._size = size
        self._pooled = pooled
        self._making = asyncio.Lock()
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._guard: AsyncGenerator[None, None] | None = None

    async def pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        if self._pool is not None:
            return self._pool
        async with self._making:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=self._size,
                    max_inactive_connection_lifetime=300.0,
                    timeout=CONNECT_S,
                    command_timeout=COMMAND_S + 1.0,
                    statement_cache_size=0 if self._pooled else 100,
                    server_settings={"application_name": "headrace"} | ({} if self._pooled else _SESSION),
                    reset=_nothing,
                )
                # A loop that ends closes its asynchronous generators first: that is when its connections must go.
                self._guard = self._until_the_loop_ends()
                await anext(self._guard)
        return self._pool

    async def close(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            await guard.aclose()

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            pool, self._pool = self._pool, None
            if pool is not None:
                try:
                    await asyncio.wait_for(pool.close(), 5.0)
                except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    pool.terminate()


async def _nothing(_: object) -> None:
    """Nothing is left behind in a session that would have to be taken back."""
