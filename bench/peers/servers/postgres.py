"""PostgreSQL for one run: the project's own server, durable, with the memory and log space of a machine of its own."""

import subprocess
from pathlib import Path

from servers.postgres import Postgres
from servers.server import find

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "max_connections": "300",
}
HELD_MOST_S = 3_600


def start(within: Path) -> Postgres:
    """The server of a run.

    Raises:
        MissingError: there is none here.
        FailedError: it does not start.
    """
    return Postgres(SETTINGS, within)


def hold_snapshot(url: str) -> subprocess.Popen[bytes]:
    """A session whose transaction keeps every dead row from being cleaned away; it ends with its database."""
    sql = f"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class; SELECT pg_sleep({HELD_MOST_S});"
    return subprocess.Popen(
        [str(find("postgres").parent / "psql"), "-XAtq", "-c", sql, url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
