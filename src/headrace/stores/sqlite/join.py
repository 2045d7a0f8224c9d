"""Writing inside a transaction of the user's: the same statements, on their connection.

Invariant: nothing here begins what it does not say, and nothing ends the user's transaction but
`commit` and `rollback`.
"""

import os
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar

from headrace.core.errors import StoreUnavailable, UsageError
from headrace.core.event import Event
from headrace.core.model import Enqueued, Lease, NewJob, Settle, SettleResult
from headrace.ports.store import Joined
from headrace.stores.joins import commits, ring_soon, unknown
from headrace.stores.sqlite.connection import fault
from headrace.stores.sqlite.enqueue import enqueue
from headrace.stores.sqlite.outbox import publish
from headrace.stores.sqlite.settle import settle_alone
from headrace.stores.sqlite.tx import MICRO, CursorTx, Ledger, Tx

T = TypeVar("T")
KNOWN: Final = "a sqlite3.Connection, or SQLAlchemy's Session, AsyncSession, Connection or AsyncConnection"


@dataclass(frozen=True, slots=True)
class Home:
    """What a join needs of its store."""

    path: Path
    wall: Callable[[], float]
    ledger: Ledger
    key_retention_s: float
    ring: Callable[[Tx], None]

    def now(self) -> int:
        """The store's instant, in microseconds."""
        return int(self.wall() * MICRO)

    def check_file(self, rows: Sequence[Sequence[Any]]) -> None:
        """Refuse another file; `rows` answer `PRAGMA database_list`.

        Raises:
            UsageError: the connection's main database is not the store's.
        """
        file = next((str(row[2] or "") for row in rows if row[1] == "main"), "")
        if file:
            try:
                if os.path.samefile(file, self.path):  # noqa: PTH121 - the same file by any name
                    return
            except OSError:
                pass
        raise UsageError(
            f"using= is connected to {file or 'a database in memory'}, but the jobs are in {self.path}: "
            "a job can only be written in one transaction with rows of its own file"
        )

    def told(self, error: sqlite3.Error) -> Exception:
        """A driver's error as ours."""
        return fault(error, str(self.path))


def join(home: Home, using: object) -> Joined:
    """Bind to a user's session or connection.

    Raises:
        UsageError: not a kind that is known here, or known to be on another database.
    """
    if isinstance(using, sqlite3.Connection):
        return JoinedSqlite3(home, using)
    if "sqlalchemy" in sys.modules:
        alchemy = import_module("headrace.stores.sqlite.join_sqlalchemy")
        joined: Joined | None = alchemy.join(home, using)
        if joined is not None:
            return joined
    raise unknown(using, "SQLite", KNOWN)


def refuse_autocommit(raw: Any, *, in_transaction: bool) -> None:
    """Refuse a connection that would leave our transaction open for ever.

    Raises:
        UsageError: it is in autocommit mode and no transaction was begun.
    """
    if in_transaction:
        return
    if getattr(raw, "isolation_level", "") is None or getattr(raw, "autocommit", None) is True:
        raise UsageError(
            "using= is a connection in autocommit mode without a transaction: begin one (BEGIN IMMEDIATE) first"
        )


class JoinedSqlite3:
    """A transaction on the standard library's connection; its coroutines never suspend."""

    def __init__(self, home: Home, connection: sqlite3.Connection) -> None:
        """Looks at the file at once."""
        self._home = home
        self._connection = connection
        self._owed: list[Callable[[], None]] = []
        try:
            rows = connection.execute("PRAGMA database_list").fetchall()
        except sqlite3.Error as error:
            raise home.told(error) from error
        home.check_file([tuple(row) for row in rows])

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """Add jobs with the user's transaction."""
        return self._run(lambda tx: enqueue(tx, jobs, self._home.key_retention_s))

    async def settle(self, settle: Settle) -> SettleResult:
        """Settle one attempt with the user's transaction."""
        return self._run(lambda tx: settle_alone(tx, settle), ring=False)  # its commit follows, and rings

    async def publish(self, events: Sequence[Event], guard: Lease | None = None, *, once: bool = False) -> list[bool]:
        """Put events into the outboxes of their sinks with the user's transaction."""
        return self._run(lambda tx: publish(tx, events, guard, once=once))

    def _run(self, op: Callable[[Tx], T], *, ring: bool = True) -> T:
        connection = self._connection
        try:
            refuse_autocommit(connection, in_transaction=connection.in_transaction)
            cursor = connection.cursor()
            cursor.row_factory = None
            if not connection.in_transaction:
                cursor.execute("BEGIN IMMEDIATE")
            tx = CursorTx(cursor, self._home.now(), self._home.ledger)
            answer = op(tx)
        except sqlite3.Error as error:
            raise self._home.told(error) from error
        rings = partial(self._home.ring, tx)
        self._owed.append(rings)
        if ring:
            ring_soon(rings)
        return answer

    async def commit(self) -> None:
        """Commit the user's transaction."""
        with commits(self._owed):
            try:
                if self._connection.in_transaction:
                    self._connection.execute("COMMIT")
            except sqlite3.IntegrityError:
                raise  # a deferred constraint of the user's
            except sqlite3.Error as error:
                raise StoreUnavailable(f"the commit on {self._home.path} failed: {error}") from error

    async def rollback(self) -> None:
        """Roll the user's transaction back."""
        self._owed.clear()
        try:
            self._connection.rollback()
        except sqlite3.Error as error:
            raise self._home.told(error) from error
