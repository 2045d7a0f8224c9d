"""Migrations for people: what a store's schema lacks, and applying it.

A new, empty store is migrated when it is opened; an older one only here, by `headrace migrate`,
since other processes of an older version may be at work on it.
"""

from pathlib import Path

from headrace.core.errors import InvalidConfig
from headrace.stores.migrations import Plan
from headrace.stores.sqlite.store import migrate_file, plan_file

__all__ = ["Plan", "apply", "plan"]


def plan(url: str) -> Plan:
    """What the store at `url` has and lacks.

    Raises:
        InvalidConfig: not a store that has a schema.
        StoreError: it cannot be opened.
    """
    return plan_file(sqlite_path(url))


def apply(url: str) -> Plan:
    """Apply what is pending; what it was.

    Raises:
        InvalidConfig: not a store that has a schema.
        SchemaMismatch: it is of a newer version.
        StoreError: it cannot be opened or written; nothing was applied.
    """
    return migrate_file(sqlite_path(url))


def sqlite_path(url: str) -> Path:
    """The file that a `sqlite:///…` URL names (four slashes: an absolute path).

    Raises:
        InvalidConfig: another scheme, or no file.
    """
    scheme, found, path = url.partition(":///")
    if not found or scheme != "sqlite" or not path:
        raise InvalidConfig(f"{url!r} is no SQLite store; write sqlite:///headrace.db, or sqlite:////srv/headrace.db")
    if path == ":memory:":
        raise InvalidConfig("sqlite:///:memory: cannot be shared by threads and processes; use memory://")
    return Path(path)
