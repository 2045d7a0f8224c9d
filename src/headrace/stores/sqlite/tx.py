"""A transaction under way: statements by name, the lanes it numbered, the hints it owes.

Invariant: what is kept here reaches the process (lane numbers, hints) only when it has committed.
"""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from headrace.stores.sqlite.sql import query

if TYPE_CHECKING:
    from headrace.core.model import JobId

Row: TypeAlias = tuple[Any, ...]
LaneName: TypeAlias = tuple[str, str, str]  # queue, task, key

_QUEUE_ID = query("queue_id")
_QUEUE_INSERT = query("queue_insert")
_LANE_ID = query("lane_id")
_LANE_INSERT = query("lane_insert")
_LANE_NAME = query("lane_name")
MICRO = 1_000_000


class Ledger:
    """What this process knows of the file: lanes by number and name, the last place in line."""

    def __init__(self) -> None:
        """Nothing known."""
        self.ids: dict[LaneName, int] = {}
        self.names: dict[int, LaneName] = {}
        self.seq = 0
        self.numbers: dict[JobId, int] = {}  # of jobs that this process claimed
        self.held: dict[JobId, LaneName] = {}  # of them, those that hold a slot of a limit
        self.served: dict[frozenset[str], tuple[int, int]] = {}  # by pool: (suspicion, lane) served last

    def place(self, now: int) -> int:
        """The next place in line: the microsecond, made to rise within this process."""
        self.seq = now if now > self.seq else self.seq + 1
        return self.seq


class Tx(ABC):
    """One transaction's statements, instant and debts."""

    def __init__(self, now: int, ledger: Ledger) -> None:
        """`now` is in microseconds since the epoch."""
        self.now = now
        self.ledger = ledger
        self.hints: set[str] = set()
        self.grown: list[JobId] = []  # jobs whose feed has grown
        self.lanes: dict[LaneName, int] = {}  # numbered here

    @abstractmethod
    def one(self, sql: str, params: Sequence[object] = ()) -> Row | None:
        """The first row."""

    @abstractmethod
    def all(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        """Every row."""

    @abstractmethod
    def run(self, sql: str, params: Sequence[object] = ()) -> int:
        """Execute; how many rows changed."""

    @abstractmethod
    def many(self, sql: str, rows: Sequence[Sequence[object]]) -> int:
        """Execute for each row; how many rows changed in all."""

    def lane(self, name: LaneName) -> int:
        """The number of a lane, which is made if it is new."""
        known = self.ledger.ids.get(name) or self.lanes.get(name)
        if known is not None:
            return known
        queue, task, key = name
        row = self.one(_QUEUE_ID, (queue,)) or self.one(_QUEUE_INSERT, (queue,))
        assert row is not None  # noqa: S101 - an INSERT with RETURNING answers
        queue_id = row[0]
        row = self.one(_LANE_ID, (queue_id, task, key)) or self.one(_LANE_INSERT, (queue_id, task, key))
        assert row is not None  # noqa: S101 - as above
        self.lanes[name] = row[0]
        return int(row[0])

    def lane_name(self, lane: int) -> LaneName:
        """What a lane's number means."""
        known = self.ledger.names.get(lane)
        if known is None:
            row = self.one(_LANE_NAME, (lane,))
            assert row is not None  # noqa: S101 - lanes are never deleted
            known = (row[0], row[1], row[2])
            self.lanes[known] = lane
        return known

    def committed(self) -> None:
        """Hand on what others may know now."""
        self.ledger.ids.update(self.lanes)
        self.ledger.names.update((lane, name) for name, lane in self.lanes.items())

    def owed(self, *, wants_jobs: bool) -> Iterable[str]:
        """The hints to ring."""
        if not wants_jobs or not self.grown:
            return self.hints
        if len(self.grown) > JOB_HINTS_MAX:
            return self.hints | {"job:*"}
        return self.hints.union(f"job:{job.hex()}" for job in self.grown)


JOB_HINTS_MAX = 100


class CursorTx(Tx):
    """On a cursor of the standard library's sqlite3."""

    def __init__(self, cursor: sqlite3.Cursor, now: int, ledger: Ledger) -> None:
        """The caller begins and ends the transaction."""
        super().__init__(now, ledger)
        self._cursor = cursor
        self._execute = cursor.execute

    def one(self, sql: str, params: Sequence[object] = ()) -> Row | None:
        """The first row."""
        row: Row | None = self._execute(sql, params).fetchone()
        return row

    def all(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        """Every row."""
        return self._execute(sql, params).fetchall()

    def run(self, sql: str, params: Sequence[object] = ()) -> int:
        """Execute; how many rows changed."""
        return self._execute(sql, params).rowcount

    def many(self, sql: str, rows: Sequence[Sequence[object]]) -> int:
        """Execute for each row; how many rows changed in all."""
        return self._cursor.executemany(sql, rows).rowcount
