"""`succeed` in a transaction of the user's, when answers get lost: written once, and known to be."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from headrace.core.errors import LeaseLost, StoreUnavailable
from headrace.core.ids import IdMaker
from headrace.core.model import (
    ClaimedJob,
    ClaimRequest,
    JobId,
    JobRecord,
    NewJob,
    Pool,
    Settle,
    SettleResult,
    WorkerRecord,
)
from headrace.core.states import JobState
from headrace.core.worker_events import StopReason
from headrace.notifiers.local import LocalNotifier
from headrace.runtime.attempt import Attempt
from headrace.runtime.clock import SystemClock
from headrace.runtime.context import run_now
from headrace.runtime.feedwriter import FeedWriter
from headrace.stores.memory import MemoryStore

WORKER = WorkerRecord("w", "host", 1, "worker", "0", None, {}, 1, 0.0)


class Store(MemoryStore):
    """One that joins a `Session`, and is away for as many reads as it is told."""

    def __init__(self) -> None:
        super().__init__(wall=SystemClock().wall)
        self.away = 0

    def join(self, using: object) -> Any:
        return Joined(self, using)

    async def get(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        if self.away:
            self.away -= 1
            raise StoreUnavailable("away")
        return await super().get(ids)


class Session:
    """What a body writes by; `lands` and `answers` say how its commit goes."""

    def __init__(self, *, lands: bool = True, answers: bool = True) -> None:
        self.lands, self.answers = lands, answers
        self.became = "open"


class Joined:
    """A `ports.store.Joined` that settles when it commits."""

    def __init__(self, store: Store, session: Any) -> None:
        self.store, self.session = store, session
        self.settles: list[Settle] = []

    async def settle(self, settle: Settle) -> SettleResult:
        (record,) = await MemoryStore.get(self.store, [settle.id])
        assert record is not None
        if record.state is JobState.RUNNING:
            self.settles.append(settle)
            return SettleResult.SETTLED
        return SettleResult.REPEATED if record.state is JobState.SUCCEEDED else SettleResult.LOST

    async def commit(self) -> None:
        if self.session.lands:
            self.session.became = "committed"
            await self.store.exchange("w", self.settles, None)
        if not self.session.answers:
            raise StoreUnavailable("the connection was lost")

    async def rollback(self) -> None:
        self.session.became = "rolled back"


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    store = Store()
    await store.open()
    await store.register(WORKER, 60.0)
    yield store
    await store.close()


@pytest.fixture
async def attempt(store: Store, monkeypatch: pytest.MonkeyPatch) -> Attempt:
    monkeypatch.setattr("headrace.runtime.feedwriter.STORE_RETRY_S", 0.01)
    clock = SystemClock()
    made = Attempt(
        await claimed(store), store, FeedWriter(store, lambda _: None, clock.sleep), "w", LocalNotifier(None)
    )
    made.encode_result = lambda result: f'"{result}"'
    return made


async def claimed(store: Store) -> ClaimedJob:
    job = NewJob(IdMaker().make(SystemClock().wall(), os.urandom(8)), "charge", "default", "[]")
    await store.enqueue([job])
    (found,) = (await store.exchange("w", (), ClaimRequest((Pool(frozenset({"charge"}), 1),)))).claimed
    return found


async def state_of(store: Store, job: JobId) -> JobState:
    (record,) = await MemoryStore.get(store, [job])
    assert record is not None
    return record.state


async def test_a_commit_whose_answer_is_lost_is_known_by_the_fence(store: Store, attempt: Attempt) -> None:
    await attempt.succeed(1, Session(answers=False))
    assert attempt.settled
    assert await state_of(store, attempt.job.id) is JobState.SUCCEEDED


async def test_a_store_that_is_away_just_then_is_waited_for(store: Store, attempt: Attempt) -> None:
    store.away = 3
    await attempt.succeed(1, Session(answers=False))
    assert attempt.settled
    assert store.away == 0


async def test_a_thread_of_a_task_asks_by_way_of_the_workers_loop(store: Store, attempt: Attempt) -> None:
    class Thread:
        async def run(self, attempt: Attempt) -> None:
            await asyncio.to_thread(lambda: run_now(attempt.succeed(1, Session(answers=False))))

    store.away = 3
    ended: asyncio.Future[Attempt] = asyncio.get_running_loop().create_future()
    attempt.begin(asyncio.get_running_loop(), Thread(), ended.set_result)
    async with asyncio.timeout(10):
        assert (await ended).settled
    assert store.away == 0


async def test_it_is_not_waited_for_by_one_that_must_stop(store: Store, attempt: Attempt) -> None:
    store.away = 1000
    attempt.stopping = StopReason.TIMEOUT
    async with asyncio.timeout(5):
        with pytest.raises(StoreUnavailable):
            await attempt.succeed(1, Session(answers=False))
    assert not attempt.settled


async def test_a_commit_that_did_not_land_says_so(store: Store, attempt: Attempt) -> None:
    with pytest.raises(StoreUnavailable, match="connection was lost"):
        await attempt.succeed(1, Session(lands=False, answers=False))
    assert not attempt.settled
    again = Session()
    await attempt.succeed(1, again)
    assert again.became == "committed"


async def test_what_landed_before_is_not_written_a_second_time(store: Store, attempt: Attempt) -> None:
    store.away = 1000
    attempt.stopping = StopReason.TIMEOUT
    with pytest.raises(StoreUnavailable):
        await attempt.succeed(1, Session(answers=False))  # it landed, and nobody could say so
    again = Session()
    await attempt.succeed(1, again)
    assert attempt.settled
    assert again.became == "rolled back"


async def test_a_lost_lease_rolls_the_writes_back(store: Store, attempt: Attempt) -> None:
    await store.reap(["w"])
    session = Session()
    with pytest.raises(LeaseLost):
        await attempt.succeed(1, session)
    assert session.became == "rolled back"
