"""A spool beside a SQLite file that another program holds, that is full, that has moved."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from headrace import Conflict, Headrace, JobContext, StoreUnavailable, UnknownJob
from headrace.core.states import SpoolState
from headrace.settings import Settings
from headrace.testing import drain


def headrace(tmp_path: Path, **settings: object) -> Headrace:
    given = {"spool": str(tmp_path / "spool"), "busy_timeout_s": 0.1, "poll_s": 0.1, "grace_s": 0.1} | settings
    return Headrace(settings=Settings(store=f"sqlite:///{tmp_path}/jobs.db", **given))


@pytest.fixture
async def hr(tmp_path: Path) -> AsyncIterator[Headrace]:
    made = headrace(tmp_path)
    yield made
    await made.close()


@contextmanager
def locked(tmp_path: Path) -> Generator[None]:
    """Another program holds the file's write lock."""
    other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None, timeout=5.0)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


async def stored(hr: Headrace) -> None:
    """Until nothing is spooled."""
    async with asyncio.timeout(15):
        while hr.services.spooling.spool.figures.jobs:  # type: ignore[union-attr]  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_every_way_of_enqueueing_and_its_answer(hr: Headrace, tmp_path: Path) -> None:
    ran: list[int] = []

    @hr.task()
    async def note(ctx: JobContext, number: int) -> int:
        ran.append(number)
        return number

    await note.enqueue(0)
    with locked(tmp_path):
        first = await note.enqueue(1)
        second, third = await hr.enqueue_many([note.call(2), note.call(3)])
        fourth = await asyncio.to_thread(note.enqueue_sync, 4)
        assert {job.state for job in (first, second, third, fourth)} == {SpoolState.SPOOLED}
        assert first.created
        assert (await first.refresh()).state is SpoolState.SPOOLED
        assert first.position == f"{hr.store.epoch}:0"
        waiting = asyncio.ensure_future(first.result(timeout=20))
        with pytest.raises(StoreUnavailable, match="spooled"):
            await first.cancel()
        await asyncio.sleep(0.3)
        assert not waiting.done()
    await stored(hr)
    assert hr.services.spooling.spool.idle  # type: ignore[union-attr]
    direct = await note.enqueue(5)
    assert direct.state == "ready"
    await drain(hr)
    assert ran == [0, 1, 2, 3, 4, 5]
    assert await waiting == 1


async def test_using_is_never_spooled(hr: Headrace, tmp_path: Path) -> None:
    @hr.task()
    async def note(ctx: JobContext) -> None: ...

    await hr.open()
    mine = sqlite3.connect(tmp_path / "jobs.db", timeout=0.1)
    with locked(tmp_path), pytest.raises(StoreUnavailable):
        await note.options(using=mine).enqueue()
    mine.close()
    assert not (tmp_path / "spool").exists()


async def test_a_full_database(hr: Headrace) -> None:
    @hr.task()
    async def note(ctx: JobContext, text: str) -> None: ...

    await note.enqueue("")
    connection: sqlite3.Connection = hr.store._writer._connection  # type: ignore[attr-defined]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    job = await note.enqueue("x" * 100_000)
    assert job.state is SpoolState.SPOOLED
    connection.execute("PRAGMA max_page_count = 1000000")
    await stored(hr)
    assert (await job.refresh()).state == "ready"


async def test_without_a_spool_it_fails_as_ever(tmp_path: Path) -> None:
    hr = headrace(tmp_path, spool=None)

    @hr.task()
    async def note(ctx: JobContext) -> None: ...

    await note.enqueue()
    with locked(tmp_path), pytest.raises(StoreUnavailable):
        await note.enqueue()
    await hr.close()


async def test_keys_that_the_store_knows(hr: Headrace, tmp_path: Path) -> None:
    @hr.task()
    async def note(ctx: JobContext, number: int) -> int:
        return number

    held = await note.options(key="k").enqueue(1)
    with locked(tmp_path):
        same = await note.options(key="k").enqueue(1)
        assert same.id != held.id
    await stored(hr)
    await drain(hr)
    assert await same.result(timeout=5) == 1  # it is the job that holds the key
    assert (await same.refresh()).record.id == held.id.bytes  # type: ignore[union-attr]
    with locked(tmp_path):
        wrong = await note.options(key="k").enqueue(2)
    await stored(hr)
    with pytest.raises(Conflict):
        await wrong.result(timeout=5)


async def test_what_a_closed_process_left_is_brought_by_the_next(tmp_path: Path) -> None:
    hr = headrace(tmp_path)

    @hr.task(name="note")
    async def note(ctx: JobContext, number: int) -> int:
        return number

    await hr.open()
    with locked(tmp_path):
        jobs = [await note.enqueue(number) for number in range(3)]
        await hr.close()
    assert list((tmp_path / "spool").glob("*.spool"))
    heir = headrace(tmp_path)
    again = heir.task(name="note")(note.function)
    await again.enqueue(3)
    await stored_ids(heir, [job.id.bytes for job in jobs])
    await stored(heir)
    assert not list((tmp_path / "spool").iterdir())
    await heir.close()


async def stored_ids(hr: Headrace, ids: list[bytes]) -> None:
    async with asyncio.timeout(15):
        while None in await hr.store.get(ids):  # noqa: ASYNC110 - the store is asked
            await asyncio.sleep(0.02)


async def test_a_spool_follows_its_store_when_that_has_moved(tmp_path: Path) -> None:
    """The epoch goes along, so that the same jobs belong to the file under another name."""
    hr = headrace(tmp_path)

    @hr.task(name="note")
    async def note(ctx: JobContext) -> None: ...

    await hr.open()
    with locked(tmp_path):
        job = await note.enqueue()
        await hr.close()
    stranger = Headrace(f"sqlite:///{tmp_path}/stranger.db", spool=tmp_path / "spool")
    await stranger.open()
    stranger.services.spooling.begin()
    await asyncio.sleep(0.3)
    with pytest.raises(UnknownJob):
        await stranger.job(job.id).refresh()
    await stranger.close()
    (tmp_path / "jobs.db").rename(tmp_path / "moved.db")
    for side in ("-wal", "-shm"):
        if (tmp_path / f"jobs.db{side}").exists():
            (tmp_path / f"jobs.db{side}").rename(tmp_path / f"moved.db{side}")
    moved = Headrace(f"sqlite:///{tmp_path}/moved.db", spool=tmp_path / "spool")
    await moved.open()
    moved.services.spooling.begin()
    await stored_ids(moved, [job.id.bytes])
    await moved.close()


@pytest.mark.parametrize(("bytes_max", "status", "said"), [(1 << 20, 200, "spooling"), (1024, 503, 503)])
async def test_readiness_is_whether_enqueues_are_taken(
    tmp_path: Path, bytes_max: int, status: int, said: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hr = headrace(tmp_path, spool_bytes_max=bytes_max)
    app = FastAPI()
    hr.install(app)

    async def away(_: object) -> list[None]:
        raise StoreUnavailable("it is away")

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        assert (await client.get("/headrace/health/ready")).json() == {"status": "ready"}
        monkeypatch.setattr(hr.store, "get", away)
        answer = await client.get("/headrace/health/ready")
        assert (answer.status_code, answer.json()["status"]) == (status, said)
    await hr.close()
