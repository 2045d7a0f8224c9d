"""Joining asyncpg's connections, those of a pool too."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from headrace.core.errors import StoreUnavailable, UsageError
from headrace.stores.joins import needs_loop
from headrace.stores.postgres.faults import ERRORS
from headrace.stores.postgres.link import Link, refused
from headrace.stores.postgres.tx import Row

_Raw: TypeAlias = "asyncpg.Connection[Any] | PoolConnectionProxy[Any]"
_KIND: Final = "an asyncpg connection"


def link(using: object) -> Link | None:
    """One of asyncpg's; None: it is none."""
    if isinstance(using, (asyncpg.Connection, PoolConnectionProxy)):
        return AsyncpgLink(using)  # pyright: ignore[reportUnknownArgumentType] - whatever rows it makes
    return None


class AsyncpgLink(Link):
    """In a transaction that the user has begun."""

    errors = ERRORS
    numbered = True

    def __init__(self, connection: _Raw) -> None:
        """Of the event loop that runs."""
        self._connection = connection

    async def begin(self) -> None:
        """Outside of a transaction every statement is one."""
        needs_loop(_KIND)
        with self._usable():
            if not self._connection.is_in_transaction():
                raise refused(_KIND, "put `async with connection.transaction():` around it")

    async def fetch(self, sql: str, params: Sequence[object]) -> Sequence[Row]:
        """Every row."""
        with self._usable():
            return await self._connection.fetch(sql, *params)

    @contextmanager
    def _usable(self) -> Generator[None]:
        """Tell a connection that is in other hands from one that is lost."""
        try:
            yield
        except asyncpg.InterfaceError as error:
            if self._closed:
                raise StoreUnavailable(f"the connection of using= is closed: {error}") from error
            raise UsageError(f"using= cannot be used now: {error}") from error

    @property
    def _closed(self) -> bool:
        try:
            return self._connection.is_closed()
        except asyncpg.InterfaceError:
            return True  # its pool has it back, as it also does when it is lost

    async def flush(self) -> None:
        """There is nothing."""

    async def commit(self) -> bool:
        """By a statement, since the user's block ends only later: it then finds nothing left to commit."""
        return await self._connection.execute("COMMIT") == "COMMIT"

    async def rollback(self) -> None:
        """By a statement, as above."""
        if self._connection.is_in_transaction():
            await self._connection.execute("ROLLBACK")
