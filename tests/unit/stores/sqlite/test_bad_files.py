"""Files that cannot be used: a clear answer, and nothing is lost."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headrace.core.errors import SchemaMismatch, StoreUnavailable, StoreUnusable
from headrace.stores import migrate
from headrace.stores.sqlite import SqliteStore
from headrace.testing.conformance.store_base import new_job

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def mounted(directory: Path, size: str) -> Iterator[Path]:
    """A small tmpfs; skipped where one cannot be mounted, which fails in CI."""
    directory.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory]
    if mount is None or os.geteuid() != 0 or subprocess.run(command, check=False).returncode != 0:
        reason = "needs to mount a small tmpfs (root on Linux)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


def remount(directory: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", directory], check=True)


def lock_holder(path: Path) -> "subprocess.Popen[bytes]":
    """Another program that holds the write lock until its input ends."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    return holder


async def refused(path: Path) -> str:
    """The message with which `open` refuses; afterwards the store is not open."""
    store = SqliteStore(path)
    with pytest.raises(StoreUnusable) as caught:
        await store.open()
    with pytest.raises(StoreUnavailable):
        await store.enqueue([new_job()])
    await store.close()
    assert str(path) in str(caught.value) or str(path.parent) in str(caught.value)
    return str(caught.value)


async def made(path: Path) -> bytes:
    """A store's file with one job in it; the job's id."""
    store = SqliteStore(path)
    await store.open()
    job = new_job()
    await store.enqueue([job])
    await store.close()
    return job.id


async def holds(path: Path, job: bytes) -> bool:
    """Whether the file can be opened and has the job."""
    store = SqliteStore(path)
    await store.open()
    try:
        return await store.get([job]) != [None]
    finally:
        await store.close()


async def test_a_missing_directory(tmp_path: Path) -> None:
    assert "does not exist" in await refused(tmp_path / "none" / "jobs.db")


async def test_a_directory(tmp_path: Path) -> None:
    assert "is a directory" in await refused(tmp_path)


async def test_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in await refused(tmp_path / "pipe")


async def test_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello, this is not a database\n" * 200)
    assert "not a database" in await refused(path)
    assert path.read_text().startswith("hello")


async def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    await made(path)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * (path.stat().st_size - 100))
    assert "damaged" in await refused(path)


async def test_a_read_only_file_system(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "4m") as directory:
        path = directory / "jobs.db"
        job = await made(path)
        remount(directory, "ro")
        assert "read-only" in await refused(path)
        assert "read-only" in await refused(directory / "new.db")
        remount(directory, "rw")
        assert await holds(path, job)


async def test_a_full_disk_loses_nothing_and_recovers(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "2m") as directory:
        store = SqliteStore(directory / "jobs.db")
        await store.open()
        kept: list[bytes] = []
        lost: list[bytes] = []
        while not lost:
            calls = [[new_job(args=f'"{"x" * 2000}"') for _ in range(5)] for _ in range(10)]
            answers = await asyncio.gather(*map(store.enqueue, calls), return_exceptions=True)
            for jobs, answer in zip(calls, answers, strict=True):
                if isinstance(answer, BaseException):
                    assert isinstance(answer, StoreUnavailable)
                    assert "the disk is full" in str(answer)
                    lost += [job.id for job in jobs]
                else:
                    kept += [job.id for job in jobs]
        assert len(kept) > 100
        assert None not in await store.get(kept)
        assert set(await store.get(lost)) == {None}
        assert (await store.renew("nobody", 1.0)).lost  # reading goes on
        await store.close()
        remount(directory, "size=8m")
        await store.open()
        assert None not in await store.get(kept)
        await store.enqueue([new_job()])
        await store.close()


async def test_locked_by_another_program(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    store = SqliteStore(path, busy_timeout_s=1.0)
    await store.open()
    holder = lock_holder(path)
    try:
        job = new_job()
        started = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            await store.enqueue([job])
        assert time.monotonic() - started > 0.9
        assert "locked" in str(caught.value)
        if sys.platform == "linux":
            assert str(holder.pid) in str(caught.value)
            assert "python" in str(caught.value)
        assert await store.get([job.id]) == [None]  # reading goes on
        assert holder.stdin is not None
        holder.stdin.close()
        holder.wait()
        assert (await store.enqueue([job]))[0].created
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()
        await store.close()


async def test_a_lock_at_opening_holds_up_writes_only(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    await made(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    store = SqliteStore(path, busy_timeout_s=0.2)
    await store.open()
    try:
        assert len(await store.queues()) == 1
        with pytest.raises(StoreUnavailable, match="lock"):
            await store.enqueue([new_job()])
        connection.execute("ROLLBACK")
        assert (await store.enqueue([new_job()]))[0].created
    finally:
        connection.close()
        await store.close()


async def test_a_newer_schema(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    await made(path)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("INSERT INTO headrace_schema_migration VALUES (9999, 'later', 0, '8.1.0', 9999)")
    connection.close()
    with pytest.raises(SchemaMismatch, match=r"schema 9999.*install headrace >= 8\.1\.0"):
        await SqliteStore(path).open()
    with pytest.raises(SchemaMismatch, match="install headrace"):
        migrate.apply(f"sqlite:///{path}")


async def test_moved_while_open(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    store = SqliteStore(path)
    await store.open()
    await store.enqueue([new_job()])
    path.rename(tmp_path / "elsewhere.db")
    with pytest.raises(StoreUnusable, match="moved or deleted"):
        await store.enqueue([new_job()])
    await store.close()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "jobs.db")
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.get([])
    await store.open()
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.enqueue([new_job()])


async def test_the_applications_own_tables_stay(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    connection = sqlite3.connect(path)
    with connection:
        for table in ("job", "worker", "queue", "history", "meta", "call"):
            connection.execute(f"CREATE TABLE {table} (mine TEXT)")
    connection.close()
    job = await made(path)
    assert await holds(path, job)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM job").fetchone() == (0,)
    connection.close()


@pytest.mark.parametrize("migrated", [False, True], ids=["opened", "migrated first"])
async def test_a_new_database_and_what_stands_beside_it_are_its_owner_s_alone(tmp_path: Path, migrated: bool) -> None:
    if migrated:
        await asyncio.to_thread(migrate.apply, f"sqlite:///{tmp_path / 'new.db'}")
    store = SqliteStore(tmp_path / "new.db")
    await store.open()
    try:
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}  # noqa: ASYNC240 - a test
    finally:
        await store.close()
    assert modes.pop("new.db-headrace") == 0o700
    assert set(modes.values()) == {0o600}
