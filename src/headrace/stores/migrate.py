"""Migrations for people: what a store's schema lacks, and applying it.

A new, empty store is migrated when it is opened; an older one only here, by `headrace migrate`,
since other processes of an older version may be at work on it.
"""

import asyncio
from pathlib import Path
from typing import Final

from headrace.core.errors import InvalidConfig
from headrace.stores.migrations import Plan
from headrace.stores.sqlite.store import migrate_file, plan_file

__all__ = ["Plan", "apply", "plan"]

POSTGRES: Final = ("postgresql://", "postgres://")


def plan(url: str) -> Plan:
    """What the store at `url` has and lacks; blocks, so not on an event loop.

    Raises:
        InvalidConfig: not a store that has a schema.
        StoreError: it cannot be opened.
    """
    if url.startswith(POSTGRES):
        from headrace.stores.postgres.store import plan_database  # noqa: PLC0415 - only where it is asked for

        return asyncio.run(plan_database(url))
    return plan_file(sqlite_path(url))


def apply(url: str) -> Plan:
    """Apply what is pending; what it was. Blocks, so not on an event loop.

    Raises:
        InvalidConfig: not a store that has a schema.
        SchemaMismatch: it is of a newer version.
        StoreError: it cannot be opened or written; nothing was applied.
    """
    if url.startswith(POSTGRES):
        from headrace.stores.postgres.store import migrate_database  # noqa: PLC0415 - as above

        return asyncio.run(migrate_database(url))
    return migrate_file(sqlite_path(url))


def sqlite_path(url: str) -> Path:
    """The file that a `sqlite:///…` URL names (four slashes: an absolute path).

    Raises:
        InvalidConfig: another scheme, or no file.
    """
    scheme, found, path = url.partition(":///")
    if not found or scheme != "sqlite" or not path:
        raise InvalidConfig(
            f"{url!r} is no store with a schema; write sqlite:///headrace.db, sqlite:////srv/headrace.db or "
            "postgresql://user@host/database"
        )
    if path == ":memory:":
        raise InvalidConfig("sqlite:///:memory: cannot be shared by threads and processes; use memory://")
    return Path(path)
