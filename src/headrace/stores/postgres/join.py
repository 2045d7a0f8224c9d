"""Writing inside a transaction of the user's: the same statements, on their connection.

Invariant: nothing here begins what it does not say, and nothing ends the user's transaction but
`commit` and `rollback`. What such a transaction makes is not remembered, since it may roll back.
"""

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib import import_module
from typing import Any, Final, TypeVar

from headrace.core.errors import HeadraceError, StoreUnavailable, UsageError
from headrace.core.event import Event
from headrace.core.model import Enqueued, Lease, NewJob, Settle, SettleResult
from headrace.core.states import JobState
from headrace.ports.store import Joined
from headrace.stores.joins import commits, unknown
from headrace.stores.postgres.enqueue import enqueue, line, names
from headrace.stores.postgres.faults import NO_SCHEMA, mapped, sqlstate, words_of
from headrace.stores.postgres.incoming import fitting
from headrace.stores.postgres.lines import LineName, Lines
from headrace.stores.postgres.link import Link, LinkTx, failed
from headrace.stores.postgres.outbox import publish
from headrace.stores.postgres.settle import settle_one
from headrace.stores.postgres.sql import query
from headrace.stores.postgres.tx import Row, Tx

T = TypeVar("T")
PACKAGES: Final = ("asyncpg", "psycopg", "sqlalchemy")
KNOWN: Final = (
    "an asyncpg connection, a psycopg.Connection or psycopg.AsyncConnection, or SQLAlchemy's Session, AsyncSession, "
    "Connection or AsyncConnection"
)
_JOIN: Final = query("join")
_FAILED: Final = "25P02"  # an earlier statement of this transaction was refused


@dataclass(frozen=True, slots=True)
class Home:
    """What a join needs of its store."""

    where: str
    epoch: str
    now: Callable[[], datetime | None]
    lines: Lines
    key_retention_s: float
    ring: Callable[[Tx], None]

    def check(self, rows: Sequence[Row]) -> None:
        """Refuse another database; `rows` answer `join.sql`.

        Raises:
            UsageError: the connection leads to other jobs than the store's.
        """
        if not rows or rows[0][0] != self.epoch:
            raise self.elsewhere(f"it is connected to the database {rows[0][1]}" if rows else "no epoch")

    def elsewhere(self, why: str) -> UsageError:
        """What to tell of a connection that leads to other jobs, or to none."""
        return UsageError(
            f"using= does not lead to the jobs in {self.where} ({why}): a job can only be written in one transaction "
            "with rows of its own database. Connect it there, with a search_path that finds the headrace_* tables"
        )

    def told(self, error: Exception) -> HeadraceError:
        """A driver's error as ours."""
        code = sqlstate(error)
        if code == _FAILED:
            return failed()
        if code in NO_SCHEMA:
            return self.elsewhere(words_of(error))
        return mapped(error, self.where)


def join(home: Home, using: object) -> Joined:
    """Bind to a user's session or connection.

    Raises:
        UsageError: not a kind that is known here, or known to be of another kind of database.
    """
    for package in PACKAGES:
        if package in sys.modules:  # else it is none of its objects
            link: Link | None = import_module(f"headrace.stores.postgres.join_{package}").link(using)
            if link is not None:
                return JoinedPostgres(home, link)
    raise unknown(using, "PostgreSQL", KNOWN)


class JoinedPostgres:
    """A transaction of the user's; with a synchronous connection the coroutines never suspend."""

    def __init__(self, home: Home, link: Link) -> None:
        """Nothing is asked yet, since asking may suspend."""
        self._home = home
        self._link = link
        self._owed: list[Callable[[], None]] = []

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """Add jobs with the user's transaction."""
        if not jobs:
            return []
        wanted = names(jobs)

        async def add(tx: Tx) -> list[Enqueued]:
            numbers = await self._numbers(tx, wanted)
            return await enqueue(tx, jobs, numbers, self._home.key_retention_s)

        answers = await self._run(add)
        ready = [name for name, answer in zip(wanted, answers, strict=True) if answer.state is JobState.READY]
        self._home.lines.woke(ready)
        return answers

    async def settle(self, settle: Settle) -> SettleResult:
        """Settle one attempt with the user's transaction."""

        async def end(tx: Tx) -> SettleResult:
            await self._numbers(tx, ())
            return await settle_one(tx, self._home.lines, settle)

        return await self._run(end, ring=False)  # its commit follows, and rings

    async def publish(self, events: Sequence[Event], guard: Lease | None = None, *, once: bool = False) -> list[bool]:
        """Put events into outboxes with the user's transaction."""

        async def put(tx: Tx) -> list[bool]:
            await self._numbers(tx, ())
            return await publish(tx, events, guard, once=once)

        return await fitting(self._run(put)) if events else []

    async def commit(self) -> None:
        """Commit the user's transaction; what refuses rows of the user's is raised as it is."""
        await self._link.flush()
        with commits(self._owed):
            try:
                committed = await self._link.commit()
            except self._link.errors as error:
                told = mapped(error, self._home.where)
                if isinstance(told, StoreUnavailable):
                    raise told from error
                raise
        if not committed:
            raise StoreUnavailable("the transaction of using= had failed and was rolled back: repeat it from its start")

    async def rollback(self) -> None:
        """Roll the user's transaction back; where its connection is lost, the server does."""
        self._owed.clear()
        try:
            await self._link.rollback()
        except self._link.errors as error:
            told = self._home.told(error)
            if not isinstance(told, StoreUnavailable):
                raise told from error

    async def _run(self, op: Callable[[Tx], Awaitable[T]], *, ring: bool = True) -> T:
        try:
            await self._link.begin()
            tx = LinkTx(self._link, self._home.now())
            answer = await op(tx)
        except self._link.errors as error:
            raise self._home.told(error) from error
        rings = partial(self._home.ring, tx)
        self._owed.append(rings)
        if ring:
            self._link.ring_after(rings)
        return answer

    async def _numbers(self, tx: Tx, wanted: Sequence[LineName]) -> list[int]:
        """Check where the connection leads and, on the way, ask for the numbers of lines; new ones are made."""
        known = {name: found.number for name in wanted if (found := self._home.lines.get(name)) is not None}
        asked = sorted({name for name in wanted if name not in known})
        columns: list[list[Any]] = [[name[at] for name in asked] for at in range(4)]
        rows = await tx.all(_JOIN, *columns)
        self._home.check(rows)
        for name, number in zip(asked, rows[0][2], strict=True):
            known[name] = (await line(tx, name)).number if number is None else number
        return [known[name] for name in wanted]
