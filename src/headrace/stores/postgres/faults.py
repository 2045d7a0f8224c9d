"""PostgreSQL's errors as ours: mapped once, at the edge.

Invariant: nothing above this package sees an error of a driver, and no message has a password. An
SQLSTATE says what it means, whichever driver brings it.
"""

import re
import socket
from typing import Final

import asyncpg

from headrace.core.errors import (
    HeadraceError,
    InvalidConfig,
    SchemaMismatch,
    StoreError,
    StoreUnavailable,
    StoreUnusable,
)
from headrace.stores.urls import database

ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)  # of the driver and of the network
READ_ONLY: Final = "is read-only just now, as a standby is; jobs need the primary"
RIGHTS: Final = (
    "let the owner of the headrace_* tables do it, or have it GRANT what is missing (`headrace doctor` says what)"
)
_TRANSIENT: Final = {
    "08": "cannot be reached",
    "40": "was asked for the same by two at once",
    "53": "has no more room",
    "55": "was busy for too long",
    "57": "is stopping, starting or was too slow",
    "HR": "refuses this just now",  # our own, of triggers and functions
}
_SAID: Final = {
    "53300": "has no connection left: raise max_connections (or the limit of this role or database), open fewer with"
    " HEADRACE_POSTGRES_CONNECTIONS, or put a pooler in between",
    "53100": "has no room: its disk is full. Nothing was written; make room and repeat",
    "53200": "is out of memory",
    "55P03": "kept this waiting for too long behind another transaction (your own session's? then pass using=session;"
    " a `headrace migrate`? then repeat it)",
    "57014": "took longer than it may for this statement",
    "57P03": "is starting, stopping or recovering: wait for it",
    "25006": READ_ONLY,
    "28P01": "refused the password, or got none: check user and password of the store's URL, or PGPASSWORD",
    "28000": "refused this user: check the user of the store's URL, and pg_hba.conf of the server",
    "3D000": "does not exist: create it, as `createdb` does, or name another in the store's URL",
    "42501": f"does not allow this user to do it: {RIGHTS}",
    "42704": "does not know an option of the store's URL: drop it",
    "HR002": "takes in the jobs of another store just now, by `headrace move`: repeat when that has ended",
}
_UNUSABLE: Final = {"3D000", "28P01", "28000", "42501", "42704"}
NO_SCHEMA: Final = {"42P01", "42883", "42703", "3F000"}  # no such table, function, column, schema
_OF_A_ROW: Final = {"22", "23", "54"}  # what one row was refused for says nothing against the database
_FIRST_LINE: Final = re.compile(r"[^\n]*")


def shown(url: str) -> str:
    """Where a URL leads, without what may be a password."""
    try:
        return str(database(url))
    except InvalidConfig:
        return "PostgreSQL"


def mapped(error: BaseException, where: str) -> HeadraceError:
    """What this error of a driver means to the caller."""
    if isinstance(error, HeadraceError):
        return error
    code, words = sqlstate(error), words_of(error)
    if code is None:
        return StoreUnavailable(f"the database {where} cannot be reached: {_why(error)}")
    told = f"{words} [{code}]"
    if code in NO_SCHEMA:
        return SchemaMismatch(
            f"the database {where} lacks what this version needs: `headrace doctor` says what, `headrace migrate` makes"
            f" what is pending: {told}"
        )
    said, message = _SAID.get(code), f"the database {where} answered with an error: {told}"
    if code in _UNUSABLE:
        return StoreUnusable(f"the database {where} {said}: {told}")
    if code == "25006" or code[:2] in _TRANSIENT:
        return StoreUnavailable(f"the database {where} {said or _TRANSIENT[code[:2]]}: {told}")
    return StoreError(message) if code[:2] in _OF_A_ROW else StoreUnusable(message)


def unreached(error: Exception, where: str) -> HeadraceError:
    """What an error means that came up while connecting, whatever kind it is."""
    if isinstance(error, ValueError) and not isinstance(
        error, UnicodeError
    ):  # an option, a file of certificates, PGPORT
        return InvalidConfig(f"no connection to {where} can be made with these options: {_text(error)}")
    return mapped(error, where)


def words_of(error: BaseException) -> str:
    """What the server says, in one line; not the statement and its values, which SQLAlchemy would add."""
    return _text(getattr(error, "orig", None) or error)


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE that an error carries, whichever driver it is of."""
    for each in (error, getattr(error, "orig", None), error.__cause__, getattr(error, "__context__", None)):
        code = getattr(each, "sqlstate", None) or getattr(each, "pgcode", None)
        if isinstance(code, str):
            return code
    return None


def _why(error: BaseException) -> str:
    """Why there was no answer, and what to look at."""
    match error:
        case socket.gaierror() | UnicodeError():
            return "its host is not known; check the host in the store's URL"
        case ConnectionRefusedError() | FileNotFoundError():
            return "nobody listens there; start the server, or check host and port in the store's URL"
        case TimeoutError():
            return "no answer in time; check host, port and firewalls, and whether the server is overloaded"
        case ConnectionError():
            return f"{_text(error)}; check that it is a PostgreSQL server, and the port in the store's URL"
        case _:
            return _text(error)


def _text(error: BaseException) -> str:
    found = _FIRST_LINE.match(str(error))
    return (found and found[0]) or type(error).__name__
