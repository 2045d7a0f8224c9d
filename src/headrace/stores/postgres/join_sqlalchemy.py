"""Joining SQLAlchemy's sessions and connections, sync and async; imported when one comes along."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.orm import Session

from headrace.core.errors import UsageError
from headrace.stores.alchemy import AsyncConnection, AsyncSession, Using, answered, bound, dialect, flush, ring_after
from headrace.stores.joins import needs_loop
from headrace.stores.postgres.link import Link, failed, refused
from headrace.stores.postgres.tx import Row

NUMBERED: Final = {"asyncpg": True, "psycopg": False, "psycopg_async": False, "psycopg2": False}  # by driver
_PLAIN: Final = {"stream_results": False}


def link(using: object) -> Link | None:
    """One of SQLAlchemy's; None: it is none.

    Raises:
        UsageError: of another database, or of a driver that was not tried.
    """
    found = bound(using)
    if found is None:
        return None
    speaks = dialect(found)
    if speaks.name != "postgresql" or speaks.driver not in NUMBERED:
        raise UsageError(
            f"using= is connected to {speaks.name} by {speaks.driver}, but the jobs are in PostgreSQL: "
            "use postgresql+asyncpg, postgresql+psycopg or postgresql+psycopg2"
        )
    return AlchemyLink(found, numbered=NUMBERED[speaks.driver])


class AlchemyLink(Link):
    """In the transaction that the session or connection is in, or begins by itself."""

    errors = (DBAPIError, OSError)

    def __init__(self, using: Using, *, numbered: bool) -> None:
        """`numbered`: the driver takes `$1`."""
        self.numbered = numbered
        self._using = using

    async def begin(self) -> None:
        """It begins by itself, unless it is in autocommit mode."""
        try:
            at = await self._connection()
            sync = at.sync_connection if isinstance(at, AsyncConnection) else at
            raw: Any = None if sync is None else sync.connection.dbapi_connection
        except PendingRollbackError as error:
            raise failed() from error
        if getattr(raw, "autocommit", False) is True:
            raise refused(
                "a SQLAlchemy connection with the isolation level AUTOCOMMIT", "use an engine or connection without it"
            )

    async def fetch(self, sql: str, params: Sequence[object]) -> Sequence[Row]:
        """Every row."""
        at = await self._connection()
        if isinstance(at, AsyncConnection):
            return (await at.exec_driver_sql(sql, tuple(params), _PLAIN)).fetchall()
        return at.exec_driver_sql(sql, tuple(params), _PLAIN).fetchall()

    async def flush(self) -> None:
        """What an ORM session has only noted so far."""
        await flush(self._using)

    async def commit(self) -> bool:
        """Commit."""
        await answered(self._using.commit())
        return True

    async def rollback(self) -> None:
        """Roll back."""
        await answered(self._using.rollback())

    def ring_after(self, ring: Callable[[], None]) -> None:
        """A session tells when it has committed."""
        ring_after(self._using, ring)

    async def _connection(self) -> Connection | AsyncConnection:
        using = self._using
        if isinstance(using, AsyncSession):
            needs_loop("an AsyncSession")
            return await using.connection()
        if isinstance(using, AsyncConnection):
            needs_loop("an AsyncConnection")
        return using.connection() if isinstance(using, Session) else using
