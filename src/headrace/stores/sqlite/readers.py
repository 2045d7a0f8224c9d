"""Reading, beside the writer and never through it: a few threads with connections of their own."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from headrace.core.errors import StoreUnavailable
from headrace.stores.sqlite.connection import connect, fault
from headrace.stores.sqlite.moving import check_here
from headrace.stores.sqlite.tx import MICRO, CursorTx, Ledger, Tx

T = TypeVar("T")
_THREADS = 3
_WAIT_MS = 5_000  # only for the moments in which the log is recovered


class Readers:
    """Runs questions, each on one snapshot."""

    def __init__(self, path: str, wall: Callable[[], float]) -> None:
        """Threads and connections are made when the first question comes."""
        self._path = path
        self._wall = wall
        self._local = threading.local()
        self._lock = threading.Lock()
        self._cursors: list[sqlite3.Cursor] = []
        self._closed = False
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="headrace-sqlite-reader")

    async def run(self, question: Callable[[Tx], T]) -> T:
        """The answer."""
        return await self.call(lambda: self._ask(question))

    async def call(self, work: Callable[[], T]) -> T:
        """Something that touches files, in one of the threads."""
        if self._closed:
            raise StoreUnavailable(f"the database {self._path} is closed")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _ask(self, question: Callable[[Tx], T]) -> T:
        try:
            cursor = self._cursor()
            cursor.execute("BEGIN")
            try:
                check_here(cursor, self._path)
                return question(CursorTx(cursor, int(self._wall() * MICRO), Ledger()))
            finally:
                cursor.execute("COMMIT")
        except sqlite3.Error as error:
            raise fault(error, self._path) from error

    def ask(self, question: Callable[[Tx], T]) -> T:
        """The answer, in a thread of this pool."""
        return self._ask(question)

    def _cursor(self) -> sqlite3.Cursor:
        cursor: sqlite3.Cursor | None = getattr(self._local, "cursor", None)
        if cursor is None:
            connection = connect(self._path, reader=True)
            connection.execute(f"PRAGMA busy_timeout = {_WAIT_MS}")
            with self._lock:
                cursor = self._local.cursor = connection.cursor()
                self._cursors.append(cursor)
        return cursor

    def stop(self) -> None:
        """Finish what is asked, then close; blocks until it has."""
        self._closed = True
        self._pool.shutdown(wait=True)
        for cursor in self._cursors:
            connection = cursor.connection
            cursor.close()
            connection.close()
        self._cursors.clear()
