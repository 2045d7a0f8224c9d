"""The connections of one event loop: made when they are needed, the last used first.

Ours because of how it fails: where the server has no connection left, whoever wants one waits for
those that this process has, instead of being refused beside idle ones.
Invariant: what was interrupted in the middle of a statement or a transaction is not used again; a
loop's connections are closed before the loop is.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg

from headrace.core.errors import StoreUnavailable
from headrace.stores.postgres.faults import ERRORS, sqlstate

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any]
else:
    Connection = asyncpg.Connection

CONNECT_S: Final = 10.0  # for a new connection, and for a free one
IDLE_S: Final = 300.0
CLOSE_S: Final = 5.0
FULL_S: Final = 1.0
_NONE_LEFT: Final = "53300"


class LoopPool:
    """At most `size` connections; on one loop."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], size: int) -> None:
        """Nothing is connected yet."""
        self._connect = connect
        self._size = size
        self._idle: list[tuple[float, Connection]] = []
        self._count = 0
        self._full_until = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._guard: AsyncGenerator[None, None] | None = None

    async def close(self) -> None:
        """Close them all; a later `take` makes new ones."""
        guard, self._guard = self._guard, None
        if guard is not None:
            await guard.aclose()

    async def take(self) -> Connection:
        """One for a while; `give_back` must follow."""
        if self._guard is None:
            # A loop that ends closes its asynchronous generators first: that is when its connections must go.
            self._guard = self._until_the_loop_ends()
            await anext(self._guard)
        give_up = asyncio.get_running_loop().time() + CONNECT_S
        while True:
            connection = self._idle_one()
            if connection is not None:
                return connection
            now = asyncio.get_running_loop().time()
            if self._count < self._size and (now >= self._full_until or not self._count):
                try:
                    return await self._new()
                except asyncpg.PostgresError as error:
                    if sqlstate(error) != _NONE_LEFT or not self._count:
                        raise
                    self._full_until = now + FULL_S  # asking again at once would keep the server busy with refusals
                    continue  # one may have become free meanwhile, and rung for nobody
            await self._until_one_is_free(give_up)

    def _idle_one(self) -> Connection | None:
        stale = asyncio.get_running_loop().time() - IDLE_S
        while self._idle and (self._idle[0][0] < stale or self._idle[-1][1].is_closed()):
            _, connection = self._idle.pop(0 if self._idle[0][0] < stale else -1)
            connection.terminate()
            self._count -= 1
        return self._idle.pop()[1] if self._idle else None

    async def _new(self) -> Connection:
        self._count += 1
        try:
            return await self._connect()
        except BaseException:
            self._count -= 1
            self._wake()
            raise

    async def _until_one_is_free(self, give_up: float) -> None:
        loop = asyncio.get_running_loop()
        free: asyncio.Future[None] = loop.create_future()
        self._waiting.append(free)
        try:
            async with asyncio.timeout_at(give_up):
                await free
        except TimeoutError as error:
            if free.done() and not free.cancelled():
                self._wake()  # it was given to this one, too late
            raise StoreUnavailable(
                f"all {self._count} connections of this process have been busy for {CONNECT_S:.0f} s: raise "
                "HEADRACE_POSTGRES_CONNECTIONS, or see what holds the database up"
            ) from error
        except asyncio.CancelledError:
            if not free.cancelled():
                self._wake()  # it was given to this one, which has gone
            raise
        finally:
            with suppress(ValueError):
                self._waiting.remove(free)

    def give_back(self, connection: Connection, error: BaseException | None = None) -> None:
        """It is not needed any more; `error`: what its use ended in."""
        if error is not None and not isinstance(error, asyncpg.PostgresError):
            connection.terminate()  # who knows what it is in the middle of
        if connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
            self._count -= 1
        else:
            self._idle.append((asyncio.get_running_loop().time(), connection))
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            free = self._waiting.popleft()
            if not free.done():
                free.set_result(None)
                return

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            idle, self._idle = self._idle, []
            self._count -= len(idle)
            for _, connection in idle:
                try:
                    await connection.close(timeout=CLOSE_S)
                except ERRORS:
                    connection.terminate()
