"""What every part of the store suite stands on: time that passes, a store, short verbs."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest

from headrace.core.ids import IdMaker
from headrace.core.model import (
    ClaimedJob,
    ClaimRequest,
    FeedPage,
    JobId,
    JobRecord,
    NewJob,
    Outcome,
    Pool,
    Reaped,
    Settle,
    SettleResult,
    Suspicion,
    UpdateKind,
    WorkerRecord,
)
from headrace.ports.post import Post
from headrace.ports.store import Store, StoreSettings
from headrace.ports.vault import Vault
from headrace.testing.clock import ManualClock

WORKER = "worker-1"
FOREVER_S = 86_400.0  # longer than any test, on any clock
KINDS = {False: (Suspicion.NONE,), True: (Suspicion.SHARED, Suspicion.ALONE), None: tuple(Suspicion)}


class FullStore(Store, Vault, Post, Protocol):
    """What an adapter offers: jobs, the vault and the post beside them."""


MakeStore = Callable[[StoreSettings], FullStore]


class TimeControl(Protocol):
    """How a test lets time pass; it says durations in multiples of `tick`."""

    tick: float

    async def pass_time(self, seconds: float) -> None:
        """Let at least so much of the store's time pass."""
        ...


class ManualTime:
    """Time that stands still between tests' steps; give `wall` to the store."""

    tick = 60.0

    def __init__(self) -> None:
        """Starts at the manual clock's default instant."""
        self.clock = ManualClock()
        self.wall = self.clock.wall

    async def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        self.clock.advance(seconds)


class StoreTime:
    """The store's own time: it is waited for."""

    tick = 0.05

    async def pass_time(self, seconds: float) -> None:
        """Wait until it has passed, and a little more for clocks that disagree."""
        await asyncio.sleep(seconds + 0.01)


class StoreSuite:
    """The fixtures of every part; an adapter's class overrides the first two."""

    @pytest.fixture
    def time(self) -> TimeControl:
        """How time passes for this store."""
        pytest.fail("give a fixture `time`: ManualTime() or StoreTime()")

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """A function from settings to a store that is not open yet, always on the same place."""
        pytest.fail("give a fixture `make_store`")

    @pytest.fixture
    async def store(self, make_store: MakeStore) -> AsyncGenerator[FullStore]:
        """An open store with default settings and one registered worker."""
        async with opened(make_store) as store:
            await register(store)
            yield store


@asynccontextmanager
async def opened(make_store: MakeStore, settings: StoreSettings | None = None) -> AsyncGenerator[FullStore]:
    """A store between `open` and `close`."""
    store = make_store(settings if settings is not None else StoreSettings())
    await store.open()
    try:
        yield store
    finally:
        await store.close()


_ids = IdMaker()


def new_job(task: str = "charge", queue: str = "billing", args: str = "[7]", **fields: Any) -> NewJob:
    """A job with a new id, above all earlier ones."""
    return NewJob(_ids.make(1_800_000_000.0, os.urandom(8)), task, queue, args, **fields)


def worker_record(worker: str = WORKER, **fields: Any) -> WorkerRecord:
    """A worker that knows `charge` and `refund`."""
    known: dict[str, Any] = {
        "host": "here",
        "pid": 1,
        "role": "worker",
        "version": "1",
        "queues": None,
        "tasks": {"charge": "", "refund": ""},
        "concurrency": 10,
        "started_at": 1_800_000_000.0,
    }
    return WorkerRecord(worker, **(known | fields))


async def register(store: Store, worker: str = WORKER, lease_s: float = FOREVER_S) -> None:
    """Register a worker."""
    await store.register(worker_record(worker), lease_s)


def request(
    limit: int = 10,
    tasks: Iterable[str] = ("charge", "refund"),
    *,
    queues: Iterable[str] | None = None,
    suspects: bool | None = False,
) -> ClaimRequest:
    """A request with one pool."""
    taken = None if queues is None else frozenset(queues)
    return ClaimRequest((Pool(frozenset(tasks), limit),), taken, KINDS[suspects])


async def claim(
    store: Store,
    limit: int = 10,
    tasks: Iterable[str] = ("charge", "refund"),
    *,
    worker: str = WORKER,
    queues: Iterable[str] | None = None,
    suspects: bool | None = False,
) -> list[ClaimedJob]:
    """Claim only; again at once where the store says so."""
    claimed, again = list[ClaimedJob](), True
    while again and len(claimed) < limit:
        wanted = request(limit - len(claimed), tasks, queues=queues, suspects=suspects)
        answer = await store.exchange(worker, (), wanted)
        claimed += answer.claimed
        again = answer.again
    return claimed


async def claim_one(store: Store, *, worker: str = WORKER, suspects: bool | None = False) -> ClaimedJob:
    """Claim the only job that there is to claim."""
    claimed = await claim(store, worker=worker, suspects=suspects)
    assert len(claimed) == 1, claimed
    return claimed[0]


async def crash(store: FullStore, worker: str = WORKER) -> Reaped:
    """The worker dies and comes back."""
    reaped = await store.reap([worker])
    await register(store, worker)
    return reaped


async def accuse(store: FullStore, **fields: Any) -> ClaimedJob:
    """A job whose worker died twice: it is ready, and runs alone."""
    job = await enqueue_claimed(store, **fields)
    await crash(store)
    assert (await claim_one(store, suspects=True)).id == job.id
    await crash(store)
    return job


async def enqueue_claimed(store: Store, **fields: Any) -> ClaimedJob:
    """A new job, running."""
    await store.enqueue([new_job(**fields)])
    return await claim_one(store)


async def settle(store: Store, job: ClaimedJob, outcome: Outcome, *, worker: str = WORKER) -> SettleResult:
    """Settle one attempt."""
    answer = await store.exchange(worker, [Settle(job.id, job.fence, outcome)], None)
    assert answer.claimed == ()
    assert len(answer.settled) == 1
    return answer.settled[0]


async def record_of(store: Store, job_id: JobId) -> JobRecord:
    """The record of a job that is known."""
    record = (await store.get([job_id]))[0]
    assert record is not None
    return record


async def feed_of(store: Store, job_id: JobId) -> FeedPage:
    """The whole feed, after checking that it has no gap and agrees with the record."""
    page = await store.read_updates(job_id, 0, 100_000)
    assert page is not None
    record = await record_of(store, job_id)
    assert [update.offset for update in page.updates] == list(range(1, page.offset + 1))
    assert page.offset == record.offset == (await store.offsets([job_id]))[job_id]
    assert page.state is record.state
    assert page.epoch == store.epoch
    ends = [update.offset for update in page.updates if update.kind is UpdateKind.END]
    assert ends == ([page.offset] if record.state.terminal else [])
    instants = [update.at for update in page.updates]
    assert instants == sorted(instants)
    return page


async def told(store: Store, job_id: JobId) -> list[str]:
    """The feed in words: `state:outcome#attempt` for states, the kind for others, `end:state` last."""
    words: list[str] = []
    for update in (await feed_of(store, job_id)).updates:
        data = json.loads(update.data)
        if update.kind is UpdateKind.STATE:
            assert data["attempt"] == update.attempt
            outcome = f":{data['outcome']}" if "outcome" in data else ""
            words.append(f"{data['state']}{outcome}#{update.attempt}")
        elif update.kind is UpdateKind.END:
            words.append(f"end:{data['state']}#{update.attempt}")
        else:
            words.append(f"{update.kind.value}#{update.attempt}")
    return words


def ids_of(jobs: Sequence[Any]) -> list[JobId]:
    """Their ids, in order."""
    return [job.id for job in jobs]
