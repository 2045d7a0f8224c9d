"""SQLite's errors as ours: mapped once, at the edge.

Invariant: nothing above this package sees a `sqlite3.Error`.
"""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from headrace.core.errors import HeadraceError, NotEncodable, StoreError, StoreUnavailable, StoreUnusable

_UNUSABLE = {
    "SQLITE_NOTADB": "is not a database",
    "SQLITE_CORRUPT": "is damaged: restore it from a backup, or save what is left with `sqlite3 {path} .recover`",
    "SQLITE_READONLY": "is read-only for this process; a database that jobs run on must be writable",
    "SQLITE_PERM": "may not be used by this process: check the rights of the file and of its directory",
    "SQLITE_AUTH": "may not be used by this process: check the rights of the file and of its directory",
    "SQLITE_FORMAT": "is not a database of a kind that this SQLite reads",
    "SQLITE_MISMATCH": "does not hold what its schema says",
}
_UNAVAILABLE = {
    "SQLITE_BUSY": "is locked",
    "SQLITE_LOCKED": "is locked",
    "SQLITE_FULL": "has no room: the disk is full. Nothing was written; make room and repeat",
    "SQLITE_IOERR": "could not be read or written (an I/O error of the system)",
    "SQLITE_NOMEM": "could not be used: out of memory",
    "SQLITE_INTERRUPT": "was closed meanwhile",
    "SQLITE_PROTOCOL": "is busy: too many processes open it at once",
    "SQLITE_CANTOPEN": "cannot be opened: check that its directory is there, and its rights",
}
_OF_A_ROW = {"SQLITE_CONSTRAINT", "SQLITE_TOOBIG", "SQLITE_RANGE"}
_MISUSE = (sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
_NO_SPACE = {"SQLITE_IOERR_WRITE", "SQLITE_IOERR_TRUNCATE", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_SHMSIZE"}


def mapped(error: sqlite3.Error, path: str) -> HeadraceError:
    """What this error of SQLite means to the caller."""
    name = _name(error)
    if name == "SQLITE_BUSY_SNAPSHOT":
        return StoreUnavailable(
            f"another writer committed to {path} since your transaction began to read: roll it back and repeat it"
        )
    base = "_".join(name.split("_")[:2])
    if name in {"SQLITE_READONLY_DBMOVED", "SQLITE_IOERR_DELETE_NOENT"}:
        return StoreUnusable(f"the database {path} was moved or deleted while it was open: start again")
    if base in _UNUSABLE:
        return StoreUnusable(f"the database {path} {_UNUSABLE[base].format(path=path)} [{name}]")
    if base in _UNAVAILABLE:
        hint = " Is the disk full?" if name in _NO_SPACE else ""
        return StoreUnavailable(f"the database {path} {_UNAVAILABLE[base]} [{name}].{hint}")
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error).lower():
        return StoreUnavailable(f"the database {path} is closed")
    message = f"the database {path} answered with an error: {error} [{name}]"
    # What one row was refused for says nothing against the database.
    return StoreError(message) if base in _OF_A_ROW or isinstance(error, _MISUSE) else StoreUnusable(message)


@contextmanager
def encodable(what: str) -> Generator[None]:
    """Refuse text that UTF-8 cannot carry.

    Raises:
        NotEncodable: `what` has a lone surrogate.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        raise NotEncodable(f"{what} cannot be kept: {error.reason}") from error


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else holds the lock."""
    return _name(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _name(error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", None)
    return name if isinstance(name, str) else "SQLITE_ERROR"
