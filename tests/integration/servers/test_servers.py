"""The servers that tests run on: what they say is so, and what they leave behind is nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import asyncpg
import pytest

from servers.pgbouncer import PgBouncer
from servers.postgres import Postgres
from servers.server import ROOT, FailedError, MissingError

OWNER = """
import sys
from servers.postgres import Postgres
server = Postgres()
print(server.directory, *server.processes(), flush=True)
sys.stdin.read()
"""


async def value(url: str, query: str = "SELECT 1") -> object:
    connection = await asyncpg.connect(url, timeout=10, statement_cache_size=0)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def alive(pid: int) -> bool:
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return shown.strip()[:1] not in ("", "Z")


async def test_directly_and_through_the_pooler(postgres_url: str, pgbouncer: PgBouncer) -> None:
    for url in (postgres_url, pgbouncer.url(postgres_url)):
        assert await value(url) == 1
        assert await value(url, "SELECT current_database()") == postgres_url.rpartition("/")[2]


async def test_it_is_durable(postgres_url: str) -> None:
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        assert await value(postgres_url, f"SHOW {name}") == "on"


async def test_a_role_needs_its_password(postgres: Postgres) -> None:
    postgres.create_role("miller", "gr'in:d@")
    assert await value(postgres.url("postgres", "miller", "gr'in:d@"), "SELECT current_user") == "miller"
    with pytest.raises(asyncpg.InvalidPasswordError):
        await value(postgres.url("postgres", "miller", "wrong"))


@pytest.mark.parametrize("how", ["smart", "fast", "immediate", "kill"])
async def test_a_restart_keeps_the_port_and_what_was_committed(how: str, postgres: Postgres, postgres_url: str) -> None:
    await value(postgres_url, "CREATE TABLE kept AS SELECT 7 AS n")
    before = postgres.pid
    if how == "kill":
        postgres.kill()
        assert (postgres.pid, postgres.processes()) == (None, [])
        with pytest.raises(OSError, match="Connect call failed"):
            await value(postgres_url)
        postgres.start()
    else:
        postgres.restart(how)  # type: ignore[arg-type]
    assert postgres.pid not in (None, before)
    assert await value(postgres_url, "SELECT n FROM kept") == 7


async def test_the_pooler_comes_back_too(pgbouncer: PgBouncer) -> None:
    pgbouncer.restart()
    assert await value(pgbouncer.url()) == 1


def test_a_refused_statement_says_why(postgres: Postgres) -> None:
    with pytest.raises(FailedError, match='relation "nowhere" does not exist'):
        postgres.sql("SELECT * FROM nowhere")


def test_stop_leaves_no_process_and_no_directory(missing: Callable[[str], NoReturn]) -> None:
    try:
        server = Postgres({"shared_buffers": "8MB"})
        pooler = PgBouncer(server)
    except MissingError as error:
        missing(str(error))
    for each in (pooler, server):
        members = each.processes()
        assert each.pid in members
        each.stop()
        each.stop()
        assert not any(alive(pid) for pid in members)
        assert not each.directory.exists()


def test_it_does_not_start_on_settings_that_it_refuses(postgres: Postgres) -> None:
    with pytest.raises(FailedError, match='invalid value for parameter "work_mem"'):
        Postgres({"work_mem": "some"})


def test_it_ends_with_its_owner(postgres: Postgres) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    directory, *pids = owner.stdout.readline().split()
    assert len(pids) > 1
    os.kill(owner.pid, signal.SIGKILL)
    owner.communicate(timeout=30)
    deadline = time.monotonic() + 40
    while any(alive(int(pid)) for pid in pids) or Path(directory).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
