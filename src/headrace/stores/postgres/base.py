"""What every side of the PostgreSQL store stands on: its connections, transactions, and the hints that these owe.

Invariant: hints go out when what they tell of is committed.
"""

import asyncio
import contextlib
import time as _time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from headrace.core.errors import HeadraceError, StoreUnavailable
from headrace.core.model import Enqueued, NewJob
from headrace.core.states import JobState
from headrace.ports.post import Promise
from headrace.ports.store import StoreSettings
from headrace.stores.postgres import chores
from headrace.stores.postgres.enqueue import enqueue, hints_of, line, names
from headrace.stores.postgres.faults import shown, sqlstate
from headrace.stores.postgres.gather import Gatherer
from headrace.stores.postgres.heads import Heads
from headrace.stores.postgres.lines import LineName, Lines
from headrace.stores.postgres.marks import Marks
from headrace.stores.postgres.pool import Pools
from headrace.stores.postgres.tx import ConnectionTx, EachTx, Tx, instant

if TYPE_CHECKING:
    from headrace.stores.postgres.holder import Holder

T = TypeVar("T")
Ride: TypeAlias = tuple[str, str, Callable[[], None]]  # of hints that go out with a transaction: see `PostgresNotifier`
_NOTIFY: Final = "SELECT pg_notify($1, $2)"
_AGAIN: Final = 4  # tries of a transaction that met another one (a deadlock), in all


class PostgresBase:
    """One database and what this process knows of it."""

    def __init__(
        self,
        url: str,
        settings: StoreSettings | None = None,
        *,
        wall: Callable[[], float] | None = None,
        notify: Callable[[Iterable[str]], None] | None = None,
        wants: Callable[[str], bool] | None = None,
        speak: Callable[[Iterable[str]], tuple[str, str] | None] | None = None,
        ride: Callable[[Iterable[str]], Ride | None] | None = None,
        connections: int = 10,
    ) -> None:
        """`wall` replaces the database's clock (for tests); `notify`, `wants`, `speak` and `ride` are a notifier's.

        `connections` is the most that one event loop of this process opens.
        """
        self.where = shown(url)
        self._url = url
        self._settings = settings if settings is not None else StoreSettings()
        self._wall = wall
        self._notify = notify
        self._wants = wants
        self._speak = speak
        self._ride = ride
        self._clock = _time.monotonic  # noqa: TID251 - how long things took; instants are the database's
        self._pools = Pools(url, size=connections)
        self._forget()
        self._gatherer = Gatherer(self._enqueue)
        self._counts = chores.Counts(self._clock)
        self._holder: Holder | None = None
        self._days_at = float("-inf")
        self._epoch = ""

    def _forget(self) -> None:
        """What is known of a database may be of another one after a close."""
        self._lines = Lines(self._clock)
        self._outboxes = Heads[int](self._clock)
        self._marks = Marks()
        self._promises = Heads[Promise](self._clock)
        self._forgotten: dict[str, datetime] = {}  # by source: so old were the last digests that were forgotten

    def _now(self) -> datetime | None:
        return None if self._wall is None else instant(self._wall())

    async def _each(self, op: Callable[[Tx], Awaitable[T]], *, first: bool = False) -> T:
        """Each statement of it is a transaction; `first`: whoever waits for the answer has it before others hear."""
        tx = EachTx(self._pools, self._now())
        answer = await op(tx)
        await self._tell(tx, soon=first)
        return answer

    async def _each_again(self, op: Callable[[Tx], Awaitable[T]]) -> T:
        """One statement is all of it, which is tried again if it met another transaction."""
        return await self._until_alone(lambda: self._each(op))

    async def _write(self, op: Callable[[Tx], Awaitable[T]]) -> T:
        """All of it is one transaction, which is tried again if it met another one."""

        async def once() -> tuple[Tx, T]:
            async with self._pools.transaction() as connection:
                tx = ConnectionTx(connection, self._now())
                return tx, await op(tx)

        tx, answer = await self._until_alone(once)
        await self._tell(tx)
        return answer

    async def _until_alone(self, once: Callable[[], Awaitable[T]]) -> T:
        for left in reversed(range(_AGAIN)):
            try:
                return await once()
            except StoreUnavailable as error:
                met = (sqlstate(error) or "").startswith("40")
                if not met or not left:
                    raise
        raise AssertionError

    def _ring(self, tx: Tx) -> None:
        if self._notify is not None and (hints := self._owed(tx)):
            self._notify(hints)

    async def _tell(self, tx: Tx, *, soon: bool = False) -> None:
        """Ring, or in the loop's next turn.

        Where the notifier has no connection, as in a script that ends soon, by one of the store's.
        """
        hints = self._owed(tx)
        if not hints or self._notify is None:
            return
        if soon:
            asyncio.get_running_loop().call_soon(self._notify, hints)
        else:
            self._notify(hints)
        if self._speak is not None and (spoken := self._speak(hints)) is not None:
            with contextlib.suppress(HeadraceError):  # the work is done; polling finds it
                await self._pools.fetch(_NOTIFY, *spoken)

    def _owed(self, tx: Tx) -> Sequence[str]:
        if not (tx.hints or tx.grown):
            return ()
        wants_jobs = bool(tx.grown) and (self._wants is None or self._wants("job:"))
        return tuple(tx.owed(wants_jobs=wants_jobs))

    # -- adding jobs ---------------------------------------------------------------------------

    async def _enqueue(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        wanted = names(jobs)
        numbers = await self._numbers(wanted)
        if any(job.promises for job in jobs):
            answers = await self._write(lambda tx: self._add(tx, jobs, numbers))
        else:
            answers = await self._add_at_once(jobs, numbers)
        self._lines.woke(name for name, answer in zip(wanted, answers, strict=True) if answer.state is JobState.READY)
        return answers

    async def _numbers(self, wanted: Sequence[LineName]) -> list[int]:
        tx = EachTx(self._pools, self._now())
        return [(await self._line(tx, name)) for name in wanted]

    async def _add(self, tx: Tx, jobs: Sequence[NewJob], numbers: Sequence[int]) -> list[Enqueued]:
        return await enqueue(tx, jobs, numbers, self._settings.key_retention_s)

    async def _add_at_once(self, jobs: Sequence[NewJob], numbers: Sequence[int]) -> list[Enqueued]:
        """By one statement, with which the hint may go out."""
        tx = EachTx(self._pools, self._now())
        ride = self._ride(hints_of(jobs)) if self._ride is not None else None
        answers = await enqueue(tx, jobs, numbers, self._settings.key_retention_s, ride[:2] if ride else (None, None))
        if ride is not None:
            ride[2]()
        else:
            await self._tell(tx)
        return answers

    async def _line(self, tx: Tx, name: LineName) -> int:
        known = self._lines.get(name)
        if known is None:
            made = await line(tx, name)
            known = self._lines.learn(made.number, made.queue, name)
        return known.number
