"""Followers of feeds on the memory store: with hints, without, and while the store is away."""

import asyncio
import json
import threading
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from headrace.core.errors import StoreUnavailable, UnknownJob
from headrace.core.feed import Position
from headrace.core.model import (
    ClaimRequest,
    FeedPage,
    FeedWrite,
    JobId,
    NewJob,
    Pool,
    Settle,
    Succeeded,
    Update,
    UpdateKind,
    WorkerRecord,
)
from headrace.core.states import JobState
from headrace.notifiers.local import LocalNotifier
from headrace.notifiers.none import NoNotifier
from headrace.ports.notifier import Notifier
from headrace.runtime.clock import SystemClock
from headrace.runtime.reader import ITEMS_BYTES_MAX, ITEMS_MAX, PAGE, FeedReader, Subscribed
from headrace.stores.memory import MemoryStore

WORKER = WorkerRecord("w", "host", 1, "worker", "0", None, {"t": "s"}, 10, 0.0)
CLAIM = ClaimRequest((Pool(frozenset({"t"}), 10),))


class Watched(MemoryStore):
    """A memory store that counts reads of feeds, and can be away."""

    reads = 0
    looks = 0
    away = False
    slow_s = 0.0

    async def read_updates(self, job: JobId, after: int, limit: int) -> FeedPage | None:
        self.reads += 1
        if self.away:
            raise StoreUnavailable("away")
        page = await super().read_updates(job, after, limit)
        if self.slow_s:
            await asyncio.sleep(self.slow_s)
        return page

    async def offsets(self, jobs: Sequence[JobId]) -> dict[JobId, int]:
        self.looks += 1
        if self.away:
            raise StoreUnavailable("away")
        return await super().offsets(jobs)


class Running:
    """A store with one job that runs, and a reader."""

    def __init__(self, store: Watched, feed: FeedReader, job: JobId, fence: int) -> None:
        self.store, self.feed, self.job, self.fence = store, feed, job, fence

    async def write(self, kind: UpdateKind, data: object, key: str | None = None) -> None:
        write = FeedWrite(self.job, self.fence, kind, json.dumps(data), key)
        (offset,) = await self.store.append([write])
        assert offset is not None
        assert offset > 0

    async def emit(self, *numbers: int) -> None:
        for n in numbers:
            await self.write(UpdateKind.ITEM, {"key": str(n), "data": n}, str(n))

    async def end(self) -> None:
        await self.store.exchange("w", [Settle(self.job, self.fence, Succeeded("7"))], None)


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition with a deadline."""
    async with asyncio.timeout(30):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


def new_job() -> NewJob:
    return NewJob(uuid.uuid4().bytes, "t", "q", "{}")


@asynccontextmanager
async def opened(notifier: Notifier, notify: Callable[[Iterable[str]], None] | None) -> AsyncGenerator[Running]:
    await notifier.start()
    store = Watched(wall=time.time, notify=notify)
    await store.open()
    await store.register(WORKER, 60.0)
    job = new_job()
    await store.enqueue([job])
    (claimed,) = (await store.exchange("w", [], CLAIM)).claimed
    yield Running(store, FeedReader(store, notifier, SystemClock(), poll_s=0.05), job.id, claimed.fence)
    await store.close()
    await notifier.stop()


@pytest.fixture(params=["hints", "no hints"])
async def running(request: pytest.FixtureRequest) -> AsyncGenerator[Running]:
    """With a notifier that works, and with one that drops everything."""
    notifier: Notifier = LocalNotifier(None) if request.param == "hints" else NoNotifier()
    async with opened(notifier, notifier.publish) as made:
        yield made


async def gathered(running: Running, after: Position | None = None) -> list[Any]:
    async with asyncio.timeout(30):
        return [told async for told in running.feed.updates(running.job, after)]


def numbers(told: list[Any]) -> list[int]:
    items = [each for each in told if isinstance(each, Update) and each.kind is UpdateKind.ITEM]
    return [json.loads(each.data)["data"] for each in items]


async def test_followers_see_everything_to_the_end(running: Running) -> None:
    await running.emit(1)
    start = Position(running.store.epoch, 0)
    followers = [asyncio.create_task(gathered(running, start)) for _ in range(5)]
    for n in range(2, 20):
        await asyncio.sleep(0)
        await running.emit(n)
    await running.end()
    for told in await asyncio.gather(*followers):
        assert isinstance(told[0], Subscribed)
        assert told[0].recovered
        assert numbers(told) == list(range(1, 20))
        assert [each.offset for each in told[1:]] == list(range(1, len(told)))
        assert told[-1].kind is UpdateKind.END


async def test_progress_arrives_though_it_has_no_offset(running: Running) -> None:
    follower = running.feed.follower(running.job)
    where = await follower.open(None)
    async with asyncio.timeout(30):
        for n in range(3):
            await running.write(UpdateKind.PROGRESS, {"done": n, "total": 3, "message": None})
            (told,) = await follower.next()
            assert isinstance(told, Update)
            assert (told.kind, json.loads(told.data)["done"]) == (UpdateKind.PROGRESS, n)
    assert follower.position == where.position
    follower.close()


async def test_progress_older_than_an_item_does_not_take_a_reader_back(running: Running) -> None:
    await running.write(UpdateKind.PROGRESS, {"done": 1})
    await running.emit(0, 1)
    told: list[Update] = []
    async with (
        asyncio.timeout(30),
        aclosing(running.feed.updates(running.job, Position(running.store.epoch, 0))) as all_,
    ):
        async for update in all_:
            if isinstance(update, Update):
                told.append(update)
                if update.kind is UpdateKind.PROGRESS:
                    break
    assert [update.offset for update in told] == [1, 2, 3, 4, 4]
    await running.end()
    after = Position(running.store.epoch, told[-1].offset)
    assert numbers(await gathered(running, after)) == []


async def test_where_a_reader_stands(running: Running) -> None:
    epoch, feed = running.store.epoch, running.feed
    await running.emit(1, 2)
    first = await feed.locate(running.job, None)
    assert first.snapshot is not None
    assert (first.recovered, first.position, first.snapshot.items_total) == (False, Position(epoch, 4), 2)
    assert first.snapshot.job.state is JobState.RUNNING
    assert len(first.snapshot.attempts) == 1
    back = await feed.locate(running.job, Position(epoch, 3))
    assert (back.recovered, back.snapshot, back.ended) == (True, None, False)
    for lost in (Position("other", 3), Position(epoch, 5)):
        assert (await feed.locate(running.job, lost)).snapshot is not None
    await running.end()
    assert (await feed.locate(running.job, None)).position == Position(epoch, 4)
    assert not (await feed.locate(running.job, Position(epoch, 4))).ended
    assert (await feed.locate(running.job, Position(epoch, 5))).ended
    assert await gathered(running, Position(epoch, 5)) == [await feed.locate(running.job, Position(epoch, 5))]
    assert [each.kind for each in (await gathered(running))[1:]] == [UpdateKind.END]


async def test_a_job_that_is_not_seen_yet_is_waited_for(running: Running) -> None:
    coming, pending = new_job(), asyncio.Event()
    located = asyncio.create_task(running.feed.locate(coming.id, None, pending_s=10, on_pending=pending.set))
    async with asyncio.timeout(30):
        await pending.wait()
        await running.store.enqueue([coming])
        assert (await located).position.offset == 1
    with pytest.raises(UnknownJob):
        await running.feed.locate(new_job().id, None)
    with pytest.raises(UnknownJob):
        await running.feed.locate(new_job().id, None, pending_s=0.05)


async def test_a_snapshot_holds_the_latest_items_within_its_bounds(running: Running) -> None:
    large = [f'{{"key":null,"data":"{"x" * 60_000}"}}'] * 12
    small = ['{"key":null,"data":1}'] * (ITEMS_MAX + 50)
    for batch in (large, small):
        writes = [FeedWrite(running.job, running.fence, UpdateKind.ITEM, data) for data in batch]
        await running.store.append(writes)
        snapshot = await running.feed.snapshot(running.job)
        assert snapshot is not None
        assert sum(len(item.data) for item in snapshot.items) <= ITEMS_BYTES_MAX
        assert len(snapshot.items) <= ITEMS_MAX
        assert snapshot.items[-1].offset == snapshot.position.offset
    assert snapshot.items_total == len(large) + len(small)
    assert len(snapshot.items) == ITEMS_MAX


async def test_readers_of_one_place_share_a_read(running: Running) -> None:
    running.store.slow_s = 0.02
    pages = await asyncio.gather(*(running.feed.read(running.job, 0) for _ in range(50)))
    assert running.store.reads == 1
    assert all(page is pages[0] for page in pages)
    await running.feed.read(running.job, 0)
    assert running.store.reads == 2


async def test_a_reader_that_gives_up_leaves_the_read_to_the_others(running: Running) -> None:
    running.store.slow_s = 0.05
    first, second = (asyncio.create_task(running.feed.read(running.job, 0)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    page = await second
    assert page is not None
    assert page.offset == 2
    assert first.cancelled()


async def test_news_is_not_answered_by_a_read_that_began_before_it() -> None:
    notifier = LocalNotifier(None)
    async with opened(notifier, notifier.publish) as running:
        follower = running.feed.follower(running.job)
        await follower.open(None)
        running.store.slow_s = 0.2
        old = asyncio.create_task(running.feed.read(running.job, follower.position.offset))
        await asyncio.sleep(0.05)  # the slow read has seen the feed as it was
        rung = asyncio.Event()
        release = running.feed.follow(running.job, rung.set)
        await running.emit(1)
        await rung.wait()
        page = await running.feed.read(running.job, follower.position.offset)
        stale = await old
        assert page is not None
        assert stale is not None
        assert (len(stale.updates), len(page.updates)) == (0, 1)
        release()
        follower.close()


async def test_a_store_that_is_away_is_told_and_nothing_is_lost(running: Running) -> None:
    follower = running.feed.follower(running.job)
    await follower.open(None)
    assert await follower.next_within(0.2) == []
    running.store.away = True
    await running.emit(1)
    looks = running.store.looks
    release = running.feed.follow(running.job, lambda: None)
    await until(lambda: running.store.looks >= looks + 2)  # the looks go on through the failure
    with pytest.raises(StoreUnavailable):
        await running.feed.read(running.job, 0)
    running.store.away = False
    told: list[Any] = []
    async with asyncio.timeout(30):
        while not told:
            try:
                told = await follower.next()
            except StoreUnavailable:
                await asyncio.sleep(0.01)
    assert numbers(told) == [1]
    release()
    follower.close()


async def test_a_cancelled_wait_loses_nothing(running: Running) -> None:
    running.store.slow_s = 0.01
    follower = running.feed.follower(running.job)
    await follower.open(None)
    seen: list[int] = []
    for n in range(1, 30):
        await running.emit(n)
        seen += numbers(await follower.next_within(0.001 * (n % 15)))
    async with asyncio.timeout(30):
        while len(seen) < 29:
            seen += numbers(await follower.next())
    assert seen == list(range(1, 30))
    follower.close()


async def test_a_place_that_is_lost_on_the_way_begins_anew(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    await running.emit(1)
    follower = running.feed.follower(running.job)
    await follower.open(Position(running.store.epoch, 0))
    monkeypatch.setattr(running.store, "epoch", "restored")
    async with asyncio.timeout(30):
        (told,) = await follower.next()
    assert isinstance(told, Subscribed)
    assert (told.recovered, told.position) == (False, Position("restored", 3))
    follower.close()


async def test_a_job_that_is_pruned_ends_its_followers(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = running.feed.follower(running.job)
    await follower.open(None)
    await running.emit(1)

    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(running.store, "read_updates", nothing)
    with pytest.raises(UnknownJob):
        await follower.next()
    follower.close()


async def test_a_long_feed_comes_in_pages(running: Running) -> None:
    await running.emit(*range(3 * PAGE))
    follower = running.feed.follower(running.job)
    await follower.open(Position(running.store.epoch, 0))
    seen: list[Any] = []
    async with asyncio.timeout(30):
        while len(seen) < 3 * PAGE + 2:
            page = await follower.next()
            assert len(page) <= PAGE
            seen += page
    assert numbers(seen) == list(range(3 * PAGE))
    follower.close()


async def test_nobody_follows_nothing_is_asked(running: Running) -> None:
    before = asyncio.all_tasks()
    release = running.feed.follow(running.job, lambda: None)
    await until(lambda: running.store.looks)
    release()
    release()  # once more changes nothing
    await until(lambda: asyncio.all_tasks() == before)


async def test_a_look_that_finds_nothing_new_wakes_nobody(running: Running) -> None:
    rung: list[int] = []
    release = running.feed.follow(running.job, lambda: rung.append(running.store.looks))
    await until(lambda: running.store.looks >= 9)
    release()
    # Once for the end that the first look found, and for progress, which has no offset, every other time.
    assert len(rung) <= 1 + running.store.looks // 2


async def test_a_listener_is_called_on_its_own_loop(running: Running) -> None:
    threads: set[int] = set()
    ready = threading.Event()

    async def elsewhere() -> int:
        heard = asyncio.Event()

        def listen() -> None:
            threads.add(threading.get_ident())
            heard.set()

        release = running.feed.follow(running.job, listen)
        ready.set()
        await heard.wait()
        await asyncio.sleep(0.1)  # for further rings, on whatever thread
        release()
        return threading.get_ident()

    there = asyncio.get_running_loop().run_in_executor(None, lambda: asyncio.run(elsewhere()))
    await until(ready.is_set)
    for n in range(20):
        await running.emit(n)
        await asyncio.sleep(0.005)
    assert threads == {await there}


async def test_one_reader_serves_several_event_loops(running: Running) -> None:
    async def elsewhere() -> list[Any]:
        return await gathered(running, Position(running.store.epoch, 0))

    there = asyncio.get_running_loop().run_in_executor(None, lambda: asyncio.run(elsewhere()))
    here = asyncio.create_task(elsewhere())
    await running.emit(1, 2, 3)
    await running.end()
    assert numbers(await there) == numbers(await here) == [1, 2, 3]


async def test_patient_readers_are_told_at_the_pace_of_the_pressure(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(running.feed.pressure), "pace_s", 0.2)
    rung: dict[bool, list[float]] = {True: [], False: []}
    loop = asyncio.get_running_loop()
    releases = [
        running.feed.follow(running.job, lambda patient=patient: rung[patient].append(loop.time()), patient=patient)
        for patient in rung
    ]
    for n in range(10):
        await running.emit(n)
        await asyncio.sleep(0.06)
    await until(lambda: len(rung[True]) >= 2)
    assert len(rung[False]) > len(rung[True])
    apart = [later - before for before, later in pairwise(rung[True])]
    assert min(apart) >= 0.19
    follower = running.feed.follower(running.job, patient=True)
    await follower.open(Position(running.store.epoch, 0))
    await running.end()
    told: list[Any] = []
    while not follower.ended:
        told += await follower.next()
    assert numbers(told) == list(range(10)), "later, and whole"
    follower.close()
    for release in releases:
        release()
