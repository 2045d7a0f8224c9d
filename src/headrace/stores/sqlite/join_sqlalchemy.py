"""Joining SQLAlchemy's sessions and connections, sync and async; imported when one comes along."""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from headrace.core.errors import StoreUnavailable, UsageError
from headrace.core.event import Event
from headrace.core.model import Enqueued, Lease, NewJob, Settle, SettleResult
from headrace.ports.store import Joined
from headrace.stores.alchemy import AsyncConnection, AsyncSession, Using, answered, bound, dialect, flush, ring_after
from headrace.stores.joins import commits, needs_loop
from headrace.stores.sqlite.enqueue import enqueue
from headrace.stores.sqlite.join import Home, refuse_autocommit
from headrace.stores.sqlite.outbox import publish
from headrace.stores.sqlite.settle import settle_alone
from headrace.stores.sqlite.tx import Row, Tx

T = TypeVar("T")


class AlchemyTx(Tx):
    """Statements on a SQLAlchemy connection, past its dialect."""

    def __init__(self, connection: Connection, home: Home) -> None:
        """The user's transaction is open."""
        super().__init__(home.now(), home.ledger)
        self._connection = connection

    def one(self, sql: str, params: Sequence[object] = ()) -> Row | None:
        """The first row."""
        rows = self.all(sql, params)
        return rows[0] if rows else None

    def all(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        """Every row."""
        return [tuple(row) for row in self._connection.exec_driver_sql(sql, tuple(params)).fetchall()]

    def run(self, sql: str, params: Sequence[object] = ()) -> int:
        """Execute; how many rows changed."""
        return self._connection.exec_driver_sql(sql, tuple(params)).rowcount

    def many(self, sql: str, rows: Sequence[Sequence[object]]) -> int:
        """Execute for each row; how many rows changed in all."""
        return sum(self._connection.exec_driver_sql(sql, tuple(row)).rowcount for row in rows)


def join(home: Home, using: object) -> Joined | None:
    """Bind to a SQLAlchemy object; None: it is none.

    Raises:
        UsageError: it is bound to another kind of database.
    """
    session = bound(using)
    return None if session is None else JoinedSqlalchemy(home, session)


class JoinedSqlalchemy:
    """A transaction of a session or connection; with a sync one the coroutines never suspend."""

    def __init__(self, home: Home, using: Using) -> None:
        """The file is looked at with the first write, since asking an async one suspends."""
        self._home = home
        self._using = using
        self._owed: list[Callable[[], None]] = []
        name = dialect(using).name
        if name != "sqlite":
            raise UsageError(f"using= is connected to {name}, but the jobs are in the SQLite file {home.path}")

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """Add jobs with the user's transaction."""
        return await self._run(lambda tx: enqueue(tx, jobs, self._home.key_retention_s))

    async def settle(self, settle: Settle) -> SettleResult:
        """Settle one attempt with the user's transaction."""
        return await self._run(lambda tx: settle_alone(tx, settle), ring=False)  # its commit follows, and rings

    async def publish(self, events: Sequence[Event], guard: Lease | None = None, *, once: bool = False) -> list[bool]:
        """Put events into the outboxes of their sinks with the user's transaction."""
        return await self._run(lambda tx: publish(tx, events, guard, once=once))

    async def commit(self) -> None:
        """Commit the user's transaction."""
        await flush(self._using)
        with commits(self._owed):
            try:
                await answered(self._using.commit())
            except IntegrityError:
                raise  # a deferred constraint of the user's
            except DBAPIError as error:
                raise StoreUnavailable(f"the commit on {self._home.path} failed: {error.orig}") from error

    async def rollback(self) -> None:
        """Roll the user's transaction back."""
        self._owed.clear()
        await answered(self._using.rollback())

    async def _run(self, op: Callable[[Tx], T], *, ring: bool = True) -> T:
        using = self._using
        try:
            if isinstance(using, AsyncSession):
                needs_loop("an AsyncSession")
                tx, answer = await using.run_sync(lambda session: self._write(session.connection(), op))
            elif isinstance(using, AsyncConnection):
                needs_loop("an AsyncConnection")
                tx, answer = await using.run_sync(self._write, op)
            elif isinstance(using, Session):
                tx, answer = self._write(using.connection(), op)
            else:
                tx, answer = self._write(using, op)
        except DBAPIError as error:
            if isinstance(error.orig, sqlite3.Error):
                raise self._home.told(error.orig) from error
            raise
        rings = partial(self._home.ring, tx)
        self._owed.append(rings)
        if ring:
            ring_after(using, rings)
        return answer

    def _write(self, connection: Connection, op: Callable[[Tx], T]) -> tuple[Tx, T]:
        self._home.check_file(connection.exec_driver_sql("PRAGMA database_list").fetchall())
        raw: Any = connection.connection.driver_connection
        refuse_autocommit(raw, in_transaction=raw.in_transaction)
        if not raw.in_transaction:
            # The driver begins late, and only to read: a write that begins so may find itself too late.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        tx = AlchemyTx(connection, self._home)
        return tx, op(tx)
