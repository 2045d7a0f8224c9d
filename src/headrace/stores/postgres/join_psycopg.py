"""Joining psycopg's connections, sync and async; imported when one comes along."""

from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from headrace.stores.joins import needs_loop
from headrace.stores.postgres.link import Link, refused
from headrace.stores.postgres.tx import Row

_REMEDY: Final = "put `with connection.transaction():` around it"
_COMMIT: Final = b"COMMIT"
_ROLLBACK: Final = b"ROLLBACK"


def link(using: object) -> Link | None:
    """One of psycopg's; None: it is none."""
    if isinstance(using, psycopg.Connection):
        return PsycopgLink(using)  # pyright: ignore[reportUnknownArgumentType] - whatever rows it makes
    if isinstance(using, psycopg.AsyncConnection):
        return AsyncPsycopgLink(using)  # pyright: ignore[reportUnknownArgumentType] - whatever rows it makes
    return None


class PsycopgLink(Link):
    """A synchronous one. Its transaction ends by a statement, since `commit()` is refused within a block."""

    errors = (psycopg.Error, OSError)

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        """Of the thread that calls."""
        self._connection = connection

    async def begin(self) -> None:
        """It begins by itself, unless it is in autocommit mode."""
        if self._connection.autocommit and self._idle:
            raise refused("a psycopg connection in autocommit mode", _REMEDY)

    async def fetch(self, sql: str, params: Sequence[object]) -> Sequence[Row]:
        """Every row."""
        with psycopg.Cursor(self._connection, row_factory=tuple_row) as cursor:
            return cursor.execute(sql.encode(), params).fetchall()

    async def flush(self) -> None:
        """There is nothing."""

    async def commit(self) -> bool:
        """The user's block finds nothing left to commit."""
        if self._idle:
            return True
        with psycopg.Cursor(self._connection) as cursor:
            return cursor.execute(_COMMIT).statusmessage == "COMMIT"

    async def rollback(self) -> None:
        """The same way."""
        if not self._idle:
            with psycopg.Cursor(self._connection) as cursor:
                cursor.execute(_ROLLBACK)

    @property
    def _idle(self) -> bool:
        return self._connection.info.transaction_status is TransactionStatus.IDLE


class AsyncPsycopgLink(Link):
    """An asynchronous one."""

    errors = (psycopg.Error, OSError)

    def __init__(self, connection: "psycopg.AsyncConnection[Any]") -> None:
        """Of the event loop that runs."""
        self._connection = connection

    async def begin(self) -> None:
        """As above."""
        needs_loop("a psycopg.AsyncConnection")
        if self._connection.autocommit and self._idle:
            raise refused("a psycopg connection in autocommit mode", f"{_REMEDY}, with `async`")

    async def fetch(self, sql: str, params: Sequence[object]) -> Sequence[Row]:
        """Every row."""
        async with psycopg.AsyncCursor(self._connection, row_factory=tuple_row) as cursor:
            await cursor.execute(sql.encode(), params)
            return await cursor.fetchall()

    async def flush(self) -> None:
        """There is nothing."""

    async def commit(self) -> bool:
        """As above."""
        if self._idle:
            return True
        async with psycopg.AsyncCursor(self._connection) as cursor:
            return (await cursor.execute(_COMMIT)).statusmessage == "COMMIT"

    async def rollback(self) -> None:
        """As above."""
        if not self._idle:
            async with psycopg.AsyncCursor(self._connection) as cursor:
                await cursor.execute(_ROLLBACK)

    @property
    def _idle(self) -> bool:
        return self._connection.info.transaction_status is TransactionStatus.IDLE
