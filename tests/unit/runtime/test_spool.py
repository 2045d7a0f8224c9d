"""The spool and its keeper: one flush for many, order, bounds, keys, files of processes that are gone, refusals."""

import asyncio
import json
import logging
import os
import random
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.core.errors import Conflict, StoreMoved, StoreUnavailable, UsageError
from headrace.core.model import Enqueued, NewJob
from headrace.core.states import JobState, SpoolState
from headrace.runtime import spool, spool_keeper
from headrace.runtime.spool import Spool
from headrace.runtime.spool_file import Head
from headrace.runtime.spool_keeper import SpoolKeeper
from headrace.runtime.spool_look import Found, Rejections, damaged, look

HERE = Head("sqlite:////srv/jobs.db", "0a1b2c3d", 1_700_000_000.0)


def job(number: int, **given: object) -> NewJob:
    return NewJob(number.to_bytes(16), "charge", "default", "{}", **given)  # type: ignore[arg-type]


class Store:
    """Takes jobs, once it is up; each id once, as stores do."""

    def __init__(self) -> None:
        self.up = False
        self.jobs: dict[bytes, NewJob] = {}
        self.calls = 0
        self.refused: set[bytes] = set()
        self.lost_answers = 0
        self.error: type[StoreUnavailable | StoreMoved] = StoreUnavailable

    async def open(self) -> None:
        if not self.up:
            raise self.error("it is away")

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        await self.open()
        self.calls += 1
        if bad := [job.id for job in jobs if job.id in self.refused]:
            raise Conflict("the key is taken", bad[0])
        for each in jobs:
            self.jobs.setdefault(each.id, each)
        if self.lost_answers:
            self.lost_answers -= 1
            raise StoreUnavailable("the answer was lost")
        return [Enqueued(each.id, JobState.READY, 1, created=True) for each in jobs]

    @property
    def numbers(self) -> list[int]:
        return [int.from_bytes(each) for each in self.jobs]


class Process:
    """A process that spools."""

    def __init__(self, directory: Path, store: Store, head: Head = HERE, **bounds: int) -> None:
        self.head = head
        self.spool = Spool(directory, lambda: self.head, bytes_max=bounds.pop("bytes_max", 1 << 20), **bounds)
        self.keeper = SpoolKeeper(self.spool, store.open, store.enqueue, random.Random(1))

    async def put(self, *numbers: int) -> None:
        for number in numbers:
            await self.spool.put([job(number)])

    async def drained(self) -> None:
        self.keeper.begin()
        async with asyncio.timeout(10):
            while self.spool.figures.jobs:  # noqa: ASYNC110 - the keeper works
                await asyncio.sleep(0.005)

    async def emptied(self) -> None:
        """Nothing is left on the disk; a file goes when its writer rests, which may be a moment after the drain."""
        async with asyncio.timeout(10):
            while list(self.spool.directory.iterdir()):  # noqa: ASYNC110 - the keeper works
                await asyncio.sleep(0.005)

    async def only_left(self) -> Found:
        """The one file that is not its own, when its own is gone."""
        async with asyncio.timeout(10):
            while len(found := list(look(self.spool.directory))) > 1:  # noqa: ASYNC110 - the keeper works
                await asyncio.sleep(0.005)
        return found[0]

    def die(self) -> None:
        """What is on the disk stays, and the locks are gone."""
        self.spool.close()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def process(tmp_path: Path, store: Store) -> AsyncIterator[Callable[..., Process]]:
    made: list[Process] = []

    def make(head: Head = HERE, **bounds: int) -> Process:
        made.append(Process(tmp_path / "spool", store, head, **bounds))
        return made[-1]

    yield make
    for each in made:
        await each.keeper.close()


async def test_what_was_put_comes_to_the_store_in_order(process: Callable[..., Process], store: Store) -> None:
    one = process()
    await one.put(*range(50))
    assert one.spool.holds(job(7).id)
    assert one.spool.find(job(7).id) == job(7)
    assert not one.spool.idle
    store.up = True
    await one.drained()
    assert store.numbers == list(range(50))
    assert store.calls == 1
    assert one.spool.idle
    await one.emptied()
    assert one.spool.figures.drained == 50


async def test_a_file_that_is_drained_before_its_writer_rests_is_removed_too(
    process: Callable[..., Process], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests = threading.Event()

    class Told(Future[None]):
        def set_result(self, result: None) -> None:
            super().set_result(result)
            rests.wait(10)  # the writer is slow to see that there is nothing more

    monkeypatch.setattr(spool, "Future", Told)
    one = process()
    await one.put(1)
    store.up = True
    await one.drained()
    rests.set()
    await one.emptied()


async def test_what_is_drained_while_its_writer_has_yet_to_note_it_is_gone_for_good(
    process: Callable[..., Process], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = process()
    written, goes_on = threading.Event(), threading.Event()
    append = one.spool._append

    def slow(data: bytes) -> object:
        found = append(data)
        written.set()
        goes_on.wait(10)
        return found

    monkeypatch.setattr(one.spool, "_append", slow)
    store.up = True
    put = asyncio.get_running_loop().create_task(one.put(1))
    await asyncio.to_thread(written.wait, 10)
    one.keeper.begin()
    async with asyncio.timeout(10):
        while not one.spool.figures.drained:  # noqa: ASYNC110 - the keeper works
            await asyncio.sleep(0.005)
    goes_on.set()
    await put
    await one.emptied()
    assert one.spool.idle
    assert (one.spool.figures.files, one.spool.figures.jobs) == (0, 0)


async def test_callers_at_one_time_share_a_flush(
    process: Callable[..., Process], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushes = flushed = directories = 0
    real = os.fsync

    def counted(descriptor: int) -> None:
        nonlocal flushes, flushed, directories
        seen = os.fstat(descriptor)
        directories += stat.S_ISDIR(seen.st_mode)
        flushes += 1
        time.sleep(0.02)  # the others have come by then
        flushed = max(flushed, 0 if stat.S_ISDIR(seen.st_mode) else seen.st_size)
        real(descriptor)

    monkeypatch.setattr("os.fsync", counted)
    one = process()
    landed = await asyncio.gather(*(one.spool.put([job(number)]) for number in range(200)))
    assert directories == 2  # that of the files, and where that is new
    assert flushes < 20
    assert flushed == one.spool.figures.bytes  # before anybody was answered
    assert {each.state for (each,) in landed} == {SpoolState.SPOOLED}
    store.up = True
    await one.drained()
    assert store.numbers == list(range(200))


async def test_a_batch_is_one_record(process: Callable[..., Process], store: Store) -> None:
    one = process()
    await one.spool.put([job(1), job(2), job(3)])
    store.refused, store.up = {job(2).id}, True
    await one.drained()
    assert store.numbers == []  # all or none
    (told,) = Rejections(one.spool.directory).read()
    assert told["code"] == "conflict"
    assert len(json.loads(json.dumps(told["jobs"]))) == 3


async def test_who_waits_is_not_lost_with_who_is_cancelled(process: Callable[..., Process], store: Store) -> None:
    one = process()
    tasks = [asyncio.ensure_future(one.spool.put([job(number)])) for number in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert tasks[2].result()[0].state is SpoolState.SPOOLED
    store.up = True
    await one.drained()
    assert store.numbers[-1] == 2


async def test_long_spools_go_into_several_files_that_are_removed_one_by_one(
    process: Callable[..., Process], store: Store
) -> None:
    one = process(file_bytes=1024)
    await one.put(*range(100))
    assert one.spool.figures.files > 5
    store.up = True
    await one.drained()
    assert store.numbers == list(range(100))
    await one.emptied()


async def test_a_lost_answer_doubles_nothing(process: Callable[..., Process], store: Store) -> None:
    one = process()
    await one.put(1, 2)
    store.up, store.lost_answers = True, 1
    await one.drained()
    assert store.numbers == [1, 2]
    assert not any(each.fresh for each in store.jobs.values())


async def test_it_is_bounded_and_says_so(process: Callable[..., Process], store: Store) -> None:
    one = process(bytes_max=2048)
    with pytest.raises(StoreUnavailable, match=r"is full: [\d,]+ of 2,048 bytes"):
        await one.put(*range(100))
    assert one.spool.figures.bytes <= 2048
    held = one.spool.figures.jobs
    store.up = True
    await one.drained()
    assert store.numbers == list(range(held))
    await one.put(1000)


async def test_a_full_disk_is_told_and_leaves_nothing(
    process: Callable[..., Process], store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = process()
    await one.put(1)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", full)
        with pytest.raises(StoreUnavailable, match="No space left"):
            await one.put(2)
    assert one.spool.figures.jobs == 1
    await one.put(3)
    store.up = True
    await one.drained()
    assert store.numbers == [1, 3]
    assert "cannot be written" in caplog.text


async def test_durations_count_from_the_spooled_time(process: Callable[..., Process], store: Store) -> None:
    one = process()
    at = HERE.made_at
    await one.spool.put([job(1, delay_s=60.0, deadline_s=90.0), job(2, run_at=5.0), job(3, deadline_at=at + 1)])
    one.head = replace(HERE, made_at=at + 3600)
    store.up = True
    await one.drained()
    first, second, third = store.jobs.values()
    assert (first.delay_s, first.run_at, first.deadline_s, first.deadline_at) == (0.0, at + 60, None, at + 90)
    assert (second.run_at, second.deadline_at) == (5.0, None)
    assert (third.run_at, third.deadline_at) == (None, at + 1)


async def test_a_key_finds_the_job_that_holds_it_here(process: Callable[..., Process], store: Store) -> None:
    one = process()
    mine = job(1, key="k", key_digest="a")
    (first,) = await one.spool.put([mine])
    (again,) = await one.spool.put([job(2, key="k", key_digest="a")])
    assert (first.created, again.created, again.id) == (True, False, mine.id)
    with pytest.raises(Conflict):
        await one.spool.put([job(3), job(4, key="k", key_digest="b")])
    assert not one.spool.holds(job(3).id)
    store.up = True
    await one.drained()
    assert store.numbers == [1]
    assert (await one.spool.put([job(5, key="k", key_digest="b")]))[0].created  # the store will know


async def test_what_the_store_refuses_for_good_is_written_down_and_the_rest_goes_on(
    process: Callable[..., Process], store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    one = process()
    await one.put(*range(5))
    store.refused, store.up = {job(2).id}, True
    await one.drained()
    assert store.numbers == [0, 1, 3, 4]
    (told,) = Rejections(one.spool.directory).read()
    assert told["reason"] == "the key is taken"
    assert "is refused: the key is taken" in caplog.text
    with pytest.raises(Conflict):
        one.spool.landed(job(2).id)
    assert one.spool.figures.rejected == 1
    assert one.spool.figures.bytes > 0  # they take room until a person has looked


async def test_files_of_the_dead_are_taken_over_oldest_first(process: Callable[..., Process], store: Store) -> None:
    for at in range(3):
        dead = process(replace(HERE, made_at=HERE.made_at + at), file_bytes=1)
        await dead.put(at * 10, at * 10 + 1, at * 10 + 2)
        dead.die()
    heir = process()
    await asyncio.to_thread(heir.spool.adopt)
    assert heir.spool.figures.jobs == 9
    assert heir.spool.holds(job(11).id)
    assert heir.spool.idle  # what others left holds nobody up
    other = process()
    await asyncio.to_thread(other.spool.adopt)
    assert other.spool.figures.jobs == 0
    store.up = True
    await heir.drained()
    assert store.numbers == [0, 1, 2, 10, 11, 12, 20, 21, 22]


async def test_the_living_keep_theirs(process: Callable[..., Process], store: Store) -> None:
    one, two = process(), process()
    await one.put(1)
    await two.put(2)
    store.up = True
    await two.drained()
    assert store.numbers == [2]
    assert one.spool.holds(job(1).id)


async def test_a_spool_of_another_store_is_left_and_told(
    process: Callable[..., Process], store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    dead = process(Head("sqlite:////srv/other.db", "ffff", 0.0))
    await dead.put(1)
    dead.die()
    heir = process()
    await heir.put(2)
    store.up = True
    await heir.drained()
    assert store.numbers == [2]
    assert "is for the store sqlite:////srv/other.db" in caplog.text
    left = await heir.only_left()
    assert not left.alive
    left.path.rename(left.path.with_suffix(".any.spool"))  # a person says that its jobs belong here
    await asyncio.to_thread(heir.spool.adopt)
    heir.spool.wake()
    await heir.drained()
    assert store.numbers == [2, 1]


async def test_what_was_taken_before_the_store_was_known_is_let_go_if_it_is_anothers(
    process: Callable[..., Process], store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    dead = process(replace(HERE, epoch="ffff"))
    await dead.put(1)
    dead.die()
    heir = process(replace(HERE, epoch=""))
    await asyncio.to_thread(heir.spool.adopt)
    assert heir.spool.holds(job(1).id)
    heir.head = HERE
    store.up = True
    await heir.drained()
    assert store.numbers == []
    assert "left alone" in caplog.text
    left = await heir.only_left()
    assert not left.alive


async def test_damage_is_set_aside_and_the_rest_goes_on(
    process: Callable[..., Process], store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    dead = process()
    await dead.put(1, 2, 3)
    dead.die()
    (path,) = dead.spool.directory.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"charge", b"change")
    path.write_bytes(b"".join(lines))
    heir = process()
    await asyncio.to_thread(heir.spool.adopt)
    store.up = True
    await heir.drained()
    assert store.numbers == [1, 3]
    (kept,) = damaged(heir.spool.directory)
    assert kept.read_bytes() == b"".join(lines)
    assert "damaged" in caplog.text
    assert list(look(heir.spool.directory)) == []


async def test_a_store_that_needs_a_person_takes_no_more(
    process: Callable[..., Process], store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    one = process()
    await one.put(1)
    store.error = StoreMoved
    one.keeper.begin()
    async with asyncio.timeout(5):
        while one.spool.trouble is None:  # noqa: ASYNC110 - the keeper works
            await asyncio.sleep(0.01)
    with pytest.raises(StoreMoved):
        await one.put(2)
    assert "waits for a person" in caplog.text
    assert one.spool.holds(job(1).id)


async def test_new_ones_queue_behind_what_waits(
    process: Callable[..., Process], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_keeper, "AGAIN_S", 0.01)
    one = process(file_bytes=2048)
    one.keeper.begin()
    put = 0
    for _ in range(30):
        await one.put(*range(put, put + 10))
        put += 10
        store.up = not store.up
        await asyncio.sleep(0.01)
    store.up = True
    await one.drained()
    assert store.numbers == list(range(put))


async def test_it_is_one_processs_own(process: Callable[..., Process], monkeypatch: pytest.MonkeyPatch) -> None:
    one = process()
    made_by = os.getpid()
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: made_by + 1)  # a server that forks after it has loaded the app
        await one.put(1)
    with pytest.raises(UsageError, match="forked"):
        await one.put(2)


async def test_what_never_got_a_name_is_swept(process: Callable[..., Process]) -> None:
    one = process()
    one.spool.directory.mkdir()
    old, young = one.spool.directory / "1.000001.new", one.spool.directory / "2.000001.new"
    old.touch()
    young.touch()
    os.utime(old, (0, 0))
    await asyncio.to_thread(one.spool.adopt)
    assert list(one.spool.directory.iterdir()) == [young]


async def test_the_last_try_at_the_end_is_short_and_what_is_left_is_told(
    process: Callable[..., Process], store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    one, two = process(), process()
    await one.put(1)
    await one.keeper.close()
    assert "1 jobs stay in the spool" in caplog.text
    store.up = True
    await two.put(2)
    await two.keeper.close()
    assert store.numbers == [2, 1]  # its own first, then what was left
