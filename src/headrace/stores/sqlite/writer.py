"""The one thread of a process that writes: whatever waits is written and committed together.

Invariant: an operation's answer is given only after the commit that made it durable, and one that
fails takes none of its neighbours with it.
"""

import asyncio
import concurrent.futures
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias, TypeVar, cast

from headrace.core.errors import StoreUnavailable, StoreUnusable
from headrace.stores.sqlite.connection import connect, fault, inode
from headrace.stores.sqlite.faults import is_busy
from headrace.stores.sqlite.holder import program, write_lock_holder
from headrace.stores.sqlite.tx import MICRO, CursorTx, Ledger, Tx

logger = logging.getLogger(__name__)

T = TypeVar("T")
Op: TypeAlias = Callable[[Tx], Any]
_Future: TypeAlias = "asyncio.Future[Any] | concurrent.futures.Future[Any]"
_Entry: TypeAlias = tuple[Op, asyncio.AbstractEventLoop | None, _Future]
_Answer: TypeAlias = tuple[_Future, Any, Exception | None]

_GROUP_MAX: Final = 512
_CHANGES_PER_CHECKPOINT: Final = 10_000  # about 1,000 pages of log
_IDLE_S: Final = 1.0  # after the last write, before what is left of the log is checkpointed
_PAUSE_S: Final = 0.0002  # another process writes: its turn is short, and so is the gap after it
_LONG_PAUSE_S: Final = 0.005  # it does not let go
_LONG_S: Final = 0.1
_OWN_LOCK_S: Final = 1.0
_PROBE_S: Final = 0.2

_now = time.monotonic  # noqa: TID251 - this thread is an edge: it waits for a lock of other processes
_sleep = time.sleep  # noqa: TID251 - as above


class Writer:
    """Runs operations on its connection, several to a transaction."""

    def __init__(
        self,
        path: str,
        *,
        wall: Callable[[], float],
        ledger: Ledger,
        synchronous: str,
        busy_timeout_s: float,
        ring: Callable[[Tx], None],
    ) -> None:
        """`ring` is called in the writer's thread after each commit."""
        self._path = path
        self._wall = wall
        self._ledger = ledger
        self._busy_timeout_s = busy_timeout_s
        self._ring = ring
        self._inbox: SimpleQueue[_Entry | None] = SimpleQueue()
        self._closed = False
        self._connection = connect(path, synchronous=synchronous)
        self._checkpointer = connect(path, synchronous=synchronous)
        self._cursor = self._connection.cursor()
        self._inode = inode(path)
        self._checkpointed_changes = self._connection.total_changes
        self._thread = threading.Thread(target=self._run, name="headrace-sqlite-writer", daemon=True)
        self._thread.start()

    async def run(self, op: Callable[[Tx], T]) -> T:
        """The answer of `op`, durable."""
        if self._closed:
            raise StoreUnavailable(f"the database {self._path} is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._inbox.put((op, loop, future))
        try:
            return await future
        finally:
            del future  # an error in it would refer to itself through this frame

    def run_sync(self, op: Callable[[Tx], T]) -> T:
        """As `run`, for plain threads."""
        if self._closed:
            raise StoreUnavailable(f"the database {self._path} is closed")
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._inbox.put((op, None, future))
        return future.result()

    def stop(self) -> None:
        """Write what waits, then end; blocks until it has."""
        if not self._closed:
            self._closed = True
            self._inbox.put(None)
        self._thread.join()

    # -- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        timeout: float | None = None
        while True:
            try:
                entry = self._inbox.get(timeout=timeout)
            except Empty:
                timeout = None if self._checkpoint() else _IDLE_S
                continue
            group = self._gather(entry)
            if group:
                self._answer(self._write(group))
                timeout = _IDLE_S
                if self._connection.total_changes - self._checkpointed_changes >= _CHANGES_PER_CHECKPOINT:
                    self._checkpoint()
            if self._closed and self._inbox.empty():
                break
        self._cursor.close()  # a statement that is still referred to would keep the file open
        self._checkpointer.close()
        self._connection.close()

    def _gather(self, entry: _Entry | None) -> list[_Entry]:
        """What waits now, up to a bound; the sentinel of `stop` only wakes."""
        group = [] if entry is None else [entry]
        with suppress(Empty):
            while len(group) < _GROUP_MAX:
                entry = self._inbox.get_nowait()
                if entry is not None:
                    group.append(entry)
        return group

    def _write(self, group: list[_Entry]) -> list[_Answer]:
        try:
            self._begin()
        except Exception as error:  # noqa: BLE001 - every entry gets it
            return self._all_failed(group, error)
        tx = CursorTx(self._cursor, int(self._wall() * MICRO), self._ledger)
        answers: list[_Answer] = []
        try:
            for op, _, future in group:
                answers.append((future, op(tx), None))
        except Exception as error:  # noqa: BLE001 - goes to its caller
            self._rollback()
            if len(group) == 1:
                return self._all_failed(group, error)
            return self._write_apart(group)
        return self._commit(tx, group, answers)

    def _write_apart(self, group: list[_Entry]) -> list[_Answer]:
        """One of the group failed: again, each under a savepoint, so that only it fails."""
        try:
            self._begin()
            execute = self._cursor.execute
            whole = CursorTx(self._cursor, int(self._wall() * MICRO), self._ledger)
            answers: list[_Answer] = []
            for op, _, future in group:
                execute("SAVEPOINT op")
                tx = CursorTx(self._cursor, whole.now, self._ledger)
                tx.lanes.update(whole.lanes)
                try:
                    answers.append((future, op(tx), None))
                except Exception as error:
                    if not self._connection.in_transaction:
                        raise  # SQLite gave up the whole transaction
                    execute("ROLLBACK TO op")
                    answers.append((future, None, self._told(error)))
                else:
                    whole.hints |= tx.hints
                    whole.grown += tx.grown
                    whole.lanes.update(tx.lanes)
                execute("RELEASE op")
        except Exception as error:  # noqa: BLE001 - every entry gets it
            self._rollback()
            return self._all_failed(group, error)
        return self._commit(whole, group, answers)

    def _commit(self, tx: CursorTx, group: list[_Entry], answers: list[_Answer]) -> list[_Answer]:
        try:
            self._cursor.execute("COMMIT")
        except sqlite3.Error as error:
            self._rollback()
            return self._all_failed(group, error)
        tx.committed()
        if tx.hints or tx.grown:
            try:
                self._ring(tx)
            except Exception:
                logger.exception("hints were not rung; polling finds what they told of")
        return answers

    def _begin(self) -> None:
        if inode(self._path) != self._inode:
            raise StoreUnusable(f"the database {self._path} was moved or deleted while it was open: start again")
        started = probed = None
        own = 0
        while True:
            try:
                self._cursor.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
            else:
                return
            now = _now()
            if started is None or probed is None:
                started = probed = now
            elif now - probed >= _PROBE_S:
                probed = now
                own = own + 1 if write_lock_holder(self._path) == os.getpid() else 0
                if own * _PROBE_S >= _OWN_LOCK_S or now - started >= self._busy_timeout_s:
                    raise StoreUnavailable(self._locked_message(now - started, own=own > 1))
            _sleep(_PAUSE_S if now - started < _LONG_S else _LONG_PAUSE_S)

    def _locked_message(self, waited_s: float, *, own: bool) -> str:
        if own:
            return (
                f"your own session holds SQLite's write lock on {self._path}; pass using=session to write in its "
                "transaction, or commit it first"
            )
        holder = write_lock_holder(self._path)
        by = f" by process {holder} ({program(holder) or 'unknown'})" if holder else " by another program"
        return f"the database {self._path} has been locked{by} for {waited_s:.0f} s; end its transaction and repeat"

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            try:
                self._cursor.execute("ROLLBACK")
            except sqlite3.Error:
                if self._connection.in_transaction:
                    raise

    def _checkpoint(self) -> bool:
        """Copy the log into the database while nobody writes; False: later, somebody was in the way.

        The log is never checkpointed beside a writer (nor by SQLite itself): up to 3.51.2 a log that
        is reset at that instant can damage the file. So the write lock is held meanwhile.
        """
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:
            return False
        try:
            self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._checkpointed_changes = self._connection.total_changes
        except sqlite3.Error:
            return False
        finally:
            self._rollback()
        return True

    # -- answers ------------------------------------------------------------------------------

    def _told(self, error: Exception) -> Exception:
        return fault(error, self._path) if isinstance(error, sqlite3.Error) else error

    def _all_failed(self, group: list[_Entry], error: Exception) -> list[_Answer]:
        told = self._told(error)
        return [(future, None, told) for _, _, future in group]

    def _answer(self, answers: list[_Answer]) -> None:
        loops: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
        for answer in answers:
            future = answer[0]
            if isinstance(future, concurrent.futures.Future):
                _resolve((answer,))
            else:
                loops.setdefault(future.get_loop(), []).append(answer)
        for loop, theirs in loops.items():
            try:
                loop.call_soon_threadsafe(_resolve, theirs)
            except RuntimeError:  # the loop was closed: nobody waits any more
                continue


def _resolve(answers: Iterable[_Answer]) -> None:
    for future, value, error in answers:
        waiting = cast("asyncio.Future[Any]", future)
        if waiting.done():
            continue
        if error is None:
            waiting.set_result(value)
        else:
            waiting.set_exception(error)
