"""What `headrace migrate` does to a file."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from headrace.stores.migrations import Elder, Migrated, Plan, is_elder, program_version
from headrace.stores.sqlite import schema
from headrace.stores.sqlite.connection import check_path, connect, fault, make_private, use_wal
from headrace.stores.sqlite.slots import Slots

T = TypeVar("T")
_wall = time.time  # noqa: TID251 - the database's machine is this one
_monotonic = time.monotonic  # noqa: TID251 - of the whole machine, as leases are kept
_BUSY_TIMEOUT_S: Final = 5.0
_WORKERS: Final = "SELECT id, host, pid, version FROM headrace_worker WHERE gone_at IS NULL ORDER BY id"


def plan_file(path: Path) -> Plan:
    """What a file has and lacks; a file that is not there is not made."""
    check_path(path)
    if not path.exists():
        return schema.nothing()
    return _connected(path, schema.plan)


def migrate_file(path: Path, *, force: bool) -> Migrated:
    """Apply what is pending to a file."""

    def work(connection: sqlite3.Connection) -> Migrated:
        use_wal(connection, str(path))
        return schema.apply(connection, _wall, where=str(path), elders=lambda at: () if force else _elders(at, path))

    check_path(path)
    make_private(path)
    return _connected(path, work, create=True)


def script_file(path: Path, *, force: bool) -> tuple[Migrated, str]:
    """What `migrate_file` would do, and the SQL of it."""

    def work(connection: sqlite3.Connection) -> tuple[Migrated, str]:
        found = schema.plan(connection)
        found.check_newer(str(path))
        return schema.script(found, () if force or not found.found else _elders(connection, path))

    check_path(path)
    if not path.exists():
        return schema.script(schema.nothing(), ())
    return _connected(path, work)


def _elders(connection: sqlite3.Connection, path: Path) -> tuple[Elder, ...]:
    slots = Slots(path.with_name(f"{path.name}-headrace") / "workers", _monotonic)
    workers = (Elder(*row) for row in connection.execute(_WORKERS))
    return tuple(worker for worker in workers if is_elder(worker.version, program_version()) and slots.alive(worker.id))


def _connected(path: Path, work: Callable[[sqlite3.Connection], T], *, create: bool = False) -> T:
    def once() -> T:
        connection = connect(str(path), create=create)
        try:
            return work(connection)
        finally:
            connection.close()

    try:
        return schema.patiently(once, _BUSY_TIMEOUT_S)
    except sqlite3.Error as error:
        raise fault(error, str(path)) from error
