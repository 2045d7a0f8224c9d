"""What a mover holds: the file, from claims and writers, and the right to be the only one."""

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final, Self, TypeVar

from headrace.core.errors import StoreUnavailable
from headrace.stores.sqlite import moving, schema
from headrace.stores.sqlite.connection import connect
from headrace.stores.sqlite.tx import MICRO

HOLD_S: Final = 15.0  # a mover that is gone holds others up for so long at most
HOLD_AGAIN_S: Final = 3.0
LOCK_S: Final = 30.0  # for the write lock, on a file that many write to
LOCK_AGAIN_S: Final = 0.0005  # they let go of it for as short as that
T = TypeVar("T")


def locked(connection: sqlite3.Connection, work: Callable[[], T]) -> T:
    """Do something under the write lock, in one transaction, and try hard for it.

    Raises:
        StoreUnavailable: others held it all the time.
    """
    return schema.locked(connection, work, LOCK_S, pause_s=LOCK_AGAIN_S)


class Hold:
    """Keeps claims away, and writers once stopped, from a thread: nothing that takes long lets it lapse."""

    def __init__(self, path: str, wall: Callable[[], float]) -> None:
        """Nothing is held yet."""
        self._path: Final = path
        self._wall: Final = wall
        self._ended: Final = threading.Event()
        self._thread: Final = threading.Thread(target=self._keep, name="headrace-move-hold", daemon=True)

    def __enter__(self) -> Self:
        connection = connect(self._path)
        try:
            self._put(connection)
        finally:
            connection.close()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _keep(self) -> None:
        connection = connect(self._path)
        try:
            while not self._ended.wait(HOLD_AGAIN_S):
                with contextlib.suppress(sqlite3.Error, StoreUnavailable):  # else it lapses, and that is seen
                    self._put(connection)
        finally:
            connection.close()

    def _put(self, connection: sqlite3.Connection) -> None:
        until = int((self._wall() + HOLD_S) * MICRO)
        locked(connection, lambda: moving.hold(connection, until))


@contextlib.contextmanager
def alone(lock: Path, path: Path) -> Generator[None]:
    """One move of the file at `path` at a time; the lock falls with this process.

    Raises:
        StoreUnavailable: another one is under way.
    """
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            message = f"another `headrace move` of {path} is under way (process {holder}): wait for it, or end it"
            raise StoreUnavailable(message) from None
        os.truncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(fd)
