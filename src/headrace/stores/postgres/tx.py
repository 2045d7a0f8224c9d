"""Statements on a connection, whichever driver it is of, and the hints that they owe.

Invariant: hints reach others only when the transaction has committed.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from headrace.core.model import JobId
    from headrace.stores.postgres.loop_pool import Connection
    from headrace.stores.postgres.pool import Pools

Row: TypeAlias = Any  # a driver's, indexed by number

JOB_HINTS_MAX = 100


class Tx(ABC):
    """Where statements run; they are written with `$1` and so on. A synchronous driver's never suspend."""

    def __init__(self, now: datetime | None) -> None:
        """`now` replaces the database's clock; None: it is asked."""
        self.now = now
        self.hints: set[str] = set()
        self.grown: list[JobId] = []  # jobs whose feed has grown

    @abstractmethod
    async def all(self, sql: str, *params: object) -> Sequence[Row]:
        """Every row."""

    async def one(self, sql: str, *params: object) -> Row | None:
        """The first row."""
        rows = await self.all(sql, *params)
        return rows[0] if rows else None

    def owed(self, *, wants_jobs: bool) -> Iterable[str]:
        """The hints to ring."""
        if not wants_jobs or not self.grown:
            return self.hints
        if len(self.grown) > JOB_HINTS_MAX:
            return self.hints | {"job:*"}
        return self.hints.union(f"job:{job.hex()}" for job in self.grown)


class ConnectionTx(Tx):
    """On a connection inside a transaction."""

    def __init__(self, connection: "Connection", now: datetime | None) -> None:
        """The caller begins and ends it."""
        super().__init__(now)
        self._connection = connection

    async def all(self, sql: str, *params: object) -> Sequence[Row]:
        """Every row."""
        return await self._connection.fetch(sql, *params)


class EachTx(Tx):
    """Each statement is a transaction of its own."""

    def __init__(self, pools: "Pools", now: datetime | None) -> None:
        """Connections come from the pools."""
        super().__init__(now)
        self._pools = pools

    async def all(self, sql: str, *params: object) -> Sequence[Row]:
        """Every row."""
        return await self._pools.fetch(sql, *params)


def instant(seconds: float) -> datetime:
    """Seconds since the epoch, as PostgreSQL speaks of instants; to the microsecond."""
    return _EPOCH + timedelta(seconds=seconds)


def seconds(at: datetime | None) -> float | None:
    """An instant as the contract speaks of it."""
    return None if at is None else at.timestamp()


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
