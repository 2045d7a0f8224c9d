"""PostgreSQL's errors as ours: mapped once, at the edge.

Invariant: nothing above this package sees an error of a driver. An SQLSTATE says what it means,
whichever driver brings it.
"""

from typing import Final
from urllib.parse import urlsplit

import asyncpg

from headrace.core.errors import HeadraceError, SchemaMismatch, StoreError, StoreUnavailable, StoreUnusable

ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)  # of the driver and of the network
_TRANSIENT: Final = {
    "08": "cannot be reached",
    "40": "was asked for the same by two at once",
    "53": "has no more room",
    "55": "was busy for too long",
    "57": "is stopping, starting or was too slow",
    "HR": "refuses this just now",  # our own, of triggers and functions
}
_SAID: Final = {
    "53300": "has no connection left: raise max_connections, or put a pooler in between",
    "53100": "has no room: its disk is full. Nothing was written; make room and repeat",
    "53200": "is out of memory",
    "57014": "took longer than it may for this statement",
    "25006": "is read-only just now (a standby?); jobs need the primary",
    "3D000": "does not exist: create it, `createdb` does",
    "28P01": "refused the password: check the user and the password of HEADRACE_STORE",
    "28000": "refused this user: check its pg_hba.conf and the user of HEADRACE_STORE",
    "HR002": "takes in the jobs of another store just now, by `headrace move`: repeat when that has ended",
    "42501": "does not allow this user to do it: let it own the headrace_* tables, or GRANT ALL on them",
}
_UNUSABLE: Final = {"3D000", "28P01", "28000", "42501"}
_NO_SCHEMA: Final = {"42P01", "42883", "42703", "3F000"}  # no such table, function, column, schema
_OF_A_ROW: Final = {"22", "23", "54"}  # what one row was refused for says nothing against the database


def shown(url: str) -> str:
    """A URL without what may be a password."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{host}{port}{parts.path}" or "PostgreSQL"


def mapped(error: BaseException, where: str) -> HeadraceError:
    """What this error of a driver means to the caller."""
    if isinstance(error, HeadraceError):
        return error
    code = sqlstate(error)
    if code is None:
        return StoreUnavailable(f"the database {where} cannot be reached: {str(error) or type(error).__name__}")
    said = _SAID.get(code)
    if code in _UNUSABLE:
        return StoreUnusable(f"the database {where} {said} [{code}]")
    if code in _NO_SCHEMA:
        return SchemaMismatch(f"the database {where} lacks what this version needs ({error}): run `headrace migrate`")
    if code == "25006" or code[:2] in _TRANSIENT:
        return StoreUnavailable(f"the database {where} {said or _TRANSIENT[code[:2]]}: {error} [{code}]")
    message = f"the database {where} answered with an error: {error} [{code}]"
    return StoreError(message) if code[:2] in _OF_A_ROW else StoreUnusable(message)


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE that an error carries, whichever driver it is of."""
    for each in (error, getattr(error, "orig", None), error.__cause__, getattr(error, "__context__", None)):
        code = getattr(each, "sqlstate", None) or getattr(each, "pgcode", None)
        if isinstance(code, str):
            return code
    return None
