"""Migrations for people: what a store's schema lacks, applying it, and the SQL of it.

A new, empty store is migrated when it is opened; an older one only here, by `headrace migrate`,
since other processes of an older version may be at work on it. All of them block, so not on an event loop.
"""

import asyncio

from headrace.stores.migrations import Migrated, Plan
from headrace.stores.sqlite.migrating import migrate_file, plan_file, script_file
from headrace.stores.urls import POSTGRES, sqlite_path

__all__ = ["Migrated", "Plan", "apply", "plan", "script"]


def plan(url: str) -> Plan:
    """What the store at `url` has and lacks.

    Raises:
        InvalidConfig: not a store that has a schema.
        StoreError: it cannot be opened.
    """
    if url.startswith(POSTGRES):
        from headrace.stores.postgres.migrating import plan_database  # noqa: PLC0415 - only where it is asked for

        return asyncio.run(plan_database(url))
    return plan_file(sqlite_path(url))


def apply(url: str, *, force: bool = False) -> Migrated:
    """Apply what is pending, in one transaction.

    What takes away waits for living workers of an older version to end, unless `force` is given.

    Raises:
        InvalidConfig: not a store that has a schema.
        SchemaMismatch: it is of a newer version.
        StoreError: it cannot be opened or written; nothing was applied.
    """
    if url.startswith(POSTGRES):
        from headrace.stores.postgres.migrating import migrate_database  # noqa: PLC0415 - as above

        return asyncio.run(migrate_database(url, force=force))
    return migrate_file(sqlite_path(url), force=force)


def script(url: str, *, force: bool = False) -> tuple[Migrated, str]:
    """What `apply` would do, and the SQL of it; changes nothing.

    Raises:
        InvalidConfig, SchemaMismatch, StoreError: as there.
    """
    if url.startswith(POSTGRES):
        from headrace.stores.postgres.migrating import script_database  # noqa: PLC0415 - as above

        return asyncio.run(script_database(url, force=force))
    return script_file(sqlite_path(url), force=force)
