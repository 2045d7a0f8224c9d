"""What `headrace migrate` does to a file."""

import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from headrace.stores.migrations import Elder, Migrated, Plan, is_elder, program_version
from headrace.stores.sqlite import schema
from headrace.stores.sqlite.connection import check_path, connect, fault, use_wal
from headrace.stores.sqlite.slots import Slots

_wall = time.time  # noqa: TID251 - the database's machine is this one
_monotonic = time.monotonic  # noqa: TID251 - of the whole machine, as leases are kept
_WORKERS: Final = "SELECT id, host, pid, version FROM headrace_worker WHERE gone_at IS NULL ORDER BY id"


def plan_file(path: Path) -> Plan:
    """What a file has and lacks; a file that is not there is not made."""
    check_path(path)
    if not path.exists():
        return schema.nothing()
    with _connected(path, create=False) as connection:
        return schema.plan(connection)


def migrate_file(path: Path, *, force: bool) -> Migrated:
    """Apply what is pending to a file."""
    check_path(path)
    with _connected(path, create=True) as connection:
        use_wal(connection, str(path))
        return schema.apply(connection, _wall, where=str(path), elders=lambda at: () if force else _elders(at, path))


def script_file(path: Path, *, force: bool) -> tuple[Migrated, str]:
    """What `migrate_file` would do, and the SQL of it."""
    check_path(path)
    if not path.exists():
        return schema.script(schema.nothing(), ())
    with _connected(path, create=False) as connection:
        found = schema.plan(connection)
        found.check_newer(str(path))
        return schema.script(found, () if force or not found.found else _elders(connection, path))


def _elders(connection: sqlite3.Connection, path: Path) -> tuple[Elder, ...]:
    slots = Slots(path.with_name(f"{path.name}-headrace") / "workers", _monotonic)
    workers = (Elder(*row) for row in connection.execute(_WORKERS))
    return tuple(worker for worker in workers if is_elder(worker.version, program_version()) and slots.alive(worker.id))


@contextmanager
def _connected(path: Path, *, create: bool) -> Generator[sqlite3.Connection]:
    try:
        connection = connect(str(path), create=create)
        try:
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise fault(error, str(path)) from error
