"""The file that jobs leave: read in bites while others write, held, stopped, marked.

Invariant: one move of a file at a time, by a lock on a file beside it that falls with this process.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Self, TypeVar

from headrace.core.errors import StoreUnusable
from headrace.core.model import JobId, WorkerId
from headrace.ports.store import StoreSettings
from headrace.stores.move import rows
from headrace.stores.move.hold import Hold, alone, locked
from headrace.stores.move.rows import Row
from headrace.stores.sqlite import moving, schema, workers
from headrace.stores.sqlite.connection import check_path, check_writable, connect, fault
from headrace.stores.sqlite.moving import Record
from headrace.stores.sqlite.slots import Slots
from headrace.stores.sqlite.tx import MICRO, CursorTx, Ledger

T = TypeVar("T")
JOBS_MAX: Final = 1_000  # of one bite
BYTES_MAX: Final = 16 * 1024 * 1024
IDS_MAX: Final = 500  # parameters of one statement
LOG_BITE: Final = 2_000

_monotonic = time.monotonic  # noqa: TID251 - whether a worker lives is told by this machine's clock
_RUNNING: Final = (
    "SELECT worker.id, count(*) FROM headrace_job AS job LEFT JOIN headrace_worker AS worker ON worker.n = job.worker "
    "WHERE job.state = 2 GROUP BY worker.id"
)
REPLAY: Final = "scope, key, fingerprint, answer, expires_at"
_LOG: Final = "SELECT seq, job, n, scope, key FROM headrace_move_log WHERE seq > ? ORDER BY seq LIMIT ?"


@dataclass(slots=True)
class Changes:
    """What changed up to a place in the log."""

    upto: int
    count: int = 0
    jobs: set[JobId] = field(default_factory=set[JobId])
    replays: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    seen: set[tuple[int, bytes]] = field(default_factory=set[tuple[int, bytes]])
    events: set[int] = field(default_factory=set[int])  # by their places


@dataclass(frozen=True, slots=True)
class Jobs:
    """Jobs as they are: those of `ids` that are in neither list are gone."""

    ids: list[JobId]
    live: list[Row] = field(default_factory=list[Row])
    ended: list[Row] = field(default_factory=list[Row])


@dataclass(frozen=True, slots=True)
class Freed:
    """What a stop, or a look for the dead, took from workers."""

    given_back: int = 0
    suspects: int = 0
    dead: tuple[WorkerId, ...] = ()


class Source:
    """An open file. Use it as a context manager."""

    def __init__(self, path: Path, settings: StoreSettings, wall: Callable[[], float], *, moved: bool = False) -> None:
        """`moved`: a file that has moved is welcome too.

        Raises:
            StoreError: there is no such file, it is no store of this version, or it cannot be written.
            StoreUnavailable: another move of it is under way.
        """
        self.path: Final = path.absolute()
        self._settings: Final = settings
        self._wall: Final = wall
        self._slots: Final = Slots(self._beside / "workers", _monotonic)
        self._moved: Final = moved

    @property
    def _beside(self) -> Path:
        return self.path.with_name(self.path.name + "-headrace")

    def __enter__(self) -> Self:
        try:
            return self._open()
        except sqlite3.Error as error:
            raise fault(error, str(self.path)) from error

    def _open(self) -> Self:
        with contextlib.ExitStack() as stack:
            check_path(self.path)
            if not self.path.exists():
                raise StoreUnusable(f"there is no database at {self.path}: name the file that HEADRACE_STORE names")
            self._connection = connect(str(self.path))
            stack.callback(self._connection.close)
            self._check_schema()
            check_writable(self._connection)
            self._slots.open()
            stack.enter_context(alone(self._beside / "move.lock", self.path))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._stack.close()
        if isinstance(error, sqlite3.Error):
            raise fault(error, str(self.path)) from error

    def _check_schema(self) -> None:
        if self._moved and _has_meta(self._connection) and moving.moved_to(self._connection) is not None:
            return
        found = schema.plan(self._connection)
        if not found.found:
            raise StoreUnusable(f"{self.path} holds no jobs of headrace: name the file that HEADRACE_STORE names")
        found.check(str(self.path))

    # -- marks --------------------------------------------------------------------------------------

    @property
    def record(self) -> Record | None:
        """The move that began before."""
        return moving.record(self._connection)

    @property
    def moved_to(self) -> str | None:
        """Where the jobs are, if they have moved."""
        return moving.moved_to(self._connection)

    @property
    def epoch(self) -> str:
        """Names the history of offsets."""
        return schema.epoch(self._connection)

    def _locked(self, work: Callable[[], T]) -> T:
        return locked(self._connection, work)

    def begin(self, move_id: str, to: str) -> Record:
        """Note every change from here on."""
        return self._locked(lambda: moving.begin(self._connection, move_id, to))

    def let_go(self) -> None:
        """Claims and writes go on, unless the jobs are gone."""
        if self.moved_to is None:
            self._locked(lambda: moving.let_go(self._connection))

    def give_up(self) -> None:
        """Nothing of a move is left."""
        self._locked(lambda: moving.give_up(self._connection))

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        """Claims find nothing meanwhile; others go on by themselves soon after this process is gone."""
        with Hold(str(self.path), self._wall):
            yield

    def stop(self, to: str) -> Freed:
        """Give back what still runs, and from then on let nobody write, as long as the file is held."""

        def work() -> Freed:
            freed = self._free(self._running())
            moving.stop(self._connection, to)
            return freed

        freed = self._locked(work)
        self._slots.remove(*freed.dead)
        return freed

    def reap(self) -> Freed:
        """Free the jobs of workers that are dead, as any living worker would."""
        if not any(self._dead(worker) for worker, _ in self._running()):
            return Freed()
        freed = self._locked(lambda: self._free([row for row in self._running() if self._dead(row[0])]))
        self._slots.remove(*freed.dead)
        return freed

    def finish(self, to: str, upto: int) -> bool:
        """The jobs are elsewhere, for good; False: something changed that was not followed."""

        def work() -> bool:
            if moving.log_end(self._connection) != upto or self._running():
                return False
            moving.finish(self._connection, to)
            return True

        return self._locked(work)

    # -- workers ------------------------------------------------------------------------------------

    def running(self) -> int:
        """How many attempts run now."""
        return sum(count for _, count in self._running())

    def _running(self) -> list[tuple[WorkerId | None, int]]:
        return self._connection.execute(_RUNNING).fetchall()

    def _dead(self, worker: WorkerId | None) -> bool:
        return worker is not None and not self._slots.alive(worker)

    def _free(self, running: Sequence[tuple[WorkerId | None, int]]) -> Freed:
        tx = CursorTx(self._connection.cursor(), int(self._wall() * MICRO), Ledger())
        gone: list[WorkerId] = []
        given_back = suspects = 0
        for worker, count in running:
            if worker is None:
                raise StoreUnusable(f"{self.path}: {count} jobs run under no worker that is known: `headrace doctor`")
            gone.append(worker)
            if self._dead(worker):
                suspects += len(workers.reap(tx, [worker], self._settings).jobs)
            else:
                workers.unregister(tx, worker)
                given_back += count
        return Freed(given_back, suspects, tuple(gone))

    # -- reading ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def snapshot(self) -> Generator[None]:
        """All that is read inside is of one moment; inside of another one, of that one's."""
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("COMMIT")

    def ended_after(self, seq: int, upto: int) -> list[Row]:
        """The next ended jobs in their order of ending."""
        return self._bite(f"{rows.ENDED} WHERE job.seq > ? AND job.seq <= ? ORDER BY job.seq LIMIT ?", (seq, upto))

    def ended_count(self, seq: int, upto: int) -> int:
        """How many `ended_after` will tell in all."""
        sql = "SELECT count(*) FROM headrace_history WHERE seq > ? AND seq <= ?"
        return int(self._connection.execute(sql, (seq, upto)).fetchone()[0])

    def live_count(self, n: int) -> int:
        """How many `live_after` will tell, if no more come."""
        return int(self._connection.execute("SELECT count(*) FROM headrace_job WHERE n > ?", (n,)).fetchone()[0])

    def live_after(self, n: int) -> list[Row]:
        """The next live jobs."""
        return self._bite(f"{rows.LIVE} WHERE job.n > ? ORDER BY job.n LIMIT ?", (n,))

    def _bite(self, sql: str, params: tuple[int, ...]) -> list[Row]:
        found: list[Row] = []
        length = 0
        for row in self._connection.execute(sql, (*params, JOBS_MAX)):
            found.append(row)
            length += rows.size(row)
            if length >= BYTES_MAX:
                break
        return found

    def jobs(self, ids: Sequence[JobId]) -> Jobs:
        """These jobs as they are, at most `IDS_MAX`; only some of them where they are large."""
        found = Jobs(list(ids))
        where = f" WHERE job.id IN ({','.join('?' * len(ids))})"
        length = 0
        for sql, here in ((rows.LIVE, found.live), (rows.ENDED, found.ended)):
            for row in self._connection.execute(sql + where, tuple(ids)):
                here.append(row)
                length += rows.size(row)
                if length >= BYTES_MAX:
                    seen = [rows.identity(each).bytes for each in (*found.live, *found.ended)]
                    return Jobs(seen, found.live, found.ended)
        return found

    def replays_after(self, last: tuple[str, str]) -> list[Row]:
        """The next idempotency records, by their keys."""
        sql = f"SELECT {REPLAY} FROM headrace_idempotency WHERE (scope, key) > (?, ?) ORDER BY scope, key LIMIT ?"  # noqa: S608 - ours
        return self._connection.execute(sql, (*last, JOBS_MAX)).fetchall()

    def first_end(self) -> datetime | None:
        """When the first ended job ended that is still here."""
        row = self._connection.execute("SELECT finished_at FROM headrace_history ORDER BY seq LIMIT 1").fetchone()
        return None if row is None else rows.at(row[0])

    def feed(self, numbers: Iterable[int]) -> Iterator[Row]:
        """The kept updates of jobs, by number."""
        return iter(self._connection.execute(rows.FEED, (_array(numbers),)))

    def attempts(self, numbers: Iterable[int]) -> list[Row]:
        """The kept attempts of jobs, by number."""
        return self._connection.execute(rows.ATTEMPTS, (_array(numbers),)).fetchall()

    def lanes(self) -> dict[int, tuple[str, str, str]]:
        """Every lane: queue, task, key."""
        sql = (
            "SELECT lane.id, queue.name, lane.task, lane.key FROM headrace_lane AS lane "
            "JOIN headrace_queue AS queue ON queue.id = lane.queue"
        )
        return {row[0]: (row[1], row[2], row[3]) for row in self._connection.execute(sql)}

    def table(self, name: str, columns: str) -> Iterator[Row]:
        """All of a small table, or of one that is read as it goes."""
        return iter(self._connection.execute(f"SELECT {columns} FROM headrace_{name}"))  # noqa: S608 - names of ours

    def replays(self, keys: Sequence[tuple[str, str]]) -> list[Row]:
        """These idempotency records as they are."""
        sql = f"SELECT {REPLAY} FROM headrace_idempotency WHERE scope = ? AND key = ?"  # noqa: S608 - ours
        return [row for key in keys for row in self._connection.execute(sql, key)]

    def ask(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        """All that a question is answered with."""
        return self._connection.execute(sql, params).fetchall()

    def each(self, sql: str, params: Sequence[object] = ()) -> Iterator[Row]:
        """The same, read as it goes."""
        return iter(self._connection.execute(sql, params))

    # -- the log ------------------------------------------------------------------------------------

    def log_end(self) -> int:
        """The last change that was noted."""
        return moving.log_end(self._connection)

    def log_full(self) -> bool:
        """Whether changes may be missing."""
        return moving.log_full(self._connection)

    def changes_after(self, seq: int) -> Changes:
        """The next changes; what is told is which jobs changed, not how."""
        noted = self._connection.execute(_LOG, (seq, LOG_BITE)).fetchall()
        changes = Changes(noted[-1][0] if noted else seq, len(noted))
        edited: set[int] = set()
        for _, job, n, scope, key in noted:
            if job is not None and n is not None:
                changes.seen.add((n, job))
            elif job is not None:
                changes.jobs.add(job)
            elif n is not None:
                edited.add(n)
            elif scope is not None:
                changes.replays.add((scope, key))
            elif key is not None:
                changes.events.add(int(key))
            else:
                changes.count -= 1  # of a table that is copied whole
        if edited:  # rare, and no index leads from an ended job's number to it
            sql = "SELECT id FROM headrace_history WHERE n IN (SELECT value FROM json_each(?))"
            changes.jobs.update(row[0] for row in self._connection.execute(sql, (_array(edited),)))
        return changes

    def trim_log(self, upto: int) -> bool:
        """Forget changes that were followed; False: some may be missing."""
        return self._locked(lambda: moving.trim_log(self._connection, upto))


def _has_meta(connection: sqlite3.Connection) -> bool:
    sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'headrace_meta'"
    return connection.execute(sql).fetchone() is not None


def _array(numbers: Iterable[int]) -> str:
    return "[" + ",".join(map(str, numbers)) + "]"
