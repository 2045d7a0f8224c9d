"""Connections as this store wants them, and the checks before the first one."""

import contextlib
import os
import sqlite3
import sys
import urllib.parse
from pathlib import Path
from typing import Final

from headrace.core.errors import StoreUnusable
from headrace.stores.sqlite.faults import is_busy, mapped
from headrace.stores.sqlite.moving import refusal
from headrace.stores.sqlite.sql import query

SYNCHRONOUS: Final = ("FULL", "NORMAL")
SQLITE_MIN: Final = (3, 35, 0)  # RETURNING
SQLITE_WAL_FIXED: Final = (3, 51, 3)  # see ADR 3
_FIRST_LOOK_MS: Final = 5_000
_JOURNAL_BYTES_MAX: Final = 16 * 1024 * 1024


def connect(path: str, *, synchronous: str = "FULL", create: bool = False, reader: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode that never waits and never checkpoints by itself.

    Raises:
        sqlite3.Error: to be mapped by the caller.
    """
    uri = f"file:{urllib.parse.quote(path)}?mode={'rwc' if create else 'rw'}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=0.0, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        # The first look at the file waits: another process may be making it.
        connection.execute(f"PRAGMA busy_timeout = {_FIRST_LOOK_MS}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
        connection.execute("PRAGMA busy_timeout = 0")
        if reader:
            connection.execute("PRAGMA query_only = ON")
            return connection
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES_MAX}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA secure_delete = OFF")  # Debian builds it on; a queue has no use for it
        if sys.platform == "darwin":
            connection.execute("PRAGMA fullfsync = 1")
            connection.execute("PRAGMA checkpoint_fullfsync = 1")
        connection.execute(query("settling_create"))
    except BaseException:
        connection.close()
        raise
    return connection


def make_private(path: Path) -> None:
    """Make a new database file that only its owner reads: arguments and results are in it.

    Nobody else can have it open yet, so that closing it drops no lock of SQLite's.
    """
    with contextlib.suppress(OSError):  # it is there, or SQLite will say what is wrong
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def check_path(path: Path) -> None:
    """Refuse what can never work, in words that SQLite does not have.

    Raises:
        StoreUnusable: no directory, no file, no rights.
    """
    parent = path.parent
    if not parent.is_dir():
        raise StoreUnusable(f"the directory {parent} does not exist: make it, or name another place for the database")
    if path.is_dir():
        raise StoreUnusable(f"{path} is a directory; the database is a file, for example {path / 'headrace.db'}")
    if path.exists() and not path.is_file():
        raise StoreUnusable(f"{path} is not a regular file")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise StoreUnusable(
            f"the directory {parent} is read-only for this process; SQLite needs to write its -wal and -shm files there"
        )
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise StoreUnusable(f"the database {path} is read-only for this process; jobs need to be written")
    if sqlite3.sqlite_version_info < SQLITE_MIN:
        wanted = ".".join(map(str, SQLITE_MIN))
        raise StoreUnusable(f"SQLite {sqlite3.sqlite_version} is too old: {wanted} or newer is needed")


def use_wal(connection: sqlite3.Connection, path: str) -> None:
    """Switch the file to its write-ahead log; it stays so.

    Raises:
        StoreUnusable: the file system or another program does not let it.
        sqlite3.Error: to be mapped by the caller.
    """
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if mode != "wal":
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreUnusable(f"the database {path} cannot use a write-ahead log (its file system may not allow it)")


def check_writable(connection: sqlite3.Connection) -> None:
    """Take the write lock for a moment; that somebody else has it is no fault.

    Raises:
        sqlite3.Error: it cannot be written, to be mapped by the caller.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if not is_busy(error):
            raise
    else:
        connection.execute("ROLLBACK")


def inode(path: str) -> tuple[int, int] | None:
    """Which file stands at this path; None: none does."""
    try:
        status = os.stat(path)  # noqa: PTH116 - on the hot path
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def fault(error: sqlite3.Error, path: str) -> Exception:
    """As `mapped`, with what the file system can tell about it."""
    try:
        check_path(Path(path))
    except StoreUnusable as reason:
        return reason
    return refusal(str(error), path) or mapped(error, path)
